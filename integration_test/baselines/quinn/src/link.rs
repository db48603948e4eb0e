use std::time::Duration;

use bytes::Bytes;
use lines::Result;
use quinn::{Connection, Endpoint, SendDatagramError};
use tokio::time::timeout;

/// How long the peer may take to learn that the connection is closed.
const LINGER: Duration = Duration::from_secs(1);

/// A connection of quinn.
#[derive(Clone)]
pub struct Link {
    endpoint: Endpoint,
    connection: Connection,
}

impl Link {
    pub fn new(endpoint: Endpoint, connection: Connection) -> Link {
        Link {
            endpoint,
            connection,
        }
    }

    /// Sends a message to where it came from. It is lost if this side's path MTU discovery has not
    /// yet found a packet as large.
    pub async fn send_back(&self, message: Bytes) -> Result<()> {
        match self.connection.send_datagram_wait(message).await {
            Err(SendDatagramError::TooLarge) => Ok(()),
            result => Ok(result?),
        }
    }
}

impl lines::Link for Link {
    fn largest(&self) -> usize {
        self.connection.max_datagram_size().unwrap_or(0)
    }

    async fn send(&self, messages: &[Bytes], sent: &mut usize) -> Result<()> {
        for message in messages {
            match self.connection.send_datagram_wait(message.clone()).await {
                Err(SendDatagramError::TooLarge) => break,
                result => result?,
            }
            *sent += 1;
        }
        Ok(())
    }

    async fn receive(&self, inbox: &mut Vec<Bytes>) -> Result<()> {
        inbox.push(self.connection.read_datagram().await?);
        Ok(())
    }

    async fn close(self) {
        self.connection.close(0u32.into(), b"");
        // The close is sent again until the peer confirms it or the time is over.
        let _ = timeout(LINGER, self.endpoint.wait_idle()).await;
    }
}
