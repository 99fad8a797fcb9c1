//! KMIP adapters and their client certificates: shallow. They are kept and
//! listed; nothing speaks KMIP, so an adapter never has an object.

use jiff::Timestamp;

use super::aliases::is_key_id;
use super::refusal::Refusal;

/// A KMIP adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter {
    /// Its UUID.
    pub id: String,
    /// Its name, unique in the instance.
    pub name: String,
    /// A description.
    pub description: Option<String>,
    /// The root key that it uses.
    pub root_key: String,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Its client certificates.
    pub certificates: Vec<Certificate>,
}

/// A client certificate of an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its UUID.
    pub id: String,
    /// Its name, unique in the adapter.
    pub name: String,
    /// The certificate in PEM.
    pub pem: String,
    /// Who added it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
}

/// The adapters of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adapters(Vec<Adapter>);

impl Adapters {
    /// Returns every adapter.
    pub fn all(&self) -> &[Adapter] {
        &self.0
    }

    /// Finds an adapter by its ID or name.
    pub fn find(&self, id_or_name: &str) -> Result<&Adapter, Refusal> {
        let found = self
            .0
            .iter()
            .find(|adapter| adapter.id == id_or_name || adapter.name == id_or_name);
        found.ok_or_else(|| missing("KMIP adapter", id_or_name))
    }

    /// Finds an adapter to change.
    pub fn find_mut(&mut self, id_or_name: &str) -> Result<&mut Adapter, Refusal> {
        let mut adapters = self.0.iter_mut();
        let found = adapters.find(|adapter| adapter.id == id_or_name || adapter.name == id_or_name);
        found.ok_or_else(|| missing("KMIP adapter", id_or_name))
    }

    /// Adds an adapter.
    pub fn add(&mut self, adapter: Adapter) -> Result<(), Refusal> {
        check_name(&adapter.name)?;
        if self.find(&adapter.name).is_ok() {
            return Err(taken("KMIP adapter", &adapter.name));
        }
        self.0.push(adapter);
        Ok(())
    }

    /// Removes an adapter with its certificates.
    pub fn remove(&mut self, id_or_name: &str) -> Result<(), Refusal> {
        let id = self.find(id_or_name)?.id.clone();
        self.0.retain(|adapter| adapter.id != id);
        Ok(())
    }
}

impl Adapter {
    /// Finds a certificate by its ID or name.
    pub fn certificate(&self, id_or_name: &str) -> Result<&Certificate, Refusal> {
        let mut all = self.certificates.iter();
        let found = all.find(|one| one.id == id_or_name || one.name == id_or_name);
        found.ok_or_else(|| missing("KMIP client certificate", id_or_name))
    }

    /// Adds a certificate.
    pub fn add_certificate(&mut self, certificate: Certificate) -> Result<(), Refusal> {
        check_name(&certificate.name)?;
        if self.certificate(&certificate.name).is_ok() {
            return Err(taken("KMIP client certificate", &certificate.name));
        }
        self.certificates.push(certificate);
        Ok(())
    }

    /// Removes a certificate.
    pub fn remove_certificate(&mut self, id_or_name: &str) -> Result<(), Refusal> {
        let id = self.certificate(id_or_name)?.id.clone();
        self.certificates.retain(|one| one.id != id);
        Ok(())
    }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let characters_fit = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if name.is_empty() || !characters_fit || is_key_id(name) {
        return Err(Refusal::field(
            "name",
            "A name has letters, digits, - and _ only, and is no UUID.",
        ));
    }
    Ok(())
}

fn missing(what: &str, name: &str) -> Refusal {
    Refusal::because(
        404,
        "KMIP_NOT_FOUND_ERR",
        format!("{what} {name} does not exist."),
    )
}

fn taken(what: &str, name: &str) -> Refusal {
    Refusal::because(
        409,
        "KMIP_NOT_UNIQUE_ERR",
        format!("{what} {name} already exists."),
    )
}
