use std::sync::Arc;
use std::time::Instant;

use crate::commands::{Commands, answer, unexpected};
use crate::{Result, Stack, Tally};

/// Serves until standard input ends, and answers `count` with what has been counted.
pub async fn serve<S: Stack>(mut commands: Commands) -> Result<()> {
    let start = Instant::now();
    let tally = Arc::new(Tally::default());
    let (address, mut accepting) = S::listen(tally.clone()).await?;
    answer(format_args!("listening {address}"))?;
    loop {
        let line = tokio::select! {
            line = commands.next() => line?,
            failure = &mut accepting => match failure? {
                Err(failure) => return Err(failure),
            },
        };
        match line.as_deref() {
            None => {
                // What the task holds is closed in order before the process ends.
                accepting.abort();
                let _ = accepting.await;
                return Ok(());
            }
            Some("count") => {
                let (messages, bytes) = tally.read();
                let now = start.elapsed().as_nanos();
                answer(format_args!("count {messages} {bytes} {now}"))?;
            }
            Some(other) => return Err(unexpected(other)),
        }
    }
}
