//! Routes: which operation a method and a path are.

use http::Method;
use percent_encoding::percent_decode_str;

/// An operation of the API, with what its path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The operation.
    pub operation: Operation,
    /// A key's ID or alias.
    pub key: Option<String>,
    /// An alias, a ring, a registration or a KMIP adapter, for the operations on one.
    pub item: Option<String>,
    /// A part of the item: an object or a certificate of an adapter.
    pub part: Option<String>,
}

macro_rules! operations {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $kind:ident;)*) => {
        /// The operations of the API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Operation {
            $($(#[$doc])* $variant,)*
        }

        impl Operation {
            /// Every operation.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the name that faults and the journal know it by.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Says whether it changes what the service keeps of keys.
            pub fn writes(self) -> bool {
                match self { $(Self::$variant => operations!(@$kind),)* }
            }
        }
    };
    (@reads) => { false };
    (@writes) => { true };
}

operations! {
    /// A token of IAM.
    Token = "token", reads;
    /// GET keys.
    List = "list", reads;
    /// HEAD keys.
    Count = "count", reads;
    /// POST keys.
    Create = "create", writes;
    /// POST keys with policies of their own.
    CreateWithPolicies = "createWithPolicies", writes;
    /// GET a key.
    Get = "get", reads;
    /// GET a key's metadata.
    Metadata = "metadata", reads;
    /// PATCH a key.
    Patch = "patch", writes;
    /// DELETE a key.
    Delete = "delete", writes;
    /// DELETE a key for good.
    Purge = "purge", writes;
    /// Take a deletion back.
    Restore = "restore", writes;
    /// GET the versions of a root key.
    Versions = "versions", reads;
    /// Wrap a data key.
    Wrap = "wrap", reads;
    /// Unwrap a data key.
    Unwrap = "unwrap", reads;
    /// Wrap a wrapped data key anew.
    Rewrap = "rewrap", reads;
    /// Make a new version of a root key.
    Rotate = "rotate", writes;
    /// End a suspension.
    Enable = "enable", writes;
    /// Suspend a root key.
    Disable = "disable", writes;
    /// Authorise a key's deletion.
    SetForDeletion = "setKeyForDeletion", writes;
    /// Take that authorisation back.
    UnsetForDeletion = "unsetKeyForDeletion", writes;
    /// Tell other services of a key's state.
    Sync = "sync", writes;
    /// GET a key's policies.
    KeyPolicies = "keyPolicies", reads;
    /// PUT a key's policies.
    SetKeyPolicies = "setKeyPolicies", writes;
    /// POST an alias.
    CreateAlias = "createAlias", writes;
    /// DELETE an alias.
    DeleteAlias = "deleteAlias", writes;
    /// GET rings.
    Rings = "rings", reads;
    /// POST a ring.
    CreateRing = "createRing", writes;
    /// DELETE a ring.
    DeleteRing = "deleteRing", writes;
    /// GET the instance's policies.
    InstancePolicies = "instancePolicies", reads;
    /// PUT the instance's policies.
    SetInstancePolicies = "setInstancePolicies", writes;
    /// GET the port of the private endpoint.
    AllowedIpPort = "allowedIpPort", reads;
    /// POST an import token.
    CreateImportToken = "createImportToken", writes;
    /// GET the import token.
    ImportToken = "importToken", writes;
    /// GET the registrations of a key.
    Registrations = "registrations", reads;
    /// GET the registrations of every key.
    AllRegistrations = "allRegistrations", reads;
    /// POST a registration.
    CreateRegistration = "createRegistration", writes;
    /// PUT a registration in place of another.
    ReplaceRegistration = "replaceRegistration", writes;
    /// PATCH a registration.
    UpdateRegistration = "updateRegistration", writes;
    /// DELETE a registration.
    DeleteRegistration = "deleteRegistration", writes;
    /// GET the KMIP adapters.
    KmipAdapters = "kmipAdapters", reads;
    /// POST a KMIP adapter.
    CreateKmipAdapter = "createKmipAdapter", writes;
    /// GET a KMIP adapter.
    KmipAdapter = "kmipAdapter", reads;
    /// DELETE a KMIP adapter.
    DeleteKmipAdapter = "deleteKmipAdapter", writes;
    /// GET the objects of a KMIP adapter.
    KmipObjects = "kmipObjects", reads;
    /// GET an object of a KMIP adapter.
    KmipObject = "kmipObject", reads;
    /// DELETE an object of a KMIP adapter.
    DeleteKmipObject = "deleteKmipObject", writes;
    /// GET the client certificates of a KMIP adapter.
    KmipCertificates = "kmipCertificates", reads;
    /// POST a client certificate of a KMIP adapter.
    AddKmipCertificate = "addKmipCertificate", writes;
    /// GET a client certificate of a KMIP adapter.
    KmipCertificate = "kmipCertificate", reads;
    /// DELETE a client certificate of a KMIP adapter.
    DeleteKmipCertificate = "deleteKmipCertificate", writes;
    /// No part of the API.
    Unknown = "unknown", reads;
}

