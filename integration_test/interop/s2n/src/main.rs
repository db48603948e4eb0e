//! The quicpeer protocol on s2n-quic. Everything but the stack is in the crate quicpeer-interop.

mod adapter;
mod observer;
mod tls;

fn main() -> std::process::ExitCode {
    quicpeer_interop::main::<adapter::S2n>()
}
