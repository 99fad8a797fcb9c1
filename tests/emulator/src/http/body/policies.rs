//! Bodies of the operations on policies.

use serde_json::Value;

use super::{Fields, boolean, fields, inner, integer, resources, text, texts};
use crate::domain::policies::check_interval;
use crate::domain::policies::instance::{
    Attributes, InstancePolicyChange, KeyCreateImportAccess, Kind, Network,
};
use crate::domain::policies::key::{KeyPolicyChange, RotationChange};
use crate::domain::refusal::Refusal;

/// Reads policies of a key: one resource for each, or one for both.
pub fn of_key(body: &[u8]) -> Result<KeyPolicyChange, Refusal> {
    let mut change = KeyPolicyChange::default();
    for resource in resources(body)? {
        let mut fields = fields(resource, &["type", "dualAuthDelete", "rotation"])?;
        let one = self::change(&mut fields)?;
        let twice = (one.dual_auth_delete.is_some() && change.dual_auth_delete.is_some())
            || (one.rotation.is_some() && change.rotation.is_some());
        if twice || (one.dual_auth_delete.is_none() && one.rotation.is_none()) {
            return Err(Refusal::bad_body(
                "Each resource is one policy, and each policy once.",
            ));
        }
        change = KeyPolicyChange {
            dual_auth_delete: one.dual_auth_delete.or(change.dual_auth_delete),
            rotation: one.rotation.or(change.rotation),
        };
    }
    if change == KeyPolicyChange::default() {
        return Err(Refusal::bad_body("The body has no policy."));
    }
    Ok(change)
}

/// Reads the policies out of a resource that may have others fields.
pub(super) fn change(resource: &mut Fields) -> Result<KeyPolicyChange, Refusal> {
    let mut change = KeyPolicyChange::default();
    if let Some(mut dual) = inner(resource, "dualAuthDelete", &["enabled"])? {
        change.dual_auth_delete = Some(required(&mut dual)?);
    }
    if let Some(mut rotation) = inner(resource, "rotation", &["enabled", "interval_month"])? {
        change.rotation = Some(RotationChange {
            enabled: boolean(&mut rotation, "enabled")?,
            // IBM's Go client sends -1 for none.
            interval_month: integer(&mut rotation, "interval_month")?
                .filter(|months| *months != -1),
        });
    }
    Ok(change)
}

fn required(fields: &mut Fields) -> Result<bool, Refusal> {
    boolean(fields, "enabled")?
        .ok_or_else(|| Refusal::field("enabled", "A policy is enabled or not."))
}

/// Reads policies of an instance; `wanted` is the one that the query names.
pub fn of_instance(
    body: &[u8],
    wanted: Option<&str>,
) -> Result<Vec<InstancePolicyChange>, Refusal> {
    let mut changes: Vec<InstancePolicyChange> = Vec::new();
    let resources = resources(body)?;
    if resources.is_empty() {
        return Err(Refusal::bad_body("The body has no policy."));
    }
    if wanted.is_some() && resources.len() > 1 {
        return Err(Refusal::because(
            400,
            "NUM_COLLECTION_RESOURCE_ERR",
            "Only a single instance policy may be set with the query parameter.",
        ));
    }
    for resource in resources {
        let change = instance_policy(resource, wanted)?;
        if changes.iter().any(|other| other.kind == change.kind) {
            return Err(Refusal::bad_body("Only one of each policy can be set."));
        }
        changes.push(change);
    }
    Ok(changes)
}

fn instance_policy(resource: Value, wanted: Option<&str>) -> Result<InstancePolicyChange, Refusal> {
    let mut fields = fields(resource, &["policy_type", "policy_data"])?;
    let name = text(&mut fields, "policy_type")?.unwrap_or_default();
    if wanted.is_some_and(|wanted| wanted != name) {
        return Err(Refusal::because(
            400,
            "BODY_QUERY_PARAM_MISMATCH_ERR",
            "Data in body does not match data required by query parameter",
        ));
    }
    let Some(kind) = Kind::of(&name) else {
        return Err(Refusal::field(
            "policy_type",
            format!("{name} is no policy."),
        ));
    };
    let Some(mut data) = inner(&mut fields, "policy_data", &["enabled", "attributes"])? else {
        return Err(Refusal::field("policy_data", "A policy has data."));
    };
    let enabled = required(&mut data)?;
    let attributes = inner(&mut data, "attributes", known_attributes(kind))?.unwrap_or_default();
    Ok(InstancePolicyChange {
        kind,
        enabled,
        attributes: self::attributes(kind, enabled, attributes)?,
    })
}

fn known_attributes(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::DualAuthDelete | Kind::Metrics => &[],
        Kind::AllowedNetwork => &["allowed_network"],
        Kind::AllowedIp => &["allowed_ip"],
        Kind::KeyCreateImportAccess => &[
            "create_root_key",
            "create_standard_key",
            "import_root_key",
            "import_standard_key",
            "enforce_token",
        ],
        Kind::Rotation => &["interval_month"],
    }
}

/// Reads what a policy says; a policy that is off may say nothing.
fn attributes(kind: Kind, enabled: bool, mut fields: Fields) -> Result<Attributes, Refusal> {
    if !enabled && fields.is_empty() {
        return Ok(Attributes::None);
    }
    match kind {
        Kind::DualAuthDelete | Kind::Metrics => Ok(Attributes::None),
        Kind::AllowedNetwork => match text(&mut fields, "allowed_network")? {
            Some(network) if matches!(&*network, "public-and-private" | "private-only") => {
                Ok(Attributes::AllowedNetwork(network))
            }
            _ => Err(Refusal::field(
                "allowed_network",
                "Either public-and-private or private-only.",
            )),
        },
        Kind::AllowedIp => texts(&mut fields, "allowed_ip")?
            .iter()
            .map(|text| Network::parse(text))
            .collect::<Option<Vec<_>>>()
            .filter(|networks| !networks.is_empty())
            .map(Attributes::AllowedIp)
            .ok_or_else(|| Refusal::field("allowed_ip", "Subnets in CIDR notation.")),
        Kind::KeyCreateImportAccess => {
            let default = KeyCreateImportAccess::default();
            let mut get = |name, default| Ok(boolean(&mut fields, name)?.unwrap_or(default));
            Ok(Attributes::KeyCreateImportAccess(KeyCreateImportAccess {
                create_root_key: get("create_root_key", default.create_root_key)?,
                create_standard_key: get("create_standard_key", default.create_standard_key)?,
                import_root_key: get("import_root_key", default.import_root_key)?,
                import_standard_key: get("import_standard_key", default.import_standard_key)?,
                enforce_token: get("enforce_token", default.enforce_token)?,
            }))
        }
        Kind::Rotation => {
            let months = integer(&mut fields, "interval_month")?.unwrap_or_default();
            check_interval(months).map(Attributes::Rotation)
        }
    }
}
