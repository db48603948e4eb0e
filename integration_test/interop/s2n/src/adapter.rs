//! s2n-quic behind the transport trait. s2n-quic runs in a thread of its own, with a task for each connection and for
//! each direction of a stream; what happens there goes through one channel to the thread that polls.

use crate::observer::{code, Facts, Observed, Observer};
use crate::tls;
use bytes::Bytes;
use quicpeer_interop::transport::{
    Config, Conn, Ended, Event, Transport, BIDI_STREAMS, CONNECTION_WINDOW, IDLE_TIMEOUT, STREAM_WINDOW, UNI_STREAMS,
};
use quicpeer_interop::Role;
use s2n_quic::application;
use s2n_quic::client::Connect;
use s2n_quic::connection::{Connection, Handle};
use s2n_quic::provider::connection_id::default::Format as ConnectionIds;
use s2n_quic::provider::datagram::default::{DatagramError, Endpoint as Datagrams, Receiver, Sender};
use s2n_quic::provider::io::tokio::{Builder as IoBuilder, Provider as Io};
use s2n_quic::provider::limits::Limits;
use s2n_quic::stream::{Error as StreamError, LocalStream, PeerStream, ReceiveStream, SendStream, Type};
use s2n_quic::{Client, Server};
use std::collections::HashMap;
use std::fmt::Display;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{mpsc, Arc, Mutex};
use std::task::{ready, Poll};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How many datagrams wait on either side. There is no default, and what does not fit is dropped.
const QUEUE: usize = 1 << 10;
/// The IP packet that a path is first tried with. It leaves room for other frames beside a datagram of 1,200 bytes.
const INITIAL_MTU: u16 = 1_500;
/// What a packet of one datagram has besides it: first byte, connection id, packet number, type and length of the frame,
/// tag.
const OVERHEAD: u16 = 1 + 16 + 4 + 1 + 2 + 16;
/// s2n-quic drops a datagram that does not fit behind the other frames of a packet, without a word: room for those.
const OTHER_FRAMES: u16 = 64;
/// Type and length of a DATAGRAM frame, which the peer's limit includes.
const FRAME_HEADER: u64 = 1 + 2;
const STREAM_LIMIT_PATIENCE: Duration = Duration::from_secs(1);
/// How long a CONNECTION_CLOSE takes to leave. s2n-quic says only for clients when it has.
const LEAVING: Duration = Duration::from_millis(50);

enum Command {
    Write(Vec<u8>),
    Finish,
    Reset(application::Error),
}

/// How to reach the tasks of a stream, as far as it has both directions.
#[derive(Default)]
struct Stream {
    commands: Option<UnboundedSender<Command>>,
    stop: Option<UnboundedSender<application::Error>>,
}

struct Link {
    handle: Handle,
    facts: watch::Receiver<Facts>,
    streams: HashMap<u64, Stream>,
    /// The tasks that read: their events come before that of the connection's end.
    readers: JoinSet<()>,
    closed_here: bool,
}

pub struct Shared {
    events: mpsc::Sender<Event>,
    links: Mutex<HashMap<Conn, Link>>,
    last: AtomicU64,
    datagrams: bool,
}

pub struct S2n {
    runtime: Runtime,
    config: Config,
    client_tls: tls::Client,
    clients: Vec<Client>,
    address: SocketAddr,
    shared: Arc<Shared>,
    events: mpsc::Receiver<Event>,
}

impl Shared {
    pub fn next(&self) -> Conn {
        self.last.fetch_add(1, Ordering::Relaxed)
    }

    pub fn tell(&self, event: Event) {
        // Nobody listens any more when the program ends.
        let _ = self.events.send(event);
    }

    fn with<R>(&self, conn: Conn, f: impl FnOnce(&mut Link) -> R) -> Option<R> {
        self.links.lock().expect("no thread panics").get_mut(&conn).map(f)
    }

    /// Starts the tasks of a stream; to be called in the runtime.
    fn add_stream(self: &Arc<Self>, conn: Conn, id: u64, send: Option<SendStream>, receive: Option<ReceiveStream>) {
        self.with(conn, |link| {
            let mut stream = Stream::default();
            if let Some(send) = send {
                let (sender, commands) = unbounded_channel();
                stream.commands = Some(sender);
                tokio::spawn(write(self.clone(), conn, send, commands, link.facts.clone()));
            }
            if let Some(receive) = receive {
                let (sender, stops) = unbounded_channel();
                stream.stop = Some(sender);
                link.readers.spawn(read(self.clone(), conn, receive, stops, link.facts.clone()));
            }
            link.streams.insert(id, stream);
        });
    }
}

