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
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::connections::ConnectionFault;

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
    Read(PathBuf, #[source] pem::Error),
    /// There is nothing of the kind in a file.
    #[error("{0} holds no {1} in PEM")]
    Empty(PathBuf, &'static str),
    /// The two do not fit.
    #[error("use the certificate and its key")]
    Use(#[from] rustls::Error),
}

/// What a TLS listener needs, and what its callers do.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// For the listener.
    config: Arc<ServerConfig>,
    /// For a listener with which something is wrong.
    wrong: Vec<(ConnectionFault, Arc<ServerConfig>)>,
    /// For the callers: the authority in PEM, when one was made.
    pub(crate) ca_pem: Option<String>,
}

impl Prepared {
    /// What a connection is served with.
    pub(crate) fn config(&self, fault: ConnectionFault) -> Arc<ServerConfig> {
        let wrong = self.wrong.iter().find(|(of, _)| *of == fault);
        Arc::clone(wrong.map_or(&self.config, |(_, config)| config))
    }
}

/// Gets the certificate and makes a configuration of it.
pub(crate) fn prepare(tls: &Tls) -> Result<Prepared, TlsError> {
    let mut wrong = Vec::new();
    let (chain, key, ca_pem) = match tls {
        Tls::Make { names } => {
            let authority = Authority::new()?;
            let spoilt = |fault| -> Result<_, TlsError> {
                let made = match fault {
                    ConnectionFault::OtherAuthority => Authority::new()?.sign(names, false)?,
                    ConnectionFault::ExpiredCertificate => authority.sign(names, true)?,
                    _ => authority.sign_for(&["elsewhere.invalid".to_owned()], false)?,
                };
                Ok((fault, config(made.0, made.1)?))
            };
            for fault in [
                ConnectionFault::OtherAuthority,
                ConnectionFault::ExpiredCertificate,
                ConnectionFault::OtherName,
            ] {
                wrong.push(spoilt(fault)?);
            }
            let (chain, key) = authority.sign(names, false)?;
            (chain, key, Some(authority.pem.clone()))
        }
        Tls::Files { cert, key } => {
            let read = |error| TlsError::Read(cert.clone(), error);
            let chain: Vec<_> = CertificateDer::pem_file_iter(cert)
                .map_err(read)?
                .collect::<Result<_, _>>()
                .map_err(|error| TlsError::Read(cert.clone(), error))?;
            if chain.is_empty() {
                return Err(TlsError::Empty(cert.clone(), "certificate"));
            }
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| match error {
                pem::Error::NoItemsFound => TlsError::Empty(key.clone(), "private key"),
                error => TlsError::Read(key.clone(), error),
            })?;
            (chain, private, None)
        }
    };
    Ok(Prepared {
        config: config(chain, key)?,
        wrong,
        ca_pem,
    })
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

type Made = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// An authority of the emulator's own. It signs a certificate instead of being one, since some
/// clients do not take one certificate for both.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Result<Self, TlsError> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "Key Protect emulator CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem,
        })
    }

    /// Signs a certificate for this machine and further names.
    fn sign(&self, names: &[String], expired: bool) -> Result<Made, TlsError> {
        let standard = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let names: Vec<String> = standard.iter().chain(names).cloned().collect();
        self.sign_for(&names, expired)
    }

    fn sign_for(&self, names: &[String], expired: bool) -> Result<Made, TlsError> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "Key Protect emulator");
        for name in names {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.as_str().try_into()?),
            });
        }
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if expired {
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.issuer)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok((vec![cert.der().clone()], private))
    }
}
