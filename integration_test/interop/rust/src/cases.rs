//! What this side does in each case of the matrix.

use crate::codec::{put_integer, raw_frame, Body, Fragment, Frame, Settings};
use crate::peer::{ended_in_order, Key, Peer};
use crate::report::SessionReport;
use crate::session::{Answer, Session};
use crate::transport::{Ended, Transport};
use std::net::SocketAddr;
use std::time::Duration;

type Outcome = Result<(), String>;

const CASES: [&str; 30] = [
    "handshake",
    "wrong-id",
    "refused",
    "open",
    "open-rejected",
    "accept",
    "reject",
    "messages",
    "messages-back",
    "early",
    "signals",
    "signals-back",
    "close-by-peer",
    "close-here",
    "crossed",
    "close-opening",
    "close-crosses-accept",
    "close-crosses-reject",
    "bare-fin",
    "abort",
    "aborted",
    "shutdown",
    "goaway",
    "unknown",
    "malformed-frame",
    "malformed-datagram",
    "malformed-link",
    "many",
    "no-datagrams",
    "one-port",
];

pub fn known(case: &str) -> bool {
    CASES.contains(&case) || dial_only(case)
}

pub fn dial_only(case: &str) -> bool {
    anonymous(case)
}

/// The cases in which this side presents no certificate.
pub fn anonymous(case: &str) -> bool {
    matches!(case, "anonymous" | "anonymous-refused")
}

/// Plays a case. Without a target, this side listens.
pub fn run<T: Transport>(
    p: &mut Peer<T>,
    case: &str,
    target: Option<SocketAddr>,
) -> Result<Vec<SessionReport>, String> {
    if case == "unknown" {
        p.more_settings = [raw_frame(0x17, b"abc"), raw_frame(0xf000, b"")].concat();
        p.more_frames = [raw_frame(0x17, b""), raw_frame(0xf123, b"later")].concat();
    }
    if let Some(address) = target {
        p.dial(address)?;
    }
    match case {
        "wrong-id" => wrong_id(p)?,
        "refused" => refused(p)?,
        "anonymous-refused" => anonymous_refused(p)?,
        "no-datagrams" => ended_by_peer(p, 0x07)?,
        _ => {
            wait_link(p, 0)?;
            on_link(p, case)?;
        }
    }
    if let Some(trouble) = p.trouble.first() {
        return Err(trouble.clone());
    }
    let sessions = p.links.iter().flat_map(|l| l.sessions.values());
    Ok(sessions.filter(|s| s.open.is_some()).map(Session::report).collect())
}

fn on_link<T: Transport>(p: &mut Peer<T>, case: &str) -> Outcome {
    match case {
        "handshake" => handshake(p)?,
        "open" | "anonymous" => hello(p, 0)?,
        "open-rejected" => open_rejected(p)?,
        "accept" => served(p, "echo", "peer-closed", Some((0x100, "fine")), Some(1))?,
        "reject" => served(p, "reject", "rejected", Some((0x1f4, "not today")), None)?,
        "messages" => messages(p)?,
        "messages-back" => served(p, "echo", "peer-closed", None, Some(25))?,
        "early" => early(p)?,
        "signals" => signals(p)?,
        "signals-back" => signals_back(p)?,
        "close-by-peer" => close_by_peer(p)?,
        "close-here" => served(p, "close", "closed", Some((0x155, "enough")), Some(0))?,
        "crossed" => crossed(p)?,
        "close-opening" => close_opening(p)?,
        "close-crosses-accept" => served(p, "hold-accept", "peer-closed", None, Some(0))?,
        "close-crosses-reject" => served(p, "hold-reject", "rejected", Some((0x1f4, "not today")), None)?,
        "bare-fin" => bare_fin(p)?,
        "abort" => abort(p)?,
        "aborted" => aborted(p)?,
        "shutdown" => return shutdown(p),
        "goaway" => return goaway(p),
        "unknown" => unknown(p)?,
        "malformed-frame" => malformed(p, |p, a| {
            let mut signal = vec![0x13];
            put_integer(&mut signal, 100_000);
            p.write_session(a, &signal);
        })?,
        "malformed-datagram" => malformed(p, |p, a| {
            let empty = Fragment { message: 0, total: 9, offset: 0, payload: Vec::new() };
            let id = p.session(a).id;
            p.send(a.link, &Body::Fragment(id, empty));
        })?,
        "malformed-link" => return malformed_link(p),
        "many" => many(p)?,
        "one-port" => one_port(p)?,
        _ => return Err("an unknown case".into()),
    }
    end(p)
}

