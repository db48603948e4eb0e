use std::collections::HashMap;
use std::convert::Infallible;
use std::mem;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use lines::{Result, Tally};
use msquic::{
    Addr, Configuration, Connection, ConnectionEvent, ConnectionRef, Listener, ListenerEvent,
    Registration, Status, StatusCode,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::{outgoing, setup};

/// A change in the set of the server's connections. A callback may not close what it belongs to,
/// so it tells the server's task.
enum Change {
    Opened(Connection),
    /// The connection with this handle has ended.
    Ended(usize),
}

/// Listens, and counts and answers in MsQuic's callbacks.
pub fn listen(tally: Arc<Tally>) -> Result<(SocketAddr, JoinHandle<Result<Infallible>>)> {
    let registration = setup::registration()?;
    let configuration = Arc::new(setup::server(&registration)?);
    let (changes, changed) = mpsc::unbounded_channel();
    let accepting = configuration.clone();
    let listener = Listener::open(&registration, move |_, event| match event {
        ListenerEvent::NewConnection { connection, .. } => {
            accept(&connection, &accepting, &tally, &changes)
        }
        ListenerEvent::StopComplete { .. } => Ok(()),
    })?;
    let any_port = Addr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    listener.start(&setup::alpn(), Some(&any_port))?;
    let address = listener
        .get_local_addr()?
        .as_socket()
        .ok_or("the listener has no address")?;
    let server = Server {
        _listener: listener,
        _configuration: configuration,
        _registration: registration,
    };
    Ok((address, tokio::spawn(keep(server, changed))))
}

/// What has to stay while the server runs, in the order in which it is closed.
struct Server {
    _listener: Listener,
    _configuration: Arc<Configuration>,
    _registration: Registration,
}

/// Owns the connections until they have ended. The server comes first, so that it goes last: the
/// library does not close before its connections, which may also wait among the changes.
async fn keep(_server: Server, mut changed: mpsc::UnboundedReceiver<Change>) -> Result<Infallible> {
    let mut connections = HashMap::new();
    while let Some(change) = changed.recv().await {
        match change {
            Change::Opened(connection) => {
                connections.insert(key(&connection), connection);
            }
            Change::Ended(key) => {
                connections.remove(&key);
            }
        }
    }
    Err("the listener accepts no more connections".into())
}

fn key(connection: &Connection) -> usize {
    // SAFETY: the handle is only a number here.
    unsafe { connection.as_raw() as usize }
}

fn accept(
    connection: &ConnectionRef,
    configuration: &Configuration,
    tally: &Arc<Tally>,
    changes: &mpsc::UnboundedSender<Change>,
) -> std::result::Result<(), Status> {
    let (tally, ended) = (tally.clone(), changes.clone());
    connection.set_callback_handler(move |connection, event| {
        match event {
            ConnectionEvent::DatagramReceived { buffer, .. } => {
                let message = buffer.as_bytes();
                if tally.take_one(message) {
                    // Lost if this side's path MTU discovery has not yet found a packet as large.
                    let _ = outgoing::send(&connection, Bytes::copy_from_slice(message));
                }
            }
            ConnectionEvent::DatagramSendStateChanged {
                client_context,
                state,
            } => {
                outgoing::sent(client_context, state);
            }
            ConnectionEvent::ShutdownComplete { .. } => {
                // Without a receiver the program is at its end.
                let _ = ended.send(Change::Ended(key(&connection)));
            }
            _ => {}
        }
        Ok(())
    });
    connection.set_configuration(configuration)?;
    // SAFETY: the callback that accepts a connection is given its only handle, to keep.
    let connection = unsafe { Connection::from_raw(connection.as_raw()) };
    changes.send(Change::Opened(connection)).map_err(|refused| {
        // The program is at its end. MsQuic itself closes what the callback does not take.
        mem::forget(refused);
        StatusCode::QUIC_STATUS_ABORTED.into()
    })
}
