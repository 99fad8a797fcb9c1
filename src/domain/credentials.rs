//! Which credential an instance's spec asks for, and what its owner does where it is not there or
//! not good. The operator's own credentials (mounted API keys, trusted profiles) are only for instances in its own namespace; everybody
//! else brings an API key in a Secret.

use crate::api::instance::Credentials;
use crate::domain::account::Account;
use crate::domain::service::failure::FailureKind;

/// A trusted profile, as its owner names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Profile {
    /// By name, which is unique in an account.
    Name(String),
    /// By ID.
    Id(String),
}

/// Where an instance's credential is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialPlace {
    /// Mounted into the operator's Pod, under this name.
    Mounted(String),
    /// A trusted profile, which trusts the operator's ServiceAccount.
    TrustedProfile(Profile),
    /// In an entry of a Secret in the instance's own namespace.
    Secret {
        /// The namespace.
        namespace: String,
        /// The Secret.
        name: String,
        /// The entry.
        entry: String,
    },
}

/// Finds the credential of an instance.
///
/// # Errors
/// The instance may not use the one that it asks for, in words for its owner.
pub fn place(
    credentials: Option<&Credentials>,
    namespace: &str,
    own_namespace: &str,
    default: &str,
) -> Result<CredentialPlace, String> {
    if let Some(reference) = credentials.and_then(|c| c.api_key_secret_ref.as_ref()) {
        return Ok(CredentialPlace::Secret {
            namespace: namespace.to_owned(),
            name: reference.name.clone(),
            entry: reference.entry().to_owned(),
        });
    }
    if namespace != own_namespace {
        return Err(format!(
            "The operator's own credentials are only for instances in its own namespace, \
             {own_namespace}. Name a Secret of this namespace that holds an API key in \
             spec.credentials.apiKeySecretRef, or make the KeyProtectInstance in {own_namespace}, \
             with an access rule for this namespace."
        ));
    }
    let profile = credentials.and_then(|c| c.trusted_profile.as_ref());
    let profile = profile.and_then(|profile| match (&profile.id, &profile.name) {
        (Some(id), _) => Some(Profile::Id(id.clone())),
        (None, Some(name)) => Some(Profile::Name(name.clone())),
        (None, None) => None,
    });
    if let Some(profile) = profile {
        return Ok(CredentialPlace::TrustedProfile(profile));
    }
    let named = credentials.and_then(|c| c.mounted_api_key.as_ref());
    let name = named.map_or(default, |mounted| mounted.name.as_str());
    Ok(CredentialPlace::Mounted(name.to_owned()))
}