/// Waits for a link. One that the peer dialed comes with a session: a peer made with the library begins with `hello`, and has
/// to read that this is rejected before anything ends.
fn wait_link<T: Transport>(p: &mut Peer<T>, index: usize) -> Outcome {
    p.wait("a link", |p| p.links.get(index).is_some_and(|l| l.connected))?;
    if p.links[index].incoming {
        let opened = |s: &&Session| !s.ours && s.open.is_some();
        p.wait("the peer's first session", |p| p.links[index].sessions.values().any(|s| opened(&s)))?;
        p.wait("the end of the session hello", |p| {
            p.links[index].sessions.values().filter(opened).all(|s| s.protocol() != "hello" || s.over())
        })?;
    }
    Ok(())
}

/// The end of most cases: this side says that it goes away, and the peer ends each link.
fn end<T: Transport>(p: &mut Peer<T>) -> Outcome {
    p.wait("the end of all sessions", |p| p.links.iter().all(|l| l.sessions.values().all(Session::over)))?;
    for index in 0..p.links.len() {
        p.go_away(index);
    }
    ended_by_peer(p, 0x00)
}

/// Waits for CONNECTION_CLOSE of the peer on all links.
fn ended_by_peer<T: Transport>(p: &mut Peer<T>, code: u64) -> Outcome {
    p.wait("CONNECTION_CLOSE", |p| !p.links.is_empty() && p.links.iter().all(|l| l.ended.is_some()))?;
    for link in &p.links {
        match &link.ended {
            Some(Ended::Application { code: got, .. }) if *got == code => {}
            other => return Err(format!("expected CONNECTION_CLOSE with code {code:#x}, got {other:?}")),
        }
    }
    Ok(())
}

fn check(condition: bool, why: impl FnOnce() -> String) -> Outcome {
    if condition {
        Ok(())
    } else {
        Err(why())
    }
}

fn same<V: PartialEq + std::fmt::Debug>(what: &str, got: V, want: V) -> Outcome {
    check(got == want, || format!("{what}: expected {want:?}, got {got:?}"))
}

/// How a session ended: its end, the cause if the case gives it, and how many messages went each way and arrived.
fn check_end(s: &Session, end: &str, cause: Option<(u64, &str)>, messages: Option<(i64, i64)>) -> Outcome {
    let name = format!("session {}", s.id);
    let report = s.report();
    same(&format!("the end of {name}"), report.end, end)?;
    if let Some((code, reason)) = cause {
        same(&format!("the cause of {name}"), (report.code, report.reason.as_str()), (code, reason))?;
    }
    if let Some((sent, received)) = messages {
        let counts = (report.sent, report.received, report.peer_sent, report.peer_received);
        same(&format!("the counts of {name}"), counts, (sent, received, received, sent))?;
    }
    if end != "aborted" {
        check(ended_in_order(s), || format!("{name} ended without FIN both ways"))?;
    }
    Ok(())
}

fn wait_over<T: Transport>(p: &mut Peer<T>, key: Key) -> Outcome {
    p.wait(&format!("the end of session {}", p.session(key).id), |p| p.session(key).over())
}

fn closed<T: Transport>(p: &mut Peer<T>, key: Key, cause: (u64, &str), messages: (i64, i64)) -> Outcome {
    wait_over(p, key)?;
    check_end(p.session(key), "closed", Some(cause), Some(messages))
}

/// Opens a session and waits until it is accepted, with the same metadata.
fn open_accepted<T: Transport>(p: &mut Peer<T>, index: usize, protocol: &str, metadata: &[u8]) -> Result<Key, String> {
    let key = p.open(index, protocol, metadata)?;
    wait_accepted(p, key)?;
    Ok(key)
}

