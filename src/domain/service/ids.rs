//! Names of things in Key Protect, parsed once: whoever holds one of these types knows that it
//! may become part of a path or a header.

use std::fmt;
use std::sync::Arc;

/// Says which form a name should have had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {form}")]
pub struct InvalidName {
    /// What was to be named.
    pub what: &'static str,
    /// The form that it should have had.
    pub form: &'static str,
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.char_indices().all(|(at, c)| match at {
            8 | 13 | 18 | 23 => c == '-',
            _ => c.is_ascii_hexdigit(),
        })
}

fn is_word(text: &str, min: usize, max: usize) -> bool {
    (min..=max).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn is_region(text: &str) -> bool {
    text.split_once('-').is_some_and(|(country, city)| {
        country.len() == 2
            && (2..=5).contains(&city.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
    })
}

/// No key can have these as an alias (Key Protect docs, "Creating key aliases"); some of them,
/// put after `keys/`, would be another operation's path.
const RESERVED: [&str; 17] = [
    "allowed_ip",
    "key",
    "keys",
    "metadata",
    "policy",
    "policies",
    "registration",
    "registrations",
    "ring",
    "rings",
    "rotate",
    "wrap",
    "unwrap",
    "rewrap",
    "version",
    "versions",
    "actions",
];

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $form:literal, $check:expr, $normal:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a name of the right form.
            ///
            /// # Errors
            /// Says which form it should have had.
            pub fn parse(text: &str) -> Result<Self, InvalidName> {
                if $check(text) {
                    let normal: fn(&str) -> String = $normal;
                    Ok(Self(normal(text).into()))
                } else {
                    Err(InvalidName { what: $what, form: $form })
                }
            }

            /// Shows it as the service writes it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// ID of an instance (a GUID).
    InstanceId, "instance ID", "a GUID", is_uuid, str::to_ascii_lowercase
);
name_type!(
    /// ID of a key (a UUID).
    KeyId, "key ID", "a UUID", is_uuid, str::to_ascii_lowercase
);
name_type!(
    /// A region, like `us-south`.
    Region, "region", "like us-south or eu-de", is_region, str::to_owned
);
name_type!(
    /// A key's alias: unique in an instance, case-sensitive.
    Alias, "alias", "2 to 90 letters, digits, '-' or '_', no UUID, and no word that the service keeps for itself",
    |text: &str| is_word(text, 2, 90) && !is_uuid(text) && !RESERVED.contains(&text), str::to_owned
);
name_type!(
    /// ID of a key ring.
    KeyRing, "key ring", "2 to 100 letters, digits, '-' or '_'",
    |text: &str| is_word(text, 2, 100), str::to_owned
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_a_path_or_header_are_refused() {
        for bad in [
            "",
            "a",
            "a/b",
            "a b",
            "a\r\nb",
            "../keys",
            "a.b",
            "registrations",
            "ä",
            "12e8c9c2-a162-472d-b7d6-8b9a86b815a6",
        ] {
            assert!(Alias::parse(bad).is_err(), "{bad:?}");
        }
        for bad in [
            "",
            "12e8c9c2a162472db7d68b9a86b815a6",
            "12e8c9c2-a162-472d-b7d6-8b9a86b815a",
            "keys",
        ] {
            assert!(KeyId::parse(bad).is_err(), "{bad:?}");
        }
        for bad in [
            "us",
            "us-",
            "US-south",
            "us-south-1",
            "us.south",
            "evil.com/us-south",
        ] {
            assert!(Region::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ids_are_compared_in_one_case() {
        let upper = KeyId::parse("02FD6835-6001-4482-A892-13BD2085F75D");
        assert_eq!(
            upper.map(|id| id.to_string()),
            Ok("02fd6835-6001-4482-a892-13bd2085f75d".to_owned())
        );
    }
}
