use std::io::{self, BufRead, Write};
use std::thread;

use tokio::sync::mpsc;

use crate::Result;

/// The lines of standard input.
pub struct Commands {
    lines: mpsc::UnboundedReceiver<io::Result<String>>,
}

impl Commands {
    /// Starts to read standard input. The reading has a thread of its own, since nothing can
    /// interrupt it; that thread ends with the process.
    pub fn start() -> Commands {
        let (sender, lines) = mpsc::unbounded_channel();
        thread::spawn(move || {
            for line in io::stdin().lock().lines() {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Commands { lines }
    }

    /// The next line, or None at the end of standard input. No line is lost if the future is
    /// dropped before its end.
    pub async fn next(&mut self) -> Result<Option<String>> {
        Ok(self.lines.recv().await.transpose()?)
    }

    /// Waits for the line `wanted`. False says that standard input ended instead; any other line
    /// is an error.
    pub async fn expect(&mut self, wanted: &str) -> Result<bool> {
        match self.next().await? {
            None => Ok(false),
            Some(line) if line == wanted => Ok(true),
            Some(line) => Err(unexpected(&line)),
        }
    }

    /// Waits for standard input to end; any line is an error.
    pub async fn end(&mut self) -> Result<()> {
        match self.next().await? {
            None => Ok(()),
            Some(line) => Err(unexpected(&line)),
        }
    }
}

/// The error for a command that is not one, or not one now.
pub fn unexpected(line: &str) -> Box<dyn std::error::Error + Send + Sync> {
    format!("unexpected command {line:?}").into()
}

/// Writes one line to standard output, at once.
pub fn answer(line: std::fmt::Arguments<'_>) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}