fn wait_accepted<T: Transport>(p: &mut Peer<T>, key: Key) -> Outcome {
    p.wait("ACCEPT", |p| p.session(key).answer.is_some() || p.session(key).over())?;
    let session = p.session(key);
    let metadata = session.open.as_ref().map(|(_, metadata)| metadata.clone()).unwrap_or_default();
    same("the answer to OPEN", session.answer.as_ref(), Some(&Answer::Accepted(metadata)))
}

/// Sends a message and waits for it to come back.
fn there_and_back<T: Transport>(p: &mut Peer<T>, key: Key, message: &[u8]) -> Outcome {
    p.send_message(key, message);
    take(p, key, message)
}

fn take<T: Transport>(p: &mut Peer<T>, key: Key, message: &[u8]) -> Outcome {
    p.wait("a message", |p| !p.session(key).messages.is_empty())?;
    let got = p.with(key, |s| s.messages.pop_front());
    same("the message", got.as_deref(), Some(message))
}

fn handshake<T: Transport>(p: &mut Peer<T>) -> Outcome {
    p.wait("SETTINGS", |p| p.links[0].settings.is_some())?;
    let instance = p.links[0].settings.as_ref().and_then(|s: &Settings| s.instance);
    check(instance.is_some(), || "SETTINGS without an instance id".into())?;
    let token = p.ping(0);
    p.wait("PONG", |p| p.links[0].pongs.contains(&token))?;
    p.wait("the echo of a heartbeat", |p| p.links[0].heartbeats.iter().any(|h| p.links[0].echoes.contains(h)))?;
    p.wait("PING", |p| p.links[0].pings_answered > 0)?;
    served(p, "echo", "peer-closed", None, Some(0))
}

fn nothing_carried<T: Transport>(p: &Peer<T>) -> Outcome {
    check(p.links.len() == 1 && !p.links[0].carried, || "the link carried something, or there were two".into())
}

fn wrong_id<T: Transport>(p: &mut Peer<T>) -> Outcome {
    p.wait("a handshake to refuse", |p| p.links.iter().any(|l| l.over()))?;
    let link = &p.links[0];
    let ended = link.closed_here == Some(0x02) || matches!(link.ended, Some(Ended::Refused(_)));
    check(ended && p.config.has_refused(), || format!("expected to refuse the handshake, got {:?}", link.ended))
}

fn is_alert(ended: &Option<Ended>) -> bool {
    matches!(ended, Some(Ended::Transport { code: 0x100..=0x1ff, .. }))
}

fn refused<T: Transport>(p: &mut Peer<T>) -> Outcome {
    p.wait("the peer's refusal", |p| p.links.iter().any(|l| l.ended.is_some()))?;
    let ended = &p.links[0].ended;
    let refused = is_alert(ended) || matches!(ended, Some(Ended::Application { code: 0x02, .. }));
    check(refused, || format!("expected a TLS alert or code 0x02, got {ended:?}"))?;
    nothing_carried(p)
}

fn anonymous_refused<T: Transport>(p: &mut Peer<T>) -> Outcome {
    p.wait("the peer's refusal", |p| p.links[0].ended.is_some())?;
    let ended = &p.links[0].ended;
    check(is_alert(ended), || format!("expected a TLS alert, got {ended:?}"))?;
    nothing_carried(p)
}

fn hello<T: Transport>(p: &mut Peer<T>, index: usize) -> Outcome {
    let key = open_accepted(p, index, "echo", b"v=1")?;
    there_and_back(p, key, b"hello")?;
    p.with(key, |s| s.close(0, "bye"));
    closed(p, key, (0, "bye"), (1, 1))
}

fn open_rejected<T: Transport>(p: &mut Peer<T>) -> Outcome {
    let key = p.open(0, "reject", b"")?;
    wait_over(p, key)?;
    check_end(p.session(key), "rejected", Some((0x1f4, "not today")), None)?;
    match p.session(key).answer {
        Some(Answer::Rejected { retry_after, .. }) => same("retry-after", retry_after, 1_500),
        _ => Err("no REJECT".into()),
    }
}

