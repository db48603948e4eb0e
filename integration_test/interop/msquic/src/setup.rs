//! MsQuic's configurations: transport parameters and TLS as the protocol wants them.

use msquic::{
    BufferRef, CertificateFile, Configuration, Credential, CredentialConfig, CredentialFlags, Registration, Settings,
    Status,
};
use quicpeer_interop::transport::{
    Config, ALPN, BIDI_STREAMS, CONNECTION_WINDOW, IDLE_TIMEOUT, STREAM_WINDOW, UNI_STREAMS,
};
use std::path::Path;

pub fn alpn() -> [BufferRef; 1] {
    [BufferRef::from(ALPN)]
}

pub fn client(registration: &Registration, config: &Config) -> Result<Configuration, String> {
    let mut credential = CredentialConfig::new_client();
    if let Some(own) = own(config)? {
        credential = credential.set_credential(own);
    }
    load(registration, config, credential)
}

/// None without a certificate.
pub fn server(registration: &Registration, config: &Config) -> Result<Option<Configuration>, String> {
    let Some(own) = own(config)? else { return Ok(None) };
    let credential = CredentialConfig::new()
        .set_credential(own)
        .set_credential_flags(CredentialFlags::REQUIRE_CLIENT_AUTHENTICATION);
    load(registration, config, credential).map(Some)
}

fn own(config: &Config) -> Result<Option<Credential>, String> {
    let Some((certificate, key)) = &config.identity else { return Ok(None) };
    let text = |path: &Path| path.to_str().map(str::to_owned).ok_or("a path that is not UTF-8");
    Ok(Some(Credential::CertificateFile(CertificateFile::new(text(key)?, text(certificate)?))))
}

fn load(registration: &Registration, config: &Config, credential: CredentialConfig) -> Result<Configuration, String> {
    let mut settings = Settings::new()
        .set_IdleTimeoutMs(IDLE_TIMEOUT.as_millis() as u64)
        .set_PeerBidiStreamCount(BIDI_STREAMS as u16)
        .set_PeerUnidiStreamCount(UNI_STREAMS as u16)
        // MsQuic takes only powers of two here.
        .set_StreamRecvWindowDefault((STREAM_WINDOW as u32).next_power_of_two())
        .set_ConnFlowControlWindow(CONNECTION_WINDOW as u32);
    if config.datagrams {
        settings = settings.set_DatagramReceiveEnabled();
    }
    // MsQuic does not judge the chain, but shows the certificate, in DER, to the callback, which judges it; a client without
    // one has an empty one there. OpenSSL checks the peer's possession of the key in any case.
    let credential = credential.set_credential_flags(
        CredentialFlags::NO_CERTIFICATE_VALIDATION
            | CredentialFlags::INDICATE_CERTIFICATE_RECEIVED
            | CredentialFlags::USE_PORTABLE_CERTIFICATES,
    );
    let text = |e: Status| e.to_string();
    let configuration = Configuration::open(registration, &alpn(), Some(&settings)).map_err(text)?;
    configuration.load_credential(&credential).map_err(text)?;
    Ok(configuration)
}
