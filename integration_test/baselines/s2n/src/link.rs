use std::future::poll_fn;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use lines::Tally;
use s2n_quic::connection::Handle;
use s2n_quic::provider::datagram::default::{DatagramError, Receiver, Sender};
use s2n_quic::provider::event::query;
use s2n_quic::{Client, Connection};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::discovery::State;

/// What a packet of one datagram has besides the message, in bytes: first byte, connection id of
/// s2n-quic's own length, packet number of the longest form, type and length of the frame, tag of
/// the AEAD. The library tells no such figure before it has sent a datagram.
const OVERHEAD: u16 = 1 + 16 + 4 + 1 + 2 + 16;

/// Room left for an acknowledgement, in bytes. It comes first in its packet, and s2n-quic throws
/// away each waiting message that does not fit behind it: without this room that was seven of
/// eight in a flood of the largest messages.
const ACKNOWLEDGEMENT: u16 = 16;

/// How long the peer may take to learn that the connection is closed.
const LINGER: Duration = Duration::from_secs(1);

/// A client's connection of s2n-quic.
#[derive(Clone)]
pub struct Link {
    client: Client,
    channel: Channel,
    discovery: watch::Receiver<State>,
}

impl Link {
    pub fn new(client: Client, connection: &Connection, discovery: watch::Receiver<State>) -> Link {
        Link {
            client,
            channel: Channel(connection.handle()),
            discovery,
        }
    }
}

impl lines::Link for Link {
    fn largest(&self) -> usize {
        let packet = self.discovery.borrow().packet;
        packet.saturating_sub(OVERHEAD + ACKNOWLEDGEMENT).into()
    }

    async fn send(&self, messages: &[Bytes], sent: &mut usize) -> lines::Result<()> {
        self.channel.send(messages, sent).await
    }

    async fn receive(&self, inbox: &mut Vec<Bytes>) -> lines::Result<()> {
        self.channel.receive(inbox).await
    }

    async fn close(mut self) {
        self.channel.0.close(0u32.into());
        // The close is sent again until the peer confirms it or the time is over.
        let _ = timeout(LINGER, self.client.wait_idle()).await;
    }
}

/// Counts and answers what comes in on a server's connection, until it ends.
pub async fn serve(connection: Connection, tally: &Tally) -> lines::Result<()> {
    let channel = Channel(connection.handle());
    let mut inbox = Vec::new();
    loop {
        channel.receive(&mut inbox).await?;
        tally.take(&mut inbox);
        channel.send(&inbox, &mut 0).await?;
        inbox.clear();
    }
}

/// The datagrams of one connection. Each query locks the connection, so one query does as much as
/// it can.
#[derive(Clone)]
struct Channel(Handle);

impl Channel {
    async fn send(&self, messages: &[Bytes], sent: &mut usize) -> lines::Result<()> {
        let mut rest = messages.iter().cloned().peekable();
        poll_fn(|cx| {
            let outcome = self.0.datagram_mut(|sender: &mut Sender| {
                while let Some(message) = rest.peek_mut() {
                    ready!(sender.poll_send_datagram(message, cx))?;
                    rest.next();
                    *sent += 1;
                }
                Poll::Ready(Ok(()))
            });
            flatten(outcome)
        })
        .await
    }

    async fn receive(&self, inbox: &mut Vec<Bytes>) -> lines::Result<()> {
        poll_fn(|cx| {
            let outcome = self.0.datagram_mut(|receiver: &mut Receiver| {
                inbox.push(ready!(receiver.poll_recv_datagram(cx))?);
                while let Some(message) = receiver.recv_datagram() {
                    inbox.push(message);
                }
                Poll::Ready(Ok(()))
            });
            flatten(outcome)
        })
        .await
    }
}

/// Makes one result of a query's failure and the failure of what it did.
fn flatten(
    outcome: Result<Poll<Result<(), DatagramError>>, query::Error>,
) -> Poll<lines::Result<()>> {
    match outcome {
        Ok(poll) => poll.map_err(|failure| failure.to_string().into()),
        Err(failure) => Poll::Ready(Err(failure.into())),
    }
}
