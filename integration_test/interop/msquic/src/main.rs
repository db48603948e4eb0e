//! The quicpeer protocol on MsQuic. Everything but the stack is in the crate quicpeer-interop.

mod adapter;
mod outgoing;
mod setup;
mod watch;

fn main() -> std::process::ExitCode {
    quicpeer_interop::main::<adapter::MsQuic>()
}
