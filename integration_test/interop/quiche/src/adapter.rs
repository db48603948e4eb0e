//! quiche behind the transport trait. quiche has no I/O of its own: `poll` sends what it wants sent on the one socket,
//! hands it what arrives there, and looks at what came of it.

use boring::rand::rand_bytes;
use octets::{BufferTooShortError, Octets};
use quiche::{Connection, ConnectionId, Error, Header, RecvInfo, Shutdown, Type};
use quicpeer_interop::transport::{
    Config, Conn, Ended, Event, Transport, ALPN, BIDI_STREAMS, CONNECTION_WINDOW, IDLE_TIMEOUT, STREAM_WINDOW,
    UNI_STREAMS,
};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

const ID_LENGTH: usize = 16;
const DATAGRAM_QUEUE: usize = 1_024;
const LARGEST_PACKET: usize = 65_535;
/// quiche hides a RESET_STREAM that comes after its own STOP_SENDING, and with it the peer's answer to an abort: that
/// answer gets this long after RESET_STREAM.
const ANSWER: Duration = Duration::from_millis(20);
/// The shortest time that a socket waits.
const TICK: Duration = Duration::from_millis(1);

/// A stream as far as quiche does not keep track of it for us.
#[derive(Default)]
struct Stream {
    /// What quiche does not take yet, and whether FIN comes behind it.
    unsent: Vec<u8>,
    finish: bool,
    /// Ended by FIN, RESET_STREAM or the peer's STOP_SENDING, which quiche answers itself.
    write_over: bool,
    reset: bool,
    stopped: bool,
    read_over: bool,
    stop_at: Option<(Instant, u64)>,
}

struct Link {
    conn: Conn,
    quic: Connection,
    incoming: bool,
    peer: SocketAddr,
    connected: bool,
    /// No more events come: it was closed here, or `Closed` was one.
    over: bool,
    /// How many unidirectional and bidirectional streams this side has opened.
    opened: [u64; 2],
    streams: BTreeMap<u64, Stream>,
    events: VecDeque<Event>,
}

pub struct Quiche {
    socket: UdpSocket,
    address: SocketAddr,
    config: quiche::Config,
    /// A server needs a certificate.
    accepts: bool,
    links: BTreeMap<Conn, Link>,
    /// By the connection ids that packets come to.
    routes: HashMap<Vec<u8>, Conn>,
    last: Conn,
}

impl Link {
    /// Hands quiche what waits for it, as far as it takes it.
    fn write(&mut self) {
        let now = Instant::now();
        for (&id, stream) in &mut self.streams {
            if !stream.write_over && (stream.finish || !stream.unsent.is_empty()) {
                // An error means that there is no room now, or that the stream is over, which is noticed elsewhere.
                if let Ok(taken) = self.quic.stream_send(id, &stream.unsent, stream.finish) {
                    stream.unsent.drain(..taken);
                    stream.write_over = stream.finish && stream.unsent.is_empty();
                }
            }
            if let Some((_, code)) = stream.stop_at.take_if(|(at, _)| *at <= now) {
                let _ = self.quic.stream_shutdown(id, Shutdown::Read, code);
            }
        }
    }

    fn transmit(&mut self, socket: &UdpSocket) {
        let mut packet = [0; LARGEST_PACKET];
        while let Ok((length, info)) = self.quic.send(&mut packet) {
            // Lost, like any other packet may be.
            let _ = socket.send_to(&packet[..length], info.to);
        }
    }

    /// When `write` or quiche has something to do again.
    fn next_timer(&self) -> Option<Instant> {
        let stops = self.streams.values().filter_map(|s| s.stop_at.map(|(at, _)| at));
        stops.chain(self.quic.timeout_instant()).min()
    }

    /// Finds out what happened since the last time.
    fn look(&mut self) {
        if self.over {
            return;
        }
        let conn = self.conn;
        if !self.connected && self.quic.is_established() {
            self.connected = true;
            let certificate = self.quic.peer_cert().map(<[u8]>::to_vec);
            self.events.push_back(Event::Connected { conn, incoming: self.incoming, peer: self.peer, certificate });
        }
        if self.connected {
            self.look_at_streams();
            while let Ok(bytes) = self.quic.dgram_recv_buf() {
                self.events.push_back(Event::Datagram { conn, bytes });
            }
        }
        if let Some(ended) = self.ended() {
            self.over = true;
            self.events.push_back(Event::Closed { conn, ended });
        }
    }

