//! The endpoint with its links: feeds what the transport reports to links and sessions, keeps the timers, and serves the
//! sessions that the other side opens.

use crate::codec::{put_integer, Body, Cursor, Fragment, Frame, FrameReader, Settings, PADDING};
use crate::session::{Action, Answer, Cause, Session, StreamEnd, Violation, VIOLATION};
use crate::transport::{Config, Conn, Ended, Event, Transport};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const REFUSED: u64 = 0x02;
const GOING_AWAY: u64 = 0x05;
const UNSUPPORTED: u64 = 0x07;
const SMALLEST_DATAGRAM: usize = 128;
const NUMBERS_KEPT: u64 = 8_192;
const HEARTBEAT: Duration = Duration::from_secs(5);
const EARLY: Duration = Duration::from_secs(1);
const EARLY_BYTES: usize = 64 * 1024;
const EARLY_COUNT: usize = 64;
/// What a fragment has in front of its payload, with integers as they are here, and some room.
const FRAGMENT_HEADER: usize = 40;
/// Larger ones gain nothing here, and some stacks' estimates fall again.
const LARGEST_DATAGRAM: usize = 1_200;

pub fn random() -> u64 {
    RandomState::new().hash_one(Instant::now())
}

/// What came in a datagram for one session.
enum Piece {
    Message(Vec<u8>),
    Fragment(Fragment),
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Piece::Message(payload) => payload.len(),
            Piece::Fragment(f) => f.payload.len(),
        }
    }
}

/// The datagram numbers that have come, and when it was noticed that others had not.
#[derive(Default)]
struct Numbers {
    /// The highest seen, plus one.
    end: u64,
    missing: BTreeMap<u64, Instant>,
}

impl Numbers {
    /// Says whether the number is new.
    fn see(&mut self, number: u64, now: Instant) -> bool {
        if number < self.end {
            return self.missing.remove(&number).is_some();
        }
        let lowest = (number + 1).saturating_sub(NUMBERS_KEPT);
        self.missing.extend((self.end.max(lowest)..number).map(|n| (n, now)));
        self.missing = self.missing.split_off(&lowest);
        self.end = number + 1;
        true
    }

    /// When the last number below `end` that is still missing was noticed.
    fn last_noticed(&self, end: u64, stated: Instant) -> Option<Instant> {
        if end > self.end {
            return Some(stated);
        }
        self.missing.range(..end).map(|(_, &at)| at).max()
    }
}

#[derive(Clone, Debug)]
pub struct GoAway {
    pub cause: Cause,
    pub first_refused: u64,
}

#[derive(Default)]
struct PeerStream {
    bytes: Vec<u8>,
    /// Known once it has come.
    kind: Option<u64>,
    reader: FrameReader,
}

pub struct Link {
    pub conn: Conn,
    pub incoming: bool,
    pub peer: Option<SocketAddr>,
    pub connected: bool,
    pub ended: Option<Ended>,
    /// The code with which this side closed it.
    pub closed_here: Option<u64>,
    /// Whether anything of the peer's was on it: a stream or a datagram.
    pub carried: bool,
    /// None if it could not be opened, as the link is over already.
    pub own_stream: Option<u64>,
    pub settings: Option<Settings>,
    pub goaway: Option<GoAway>,
    pub goaway_sent: bool,
    pub pongs: BTreeSet<[u8; 8]>,
    pub echoes: BTreeSet<[u8; 8]>,
    pub heartbeats: Vec<[u8; 8]>,
    pub pings_answered: u64,
    /// STOP_SENDING of the peer on unidirectional streams of this side.
    pub stopped: BTreeMap<u64, u64>,
    /// By the ids of their streams.
    pub sessions: BTreeMap<u64, Session>,
    peer_stream: Option<u64>,
    peer_streams: BTreeMap<u64, PeerStream>,
    opened: u64,
    next_number: u64,
    numbers: Numbers,
    early: Vec<(Instant, u64, Piece)>,
    next_heartbeat: Option<Instant>,
}

