//! TLS as the protocol wants it: any certificate chain, judged by the key. That the peer has the key is proved by
//! CertificateVerify, which BoringSSL checks whatever the callback says.

use boring::error::ErrorStack;
use boring::ssl::{SslAlert, SslContextBuilder, SslFiletype, SslMethod, SslOptions, SslVerifyError, SslVerifyMode};
use quicpeer_interop::Config;

/// The same for both sides: a client ignores that it should fail without a certificate of its peer, as servers always
/// present one.
pub fn context(config: &Config) -> Result<SslContextBuilder, ErrorStack> {
    let mut tls = SslContextBuilder::new(SslMethod::tls())?;
    if let Some((certificate, key)) = &config.identity {
        tls.set_certificate_chain_file(certificate)?;
        tls.set_private_key_file(key, SslFiletype::PEM)?;
    }
    tls.set_options(SslOptions::NO_TICKET);
    let expected = config.clone();
    tls.set_custom_verify_callback(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT, move |ssl| {
        let certificate = ssl.peer_certificate().and_then(|c| c.to_der().ok());
        if certificate.is_some_and(|c| expected.admits(&c)) {
            return Ok(());
        }
        Err(SslVerifyError::Invalid(SslAlert::BAD_CERTIFICATE))
    });
    Ok(tls)
}