impl CredentialPlace {
    /// What the instance's owner does about a credential that is missing or refused; nothing where
    /// it is something else that failed.
    #[must_use]
    pub fn remedy(&self, kind: FailureKind, account: Option<&Account>) -> Option<String> {
        match (kind, self) {
            (FailureKind::CredentialMissing, Self::Mounted(_)) => Some(
                "See to the Secret that is mounted into the operator's Pod; a file that is put \
                 right is taken within seconds, without a restart."
                    .to_owned(),
            ),
            (
                FailureKind::CredentialMissing,
                Self::Secret {
                    namespace,
                    name,
                    entry,
                },
            ) => {
                let command = account.map_or_else(
                    || {
                        "a Role with the verb get on it, bound to the operator's ServiceAccount"
                            .to_owned()
                    },
                    |account| account.grant_command("get", namespace, name),
                );
                Some(format!(
                    "The Secret's owner puts the API key into entry {entry} of Secret {name} and lets \
                     the operator read that Secret: {command}. It is taken within a minute, without \
                     a restart."
                ))
            }
            (FailureKind::CredentialMissing, Self::TrustedProfile(_)) => Some(
                "See to the token that is projected into the operator's Pod; a file that is put \
                 right is taken within seconds, without a restart."
                    .to_owned(),
            ),
            (FailureKind::CredentialRejected, Self::TrustedProfile(_)) => Some(
                "See to the trusted profile's name and its trust in this cluster, namespace and \
                 ServiceAccount ('ibmcloud iam trusted-profile-links PROFILE'). It is tried again \
                 at growing intervals of up to 15 minutes."
                    .to_owned(),
            ),
            (FailureKind::CredentialRejected, Self::Mounted(_)) => Some(
                "Make a new API key for the service ID and put it into the Secret that is mounted \
                 into the operator's Pod; it is taken without a restart. The refused one is tried \
                 again at growing intervals of up to 15 minutes."
                    .to_owned(),
            ),
            (FailureKind::CredentialRejected, Self::Secret { name, entry, .. }) => Some(format!(
                "Make a new API key for the service ID and put it into entry {entry} of Secret \
                 {name}; it is taken within a minute, without a restart. The refused one is tried \
                 again at growing intervals of up to 15 minutes."
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::instance::{ApiKeySecretRef, MountedApiKey, TrustedProfile};

    fn mounted(name: &str) -> Credentials {
        Credentials {
            mounted_api_key: Some(MountedApiKey {
                name: name.to_owned(),
            }),
            ..Credentials::default()
        }
    }

    fn profile(name: Option<&str>, id: Option<&str>) -> Credentials {
        Credentials {
            trusted_profile: Some(TrustedProfile {
                name: name.map(str::to_owned),
                id: id.map(str::to_owned),
            }),
            ..Credentials::default()
        }
    }

    fn in_secret(key: Option<&str>) -> Credentials {
        Credentials {
            api_key_secret_ref: Some(ApiKeySecretRef {
                name: "key-protect".to_owned(),
                key: key.map(str::to_owned),
            }),
            ..Credentials::default()
        }
    }

    #[test]
    fn the_operators_own_credentials_stay_in_its_own_namespace() {
        let find = |credentials: Option<&Credentials>, namespace| {
            place(credentials, namespace, "own", "default")
        };
        let at = |name: &str| Ok(CredentialPlace::Mounted(name.to_owned()));
        assert_eq!(find(None, "own"), at("default"));
        assert_eq!(find(Some(&Credentials::default()), "own"), at("default"));
        assert_eq!(find(Some(&mounted("team-a")), "own"), at("team-a"));
        let by_name = profile(Some("p"), None);
        let named = CredentialPlace::TrustedProfile(Profile::Name("p".to_owned()));
        assert_eq!(find(Some(&by_name), "own"), Ok(named));
        let by_id = CredentialPlace::TrustedProfile(Profile::Id("Profile-1".to_owned()));
        assert_eq!(
            find(Some(&profile(None, Some("Profile-1"))), "own"),
            Ok(by_id)
        );
        for credentials in [
            None,
            Some(&Credentials::default()),
            Some(&mounted("team-a")),
            Some(&by_name),
        ] {
            let refused = find(credentials, "payments").unwrap_err();
            assert!(refused.contains("only for instances in its own namespace, own"));
        }
        // A Secret is always one of the instance's own namespace.
        for (namespace, key, entry) in [("payments", None, "apikey"), ("own", Some("k"), "k")] {
            let secret = CredentialPlace::Secret {
                namespace: namespace.to_owned(),
                name: "key-protect".to_owned(),
                entry: entry.to_owned(),
            };
            assert_eq!(find(Some(&in_secret(key)), namespace), Ok(secret));
        }
    }

    #[test]
    fn the_remedy_fits_where_the_key_is() {
        let account = Account::parse("system:serviceaccount:own:operator");
        let place = place(Some(&in_secret(None)), "payments", "own", "default").unwrap();
        let missing = place.remedy(FailureKind::CredentialMissing, Some(&account));
        let command = account.grant_command("get", "payments", "key-protect");
        assert!(missing.is_some_and(|text| text.contains(&command)));
        let rejected = place.remedy(FailureKind::CredentialRejected, Some(&account));
        assert!(rejected.is_some_and(|text| text.contains("entry apikey of Secret key-protect")));
        assert_eq!(place.remedy(FailureKind::Denied, Some(&account)), None);
    }
}
