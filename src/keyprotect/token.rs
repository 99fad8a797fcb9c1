//! An access token: opaque, held in memory that is wiped, shown to nobody.

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

/// Longest token taken; IBM's are about 1,200 characters.
const LONGEST: usize = 16 * 1024;

/// An access token.
#[derive(Debug)]
pub struct Token {
    secret: SecretString,
    /// Tells one token from the next without looking at either.
    serial: u64,
}

impl Token {
    /// Takes a token that can stand in a header; anything else is none.
    pub(super) fn new(text: SecretString, serial: u64) -> Option<Self> {
        let chars = text.expose_secret().as_bytes();
        let fits =
            !chars.is_empty() && chars.len() <= LONGEST && chars.iter().all(u8::is_ascii_graphic);
        fits.then_some(Self {
            secret: text,
            serial,
        })
    }

    pub(super) const fn serial(&self) -> u64 {
        self.serial
    }

    /// Makes the `authorization` header, marked so that no library prints it or puts it into a
    /// compression table.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let text = zeroize::Zeroizing::new(format!("Bearer {}", self.secret.expose_secret()));
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// Reads a person's token: the JWT alone, with the word `Bearer`, or the whole output of
/// `ibmcloud iam oauth-tokens` (`IAM token:  Bearer …`; in 2017 a UAA token stood beside it).
/// With `--output json` it is the field `iam_token`.
pub(super) fn from_paste(text: &str) -> Option<Token> {
    #[derive(serde::Deserialize)]
    struct Json<'a> {
        iam_token: &'a str,
    }
    let text = text.trim();
    if text.starts_with('{') {
        let json: Json<'_> = serde_json::from_str(text).ok()?;
        return from_line(json.iam_token);
    }
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    match lines.as_slice() {
        [line] => from_line(line),
        lines => from_line(
            lines
                .iter()
                .find(|line| line.trim().starts_with("IAM token:"))?,
        ),
    }
}

fn from_line(line: &str) -> Option<Token> {
    let line = line.trim();
    let line = line.strip_prefix("IAM token:").unwrap_or(line).trim();
    let line = match line.split_at_checked(6) {
        Some((word, rest)) if word.eq_ignore_ascii_case("bearer") => rest.trim(),
        _ => line,
    };
    Token::new(SecretString::from(line), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        from_paste(text).map(|token| token.secret.expose_secret().to_owned())
    }

    #[test]
    fn a_persons_token_is_read_as_it_was_printed() {
        for text in [
            "eyJ.a.b",
            "eyJ.a.b\n",
            "Bearer eyJ.a.b",
            "bearer  eyJ.a.b\r\n",
            "IAM token:  Bearer eyJ.a.b\n",
            "IAM token:  Bearer eyJ.a.b\nUAA token:  Bearer eyJ.c.d\n",
            "UAA token:  Bearer eyJ.c.d\n\nIAM token:  Bearer eyJ.a.b",
            "{\"iam_token\": \"Bearer eyJ.a.b\"}",
        ] {
            assert_eq!(read(text).as_deref(), Some("eyJ.a.b"), "{text:?}");
        }
        for text in ["", "\n", "Bearer ", "eyJ.a b", "a\nb", "eyJ\u{e4}", "{}"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn nothing_prints_a_token() {
        let token = from_paste("eyJcanary").unwrap();
        assert!(!format!("{token:?}").contains("canary"));
        let header = token.authorization().unwrap();
        assert!(header.is_sensitive());
        assert!(!format!("{header:?}").contains("canary"));
    }
}
