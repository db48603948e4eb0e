//! quinn behind the transport trait. quinn runs in a thread of its own, with a task for each connection and for each direction
//! of a stream; what happens there goes through one channel to the thread that polls.

use bytes::Bytes;
use quicpeer_interop::transport::{
    Config, Conn, Ended, Event, Transport, BIDI_STREAMS, CONNECTION_WINDOW, IDLE_TIMEOUT, MAX_DATAGRAM_FRAME,
    STREAM_WINDOW, UNI_STREAMS,
};
use quinn::{
    Connecting, Connection, ConnectionError, Endpoint, ReadError, RecvStream, SendDatagramError, SendStream, VarInt,
};
use rustls::pki_types::CertificateDer;
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{mpsc, Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// quinn forgets a stream on which it has sent STOP_SENDING, and with it the code of the peer's answer to an abort: that
/// answer gets this long after RESET_STREAM.
const ANSWER: Duration = Duration::from_millis(20);
const STREAM_LIMIT_PATIENCE: Duration = Duration::from_secs(1);

enum Command {
    Write(Vec<u8>),
    Finish,
    Reset(VarInt),
}

/// How to reach the tasks of a stream, as far as it has both directions.
#[derive(Default)]
struct Stream {
    commands: Option<UnboundedSender<Command>>,
    stop: Option<UnboundedSender<VarInt>>,
}

struct Link {
    connection: Connection,
    streams: HashMap<u64, Stream>,
    /// The tasks that read: their events come before that of the connection's end.
    readers: JoinSet<()>,
}

struct Shared {
    events: mpsc::Sender<Event>,
    links: Mutex<HashMap<Conn, Link>>,
    last: AtomicU64,
}

pub struct Quinn {
    runtime: Runtime,
    endpoint: Endpoint,
    address: SocketAddr,
    shared: Arc<Shared>,
    events: mpsc::Receiver<Event>,
}

impl Shared {
    fn next(&self) -> Conn {
        self.last.fetch_add(1, Ordering::Relaxed)
    }

    fn tell(&self, event: Event) {
        // Nobody listens any more when the program ends.
        let _ = self.events.send(event);
    }

    fn with<R>(&self, conn: Conn, f: impl FnOnce(&mut Link) -> R) -> Option<R> {
        self.links.lock().expect("no thread panics").get_mut(&conn).map(f)
    }

    /// Starts the tasks of a stream; to be called in the runtime.
    fn add_stream(self: &Arc<Self>, conn: Conn, send: Option<SendStream>, receive: Option<RecvStream>) {
        self.with(conn, |link| {
            let mut stream = Stream::default();
            let id = send.as_ref().map(SendStream::id).or(receive.as_ref().map(RecvStream::id)).expect("a direction");
            let id = u64::from(VarInt::from(id));
            if let Some(send) = send {
                let (sender, commands) = unbounded_channel();
                stream.commands = Some(sender);
                tokio::spawn(write(self.clone(), conn, id, send, commands));
            }
            if let Some(receive) = receive {
                let (sender, stops) = unbounded_channel();
                stream.stop = Some(sender);
                link.readers.spawn(read(self.clone(), conn, id, receive, stops));
            }
            link.streams.insert(id, stream);
        });
    }
}

/// Carries out what is asked of a sending stream, and reports STOP_SENDING.
async fn write(
    shared: Arc<Shared>,
    conn: Conn,
    stream: u64,
    mut send: SendStream,
    mut commands: UnboundedReceiver<Command>,
) {
    let mut stopped = Box::pin(send.stopped());
    let mut watched = true;
    loop {
        tokio::select! {
            code = &mut stopped, if watched => {
                watched = false;
                if let Ok(Some(code)) = code {
                    shared.tell(Event::Stopped { conn, stream, code: code.into() });
                }
            }
            command = commands.recv() => {
                // An error means that the stream or the connection is over, and that is reported elsewhere.
                let _ = match command {
                    None => return,
                    Some(Command::Write(bytes)) => send.write_all(&bytes).await.is_ok(),
                    Some(Command::Finish) => send.finish().is_ok(),
                    Some(Command::Reset(code)) => send.reset(code).is_ok(),
                };
            }
        }
    }
}

async fn read(
    shared: Arc<Shared>,
    conn: Conn,
    stream: u64,
    mut receive: RecvStream,
    mut stops: UnboundedReceiver<VarInt>,
) {
    let reading = async {
        loop {
            match receive.read_chunk(usize::MAX, true).await {
                Ok(Some(chunk)) => shared.tell(Event::Data { conn, stream, bytes: chunk.bytes.to_vec() }),
                Ok(None) => return shared.tell(Event::Fin { conn, stream }),
                Err(ReadError::Reset(code)) => return shared.tell(Event::Reset { conn, stream, code: code.into() }),
                Err(_) => return,
            }
        }
    };
    let stop = async {
        let code = stops.recv().await;
        sleep(ANSWER).await;
        code
    };
    let code = tokio::select! {
        () = reading => None,
        code = stop => code,
    };
    if let Some(code) = code {
        let _ = receive.stop(code);
    }
}

/// Sees a connection through, from its handshake on.
async fn run(shared: Arc<Shared>, conn: Conn, incoming: bool, connecting: Connecting) {
    let connection = match connecting.await {
        Ok(connection) => connection,
        Err(error) => return closed(&shared, conn, error),
    };
    let link = Link { connection: connection.clone(), streams: HashMap::new(), readers: JoinSet::new() };
    shared.links.lock().expect("no thread panics").insert(conn, link);
    let certificate = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer>>().ok())
        .and_then(|chain| chain.first().map(|c| c.to_vec()));
    shared.tell(Event::Connected { conn, incoming, peer: connection.remote_address(), certificate });
    let error = loop {
        tokio::select! {
            stream = connection.accept_bi() => match stream {
                Ok((send, receive)) => shared.add_stream(conn, Some(send), Some(receive)),
                Err(error) => break error,
            },
            stream = connection.accept_uni() => match stream {
                Ok(receive) => shared.add_stream(conn, None, Some(receive)),
                Err(error) => break error,
            },
            datagram = connection.read_datagram() => match datagram {
                Ok(bytes) => shared.tell(Event::Datagram { conn, bytes: bytes.to_vec() }),
                Err(error) => break error,
            },
        }
    };
    let mut readers = shared.with(conn, |link| std::mem::take(&mut link.readers)).unwrap_or_default();
    while readers.join_next().await.is_some() {}
    closed(&shared, conn, error);
}

