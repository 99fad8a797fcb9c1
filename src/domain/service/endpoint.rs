//! From an instance's spec to the hosts, headers and warnings that follow from it. A spec that
//! leads to a host which no admin allowed has no endpoint at all.

use crate::api::instance::{EndpointKind, EndpointSpec, KeyProtectInstanceSpec, Network};
use crate::domain::service::crn::{self, CrnService};
use crate::domain::service::hosts::{
    self, HostFamily, ListedHost, Origin, Permit, Refusal, UrlFlaw, listed_iam_host,
    listed_key_host,
};
use crate::domain::service::ids::{InstanceId, Region};

pub use crate::domain::service::endpoint_error::EndpointError;
pub use crate::domain::service::hosts::AllowedHosts;

/// Path of IAM's token operation.
pub const TOKEN_PATH: &str = "/identity/token";
/// Its path until 2018, which is still answered.
pub const LEGACY_TOKEN_PATH: &str = "/oidc/token";

/// Which instance a request is for, as the service's headers name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Tenant {
    /// `bluemix-instance`.
    Instance(InstanceId),
    /// `bluemix-org` and `bluemix-space`, in its place.
    CloudFoundry {
        /// GUID of the organization.
        organization: InstanceId,
        /// GUID of the space.
        space: InstanceId,
    },
}

/// IAM's token operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenUrl {
    /// Where IAM is.
    pub origin: Origin,
    /// [`TOKEN_PATH`] or [`LEGACY_TOKEN_PATH`].
    pub path: &'static str,
}

impl std::fmt::Display for TokenUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

/// Where an instance is called, and as what. Every host in it is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where the key API is; its paths begin with `/api/v2/`.
    pub key_base: Origin,
    /// Where tokens come from.
    pub iam_url: TokenUrl,
    /// Which instance is meant.
    pub tenant: Tenant,
    /// The instance's region, where it is known.
    pub region: Option<Region>,
    /// The instance's ID, where it has one.
    pub instance_id: Option<InstanceId>,
    /// Which service it is.
    pub kind: EndpointKind,
    /// Hosts that are allowed for their names alone: what they resolve to must be no address
    /// of this machine or link.
    pub guarded_hosts: Vec<String>,
    /// Extra root certificates, in PEM.
    pub ca_bundle: Option<String>,
    /// What an admin should know, in sentences that name a field.
    pub warnings: Vec<String>,
}

/// What a spec says of the instance itself.
struct Identity {
    tenant: Tenant,
    instance: Option<InstanceId>,
    region: Option<Region>,
    service: Option<CrnService>,
    /// The field from which a host would be made.
    field: &'static str,
    warnings: Vec<String>,
}

/// Works out where an instance is called.
///
/// # Errors
/// Names the field that has to change, and the remedy.
pub fn resolve(
    spec: &KeyProtectInstanceSpec,
    allowed: &AllowedHosts,
) -> Result<Endpoint, EndpointError> {
    let none = EndpointSpec::default();
    let wish = spec.endpoint.as_ref().unwrap_or(&none);
    let mut identity = identity(spec)?;
    let kind = kind(wish, &identity)?;
    let (key_base, key_field) = key_origin(wish, &identity, kind)?;

    let listed = listed_key_host(key_base.host(), key_base.port(), identity.instance.as_ref());
    let key_permit = permit(&key_base, listed, allowed, key_field, Purpose::Keys)?;
    let private = wish.network == Some(Network::Private)
        || matches!(key_permit, Permit::Listed(ListedHost { private: true, .. }));
    let iam_url = token_url(wish, private)?;
    let listed = listed_iam_host(iam_url.origin.host(), iam_url.origin.port());
    let field = "spec.endpoint.iamURL";
    let iam_permit = permit(&iam_url.origin, listed, allowed, field, Purpose::Iam)?;

    if let Permit::Listed(host) = key_permit {
        warn_of_region(host, &mut identity);
    }
    let guarded_hosts = [(&key_base, key_permit), (&iam_url.origin, iam_permit)]
        .into_iter()
        .filter(|(_, permit)| matches!(permit, Permit::Listed(_)))
        .map(|(origin, _)| origin.host().to_owned())
        .collect();
    let kind = match (wish.url.is_some(), key_permit) {
        (true, Permit::Listed(host)) => family_kind(host.family),
        _ => kind,
    };
    Ok(Endpoint {
        key_base,
        iam_url,
        tenant: identity.tenant,
        region: identity.region,
        instance_id: identity.instance,
        kind,
        guarded_hosts,
        ca_bundle: wish.ca_bundle.clone(),
        warnings: identity.warnings,
    })
}

