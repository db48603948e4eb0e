use std::io::Write;

use lines::{ALPN, KEEP_ALIVE, LARGEST_PACKET, Result};
use msquic::{
    AllowedCipherSuiteFlags, BufferRef, CertificateFile, Configuration, Credential,
    CredentialConfig, CredentialFlags, ExecutionProfile, Registration, RegistrationConfig,
    Settings,
};
use tempfile::NamedTempFile;

/// The largest IP packet: MsQuic counts the headers of IPv4 and UDP in where it is told an MTU.
pub const MTU: u16 = LARGEST_PACKET + 20 + 8;

/// Starts the library. Segmentation and receive offload, and the largest receive buffer that the
/// system grants, are MsQuic's custom.
pub fn registration() -> Result<Registration> {
    let config = RegistrationConfig::new().set_execution_profile(ExecutionProfile::LowLatency);
    Ok(Registration::new(&config)?)
}

/// The server's configuration, with a self-signed ECDSA P-256 certificate, made anew for each
/// process.
pub fn server(registration: &Registration) -> Result<Configuration> {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    // MsQuic takes a bare certificate and key only from files; it has read them when the
    // configuration has been loaded.
    let key = file(&own.signing_key.serialize_pem())?;
    let certificate = file(&own.cert.pem())?;
    let credential =
        Credential::CertificateFile(CertificateFile::new(path(&key)?, path(&certificate)?));
    load(
        registration,
        CredentialConfig::new().set_credential(credential),
    )
}

/// The client's configuration. It takes any certificate, so that it needs no file from the server.
/// That is for measuring on loopback and for nothing else: anybody could be at the other end.
pub fn client(registration: &Registration) -> Result<Configuration> {
    let credential = CredentialConfig::new_client()
        .set_credential_flags(CredentialFlags::NO_CERTIFICATE_VALIDATION);
    load(registration, credential)
}

/// The application protocol, as MsQuic wants it.
pub fn alpn() -> [BufferRef; 1] {
    [BufferRef::from(ALPN)]
}

fn load(registration: &Registration, credential: CredentialConfig) -> Result<Configuration> {
    let settings = Settings::new()
        .set_DatagramReceiveEnabled()
        .set_MaximumMtu(MTU)
        .set_KeepAliveIntervalMs(KEEP_ALIVE.as_millis().try_into()?);
    let configuration = Configuration::open(registration, &alpn(), Some(&settings))?;
    // AES-128-GCM alone: it is what quic-go picks on a CPU with AES instructions, and MsQuic by
    // itself would prefer AES-256.
    configuration.load_credential(
        &credential.set_allowed_cipher_suites(AllowedCipherSuiteFlags::AES_128_GCM_SHA256),
    )?;
    Ok(configuration)
}

fn file(content: &str) -> Result<NamedTempFile> {
    let mut file = NamedTempFile::new()?;
    file.write_all(content.as_bytes())?;
    Ok(file)
}

fn path(file: &NamedTempFile) -> Result<String> {
    let path = file
        .path()
        .to_str()
        .ok_or("the temporary folder has no plain name")?;
    Ok(path.to_owned())
}
