//! What s2n-quic tells in its events only: the peer's certificate, its RESET_STREAM behind one's own STOP_SENDING, its
//! STOP_SENDING before the next write, the type of its CONNECTION_CLOSE, connections that end before a server's
//! application or a client's has got them, the round trip time and the size of packets.

use crate::adapter::Shared;
use quicpeer_interop::transport::{Conn, Ended, Event};
use s2n_quic::connection::Error;
use s2n_quic::provider::event::events::{
    ConnectionCloseFrameReceived, ConnectionClosed, Frame, FrameReceived, MtuUpdated, RecoveryMetrics, TlsExporterReady,
    TransportParametersReceived,
};
use s2n_quic::provider::event::{ConnectionInfo, ConnectionMeta, Location, Subscriber};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

#[derive(Default)]
pub struct Facts {
    pub certificate: Option<Vec<u8>>,
    /// The largest UDP payload.
    pub packet: u16,
    /// The peer's max_datagram_frame_size.
    pub datagram_frame: u64,
    pub rtt: Duration,
    /// The codes of the peer's RESET_STREAM and STOP_SENDING, by stream.
    pub resets: HashMap<u64, u64>,
    pub stops: HashMap<u64, u64>,
    closed_by_peer: Option<Ended>,
    pub ended: Option<Ended>,
}

/// Waits for the code that the peer gives for a stream; None if the connection ends without one.
pub async fn code(facts: &mut watch::Receiver<Facts>, of: impl Fn(&Facts) -> Option<u64>) -> Option<u64> {
    let known = facts.wait_for(|f| of(f).is_some() || f.ended.is_some()).await.ok()?;
    of(&known)
}

fn ended(error: Error) -> Ended {
    match error {
        Error::Transport { code, initiator: Location::Local, .. } if (0x100..=0x1ff).contains(&code.as_u64()) => {
            Ended::Refused(error.to_string())
        }
        Error::Transport { code, initiator: Location::Remote, reason, .. } => {
            Ended::Transport { code: code.as_u64(), reason: reason.into() }
        }
        other => Ended::Lost(other.to_string()),
    }
}

pub struct Observer {
    pub shared: Arc<Shared>,
    /// The one connection of a client; those of a server are numbered as they come.
    pub dialed: Option<Conn>,
}

/// What belongs to one connection.
pub struct Observed {
    conn: Conn,
    facts: watch::Sender<Facts>,
    /// Whether the adapter has taken it over, and tells of its end.
    taken: bool,
}

impl Observed {
    /// Takes the connection over, unless it has ended.
    pub fn take(&mut self) -> Option<(Conn, watch::Receiver<Facts>)> {
        self.taken = self.facts.borrow().ended.is_none();
        self.taken.then(|| (self.conn, self.facts.subscribe()))
    }
}

impl Subscriber for Observer {
    type ConnectionContext = Observed;

    fn create_connection_context(&mut self, _: &ConnectionMeta, _: &ConnectionInfo) -> Observed {
        Observed {
            conn: self.dialed.unwrap_or_else(|| self.shared.next()),
            facts: watch::Sender::default(),
            taken: false,
        }
    }

    fn on_tls_exporter_ready(&mut self, observed: &mut Observed, _: &ConnectionMeta, event: &TlsExporterReady) {
        let chain = event.session.peer_cert_chain_der().ok();
        observed.facts.send_modify(|f| f.certificate = chain.and_then(|chain| chain.into_iter().next()));
    }

    fn on_transport_parameters_received(
        &mut self,
        observed: &mut Observed,
        _: &ConnectionMeta,
        event: &TransportParametersReceived,
    ) {
        observed.facts.send_modify(|f| f.datagram_frame = event.transport_parameters.max_datagram_frame_size);
    }

    fn on_mtu_updated(&mut self, observed: &mut Observed, _: &ConnectionMeta, event: &MtuUpdated) {
        observed.facts.send_modify(|f| f.packet = event.mtu);
    }

    fn on_recovery_metrics(&mut self, observed: &mut Observed, _: &ConnectionMeta, event: &RecoveryMetrics) {
        observed.facts.send_modify(|f| f.rtt = event.smoothed_rtt);
    }

    fn on_frame_received(&mut self, observed: &mut Observed, _: &ConnectionMeta, event: &FrameReceived) {
        match event.frame {
            Frame::ResetStream { id, error_code, .. } => observed.facts.send_modify(|f| {
                f.resets.insert(id, error_code);
            }),
            Frame::StopSending { id, error_code, .. } => observed.facts.send_modify(|f| {
                f.stops.insert(id, error_code);
            }),
            _ => {}
        }
    }

    fn on_connection_close_frame_received(
        &mut self,
        observed: &mut Observed,
        _: &ConnectionMeta,
        event: &ConnectionCloseFrameReceived,
    ) {
        let code = event.frame.error_code;
        let reason = event.frame.reason_lossy_utf8().unwrap_or_default().into_owned();
        let ended = match event.frame.frame_type {
            Some(_) => Ended::Transport { code, reason },
            None => Ended::Application { code, reason },
        };
        observed.facts.send_modify(|f| f.closed_by_peer = Some(ended));
    }

    fn on_connection_closed(&mut self, observed: &mut Observed, _: &ConnectionMeta, event: &ConnectionClosed) {
        let conn = observed.conn;
        observed.facts.send_modify(|f| {
            let ended = f.closed_by_peer.take().unwrap_or_else(|| ended(event.error));
            if !observed.taken {
                self.shared.tell(Event::Closed { conn, ended: ended.clone() });
            }
            f.ended = Some(ended);
        });
    }
}