fn identity(spec: &KeyProtectInstanceSpec) -> Result<Identity, EndpointError> {
    let id = |field, text: &str| {
        InstanceId::parse(text).map_err(|flaw| EndpointError::Name { field, flaw })
    };
    let region = spec
        .region
        .as_deref()
        .map(Region::parse)
        .transpose()
        .map_err(|flaw| EndpointError::Name {
            field: "spec.region",
            flaw,
        })?;
    match (&spec.cloud_foundry, &spec.crn, &spec.instance_id) {
        (Some(foundry), None, None) => Ok(Identity {
            tenant: Tenant::CloudFoundry {
                organization: id("spec.cloudFoundry.organization", &foundry.organization)?,
                space: id("spec.cloudFoundry.space", &foundry.space)?,
            },
            instance: None,
            region,
            service: None,
            field: "spec.cloudFoundry",
            warnings: Vec::new(),
        }),
        (None, Some(text), None) => {
            if region.is_some() {
                let remedy = "the CRN names the region already; remove region";
                return Err(EndpointError::field("spec.region", remedy));
            }
            let crn = crn::parse(text).map_err(EndpointError::Crn)?;
            Ok(Identity {
                tenant: Tenant::Instance(crn.instance.clone()),
                instance: Some(crn.instance),
                region: Some(crn.region),
                service: Some(crn.service),
                field: "spec.crn",
                warnings: crn.warnings,
            })
        }
        (None, None, Some(text)) => {
            let instance = id("spec.instanceID", text)?;
            Ok(Identity {
                tenant: Tenant::Instance(instance.clone()),
                instance: Some(instance),
                region,
                service: None,
                field: "spec.region",
                warnings: Vec::new(),
            })
        }
        _ => Err(EndpointError::field(
            "spec",
            "give one of crn, instanceID with region, and cloudFoundry",
        )),
    }
}

fn kind(wish: &EndpointSpec, identity: &Identity) -> Result<EndpointKind, EndpointError> {
    let hpcs = "the CRN names Hyper Protect Crypto Services (hs-crypto); write HPCS or remove kind";
    let kms = "the CRN names Key Protect (kms); write Standard or Dedicated, or remove kind";
    match (identity.service, wish.kind) {
        (Some(CrnService::HsCrypto), None | Some(EndpointKind::Hpcs)) => Ok(EndpointKind::Hpcs),
        (Some(CrnService::HsCrypto), Some(_)) => {
            Err(EndpointError::field("spec.endpoint.kind", hpcs))
        }
        (Some(CrnService::Kms), Some(EndpointKind::Hpcs)) => {
            Err(EndpointError::field("spec.endpoint.kind", kms))
        }
        (_, kind) => Ok(kind.unwrap_or(EndpointKind::Standard)),
    }
}

