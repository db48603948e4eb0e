use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lines::{DISCOVERY, Result};
use msquic::{
    Configuration, Connection, ConnectionEvent, ConnectionShutdownFlags, Registration, Status,
};
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::{outgoing, setup};

/// How many messages MsQuic may have that it has not sent. Its queue has no bound of its own, and
/// each call walks along what has not been picked up yet: 1024 were slower than 256, as were 128.
const WINDOW: usize = 256;

/// How often to look whether path MTU discovery has ended: MsQuic has an event for each step, but
/// none for the last.
const LOOK: Duration = Duration::from_millis(5);

/// How long the peer may take to learn that the connection is closed.
const LINGER: Duration = Duration::from_secs(1);

/// A client's connection of MsQuic.
#[derive(Clone)]
pub struct Link {
    handles: Arc<Handles>,
    shared: Arc<Shared>,
    inbox: Arc<Mutex<mpsc::UnboundedReceiver<Bytes>>>,
}

/// What MsQuic has given out, in the order in which it has to be closed.
struct Handles {
    connection: Connection,
    _configuration: Configuration,
    _registration: Registration,
}

/// What the callbacks and the sender have in common.
#[derive(Default)]
struct Shared {
    /// The most bytes that one message may have.
    largest: AtomicU16,
    /// How many messages wait in MsQuic.
    waiting: AtomicUsize,
    /// Told when half of a full window has been sent.
    room: Notify,
}

impl Link {
    pub async fn connect(server: SocketAddr) -> Result<Link> {
        let registration = setup::registration()?;
        let configuration = setup::client(&registration)?;
        let shared = Arc::new(Shared::default());
        let (arrivals, inbox) = mpsc::unbounded_channel();
        let (opened, opening) = oneshot::channel();
        let mut events = Events {
            shared: shared.clone(),
            arrivals: Some(arrivals),
            opened: Some(opened),
            cause: None,
        };
        let connection = Connection::open(&registration, move |_, event| {
            events.take(event);
            Ok(())
        })?;
        connection.start(&configuration, &server.ip().to_string(), server.port())?;
        let handles = Arc::new(Handles {
            connection,
            _configuration: configuration,
            _registration: registration,
        });
        opening.await??;
        // Past the second the connection is used as it is.
        if let Ok(failed) = timeout(DISCOVERY, discovered(&handles.connection)).await {
            failed?;
        }
        Ok(Link {
            handles,
            shared,
            inbox: Arc::new(Mutex::new(inbox)),
        })
    }
}

async fn discovered(connection: &Connection) -> Result<()> {
    while connection.get_stats_v2()?.SendPathMtu < setup::MTU {
        sleep(LOOK).await;
    }
    Ok(())
}

impl lines::Link for Link {
    fn largest(&self) -> usize {
        self.shared.largest.load(Ordering::Relaxed).into()
    }

    async fn send(&self, messages: &[Bytes], sent: &mut usize) -> Result<()> {
        for message in messages {
            while self.shared.waiting.load(Ordering::Acquire) >= WINDOW {
                self.shared.room.notified().await;
            }
            // Before the call, since the callback may come before its return.
            self.shared.waiting.fetch_add(1, Ordering::AcqRel);
            let result = outgoing::send(&self.handles.connection, message.clone());
            if result.is_err() {
                self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
            }
            match result {
                Err(_) if message.len() > self.largest() => break,
                result => result?,
            }
            *sent += 1;
        }
        Ok(())
    }

    async fn receive(&self, inbox: &mut Vec<Bytes>) -> Result<()> {
        match self.inbox.lock().await.recv().await {
            Some(message) => inbox.push(message),
            None => return Err("the connection is closed".into()),
        }
        Ok(())
    }

    async fn close(self) {
        self.handles
            .connection
            .shutdown(ConnectionShutdownFlags::NONE, 0);
        let mut inbox = self.inbox.lock().await;
        // The inbox ends when the peer has confirmed the close or MsQuic has given up.
        let _ = timeout(LINGER, async { while inbox.recv().await.is_some() {} }).await;
    }
}

/// The state of the callback, which MsQuic calls from one thread at a time.
struct Events {
    shared: Arc<Shared>,
    /// None once the connection is closed.
    arrivals: Option<mpsc::UnboundedSender<Bytes>>,
    /// None once the handshake has ended.
    opened: Option<oneshot::Sender<std::result::Result<(), String>>>,
    /// Why MsQuic has closed the connection, if it has.
    cause: Option<Status>,
}

impl Events {
    fn take(&mut self, event: ConnectionEvent<'_>) {
        match event {
            ConnectionEvent::DatagramReceived { buffer, .. } => {
                if let Some(arrivals) = &self.arrivals {
                    // Without a receiver the program is at its end.
                    let _ = arrivals.send(Bytes::copy_from_slice(buffer.as_bytes()));
                }
            }
            ConnectionEvent::DatagramSendStateChanged {
                client_context,
                state,
            } => {
                let left = outgoing::sent(client_context, state);
                if left && self.shared.waiting.fetch_sub(1, Ordering::AcqRel) == WINDOW / 2 {
                    self.shared.room.notify_one();
                }
            }
            ConnectionEvent::DatagramStateChanged {
                max_send_length, ..
            } => self
                .shared
                .largest
                .store(max_send_length, Ordering::Relaxed),
            ConnectionEvent::Connected { .. } => self.open(Ok(())),
            ConnectionEvent::ShutdownInitiatedByTransport { status, .. } => {
                self.cause = Some(status);
            }
            ConnectionEvent::ShutdownComplete { .. } => {
                let cause = match self.cause.take() {
                    Some(status) => status.to_string(),
                    None => "the server closed the connection".to_owned(),
                };
                self.open(Err(cause));
                self.arrivals = None;
            }
            _ => {}
        }
    }

    fn open(&mut self, outcome: std::result::Result<(), String>) {
        if let Some(opened) = self.opened.take() {
            // Without a receiver the program is at its end.
            let _ = opened.send(outcome);
        }
    }
}
