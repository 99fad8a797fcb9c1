//! Whether a text holds a payload, or the part of one that tells it apart. Plain values.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Every payload of the harness holds a password of so many hexadecimal digits, like no other.
pub(crate) const PASSWORD: usize = 32;

/// Finds a password in a text, as it is, or in something that was encoded.
pub(crate) fn find<'p>(text: &str, passwords: &'p BTreeSet<String>) -> Option<&'p str> {
    let plain = |text: &str| {
        let words = text.split(|c: char| !c.is_ascii_hexdigit());
        let words = words.filter(|word| word.len() >= PASSWORD);
        // A word may have more digits before or after.
        words
            .flat_map(|word| (0..=word.len() - PASSWORD).map(move |at| &word[at..at + PASSWORD]))
            .find_map(|word| passwords.get(word).map(String::as_str))
    };
    if let Some(found) = plain(text) {
        return Some(found);
    }
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/-_".contains(c);
    let words = text.split(|c: char| !is_base64(c));
    let mut words = words.filter(|word| word.len() > PASSWORD);
    words.find_map(|word| {
        // It may begin anywhere in a group of four.
        (0..4).find_map(|skip| {
            let word = &word[skip..];
            let whole = &word[..word.len() - usize::from(word.len() % 4 == 1)];
            let bytes = STANDARD_NO_PAD
                .decode(whole)
                .or_else(|_| URL_SAFE_NO_PAD.decode(whole))
                .ok()?;
            plain(&String::from_utf8_lossy(&bytes))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;

    #[test]
    fn a_password_is_found_in_whatever_holds_it() {
        let password = "0123456789abcdef0123456789abcdef";
        let passwords = BTreeSet::from([password.to_owned()]);
        let payload = format!(r#"{{"number":"1","password":"{password}","pad":"xy"}}"#);
        let encoded = STANDARD.encode(&payload);
        for text in [
            payload.clone(),
            format!("a log with {password} in it"),
            format!("f{password}0"),
            format!(r#"{{"data":{{"key":"{encoded}"}}}}"#),
            format!("x{encoded}"),
        ] {
            assert_eq!(find(&text, &passwords), Some(password), "{text}");
        }
        for text in [
            "",
            "0123456789abcdef",
            "nothing of the kind at all, not even in base64",
        ] {
            assert_eq!(find(text, &passwords), None, "{text}");
        }
    }
}
