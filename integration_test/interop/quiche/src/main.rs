//! The quicpeer protocol on quiche. Everything but the stack is in the crate quicpeer-interop.

mod adapter;
mod tls;

fn main() -> std::process::ExitCode {
    quicpeer_interop::main::<adapter::Quiche>()
}
