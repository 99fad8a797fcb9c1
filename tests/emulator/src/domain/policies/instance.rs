//! An instance's policies, each with a kind of its own.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;

use super::Stamp;
use crate::domain::refusal::Refusal;
use crate::domain::state::KeyClass;

/// The network policy that leaves public endpoints out.
pub const PRIVATE_ONLY: &str = "private-only";

/// The kinds, by their names on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `dualAuthDelete`
    DualAuthDelete,
    /// `allowedNetwork`
    AllowedNetwork,
    /// `allowedIP`
    AllowedIp,
    /// `metrics`
    Metrics,
    /// `keyCreateImportAccess`
    KeyCreateImportAccess,
    /// `rotation`
    Rotation,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::DualAuthDelete,
        Self::AllowedNetwork,
        Self::AllowedIp,
        Self::Metrics,
        Self::KeyCreateImportAccess,
        Self::Rotation,
    ];

    /// Returns the name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::DualAuthDelete => "dualAuthDelete",
            Self::AllowedNetwork => "allowedNetwork",
            Self::AllowedIp => "allowedIP",
            Self::Metrics => "metrics",
            Self::KeyCreateImportAccess => "keyCreateImportAccess",
            Self::Rotation => "rotation",
        }
    }

    /// Finds the kind of a name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What may be made or brought along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyCreateImportAccess {
    /// Root keys may be made.
    pub create_root_key: bool,
    /// Standard keys may be made.
    pub create_standard_key: bool,
    /// Root keys may be brought along.
    pub import_root_key: bool,
    /// Standard keys may be brought along.
    pub import_standard_key: bool,
    /// What is brought along must come encrypted by an import token.
    pub enforce_token: bool,
}

impl Default for KeyCreateImportAccess {
    fn default() -> Self {
        Self {
            create_root_key: true,
            create_standard_key: true,
            import_root_key: true,
            import_standard_key: true,
            enforce_token: false,
        }
    }
}

/// A network in CIDR notation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    text: String,
    address: u128,
    bits: u32,
    v4: bool,
}

impl Network {
    /// Reads `10.0.0.0/8`; an address alone is a network of one.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text
            .split_once('/')
            .map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().ok()?;
        let size = if address.is_ipv4() { 32 } else { 128 };
        let bits = prefix.map_or(Some(size), |prefix| prefix.parse().ok())?;
        (bits <= size).then(|| Self {
            text: text.to_owned(),
            address: number(address),
            bits,
            v4: address.is_ipv4(),
        })
    }

    /// Says whether the address is in the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let size = if self.v4 { 32 } else { 128 };
        let beside = size - self.bits;
        let front = |number: u128| number.checked_shr(beside).unwrap_or(0);
        address.is_ipv4() == self.v4 && front(number(address)) == front(self.address)
    }

    /// Returns the text that it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// What a policy says, beside whether it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attributes {
    /// Nothing (dualAuthDelete, metrics).
    None,
    /// `public-and-private` or `private-only`.
    AllowedNetwork(String),
    /// Where callers may be.
    AllowedIp(Vec<Network>),
    /// What may be made or brought along.
    KeyCreateImportAccess(KeyCreateImportAccess),
    /// How many months new root keys have between rotations.
    Rotation(u8),
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstancePolicy {
    /// Who and when.
    pub stamp: Stamp,
    /// Whether it is on.
    pub enabled: bool,
    /// What it says.
    pub attributes: Attributes,
}

/// A policy to be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstancePolicyChange {
    /// Which.
    pub kind: Kind,
    /// Whether it is to be on.
    pub enabled: bool,
    /// What it is to say.
    pub attributes: Attributes,
}

/// The policies of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstancePolicies(BTreeMap<Kind, InstancePolicy>);

impl InstancePolicies {
    /// Returns the policies that were set.
    pub fn all(&self) -> impl Iterator<Item = (Kind, &InstancePolicy)> {
        self.0.iter().map(|(kind, policy)| (*kind, policy))
    }

    /// Sets policies.
    pub fn set(&mut self, changes: Vec<InstancePolicyChange>, by: &str, now: Timestamp) {
        for change in changes {
            let before = self.0.get(&change.kind).map(|policy| &policy.stamp);
            let policy = InstancePolicy {
                stamp: Stamp::renewed(before, by, now),
                enabled: change.enabled,
                attributes: change.attributes,
            };
            self.0.insert(change.kind, policy);
        }
    }

