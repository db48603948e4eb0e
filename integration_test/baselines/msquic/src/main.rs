//! Baseline program: QUIC datagrams with MsQuic. README.md in the folder above says what it does.

mod link;
mod outgoing;
mod server;
mod setup;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use lines::{Result, Stack, Tally};
use tokio::task::JoinHandle;

/// The stack MsQuic. It has threads of its own, which call back; tokio only waits for them.
struct MsQuic;

impl Stack for MsQuic {
    type Link = link::Link;

    async fn listen(tally: Arc<Tally>) -> Result<(SocketAddr, JoinHandle<Result<Infallible>>)> {
        server::listen(tally)
    }

    async fn connect(server: SocketAddr) -> Result<Self::Link> {
        link::Link::connect(server).await
    }
}

fn main() -> ExitCode {
    lines::run::<MsQuic>()
}
