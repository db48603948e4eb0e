//! Runs the codec through the files of test vectors.

use crate::codec::{Body, Fragment, Frame, FrameError, FrameReader, Received, Settings};

/// One block of a file: its lines "key: value".
struct Block<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Block<'a> {
    fn find(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(k, _)| *k == key).map(|(_, v)| *v)
    }

    fn get(&self, key: &str) -> Result<&'a str, String> {
        self.find(key).ok_or_else(|| format!("no {key}"))
    }

    fn number(&self, key: &str) -> Result<u64, String> {
        self.get(key)?.parse().map_err(|_| format!("{key} is no integer"))
    }

    fn optional(&self, key: &str) -> Result<Option<u64>, String> {
        self.find(key).map(|_| self.number(key)).transpose()
    }

    fn bytes(&self, key: &str) -> Result<Vec<u8>, String> {
        hex(self.get(key)?)
    }

    fn string(&self, key: &str) -> Result<String, String> {
        String::from_utf8(self.bytes(key)?).map_err(|_| format!("{key} is not UTF-8"))
    }

    fn array<const N: usize>(&self, key: &str) -> Result<[u8; N], String> {
        self.bytes(key)?.try_into().map_err(|_| format!("{key} has not {N} bytes"))
    }
}

fn hex(text: &str) -> Result<Vec<u8>, String> {
    if text == "-" {
        return Ok(Vec::new());
    }
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return Err("bad hexadecimal".into());
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).map_err(|e| e.to_string())).collect()
}

fn blocks(text: &str) -> Result<Vec<Block<'_>>, String> {
    let mut blocks = vec![Block(Vec::new())];
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        if line.is_empty() {
            blocks.push(Block(Vec::new()));
        } else {
            let pair = line.split_once(": ").ok_or_else(|| format!("not a line of a vector: {line}"))?;
            blocks.last_mut().expect("never empty").0.push(pair);
        }
    }
    blocks.retain(|b| !b.0.is_empty());
    Ok(blocks)
}

/// Returns how many vectors were tried, or what is wrong.
pub fn run(frames: &str, datagrams: &str) -> Result<usize, String> {
    let mut tried = 0;
    type Check = fn(&Block) -> Result<(), String>;
    for (text, check) in [(frames, frame_vector as Check), (datagrams, datagram_vector)] {
        let all = blocks(text)?;
        if all.is_empty() {
            return Err("a file without vectors".into());
        }
        for block in all {
            check(&block)
                .map_err(|why| format!("{}: {why}", block.find("name").unwrap_or("a vector without a name")))?;
            tried += 1;
        }
    }
    Ok(tried)
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, want: T) -> Result<(), String> {
    if got == want {
        return Ok(());
    }
    Err(format!("{what}: {got:?}, want {want:?}"))
}

/// All known frames of one direction of a stream, and how it ends.
fn read_all(wire: &[u8]) -> (Vec<Frame>, &'static str) {
    let (mut reader, mut frames) = (FrameReader::default(), Vec::new());
    reader.push(wire);
    let outcome = loop {
        match reader.next_frame() {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) if reader.between_frames() => break "end",
            Ok(None) => break "truncated",
            Err(FrameError::Malformed) => break "malformed",
            Err(FrameError::TooLong) => break "limit",
            Err(FrameError::UnknownFirst) => break "violation",
        }
    };
    (frames, outcome)
}

fn frame_vector(b: &Block) -> Result<(), String> {
    let wire = b.bytes("wire")?;
    let (frames, outcome) = read_all(&wire);
    if let Some(want) = b.find("stream") {
        let outcome = if matches!(outcome, "malformed" | "limit") { "violation" } else { outcome };
        let names: Vec<_> = frames.iter().map(Frame::name).collect();
        let names = if names.is_empty() { "-".to_string() } else { names.join(" ") };
        same("frames", names.as_str(), b.get("frames")?)?;
        return same("outcome", outcome, want);
    }
    if let Some(want) = b.find("error") {
        same("frames", frames, Vec::new())?;
        return same("outcome", outcome, want);
    }
    let frame = frame_of(b)?;
    same("frames", frames, vec![frame.clone()])?;
    same("outcome", outcome, "end")?;
    match b.find("only") {
        None => same("encoded", frame.encode(), wire),
        Some(only) => same("only", only, "decode"),
    }
}