/// Carries out what is asked of a sending stream, and reports STOP_SENDING.
async fn write(
    shared: Arc<Shared>,
    conn: Conn,
    mut send: SendStream,
    mut commands: UnboundedReceiver<Command>,
    mut facts: watch::Receiver<Facts>,
) {
    let stream = send.id();
    let (mut watched, mut finished) = (true, false);
    loop {
        tokio::select! {
            biased;
            code = code(&mut facts, |f| f.stops.get(&stream).copied()), if watched => {
                watched = false;
                if let Some(code) = code {
                    shared.tell(Event::Stopped { conn, stream, code });
                }
            }
            command = commands.recv() => {
                // An error means that the stream or the connection is over, and that is reported elsewhere.
                let _ = match command {
                    None => return,
                    Some(Command::Write(bytes)) => send.send(Bytes::from(bytes)).await,
                    Some(Command::Finish) => {
                        finished = true;
                        send.finish()
                    }
                    Some(Command::Reset(code)) => send.reset(code),
                };
            }
            // s2n-quic keeps a stream until somebody has seen its end.
            _ = send.close(), if finished => return,
        }
    }
}

async fn read(
    shared: Arc<Shared>,
    conn: Conn,
    mut receive: ReceiveStream,
    mut stops: UnboundedReceiver<application::Error>,
    mut facts: watch::Receiver<Facts>,
) {
    let stream = receive.id();
    loop {
        tokio::select! {
            received = receive.receive() => match received {
                Ok(Some(bytes)) => shared.tell(Event::Data { conn, stream, bytes: bytes.to_vec() }),
                Ok(None) => return shared.tell(Event::Fin { conn, stream }),
                Err(StreamError::StreamReset { error, .. }) => {
                    return shared.tell(Event::Reset { conn, stream, code: error.into() });
                }
                Err(_) => return,
            },
            stop = stops.recv() => {
                let Some(stop) = stop else { return };
                let _ = receive.stop_sending(stop);
                // From here on the stream itself shows nothing but one's own code.
                if let Some(code) = code(&mut facts, |f| f.resets.get(&stream).copied()).await {
                    shared.tell(Event::Reset { conn, stream, code });
                }
                return;
            }
        }
    }
}

/// Waits for a datagram, or the end of the connection.
async fn receive_datagram(handle: &Handle) -> Option<Bytes> {
    poll_fn(|cx| match handle.datagram_mut(|receiver: &mut Receiver| receiver.poll_recv_datagram(cx)) {
        Ok(poll) => Poll::Ready(ready!(poll).ok()),
        Err(_) => Poll::Ready(None),
    })
    .await
}

/// Sees a connection through, once its handshake is complete.
async fn run(shared: Arc<Shared>, incoming: bool, mut connection: Connection) {
    // If it has ended already, the observer has said so.
    let Ok(peer) = connection.remote_addr() else { return };
    let Ok(Some((conn, mut facts))) = connection.query_event_context_mut(Observed::take) else { return };
    let (handle, mut acceptor) = connection.split();
    let link = Link {
        handle: handle.clone(),
        facts: facts.clone(),
        streams: HashMap::new(),
        readers: JoinSet::new(),
        closed_here: false,
    };
    shared.links.lock().expect("no thread panics").insert(conn, link);
    let certificate = facts.borrow().certificate.clone();
    shared.tell(Event::Connected { conn, incoming, peer, certificate });
    loop {
        tokio::select! {
            stream = acceptor.accept() => match stream {
                Ok(Some(PeerStream::Bidirectional(stream))) => {
                    let id = stream.id();
                    let (receive, send) = stream.split();
                    shared.add_stream(conn, id, Some(send), Some(receive));
                }
                Ok(Some(PeerStream::Receive(stream))) => shared.add_stream(conn, stream.id(), None, Some(stream)),
                Ok(None) | Err(_) => break,
            },
            datagram = receive_datagram(&handle), if shared.datagrams => match datagram {
                Some(bytes) => shared.tell(Event::Datagram { conn, bytes: bytes.to_vec() }),
                None => break,
            },
        }
    }
    let mut readers = shared.with(conn, |link| std::mem::take(&mut link.readers)).unwrap_or_default();
    while readers.join_next().await.is_some() {}
    let ended = match facts.wait_for(|f| f.ended.is_some()).await {
        Ok(facts) => facts.ended.clone(),
        Err(_) => None,
    };
    if shared.with(conn, |link| link.closed_here) == Some(false) {
        let ended = ended.unwrap_or_else(|| Ended::Lost("the endpoint is gone".into()));
        shared.tell(Event::Closed { conn, ended });
    }
}

