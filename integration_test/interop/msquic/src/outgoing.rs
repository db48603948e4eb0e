//! Bytes on their way out. MsQuic copies nothing when it takes them: they stay where they are until it says so.

use msquic::{BufferRef, Connection, SendFlags, Status, Stream};
use std::ffi::c_void;

struct Outgoing {
    buffer: [BufferRef; 1],
    _bytes: Vec<u8>,
}

/// Hands bytes to `give`, with the context that comes back to [`release`].
fn hand_over(bytes: &[u8], give: impl FnOnce(&[BufferRef], *const c_void) -> Result<(), Status>) -> Result<(), Status> {
    let bytes = bytes.to_vec();
    let outgoing = Box::into_raw(Box::new(Outgoing { buffer: [BufferRef::from(&bytes[..])], _bytes: bytes }));
    // SAFETY: it was made just now, and lives until `release`.
    let result = give(unsafe { &(*outgoing).buffer }, outgoing.cast());
    if result.is_err() {
        release(outgoing.cast());
    }
    result
}

pub fn on_stream(stream: &Stream, bytes: &[u8]) -> Result<(), Status> {
    // SAFETY: the bytes stay until `release`, which SendComplete calls.
    hand_over(bytes, |buffers, context| unsafe { stream.send(buffers, SendFlags::NONE, context) })
}

pub fn datagram(connection: &Connection, bytes: &[u8]) -> Result<(), Status> {
    // SAFETY: the bytes stay until `release`, which DatagramSendStateChanged calls.
    hand_over(bytes, |buffers, context| unsafe { connection.datagram_send(buffers, SendFlags::NONE, context) })
}

/// Frees bytes that MsQuic is done with, or never took.
pub fn release(context: *const c_void) {
    // SAFETY: the context is what `hand_over` gave along, and each comes back once.
    drop(unsafe { Box::from_raw(context.cast::<Outgoing>().cast_mut()) });
}