    fn in_force(&self, kind: Kind) -> Option<&Attributes> {
        self.0
            .get(&kind)
            .filter(|policy| policy.enabled)
            .map(|policy| &policy.attributes)
    }

    /// Says whether new keys need two people for their deletion.
    pub fn new_keys_need_two(&self) -> bool {
        self.in_force(Kind::DualAuthDelete).is_some()
    }

    /// Returns how many months new root keys have between rotations.
    pub fn rotation_of_new_keys(&self) -> Option<u8> {
        match self.in_force(Kind::Rotation) {
            Some(Attributes::Rotation(months)) => Some(*months),
            _ => None,
        }
    }

    /// Refuses a caller by where it is, when that is known, and by whether it
    /// came by a private endpoint.
    pub fn check_network(&self, peer: Option<IpAddr>, private: bool) -> Result<(), Refusal> {
        if let Some(Attributes::AllowedNetwork(network)) = self.in_force(Kind::AllowedNetwork)
            && network == PRIVATE_ONLY
            && !private
        {
            return Err(Refusal::because(
                403,
                "CONFIG_RULE_CONFLICT_ERR",
                "Requested change is not compliant with configuration rules.",
            ));
        }
        let (Some(Attributes::AllowedIp(networks)), Some(peer)) =
            (self.in_force(Kind::AllowedIp), peer)
        else {
            return Ok(());
        };
        if private && peer.to_canonical().is_ipv6() {
            return Err(Refusal::because(
                403,
                "FEATURE_RESTRICTED_ERR",
                "This action is not permitted on this resource: allowed IP addresses of private \
                 endpoints are of IPv4.",
            ));
        }
        if networks.iter().any(|network| network.contains(peer)) {
            return Ok(());
        }
        Err(Refusal::no_access())
    }

    /// Refuses a key that may not be made or brought along.
    pub fn check_creation(
        &self,
        class: KeyClass,
        imported: bool,
        token: bool,
    ) -> Result<(), Refusal> {
        let Some(Attributes::KeyCreateImportAccess(access)) =
            self.in_force(Kind::KeyCreateImportAccess)
        else {
            return Ok(());
        };
        let allowed = match (class, imported) {
            (KeyClass::Root, false) => access.create_root_key,
            (KeyClass::Standard, false) => access.create_standard_key,
            (KeyClass::Root, true) => access.import_root_key,
            (KeyClass::Standard, true) => access.import_standard_key,
        };
        if allowed && (!imported || token || !access.enforce_token) {
            return Ok(());
        }
        Err(Refusal::because(
            409,
            "KEY_CREATE_IMPORT_ACCESS_ERR",
            "KeyCreateImportAccess instance policy does not allow this action.",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(kind: Kind, attributes: Attributes) -> InstancePolicies {
        let mut policies = InstancePolicies::default();
        let change = InstancePolicyChange {
            kind,
            enabled: true,
            attributes,
        };
        policies.set(vec![change], "me", Timestamp::UNIX_EPOCH);
        policies
    }

    #[test]
    fn creation_and_import_are_allowed_one_by_one() {
        use KeyClass::{Root, Standard};
        let access = KeyCreateImportAccess {
            create_standard_key: false,
            import_root_key: false,
            enforce_token: true,
            ..KeyCreateImportAccess::default()
        };
        let policies = with(
            Kind::KeyCreateImportAccess,
            Attributes::KeyCreateImportAccess(access),
        );
        for (class, imported, token, allowed) in [
            (Root, false, false, true),
            (Standard, false, false, false),
            (Root, true, true, false),
            (Standard, true, false, false),
            (Standard, true, true, true),
        ] {
            let outcome = policies.check_creation(class, imported, token);
            assert_eq!(outcome.is_ok(), allowed, "{class:?} {imported} {token}");
        }
        assert!(
            InstancePolicies::default()
                .check_creation(Standard, true, false)
                .is_ok()
        );
    }

    #[test]
    fn networks_hold_the_addresses_that_their_prefix_says() {
        for (network, address, inside) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "203.0.113.7", true),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("::/0", "192.0.2.2", false),
            ("::/0", "::1", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("127.0.0.0/8", "::ffff:127.0.0.1", true),
        ] {
            let parsed = Network::parse(network).unwrap();
            assert_eq!(
                parsed.contains(address.parse().unwrap()),
                inside,
                "{address} in {network}"
            );
        }
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "10.0.0.0/x",
            "host",
        ] {
            assert!(Network::parse(bad).is_none(), "{bad}");
        }
    }
}