fn text(error: impl Display) -> String {
    error.to_string()
}

fn application_error(code: u64) -> application::Error {
    application::Error::new(code).unwrap_or(application::Error::UNKNOWN)
}

fn io(address: SocketAddr) -> Result<Io, String> {
    let builder = IoBuilder::default().with_receive_address(address).and_then(|b| b.with_initial_mtu(INITIAL_MTU));
    builder.and_then(IoBuilder::build).map_err(text)
}

fn datagrams() -> Result<Datagrams, String> {
    let builder = Datagrams::builder().with_send_capacity(QUEUE).and_then(|b| b.with_recv_capacity(QUEUE));
    builder.map_err(text)?.build().map_err(text)
}

/// Once s2n-quic has changed to another of the peer's connection ids, it drops the peer's handshake packets, which still
/// come from the first: a client would not see that the server refuses its certificate. So it does not change by itself.
fn connection_ids() -> Result<ConnectionIds, String> {
    let builder = ConnectionIds::builder().with_handshake_connection_id_rotation(false);
    builder.map_err(text)?.build().map_err(text)
}

fn limits() -> Result<Limits, String> {
    Limits::new()
        .with_max_idle_timeout(IDLE_TIMEOUT)
        .and_then(|l| l.with_data_window(CONNECTION_WINDOW))
        .and_then(|l| l.with_bidirectional_local_data_window(STREAM_WINDOW))
        .and_then(|l| l.with_bidirectional_remote_data_window(STREAM_WINDOW))
        .and_then(|l| l.with_unidirectional_data_window(STREAM_WINDOW))
        .and_then(|l| l.with_max_open_remote_bidirectional_streams(BIDI_STREAMS))
        .and_then(|l| l.with_max_open_remote_unidirectional_streams(UNI_STREAMS))
        .map_err(text)
}

fn listen(config: &Config, tls: tls::Server, shared: &Arc<Shared>) -> Result<Server, String> {
    let builder = Server::builder()
        .with_tls(tls)
        .map_err(text)?
        .with_io(io(config.address)?)
        .map_err(text)?
        .with_limits(limits()?)
        .map_err(text)?
        .with_connection_id(connection_ids()?)
        .map_err(text)?
        .with_connection_close_formatter(tls::Alerts)
        .map_err(text)?
        .with_event(Observer { shared: shared.clone(), dialed: None })
        .map_err(text)?;
    if !config.datagrams {
        return builder.start().map_err(text);
    }
    builder.with_datagram(datagrams()?).map_err(text)?.start().map_err(text)
}

fn client(config: &Config, tls: tls::Client, shared: &Arc<Shared>, conn: Conn) -> Result<Client, String> {
    let builder = Client::builder()
        .with_tls(tls)
        .map_err(text)?
        .with_io(io(SocketAddr::new(config.address.ip(), 0))?)
        .map_err(text)?
        .with_limits(limits()?)
        .map_err(text)?
        .with_connection_id(connection_ids()?)
        .map_err(text)?
        .with_connection_close_formatter(tls::Alerts)
        .map_err(text)?
        .with_event(Observer { shared: shared.clone(), dialed: Some(conn) })
        .map_err(text)?;
    if !config.datagrams {
        return builder.start().map_err(text);
    }
    builder.with_datagram(datagrams()?).map_err(text)?.start().map_err(text)
}

impl Transport for S2n {
    const STACK: &'static str = "s2n-quic";
    const VERSION: &'static str = "1.91.0";