    fn look_at_streams(&mut self) {
        let conn = self.conn;
        let readable: Vec<u64> = self.quic.readable().collect();
        for &id in &readable {
            self.streams.entry(id).or_default();
        }
        // Before anything is read: a stream that is complete goes with its last byte, and STOP_SENDING with it.
        for (&stream, state) in self.streams.iter_mut().filter(|(_, s)| !s.stopped) {
            if let Err(Error::StreamStopped(code)) = self.quic.stream_capacity(stream) {
                (state.stopped, state.write_over) = (true, true);
                self.events.push_back(Event::Stopped { conn, stream, code });
            }
        }
        let mut buffer = [0; LARGEST_PACKET];
        for stream in readable {
            let state = self.streams.entry(stream).or_default();
            while !state.read_over {
                match self.quic.stream_recv(stream, &mut buffer) {
                    Ok((length, fin)) => {
                        if length > 0 {
                            self.events.push_back(Event::Data { conn, stream, bytes: buffer[..length].to_vec() });
                        }
                        if fin {
                            state.read_over = true;
                            self.events.push_back(Event::Fin { conn, stream });
                        }
                    }
                    Err(Error::StreamReset(code)) => {
                        state.read_over = true;
                        self.events.push_back(Event::Reset { conn, stream, code });
                    }
                    Err(_) => break,
                }
            }
            if state.read_over {
                state.stop_at = None;
            }
        }
    }

    fn ended(&self) -> Option<Ended> {
        if let Some(error) = self.quic.peer_error() {
            let (code, reason) = (error.error_code, String::from_utf8_lossy(&error.reason).into_owned());
            return Some(match error.is_app {
                true => Ended::Application { code, reason },
                false => Ended::Transport { code, reason },
            });
        }
        if let Some(error) = self.quic.local_error() {
            return Some(match error.error_code {
                alert @ 0x100..=0x1ff => Ended::Refused(format!("with the TLS alert {}", alert - 0x100)),
                code => Ended::Lost(format!("closed by the stack with code {code:#x}")),
            });
        }
        let why = if self.quic.is_timed_out() { "timed out" } else { "reset" };
        self.quic.is_closed().then(|| Ended::Lost(why.into()))
    }
}

fn new_id() -> Result<ConnectionId<'static>, String> {
    let mut id = [0; ID_LENGTH];
    rand_bytes(&mut id).map_err(|e| e.to_string())?;
    Ok(ConnectionId::from_vec(id.to_vec()))
}

/// The length of the first of the QUIC packets in a UDP datagram (RFC 9000, section 12.2). quiche would find out itself,
/// but throws the rest of a datagram away with a packet whose keys it has dropped, and with it the CONNECTION_CLOSE of
/// a client that does not know yet whether it has to use Handshake or 1-RTT (quiche's issue 1834).
fn first_packet(datagram: &mut [u8]) -> usize {
    let Ok(header) = Header::from_slice(datagram, ID_LENGTH) else { return datagram.len() };
    let end = || -> Result<usize, BufferTooShortError> {
        let mut octets = Octets::with_slice(datagram);
        octets.skip(7 + header.dcid.len() + header.scid.len())?;
        if header.ty == Type::Initial {
            octets.get_bytes_with_varint_length()?;
        }
        let length = octets.get_varint()?;
        Ok(octets.off() + length as usize)
    };
    let long = matches!(header.ty, Type::Initial | Type::ZeroRTT | Type::Handshake);
    long.then(end).and_then(Result::ok).map_or(datagram.len(), |end| end.min(datagram.len()))
}

impl Quiche {
    fn add_link(&mut self, quic: Connection, incoming: bool, peer: SocketAddr) -> Conn {
        self.last += 1;
        let link = Link {
            conn: self.last,
            quic,
            incoming,
            peer,
            connected: false,
            over: false,
            opened: [0; 2],
            streams: BTreeMap::new(),
            events: VecDeque::new(),
        };
        self.links.insert(self.last, link);
        self.last
    }

