use bytes::Bytes;

use crate::commands::{Commands, answer};
use crate::{COUNT, Link, Result};

/// How many messages are handed to the stack at once, at least. A stack that locks its connection
/// for each call does so once for them all.
const BATCH: usize = 64;

/// Sends as fast as it can between the commands `go` and `stop`, and keeps the connection until
/// standard input ends.
pub async fn flood<L: Link>(link: &L, size: usize, commands: &mut Commands) -> Result<()> {
    answer(format_args!("ready {}", link.largest()))?;
    let mut largest = link.largest();
    let mut batch = batch(size, largest)?;

    let started = tokio::select! {
        started = commands.expect("go") => started?,
        failure = closed(link) => return failure,
    };
    if !started {
        return Ok(());
    }

    let (mut messages, mut bytes) = (0, 0);
    let stopped = loop {
        if link.largest() < largest {
            largest = link.largest();
            batch = self::batch(size, largest)?;
        }
        let mut sent = 0;
        let stopped = tokio::select! {
            biased;
            stopped = commands.expect("stop") => Some(stopped?),
            result = link.send(&batch, &mut sent) => {
                result?;
                None
            }
        };
        messages += sent;
        bytes += batch[..sent].iter().map(Bytes::len).sum::<usize>();
        if let Some(stopped) = stopped {
            break stopped;
        }
    };
    if !stopped {
        return Ok(());
    }
    answer(format_args!("sent {messages} {bytes}"))?;

    tokio::select! {
        ended = commands.end() => ended,
        failure = closed(link) => failure,
    }
}

/// One message of `size` bytes, in as few pieces as the datagrams take, as often as fills a batch.
fn batch(size: usize, largest: usize) -> Result<Vec<Bytes>> {
    if largest == 0 {
        return Err("the connection takes no datagrams".into());
    }
    let mut payload = vec![0; size.min(largest)];
    payload[0] = COUNT;
    // Never freed, so that sender and stack need not count references across threads.
    let payload = Bytes::from_static(payload.leak());

    let mut message = vec![payload.clone(); size / payload.len()];
    let rest = size % payload.len();
    if rest > 0 {
        message.push(payload.slice(..rest));
    }
    let whole = BATCH.div_ceil(message.len()) * message.len();
    Ok(message.into_iter().cycle().take(whole).collect())
}

/// Waits for the connection's end, which is a failure; a server sends nothing to a flood.
async fn closed<L: Link>(link: &L) -> Result<()> {
    let mut inbox = Vec::new();
    loop {
        link.receive(&mut inbox).await?;
        inbox.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_whole_messages_in_pieces() {
        for (size, pieces) in [
            (1, &[1][..]),
            (1000, &[1000]),
            (1001, &[1000, 1]),
            (4096, &[1000, 1000, 1000, 1000, 96]),
        ] {
            let batch = batch(size, 1000).unwrap();
            assert!(batch.len() >= BATCH && batch.len().is_multiple_of(pieces.len()));
            for (message, length) in batch.iter().zip(pieces.iter().cycle()) {
                assert_eq!((message[0], message.len()), (COUNT, *length));
            }
        }
    }
}
