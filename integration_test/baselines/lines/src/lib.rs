//! What the baseline programs in Rust have in common: the lines that they speak on standard
//! input and output (see README.md beside the folders), and the load that they make. A program
//! adds its QUIC stack by implementing [`Stack`] and [`Link`] and calls [`run`].

mod arguments;
mod commands;
mod flood;
mod link;
mod ping;
mod run;
mod serve;
mod tally;

pub use link::{Link, Result, Stack};
pub use run::run;
pub use tally::Tally;

/// The largest UDP payload that path MTU discovery may find: the bound that quic-go has.
pub const LARGEST_PACKET: u16 = 1452;

/// What to ask of the system for each socket buffer, in bytes: what quic-go asks for. The system
/// may grant less.
pub const SOCKET_BUFFER: usize = 7 << 20;

/// The application protocol that server and client agree on in the TLS handshake.
pub const ALPN: &[u8] = b"baseline";

/// The longest wait for path MTU discovery to end.
pub const DISCOVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// How often an idle connection sends something, so that it outlives a long wait for a command.
/// Well under the idle timeout of 30 s that the stacks have.
pub const KEEP_ALIVE: std::time::Duration = std::time::Duration::from_secs(10);

/// The first byte of a message that the server counts.
pub(crate) const COUNT: u8 = 1;

/// The first byte of a message that the server sends back.
pub(crate) const ECHO: u8 = 2;