    /// A connection, unless it is over.
    fn live(&mut self, conn: Conn) -> Option<&mut Link> {
        self.links.get_mut(&conn).filter(|l| !l.over)
    }

    fn stream(&mut self, conn: Conn, stream: u64) -> Option<(&mut Connection, &mut Stream)> {
        let link = self.live(conn)?;
        Some((&mut link.quic, link.streams.get_mut(&stream)?))
    }

    /// Runs the timers, sends what is to be sent, and forgets connections that are over for quiche too.
    fn drive(&mut self) {
        for link in self.links.values_mut() {
            link.quic.on_timeout();
            link.write();
            link.transmit(&self.socket);
            link.look();
        }
        self.links.retain(|_, link| !link.quic.is_closed() || !link.events.is_empty());
        self.routes.retain(|_, conn| self.links.contains_key(conn));
    }

    fn next_event(&mut self) -> Option<Event> {
        self.links.values_mut().find_map(|link| link.events.pop_front())
    }

    fn receive(&mut self, datagram: &mut [u8], from: SocketAddr) {
        let Ok(header) = Header::from_slice(datagram, ID_LENGTH) else { return };
        let conn = match self.routes.get(header.dcid.as_ref()) {
            Some(&conn) => conn,
            None if self.accepts && header.ty == Type::Initial && quiche::version_is_supported(header.version) => {
                match self.accept(&header.dcid, from) {
                    Ok(conn) => conn,
                    Err(why) => return eprintln!("a connection is not accepted: {why}"),
                }
            }
            None => return,
        };
        let Some(link) = self.links.get_mut(&conn) else { return };
        let mut rest = datagram;
        while !rest.is_empty() {
            let length = first_packet(rest);
            let (packet, more) = rest.split_at_mut(length);
            // quiche closes the connection itself where an error calls for that.
            let _ = link.quic.recv(packet, RecvInfo { from, to: self.address });
            rest = more;
        }
        link.look();
    }

    fn accept(&mut self, first_id: &ConnectionId, from: SocketAddr) -> Result<Conn, String> {
        let id = new_id()?;
        let quic = quiche::accept(&id, None, self.address, from, &mut self.config).map_err(|e| e.to_string())?;
        let conn = self.add_link(quic, true, from);
        // The client goes on with the id of its own choice until it has read ours.
        self.routes.insert(first_id.to_vec(), conn);
        self.routes.insert(id.to_vec(), conn);
        Ok(conn)
    }
}

impl Transport for Quiche {
    const STACK: &'static str = "quiche";
    const VERSION: &'static str = "0.30.0";

