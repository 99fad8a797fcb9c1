//! Which hosts may receive an API key or a token. A decision over plain values, made before a
//! client exists and again on each request that is about to be sent.
//!
//! The lists are anchored and closed, because customers can get names of their own under
//! `cloud.ibm.com` and `appdomain.cloud`: anything wider would hand a token to one of them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::domain::service::ids::InstanceId;

/// Regions of Key Protect (Key Protect docs, "Regions and endpoints", August 2026).
pub const REGIONS: [&str; 13] = [
    "us-south", "us-east", "eu-gb", "eu-de", "eu-es", "au-syd", "jp-tok", "jp-osa", "ca-tor",
    "ca-mon", "br-sao", "in-che", "in-mum",
];

/// What an admin allows beside IBM Cloud's own hosts: exact `host` or `host:port`, in which an
/// absent port is 443. A wildcard, a URL or anything else that is no host allows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedHosts {
    /// Hosts that may receive API keys (`--allowed-iam-hosts`).
    pub iam: Vec<String>,
    /// Hosts that may receive access tokens (`--allowed-key-hosts`).
    pub keys: Vec<String>,
    /// Whether a loopback host that is on one of the lists may be spoken to without TLS.
    pub insecure_loopback: bool,
}

impl AllowedHosts {
    /// Tells the first entry that can never match, so that a typo is found at start.
    #[must_use]
    pub fn malformed(&self) -> Option<&str> {
        self.iam
            .iter()
            .chain(&self.keys)
            .find(|entry| host_and_port(entry, 443).is_err())
            .map(String::as_str)
    }
}

/// Scheme, host and port of a server; nothing else can be in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    secure: bool,
    host: Box<str>,
    port: u16,
}

/// Says what is wrong with a URL, in words that finish "spec.endpoint.url: …".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlFlaw {
    /// It begins with neither `https://` nor `http://`.
    #[error("must begin with https://")]
    Scheme,
    /// It holds a user or a password.
    #[error("must not hold a user or password")]
    UserInfo,
    /// Its host is no DNS name or IPv4 address.
    #[error("its host must be a DNS name or an IPv4 address, without a dot at the end")]
    Host,
    /// Its port is no port.
    #[error("its port must be a number from 1 to 65535")]
    Port,
    /// It has a path, query or fragment that does not belong there.
    #[error("must not have this path, query or fragment")]
    Path,
}

impl Origin {
    /// Makes an `https` origin of a host that is built from parsed names.
    pub(super) fn https(host: String, port: Option<u16>) -> Self {
        Self {
            secure: true,
            host: host.into_boxed_str(),
            port: port.unwrap_or(443),
        }
    }

    /// Reads a URL into its origin and its path. The grammar is a small part of what URL
    /// parsers take: whatever they could read in two ways is refused.
    ///
    /// # Errors
    /// Says which part is wrong.
    pub fn parse(url: &str) -> Result<(Self, &str), UrlFlaw> {
        let scheme_is = |scheme: &str| {
            url.get(..scheme.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(scheme))
        };
        let (secure, rest) = if scheme_is("https://") {
            (true, url.get(8..).unwrap_or_default())
        } else if scheme_is("http://") {
            (false, url.get(7..).unwrap_or_default())
        } else {
            return Err(UrlFlaw::Scheme);
        };
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(UrlFlaw::UserInfo);
        }
        if !path
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'/' || b == b'_')
        {
            return Err(UrlFlaw::Path);
        }
        let (host, port) = host_and_port(authority, if secure { 443 } else { 80 })?;
        Ok((Self { secure, host, port }, path))
    }

    /// Tells whether TLS is spoken.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// Shows the host, in lower case.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Shows the port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Tells whether the host is this machine, as far as its name says.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        &*self.host == "localhost"
            || self
                .host
                .parse::<Ipv4Addr>()
                .is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, usual) = if self.secure {
            ("https", 443)
        } else {
            ("http", 80)
        };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == usual {
            Ok(())
        } else {
            write!(f, ":{}", self.port)
        }
    }
}

/// Reads `host` or `host:port` into a host in lower case and a port.
fn host_and_port(text: &str, usual: u16) -> Result<(Box<str>, u16), UrlFlaw> {
    let (host, port) = match text.split_once(':') {
        None => (text, usual),
        Some((host, digits)) => {
            let is_number = (1..=5).contains(&digits.len())
                && digits.bytes().all(|b| b.is_ascii_digit())
                && !digits.starts_with('0');
            let port = digits.parse().map_err(|_| UrlFlaw::Port)?;
            if !is_number {
                return Err(UrlFlaw::Port);
            }
            (host, port)
        }
    };
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if host.len() > 253 || !host.split('.').all(is_label) {
        return Err(UrlFlaw::Host);
    }
    let host = host.to_ascii_lowercase();
    // URL parsers read a host whose last label is a number, decimal or 0x…, as an IPv4 address
    // in one of many spellings (127.1, 0x7f.1); only the plain one is taken here.
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
    if is_numeric && host.parse::<Ipv4Addr>().is_err() {
        return Err(UrlFlaw::Host);
    }
    Ok((host.into_boxed_str(), port))
}

/// What IBM Cloud's own host says of itself by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedHost {
    /// Which service's host it is.
    pub family: HostFamily,
    /// The region in it.
    pub region: Option<&'static str>,
    /// Whether it is on IBM Cloud's private network.
    pub private: bool,
}

