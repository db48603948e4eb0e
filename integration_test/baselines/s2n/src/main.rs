//! Baseline program: QUIC datagrams with s2n-quic. README.md in the folder above says what it does.

mod discovery;
mod endpoint;
mod link;
mod tls;

use std::process::ExitCode;

fn main() -> ExitCode {
    lines::run::<endpoint::S2n>()
}