    fn bind(config: &Config) -> Result<Quiche, String> {
        let tls = crate::tls::context(config).map_err(|e| e.to_string())?;
        let text = |e: Error| e.to_string();
        let mut quic = quiche::Config::with_boring_ssl_ctx_builder(quiche::PROTOCOL_VERSION, tls).map_err(text)?;
        quic.set_application_protos(&[ALPN]).map_err(text)?;
        quic.set_max_idle_timeout(IDLE_TIMEOUT.as_millis() as u64);
        quic.set_initial_max_data(CONNECTION_WINDOW);
        quic.set_initial_max_stream_data_bidi_local(STREAM_WINDOW);
        quic.set_initial_max_stream_data_bidi_remote(STREAM_WINDOW);
        quic.set_initial_max_stream_data_uni(STREAM_WINDOW);
        quic.set_initial_max_streams_bidi(BIDI_STREAMS);
        quic.set_initial_max_streams_uni(UNI_STREAMS);
        // With max_datagram_frame_size as 65,536; quiche knows no other value.
        quic.enable_dgram(config.datagrams, DATAGRAM_QUEUE, DATAGRAM_QUEUE);
        // Pacing would be ours to do, by the times that come with packets.
        quic.enable_pacing(false);
        let socket = UdpSocket::bind(config.address).map_err(|e| e.to_string())?;
        let address = socket.local_addr().map_err(|e| e.to_string())?;
        Ok(Quiche {
            socket,
            address,
            config: quic,
            accepts: config.identity.is_some(),
            links: BTreeMap::new(),
            routes: HashMap::new(),
            last: 0,
        })
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn dial(&mut self, to: SocketAddr) -> Result<Conn, String> {
        let id = new_id()?;
        let quic = quiche::connect(None, &id, self.address, to, &mut self.config).map_err(|e| e.to_string())?;
        let conn = self.add_link(quic, false, to);
        self.routes.insert(id.to_vec(), conn);
        Ok(conn)
    }

    fn open_stream(&mut self, conn: Conn, bidirectional: bool) -> Result<u64, String> {
        let link = self.live(conn).ok_or("no such connection")?;
        let opened = &mut link.opened[usize::from(bidirectional)];
        let id = *opened << 2 | u64::from(!bidirectional) << 1 | u64::from(link.incoming);
        // Nothing is sent yet, but quiche makes the stream, if the peer's limit allows it.
        link.quic.stream_send(id, b"", false).map_err(|e| e.to_string())?;
        *opened += 1;
        link.streams.insert(id, Stream { read_over: !bidirectional, ..Stream::default() });
        Ok(id)
    }

    fn write(&mut self, conn: Conn, stream: u64, bytes: &[u8]) {
        if let Some((_, stream)) = self.stream(conn, stream) {
            stream.unsent.extend(bytes);
        }
    }

    fn finish(&mut self, conn: Conn, stream: u64) {
        if let Some((_, stream)) = self.stream(conn, stream) {
            stream.finish = true;
        }
    }

    fn reset(&mut self, conn: Conn, id: u64, code: u64) {
        if let Some((quic, stream)) = self.stream(conn, id).filter(|(_, s)| !s.stopped) {
            (stream.reset, stream.write_over) = (true, true);
            let _ = quic.stream_shutdown(id, Shutdown::Write, code);
        }
    }

    fn stop_sending(&mut self, conn: Conn, id: u64, code: u64) {
        if let Some((_, stream)) = self.stream(conn, id).filter(|(_, s)| !s.read_over) {
            let wait = if stream.reset { ANSWER } else { Duration::ZERO };
            stream.stop_at = Some((Instant::now() + wait, code));
        }
    }

    fn send_datagram(&mut self, conn: Conn, bytes: &[u8]) -> Result<(), String> {
        self.live(conn).map_or(Ok(()), |link| link.quic.dgram_send(bytes).map_err(|e| e.to_string()))
    }

    fn max_datagram(&self, conn: Conn) -> Option<usize> {
        self.links.get(&conn)?.quic.dgram_max_writable_len()
    }

    fn rtt(&self, conn: Conn) -> Duration {
        let link = self.links.get(&conn);
        link.and_then(|l| l.quic.path_stats().find(|p| p.active)).map(|p| p.rtt).unwrap_or_default()
    }

    fn close(&mut self, conn: Conn, code: u64, reason: &str) {
        let Some(link) = self.links.get_mut(&conn).filter(|l| !l.over) else { return };
        // What was written goes first: quiche sends nothing else any more once it is closed.
        link.write();
        link.transmit(&self.socket);
        let _ = link.quic.close(true, code, reason.as_bytes());
        link.transmit(&self.socket);
        link.over = true;
        link.events.clear();
    }

    fn poll(&mut self, deadline: Instant) -> Option<Event> {
        let mut buffer = [0; LARGEST_PACKET];
        loop {
            // All that has happened, before anything is sent: answers share packets then.
            if let Some(event) = self.next_event() {
                return Some(event);
            }
            self.drive();
            if let Some(event) = self.next_event() {
                return Some(event);
            }
            let now = Instant::now();
            if now >= deadline {
                return None;
            }
            let until = self.links.values().filter_map(Link::next_timer).fold(deadline, Instant::min);
            let wait = until.saturating_duration_since(now).max(TICK);
            // An error is a timeout, or news of the peer's port that quiche has no use for.
            if self.socket.set_read_timeout(Some(wait)).is_ok() {
                if let Ok((length, from)) = self.socket.recv_from(&mut buffer) {
                    self.receive(&mut buffer[..length], from);
                }
            }
        }
    }

    fn shutdown(mut self, _: Instant) {
        let open: Vec<Conn> = self.links.keys().copied().collect();
        for conn in open {
            self.close(conn, 0, "");
        }
        self.drive();
    }
}
