use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use lines::{DISCOVERY, KEEP_ALIVE, LARGEST_PACKET, Result, SOCKET_BUFFER, Stack, Tally};
use s2n_quic::client::Connect;
use s2n_quic::provider::datagram::default::Endpoint as Datagrams;
use s2n_quic::provider::io::tokio::{Builder as IoBuilder, Provider as Io};
use s2n_quic::provider::limits::Limits;
use s2n_quic::{Client, Server};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::discovery::Discovery;
use crate::link::{Link, serve};
use crate::tls;

/// How many messages that the application has not taken yet the receiver keeps; beyond that
/// s2n-quic drops the oldest, which then counts as lost.
const RECEIVE_QUEUE: usize = 1 << 16;

/// How many messages wait for the connection to send them. A sender that waits for room needs
/// only as much as covers its wake-up.
const SEND_QUEUE: usize = 1 << 10;

/// The headers of IPv4 and UDP, in bytes: s2n-quic counts them in where it is told an MTU.
const IP_AND_UDP: u16 = 20 + 8;

/// The stack s2n-quic.
pub struct S2n;

impl Stack for S2n {
    type Link = Link;

    async fn listen(tally: Arc<Tally>) -> Result<(SocketAddr, JoinHandle<Result<Infallible>>)> {
        let server = Server::builder()
            .with_tls(tls::server()?)?
            .with_io(io()?)?
            .with_datagram(datagrams()?)?
            .start()?;
        let address = server.local_addr()?;
        Ok((address, tokio::spawn(accept(server, tally))))
    }

    async fn connect(server: SocketAddr) -> Result<Link> {
        let (discovery, mut found) = Discovery::new();
        let client = Client::builder()
            .with_tls(tls::client()?)?
            .with_io(io()?)?
            .with_datagram(datagrams()?)?
            .with_limits(Limits::new().with_max_keep_alive_period(KEEP_ALIVE)?)?
            .with_event(discovery)?
            .start()?;
        let mut connection = client
            .connect(Connect::new(server).with_server_name("localhost"))
            .await?;
        connection.keep_alive(true)?;
        // Past the second the connection is used as it is.
        let _ = timeout(DISCOVERY, found.wait_for(|state| state.complete)).await;
        Ok(Link::new(client, &connection, found))
    }
}

/// A socket on loopback. Segmentation and receive offload are on, as is s2n-quic's custom where
/// the system has them.
fn io() -> Result<Io> {
    Ok(IoBuilder::default()
        .with_receive_address((Ipv4Addr::LOCALHOST, 0).into())?
        .with_recv_buffer_size(SOCKET_BUFFER)?
        .with_send_buffer_size(SOCKET_BUFFER)?
        .with_max_mtu(LARGEST_PACKET + IP_AND_UDP)?
        .build()?)
}

fn datagrams() -> Result<Datagrams> {
    Ok(Datagrams::builder()
        .with_recv_capacity(RECEIVE_QUEUE)?
        .with_send_capacity(SEND_QUEUE)?
        .build()?)
}

async fn accept(mut server: Server, tally: Arc<Tally>) -> Result<Infallible> {
    while let Some(connection) = server.accept().await {
        let tally = tally.clone();
        tokio::spawn(async move { serve(connection, &tally).await });
    }
    Err("the endpoint accepts no more connections".into())
}
