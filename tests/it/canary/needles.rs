//! What a leak would look like: a known value in every form in which it may have been written.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem;

/// A value that must be found nowhere.
pub(crate) struct Needle {
    /// What it is, for whoever reads that it was found.
    pub(crate) what: String,
    forms: Vec<(&'static str, Vec<u8>)>,
}

impl Needle {
    /// A value, in every form: as it is, in base64 wherever in a text it begins, in hexadecimal, and
    /// as URLs and JSON write it.
    pub(crate) fn new(what: &str, value: &str) -> Self {
        let bytes = value.as_bytes();
        assert!(bytes.len() >= 16, "{what}: a short value is found anywhere");
        let mut forms = vec![("as it is", bytes.to_vec())];
        for before in 0..3 {
            // What stands before and after it changes the characters at both ends.
            let shifted = [&vec![0; before][..], bytes].concat();
            let begin = (before * 4).div_ceil(3);
            let end = shifted.len() * 4 / 3;
            for (form, engine) in [
                ("in base64", &STANDARD_NO_PAD),
                ("in URL-safe base64", &URL_SAFE_NO_PAD),
            ] {
                let text = engine.encode(&shifted);
                forms.push((form, text.as_bytes()[begin..end].to_vec()));
            }
        }
        let lower: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        forms.push(("in hexadecimal", lower.to_ascii_uppercase().into_bytes()));
        forms.push(("in hexadecimal", lower.into_bytes()));
        for upper in [true, false] {
            forms.push(("as URLs write it", url(bytes, upper).into_bytes()));
        }
        let json = serde_json::to_string(value).expect("JSON");
        forms.push((
            "as JSON writes it",
            json.trim_matches('"').as_bytes().to_vec(),
        ));
        forms.push((
            "as a list of numbers",
            format!("{bytes:?}").trim_matches(['[', ']']).into(),
        ));
        forms.sort();
        forms.dedup_by(|one, other| one.1 == other.1);
        Self {
            what: what.to_owned(),
            forms,
        }
    }

    /// In which forms it is in something, and how often.
    pub(crate) fn found(&self, hay: &[u8]) -> Vec<(&'static str, usize)> {
        let forms = self.forms.iter();
        let counted = forms.map(|(form, bytes)| (*form, memmem::find_iter(hay, bytes).count()));
        counted.filter(|(_, count)| *count > 0).collect()
    }
}

fn url(bytes: &[u8], upper: bool) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encoded = |byte: u8| {
        if upper {
            format!("%{byte:02X}")
        } else {
            format!("%{byte:02x}")
        }
    };
    let parts = bytes.iter().map(|&byte| {
        if plain(byte) {
            char::from(byte).to_string()
        } else {
            encoded(byte)
        }
    });
    parts.collect()
}

#[test]
fn a_value_is_found_in_every_form_and_place() {
    let value = "canary/of+a payload=\"~\"\u{e9} 0123";
    let needle = Needle::new("it", value);
    let engines = [
        base64::engine::general_purpose::STANDARD,
        base64::engine::general_purpose::URL_SAFE,
    ];
    for before in ["", "a", "ab", "abc", "abcd"] {
        for after in ["", "x", "xy", "xyz"] {
            let whole = format!("{before}{value}{after}");
            for text in engines.iter().map(|engine| engine.encode(&whole)) {
                assert!(!needle.found(text.as_bytes()).is_empty(), "{text}");
            }
            let hex: String = whole.bytes().map(|byte| format!("{byte:02X}")).collect();
            let written = [
                whole.clone(),
                hex.to_ascii_lowercase(),
                hex,
                url(whole.as_bytes(), true),
                serde_json::to_string(&whole).unwrap(),
                format!("{:?}", whole.as_bytes()),
            ];
            for text in written {
                assert!(!needle.found(text.as_bytes()).is_empty(), "{text}");
            }
        }
    }
    assert!(
        needle
            .found(b"canary of another payload, or of none at all")
            .is_empty()
    );
}
