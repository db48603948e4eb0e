use lines::{ALPN, Result};
use s2n_quic::provider::tls::default::{Client, Server};

/// The server's side: a self-signed ECDSA P-256 certificate, made anew for each process. The
/// library's own TLS policy prefers AES-128-GCM, which is what quic-go picks on a CPU with AES
/// instructions.
pub fn server() -> Result<Server> {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    Ok(Server::builder()
        .with_application_protocols([ALPN])?
        .with_certificate(own.cert.pem(), own.signing_key.serialize_pem())?
        .build()?)
}

/// The client's side. It takes any certificate, so that it needs no file from the server. That is
/// for measuring on loopback and for nothing else: anybody could be at the other end.
pub fn client() -> Result<Client> {
    let mut builder = Client::builder().with_application_protocols([ALPN])?;
    // SAFETY: no memory is at stake. The function is marked unsafe for what it does to security,
    // and there is none to keep between two processes of one measurement.
    unsafe { builder.config_mut().disable_x509_verification()? };
    Ok(builder.build()?)
}
