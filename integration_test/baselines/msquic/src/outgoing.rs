use std::ffi::c_void;

use bytes::Bytes;
use msquic::{BufferRef, Connection, DatagramSendState, SendFlags, Status};

/// A message that MsQuic has taken and not yet sent. MsQuic copies nothing: the message and the
/// buffer that describes it stay where they are until then.
struct Outgoing {
    buffer: [BufferRef; 1],
    _message: Bytes,
}

/// Hands a message to MsQuic. Each connection that sends passes the events of its messages to
/// [`sent`].
pub fn send(connection: &Connection, message: Bytes) -> Result<(), Status> {
    let outgoing = Box::into_raw(Box::new(Outgoing {
        buffer: [BufferRef::from(&message[..])],
        _message: message,
    }));
    // SAFETY: `outgoing` was just made, and lives until `sent` has seen MsQuic let go of it.
    let result =
        unsafe { connection.datagram_send(&(*outgoing).buffer, SendFlags::NONE, outgoing.cast()) };
    if result.is_err() {
        // SAFETY: MsQuic has refused the message and tells of it no more.
        drop(unsafe { Box::from_raw(outgoing) });
    }
    result
}

/// Takes the event DatagramSendStateChanged. True says that the message has left MsQuic's queue,
/// on its way or not, and is freed.
pub fn sent(context: *const c_void, state: DatagramSendState) -> bool {
    // Whatever else comes after these two concerns the packet, not the message.
    let left = matches!(state, DatagramSendState::Sent | DatagramSendState::Canceled);
    if left {
        // SAFETY: the context is what `send` gave along, and MsQuic tells of either state, once.
        drop(unsafe { Box::from_raw(context.cast::<Outgoing>().cast_mut()) });
    }
    left
}
