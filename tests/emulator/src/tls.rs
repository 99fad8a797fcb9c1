//! The certificate that the emulator serves with: given, or made here.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Where the certificate comes from.
#[derive(Debug, Clone)]
pub enum Tls {
    /// An authority and a certificate are made, for `localhost`, `127.0.0.1`,
    /// `::1` and these further names.
    Make {
        /// The further names.
        names: Vec<String>,
    },
    /// Files in PEM.
    Files {
        /// The certificate and its chain.
        cert: PathBuf,
        /// The private key.
        key: PathBuf,
    },
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Making one failed.
    #[error("make a certificate")]
    Make(#[from] rcgen::Error),
    /// Reading one failed.
    #[error("read {0}")]
    Read(PathBuf, #[source] rustls::pki_types::pem::Error),
    /// The two do not fit.
    #[error("use the certificate")]
    Use(#[from] rustls::Error),
}

/// What a TLS listener needs, and what its callers do.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// For the listener.
    pub(crate) config: Arc<ServerConfig>,
    /// For the callers: the authority in PEM, when one was made.
    pub(crate) ca_pem: Option<String>,
}

/// Gets the certificate and makes a configuration of it.
pub(crate) fn prepare(tls: &Tls) -> Result<Prepared, TlsError> {
    let (chain, key, ca_pem) = match tls {
        Tls::Make { names } => make(names)?,
        Tls::Files { cert, key } => {
            let read = |error| TlsError::Read(cert.clone(), error);
            let chain: Vec<_> = CertificateDer::pem_file_iter(cert)
                .map_err(read)?
                .collect::<Result<_, _>>()
                .map_err(|error| TlsError::Read(cert.clone(), error))?;
            let private = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| TlsError::Read(key.clone(), error))?;
            (chain, private, None)
        }
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Prepared {
        config: Arc::new(config),
        ca_pem,
    })
}

type Made = (
    Vec<CertificateDer<'static>>,
    PrivateKeyDer<'static>,
    Option<String>,
);

/// Makes an authority and a certificate of its own, since some clients do not
/// take one certificate for both.
fn make(names: &[String]) -> Result<Made, TlsError> {
    let mut authority = CertificateParams::default();
    authority
        .distinguished_name
        .push(DnType::CommonName, "Key Protect emulator CA");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_key = KeyPair::generate()?;
    let ca = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, authority_key);

    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "Key Protect emulator");
    let standard = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    for name in standard.iter().chain(names) {
        params.subject_alt_names.push(match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.as_str().try_into()?),
        });
    }
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let cert = params.signed_by(&key, &issuer)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok((vec![cert.der().clone()], private, Some(ca.pem())))
}
