//! Bodies of the operations on KMIP adapters.

use super::{inner, resource, text};
use crate::domain::refusal::Refusal;

/// An adapter to be.
#[derive(Debug)]
pub struct NewAdapter {
    /// Its name; one is made up when absent.
    pub name: Option<String>,
    /// A description.
    pub description: Option<String>,
    /// The profile.
    pub profile: String,
    /// The root key that it uses.
    pub root_key: String,
}

/// A client certificate to be.
#[derive(Debug)]
pub struct NewCertificate {
    /// Its name; one is made up when absent.
    pub name: Option<String>,
    /// The certificate in PEM.
    pub pem: String,
}

/// Reads a request for an adapter.
pub fn adapter(body: &[u8]) -> Result<NewAdapter, Refusal> {
    let known = ["name", "description", "profile", "profile_data"];
    let mut fields = resource(body, &known)?;
    let mut data = inner(&mut fields, "profile_data", &["crk_id"])?.unwrap_or_default();
    let description = text(&mut fields, "description")?;
    if description
        .as_ref()
        .is_some_and(|text| text.chars().count() > 240)
    {
        return Err(Refusal::field(
            "description",
            "A description has up to 240 characters.",
        ));
    }
    Ok(NewAdapter {
        name: text(&mut fields, "name")?,
        description,
        profile: text(&mut fields, "profile")?
            .ok_or_else(|| Refusal::field("profile", "An adapter has a profile."))?,
        root_key: text(&mut data, "crk_id")?
            .ok_or_else(|| Refusal::field("crk_id", "An adapter has a root key."))?,
    })
}

/// Reads a request to add a client certificate.
pub fn certificate(body: &[u8]) -> Result<NewCertificate, Refusal> {
    let mut fields = resource(body, &["name", "certificate"])?;
    Ok(NewCertificate {
        name: text(&mut fields, "name")?,
        pem: text(&mut fields, "certificate")?
            .ok_or_else(|| Refusal::field("certificate", "There is no certificate."))?,
    })
}
