use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::Tally;

/// What can fail in a baseline program; the error's text is what its user reads.
pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A QUIC stack under measurement. Its functions run inside a multi-threaded tokio runtime.
pub trait Stack: 'static {
    type Link: Link;

    /// Listens on a port of 127.0.0.1 that the system chooses, and from then on hands what comes
    /// in on any connection to the tally and sends back what the tally leaves over. The task
    /// ends only when the stack can accept no more connections.
    fn listen(
        tally: Arc<Tally>,
    ) -> impl Future<Output = Result<(SocketAddr, JoinHandle<Result<Infallible>>)>> + Send;

    /// Connects, and waits until path MTU discovery has ended, [`crate::DISCOVERY`] at most.
    fn connect(server: SocketAddr) -> impl Future<Output = Result<Self::Link>> + Send;
}

/// One connection that sends and receives unreliable messages, as a client has it. Clones are
/// the same connection.
pub trait Link: Clone + Send + Sync + 'static {
    /// The most bytes that one message may have now. It shrinks when the stack takes the path for
    /// narrower than it was.
    fn largest(&self) -> usize;

    /// Hands the messages to the stack in their order, and waits for room where the stack has
    /// none. Ends early, without a failure, at a message that has become too large. Adds one to `sent` for each message that the stack has taken, also if the future is
    /// dropped before its end.
    fn send(&self, messages: &[Bytes], sent: &mut usize)
    -> impl Future<Output = Result<()>> + Send;

    /// Waits for a message, and appends it, and others that have come in too, to the inbox. Fails
    /// once the connection is closed. Nothing is lost if the future is dropped before its end.
    fn receive(&self, inbox: &mut Vec<Bytes>) -> impl Future<Output = Result<()>> + Send;

    /// Closes the connection and tells the peer.
    fn close(self) -> impl Future<Output = ()> + Send;
}
