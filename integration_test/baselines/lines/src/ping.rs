use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::timeout;

use crate::commands::{Commands, answer};
use crate::{ECHO, Link, Result};

/// How long the answer to a message may take.
const PATIENCE: Duration = Duration::from_millis(200);

/// Sends `count` messages of `size` bytes, one at a time, and reports how long the answer to each
/// took. Ends early when standard input does.
pub async fn ping<L: Link>(
    link: &L,
    size: usize,
    count: u64,
    commands: &mut Commands,
) -> Result<()> {
    if size > link.largest() {
        return Err(format!(
            "no datagram takes {size} bytes: the largest is {}",
            link.largest()
        )
        .into());
    }
    answer(format_args!("ready {}", link.largest()))?;
    if !commands.expect("go").await? {
        return Ok(());
    }
    tokio::select! {
        result = volley(link, size, count) => result?,
        ended = commands.end() => return ended,
    }
    answer(format_args!("done"))?;
    commands.end().await
}

async fn volley<L: Link>(link: &L, size: usize, count: u64) -> Result<()> {
    let mut inbox = Vec::new();
    for number in 0..count {
        let message = message(size, number);
        inbox.clear();
        let start = Instant::now();
        match timeout(PATIENCE, exchange(link, &message, &mut inbox)).await {
            Ok(answered) => {
                let elapsed = start.elapsed().as_nanos();
                answered?;
                answer(format_args!("rtt {elapsed}"))?;
            }
            Err(_) => answer(format_args!("rtt lost"))?,
        }
    }
    Ok(())
}

/// Sends one message and waits until it is back.
async fn exchange<L: Link>(link: &L, message: &Bytes, inbox: &mut Vec<Bytes>) -> Result<()> {
    link.send(std::slice::from_ref(message), &mut 0).await?;
    while !inbox.contains(message) {
        inbox.clear();
        link.receive(inbox).await?;
    }
    Ok(())
}

/// A message that carries its number, as far as it fits, so that a late answer to one is not
/// taken for the answer to the next.
fn message(size: usize, number: u64) -> Bytes {
    let mut message = vec![0; size];
    message[0] = ECHO;
    for (byte, digit) in message[1..].iter_mut().zip(number.to_le_bytes()) {
        *byte = digit;
    }
    message.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_carry_their_number() {
        assert_eq!(message(1, 300), &[ECHO][..]);
        assert_eq!(message(2, 300), &[ECHO, 44][..]);
        assert_eq!(
            message(12, 300),
            &[ECHO, 44, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0][..]
        );
    }
}
