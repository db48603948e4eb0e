//! Baseline program: QUIC datagrams with quinn. README.md in the folder above says what it does.

mod endpoint;
mod link;
mod tls;

use std::process::ExitCode;

fn main() -> ExitCode {
    lines::run::<endpoint::Quinn>()
}