fn closed(shared: &Shared, conn: Conn, error: ConnectionError) {
    let ended = match error {
        ConnectionError::LocallyClosed => return,
        ConnectionError::ApplicationClosed(close) => {
            Ended::Application { code: close.error_code.into(), reason: String::from_utf8_lossy(&close.reason).into() }
        }
        ConnectionError::ConnectionClosed(close) => {
            Ended::Transport { code: close.error_code.into(), reason: String::from_utf8_lossy(&close.reason).into() }
        }
        ConnectionError::TransportError(e) if (0x100..=0x1ff).contains(&u64::from(e.code)) => {
            Ended::Refused(e.to_string())
        }
        other => Ended::Lost(other.to_string()),
    };
    shared.tell(Event::Closed { conn, ended });
}

fn varint(n: u64) -> VarInt {
    VarInt::from_u64(n).unwrap_or(VarInt::MAX)
}

fn transport_config(config: &Config) -> Arc<quinn::TransportConfig> {
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(varint(BIDI_STREAMS))
        .max_concurrent_uni_streams(varint(UNI_STREAMS))
        .stream_receive_window(varint(STREAM_WINDOW))
        .receive_window(varint(CONNECTION_WINDOW))
        .max_idle_timeout(Some(IDLE_TIMEOUT.try_into().expect("a short time")))
        // quinn offers datagrams of as many bytes as this buffer has, and none without it.
        .datagram_receive_buffer_size(config.datagrams.then_some(16 * MAX_DATAGRAM_FRAME as usize));
    Arc::new(transport)
}

impl Transport for Quinn {
    const STACK: &'static str = "quinn";
    const VERSION: &'static str = "0.11.12";

    fn bind(config: &Config) -> Result<Quinn, String> {
        let (client, server) = crate::tls::configs(config)?;
        let transport = transport_config(config);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|e| e.to_string())?;
        let in_runtime = runtime.enter();
        let server = server.map(|server| {
            let mut server = quinn::ServerConfig::with_crypto(Arc::new(server));
            let mut no_tokens = quinn::ValidationTokenConfig::default();
            no_tokens.sent(0);
            server.transport_config(transport.clone()).validation_token_config(no_tokens);
            server
        });
        // quinn takes drafts of QUIC too, unless it is told not to.
        let mut versions = quinn::EndpointConfig::default();
        versions.supported_versions(vec![1]);
        let mut endpoint = UdpSocket::bind(config.address)
            .and_then(|socket| Endpoint::new(versions, server, socket, Arc::new(quinn::TokioRuntime)))
            .map_err(|e| e.to_string())?;
        let mut client = quinn::ClientConfig::new(Arc::new(client));
        client.transport_config(transport);
        endpoint.set_default_client_config(client);
        let address = endpoint.local_addr().map_err(|e| e.to_string())?;

