//! What the API server asks of a Secret by its type, asked first: so the message can name the
//! entry, and no payload is sent to be refused.

use super::DesiredData;
use super::error::{Problem, RenderError};
use super::json::{JsonError, Kind, Value};
use crate::api::key::SecretType;
use crate::domain::service::material::KeyMaterial;

const DOCKER_CONFIG: &str = ".dockerconfigjson";
const SSH_KEY: &str = "ssh-privatekey";

/// Checks that the entries that a type needs are there.
pub(in crate::domain) fn check_names(
    secret_type: SecretType,
    has: impl Fn(&str) -> bool,
) -> Result<(), RenderError> {
    let (complete, needs) = match secret_type {
        SecretType::Opaque => (true, ""),
        SecretType::Tls => (
            has("tls.crt") && has("tls.key"),
            match (has("tls.crt"), has("tls.key")) {
                (false, true) => "an entry tls.crt; add it",
                (true, false) => "an entry tls.key; add it",
                _ => "the entries tls.crt and tls.key; add both",
            },
        ),
        SecretType::BasicAuth => (
            has("username") || has("password"),
            "an entry username or password; add one",
        ),
        SecretType::SshAuth => (has(SSH_KEY), "an entry ssh-privatekey; add it"),
        SecretType::DockerConfigJson => (has(DOCKER_CONFIG), "an entry .dockerconfigjson; add it"),
    };
    if complete {
        Ok(())
    } else {
        Err(RenderError::EntryMissing { secret_type, needs })
    }
}

/// Checks names and, where the type asks something of it, content.
pub(super) fn check(secret_type: SecretType, data: &DesiredData) -> Result<(), RenderError> {
    check_names(secret_type, |name| data.entries.contains_key(name))?;
    let content = |name| data.entries.get(name).map_or(&[][..], KeyMaterial::expose);
    let fail = |name: &str, problem| {
        Err(RenderError::Entry {
            entry: name.to_owned(),
            problem,
        })
    };
    match secret_type {
        SecretType::SshAuth if content(SSH_KEY).is_empty() => {
            fail(SSH_KEY, Problem::Empty("kubernetes.io/ssh-auth"))
        }
        SecretType::DockerConfigJson => match check_object(content(DOCKER_CONFIG)) {
            Ok(()) => Ok(()),
            Err(error) => fail(DOCKER_CONFIG, Problem::DockerConfig(error)),
        },
        _ => Ok(()),
    }
}

fn check_object(content: &[u8]) -> Result<(), JsonError> {
    let text = std::str::from_utf8(content).map_err(|_| JsonError::start("UTF-8 text"))?;
    match Value::parse(text)?.kind() {
        Kind::Object(_) => Ok(()),
        _ => Err(JsonError::start("an object")),
    }
}