/// Works out the key API's host, and the field to blame should it not be allowed.
fn key_origin(
    wish: &EndpointSpec,
    identity: &Identity,
    kind: EndpointKind,
) -> Result<(Origin, &'static str), EndpointError> {
    let port = wish
        .port
        .map(|port| u16::try_from(port).ok().filter(|port| *port > 0))
        .map(|port| {
            port.ok_or(EndpointError::field(
                "spec.endpoint.port",
                "must be a number from 1 to 65535",
            ))
        })
        .transpose()?;
    if let Some(url) = &wish.url {
        let field = "spec.endpoint.url";
        if wish.network.is_some() || wish.port.is_some() || wish.kind.is_some() {
            let remedy = "names the whole host; remove kind, network and port, or remove url";
            return Err(EndpointError::field(field, remedy));
        }
        let (origin, path) =
            Origin::parse(url).map_err(|flaw| EndpointError::Url { field, flaw })?;
        let flaw = UrlFlaw::Path;
        return if matches!(path, "" | "/") {
            Ok((origin, field))
        } else {
            Err(EndpointError::Url { field, flaw })
        };
    }
    let Some(instance) = &identity.instance else {
        if wish.kind.is_some() || wish.network.is_some() || wish.port.is_some() {
            return Err(EndpointError::field(
                "spec.endpoint",
                "kind, network and port have no meaning with cloudFoundry; give url if the legacy host is not meant",
            ));
        }
        // Instances in an org and space are served at one legacy host (Key Protect docs, 2018).
        let host = "ibm-key-protect.edge.bluemix.net".to_owned();
        return Ok((Origin::https(host, None), identity.field));
    };
    let Some(region) = &identity.region else {
        return Err(EndpointError::field(
            "spec.region",
            "required with instanceID, for example us-south (or give endpoint.url)",
        ));
    };
    let private = if wish.network == Some(Network::Private) {
        "private."
    } else {
        ""
    };
    let host = match (kind, port) {
        (EndpointKind::Standard, _) => format!("{private}{region}.kms.cloud.ibm.com"),
        (EndpointKind::Dedicated, _) => {
            format!("{instance}.api.{private}{region}.kms.appdomain.cloud")
        }
        (EndpointKind::Hpcs, None) => {
            format!("{instance}.api.{private}{region}.hs-crypto.appdomain.cloud")
        }
        // The older hosts of HPCS tell instances apart by port (8000 to 19999).
        (EndpointKind::Hpcs, Some(_)) => format!("api.{private}{region}.hs-crypto.cloud.ibm.com"),
    };
    let field = match (kind, port) {
        (EndpointKind::Dedicated, Some(_)) => "spec.endpoint.port",
        _ => identity.field,
    };
    Ok((Origin::https(host, port), field))
}

fn token_url(wish: &EndpointSpec, private: bool) -> Result<TokenUrl, EndpointError> {
    let field = "spec.endpoint.iamURL";
    let Some(url) = &wish.iam_url else {
        let host = if private {
            "private.iam.cloud.ibm.com"
        } else {
            "iam.cloud.ibm.com"
        };
        return Ok(TokenUrl {
            origin: Origin::https(host.to_owned(), None),
            path: TOKEN_PATH,
        });
    };
    let (origin, path) = Origin::parse(url).map_err(|flaw| EndpointError::Url { field, flaw })?;
    // IBM's SDKs take the base with or without the path, and so does this.
    let path = match path {
        "" | "/" | TOKEN_PATH => TOKEN_PATH,
        LEGACY_TOKEN_PATH => LEGACY_TOKEN_PATH,
        _ => {
            let flaw = UrlFlaw::Path;
            return Err(EndpointError::Url { field, flaw });
        }
    };
    Ok(TokenUrl { origin, path })
}

#[derive(Clone, Copy)]
enum Purpose {
    Keys,
    Iam,
}

fn permit(
    origin: &Origin,
    listed: Option<ListedHost>,
    allowed: &AllowedHosts,
    field: &'static str,
    purpose: Purpose,
) -> Result<Permit, EndpointError> {
    let (added, purpose, flag) = match purpose {
        Purpose::Keys => (&allowed.keys, "keys", "--allowed-key-hosts"),
        Purpose::Iam => (&allowed.iam, "tokens", "--allowed-iam-hosts"),
    };
    hosts::permit(origin, listed, added, allowed.insecure_loopback).map_err(|refusal| match refusal
    {
        Refusal::Insecure => EndpointError::Insecure { field },
        Refusal::NotAllowed => EndpointError::HostNotAllowed {
            field,
            host: origin.host().into(),
            port: origin.port(),
            purpose,
            flag,
        },
    })
}

/// The wrong region answers 401 like a missing role, so a contradiction is worth a word.
fn warn_of_region(host: ListedHost, identity: &mut Identity) {
    if let (Some(region), Some(of_host)) = (&identity.region, host.region)
        && region.as_str() != of_host
    {
        identity.warnings.push(format!(
            "spec.endpoint.url: the host is of region {of_host}, but the instance of {region}; the wrong region answers 401"
        ));
    }
}

const fn family_kind(family: HostFamily) -> EndpointKind {
    match family {
        HostFamily::Standard | HostFamily::Iam => EndpointKind::Standard,
        HostFamily::Dedicated => EndpointKind::Dedicated,
        HostFamily::Hpcs => EndpointKind::Hpcs,
    }
}

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
