//! Integers, frames and datagrams (PROTOCOL.md, sections 1, 5 and 6).

pub const MAX_CONTENT: usize = 16_384;
pub const MAX_REASON: usize = 1_024;
pub const MAX_SIGNAL: usize = 16_384;
const ROOM: u64 = 1_024;
const MAX_UNKNOWN: u64 = 65_536;
const MAX_TIME: u64 = (1 << 31) - 1;
const MAX_NUMBER: u64 = (1 << 62) - 2;

/// The session id of padding in a bundle.
pub const PADDING: u64 = (1 << 62) - 1;

pub fn put_integer(out: &mut Vec<u8>, n: u64) {
    match n {
        0..=0x3f => out.push(n as u8),
        0x40..=0x3fff => out.extend((n as u16 | 0x4000).to_be_bytes()),
        0x4000..=0x3fff_ffff => out.extend((n as u32 | 0x8000_0000).to_be_bytes()),
        _ => out.extend((n | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_integer(out, bytes.len() as u64);
    out.extend(bytes);
}

/// Reads fields one after the other. None means that the rest is too short, or malformed.
pub struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    pub fn integer(&mut self) -> Option<u64> {
        let first = *self.0.first()?;
        let bytes = self.take(1 << (first >> 6))?;
        Some(bytes[1..].iter().fold(u64::from(first & 0x3f), |n, &b| n << 8 | u64::from(b)))
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let n = self.integer()?;
        self.take(usize::try_from(n).ok()?)
    }

    fn string(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    fn reason(&mut self) -> Option<String> {
        self.string().filter(|s| s.len() <= MAX_REASON)
    }

    fn time(&mut self) -> Option<u64> {
        Some(self.integer()?.min(MAX_TIME))
    }

    fn token(&mut self) -> Option<[u8; 8]> {
        self.take(8)?.try_into().ok()
    }
}

/// What is stated in SETTINGS; the defaults are not filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub instance: Option<[u8; 16]>,
    pub max_message: Option<u64>,
    pub max_signal: Option<u64>,
    pub max_signals: Option<u64>,
    pub window: Option<u64>,
}

/// Counts of messages that the sender of the frame received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    pub received: u64,
    pub late: u64,
    pub dropped: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Settings(Settings),
    GoAway { code: u64, reason: String, deadline: u64, first_refused: u64 },
    Ping([u8; 8]),
    Pong([u8; 8]),
    Open { protocol: String, metadata: Vec<u8> },
    Accept { metadata: Vec<u8> },
    Reject { code: u64, reason: String, retry_after: u64 },
    Signal { payload: Vec<u8> },
    SignalAck { taken: u64 },
    Report(Received),
    Close { code: u64, reason: String, sent: u64, end: u64, signals_received: u64, signals_taken: u64 },
    CloseAck { sent: u64, end: u64, received: Received, signals_received: u64, signals_taken: u64 },
    Done(Received),
}

impl Frame {
    pub fn name(&self) -> &'static str {
        match self {
            Frame::Settings(_) => "SETTINGS",
            Frame::GoAway { .. } => "GOAWAY",
            Frame::Ping(_) => "PING",
            Frame::Pong(_) => "PONG",
            Frame::Open { .. } => "OPEN",
            Frame::Accept { .. } => "ACCEPT",
            Frame::Reject { .. } => "REJECT",
            Frame::Signal { .. } => "SIGNAL",
            Frame::SignalAck { .. } => "SIGNAL_ACK",
            Frame::Report(_) => "REPORT",
            Frame::Close { .. } => "CLOSE",
            Frame::CloseAck { .. } => "CLOSE_ACK",
            Frame::Done(_) => "DONE",
        }
    }

    fn kind(&self) -> u64 {
        match self {
            Frame::Settings(_) => 0x00,
            Frame::GoAway { .. } => 0x01,
            Frame::Ping(_) => 0x02,
            Frame::Pong(_) => 0x03,
            Frame::Open { .. } => 0x10,
            Frame::Accept { .. } => 0x11,
            Frame::Reject { .. } => 0x12,
            Frame::Signal { .. } => 0x13,
            Frame::SignalAck { .. } => 0x14,
            Frame::Report(_) => 0x15,
            Frame::Close { .. } => 0x16,
            Frame::CloseAck { .. } => 0x18,
            Frame::Done(_) => 0x19,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        self.encode_with(&[])
    }

    /// Writes the frame with more behind its last field, as later versions may.
    pub fn encode_with(&self, trailing: &[u8]) -> Vec<u8> {
        let mut value = Vec::new();
        self.put_value(&mut value);
        value.extend(trailing);
        raw_frame(self.kind(), &value)
    }

    fn put_value(&self, out: &mut Vec<u8>) {
        let put_received = |out: &mut Vec<u8>, r: &Received| {
            [r.received, r.late, r.dropped].iter().for_each(|&n| put_integer(out, n));
        };
        match self {
            Frame::Settings(s) => {
                if let Some(instance) = s.instance {
                    out.push(0x01);
                    put_bytes(out, &instance);
                }
                for (id, value) in
                    [(0x02, s.max_message), (0x03, s.max_signal), (0x04, s.max_signals), (0x05, s.window)]
                {
                    if let Some(n) = value {
                        let mut integer = Vec::new();
                        put_integer(&mut integer, n);
                        out.push(id);
                        put_bytes(out, &integer);
                    }
                }
            }
            Frame::GoAway { code, reason, deadline, first_refused } => {
                put_integer(out, *code);
                put_bytes(out, reason.as_bytes());
                put_integer(out, *deadline);
                put_integer(out, *first_refused);
            }
            Frame::Ping(token) | Frame::Pong(token) => out.extend(token),
            Frame::Open { protocol, metadata } => {
                put_bytes(out, protocol.as_bytes());
                put_bytes(out, metadata);
            }
            Frame::Accept { metadata } => put_bytes(out, metadata),
            Frame::Reject { code, reason, retry_after } => {
                put_integer(out, *code);
                put_bytes(out, reason.as_bytes());
                put_integer(out, *retry_after);
            }
            Frame::Signal { payload } => put_bytes(out, payload),
            Frame::SignalAck { taken } => put_integer(out, *taken),
            Frame::Report(received) | Frame::Done(received) => put_received(out, received),
            Frame::Close { code, reason, sent, end, signals_received, signals_taken } => {
                put_integer(out, *code);
                put_bytes(out, reason.as_bytes());
                [sent, end, signals_received, signals_taken].iter().for_each(|&&n| put_integer(out, n));
            }
            Frame::CloseAck { sent, end, received, signals_received, signals_taken } => {
                put_integer(out, *sent);
                put_integer(out, *end);
                put_received(out, received);
                put_integer(out, *signals_received);
                put_integer(out, *signals_taken);
            }
        }
    }

    /// Reads the value of a frame of a known type.
    fn decode(kind: u64, value: &[u8]) -> Option<Frame> {
        let mut c = Cursor(value);
        let received = |c: &mut Cursor| {
            let r = Received { received: c.integer()?, late: c.integer()?, dropped: c.integer()? };
            (r.dropped <= r.received).then_some(r)
        };
        Some(match kind {
            0x00 => Frame::Settings(decode_settings(c)?),
            0x01 => Frame::GoAway {
                code: c.integer()?,
                reason: c.reason()?,
                deadline: c.time()?,
                first_refused: c.integer()?,
            },
            0x02 => Frame::Ping(c.token()?),
            0x03 => Frame::Pong(c.token()?),
            0x10 => {
                let (protocol, metadata) = (c.string()?, c.bytes()?.to_vec());
                if protocol.len() + metadata.len() > MAX_CONTENT {
                    return None;
                }
                Frame::Open { protocol, metadata }
            }
            0x11 => Frame::Accept { metadata: c.bytes().filter(|m| m.len() <= MAX_CONTENT)?.to_vec() },
            0x12 => Frame::Reject { code: c.integer()?, reason: c.reason()?, retry_after: c.time()? },
            0x13 => Frame::Signal { payload: c.bytes()?.to_vec() },
            0x14 => Frame::SignalAck { taken: c.integer()? },
            0x15 => Frame::Report(received(&mut c)?),
            0x16 => {
                let (code, reason) = (c.integer()?, c.reason()?);
                let (sent, end) = (c.integer()?, c.integer()?);
                let (signals_received, signals_taken) = (c.integer()?, c.integer()?);
                if (sent > 0 && end == 0) || signals_taken > signals_received {
                    return None;
                }
                Frame::Close { code, reason, sent, end, signals_received, signals_taken }
            }
            0x18 => {
                let (sent, end, received) = (c.integer()?, c.integer()?, received(&mut c)?);
                let (signals_received, signals_taken) = (c.integer()?, c.integer()?);
                if (sent > 0 && end == 0) || signals_taken > signals_received {
                    return None;
                }
                Frame::CloseAck { sent, end, received, signals_received, signals_taken }
            }
            0x19 => Frame::Done(received(&mut c)?),
            _ => return None,
        })
    }
}

fn decode_settings(mut c: Cursor) -> Option<Settings> {
    let mut s = Settings::default();
    while !c.0.is_empty() {
        let id = c.integer()?;
        let mut value = Cursor(c.bytes()?);
        let twice = match id {
            0x01 => s.instance.replace(value.take(16)?.try_into().ok()?).is_some(),
            0x02 => s.max_message.replace(value.integer()?).is_some(),
            0x03 => s.max_signal.replace(value.integer()?).is_some(),
            0x04 => s.max_signals.replace(value.integer()?).is_some(),
            0x05 => s.window.replace(value.integer()?).is_some(),
            _ => false,
        };
        if twice {
            return None;
        }
    }
    Some(s)
}

/// A frame of any type and value.
pub fn raw_frame(kind: u64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_integer(&mut out, kind);
    put_bytes(&mut out, value);
    out
}

/// The longest value of a type, and whether the type is known.
fn limit(kind: u64) -> (u64, bool) {
    match kind {
        0x10 | 0x11 => (MAX_CONTENT as u64 + ROOM, true),
        0x13 => (MAX_SIGNAL as u64 + ROOM, true),
        0x01 | 0x12 | 0x16 => (MAX_REASON as u64 + ROOM, true),
        0x00 | 0x02 | 0x03 | 0x14 | 0x15 | 0x18 | 0x19 => (ROOM, true),
        _ => (MAX_UNKNOWN, false),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    Malformed,
    TooLong,
    UnknownFirst,
}

/// Cuts one direction of a stream into frames.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    begun: bool,
    skip: u64,
}

impl FrameReader {
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend(bytes);
    }

    /// The next known frame, once it is there as a whole. Unknown ones are skipped without keeping them.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            let skipped = self.skip.min(self.buffer.len() as u64);
            self.buffer.drain(..skipped as usize);
            self.skip -= skipped;
            if self.skip > 0 {
                return Ok(None);
            }
            let mut c = Cursor(&self.buffer);
            let Some(kind) = c.integer() else { return Ok(None) };
            let (longest, known) = limit(kind);
            if !known && !self.begun {
                return Err(FrameError::UnknownFirst);
            }
            let Some(length) = c.integer() else { return Ok(None) };
            if length > longest {
                return Err(FrameError::TooLong);
            }
            let header = self.buffer.len() - c.0.len();
            if !known {
                self.buffer.drain(..header);
                self.skip = length;
                continue;
            }
            let Some(value) = c.take(length as usize) else { return Ok(None) };
            let frame = Frame::decode(kind, value).ok_or(FrameError::Malformed)?;
            self.buffer.drain(..header + length as usize);
            self.begun = true;
            return Ok(Some(frame));
        }
    }

    /// Whether the stream may end here.
    pub fn between_frames(&self) -> bool {
        self.buffer.is_empty() && self.skip == 0
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    pub message: u64,
    pub total: u64,
    pub offset: u64,
    pub payload: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Message(u64, Vec<u8>),
    Bundle(Vec<(u64, Vec<u8>)>),
    Fragment(u64, Fragment),
    Heartbeat([u8; 8]),
    Echo([u8; 8]),
    Credit { end: u64, taken: u64 },
    Unknown,
}

