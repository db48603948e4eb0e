//! The one line of JSON that a program prints.

pub struct SessionReport {
    pub id: u64,
    pub end: &'static str,
    pub code: u64,
    pub reason: String,
    pub sent: i64,
    pub received: i64,
    pub peer_sent: i64,
    pub peer_received: i64,
}

pub fn passed(case: &str, sessions: &[SessionReport]) -> String {
    let sessions: Vec<_> = sessions
        .iter()
        .map(|s| {
            format!(
                r#"{{"id":{},"end":"{}","code":{},"reason":{},"sent":{},"received":{},"peer_sent":{},"peer_received":{}}}"#,
                s.id, s.end, s.code, quote(&s.reason), s.sent, s.received, s.peer_sent, s.peer_received
            )
        })
        .collect();
    format!(r#"{{"case":{},"ok":true,"sessions":[{}]}}"#, quote(case), sessions.join(","))
}

pub fn failed(case: &str, why: &str) -> String {
    format!(r#"{{"case":{},"ok":false,"why":{}}}"#, quote(case), quote(why))
}

pub fn impossible(case: &str, why: &str) -> String {
    format!(r#"{{"case":{},"ok":false,"impossible":{}}}"#, quote(case), quote(why))
}

/// A JSON string.
pub fn quote(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
