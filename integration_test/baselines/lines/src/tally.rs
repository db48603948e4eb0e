use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::{COUNT, ECHO};

/// What a server has counted, over all its connections. Safe for concurrent use.
#[derive(Debug, Default)]
pub struct Tally {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    /// Takes the messages that a connection has received. Those to be sent back stay in the
    /// inbox, in their order; the others are counted, or of no known kind, and leave it.
    pub fn take(&self, inbox: &mut Vec<Bytes>) {
        let (mut messages, mut bytes) = (0, 0);
        inbox.retain(|message| match message.first() {
            Some(&COUNT) => {
                messages += 1;
                bytes += message.len() as u64;
                false
            }
            Some(&ECHO) => true,
            _ => false,
        });
        // One addition for all of them: connections on other cores share the counters.
        self.messages.fetch_add(messages, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes one message. True says that it is to be sent back.
    pub fn take_one(&self, message: &[u8]) -> bool {
        match message.first() {
            Some(&COUNT) => {
                self.messages.fetch_add(1, Ordering::Relaxed);
                self.bytes
                    .fetch_add(message.len() as u64, Ordering::Relaxed);
                false
            }
            Some(&ECHO) => true,
            _ => false,
        }
    }

    /// The messages counted since the start, and their bytes.
    pub(crate) fn read(&self) -> (u64, u64) {
        (
            self.messages.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn take_counts_and_leaves_what_is_to_be_sent_back() {
        let tally = Tally::default();
        let mut inbox: Vec<Bytes> = [&[1, 7, 7][..], &[2, 1], &[], &[3, 3], &[1], &[2]]
            .map(Bytes::from_static)
            .into();
        tally.take(&mut inbox);
        assert_eq!(tally.read(), (2, 4));
        assert_eq!(inbox, [&[2, 1][..], &[2]]);
    }

    #[test]
    fn take_one_counts_or_tells_to_send_back() {
        let tally = Tally::default();
        assert!(!tally.take_one(&[1, 7, 7]));
        assert!(tally.take_one(&[2, 1]));
        assert!(!tally.take_one(&[3, 3]));
        assert!(!tally.take_one(&[]));
        assert_eq!(tally.read(), (1, 3));
    }
}
