//! Registrations, which anybody may see and only services change.

use serde_json::{Value, json};

use super::{add, collection};
use crate::domain::access::Action;
use crate::domain::key::Key;
use crate::domain::modes::date;
use crate::domain::refusal::Refusal;
use crate::domain::registrations::{Registration, crn_fits, service_of};
use crate::domain::state::KeyClass;
use crate::http::answer::{Answer, envelope};
use crate::http::body;
use crate::http::calls::Admitted;
use crate::http::route::Operation;

const INPUT: [&str; 4] = [
    "description",
    "registrationMetadata",
    "preventKeyDeletion",
    "keyVersionId",
];

const REGISTRATION_TYPE: &str = "application/vnd.ibm.kms.registration+json";

/// GET the registrations of a key.
pub fn of_key(admitted: &Admitted<'_>, id: &str) -> Result<Answer, Refusal> {
    if admitted.instance.key(id)?.class == KeyClass::Standard {
        return Err(Refusal::root_key_required());
    }
    answer(admitted, Some(id))
}

/// POST, PUT, PATCH or DELETE a registration, which a service does for a
/// resource of its own.
pub fn change(admitted: &mut Admitted<'_>, id: &str) -> Result<Answer, Refusal> {
    let call = admitted.call;
    let (crn, now) = (call.item(), call.now);
    let Some(service) = &admitted.service else {
        return Err(Refusal::service_only());
    };
    if service_of(crn) != Some(service) {
        return Err(Refusal::of_another_service());
    }
    let instance = &mut *admitted.instance;
    let (status, registration) = match call.route.operation {
        Operation::DeleteRegistration => {
            instance.deregister(id, crn)?;
            return Ok(Answer::empty(204));
        }
        Operation::CreateRegistration => {
            let change = body::registration(&call.body, &INPUT)?;
            let made = instance.register(id, crn, change, &admitted.caller, now)?;
            (201, made.clone())
        }
        Operation::ReplaceRegistration => {
            let change = body::registration(&call.body, &INPUT)?;
            let replaced = instance.replace_registration(id, crn, change, now)?;
            (200, replaced.clone())
        }
        _ => {
            let change = body::registration(&call.body, &INPUT)?;
            let updated = instance.update_registration(id, crn, change, now)?;
            (200, updated.clone())
        }
    };
    let rows = [row(&registration, admitted.instance.key(id)?)];
    let body = envelope(REGISTRATION_TYPE, &rows);
    Ok(Answer::json(status, REGISTRATION_TYPE, &body))
}

/// GET the registrations of every key that the caller may list.
pub fn of_all(admitted: &Admitted<'_>) -> Result<Answer, Refusal> {
    if !admitted.rights.anywhere(Action::List) {
        return Err(Refusal::no_access());
    }
    answer(admitted, None)
}

fn answer(admitted: &Admitted<'_>, id: Option<&str>) -> Result<Answer, Refusal> {
    let call = admitted.call;
    let crn = call.query("urlEncodedResourceCRNQuery");
    let prevents = match call.query("preventKeyDeletion") {
        None | Some("") => None,
        Some(text) => Some(
            text.to_ascii_lowercase()
                .parse::<bool>()
                .map_err(|_| Refusal::field("preventKeyDeletion", "Either true or false."))?,
        ),
    };
    let ring = call.header("x-kms-key-ring");
    let wanted = |registration: &Registration, key: &Key| {
        let listed = admitted.rights.lists_key(&key.id, &key.ring, false);
        id.map_or(listed, |id| id == key.id)
            && ring.is_none_or(|ring| ring == key.ring)
            && crn.is_none_or(|query| crn_fits(query, &registration.resource_crn))
            && prevents.is_none_or(|prevents| prevents == registration.prevent_key_deletion)
    };
    let rows: Vec<Value> = admitted
        .instance
        .registrations
        .iter()
        .filter_map(|registration| {
            let key = admitted.instance.keys.get(&registration.key)?;
            wanted(registration, key).then(|| row(registration, key))
        })
        .collect();
    collection(admitted, REGISTRATION_TYPE, rows, 200)
}

fn row(registration: &Registration, key: &Key) -> Value {
    let (version, since) = &registration.version;
    let mut row = json!({
        "keyId": key.id,
        "keyName": key.name,
        "resourceCrn": registration.resource_crn,
        "createdBy": registration.created_by,
        "creationDate": date(registration.creation_date),
        "lastUpdated": date(registration.last_update),
        "preventKeyDeletion": registration.prevent_key_deletion,
        "keyVersion": { "id": version, "creationDate": date(*since) },
    });
    add(&mut row, "description", registration.description.as_deref());
    row
}