/// Serves the one session that the peer opens. As many messages are expected as are sent back.
fn served<T: Transport>(
    p: &mut Peer<T>,
    protocol: &str,
    end: &str,
    cause: Option<(u64, &str)>,
    messages: Option<i64>,
) -> Outcome {
    p.wait(&format!("a session {protocol} to come and end"), |p| {
        p.links[0].served().count() > 0 && p.links[0].served().all(Session::over)
    })?;
    same("the number of sessions", p.links[0].served().count(), 1)?;
    for s in p.links[0].served() {
        same("the protocol", s.protocol(), protocol)?;
        check_end(s, end, cause, messages.map(|n| (n, n)))?;
    }
    Ok(())
}

/// Bytes that differ from place to place.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + i / 251) as u8).collect()
}

fn messages<T: Transport>(p: &mut Peer<T>) -> Outcome {
    let key = open_accepted(p, 0, "echo", b"")?;
    let large = pattern(1_100);
    for message in [&b""[..], b"\x2a", &large] {
        p.send_message(key, message);
    }
    p.send_bundle(key, &[b"a", b"", b"ccc"], b"");
    p.send_bundle(key, &[b"padded"], &[0; 50]);
    p.wait("seven messages", |p| p.session(key).messages.len() >= 7)?;
    let mut got: Vec<Vec<u8>> = p.with(key, |s| s.messages.drain(..).collect());
    let mut want = [&b""[..], b"\x2a", &large, b"a", b"", b"ccc", b"padded"].map(<[u8]>::to_vec);
    got.sort();
    want.sort();
    check(got == want, || "the seven small messages came back changed".into())?;
    for (length, backwards) in [(5_000, true), (65_536, false)] {
        let message = pattern(length);
        p.send_fragments(key, &message, backwards);
        p.wait(&format!("the message of {length} bytes"), |p| !p.session(key).messages.is_empty())?;
        let got = p.with(key, |s| s.messages.pop_front());
        check(got == Some(message), || format!("the message of {length} bytes came back changed"))?;
    }
    p.with(key, |s| s.close(0, "bye"));
    closed(p, key, (0, "bye"), (9, 9))
}

fn early<T: Transport>(p: &mut Peer<T>) -> Outcome {
    let id = crate::peer::session_of(p.links[0].next_stream());
    p.send(0, &Body::Message(id, b"one".to_vec()));
    let end = p.send(0, &Body::Message(id, b"two".to_vec()));
    p.pause(Duration::from_millis(50));
    let key = p.open_with(0, "echo", b"", |s| (s.sent, s.end) = (2, end))?;
    same("the session's id", p.session(key).id, id)?;
    wait_accepted(p, key)?;
    take(p, key, b"one")?;
    take(p, key, b"two")?;
    p.with(key, |s| s.close(0, "bye"));
    closed(p, key, (0, "bye"), (2, 2))?;
    p.send(0, &Body::Message(id, b"late".to_vec()));
    let key = open_accepted(p, 0, "echo", b"")?;
    there_and_back(p, key, b"on")?;
    p.with(key, |s| s.close(0, "bye"));
    closed(p, key, (0, "bye"), (1, 1))
}

const SIGNALS: u64 = 40;

fn signals<T: Transport>(p: &mut Peer<T>) -> Outcome {
    let key = open_accepted(p, 0, "echo", b"")?;
    let mut back = 0;
    loop {
        p.with(key, |s| {
            while s.signals_sent < SIGNALS && s.may_signal() {
                s.signal(s.signals_sent.to_string().into_bytes());
            }
        });
        while let Some(signal) = p.with(key, Session::take_signal) {
            same("a signal", signal, back.to_string().into_bytes())?;
            back += 1;
        }
        let before = progress(p.session(key));
        if before == (SIGNALS, SIGNALS) {
            break;
        }
        p.wait("SIGNAL or SIGNAL_ACK", |p| progress(p.session(key)) != before)?;
    }
    p.with(key, |s| s.close(0, "bye"));
    closed(p, key, (0, "bye"), (0, 0))
}

fn progress(s: &Session) -> (u64, u64) {
    (s.signals_acknowledged, s.signals_received)
}