fn received(b: &Block) -> Result<Received, String> {
    Ok(Received { received: b.number("received")?, late: b.number("late")?, dropped: b.number("dropped")? })
}

fn frame_of(b: &Block) -> Result<Frame, String> {
    Ok(match b.get("frame")? {
        "SETTINGS" => Frame::Settings(Settings {
            instance: b.find("instance-id").map(|_| b.array("instance-id")).transpose()?,
            max_message: b.optional("max-message")?,
            max_signal: b.optional("max-signal")?,
            max_signals: b.optional("max-signals")?,
            window: b.optional("window")?,
        }),
        "GOAWAY" => Frame::GoAway {
            code: b.number("code")?,
            reason: b.string("reason")?,
            deadline: b.number("deadline-ms")?,
            first_refused: b.number("first-refused")?,
        },
        "PING" => Frame::Ping(b.array("token")?),
        "PONG" => Frame::Pong(b.array("token")?),
        "OPEN" => Frame::Open { protocol: b.string("protocol")?, metadata: b.bytes("metadata")? },
        "ACCEPT" => Frame::Accept { metadata: b.bytes("metadata")? },
        "REJECT" => Frame::Reject {
            code: b.number("code")?,
            reason: b.string("reason")?,
            retry_after: b.number("retry-after-ms")?,
        },
        "SIGNAL" => Frame::Signal { payload: b.bytes("payload")? },
        "SIGNAL_ACK" => Frame::SignalAck { taken: b.number("taken")? },
        "REPORT" => Frame::Report(received(b)?),
        "CLOSE" => Frame::Close {
            code: b.number("code")?,
            reason: b.string("reason")?,
            sent: b.number("sent")?,
            end: b.number("end")?,
            signals_received: b.number("signals-received")?,
            signals_taken: b.number("signals-taken")?,
        },
        "CLOSE_ACK" => Frame::CloseAck {
            sent: b.number("sent")?,
            end: b.number("end")?,
            received: received(b)?,
            signals_received: b.number("signals-received")?,
            signals_taken: b.number("signals-taken")?,
        },
        "DONE" => Frame::Done(received(b)?),
        other => return Err(format!("unknown frame {other}")),
    })
}

fn datagram_vector(b: &Block) -> Result<(), String> {
    let wire = b.bytes("wire")?;
    let decoded = Body::decode(&wire);
    if b.get("kind")? == "invalid" {
        let session = if b.get("session")? == "-" { None } else { b.optional("session")? };
        return same("session to blame", decoded.map_err(|e| e.session), Err(session));
    }
    let number = b.number("number")?;
    let body = body_of(b)?;
    same("decoded", decoded, Ok((number, body.clone())))?;
    match b.find("only") {
        None => same("encoded", body.encode(number), wire),
        Some(only) => same("only", only, "decode"),
    }
}

fn body_of(b: &Block) -> Result<Body, String> {
    Ok(match b.get("kind")? {
        "message" => Body::Message(b.number("session")?, b.bytes("payload")?),
        "bundle" => {
            let mut items = Vec::new();
            for (_, value) in b.0.iter().filter(|(key, _)| *key == "item") {
                let (session, payload) = value.split_once(' ').ok_or("an item without a payload")?;
                items.push((session.parse().map_err(|_| "an item without a session")?, hex(payload)?));
            }
            Body::Bundle(items)
        }
        "fragment" => Body::Fragment(
            b.number("session")?,
            Fragment {
                message: b.number("message")?,
                total: b.number("total")?,
                offset: b.number("offset")?,
                payload: b.bytes("payload")?,
            },
        ),
        "heartbeat" => Body::Heartbeat(b.array("token")?),
        "heartbeat-echo" => Body::Echo(b.array("token")?),
        "credit" => Body::Credit { end: b.number("end")?, taken: b.number("taken")? },
        "unknown" => Body::Unknown,
        other => return Err(format!("unknown kind {other}")),
    })
}
