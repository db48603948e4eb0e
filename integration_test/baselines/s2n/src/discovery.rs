use s2n_quic::provider::event::events::MtuUpdated;
use s2n_quic::provider::event::{ConnectionInfo, ConnectionMeta, Subscriber};
use tokio::sync::watch;

/// Follows the path MTU discovery of a client's one connection.
pub struct Discovery {
    state: watch::Sender<State>,
}

/// How far path MTU discovery has come.
#[derive(Clone, Copy, Default)]
pub struct State {
    /// The largest UDP payload found so far; 0 before the first.
    pub packet: u16,
    /// Whether the search has ended.
    pub complete: bool,
}

impl Discovery {
    pub fn new() -> (Discovery, watch::Receiver<State>) {
        let (state, receiver) = watch::channel(State::default());
        (Discovery { state }, receiver)
    }
}

impl Subscriber for Discovery {
    type ConnectionContext = ();

    fn create_connection_context(&mut self, _meta: &ConnectionMeta, _info: &ConnectionInfo) {}

    fn on_mtu_updated(&mut self, (): &mut (), _meta: &ConnectionMeta, event: &MtuUpdated) {
        self.state.send_replace(State {
            packet: event.mtu,
            complete: event.search_complete,
        });
    }
}