fn signals_back<T: Transport>(p: &mut Peer<T>) -> Outcome {
    served(p, "echo", "peer-closed", None, Some(0))?;
    let counts = p.links[0].served().map(|s| (s.signals_received, s.signals_sent)).collect::<Vec<_>>();
    same("the signals that came and went back", counts, vec![(SIGNALS, SIGNALS)])
}

fn close_by_peer<T: Transport>(p: &mut Peer<T>) -> Outcome {
    let key = open_accepted(p, 0, "close", b"")?;
    wait_over(p, key)?;
    check(p.session(key).done_read, || "no DONE".into())?;
    check_end(p.session(key), "peer-closed", Some((0x155, "enough")), Some((0, 0)))
}

fn crossed<T: Transport>(p: &mut Peer<T>) -> Outcome {
    let key = p.open_with(0, "close", b"", |s| s.hold_close = true)?;
    p.wait("CLOSE", |p| p.session(key).peer_close.is_some())?;
    p.with(key, |s| {
        s.close(0x200, "me too");
        s.hold_close = false;
    });
    wait_over(p, key)?;
    let peers = p.session(key).peer_close.as_ref().map(|c| (c.code, c.reason.as_str()));
    same("the peer's cause", peers, Some((0x155, "enough")))?;
    check_end(p.session(key), "crossed", Some((0x200, "me too")), None)?;
    let report = p.session(key).report();
    same("the counts", (report.sent, report.received, report.peer_sent, report.peer_received), (0, 0, 0, 0))
}

fn close_opening<T: Transport>(p: &mut Peer<T>) -> Outcome {
    let key = p.open_with(0, "hold", b"", |s| s.close(0, "never mind"))?;
    closed(p, key, (0, "never mind"), (0, 0))
}

fn bare_fin<T: Transport>(p: &mut Peer<T>) -> Outcome {
    let key = open_accepted(p, 0, "echo", b"")?;
    there_and_back(p, key, b"hello")?;
    p.with(key, Session::bare_fin);
    closed(p, key, (0, ""), (1, 1))
}

fn abort<T: Transport>(p: &mut Peer<T>) -> Outcome {
    let key = open_accepted(p, 0, "echo", b"")?;
    p.with(key, |s| s.abort(0x199));
    answered_abort(p, key, 0x199)
}

fn aborted<T: Transport>(p: &mut Peer<T>) -> Outcome {
    let key = p.open(0, "abort", b"")?;
    answered_abort(p, key, 0x177)
}

/// Waits for the peer's RESET_STREAM or STOP_SENDING.
fn answered_abort<T: Transport>(p: &mut Peer<T>, key: Key, code: u64) -> Outcome {
    p.wait("the peer's abort", |p| !p.session(key).peer_codes.is_empty() && p.session(key).over())?;
    let codes = &p.session(key).peer_codes;
    check(codes.iter().all(|&c| c == code), || format!("expected the code {code:#x}, got {codes:x?}"))?;
    check_end(p.session(key), "aborted", Some((code, "")), None)
}

/// The peer shuts down, and this side, which has read everything, ends the link.
fn shutdown<T: Transport>(p: &mut Peer<T>) -> Outcome {
    let key = open_accepted(p, 0, "shutdown", b"")?;
    p.send_message(key, b"go");
    p.wait("GOAWAY", |p| p.links[0].goaway.is_some())?;
    after_shutdown(p, key)
}

fn goaway<T: Transport>(p: &mut Peer<T>) -> Outcome {
    let key = p.open_with(0, "shutdown", b"", |s| s.hold_close = true)?;
    wait_accepted(p, key)?;
    p.send_message(key, b"go");
    p.wait("GOAWAY", |p| p.links[0].goaway.is_some())?;
    let second = p.open(0, "echo", b"")?;
    p.with(key, |s| s.hold_close = false);
    wait_over(p, second)?;
    let first_refused = p.links[0].goaway.as_ref().map(|g| g.first_refused);
    same("first refused", first_refused, Some(p.session(second).id))?;
    let rejected = p.session(second).rejected().map(|c| c.code);
    same("the code of REJECT", rejected, Some(0x05))?;
    after_shutdown(p, key)
}