/// Why a datagram cannot be read, as far as it could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid {
    pub number: Option<u64>,
    pub session: Option<u64>,
}

/// Shorter heartbeats might not be answered with a stateless reset.
const HEARTBEAT: usize = 20;

impl Body {
    pub fn encode(&self, number: u64) -> Vec<u8> {
        let mut out = Vec::new();
        let head = |out: &mut Vec<u8>, kind: u8| {
            out.push(kind);
            put_integer(out, number);
        };
        match self {
            Body::Message(session, payload) => {
                head(&mut out, 0x00);
                put_integer(&mut out, *session);
                out.extend(payload);
            }
            Body::Bundle(items) => {
                head(&mut out, 0x01);
                for (session, payload) in items {
                    put_integer(&mut out, *session);
                    put_bytes(&mut out, payload);
                }
            }
            Body::Fragment(session, f) => {
                head(&mut out, 0x02);
                [*session, f.message, f.total, f.offset].iter().for_each(|&n| put_integer(&mut out, n));
                out.extend(&f.payload);
            }
            Body::Heartbeat(token) | Body::Echo(token) => {
                head(&mut out, if matches!(self, Body::Echo(_)) { 0x11 } else { 0x10 });
                out.extend(token);
                out.resize(out.len().max(HEARTBEAT), 0);
            }
            Body::Credit { end, taken } => {
                head(&mut out, 0x12);
                put_integer(&mut out, *end);
                put_integer(&mut out, *taken);
            }
            // Of a reserved kind, which means nothing.
            Body::Unknown => head(&mut out, 0x17),
        }
        out
    }

