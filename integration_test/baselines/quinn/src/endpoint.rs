use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use lines::{
    DISCOVERY, KEEP_ALIVE, LARGEST_PACKET, Link as _, Result, SOCKET_BUFFER, Stack, Tally,
};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, MtuDiscoveryConfig, ServerConfig,
    TokioRuntime, TransportConfig,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::link::Link;
use crate::tls;

/// How many bytes of messages that the application has not taken yet the receiver keeps; beyond
/// that quinn drops the oldest, which then counts as lost. Quinn's own 1.25 MB is a few
/// milliseconds of a flood.
const RECEIVE_BUFFER: usize = 16 << 20;

/// How many bytes of messages wait for the connection to send them. A sender that waits for room
/// needs only as much as covers its wake-up.
const SEND_BUFFER: usize = 1 << 20;

/// How often to look whether path MTU discovery has ended: quinn has no event for it.
const LOOK: Duration = Duration::from_millis(5);

/// The stack quinn.
pub struct Quinn;

impl Stack for Quinn {
    type Link = Link;

    async fn listen(tally: Arc<Tally>) -> Result<(SocketAddr, JoinHandle<Result<Infallible>>)> {
        let mut config = ServerConfig::with_crypto(Arc::new(tls::server()?));
        config.transport_config(transport());
        let endpoint = endpoint(Some(config))?;
        let address = endpoint.local_addr()?;
        Ok((address, tokio::spawn(accept(endpoint, tally))))
    }

    async fn connect(server: SocketAddr) -> Result<Link> {
        let mut config = ClientConfig::new(Arc::new(tls::client()?));
        config.transport_config(transport());
        let endpoint = endpoint(None)?;
        let connection = endpoint.connect_with(config, server, "localhost")?.await?;
        // Past the second the connection is used as it is.
        let _ = timeout(DISCOVERY, discovered(&connection)).await;
        Ok(Link::new(endpoint, connection))
    }
}

/// A socket on loopback, with the endpoint that uses it. Segmentation and receive offload are on,
/// as is quinn's custom where the system has them.
fn endpoint(server: Option<ServerConfig>) -> Result<Endpoint> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    Ok(Endpoint::new(
        EndpointConfig::default(),
        server,
        UdpSocket::from(socket),
        Arc::new(TokioRuntime),
    )?)
}

fn transport() -> Arc<TransportConfig> {
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(LARGEST_PACKET);
    let mut config = TransportConfig::default();
    config
        .mtu_discovery_config(Some(discovery))
        .datagram_receive_buffer_size(Some(RECEIVE_BUFFER))
        .datagram_send_buffer_size(SEND_BUFFER)
        .keep_alive_interval(Some(KEEP_ALIVE));
    Arc::new(config)
}

async fn discovered(connection: &Connection) {
    while connection.stats().path.current_mtu < LARGEST_PACKET {
        sleep(LOOK).await;
    }
}

async fn accept(endpoint: Endpoint, tally: Arc<Tally>) -> Result<Infallible> {
    while let Some(incoming) = endpoint.accept().await {
        let (endpoint, tally) = (endpoint.clone(), tally.clone());
        tokio::spawn(async move {
            let connection = incoming.await?;
            answer(Link::new(endpoint, connection), &tally).await
        });
    }
    Err("the endpoint accepts no more connections".into())
}

/// Serves one connection until it ends.
async fn answer(link: Link, tally: &Tally) -> Result<()> {
    let mut inbox = Vec::new();
    loop {
        link.receive(&mut inbox).await?;
        tally.take(&mut inbox);
        for message in inbox.drain(..) {
            link.send_back(message).await?;
        }
    }
}
