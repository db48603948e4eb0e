//! One session (PROTOCOL.md, section 8): what is read changes its state, and leaves actions for its stream.

use crate::codec::{Fragment, Frame, FrameReader, Received, MAX_SIGNAL};
use crate::report::SessionReport;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

pub const VIOLATION: u64 = 0x01;
pub const INTERNAL: u64 = 0x08;
const MAX_SIGNALS: u64 = 16;
pub const MAX_MESSAGE: u64 = 65_536;
const MAX_INCOMPLETE: usize = 8;
const MAX_INCOMPLETE_BYTES: u64 = 256 * 1024;
const INCOMPLETE: Duration = Duration::from_secs(1);
const CONFIRM: Duration = Duration::from_secs(5);

/// What breaks the protocol.
pub type Violation = &'static str;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    pub code: u64,
    pub reason: String,
}

impl Cause {
    pub fn new(code: u64, reason: &str) -> Cause {
        Cause { code, reason: reason.into() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Accepted(Vec<u8>),
    Rejected { cause: Cause, retry_after: u64 },
}

#[derive(Debug)]
pub enum Action {
    Write(Vec<u8>),
    Finish,
    Reset(u64),
    Stop(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    Fin,
    Reset,
}

/// What has to arrive before the counts are frozen.
#[derive(Clone, Copy, Debug)]
pub struct Awaited {
    pub since: Instant,
    /// *Sent* and *end* of the peer; not known after a bare FIN.
    pub sent: Option<(u64, u64)>,
}

struct Incomplete {
    since: Instant,
    bytes: Vec<u8>,
    there: Vec<bool>,
}

pub struct Session {
    pub id: u64,
    /// Whether this side opened it.
    pub ours: bool,
    /// OPEN's content; None on a stream whose OPEN is not complete.
    pub open: Option<(String, Vec<u8>)>,
    pub answer: Option<Answer>,
    pub own_close: Option<Cause>,
    pub peer_close: Option<Cause>,
    /// Keeps CLOSE unanswered, for the cases that do something in between.
    pub hold_close: bool,
    pub close_ack_sent: bool,
    pub close_ack_read: bool,
    pub done_sent: bool,
    pub done_read: bool,
    /// The code of the abort that ended it, by either side.
    pub aborted: Option<u64>,
    /// The codes of the peer's RESET_STREAM and STOP_SENDING.
    pub peer_codes: Vec<u64>,
    pub write_end: Option<StreamEnd>,
    pub read_end: Option<StreamEnd>,

    pub sent: u64,
    pub end: u64,
    pub received: u64,
    pub late: u64,
    pub frozen: bool,
    pub awaited: Option<Awaited>,
    pub peer_sent: Option<u64>,
    pub peer_received: Option<u64>,

    pub messages: VecDeque<Vec<u8>>,
    pub fragmented: u64,
    incomplete: BTreeMap<u64, Incomplete>,
    given_up: BTreeSet<u64>,

    pub signals: VecDeque<Vec<u8>>,
    pub signals_sent: u64,
    pub signals_acknowledged: u64,
    pub signals_received: u64,
    pub signals_taken: u64,

    pub reader: FrameReader,
    pub actions: Vec<Action>,
    pub expires: Option<Instant>,
}

impl Session {
    pub fn new(id: u64, ours: bool) -> Session {
        Session {
            id,
            ours,
            open: None,
            answer: None,
            own_close: None,
            peer_close: None,
            hold_close: false,
            close_ack_sent: false,
            close_ack_read: false,
            done_sent: false,
            done_read: false,
            aborted: None,
            peer_codes: Vec::new(),
            write_end: None,
            read_end: None,
            sent: 0,
            end: 0,
            received: 0,
            late: 0,
            frozen: false,
            awaited: None,
            peer_sent: None,
            peer_received: None,
            messages: VecDeque::new(),
            fragmented: 0,
            incomplete: BTreeMap::new(),
            given_up: BTreeSet::new(),
            signals: VecDeque::new(),
            signals_sent: 0,
            signals_acknowledged: 0,
            signals_received: 0,
            signals_taken: 0,
            reader: FrameReader::default(),
            actions: Vec::new(),
            expires: None,
        }
    }

    pub fn protocol(&self) -> &str {
        self.open.as_ref().map_or("", |(protocol, _)| protocol)
    }

    pub fn accepted(&self) -> bool {
        matches!(self.answer, Some(Answer::Accepted(_)))
    }

    pub fn rejected(&self) -> Option<&Cause> {
        match &self.answer {
            Some(Answer::Rejected { cause, .. }) => Some(cause),
            _ => None,
        }
    }

    /// Both directions of the stream have ended.
    pub fn over(&self) -> bool {
        self.read_end.is_some() && self.write_end.is_some()
    }

    /// Messages and signals flow, as far as this side is concerned.
    pub fn talking(&self) -> bool {
        self.accepted() && self.own_close.is_none() && self.peer_close.is_none() && self.aborted.is_none()
    }

    // ---- What this side does ----

    pub fn write(&mut self, frame: &Frame) {
        self.actions.push(Action::Write(frame.encode()));
    }

    /// Opens a session of this side's.
    pub fn begin(&mut self, protocol: &str, metadata: &[u8]) {
        self.open = Some((protocol.into(), metadata.into()));
        self.write(&Frame::Open { protocol: protocol.into(), metadata: metadata.into() });
    }

    pub fn accept(&mut self, metadata: Vec<u8>) {
        self.write(&Frame::Accept { metadata: metadata.clone() });
        self.answer = Some(Answer::Accepted(metadata));
    }

    pub fn reject(&mut self, code: u64, reason: &str, retry_after: u64) {
        self.write(&Frame::Reject { code, reason: reason.into(), retry_after });
        self.answer = Some(Answer::Rejected { cause: Cause::new(code, reason), retry_after });
        self.finish();
    }

    pub fn may_signal(&self) -> bool {
        self.signals_sent - self.signals_acknowledged < MAX_SIGNALS
    }

    pub fn signal(&mut self, payload: Vec<u8>) {
        self.signals_sent += 1;
        self.write(&Frame::Signal { payload });
    }

    pub fn take_signal(&mut self) -> Option<Vec<u8>> {
        let signal = self.signals.pop_front()?;
        self.signals_taken += 1;
        if self.write_end.is_none() && !self.close_ack_sent {
            self.write(&Frame::SignalAck { taken: self.signals_taken });
        }
        Some(signal)
    }

    pub fn close(&mut self, code: u64, reason: &str) {
        self.close_with(code, reason, &[]);
    }

    /// CLOSE with more behind its last field, as a later version may send it.
    pub fn close_with(&mut self, code: u64, reason: &str, trailing: &[u8]) {
        let frame = Frame::Close {
            code,
            reason: reason.into(),
            sent: self.sent,
            end: self.end,
            signals_received: self.signals_received,
            signals_taken: self.signals_taken,
        };
        self.actions.push(Action::Write(frame.encode_with(trailing)));
        self.own_close = Some(Cause::new(code, reason));
        self.expires = Some(Instant::now() + CONFIRM);
    }

    /// FIN in the place of CLOSE (rule 4), which means code 0 and no reason.
    pub fn bare_fin(&mut self) {
        self.own_close = Some(Cause::new(0, ""));
        self.finish();
    }

    fn finish(&mut self) {
        if self.write_end.is_none() {
            self.actions.push(Action::Finish);
            self.write_end = Some(StreamEnd::Fin);
            self.expires = Some(Instant::now() + CONFIRM);
        }
    }

    pub fn abort(&mut self, code: u64) {
        if !self.settled() {
            self.aborted.get_or_insert(code);
        }
        self.tear(code);
    }

    fn tear(&mut self, code: u64) {
        if self.write_end != Some(StreamEnd::Reset) {
            self.actions.push(Action::Reset(code));
            self.write_end = Some(StreamEnd::Reset);
        }
        if self.read_end.is_none() {
            self.actions.push(Action::Stop(code));
            self.read_end = Some(StreamEnd::Reset);
        }
    }

    // ---- What comes from the peer ----

    /// The end is decided, and an abort cannot change it any more.
    fn settled(&self) -> bool {
        self.rejected().is_some() || self.close_ack_read || self.close_ack_sent
    }

    pub fn on_reset(&mut self, code: u64) {
        self.peer_codes.push(code);
        self.read_end = Some(StreamEnd::Reset);
        if !self.settled() {
            self.aborted.get_or_insert(code);
        }
        if self.write_end.is_none() {
            self.tear(code);
        }
    }

    pub fn on_stopped(&mut self, code: u64) {
        self.peer_codes.push(code);
        self.abort(code);
    }

    pub fn on_frame(&mut self, frame: Frame, now: Instant) -> Result<(), Violation> {
        if !self.ours && self.rejected().is_some() {
            return Ok(()); // CLOSE has crossed REJECT, or more was sent before REJECT was read.
        }
        match frame {
            Frame::Open { protocol, metadata } if !self.ours && self.open.is_none() => {
                self.open = Some((protocol, metadata));
            }
            _ if self.open.is_none() => return Err("another frame before OPEN"),
            Frame::Accept { metadata } if self.unanswered() => self.answer = Some(Answer::Accepted(metadata)),
            Frame::Reject { code, reason, retry_after } if self.unanswered() => {
                self.answer = Some(Answer::Rejected { cause: Cause { code, reason }, retry_after });
                self.finish();
            }
            Frame::Signal { payload } if self.accepted() && self.peer_close.is_none() && !self.close_ack_read => {
                self.signals_received += 1;
                if self.signals_received - self.signals_taken > MAX_SIGNALS || payload.len() > MAX_SIGNAL {
                    return Err("SIGNAL beyond what was granted");
                }
                self.signals.push_back(payload);
            }
            Frame::SignalAck { taken } if self.accepted() && !self.close_ack_read && !self.done_read => {
                if taken > self.signals_sent {
                    return Err("SIGNAL_ACK for more than was sent");
                }
                self.signals_acknowledged = self.signals_acknowledged.max(taken);
            }
            Frame::Report(counts) if self.accepted() && self.peer_close.is_none() && !self.close_ack_read => {
                if counts.received > self.sent {
                    return Err("REPORT of more than was sent");
                }
            }
            Frame::Close { code, reason, sent, end, signals_received, signals_taken: _ }
                if (self.accepted() || !self.ours) && self.peer_close.is_none() && !self.close_ack_read =>
            {
                if sent < self.received || signals_received > self.signals_sent {
                    return Err("CLOSE with counts that cannot be");
                }
                self.peer_close = Some(Cause { code, reason });
                self.peer_sent = Some(sent);
                self.awaited.get_or_insert(Awaited { since: now, sent: Some((sent, end)) });
            }
            Frame::CloseAck { sent, end, received, signals_received, signals_taken: _ }
                if self.own_close.is_some() && !self.close_ack_read =>
            {
                if sent < self.received || received.received > self.sent || signals_received > self.signals_sent {
                    return Err("CLOSE_ACK with counts that cannot be");
                }
                let stated = self.awaited.and_then(|a| a.sent);
                if self.peer_close.is_some() && stated.is_some_and(|s| s != (sent, end)) {
                    return Err("CLOSE_ACK that contradicts CLOSE");
                }
                self.close_ack_read = true;
                self.peer_sent = Some(sent);
                self.peer_received = Some(received.received);
                self.awaited.get_or_insert(Awaited { since: now, sent: Some((sent, end)) });
            }
            Frame::Done(counts) if self.close_ack_sent && self.own_close.is_none() && !self.done_read => {
                if counts.received > self.sent {
                    return Err("DONE with counts that cannot be");
                }
                self.done_read = true;
                self.peer_received = Some(counts.received);
            }
            _ => return Err("a frame out of order"),
        }
        Ok(())
    }

    fn unanswered(&self) -> bool {
        self.ours && self.answer.is_none() && !self.close_ack_read
    }

    pub fn on_fin(&mut self, now: Instant) -> Result<(), Violation> {
        self.read_end = Some(StreamEnd::Fin);
        if !self.reader.between_frames() {
            return Err("FIN inside a frame");
        }
        if self.open.is_none() {
            return Err("FIN before OPEN");
        }
        if self.unanswered() {
            self.answer = Some(Answer::Rejected { cause: Cause::new(INTERNAL, ""), retry_after: 0 });
            self.finish();
        } else if self.rejected().is_none() && self.peer_close.is_none() && !self.close_ack_read {
            self.peer_close = Some(Cause::new(0, ""));
            self.awaited.get_or_insert(Awaited { since: now, sent: None });
        }
        Ok(())
    }

    /// A whole message of the peer's.
    pub fn on_message(&mut self, payload: Vec<u8>) {
        if self.frozen || self.aborted.is_some() || self.rejected().is_some() {
            self.late += 1;
        } else {
            self.received += 1;
            self.messages.push_back(payload);
        }
    }

    pub fn on_fragment(&mut self, f: Fragment, now: Instant) -> Result<(), Violation> {
        if f.total > MAX_MESSAGE {
            return Err("a fragment of too large a message");
        }
        self.drop_incomplete(now);
        if self.given_up.contains(&f.message) {
            return Ok(());
        }
        if !self.incomplete.contains_key(&f.message) {
            self.make_room(f.total);
            let total = f.total as usize;
            let fresh = Incomplete { since: now, bytes: vec![0; total], there: vec![false; total] };
            self.incomplete.insert(f.message, fresh);
        }
        let partial = self.incomplete.get_mut(&f.message).expect("just inserted");
        let range = f.offset as usize..f.offset as usize + f.payload.len();
        let agrees = partial.bytes.len() as u64 == f.total
            && range.clone().zip(&f.payload).all(|(i, b)| !partial.there[i] || partial.bytes[i] == *b);
        if !agrees {
            self.give_up(f.message);
            return Ok(());
        }
        partial.bytes[range.clone()].copy_from_slice(&f.payload);
        partial.there[range].fill(true);
        if partial.there.iter().all(|&there| there) {
            let whole = self.incomplete.remove(&f.message).expect("just filled");
            self.given_up.insert(f.message);
            self.on_message(whole.bytes);
        }
        Ok(())
    }

    fn give_up(&mut self, message: u64) {
        self.incomplete.remove(&message);
        self.given_up.insert(message);
    }

    fn drop_incomplete(&mut self, now: Instant) {
        let old: Vec<u64> =
            self.incomplete.iter().filter(|(_, p)| now - p.since > INCOMPLETE).map(|(&id, _)| id).collect();
        old.into_iter().for_each(|id| self.give_up(id));
    }

    fn make_room(&mut self, total: u64) {
        let held = |s: &Session| s.incomplete.values().map(|p| p.bytes.len() as u64).sum::<u64>();
        while self.incomplete.len() >= MAX_INCOMPLETE || held(self) + total > MAX_INCOMPLETE_BYTES {
            let oldest = self.incomplete.iter().min_by_key(|(_, p)| p.since).map(|(&id, _)| id);
            self.give_up(oldest.expect("one message always fits"));
        }
    }

    // ---- The close ----

    /// Whether the end waits for messages that may still be under way (8.8).
    pub fn waits_for_stragglers(&self) -> Option<Awaited> {
        let held = self.peer_close.is_some() && self.hold_close;
        self.awaited.filter(|_| !self.frozen && !held && self.aborted.is_none() && self.rejected().is_none())
    }

    /// Goes on with the close, as far as it can; `complete` says that there is nothing more to wait for.
    pub fn go_on_closing(&mut self, complete: bool) {
        if !complete || self.waits_for_stragglers().is_none() {
            return self.end_crossed();
        }
        self.frozen = true;
        let counts = Received { received: self.received, late: self.late, dropped: 0 };
        if self.peer_close.is_some() && self.write_end.is_none() {
            self.write(&Frame::CloseAck {
                sent: self.sent,
                end: self.end,
                received: counts,
                signals_received: self.signals_received,
                signals_taken: self.signals_taken,
            });
            self.close_ack_sent = true;
            if self.own_close.is_none() {
                self.finish();
            }
        } else if self.close_ack_read && self.write_end.is_none() {
            self.write(&Frame::Done(counts));
            self.done_sent = true;
            self.finish();
        }
        self.end_crossed();
    }

    /// After crossed closes, FIN comes when each side's is acknowledged, or the peer's FIN shows that it will not be.
    fn end_crossed(&mut self) {
        let answered = self.close_ack_read || self.read_end.is_some();
        if self.own_close.is_some() && self.peer_close.is_some() && self.close_ack_sent && answered {
            self.finish();
        }
    }

    /// Whether CLOSE_ACK, DONE or FIN of the peer is overdue: then the stream is torn.
    pub fn check_expiry(&mut self, now: Instant) {
        if !self.over() && self.expires.is_some_and(|at| at <= now) {
            let cause = self.rejected().or(self.own_close.as_ref()).or(self.peer_close.as_ref());
            self.abort(cause.map_or(INTERNAL, |c| c.code));
        }
    }

    pub fn report(&self) -> SessionReport {
        let own = self.own_close.as_ref().filter(|_| self.close_ack_read);
        let peer = self.peer_close.as_ref().filter(|_| self.close_ack_sent);
        let (end, cause) = match (self.rejected(), self.aborted, own, peer) {
            (Some(cause), ..) => ("rejected", cause.clone()),
            (_, Some(code), ..) => ("aborted", Cause::new(code, "")),
            (_, _, Some(cause), Some(_)) => ("crossed", cause.clone()),
            (_, _, Some(cause), None) => ("closed", cause.clone()),
            (_, _, None, Some(cause)) => ("peer-closed", cause.clone()),
            _ => ("lost", Cause::new(0, "")),
        };
        let known = |n: Option<u64>| n.map_or(-1, |n| n as i64);
        SessionReport {
            id: self.id,
            end,
            code: cause.code,
            reason: cause.reason,
            sent: self.sent as i64,
            received: self.received as i64,
            peer_sent: known(self.peer_sent),
            peer_received: known(self.peer_received),
        }
    }
}
