//! MsQuic's callbacks. They come on MsQuic's threads, those of one connection and its streams never two at a time, and all
//! they do is to pass on what happened to the thread that polls: a handle must not be closed in its own callback.

use crate::outgoing;
use msquic::{
    Api, BufferRef, Connection, ConnectionEvent, DatagramSendState, Status, StatusCode, Stream, StreamEvent,
    StreamShutdownFlags, BOOLEAN, PARAM_CONN_CLOSE_REASON_PHRASE, PARAM_CONN_DATAGRAM_SEND_ENABLED,
};
use quicpeer_interop::transport::{Config, Conn, Ended, Event};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::Arc;

/// How large a datagram may be in any case: as much as MsQuic's smallest MTU (1,248) leaves behind the headers of IPv6 and UDP
/// (48), of a packet with the longest connection id (25), the AEAD's tag (16) and the header of the frame (3).
const SMALLEST_LIMIT: usize = 1_156;

/// The code of a close whose cause MsQuic states as a status.
const INTERNAL_ERROR: u64 = 0x01;

pub enum News {
    Event(Event),
    Accepted(Connection, Teller),
    /// The peer opened a stream.
    Started(u64, Stream),
    /// The handle of the stream may be closed.
    StreamOver(u64),
    /// How large a datagram may be; None if the peer takes none.
    Limit(Option<usize>),
    /// The handle of the connection may be closed.
    Over(Ended),
}

/// What the callbacks of a connection and of its streams have in common.
#[derive(Clone)]
pub struct Teller {
    conn: Conn,
    news: Sender<(Conn, News)>,
    /// Whether this side's transport gave the connection up, which only its streams learn.
    failed_here: Arc<AtomicBool>,
}

impl Teller {
    pub fn new(conn: Conn, news: Sender<(Conn, News)>) -> Teller {
        Teller { conn, news, failed_here: Arc::default() }
    }

    fn tell(&self, news: News) {
        // Nobody listens any more when the program ends.
        let _ = self.news.send((self.conn, news));
    }
}

/// The callback of a connection.
pub struct ConnectionWatch {
    teller: Teller,
    incoming: bool,
    config: Arc<Config>,
    certificate: Option<Vec<u8>>,
    refused: bool,
    cause: Option<Cause>,
}

/// Why a connection ends.
enum Cause {
    /// The peer's application closed it, with this code.
    Peer(u64),
    /// The transport of either side did. The code is one of QUIC's.
    Transport(Status, u64),
}

impl ConnectionWatch {
    pub fn new(teller: Teller, incoming: bool, config: Arc<Config>) -> ConnectionWatch {
        ConnectionWatch { teller, incoming, config, certificate: None, refused: false, cause: None }
    }

    pub fn take(&mut self, connection: &Connection, event: ConnectionEvent<'_>) -> Result<(), Status> {
        let (conn, teller) = (self.teller.conn, &self.teller);
        match event {
            ConnectionEvent::PeerCertificateReceived { certificate, .. } => {
                // SAFETY: with USE_PORTABLE_CERTIFICATES it is a buffer with the certificate in DER.
                let buffer = unsafe { certificate.cast::<BufferRef>().as_ref() };
                let certificate = buffer.map(|b| b.as_bytes().to_vec()).unwrap_or_default();
                if !self.config.admits(&certificate) {
                    self.refused = true;
                    return Err(StatusCode::QUIC_STATUS_BAD_CERTIFICATE.into());
                }
                self.certificate = Some(certificate);
            }
            ConnectionEvent::Connected { .. } => {
                let peer = connection.get_remote_addr()?.as_socket().ok_or(StatusCode::QUIC_STATUS_INVALID_ADDRESS)?;
                let (incoming, certificate) = (self.incoming, self.certificate.take());
                if incoming {
                    // MsQuic knows the limit of a connection that it accepts before this callback is in place, and has an
                    // event for it only later, when path MTU discovery has raised it.
                    // SAFETY: that parameter is a BOOLEAN.
                    let enabled: BOOLEAN =
                        unsafe { Api::get_param_auto(connection.as_raw(), PARAM_CONN_DATAGRAM_SEND_ENABLED)? };
                    teller.tell(News::Limit((enabled != 0).then_some(SMALLEST_LIMIT)));
                }
                teller.tell(News::Event(Event::Connected { conn, incoming, peer, certificate }));
            }
            ConnectionEvent::PeerStreamStarted { stream, .. } => {
                let id = stream.get_stream_id()?;
                let mut watch = StreamWatch::new(teller.clone(), Some(id), None);
                stream.set_callback_handler(move |stream, event| {
                    watch.take(&stream, event);
                    Ok(())
                });
                // SAFETY: this callback is given the only handle, to keep.
                let stream = unsafe { Stream::from_raw(stream.as_raw()) };
                teller.tell(News::Started(id, stream));
            }
            ConnectionEvent::DatagramStateChanged { send_enabled, max_send_length } => {
                teller.tell(News::Limit(send_enabled.then_some(max_send_length.into())));
            }
            ConnectionEvent::DatagramReceived { buffer, .. } => {
                teller.tell(News::Event(Event::Datagram { conn, bytes: buffer.as_bytes().to_vec() }));
            }
            ConnectionEvent::DatagramSendStateChanged {
                client_context,
                state: DatagramSendState::Sent | DatagramSendState::Canceled,
            } => outgoing::release(client_context),
            ConnectionEvent::ShutdownInitiatedByPeer { error_code } => self.cause = Some(Cause::Peer(error_code)),
            ConnectionEvent::ShutdownInitiatedByTransport { status, error_code } => {
                self.cause = Some(Cause::Transport(status, error_code));
            }
            ConnectionEvent::ShutdownComplete { .. } => {
                teller.tell(News::Over(self.ended(connection)));
            }
            _ => {}
        }
        Ok(())
    }

