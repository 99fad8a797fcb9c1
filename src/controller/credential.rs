//! The credential of an instance, from where its spec says that it is.

use std::sync::Arc;

use futures::future::BoxFuture;
use kube::{Client, ResourceExt};
use zeroize::Zeroizing;

use super::context::Context;
use crate::api::{KeyProtectInstance, Reason};
use crate::cluster::entry::{self, Missing};
use crate::domain::credentials::{self, CredentialPlace};
use crate::keyprotect::{CredentialSource, NotRead, ReadEntry};

/// An entry of a Secret, read at the API server.
struct SecretEntry {
    client: Client,
    namespace: String,
    name: String,
    entry: String,
}

impl std::fmt::Debug for SecretEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.place())
    }
}

impl ReadEntry for SecretEntry {
    fn place(&self) -> String {
        let Self {
            namespace,
            name,
            entry,
            ..
        } = self;
        format!("entry {entry} of Secret {namespace}/{name}")
    }

    fn read(&self) -> BoxFuture<'_, Result<Zeroizing<Vec<u8>>, NotRead>> {
        Box::pin(async {
            let read = entry::read(&self.client, &self.namespace, &self.name, &self.entry);
            read.await.map_err(|missing| match missing {
                Missing::Forbidden => NotRead::Forbidden,
                Missing::NoSecret => NotRead::NoSecret,
                Missing::NoEntry => NotRead::NoEntry,
                Missing::NoAnswer => NotRead::NoAnswer,
            })
        })
    }
}

/// Finds where an instance's credential is, and what reads it there.
///
/// # Errors
/// The instance may not use the credential that it asks for.
pub(super) fn of(
    context: &Context,
    instance: &KeyProtectInstance,
) -> Result<(CredentialPlace, CredentialSource), (Reason, String)> {
    let settings = &context.settings;
    let place = credentials::place(
        instance.spec.credentials.as_ref(),
        &instance.namespace().unwrap_or_default(),
        &settings.namespace,
        &settings.default_credential,
    )
    .map_err(|message| (Reason::CredentialMissing, message))?;
    let source = match &place {
        CredentialPlace::Mounted(name) => {
            CredentialSource::mounted(&settings.credentials_dir, name)
        }
        CredentialPlace::TrustedProfile(profile) => CredentialSource::service_account_token(
            settings.service_account_token_file.clone(),
            profile.clone(),
        ),
        CredentialPlace::Secret {
            namespace,
            name,
            entry,
        } => CredentialSource::entry(Arc::new(SecretEntry {
            client: context.client.clone(),
            namespace: namespace.clone(),
            name: name.clone(),
            entry: entry.clone(),
        })),
    };
    Ok((place, source))
}
