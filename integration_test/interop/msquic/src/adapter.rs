//! MsQuic behind the transport trait. The thread that polls owns all handles; MsQuic's callbacks only tell it what happened,
//! through one channel.

use crate::watch::{ConnectionWatch, News, StreamWatch, Teller};
use crate::{outgoing, setup};
use msquic::{
    Addr, Api, Configuration, Connection, ConnectionShutdownFlags, Listener, ListenerEvent, Registration,
    RegistrationConfig, Status, StatusCode, Stream, StreamOpenFlags, StreamShutdownFlags, StreamStartFlags,
    ADDRESS_FAMILY_UNSPEC, PARAM_CONN_LOCAL_ADDRESS, PARAM_CONN_REMOTE_ADDRESS,
};
use quicpeer_interop::transport::{Config, Conn, Event, Transport};
use quicpeer_interop::Role;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{mpsc, Arc};
use std::time::{Duration, Instant};

/// MsQuic does not show the peer's RESET_STREAM on a stream on which it has sent STOP_SENDING. STOP_SENDING waits this
/// long, so that the code of the peer's answer to an abort is seen.
const ANSWER: Duration = Duration::from_millis(20);
const START_PATIENCE: Duration = Duration::from_secs(1);

/// The handles of a connection, in the order in which they have to be closed.
struct Link {
    streams: HashMap<u64, Stream>,
    connection: Connection,
    teller: Teller,
    max_datagram: Option<usize>,
    /// Closed by this side: nothing more is told of it.
    closed: bool,
}

struct Stop {
    at: Instant,
    conn: Conn,
    stream: u64,
    code: u64,
}

/// Among the fields are MsQuic's handles, in the order in which they have to be closed; the news may have some, too.
pub struct MsQuic {
    links: HashMap<Conn, Link>,
    _listener: Option<Listener>,
    address: SocketAddr,
    news: mpsc::Receiver<(Conn, News)>,
    for_news: mpsc::Sender<(Conn, News)>,
    stops: Vec<Stop>,
    last: Arc<AtomicU64>,
    config: Arc<Config>,
    client: Configuration,
    _server: Option<Arc<Configuration>>,
    registration: Registration,
}

fn text(status: Status) -> String {
    status.to_string()
}

impl Transport for MsQuic {
    const STACK: &'static str = "msquic";
    const VERSION: &'static str = "2.5.1-beta";