    fn impossible(_role: Role, case: &str) -> Option<&'static str> {
        (case == "one-port").then_some("a client and a server of s2n-quic each need a UDP socket of their own")
    }

    fn bind(config: &Config) -> Result<S2n, String> {
        let (client_tls, server_tls) = tls::configs(config)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(text)?;
        let (sender, events) = mpsc::channel();
        let shared = Arc::new(Shared {
            events: sender,
            links: Mutex::default(),
            last: AtomicU64::new(0),
            datagrams: config.datagrams,
        });
        let in_runtime = runtime.enter();
        let mut address = config.address;
        if let Some(tls) = server_tls {
            let mut server = listen(config, tls, &shared)?;
            address = server.local_addr().map_err(text)?;
            let shared = shared.clone();
            tokio::spawn(async move {
                while let Some(connection) = server.accept().await {
                    tokio::spawn(run(shared.clone(), true, connection));
                }
            });
        }
        drop(in_runtime);
        Ok(S2n { runtime, config: config.clone(), client_tls, clients: Vec::new(), address, shared, events })
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn dial(&mut self, to: SocketAddr) -> Result<Conn, String> {
        let in_runtime = self.runtime.enter();
        let conn = self.shared.next();
        let client = client(&self.config, self.client_tls.clone(), &self.shared, conn)?;
        // The name is not sent, and means nothing to the verifier.
        let connecting = client.connect(Connect::new(to).with_server_name("peer.invalid"));
        let shared = self.shared.clone();
        tokio::spawn(async move {
            // The observer tells of an attempt that fails.
            if let Ok(connection) = connecting.await {
                run(shared, false, connection).await;
            }
        });
        drop(in_runtime);
        self.clients.push(client);
        Ok(conn)
    }

    fn open_stream(&mut self, conn: Conn, bidirectional: bool) -> Result<u64, String> {
        let mut handle = self.shared.with(conn, |link| link.handle.clone()).ok_or("no such connection")?;
        let kind = if bidirectional { Type::Bidirectional } else { Type::Unidirectional };
        let shared = self.shared.clone();
        self.runtime.block_on(async {
            let opening = timeout(STREAM_LIMIT_PATIENCE, handle.open_stream(kind)).await;
            let stream = opening.map_err(|_| "the peer allows no further stream")?.map_err(text)?;
            let id = stream.id();
            match stream {
                LocalStream::Bidirectional(stream) => {
                    let (receive, send) = stream.split();
                    shared.add_stream(conn, id, Some(send), Some(receive));
                }
                LocalStream::Send(send) => shared.add_stream(conn, id, Some(send), None),
            }
            Ok(id)
        })
    }

    fn write(&mut self, conn: Conn, stream: u64, bytes: &[u8]) {
        self.command(conn, stream, Command::Write(bytes.to_vec()));
    }

    fn finish(&mut self, conn: Conn, stream: u64) {
        self.command(conn, stream, Command::Finish);
    }

    fn reset(&mut self, conn: Conn, stream: u64, code: u64) {
        self.command(conn, stream, Command::Reset(application_error(code)));
    }

    fn stop_sending(&mut self, conn: Conn, stream: u64, code: u64) {
        self.shared.with(conn, |link| {
            if let Some(stop) = link.streams.get(&stream).and_then(|s| s.stop.as_ref()) {
                let _ = stop.send(application_error(code));
            }
        });
    }

    fn send_datagram(&mut self, conn: Conn, bytes: &[u8]) -> Result<(), String> {
        let bytes = Bytes::copy_from_slice(bytes);
        let sent = self.shared.with(conn, |link| link.handle.datagram_mut(|s: &mut Sender| s.send_datagram(bytes)));
        match sent {
            Some(Ok(Err(error))) if !matches!(error, DatagramError::ConnectionError { .. }) => Err(error.to_string()),
            _ => Ok(()),
        }
    }

    fn max_datagram(&self, conn: Conn) -> Option<usize> {
        self.shared.with(conn, |link| {
            let facts = link.facts.borrow();
            let limit = facts.datagram_frame.checked_sub(FRAME_HEADER)?;
            let room = facts.packet.saturating_sub(OVERHEAD + OTHER_FRAMES);
            usize::try_from(limit.min(room.into())).ok()
        })?
    }

    fn rtt(&self, conn: Conn) -> Duration {
        self.shared.with(conn, |link| link.facts.borrow().rtt).unwrap_or_default()
    }

    /// s2n-quic sends no reason.
    fn close(&mut self, conn: Conn, code: u64, _reason: &str) {
        self.shared.with(conn, |link| {
            link.closed_here = true;
            link.handle.close(application_error(code));
        });
    }

    fn poll(&mut self, deadline: Instant) -> Option<Event> {
        self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
    }

    fn shutdown(self, deadline: Instant) {
        for link in self.shared.links.lock().expect("no thread panics").values() {
            link.handle.close(application_error(0));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        self.runtime.block_on(async {
            sleep(LEAVING).await;
            for mut client in self.clients {
                let _ = timeout(left, client.wait_idle()).await;
            }
        });
        self.runtime.shutdown_background();
    }
}

impl S2n {
    fn command(&self, conn: Conn, stream: u64, command: Command) {
        self.shared.with(conn, |link| {
            if let Some(commands) = link.streams.get(&stream).and_then(|s| s.commands.as_ref()) {
                let _ = commands.send(command);
            }
        });
    }
}
