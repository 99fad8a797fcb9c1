//! Policies of keys and of the instance.

use serde_json::{Value, json};

use super::{add, read_type};
use crate::domain::access::Action;
use crate::domain::key::{Key, RotationView};
use crate::domain::modes::date;
use crate::domain::policies::instance::{Attributes, InstancePolicy, Kind, Network};
use crate::domain::policies::{POLICY_TYPE, Stamp};
use crate::domain::refusal::Refusal;
use crate::http::answer::{Answer, envelope};
use crate::http::body::policies as body;
use crate::http::calls::Admitted;

const KEY_POLICIES: [&str; 2] = ["dualAuthDelete", "rotation"];
/// The port of the private endpoint, where an allowed-IP policy gives it one.
const PRIVATE_PORT: u16 = 8888;

/// GET a key's policies.
pub fn of_key(admitted: &Admitted<'_>, id: &str) -> Result<Answer, Refusal> {
    let wanted = wanted(admitted, &KEY_POLICIES)?;
    let key = admitted.instance.key(id)?;
    let media_type = read_type(admitted, POLICY_TYPE);
    Ok(key_policies(admitted, media_type, key, wanted))
}

/// PUT a key's policies.
pub fn set_of_key(admitted: &mut Admitted<'_>, id: &str) -> Result<Answer, Refusal> {
    let call = admitted.call;
    let wanted = wanted(admitted, &KEY_POLICIES)?.map(str::to_owned);
    let change = body::of_key(&call.body)?;
    let named = [
        ("dualAuthDelete", change.dual_auth_delete.is_some()),
        ("rotation", change.rotation.is_some()),
    ];
    if let Some(wanted) = &wanted
        && named.iter().any(|(name, given)| *given != (name == wanted))
    {
        return Err(body_unlike_query());
    }
    admitted
        .instance
        .set_key_policies(id, &change, &admitted.caller, &call.random, call.now)?;
    let key = admitted.instance.key(id)?;
    Ok(key_policies(admitted, POLICY_TYPE, key, wanted.as_deref()))
}

fn key_policies(
    admitted: &Admitted<'_>,
    media_type: &'static str,
    key: &Key,
    wanted: Option<&str>,
) -> Answer {
    let crn = &admitted.instance.crn;
    let head = |id: &str, stamp: &Stamp| {
        json!({
            "id": id,
            "crn": format!("{}policy:{id}", crn.strip_suffix(':').unwrap_or(crn)),
            "type": POLICY_TYPE,
            "creationDate": date(stamp.creation_date),
            "createdBy": stamp.created_by,
            "lastUpdateDate": date(stamp.last_update),
            "updatedBy": stamp.updated_by,
        })
    };
    let mut resources = Vec::new();
    if let Some(policy) = &key.policies.dual_auth_delete
        && wanted.is_none_or(|wanted| wanted == "dualAuthDelete")
    {
        let mut row = head(&policy.id, &policy.stamp);
        row["dualAuthDelete"] = json!({ "enabled": policy.rule });
        resources.push(row);
    }
    if let Some(policy) = &key.policies.rotation
        && wanted.is_none_or(|wanted| wanted == "rotation")
    {
        let mut row = head(&policy.id, &policy.stamp);
        row["rotation"] = json!(RotationView::from(policy.rule));
        resources.push(row);
    }
    Answer::json(200, media_type, &envelope(POLICY_TYPE, &resources))
}

/// GET the instance's policies.
pub fn of_instance(admitted: &Admitted<'_>) -> Result<Answer, Refusal> {
    admitted.require(Action::Manage)?;
    let wanted = wanted(admitted, &Kind::ALL.map(Kind::name))?;
    let policies = admitted.instance.policies.all();
    let resources: Vec<Value> = policies
        .filter(|(kind, _)| wanted.is_none_or(|wanted| wanted == kind.name()))
        .map(|(kind, policy)| instance_policy(kind, policy))
        .collect();
    let media_type = read_type(admitted, POLICY_TYPE);
    Ok(Answer::json(
        200,
        media_type,
        &envelope(POLICY_TYPE, &resources),
    ))
}

fn instance_policy(kind: Kind, policy: &InstancePolicy) -> Value {
    let attributes = match &policy.attributes {
        Attributes::None => None,
        Attributes::AllowedNetwork(network) => Some(json!({ "allowed_network": network })),
        Attributes::AllowedIp(networks) => {
            let texts: Vec<&str> = networks.iter().map(Network::text).collect();
            Some(json!({ "allowed_ip": texts }))
        }
        Attributes::KeyCreateImportAccess(access) => Some(json!({
            "create_root_key": access.create_root_key,
            "create_standard_key": access.create_standard_key,
            "import_root_key": access.import_root_key,
            "import_standard_key": access.import_standard_key,
            "enforce_token": access.enforce_token,
        })),
        Attributes::Rotation(months) => Some(json!({ "interval_month": months })),
    };
    let mut data = json!({ "enabled": policy.enabled });
    add(&mut data, "attributes", attributes);
    let stamp = &policy.stamp;
    json!({
        "creationDate": date(stamp.creation_date),
        "createdBy": stamp.created_by,
        "lastUpdated": date(stamp.last_update),
        "updatedBy": stamp.updated_by,
        "policy_type": kind.name(),
        "policy_data": data,
    })
}

/// PUT the instance's policies.
pub fn set_of_instance(admitted: &mut Admitted<'_>) -> Result<Answer, Refusal> {
    admitted.require(Action::Manage)?;
    let call = admitted.call;
    let wanted = wanted(admitted, &Kind::ALL.map(Kind::name))?;
    let changes = body::of_instance(&call.body, wanted)?;
    admitted
        .instance
        .policies
        .set(changes, &admitted.caller, call.now);
    Ok(Answer::empty(204))
}

/// GET the port that an allowed-IP policy gives the private endpoint.
pub fn allowed_ip_port(admitted: &Admitted<'_>) -> Result<Answer, Refusal> {
    admitted.require(Action::Read)?;
    let media_type = "application/vnd.ibm.kms.allowed_ip_metadata+json";
    let in_force = admitted.instance.policies.all();
    let resources: Vec<Value> = in_force
        .filter(|(kind, policy)| *kind == Kind::AllowedIp && policy.enabled)
        .map(|_| json!({ "private_endpoint_port": PRIVATE_PORT }))
        .collect();
    let read_type = read_type(admitted, media_type);
    Ok(Answer::json(
        200,
        read_type,
        &envelope(media_type, &resources),
    ))
}

/// Reads which policy the query asks for.
fn wanted<'a>(admitted: &Admitted<'a>, known: &[&str]) -> Result<Option<&'a str>, Refusal> {
    let wanted = admitted
        .call
        .query("policy")
        .filter(|name| !name.is_empty());
    match wanted {
        Some(name) if !known.contains(&name) => {
            Err(Refusal::field("policy", format!("{name} is no policy.")))
        }
        wanted => Ok(wanted),
    }
}

/// The refusal for a body with another policy than the query asks for.
fn body_unlike_query() -> Refusal {
    Refusal::because(
        400,
        "BODY_QUERY_PARAM_MISMATCH_ERR",
        "Data in body does not match data required by query parameter",
    )
}