impl Link {
    fn new(conn: Conn, incoming: bool) -> Link {
        Link {
            conn,
            incoming,
            peer: None,
            connected: false,
            ended: None,
            closed_here: None,
            carried: false,
            own_stream: None,
            settings: None,
            goaway: None,
            goaway_sent: false,
            pongs: BTreeSet::new(),
            echoes: BTreeSet::new(),
            heartbeats: Vec::new(),
            pings_answered: 0,
            stopped: BTreeMap::new(),
            sessions: BTreeMap::new(),
            peer_stream: None,
            peer_streams: BTreeMap::new(),
            opened: 0,
            next_number: 0,
            numbers: Numbers::default(),
            early: Vec::new(),
            next_heartbeat: None,
        }
    }

    pub fn over(&self) -> bool {
        self.ended.is_some() || self.closed_here.is_some()
    }

    /// Whether this side opens the streams (and sessions) with this lowest bit.
    fn ours(&self, id: u64) -> bool {
        (id & 1 == 1) == self.incoming
    }

    /// The stream of the session that this side opens next.
    pub fn next_stream(&self) -> u64 {
        self.opened << 2 | u64::from(self.incoming)
    }

    /// Sessions that the peer opened, without the one with which it may begin a link.
    pub fn served(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values().filter(|s| !s.ours && s.open.is_some() && s.protocol() != "hello")
    }

    /// The lowest session id of the peer's that was not acted on, and now never will be.
    fn first_refused(&self) -> u64 {
        let highest = self.sessions.values().filter(|s| !s.ours).map(|s| s.id).max();
        highest.map_or(u64::from(!self.incoming), |id| id + 2)
    }
}

pub fn session_of(stream: u64) -> u64 {
    stream >> 2 << 1 | stream & 1
}

fn stream_of(session: u64) -> u64 {
    session >> 1 << 2 | session & 1
}

/// Names a session: the place of its link, and its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub link: usize,
    pub stream: u64,
}

pub struct Peer<T> {
    pub transport: T,
    pub config: Config,
    pub links: Vec<Link>,
    /// Everything has to be done by then.
    pub deadline: Instant,
    /// What SETTINGS has behind the instance id, and what follows it at once: nothing in most cases.
    pub more_settings: Vec<u8>,
    pub more_frames: Vec<u8>,
    instance: [u8; 16],
    /// What the other side did wrong.
    pub trouble: Vec<String>,
}

impl<T: Transport> Peer<T> {
    pub fn new(transport: T, config: Config, deadline: Instant) -> Peer<T> {
        let instance = (u128::from(random()) << 64 | u128::from(random())).to_be_bytes();
        Peer {
            transport,
            config,
            links: Vec::new(),
            deadline,
            more_settings: Vec::new(),
            more_frames: Vec::new(),
            instance,
            trouble: Vec::new(),
        }
    }

    pub fn session(&self, key: Key) -> &Session {
        &self.links[key.link].sessions[&key.stream]
    }

    /// Changes a session, and sends what comes of it.
    pub fn with<R>(&mut self, key: Key, change: impl FnOnce(&mut Session) -> R) -> R {
        let session = self.links[key.link].sessions.get_mut(&key.stream).expect("a key of a session");
        let result = change(session);
        self.flush(key);
        result
    }

    fn flush(&mut self, key: Key) {
        let link = &mut self.links[key.link];
        let conn = link.conn;
        let Some(session) = link.sessions.get_mut(&key.stream) else { return };
        let mut actions = session.actions.drain(..).peekable();
        while let Some(action) = actions.next() {
            match action {
                Action::Write(mut bytes) => {
                    while let Some(Action::Write(more)) = actions.next_if(|a| matches!(a, Action::Write(_))) {
                        bytes.extend(more);
                    }
                    self.transport.write(conn, key.stream, &bytes);
                }
                Action::Finish => self.transport.finish(conn, key.stream),
                Action::Reset(code) => self.transport.reset(conn, key.stream, code),
                Action::Stop(code) => self.transport.stop_sending(conn, key.stream, code),
            }
        }
    }

    // ---- Waiting ----

