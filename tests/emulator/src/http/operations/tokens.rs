//! IAM's token endpoint.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::http::answer::{Answer, JSON};
use crate::http::calls::{Call, Trace};
use crate::iam::profile::distrust;
use crate::iam::token::{Bearer, Claims};
use crate::world::World;

const APIKEY_GRANT: &str = "urn:ibm:params:oauth:grant-type:apikey";
const CR_TOKEN_GRANT: &str = "urn:ibm:params:oauth:grant-type:cr-token";
const FORM: &str = "application/x-www-form-urlencoded";

/// An error of IAM.
struct Denial {
    status: u16,
    code: &'static str,
    message: String,
}

fn denial(status: u16, code: &'static str, message: impl Into<String>) -> Denial {
    Denial {
        status,
        code,
        message: message.into(),
    }
}

/// Serves a request for a token.
pub fn token(world: &World, call: &Call, trace: &mut Trace) -> Answer {
    match issue(world, call, trace) {
        Ok(body) => Answer::json(200, JSON, &body),
        Err(denial) => refuse(call, denial.status, denial.code, &denial.message),
    }
}

fn issue(world: &World, call: &Call, trace: &mut Trace) -> Result<Value, Denial> {
    // A key in the URL would be in every log on the way.
    if call
        .query
        .iter()
        .any(|(name, _)| name == "apikey" || name == "grant_type")
    {
        return Err(denial(
            400,
            "BXNIM0109E",
            "Parameters are not accepted in the URL.",
        ));
    }
    let media_type = call.header("content-type").unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case(FORM) {
        return Err(denial(
            415,
            "BXNIM0106E",
            format!("The content type must be {FORM}."),
        ));
    }
    let form = form(&call.body);
    let get = |name: &str| {
        form.iter()
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
            .ok_or_else(|| {
                denial(
                    400,
                    "BXNIM0109E",
                    format!("Property missing or empty: {name}."),
                )
            })
    };
    let grant_type = get("grant_type")?;
    match grant_type {
        APIKEY_GRANT => {
            let key = get("apikey")?;
            let service = world.identities.api_keys.get(key);
            let Some(service) =
                service.filter(|name| world.identities.services.contains_key(*name))
            else {
                return Err(denial(
                    400,
                    "BXNIM0415E",
                    "Provided API key could not be found.",
                ));
            };
            trace.service_id = Some(service.clone());
            Ok(answer(world, call, &Bearer::ServiceId(service), grant_type))
        }
        CR_TOKEN_GRANT => {
            let token = get("cr_token")?;
            let (name, id) = (get("profile_name").ok(), get("profile_id").ok());
            if name.is_none() && id.is_none() {
                get("profile_id")?;
            }
            let profile = world.identities.profiles.iter().find(|(known, profile)| {
                name.is_none_or(|name| name == *known) && id.is_none_or(|id| id == profile.id)
            });
            let Some((_, profile)) = profile else {
                return Err(denial(
                    400,
                    "BXNIM0439E",
                    "No matching trusted profile was found.",
                ));
            };
            if let Some(why) = distrust(&profile.trust, token, call.now) {
                return Err(denial(400, "BXNIM0137E", why));
            }
            trace.service_id = Some(profile.id.clone());
            Ok(answer(
                world,
                call,
                &Bearer::Profile(&profile.id),
                grant_type,
            ))
        }
        other => Err(denial(
            400,
            "BXNIM0100E",
            format!("The grant type {other} is unknown."),
        )),
    }
}

fn answer(world: &World, call: &Call, bearer: &Bearer<'_>, grant_type: &str) -> Value {
    let lifetime = world.token_lifetime_seconds;
    let jti = call.random.id.to_string();
    let claims = Claims::new(bearer, grant_type, jti, call.now, lifetime);
    let modes = &world.modes;
    let mut body = json!({
        "refresh_token": "not_supported",
        "token_type": "Bearer",
        "expires_in": modes.token_expires_in.unwrap_or(lifetime),
        "expiration": claims.exp.saturating_add(modes.token_expiration_skew_seconds),
        "scope": "ibm openid",
    });
    if !modes.token_omits_access_token {
        body["access_token"] = json!(world.signer.sign(&claims));
    }
    body
}

/// Answers a status that a fault asks for, as IAM would.
pub fn fault(call: &Call, status: u16, code: Option<&str>) -> Answer {
    refuse(
        call,
        status,
        code.unwrap_or("BXNIM0500E"),
        "A fault was injected.",
    )
}

fn form(body: &Bytes) -> Vec<(String, String)> {
    form_urlencoded::parse(body).into_owned().collect()
}

fn refuse(call: &Call, status: u16, code: &str, message: &str) -> Answer {
    let time = call.now.to_string();
    let body = json!({
        "errorCode": code,
        "errorMessage": message,
        "context": {
            "requestId": call.random.id.to_string(),
            "requestType": "incoming.Identity_Token",
            "userAgent": call.header("user-agent").unwrap_or_default(),
            "url": "https://iam.cloud.ibm.com",
            "instanceId": "emulator",
            "threadId": "1",
            "host": "emulator",
            "startTime": time,
            "endTime": time,
            "elapsedTime": "0",
            "locale": "en_US",
            "clusterName": "emulator",
        },
    });
    Answer {
        code: Some(code.to_owned()),
        ..Answer::json(status, JSON, &body)
    }
}
