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
    /// An alias or a ring, for the operations on one.
    pub item: Option<String>,
}

macro_rules! operations {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The operations of the API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Operation {
            $($(#[$doc])* $variant,)*
        }

        impl Operation {
            /// Returns the name that faults and the journal know it by.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

operations! {
    /// A token of IAM.
    Token = "token",
    /// GET keys.
    List = "list",
    /// HEAD keys.
    Count = "count",
    /// POST keys.
    Create = "create",
    /// GET a key.
    Get = "get",
    /// GET a key's metadata.
    Metadata = "metadata",
    /// PATCH a key.
    Patch = "patch",
    /// DELETE a key.
    Delete = "delete",
    /// DELETE a key for good.
    Purge = "purge",
    /// Take a deletion back.
    Restore = "restore",
    /// End a suspension.
    Enable = "enable",
    /// Suspend a root key.
    Disable = "disable",
    /// POST an alias.
    CreateAlias = "createAlias",
    /// DELETE an alias.
    DeleteAlias = "deleteAlias",
    /// GET rings.
    Rings = "rings",
    /// POST a ring.
    CreateRing = "createRing",
    /// DELETE a ring.
    DeleteRing = "deleteRing",
    /// A part of the API that is not emulated.
    NotEmulated = "notEmulated",
    /// No part of the API.
    Unknown = "unknown",
}

/// Finds the operation that a request asks for.
pub fn route(method: &Method, path: &str, query: &[(String, String)]) -> Route {
    let plain = |operation| Route {
        operation,
        key: None,
        item: None,
    };
    if matches!(path, "/identity/token" | "/oidc/token") {
        return plain(if method == Method::POST {
            Operation::Token
        } else {
            Operation::Unknown
        });
    }
    let Some(rest) = path.strip_prefix("/api/v2/") else {
        return plain(Operation::Unknown);
    };
    let segments: Vec<String> = rest
        .split('/')
        .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
        .collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let of_key = |operation, key: &str| Route {
        operation,
        key: Some(key.to_owned()),
        item: None,
    };
    let (get, post, delete) = (
        method == Method::GET,
        method == Method::POST,
        method == Method::DELETE,
    );
    match segments.as_slice() {
        ["keys"] if get => plain(Operation::List),
        ["keys"] if post => plain(Operation::Create),
        ["keys"] if method == Method::HEAD => plain(Operation::Count),
        ["key_rings"] if get => plain(Operation::Rings),
        ["key_rings", ring] if post || delete => Route {
            operation: if post {
                Operation::CreateRing
            } else {
                Operation::DeleteRing
            },
            key: None,
            item: Some((*ring).to_owned()),
        },
        // `registrations` is reserved, and never the name of a key.
        ["keys_with_policy_overrides" | "import_token"]
        | ["keys", "registrations"]
        | ["instance" | "kmip_adapters", ..] => plain(Operation::NotEmulated),
        ["keys", key] if get => of_key(Operation::Get, key),
        ["keys", key] if delete => of_key(Operation::Delete, key),
        ["keys", key] if method == Method::PATCH => of_key(Operation::Patch, key),
        ["keys", key] if post => {
            let action = query.iter().find(|(name, _)| name == "action");
            of_key(
                action.map_or(Operation::Unknown, |(_, action)| act(action)),
                key,
            )
        }
        ["keys", key, "metadata"] if get => of_key(Operation::Metadata, key),
        ["keys", key, "restore"] if post => of_key(Operation::Restore, key),
        ["keys", key, "purge"] if delete => of_key(Operation::Purge, key),
        ["keys", key, "actions", action] if post => of_key(act(action), key),
        ["keys", key, "aliases", alias] if post || delete => Route {
            operation: if post {
                Operation::CreateAlias
            } else {
                Operation::DeleteAlias
            },
            key: Some((*key).to_owned()),
            item: Some((*alias).to_owned()),
        },
        ["keys", key, "versions" | "policies" | "registrations"] => {
            of_key(Operation::NotEmulated, key)
        }
        _ => plain(Operation::Unknown),
    }
}

fn act(action: &str) -> Operation {
    match action {
        "enable" => Operation::Enable,
        "disable" => Operation::Disable,
        "restore" => Operation::Restore,
        "wrap"
        | "unwrap"
        | "rewrap"
        | "rotate"
        | "setKeyForDeletion"
        | "unsetKeyForDeletion"
        | "sync" => Operation::NotEmulated,
        _ => Operation::Unknown,
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
            ("GET", "/api/v2/keys/registrations", Operation::NotEmulated),
            ("POST", "/api/v2/keys/k/actions/disable", Operation::Disable),
            (
                "POST",
                "/api/v2/keys/k/actions/wrap",
                Operation::NotEmulated,
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
        let aliased = route(&Method::GET, "/api/v2/keys/some%2Dalias", &[]);
        assert_eq!(aliased.key.as_deref(), Some("some-alias"));
    }
}