    /// Handles events until the condition holds. Fails when it cannot hold any more, and at the deadline.
    pub fn wait(&mut self, what: &str, condition: impl Fn(&Self) -> bool) -> Result<(), String> {
        crate::args::waiting_for(what);
        while !condition(self) {
            if let Some(trouble) = self.trouble.first() {
                return Err(format!("waited for {what}, but {trouble}"));
            }
            if !self.links.is_empty() && self.links.iter().all(Link::over) {
                let ends: Vec<_> = self.links.iter().map(|l| (&l.ended, l.closed_here)).collect();
                return Err(format!("waited for {what}, but the link is over: {ends:?}"));
            }
            if Instant::now() >= self.deadline {
                return Err(format!("waited in vain for {what}"));
            }
            self.step(self.deadline);
        }
        Ok(())
    }

    /// Handles what comes for a while.
    pub fn pause(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.step(until);
        }
    }

    fn step(&mut self, until: Instant) {
        if let Some(event) = self.transport.poll(self.next_timer().map_or(until, |t| t.min(until))) {
            self.handle(event);
        }
        self.run_timers();
    }

    fn next_timer(&self) -> Option<Instant> {
        let live = || self.links.iter().filter(|l| l.connected && !l.over());
        let sessions = live().flat_map(|l| l.sessions.values().map(move |s| (l, s))).filter(|(_, s)| !s.over());
        let timers = sessions.flat_map(|(l, s)| [s.expires, self.straggler_limit(l, s)]);
        live().map(|l| l.next_heartbeat).chain(timers).flatten().min()
    }

    fn run_timers(&mut self) {
        let now = Instant::now();
        for index in 0..self.links.len() {
            if !self.links[index].connected || self.links[index].over() {
                continue;
            }
            if self.links[index].next_heartbeat.is_some_and(|at| at <= now) {
                self.heartbeat(index);
            }
            self.links[index].early.retain(|(since, ..)| now - *since <= EARLY);
            let streams: Vec<u64> = self.links[index].sessions.keys().copied().collect();
            for stream in streams {
                let link = &self.links[index];
                let session = &link.sessions[&stream];
                let complete = self.straggler_limit(link, session).is_some_and(|at| at <= now);
                self.with(Key { link: index, stream }, |s| {
                    s.go_on_closing(complete);
                    s.check_expiry(now);
                });
            }
        }
    }

    /// When the wait for a session's last messages is over (8.8); None while there is nothing to wait for.
    fn straggler_limit(&self, link: &Link, session: &Session) -> Option<Instant> {
        let awaited = session.waits_for_stragglers()?;
        let grace = (self.transport.rtt(link.conn) / 2).clamp(Duration::from_millis(10), Duration::from_millis(250));
        let Some((sent, end)) = awaited.sent else { return Some(awaited.since + grace) };
        if session.received >= sent {
            return Some(awaited.since);
        }
        Some(link.numbers.last_noticed(end, awaited.since).map_or(awaited.since, |noticed| noticed + grace))
    }

    // ---- Events ----

    fn find(&self, conn: Conn) -> Option<usize> {
        self.links.iter().position(|l| l.conn == conn)
    }

    fn handle(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Connected { conn, incoming, peer, certificate } => {
                let index = self.find(conn).unwrap_or_else(|| self.add_link(conn, incoming));
                self.on_connected(index, peer, certificate);
            }
            Event::Closed { conn, ended } => {
                let index = self.find(conn).unwrap_or_else(|| self.add_link(conn, true));
                self.links[index].ended.get_or_insert(ended);
            }
            Event::Datagram { conn, bytes } => {
                if let Some(index) = self.live(conn) {
                    self.on_datagram(index, &bytes, now);
                }
            }
            Event::Data { conn, stream, bytes } => {
                if let Some(index) = self.live(conn) {
                    self.on_data(index, stream, &bytes, now);
                }
            }
            Event::Fin { conn, stream } => self.on_stream_event(conn, stream, |s| s.on_fin(now)),
            Event::Reset { conn, stream, code } => {
                self.on_stream_event(conn, stream, |s| {
                    s.on_reset(code);
                    Ok(())
                });
            }
            Event::Stopped { conn, stream, code } => {
                let own = self.live(conn).filter(|_| stream & 2 != 0);
                if let Some(index) = own {
                    self.links[index].stopped.insert(stream, code);
                } else {
                    self.on_stream_event(conn, stream, |s| {
                        s.on_stopped(code);
                        Ok(())
                    });
                }
            }
        }
    }

    fn live(&mut self, conn: Conn) -> Option<usize> {
        let index = self.find(conn).filter(|&i| !self.links[i].over())?;
        self.links[index].carried = true;
        Some(index)
    }

    /// Dials a link, and returns its place.
    pub fn dial(&mut self, to: SocketAddr) -> Result<usize, String> {
        let conn = self.transport.dial(to)?;
        Ok(self.add_link(conn, false))
    }

    fn add_link(&mut self, conn: Conn, incoming: bool) -> usize {
        self.links.push(Link::new(conn, incoming));
        self.links.len() - 1
    }

    fn on_connected(&mut self, index: usize, peer: SocketAddr, certificate: Option<Vec<u8>>) {
        let conn = self.links[index].conn;
        self.links[index].peer = Some(peer);
        if !certificate.is_some_and(|c| self.config.admits(&c)) {
            return self.close_link(index, REFUSED, "not the peer that is expected");
        }
        if self.config.datagrams && self.transport.max_datagram(conn).is_none_or(|n| n < SMALLEST_DATAGRAM) {
            self.trouble.push("the peer takes no datagrams".into());
            return self.close_link(index, UNSUPPORTED, "no datagrams");
        }
        self.links[index].connected = true;
        match self.transport.open_stream(conn, false) {
            Ok(stream) => {
                self.links[index].own_stream = Some(stream);
                let settings = Frame::Settings(Settings { instance: Some(self.instance), ..Settings::default() });
                let settings = settings.encode_with(&self.more_settings);
                self.transport.write(conn, stream, &[&[0x00], &settings[..], &self.more_frames[..]].concat());
            }
            Err(why) => eprintln!("the link stream cannot be opened: {why}"),
        }
        if self.config.datagrams {
            self.heartbeat(index);
        }
    }

    pub fn close_link(&mut self, index: usize, code: u64, reason: &str) {
        if !self.links[index].over() {
            self.transport.close(self.links[index].conn, code, reason);
            self.links[index].closed_here = Some(code);
        }
    }

    fn link_violation(&mut self, index: usize, why: Violation) {
        self.trouble.push(format!("the peer broke the link's rules: {why}"));
        self.close_link(index, VIOLATION, why);
    }

    fn on_stream_event(&mut self, conn: Conn, stream: u64, change: impl Fn(&mut Session) -> Result<(), Violation>) {
        let Some(index) = self.live(conn) else { return };
        if stream & 2 != 0 {
            if self.links[index].peer_stream == Some(stream) {
                self.link_violation(index, "the link stream ended");
            }
            return;
        }
        self.find_session(index, stream);
        self.judge(Key { link: index, stream }, change);
    }

    /// Makes the session of a stream of the peer's that is new, and leaves others alone.
    fn find_session(&mut self, index: usize, stream: u64) {
        let link = &mut self.links[index];
        if !link.ours(stream) {
            link.sessions.entry(stream).or_insert_with(|| Session::new(session_of(stream), false));
        }
    }

    /// Lets a session take something from the peer. What breaks the protocol costs it.
    fn judge(&mut self, key: Key, change: impl FnOnce(&mut Session) -> Result<(), Violation>) {
        let Some(session) = self.links[key.link].sessions.get_mut(&key.stream) else { return };
        if let Err(why) = change(session) {
            session.abort(VIOLATION);
            self.trouble.push(format!("the peer broke the rules of session {}: {why}", session_of(key.stream)));
        }
        self.flush(key);
        self.serve(key);
    }

    fn on_data(&mut self, index: usize, stream: u64, bytes: &[u8], now: Instant) {
        if stream & 2 != 0 {
            return self.on_link_data(index, stream, bytes);
        }
        self.find_session(index, stream);
        let key = Key { link: index, stream };
        let Some(session) = self.links[index].sessions.get_mut(&stream) else { return };
        session.reader.push(bytes);
        // One at a time: what is served in between decides about the next one.
        while self.session(key).read_end.is_none() {
            let next = self.with(key, |s| s.reader.next_frame());
            match next {
                Ok(None) => break,
                Ok(Some(frame)) => self.judge(key, |s| s.on_frame(frame, now)),
                Err(_) => self.judge(key, |_| Err("a frame that cannot be read")),
            }
        }
    }

    fn on_link_data(&mut self, index: usize, stream: u64, bytes: &[u8]) {
        let conn = self.links[index].conn;
        let entry = self.links[index].peer_streams.entry(stream).or_default();
        if entry.kind.is_none() {
            entry.bytes.extend(bytes);
            let mut c = Cursor(&entry.bytes);
            let Some(kind) = c.integer() else { return };
            entry.kind = Some(kind);
            if kind != 0x00 {
                return self.transport.stop_sending(conn, stream, UNSUPPORTED);
            }
            entry.reader.push(c.0);
            if self.links[index].peer_stream.replace(stream).is_some() {
                return self.link_violation(index, "a second link stream");
            }
        } else if entry.kind == Some(0x00) {
            entry.reader.push(bytes);
        }
        loop {
            let entry = self.links[index].peer_streams.entry(stream).or_default();
            let done = match entry.reader.next_frame() {
                Ok(None) => return,
                Ok(Some(frame)) => self.on_link_frame(index, frame),
                Err(_) => Err("a frame of the link that cannot be read"),
            };
            if let Err(why) = done {
                return self.link_violation(index, why);
            }
        }
    }

    fn on_link_frame(&mut self, index: usize, frame: Frame) -> Result<(), Violation> {
        let link = &mut self.links[index];
        match frame {
            Frame::Settings(settings) if link.settings.is_none() => link.settings = Some(settings),
            _ if link.settings.is_none() => return Err("another frame before SETTINGS"),
            Frame::GoAway { code, reason, first_refused, .. } => {
                let lowest = link.goaway.as_ref().map_or(first_refused, |g| g.first_refused.min(first_refused));
                link.goaway = Some(GoAway { cause: Cause { code, reason }, first_refused: lowest });
            }
            Frame::Ping(token) => {
                link.pings_answered += 1;
                self.write_link(index, &Frame::Pong(token).encode());
            }
            Frame::Pong(token) => {
                link.pongs.insert(token);
            }
            _ => return Err("a frame that the link stream does not have"),
        }
        Ok(())
    }

    // ---- Datagrams ----

    fn heartbeat(&mut self, index: usize) {
        let token = random().to_be_bytes();
        self.links[index].heartbeats.push(token);
        self.links[index].next_heartbeat = Some(Instant::now() + HEARTBEAT);
        self.send(index, &Body::Heartbeat(token));
    }

    /// Sends a datagram, and returns its number plus one.
    pub fn send(&mut self, index: usize, body: &Body) -> u64 {
        let number = self.links[index].next_number;
        self.send_raw(index, &body.encode(number));
        number + 1
    }

    fn send_raw(&mut self, index: usize, datagram: &[u8]) {
        let link = &mut self.links[index];
        link.next_number += 1;
        if let Err(why) = self.transport.send_datagram(link.conn, datagram) {
            self.trouble.push(format!("a datagram of {} bytes was not taken: {why}", datagram.len()));
        }
    }

    fn largest_datagram(&self, index: usize) -> usize {
        self.transport.max_datagram(self.links[index].conn).unwrap_or(0).min(LARGEST_DATAGRAM)
    }

    fn note_sent(&mut self, key: Key, messages: u64, end: u64) {
        let session = self.links[key.link].sessions.get_mut(&key.stream).expect("a key of a session");
        session.sent += messages;
        session.end = end;
    }

    /// Sends a message, in fragments if need be.
    pub fn send_message(&mut self, key: Key, payload: &[u8]) {
        let body = Body::Message(session_of(key.stream), payload.to_vec());
        if body.encode(self.links[key.link].next_number).len() > self.largest_datagram(key.link) {
            return self.send_fragments(key, payload, false);
        }
        let end = self.send(key.link, &body);
        self.note_sent(key, 1, end);
    }

    pub fn send_fragments(&mut self, key: Key, payload: &[u8], backwards: bool) {
        let size = self.largest_datagram(key.link).saturating_sub(FRAGMENT_HEADER).max(1);
        let message = self.with(key, |s| {
            s.fragmented += 1;
            s.fragmented - 1
        });
        let total = payload.len() as u64;
        let mut pieces: Vec<Fragment> = payload
            .chunks(size)
            .enumerate()
            .map(|(i, piece)| Fragment { message, total, offset: (i * size) as u64, payload: piece.to_vec() })
            .collect();
        if backwards {
            pieces.reverse();
        }
        let mut end = 0;
        for piece in pieces {
            end = self.send(key.link, &Body::Fragment(session_of(key.stream), piece));
        }
        self.note_sent(key, 1, end);
    }

    /// Sends messages of one session in one datagram, with padding if it is not empty.
    pub fn send_bundle(&mut self, key: Key, messages: &[&[u8]], padding: &[u8]) {
        let id = session_of(key.stream);
        let mut items: Vec<_> = messages.iter().map(|m| (id, m.to_vec())).collect();
        if !padding.is_empty() {
            items.push((PADDING, padding.to_vec()));
        }
        let end = self.send(key.link, &Body::Bundle(items));
        self.note_sent(key, messages.len() as u64, end);
    }

    fn on_datagram(&mut self, index: usize, datagram: &[u8], now: Instant) {
        let link = &mut self.links[index];
        match Body::decode(datagram) {
            Err(invalid) => {
                if let Some(number) = invalid.number {
                    link.numbers.see(number, now);
                }
                let stream = invalid.session.map(stream_of);
                let blamed = stream.filter(|s| link.sessions.get(s).is_some_and(Session::talking));
                if let Some(stream) = blamed {
                    self.judge(Key { link: index, stream }, |_| Err("a malformed datagram"));
                }
            }
            Ok((number, body)) => {
                if link.numbers.see(number, now) {
                    self.on_body(index, body, now);
                }
            }
        }
    }

    fn on_body(&mut self, index: usize, body: Body, now: Instant) {
        match body {
            Body::Message(session, payload) => self.on_piece(index, session, Piece::Message(payload), now),
            Body::Fragment(session, fragment) => self.on_piece(index, session, Piece::Fragment(fragment), now),
            Body::Bundle(items) => {
                for (session, payload) in items.into_iter().filter(|(session, _)| *session != PADDING) {
                    self.on_piece(index, session, Piece::Message(payload), now);
                }
            }
            Body::Heartbeat(token) => {
                self.send(index, &Body::Echo(token));
            }
            Body::Echo(token) => {
                self.links[index].echoes.insert(token);
            }
            // Credit belongs to a window, which nobody needs who sends as little as the cases do.
            Body::Credit { .. } | Body::Unknown => {}
        }
    }

    fn on_piece(&mut self, index: usize, session: u64, piece: Piece, now: Instant) {
        let link = &mut self.links[index];
        let stream = stream_of(session);
        let early = !link.ours(stream) && link.sessions.get(&stream).is_none_or(|s| s.answer.is_none() && !s.over());
        if early {
            let bytes: usize = link.early.iter().map(|(_, _, p)| p.len()).sum();
            if link.early.len() < EARLY_COUNT && bytes + piece.len() <= EARLY_BYTES {
                link.early.push((now, session, piece));
            }
            return;
        }
        self.judge(Key { link: index, stream }, |s| match piece {
            Piece::Message(payload) => {
                s.on_message(payload);
                Ok(())
            }
            Piece::Fragment(fragment) => s.on_fragment(fragment, now),
        });
    }

    // ---- Sessions ----

    /// Opens a session on a link.
    pub fn open(&mut self, index: usize, protocol: &str, metadata: &[u8]) -> Result<Key, String> {
        self.open_with(index, protocol, metadata, |_| {})
    }

    /// Opens a session, and does something with it before anything is written.
    pub fn open_with(
        &mut self,
        index: usize,
        protocol: &str,
        metadata: &[u8],
        also: impl FnOnce(&mut Session),
    ) -> Result<Key, String> {
        let link = &mut self.links[index];
        let expected = link.next_stream();
        let stream = self.transport.open_stream(link.conn, true)?;
        if stream != expected {
            return Err(format!("the stack opened stream {stream}, not {expected}"));
        }
        link.opened += 1;
        link.sessions.insert(stream, Session::new(session_of(stream), true));
        let key = Key { link: index, stream };
        self.with(key, |s| {
            s.begin(protocol, metadata);
            also(s);
        });
        Ok(key)
    }

    pub fn ping(&mut self, index: usize) -> [u8; 8] {
        let token = random().to_be_bytes();
        self.write_link(index, &Frame::Ping(token).encode());
        token
    }

    pub fn write_link(&mut self, index: usize, bytes: &[u8]) {
        let link = &self.links[index];
        if let Some(stream) = link.own_stream {
            self.transport.write(link.conn, stream, bytes);
        }
    }

    pub fn write_session(&mut self, key: Key, bytes: &[u8]) {
        self.with(key, |s| s.actions.push(Action::Write(bytes.to_vec())));
    }

    /// Opens a unidirectional stream of some type, with something on it.
    pub fn open_unidirectional(&mut self, index: usize, kind: u64, bytes: &[u8]) -> Result<u64, String> {
        let conn = self.links[index].conn;
        let stream = self.transport.open_stream(conn, false)?;
        let mut content = Vec::new();
        put_integer(&mut content, kind);
        content.extend(bytes);
        self.transport.write(conn, stream, &content);
        Ok(stream)
    }

    pub fn go_away(&mut self, index: usize) {
        let first_refused = self.links[index].first_refused();
        let frame = Frame::GoAway { code: GOING_AWAY, reason: String::new(), deadline: 0, first_refused };
        self.links[index].goaway_sent = true;
        self.write_link(index, &frame.encode());
    }

    /// Plays the acceptor's part in a session that the peer opened, by its protocol.
    fn serve(&mut self, key: Key) {
        let link = &self.links[key.link];
        let going_away = link.goaway_sent;
        let Some(session) = link.sessions.get(&key.stream) else { return };
        if session.ours || session.open.is_none() || session.aborted.is_some() {
            return;
        }
        let closed = session.peer_close.is_some();
        match (session.protocol().to_string().as_str(), &session.answer) {
            (_, None) if going_away => self.with(key, |s| s.reject(GOING_AWAY, "", 0)),
            ("echo", None) => self.accept(key),
            ("echo", Some(Answer::Accepted(_))) => self.echo(key),
            ("reject", None) => self.with(key, |s| s.reject(0x1f4, "not today", 1_500)),
            ("close", None) => {
                self.accept(key);
                self.with(key, |s| s.close(0x155, "enough"));
            }
            ("abort", None) => {
                self.accept(key);
                self.with(key, |s| s.abort(0x177));
            }
            ("hold", None) => {} // CLOSE_ACK is the answer to CLOSE, whether there was ACCEPT or not.
            ("hold-accept", None) if closed => self.accept(key),
            ("hold-reject", None) if closed => self.with(key, |s| s.reject(0x1f4, "not today", 1_500)),
            ("hold-accept" | "hold-reject", None) => {}
            (_, None) => self.with(key, |s| s.reject(REFUSED, "nobody serves this", 0)),
            (_, Some(_)) => {}
        }
    }

    fn accept(&mut self, key: Key) {
        let metadata = self.session(key).open.as_ref().map(|(_, metadata)| metadata.clone()).unwrap_or_default();
        self.with(key, |s| s.accept(metadata));
        let id = session_of(key.stream);
        let early = std::mem::take(&mut self.links[key.link].early);
        let (mine, others): (Vec<_>, Vec<_>) = early.into_iter().partition(|(_, session, _)| *session == id);
        self.links[key.link].early = others;
        for (since, session, piece) in mine {
            self.on_piece(key.link, session, piece, since);
        }
        self.serve(key);
    }

    fn echo(&mut self, key: Key) {
        while self.session(key).talking() {
            if let Some(message) = self.with(key, |s| s.messages.pop_front()) {
                self.send_message(key, &message);
            } else if !self.session(key).may_signal() || self.session(key).signals.is_empty() {
                break;
            } else {
                self.with(key, |s| {
                    let signal = s.take_signal().expect("it is not empty");
                    s.signal(signal);
                });
            }
        }
    }

    /// Ends everything that is still there, after a failure.
    pub fn abandon(&mut self, why: &str) {
        for index in 0..self.links.len() {
            self.close_link(index, crate::session::INTERNAL, why);
        }
    }
}

/// Whether both directions of a stream ended with FIN.
pub fn ended_in_order(session: &Session) -> bool {
    session.read_end == Some(StreamEnd::Fin) && session.write_end == Some(StreamEnd::Fin)
}
