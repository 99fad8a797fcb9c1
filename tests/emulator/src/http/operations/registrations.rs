//! Registrations, which the API only shows: the admin port makes them.

use serde_json::{Value, json};

use super::{add, collection};
use crate::domain::access::Action;
use crate::domain::key::Key;
use crate::domain::modes::date;
use crate::domain::refusal::Refusal;
use crate::domain::registrations::{Registration, crn_fits};
use crate::domain::state::KeyClass;
use crate::http::answer::Answer;
use crate::http::calls::Admitted;

const REGISTRATION_TYPE: &str = "application/vnd.ibm.kms.registration+json";

/// GET the registrations of a key.
pub fn of_key(admitted: &Admitted<'_>, id: &str) -> Result<Answer, Refusal> {
    if admitted.instance.key(id)?.class == KeyClass::Standard {
        return Err(Refusal::root_key_required());
    }
    answer(admitted, Some(id))
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
    let newest = key.versions.newest();
    let mut row = json!({
        "keyId": key.id,
        "keyName": key.name,
        "resourceCrn": registration.resource_crn,
        "createdBy": "iam-ServiceId-admin",
        "creationDate": date(registration.creation_date),
        "lastUpdated": date(registration.creation_date),
        "preventKeyDeletion": registration.prevent_key_deletion,
        "keyVersion": { "id": newest.id, "creationDate": date(newest.creation_date) },
    });
    add(&mut row, "description", registration.description.as_deref());
    row
}