impl Route {
    fn plain(operation: Operation) -> Self {
        Self {
            operation,
            key: None,
            item: None,
            part: None,
        }
    }

    fn of_key(operation: Operation, key: &str) -> Self {
        Self {
            key: Some(key.to_owned()),
            ..Self::plain(operation)
        }
    }

    fn of_item(operation: Operation, item: &str) -> Self {
        Self {
            item: Some(item.to_owned()),
            ..Self::plain(operation)
        }
    }
}

/// Finds the operation that a request asks for.
pub fn route(method: &Method, path: &str, query: &[(String, String)]) -> Route {
    if matches!(path, "/identity/token" | "/oidc/token") {
        return Route::plain(if method == Method::POST {
            Operation::Token
        } else {
            Operation::Unknown
        });
    }
    let Some(rest) = path.strip_prefix("/api/v2/") else {
        return Route::plain(Operation::Unknown);
    };
    let segments: Vec<String> = rest
        .split('/')
        .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
        .collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["keys", rest @ ..] => keys(method, rest, query),
        ["kmip_adapters", rest @ ..] => kmip(method, rest),
        rest => others(method, rest),
    }
}

fn others(method: &Method, path: &[&str]) -> Route {
    match (method.as_str(), path) {
        ("POST", ["keys_with_policy_overrides"]) => Route::plain(Operation::CreateWithPolicies),
        ("GET", ["key_rings"]) => Route::plain(Operation::Rings),
        ("POST", ["key_rings", ring]) => Route::of_item(Operation::CreateRing, ring),
        ("DELETE", ["key_rings", ring]) => Route::of_item(Operation::DeleteRing, ring),
        ("GET", ["instance", "policies"]) => Route::plain(Operation::InstancePolicies),
        ("PUT", ["instance", "policies"]) => Route::plain(Operation::SetInstancePolicies),
        ("GET", ["instance", "allowed_ip_port"]) => Route::plain(Operation::AllowedIpPort),
        ("POST", ["import_token"]) => Route::plain(Operation::CreateImportToken),
        ("GET", ["import_token"]) => Route::plain(Operation::ImportToken),
        _ => Route::plain(Operation::Unknown),
    }
}

fn keys(method: &Method, path: &[&str], query: &[(String, String)]) -> Route {
    use Operation as Op;
    match (method.as_str(), path) {
        ("GET", []) => Route::plain(Op::List),
        ("POST", []) => Route::plain(Op::Create),
        ("HEAD", []) => Route::plain(Op::Count),
        // `registrations` is reserved, and never the name of a key.
        ("GET", ["registrations"]) => Route::plain(Op::AllRegistrations),
        (_, ["registrations"]) => Route::plain(Op::Unknown),
        ("GET", [key]) => Route::of_key(Op::Get, key),
        ("DELETE", [key]) => Route::of_key(Op::Delete, key),
        ("PATCH", [key]) => Route::of_key(Op::Patch, key),
        ("POST", [key]) => {
            let action = query.iter().find(|(name, _)| name == "action");
            let action = action.map(|(_, action)| action.as_str());
            Route::of_key(action.map_or(Op::Unknown, deprecated_act), key)
        }
        ("GET", [key, "metadata"]) => Route::of_key(Op::Metadata, key),
        ("POST", [key, "restore"]) => Route::of_key(Op::Restore, key),
        ("DELETE", [key, "purge"]) => Route::of_key(Op::Purge, key),
        ("GET", [key, "versions"]) => Route::of_key(Op::Versions, key),
        ("GET", [key, "policies"]) => Route::of_key(Op::KeyPolicies, key),
        ("PUT", [key, "policies"]) => Route::of_key(Op::SetKeyPolicies, key),
        ("GET", [key, "registrations"]) => Route::of_key(Op::Registrations, key),
        (method, [key, "registrations", crn]) => Route {
            key: Some((*key).to_owned()),
            ..Route::of_item(registration(method), crn)
        },
        ("POST", [key, "actions", action]) => Route::of_key(act(action), key),
        ("POST", [key, "aliases", alias]) => Route {
            key: Some((*key).to_owned()),
            ..Route::of_item(Op::CreateAlias, alias)
        },
        ("DELETE", [key, "aliases", alias]) => Route {
            key: Some((*key).to_owned()),
            ..Route::of_item(Op::DeleteAlias, alias)
        },
        _ => Route::plain(Op::Unknown),
    }
}

