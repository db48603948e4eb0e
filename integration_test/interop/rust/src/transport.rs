//! What a QUIC stack has to do for this crate: the trait [`Transport`].

use crate::identity;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const ALPN: &[u8] = b"quicpeer/1";

/// The transport parameters that an adapter sets (PROTOCOL.md, section 3.3).
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
pub const BIDI_STREAMS: u64 = 100;
pub const UNI_STREAMS: u64 = 8;
pub const STREAM_WINDOW: u64 = 300_000;
pub const CONNECTION_WINDOW: u64 = 4_000_000;
pub const MAX_DATAGRAM_FRAME: u64 = 65_535;

/// A connection, by a number of the adapter's choice that it never uses twice.
pub type Conn = u64;

/// What [`Transport::bind`] gets.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to bind the one UDP socket; the port is 0.
    pub address: SocketAddr,
    /// PEM files of the certificate and its PKCS #8 key. None in the cases for anonymous peers, which only
    /// dial: no certificate is presented then.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Whether to send the transport parameter max_datagram_frame_size.
    pub datagrams: bool,
    /// The id that the peer's certificate must have.
    pub peer_id: [u8; 32],
    /// Whether a certificate was found to be another one's.
    refused: Arc<AtomicBool>,
}

impl Config {
    pub fn new(
        address: SocketAddr,
        identity: Option<(PathBuf, PathBuf)>,
        datagrams: bool,
        peer_id: [u8; 32],
    ) -> Config {
        Config { address, identity, datagrams, peer_id, refused: Arc::default() }
    }

    /// Says whether the peer is who it should be, from its certificate in DER. An adapter asks in the handshake, and
    /// refuses with bad_certificate; where its stack cannot, this crate asks again when the handshake is done.
    pub fn admits(&self, certificate: &[u8]) -> bool {
        let admitted = identity::id_of(certificate) == Some(self.peer_id);
        if !admitted {
            self.refused.store(true, Ordering::Relaxed);
        }
        admitted
    }

    /// Whether a certificate was refused for its key, here or in the handshake.
    pub fn has_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }
}

/// How a connection came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The peer sent CONNECTION_CLOSE of type 0x1d.
    Application { code: u64, reason: String },
    /// The peer sent CONNECTION_CLOSE of type 0x1c. Codes from 0x100 to 0x1ff are TLS alerts.
    Transport { code: u64, reason: String },
    /// This side's TLS refused the peer in the handshake.
    Refused(String),
    /// Anything else: a timeout, a stateless reset, a failure of this side's stack.
    Lost(String),
}

#[derive(Clone, Debug)]
pub enum Event {
    /// The handshake is complete, as this side sees it.
    Connected {
        conn: Conn,
        /// True for a connection that the peer dialed.
        incoming: bool,
        peer: SocketAddr,
        /// The peer's certificate (the first of the chain), in DER.
        certificate: Option<Vec<u8>>,
    },
    /// Bytes of a stream, in order. The first ones of a stream of the peer's announce it: there is no other event
    /// for that. Ids are QUIC's.
    Data {
        conn: Conn,
        stream: u64,
        bytes: Vec<u8>,
    },
    /// The peer's FIN, behind all data.
    Fin {
        conn: Conn,
        stream: u64,
    },
    /// The peer's RESET_STREAM.
    Reset {
        conn: Conn,
        stream: u64,
        code: u64,
    },
    /// The peer's STOP_SENDING.
    Stopped {
        conn: Conn,
        stream: u64,
        code: u64,
    },
    Datagram {
        conn: Conn,
        bytes: Vec<u8>,
    },
    /// The connection is over; also one that never became `Connected`. The last event of a connection, and none
    /// after [`Transport::close`].
    Closed {
        conn: Conn,
        ended: Ended,
    },
}

/// One endpoint: a UDP socket that dials and accepts. See the head of the crate for what an adapter has to mind.
///
/// No method but `poll`, `open_stream` and `shutdown` may block. What the methods without a result are told about a
/// stream or a connection that is over is ignored: the event that says so is on its way.
pub trait Transport: Sized {
    const STACK: &'static str;
    const VERSION: &'static str;

    /// Says why a case is impossible on this stack, if it is.
    fn impossible(_role: crate::Role, _case: &str) -> Option<&'static str> {
        None
    }

    /// Binds the socket, ready to accept and to dial.
    fn bind(config: &Config) -> Result<Self, String>;

    /// The bound address, with its real port.
    fn address(&self) -> SocketAddr;

    /// Begins to dial; `Connected` or `Closed` follows.
    fn dial(&mut self, to: SocketAddr) -> Result<Conn, String>;

    /// Opens the next stream of this side, of either type, and returns its QUIC id. If the peer's limit does not
    /// allow one, that is an error.
    fn open_stream(&mut self, conn: Conn, bidirectional: bool) -> Result<u64, String>;

    /// Writes behind what was written before, and keeps what the stack does not take yet.
    fn write(&mut self, conn: Conn, stream: u64, bytes: &[u8]);

    /// FIN, behind everything written.
    fn finish(&mut self, conn: Conn, stream: u64);

    /// RESET_STREAM, also after `finish` if the stack allows it. What is written but not sent is dropped.
    fn reset(&mut self, conn: Conn, stream: u64, code: u64);

    /// STOP_SENDING. The peer's RESET_STREAM, if it comes, is still an event: it shows the peer's code.
    fn stop_sending(&mut self, conn: Conn, stream: u64, code: u64);

    /// Hands one datagram to the stack. An error is for what the stack does not take, not for a connection that is over.
    fn send_datagram(&mut self, conn: Conn, bytes: &[u8]) -> Result<(), String>;

    /// How large a datagram may be just now; None if the peer takes none at all.
    fn max_datagram(&self, conn: Conn) -> Option<usize>;

    /// The smoothed round trip time; zero as long as it is not known.
    fn rtt(&self, conn: Conn) -> Duration;

    /// CONNECTION_CLOSE of type 0x1d, at once.
    fn close(&mut self, conn: Conn, code: u64, reason: &str);

    /// Waits for the next event, until the deadline at most.
    fn poll(&mut self, deadline: Instant) -> Option<Event>;

    /// Ends the endpoint, and sees to it that every CONNECTION_CLOSE has left, until the deadline at most.
    fn shutdown(self, deadline: Instant);
}