/// Families of hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostFamily {
    /// Key Protect, by today's names or those of 2017.
    Standard,
    /// Key Protect Dedicated.
    Dedicated,
    /// Hyper Protect Crypto Services.
    Hpcs,
    /// IAM.
    Iam,
}

fn region(text: &str) -> Option<&'static str> {
    REGIONS.into_iter().find(|region| *region == text)
}

/// Finds a host in IBM Cloud's list for access tokens. `instance` is the instance's own ID,
/// which some hosts begin with: another instance's host is not on the list.
#[must_use]
pub fn listed_key_host(host: &str, port: u16, instance: Option<&InstanceId>) -> Option<ListedHost> {
    let found = |family, region, private| {
        Some(ListedHost {
            family,
            region,
            private,
        })
    };
    if let Some(rest) = host.strip_suffix(".kms.cloud.ibm.com") {
        let (private, rest) = ["private.", "private-qsc."]
            .into_iter()
            .find_map(|prefix| rest.strip_prefix(prefix))
            .map_or_else(
                || (false, rest.strip_prefix("qsc.").unwrap_or(rest)),
                |rest| (true, rest),
            );
        // Any port: private endpoints with an allowed-IP policy have one of their own.
        return found(HostFamily::Standard, Some(region(rest)?), private);
    }
    let private_or_not = |rest: &str| {
        rest.strip_prefix("private.")
            .map_or((false, region(rest)), |rest| (true, region(rest)))
    };
    if let Some(rest) = host.strip_suffix(".hs-crypto.cloud.ibm.com") {
        let (private, region) = private_or_not(rest.strip_prefix("api.")?);
        return found(HostFamily::Hpcs, Some(region?), private);
    }
    if port != 443 {
        return None;
    }
    for (suffix, family) in [
        (".kms.appdomain.cloud", HostFamily::Dedicated),
        (".hs-crypto.appdomain.cloud", HostFamily::Hpcs),
    ] {
        if let Some(rest) = host.strip_suffix(suffix) {
            let rest = rest
                .strip_prefix(instance?.as_str())?
                .strip_prefix(".api.")?;
            let (private, region) = private_or_not(rest);
            return found(family, Some(region?), private);
        }
    }
    if host == "ibm-key-protect.edge.bluemix.net" {
        return found(HostFamily::Standard, None, false);
    }
    let legacy = host
        .strip_prefix("keyprotect.")?
        .strip_suffix(".bluemix.net")?;
    found(HostFamily::Standard, Some(region(legacy)?), false)
}

/// Finds a host in IBM Cloud's list for API keys.
#[must_use]
pub fn listed_iam_host(host: &str, port: u16) -> Option<ListedHost> {
    let found = |region, private| {
        Some(ListedHost {
            family: HostFamily::Iam,
            region,
            private,
        })
    };
    match host {
        _ if port != 443 => None,
        "iam.cloud.ibm.com" | "iam.bluemix.net" => found(None, false),
        "private.iam.cloud.ibm.com" => found(None, true),
        _ => {
            let rest = host.strip_prefix("private.")?;
            found(
                Some(region(rest.strip_suffix(".iam.cloud.ibm.com")?)?),
                true,
            )
        }
    }
}

/// How a host came to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// It is IBM Cloud's own by name; where the name resolves to is then checked too.
    Listed(ListedHost),
    /// An admin added exactly this host and port.
    Added,
}

/// Says why a host may not be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is on no list.
    NotAllowed,
    /// It would be spoken to without TLS.
    Insecure,
}

/// Decides whether an origin may be called.
///
/// # Errors
/// Says why not.
pub fn permit(
    origin: &Origin,
    listed: Option<ListedHost>,
    added: &[String],
    insecure_loopback: bool,
) -> Result<Permit, Refusal> {
    let is_added = added.iter().any(|entry| {
        host_and_port(entry, 443)
            .is_ok_and(|(host, port)| *host == *origin.host && port == origin.port)
    });
    let is_excused = is_added && insecure_loopback && origin.is_loopback();
    if !origin.secure && !is_excused {
        return Err(Refusal::Insecure);
    }
    match listed {
        _ if is_added => Ok(Permit::Added),
        Some(listed) => Ok(Permit::Listed(listed)),
        None => Err(Refusal::NotAllowed),
    }
}

/// Tells whether an address can be no server of IBM Cloud: this machine, this link, nothing at
/// all, or everybody. Private networks are fine: private endpoints live there.
#[must_use]
pub fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_local_v4(v4),
        IpAddr::V6(v6) => {
            let embedded = v6.to_ipv4_mapped().or_else(|| nat64(v6));
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unicast_link_local()
                || embedded.is_some_and(is_local_v4)
        }
    }
}

const fn is_local_v4(v4: Ipv4Addr) -> bool {
    v4.is_loopback()
        || v4.is_link_local()
        || v4.is_multicast()
        || v4.is_broadcast()
        // 0.0.0.0/8 is "this network" (RFC 1122); Linux connects 0.0.0.0 to loopback.
        || v4.octets()[0] == 0
}

/// Takes the IPv4 address out of a NAT64 one (64:ff9b::/96, RFC 6052).
fn nat64(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = v6.segments() else {
        return None;
    };
    let [a, b] = high.to_be_bytes();
    let [c, d] = low.to_be_bytes();
    Some(Ipv4Addr::new(a, b, c, d))
}