fn registration(method: &str) -> Operation {
    match method {
        "POST" => Operation::CreateRegistration,
        "PUT" => Operation::ReplaceRegistration,
        "PATCH" => Operation::UpdateRegistration,
        "DELETE" => Operation::DeleteRegistration,
        _ => Operation::Unknown,
    }
}

fn act(action: &str) -> Operation {
    match action {
        "wrap" => Operation::Wrap,
        "unwrap" => Operation::Unwrap,
        "rewrap" => Operation::Rewrap,
        "rotate" => Operation::Rotate,
        "enable" => Operation::Enable,
        "disable" => Operation::Disable,
        "setKeyForDeletion" => Operation::SetForDeletion,
        "unsetKeyForDeletion" => Operation::UnsetForDeletion,
        "sync" => Operation::Sync,
        _ => Operation::Unknown,
    }
}

/// The form with `?action=` has a restoration too, and no `sync`, which is
/// younger than its deprecation.
fn deprecated_act(action: &str) -> Operation {
    match action {
        "restore" => Operation::Restore,
        "sync" => Operation::Unknown,
        action => act(action),
    }
}

fn kmip(method: &Method, path: &[&str]) -> Route {
    use Operation as Op;
    let of_part = |operation, adapter: &str, part: &str| Route {
        part: Some(part.to_owned()),
        ..Route::of_item(operation, adapter)
    };
    match (method.as_str(), path) {
        ("GET", []) => Route::plain(Op::KmipAdapters),
        ("POST", []) => Route::plain(Op::CreateKmipAdapter),
        ("GET", [adapter]) => Route::of_item(Op::KmipAdapter, adapter),
        ("DELETE", [adapter]) => Route::of_item(Op::DeleteKmipAdapter, adapter),
        ("GET", [adapter, "kmip_objects"]) => Route::of_item(Op::KmipObjects, adapter),
        ("GET", [adapter, "kmip_objects", id]) => of_part(Op::KmipObject, adapter, id),
        ("DELETE", [adapter, "kmip_objects", id]) => of_part(Op::DeleteKmipObject, adapter, id),
        ("GET", [adapter, "certificates"]) => Route::of_item(Op::KmipCertificates, adapter),
        ("POST", [adapter, "certificates"]) => Route::of_item(Op::AddKmipCertificate, adapter),
        ("GET", [adapter, "certificates", id]) => of_part(Op::KmipCertificate, adapter, id),
        ("DELETE", [adapter, "certificates", id]) => {
            of_part(Op::DeleteKmipCertificate, adapter, id)
        }
        _ => Route::plain(Op::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_and_paths_are_operations() {
        let table = [
            ("GET", "/api/v2/keys", Operation::List),
            ("HEAD", "/api/v2/keys", Operation::Count),
            ("GET", "/api/v2/keys/some%2Dalias", Operation::Get),
            (
                "GET",
                "/api/v2/keys/registrations",
                Operation::AllRegistrations,
            ),
            ("DELETE", "/api/v2/keys/registrations", Operation::Unknown),
            (
                "PATCH",
                "/api/v2/keys/k/registrations/crn%3Av1",
                Operation::UpdateRegistration,
            ),
            ("POST", "/api/v2/keys/k/actions/disable", Operation::Disable),
            ("POST", "/api/v2/keys/k/actions/wrap", Operation::Wrap),
            ("POST", "/api/v2/keys/k/actions/restore", Operation::Unknown),
            ("PUT", "/api/v2/keys/k/policies", Operation::SetKeyPolicies),
            (
                "GET",
                "/api/v2/kmip_adapters/a/certificates/c",
                Operation::KmipCertificate,
            ),
            ("POST", "/oidc/token", Operation::Token),
            ("GET", "/oidc/token", Operation::Unknown),
            ("PUT", "/api/v2/keys", Operation::Unknown),
            ("GET", "/api/v1/keys", Operation::Unknown),
        ];
        for (method, path, operation) in table {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(
                route(&method, path, &[]).operation,
                operation,
                "{method} {path}"
            );
        }
        let deprecated = |action: &str| {
            let query = [("action".to_owned(), action.to_owned())];
            route(&Method::POST, "/api/v2/keys/k", &query).operation
        };
        assert_eq!(deprecated("restore"), Operation::Restore);
        assert_eq!(deprecated("unwrap"), Operation::Unwrap);
        assert_eq!(deprecated("sync"), Operation::Unknown);
        let aliased = route(&Method::GET, "/api/v2/keys/some%2Dalias", &[]);
        assert_eq!(aliased.key.as_deref(), Some("some-alias"));
    }
}