    fn impossible(_role: Role, case: &str) -> Option<&'static str> {
        (case == "one-port")
            .then_some("MsQuic refuses to dial from a UDP port that a listener has, shared or not: address in use")
    }

    fn bind(config: &Config) -> Result<MsQuic, String> {
        let registration = Registration::new(&RegistrationConfig::new()).map_err(text)?;
        let client = setup::client(&registration, config)?;
        let server = setup::server(&registration, config)?.map(Arc::new);
        let (for_news, news) = mpsc::channel();
        let (config, last) = (Arc::new(config.clone()), Arc::new(AtomicU64::new(0)));
        let (mut listener, mut address) = (None, config.address);
        if let Some(server) = server.clone() {
            let (config, last, for_news) = (config.clone(), last.clone(), for_news.clone());
            let accepting = Listener::open(&registration, move |_, event| match event {
                ListenerEvent::NewConnection { connection, .. } => {
                    let conn = last.fetch_add(1, Ordering::Relaxed);
                    let teller = Teller::new(conn, for_news.clone());
                    let mut watch = ConnectionWatch::new(teller.clone(), true, config.clone());
                    connection.set_callback_handler(move |connection, event| watch.take(&connection, event));
                    connection.set_configuration(&server)?;
                    // SAFETY: this callback is given the only handle, to keep.
                    let connection = unsafe { Connection::from_raw(connection.as_raw()) };
                    for_news.send((conn, News::Accepted(connection, teller))).map_err(|refused| {
                        // The program ends. MsQuic itself closes what this callback does not take.
                        std::mem::forget(refused);
                        StatusCode::QUIC_STATUS_ABORTED.into()
                    })
                }
                ListenerEvent::StopComplete { .. } => Ok(()),
            })
            .map_err(text)?;
            accepting.start(&setup::alpn(), Some(&Addr::from(address))).map_err(text)?;
            let bound = accepting.get_local_addr().map_err(text)?;
            address = bound.as_socket().ok_or("the listener has no address")?;
            listener = Some(accepting);
        }
        Ok(MsQuic {
            links: HashMap::new(),
            _listener: listener,
            address,
            news,
            for_news,
            stops: Vec::new(),
            last,
            config,
            client,
            _server: server,
            registration,
        })
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    /// Dials from a port of its own: MsQuic lets no connection that it dials share a listener's.
    fn dial(&mut self, to: SocketAddr) -> Result<Conn, String> {
        let conn = self.last.fetch_add(1, Ordering::Relaxed);
        let teller = Teller::new(conn, self.for_news.clone());
        let mut watch = ConnectionWatch::new(teller.clone(), false, self.config.clone());
        let connection = Connection::open(&self.registration, move |connection, event| watch.take(&connection, event))
            .map_err(text)?;
        set_address(&connection, PARAM_CONN_LOCAL_ADDRESS, self.config.address)?;
        set_address(&connection, PARAM_CONN_REMOTE_ADDRESS, to)?;
        // SAFETY: both handles are alive. The crate's own `start` takes no null, and without it a name would be sent.
        let status = unsafe {
            let start = Api::get_ffi().ConnectionStart.ok_or("MsQuic has no ConnectionStart")?;
            start(connection.as_raw(), self.client.as_raw(), ADDRESS_FAMILY_UNSPEC, std::ptr::null(), to.port())
        };
        Status::ok_from_raw(status).map_err(text)?;
        self.add(conn, connection, teller);
        Ok(conn)
    }

    fn open_stream(&mut self, conn: Conn, bidirectional: bool) -> Result<u64, String> {
        let link = self.links.get_mut(&conn).ok_or("no such connection")?;
        let flags = if bidirectional { StreamOpenFlags::NONE } else { StreamOpenFlags::UNIDIRECTIONAL };
        let (started, starting) = mpsc::channel();
        let mut watch = StreamWatch::new(link.teller.clone(), None, Some(started));
        let stream = Stream::open(&link.connection, flags, move |stream, event| {
            watch.take(&stream, event);
            Ok(())
        })
        .map_err(text)?;
        stream.start(StreamStartFlags::FAIL_BLOCKED).map_err(text)?;
        let id = starting.recv_timeout(START_PATIENCE).map_err(|_| "the stream does not start")?.map_err(text)?;
        link.streams.insert(id, stream);
        Ok(id)
    }

    fn write(&mut self, conn: Conn, stream: u64, bytes: &[u8]) {
        if let Some(stream) = self.stream(conn, stream).filter(|_| !bytes.is_empty()) {
            // An error means that the stream or the connection is over, and that is reported elsewhere; so below.
            let _ = outgoing::on_stream(stream, bytes);
        }
    }

    fn finish(&mut self, conn: Conn, stream: u64) {
        self.shut_down(conn, stream, StreamShutdownFlags::GRACEFUL, 0);
    }

    fn reset(&mut self, conn: Conn, stream: u64, code: u64) {
        self.shut_down(conn, stream, StreamShutdownFlags::ABORT_SEND, code);
    }

    fn stop_sending(&mut self, conn: Conn, stream: u64, code: u64) {
        self.stops.push(Stop { at: Instant::now() + ANSWER, conn, stream, code });
    }

    fn send_datagram(&mut self, conn: Conn, bytes: &[u8]) -> Result<(), String> {
        let Some(link) = self.links.get(&conn).filter(|link| !link.closed) else { return Ok(()) };
        if link.max_datagram.is_none_or(|largest| bytes.len() > largest) {
            return Err(format!("a datagram of {} bytes is too large", bytes.len()));
        }
        match outgoing::datagram(&link.connection, bytes) {
            Err(status) if matches!(status.try_as_status_code(), Ok(StatusCode::QUIC_STATUS_INVALID_PARAMETER)) => {
                Err(text(status))
            }
            // Anything else means that the connection is over.
            _ => Ok(()),
        }
    }

    fn max_datagram(&self, conn: Conn) -> Option<usize> {
        self.links.get(&conn).and_then(|link| link.max_datagram)
    }

    fn rtt(&self, conn: Conn) -> Duration {
        let statistics = self.links.get(&conn).and_then(|link| link.connection.get_stats_v2().ok());
        statistics.map(|s| Duration::from_micros(s.Rtt.into())).unwrap_or_default()
    }

    /// Without the reason: MsQuic forgets the one that was set when it closes the connection.
    fn close(&mut self, conn: Conn, code: u64, _reason: &str) {
        if let Some(link) = self.links.get_mut(&conn).filter(|link| !link.closed) {
            link.closed = true;
            link.connection.shutdown(ConnectionShutdownFlags::NONE, code);
        }
    }

    fn poll(&mut self, deadline: Instant) -> Option<Event> {
        loop {
            self.send_stops();
            let until = self.stops.iter().map(|stop| stop.at).fold(deadline, Instant::min);
            match self.news.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((conn, news)) => {
                    if let Some(event) = self.take(conn, news) {
                        return Some(event);
                    }
                }
                Err(_) if Instant::now() >= deadline => return None,
                Err(_) => {}
            }
        }
    }

    fn shutdown(mut self, deadline: Instant) {
        for conn in self.links.keys().copied().collect::<Vec<_>>() {
            self.close(conn, 0, "");
        }
        while !self.links.is_empty() {
            let Ok((conn, news)) = self.news.recv_timeout(deadline.saturating_duration_since(Instant::now())) else {
                return;
            };
            self.take(conn, news);
        }
    }
}

