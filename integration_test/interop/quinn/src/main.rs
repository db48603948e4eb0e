//! The quicpeer protocol on quinn. Everything but the stack is in the crate quicpeer-interop.

mod adapter;
mod tls;

fn main() -> std::process::ExitCode {
    quicpeer_interop::main::<adapter::Quinn>()
}