    pub fn decode(datagram: &[u8]) -> Result<(u64, Body), Invalid> {
        let mut c = Cursor(datagram);
        let mut invalid = Invalid { number: None, session: None };
        let kind = c.integer().ok_or(invalid)?;
        let number = c.integer().filter(|&n| n <= MAX_NUMBER).ok_or(invalid)?;
        invalid.number = Some(number);
        let body = match kind {
            0x00 => Body::Message(c.integer().ok_or(invalid)?, c.0.to_vec()),
            0x01 => Body::Bundle(decode_bundle(c, invalid)?),
            0x02 => {
                let session = c.integer().ok_or(invalid)?;
                invalid.session = Some(session);
                Body::Fragment(session, decode_fragment(c).ok_or(invalid)?)
            }
            0x10 => Body::Heartbeat(c.token().ok_or(invalid)?),
            0x11 => Body::Echo(c.token().ok_or(invalid)?),
            0x12 => {
                let (end, taken) = (c.integer().ok_or(invalid)?, c.integer().ok_or(invalid)?);
                if taken > end {
                    return Err(invalid);
                }
                Body::Credit { end, taken }
            }
            _ => Body::Unknown,
        };
        Ok((number, body))
    }
}

fn decode_bundle(mut c: Cursor, mut invalid: Invalid) -> Result<Vec<(u64, Vec<u8>)>, Invalid> {
    let mut items = Vec::new();
    while items.is_empty() || !c.0.is_empty() {
        invalid.session = None;
        let session = c.integer().ok_or(invalid)?;
        invalid.session = Some(session);
        items.push((session, c.bytes().ok_or(invalid)?.to_vec()));
    }
    Ok(items)
}

fn decode_fragment(mut c: Cursor) -> Option<Fragment> {
    let (message, total, offset) = (c.integer()?, c.integer()?, c.integer()?);
    let f = Fragment { message, total, offset, payload: c.0.to_vec() };
    let fits = message <= MAX_NUMBER && !f.payload.is_empty() && offset + f.payload.len() as u64 <= total;
    fits.then_some(f)
}