fn after_shutdown<T: Transport>(p: &mut Peer<T>, key: Key) -> Outcome {
    wait_over(p, key)?;
    let (s, cause) = (p.session(key), (0x100, "maintenance"));
    check(s.done_read, || "no DONE".into())?;
    check_end(s, "peer-closed", Some(cause), Some((1, 0)))?;
    let goaway = p.links[0].goaway.as_ref().map(|g| (g.cause.code, g.cause.reason.as_str()));
    same("the cause of GOAWAY", goaway, Some(cause))?;
    p.wait("the end of all sessions", |p| p.links[0].sessions.values().all(Session::over))?;
    check(!p.links[0].over(), || "the peer ended the link first".into())?;
    p.close_link(0, 0, "");
    Ok(())
}

fn unknown<T: Transport>(p: &mut Peer<T>) -> Outcome {
    let stream = p.open_unidirectional(0, 0x40, b"whatever")?;
    p.send(0, &Body::Unknown);
    let key = p.open(0, "echo", b"v=1")?;
    p.write_session(key, &[raw_frame(0x40, b"\x01\x02\x03"), raw_frame(0xa03f, b"")].concat());
    wait_accepted(p, key)?;
    there_and_back(p, key, b"hello")?;
    p.with(key, |s| s.signal(b"hi".to_vec()));
    p.wait("a signal, and its SIGNAL_ACK", |p| progress(p.session(key)) == (1, 1))?;
    same("the signal", p.with(key, Session::take_signal), Some(b"hi".to_vec()))?;
    p.wait("STOP_SENDING", |p| p.links[0].stopped.contains_key(&stream))?;
    same("the code of STOP_SENDING", p.links[0].stopped[&stream], 0x07)?;
    p.with(key, |s| s.close_with(0, "bye", b"more"));
    closed(p, key, (0, "bye"), (1, 1))
}

/// One session breaks the rules and is aborted; another is not touched by that.
fn malformed<T: Transport>(p: &mut Peer<T>, break_rules: impl FnOnce(&mut Peer<T>, Key)) -> Outcome {
    let a = open_accepted(p, 0, "echo", b"")?;
    let b = open_accepted(p, 0, "echo", b"")?;
    break_rules(p, a);
    answered_abort(p, a, 0x01)?;
    there_and_back(p, b, b"hello")?;
    p.with(b, |s| s.close(0, "bye"));
    closed(p, b, (0, "bye"), (1, 1))
}

fn malformed_link<T: Transport>(p: &mut Peer<T>) -> Outcome {
    let key = open_accepted(p, 0, "echo", b"")?;
    p.write_link(0, &Frame::Settings(Settings::default()).encode());
    ended_by_peer(p, 0x01)?;
    same("the end of the session", p.session(key).report().end, "lost")
}

const MANY: usize = 20;

fn many<T: Transport>(p: &mut Peer<T>) -> Outcome {
    let mut keys = Vec::new();
    for _ in 0..MANY {
        keys.push(p.open(0, "echo", b"")?);
    }
    for &key in &keys {
        wait_accepted(p, key)?;
        p.send_message(key, format!("message {}", key.stream).as_bytes());
    }
    for &key in &keys {
        take(p, key, format!("message {}", key.stream).as_bytes())?;
        p.with(key, |s| s.close(0, "bye"));
    }
    for &key in &keys {
        closed(p, key, (0, "bye"), (1, 1))?;
    }
    p.wait("twenty sessions to come and end", |p| p.links[0].served().filter(|s| s.over()).count() >= MANY)?;
    same("the number of sessions", p.links[0].served().count(), MANY)?;
    p.links[0].served().try_for_each(|s| check_end(s, "peer-closed", None, Some((1, 1))))
}

fn one_port<T: Transport>(p: &mut Peer<T>) -> Outcome {
    hello(p, 0)?;
    served(p, "echo", "peer-closed", Some((0x100, "fine")), Some(1))?;
    if p.links[0].incoming {
        let address = p.links[0].peer.ok_or("a link without an address")?;
        p.dial(address)?;
    }
    wait_link(p, 1)?;
    same("the peer's port", p.links[1].peer, p.links[0].peer)?;
    check(p.links[0].incoming != p.links[1].incoming, || "both links have the same direction".into())?;
    hello(p, 1)
}
