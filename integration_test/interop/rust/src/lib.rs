//! The quicpeer protocol, version 1, over any QUIC stack: the codec, the logic of links and sessions, and the cases of
//! the interop matrix. A peer is this crate and an adapter, which implements [`Transport`] and whose `main` is
//!
//! ```ignore
//! fn main() -> std::process::ExitCode {
//!     quicpeer_interop::main::<Adapter>()
//! }
//! ```
//!
//! Everything here is synchronous and runs in one thread. An adapter for a stack without I/O of its own sends and
//! receives in `poll`; one for an asynchronous stack, or one with callbacks, lets it run in threads of its own that put
//! events in a channel, and `poll` takes them out. A stream of commands for each sending stream keeps their order.
//!
//! What an adapter has to mind:
//!
//! - **One socket.** `bind` makes one UDP socket, on port 0 of the address given, and all connections use it, those
//!   dialed and those accepted, two at a time in the case one-port: there a connection comes in from an address that
//!   another one was dialed to, or the other way. They are told apart by their connection ids, not by addresses.
//! - **TLS.** ALPN is [`ALPN`], and nothing else is agreed on. As a server, ask for the client's certificate and
//!   require it. Accept any chain, whatever its names and dates, but leave the check of the signature in
//!   CertificateVerify to the stack's TLS. Ask [`Config::admits`] about the certificate in the handshake, if the stack
//!   allows that; if not, `Connected` carries the certificate and this crate judges. No server name (SNI), no session
//!   tickets, no 0-RTT.
//! - **Anonymous.** Without [`Config::identity`] the peer only dials and presents no certificate.
//! - **Transport parameters**: the constants of [`transport`]. With [`Config::datagrams`] false,
//!   max_datagram_frame_size is not sent, for the case no-datagrams; it is the only case that is told of it.
//! - **Server side.** `Connected` comes when the handshake is complete, not before: nothing may be sent at
//!   0.5-RTT. A handshake that fails is reported by `Closed` too, on either side, with the peer's alert as
//!   `Ended::Transport` and one's own as `Ended::Refused`.
//! - **Reading.** Read every stream and take every datagram at once and give credit; this crate bounds what it keeps.
//! - **The end of streams.** Do not let the stack send STOP_SENDING or RESET_STREAM of its own accord, as some do
//!   when a stream object is dropped. A stack that forgets a stream when STOP_SENDING is sent would hide the
//!   peer's answer (case abort): let it wait a moment between RESET_STREAM and STOP_SENDING then.
//! - **Order.** Events of one stream come in order; `Closed` comes last.

pub mod args;
pub mod cases;
pub mod codec;
pub mod identity;
pub mod peer;
pub mod report;
pub mod session;
pub mod transport;
pub mod vectors;

pub use args::{main, Role};
pub use transport::{Config, Conn, Ended, Event, Transport};