    fn ended(&self, connection: &Connection) -> Ended {
        match &self.cause {
            _ if self.refused => Ended::Refused("the certificate is not that of the peer".into()),
            None => Ended::Lost("closed by this side".into()),
            Some(Cause::Peer(code)) => Ended::Application { code: *code, reason: reason(connection) },
            Some(Cause::Transport(status, code)) => {
                let by_status = *code == INTERNAL_ERROR
                    && !matches!(status.try_as_status_code(), Ok(StatusCode::QUIC_STATUS_INTERNAL_ERROR));
                if by_status || self.teller.failed_here.load(Ordering::Relaxed) {
                    return Ended::Lost(format!("{status}, code {code:#x}"));
                }
                Ended::Transport { code: *code, reason: reason(connection) }
            }
        }
    }
}

/// The reason of the peer's CONNECTION_CLOSE, which is only there when the connection is over.
fn reason(connection: &Connection) -> String {
    let mut text = [0_u8; 512];
    let mut length = text.len() as u32;
    // SAFETY: the buffer is as long as it says; MsQuic writes how much it used to `length`.
    let got = unsafe {
        Api::get_param(
            connection.as_raw(),
            PARAM_CONN_CLOSE_REASON_PHRASE,
            std::ptr::addr_of_mut!(length),
            text.as_mut_ptr().cast(),
        )
    };
    let used = if got.is_ok() { length as usize } else { 0 };
    String::from_utf8_lossy(&text[..used]).trim_end_matches('\0').into()
}

/// The callback of a stream.
pub struct StreamWatch {
    teller: Teller,
    /// None until a stream of this side's has started.
    id: Option<u64>,
    /// Is told how the start of a stream of this side's went.
    started: Option<Sender<Result<u64, Status>>>,
}

impl StreamWatch {
    pub fn new(teller: Teller, id: Option<u64>, started: Option<Sender<Result<u64, Status>>>) -> StreamWatch {
        StreamWatch { teller, id, started }
    }

    pub fn take(&mut self, handle: &Stream, event: StreamEvent<'_>) {
        if let StreamEvent::StartComplete { status, id, .. } = &event {
            let result = if status.is_ok() { Ok(*id) } else { Err(status.clone()) };
            self.id = result.as_ref().ok().copied();
            if let Some(started) = self.started.take() {
                // Without a receiver it took too long, and the stream is being closed.
                let _ = started.send(result);
            }
        }
        if let StreamEvent::SendComplete { client_context, .. } = &event {
            outgoing::release(*client_context);
        }
        let (conn, Some(stream)) = (self.teller.conn, self.id) else { return };
        let news = match event {
            StreamEvent::Receive { buffers, .. } => {
                let bytes: Vec<u8> = buffers.iter().flat_map(BufferRef::as_bytes).copied().collect();
                if bytes.is_empty() {
                    return;
                }
                News::Event(Event::Data { conn, stream, bytes })
            }
            StreamEvent::PeerSendShutdown => News::Event(Event::Fin { conn, stream }),
            StreamEvent::PeerSendAborted { error_code: code } => News::Event(Event::Reset { conn, stream, code }),
            StreamEvent::PeerReceiveAborted { error_code: code } => {
                // MsQuic resets the stream when this returns, and with the code 0 unless it is reset already. An error
                // means that it is over.
                let _ = handle.shutdown(StreamShutdownFlags::ABORT_SEND | StreamShutdownFlags::INLINE, code);
                News::Event(Event::Stopped { conn, stream, code })
            }
            StreamEvent::ShutdownComplete {
                connection_shutdown,
                connection_shutdown_by_app,
                connection_closed_remotely,
                ..
            } => {
                if connection_shutdown && !connection_shutdown_by_app && !connection_closed_remotely {
                    self.teller.failed_here.store(true, Ordering::Relaxed);
                }
                News::StreamOver(stream)
            }
            _ => return,
        };
        self.teller.tell(news);
    }
}
