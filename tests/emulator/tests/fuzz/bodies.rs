//! Bodies: those that the documentation has, and what becomes of them.

use serde_json::{Map, Value, json};

use crate::dice::Dice;
use crate::requests::Known;

/// Material that OpenSSL encrypted by the import tokens' public key.
const SEALED: &str = include_str!("../../src/domain/vectors/oaep_sha256.b64");

#[allow(clippy::needless_pass_by_value)] // It reads better where it is called.
fn envelope(resource: Value) -> Value {
    json!({ "metadata": { "collectionType": "application/vnd.ibm.kms.key+json",
                          "collectionTotal": 1 }, "resources": [resource] })
}

/// A body of the API, as a client would send one: mostly one that fits the path.
pub(crate) fn of_api(dice: &mut Dice, known: &Known, path: &str) -> Value {
    let key = known.key(dice);
    let fitting = match path {
        "keys" => dice.below(5),
        "keys_with_policy_overrides" => 5,
        "keys/{key}" => dice.below(16),
        "import_token" => 13,
        "instance/policies" => 11,
        "kmip_adapters" => 14,
        "PATCH" => 10,
        path if path.ends_with("/wrap") => 6,
        path if path.ends_with("wrap") => 7,
        path if path.ends_with("/policies") => 12,
        path if path.ends_with("/certificates") => 15,
        path if path.ends_with("/{crn}") => 17,
        path if path.ends_with("/rotate") && dice.once_in(2) => 18,
        path if path.ends_with("/restore") && dice.once_in(3) => 19,
        _ => 16,
    };
    let kind = if dice.once_in(6) {
        dice.below(20)
    } else {
        fitting
    };
    match kind {
        0..=3 => envelope(
            json!({ "type": "application/vnd.ibm.kms.key+json", "name": "a name",
            "extractable": dice.once_in(2), "aliases": [format!("alias-{}", dice.below(9))] }),
        ),
        4 => envelope(
            json!({ "name": "imported", "payload": "MTIzNDU2Nzg5MDEyMzQ1Ng==",
            "extractable": dice.once_in(2), "tags": ["one", "two"], "description": "some text",
            "expirationDate": "2026-12-24T00:00:00.5+01:00" }),
        ),
        5 => envelope(json!({ "name": "governed", "extractable": false,
            "dualAuthDelete": { "enabled": dice.once_in(2) },
            "rotation": { "enabled": true, "interval_month": dice.number() } })),
        6 => json!({ "plaintext": "cGxhaW4=", "aad": ["one", "two"] }),
        7 | 8 => json!({ "ciphertext": known.ciphertext.clone().unwrap_or_default() }),
        16 => json!({}),
        17 => {
            let mut registration = json!({ "description": "a bucket",
                "preventKeyDeletion": dice.once_in(4) });
            if dice.once_in(3) {
                registration["keyVersionId"] = json!(key);
            }
            envelope(registration)
        }
        18 | 19 => {
            let material = json!({ "payload": dice.pick(&[SEALED.trim(), "MTIzNDU2Nzg5MDEyMzQ1Ng=="]),
                "encryptedNonce": "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkw", "iv": "MTIzNDU2Nzg5MDEy" });
            if kind == 19 {
                envelope(material)
            } else {
                material
            }
        }
        9 => json!({ "payload": "MTIzNDU2Nzg5MDEyMzQ1Ng==" }),
        10 => json!({ "keyRingID": dice.pick(&["default", "ring-a", "ring-b"]) }),
        11 => envelope(
            json!({ "policy_type": dice.pick(&["allowedIP", "metrics", "rotation",
                "dualAuthDelete", "allowedNetwork", "keyCreateImportAccess"]),
            "policy_data": { "enabled": dice.once_in(2), "attributes": dice.pick(&[
                &json!({ "allowed_ip": ["127.0.0.0/8", "::1/128", "10.0.0.0/33"] }),
                &json!({ "interval_month": 3 }), &json!({ "allowed_network": "private-only" }),
                &json!({ "create_root_key": false, "enforce_token": true }), &json!({}),
            ]) } }),
        ),
        12 => envelope(json!({ "dualAuthDelete": { "enabled": true } })),
        13 => json!({ "expiration": dice.number(), "maxAllowedRetrievals": dice.number() }),
        14 => envelope(json!({ "name": "adapter", "profile": "native_1.0",
            "profile_data": { "crk_id": key } })),
        _ => envelope(json!({ "name": "certificate",
            "certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----" })),
    }
}