        let (sender, events) = mpsc::channel();
        let shared = Arc::new(Shared { events: sender, links: Mutex::default(), last: AtomicU64::new(0) });
        let (accepting, for_accepted) = (endpoint.clone(), shared.clone());
        tokio::spawn(async move {
            while let Some(incoming) = accepting.accept().await {
                let (shared, conn) = (for_accepted.clone(), for_accepted.next());
                match incoming.accept() {
                    Ok(connecting) => drop(tokio::spawn(run(shared, conn, true, connecting))),
                    Err(error) => closed(&shared, conn, error),
                }
            }
        });
        drop(in_runtime);
        Ok(Quinn { runtime, endpoint, address, shared, events })
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn dial(&mut self, to: SocketAddr) -> Result<Conn, String> {
        let in_runtime = self.runtime.enter();
        // The name is not sent, and means nothing to the verifier.
        let connecting = self.endpoint.connect(to, "peer.invalid").map_err(|e| e.to_string())?;
        let conn = self.shared.next();
        tokio::spawn(run(self.shared.clone(), conn, false, connecting));
        drop(in_runtime);
        Ok(conn)
    }

    fn open_stream(&mut self, conn: Conn, bidirectional: bool) -> Result<u64, String> {
        let connection = self.shared.with(conn, |link| link.connection.clone()).ok_or("no such connection")?;
        let shared = self.shared.clone();
        let opening = async move {
            let (send, receive) = if bidirectional {
                connection.open_bi().await.map(|(send, receive)| (send, Some(receive)))?
            } else {
                (connection.open_uni().await?, None)
            };
            let id = u64::from(VarInt::from(send.id()));
            shared.add_stream(conn, Some(send), receive);
            Ok(id)
        };
        self.runtime
            .block_on(async { timeout(STREAM_LIMIT_PATIENCE, opening).await })
            .map_err(|_| "the peer allows no further stream")?
            .map_err(|e: ConnectionError| e.to_string())
    }

    fn write(&mut self, conn: Conn, stream: u64, bytes: &[u8]) {
        self.command(conn, stream, Command::Write(bytes.to_vec()));
    }

    fn finish(&mut self, conn: Conn, stream: u64) {
        self.command(conn, stream, Command::Finish);
    }

    fn reset(&mut self, conn: Conn, stream: u64, code: u64) {
        self.command(conn, stream, Command::Reset(varint(code)));
    }

    fn stop_sending(&mut self, conn: Conn, stream: u64, code: u64) {
        self.shared.with(conn, |link| {
            if let Some(stop) = link.streams.get(&stream).and_then(|s| s.stop.as_ref()) {
                let _ = stop.send(varint(code));
            }
        });
    }

    fn send_datagram(&mut self, conn: Conn, bytes: &[u8]) -> Result<(), String> {
        let sent = self.shared.with(conn, |link| link.connection.send_datagram(Bytes::copy_from_slice(bytes)));
        match sent {
            None | Some(Ok(()) | Err(SendDatagramError::ConnectionLost(_))) => Ok(()),
            Some(Err(error)) => Err(error.to_string()),
        }
    }

    fn max_datagram(&self, conn: Conn) -> Option<usize> {
        self.shared.with(conn, |link| link.connection.max_datagram_size()).flatten()
    }

    fn rtt(&self, conn: Conn) -> Duration {
        self.shared.with(conn, |link| link.connection.rtt()).unwrap_or_default()
    }

    fn close(&mut self, conn: Conn, code: u64, reason: &str) {
        self.shared.with(conn, |link| link.connection.close(varint(code), reason.as_bytes()));
    }

    fn poll(&mut self, deadline: Instant) -> Option<Event> {
        self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
    }

    fn shutdown(self, deadline: Instant) {
        self.endpoint.close(varint(0), b"");
        let left = deadline.saturating_duration_since(Instant::now());
        let _ = self.runtime.block_on(async { timeout(left, self.endpoint.wait_idle()).await });
        self.runtime.shutdown_background();
    }
}

impl Quinn {
    fn command(&self, conn: Conn, stream: u64, command: Command) {
        self.shared.with(conn, |link| {
            if let Some(commands) = link.streams.get(&stream).and_then(|s| s.commands.as_ref()) {
                let _ = commands.send(command);
            }
        });
    }
}