impl MsQuic {
    fn add(&mut self, conn: Conn, connection: Connection, teller: Teller) {
        let streams = HashMap::new();
        self.links.insert(conn, Link { streams, connection, teller, max_datagram: None, closed: false });
    }

    fn stream(&self, conn: Conn, stream: u64) -> Option<&Stream> {
        self.links.get(&conn)?.streams.get(&stream)
    }

    fn shut_down(&self, conn: Conn, stream: u64, flags: StreamShutdownFlags, code: u64) {
        if let Some(stream) = self.stream(conn, stream) {
            let _ = stream.shutdown(flags, code);
        }
    }

    fn send_stops(&mut self) {
        let now = Instant::now();
        let (due, later): (Vec<Stop>, _) = std::mem::take(&mut self.stops).into_iter().partition(|stop| stop.at <= now);
        self.stops = later;
        for stop in due {
            self.shut_down(stop.conn, stop.stream, StreamShutdownFlags::ABORT_RECEIVE, stop.code);
        }
    }

    /// Keeps the handles up to date, and returns what the peer's side of the program should know.
    fn take(&mut self, conn: Conn, news: News) -> Option<Event> {
        match news {
            News::Accepted(connection, teller) => self.add(conn, connection, teller),
            News::Started(id, stream) => drop(self.links.get_mut(&conn)?.streams.insert(id, stream)),
            News::StreamOver(id) => drop(self.links.get_mut(&conn)?.streams.remove(&id)),
            News::Limit(largest) => self.links.get_mut(&conn)?.max_datagram = largest,
            News::Event(event) => return (!self.links.get(&conn)?.closed).then_some(event),
            News::Over(ended) => {
                let link = self.links.remove(&conn)?;
                return (!link.closed).then_some(Event::Closed { conn, ended });
            }
        }
        None
    }
}

fn set_address(connection: &Connection, parameter: u32, address: SocketAddr) -> Result<(), String> {
    let address = Addr::from(address);
    // SAFETY: the address is as long as it says, and MsQuic copies it.
    let set = unsafe {
        Api::set_param(
            connection.as_raw(),
            parameter,
            std::mem::size_of::<Addr>() as u32,
            std::ptr::addr_of!(address).cast(),
        )
    };
    set.map_err(text)
}