/// A body of the admin port. Nothing in it makes the emulator wait for long.
pub(crate) fn of_admin(dice: &mut Dice, known: &Known) -> Value {
    match dice.below(15) {
        0 => json!({ "offsetSeconds": dice.number() }),
        1 => json!({ "rate": dice.pick(&[&json!(0), &json!(60), &json!(1e308), &json!(-1)]) }),
        2 => json!({ "seconds": dice.number() }),
        3 => modes(dice),
        4 => fault(dice, known),
        5 => json!({ "name": "key", "extractable": dice.once_in(2), "keyRing": "ring-b",
            "aliases": [format!("alias-{}", dice.below(9))],
            "expirationDate": dice.pick(&["1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]),
            "creationDate": dice.pick(&["1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]) }),
        6 => json!({ "count": dice.below(20), "prefix": "many" }),
        7 => {
            json!({ "state": dice.pick(&["active", "suspended", "deactivated", "deleted", "purged"]) })
        }
        8 => json!({ "keyRing": dice.pick(&["default", "ring-a", "ring-b"]) }),
        9 => json!({ "keyId": known.key(dice) }),
        10 => json!({ "resourceCrn": "crn:v1:a:b", "preventKeyDeletion": dice.once_in(3) }),
        12 => {
            json!({ "damage": dice.pick(&[&json!("metadata"), &json!("signature"), &Value::Null]) })
        }
        13 => {
            json!({ "ageSeconds": dice.below(90), "readOnlySeconds": dice.below(3) })
        }
        11 => json!({ "expirationDate": dice.pick(&["1970-01-01T00:00:00Z", "x"]) }),
        _ => json!({ "roles": [{ "instance": crate::INSTANCES[0], "role": "Manager" }] }),
    }
}

fn modes(dice: &mut Dice) -> Value {
    const SECONDS: [&str; 9] = [
        "newKeyHiddenSeconds",
        "aliasDeletionDelaySeconds",
        "ringMoveDelaySeconds",
        "roleChangeDelaySeconds",
        "expiryPassSeconds",
        "payloadDelaySeconds",
        "tokenExpirationSkewSeconds",
        "deletedReadsAs3Seconds",
        "historySeconds",
    ];
    const SWITCHES: [&str; 12] = [
        "codeInErrorMsg",
        "listOmitsAliases",
        "listEmpty",
        "listHalf",
        "listDisagrees",
        "listShowsSingleGrants",
        "wwwAuthenticate",
        "readMediaType",
        "payloadEmpty",
        "payloadLineBreaks",
        "readOnly",
        "echoCorrelationId",
    ];
    let mut modes = Map::new();
    for _ in 0..=dice.below(4) {
        modes.insert(dice.pick(&SECONDS).to_owned(), json!(dice.number()));
        modes.insert(dice.pick(&SWITCHES).to_owned(), json!(dice.once_in(2)));
    }
    if dice.once_in(4) {
        modes.insert("tokenExpiresIn".to_owned(), json!(dice.number()));
        modes.insert("pageDelayMs".to_owned(), json!(dice.below(3)));
        modes.insert(
            "deletedGet".to_owned(),
            json!(dice.pick(&[&200, &410, &0, &999])),
        );
        modes.insert("aliasesPerInstance".to_owned(), json!(dice.below(9)));
        modes.insert(
            "deletedReadsAs3In".to_owned(),
            json!(dice.pick(&["everywhere", "lists", "reads", "x"])),
        );
        modes.insert(
            "missingInstanceCode".to_owned(),
            json!(dice.pick(&["INVALID_FIELD_ERR", "none", "x"])),
        );
        modes.insert(
            "unknownInstance".to_owned(),
            json!(dice.pick(&[&404, &401, &7])),
        );
    }
    Value::Object(modes)
}

fn fault(dice: &mut Dice, known: &Known) -> Value {
    let effect = match dice.below(7) {
        0 => {
            json!({ "status": dice.pick(&[&429, &503, &200, &99, &600, &1000]), "retryAfter": dice.number() })
        }
        1 => json!({ "body": dice.pick(&["html", "empty", "truncatedJson", "halfBody"]) }),
        2 => json!({ "body": { "raw": dice.text(20) } }),
        3 => json!({ "cut": dice.pick(&["beforeResponse", "midBody", "connection"]) }),
        4 => json!({ "delayMs": dice.below(5), "code": dice.text(9) }),
        5 => json!({ "headers": { dice.text(6): dice.text(6), "content-length": "3" } }),
        _ => json!({ "status": 401, "retryAfter": dice.text(9) }),
    };
    let mut fault = json!({ "effect": effect, "times": dice.below(3), "skip": dice.below(3) });
    if dice.once_in(2) {
        fault["match"] = json!({ "operation": ["get", "list"], "keyId": known.key(dice) });
    }
    if dice.once_in(3) {
        fault["probability"] = json!(dice.pick(&[&0.5, &-1.0, &2.0]));
    }
    fault
}

/// Changes a body somewhere, so that it is JSON still.
pub(crate) fn mutate(dice: &mut Dice, value: &mut Value) {
    match value {
        Value::Object(object) if !object.is_empty() && !dice.once_in(4) => {
            let at = dice.below(object.len());
            let name = object.keys().nth(at).unwrap().clone();
            match dice.below(6) {
                0 => drop(object.remove(&name)),
                1 => {
                    let moved = object.remove(&name).unwrap();
                    object.insert(name.to_uppercase(), moved);
                }
                2 => drop(object.insert(dice.text(8), json!(dice.number()))),
                _ => mutate(dice, object.get_mut(&name).unwrap()),
            }
        }
        Value::Array(array) if !array.is_empty() && !dice.once_in(3) => {
            let at = dice.below(array.len());
            if dice.once_in(3) {
                let copy = array[at].clone();
                array.push(copy);
            } else {
                mutate(dice, &mut array[at]);
            }
        }
        _ => *value = scalar(dice),
    }
}

/// Takes the waiting out of a body, however it got in.
pub(crate) fn hasten(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (name, member) in object {
                if matches!(name.as_str(), "delayMs" | "pageDelayMs") {
                    *member = json!(2);
                }
                hasten(member);
            }
        }
        Value::Array(array) => array.iter_mut().for_each(hasten),
        _ => {}
    }
}

fn scalar(dice: &mut Dice) -> Value {
    match dice.below(9) {
        0 => Value::Null,
        1 => json!(dice.once_in(2)),
        2 => json!(dice.number()),
        3 => json!(1.5e300),
        4 => json!("x".repeat(dice.below(12_000))),
        5 => json!([]),
        6 => json!({}),
        7 => json!(u64::MAX),
        _ => json!(dice.text(90)),
    }
}
