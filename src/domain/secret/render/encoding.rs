//! What bytes are written as. Every result goes into a buffer of known capacity that is wiped
//! when dropped: a buffer that grows leaves its old copy in freed memory.

use base64::Engine as _;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::error::Problem;
use crate::api::key::Encoding;

/// Bytes made from a payload.
pub(in crate::domain) type Bytes = Zeroizing<Vec<u8>>;

const HEX: &[u8; 16] = b"0123456789abcdef";
const UPPER_HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Writes bytes in an encoding.
pub(super) fn encode(encoding: Encoding, bytes: &[u8]) -> Result<Bytes, Problem> {
    match encoding {
        Encoding::Raw => Ok(copy(bytes)),
        Encoding::Text => text(bytes),
        Encoding::Base64 => base64(bytes),
        Encoding::Base64Url => base64_with(&URL_SAFE, true, bytes),
        Encoding::Base64UrlNoPad => base64_with(&URL_SAFE_NO_PAD, false, bytes),
        Encoding::Hex => Ok(hex(bytes)),
    }
}

/// Copies bytes as they are.
pub(super) fn copy(bytes: &[u8]) -> Bytes {
    Zeroizing::new(bytes.to_vec())
}

/// Takes text without its final newline: exactly one, `\n` or `\r\n`, since that is what an
/// editor or `echo` puts there; everything else is the author's.
fn text(bytes: &[u8]) -> Result<Bytes, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|_| Problem::NotText {
        instead: "write encoding: Raw, or Base64 or Hex for something printable",
    })?;
    let text = text
        .strip_suffix("\r\n")
        .or_else(|| text.strip_suffix('\n'))
        .unwrap_or(text);
    Ok(copy(text.as_bytes()))
}

/// Writes standard, padded base64.
pub(super) fn base64(bytes: &[u8]) -> Result<Bytes, Problem> {
    base64_with(&STANDARD, true, bytes)
}

fn base64_with(engine: &GeneralPurpose, padded: bool, bytes: &[u8]) -> Result<Bytes, Problem> {
    let length = base64::encoded_len(bytes.len(), padded).ok_or(Problem::OutputTooLong)?;
    let mut out = Zeroizing::new(vec![0; length]);
    // Into a slice: writing into a String would go by way of a buffer that nobody wipes.
    let written = engine
        .encode_slice(bytes, &mut out)
        .map_err(|_| Problem::OutputTooLong)?;
    out.truncate(written);
    Ok(out)
}

/// Writes lower-case hexadecimal.
pub(in crate::domain) fn hex(bytes: &[u8]) -> Bytes {
    let mut out = Zeroizing::new(Vec::with_capacity(bytes.len() * 2));
    for byte in bytes {
        out.extend(hex_digits(*byte, HEX));
    }
    out
}

/// Percent-encodes everything but RFC 3986's unreserved characters, so that the result fits any
/// part of a URL.
pub(super) fn percent(bytes: &[u8]) -> Bytes {
    let kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let length = bytes.iter().map(|b| if kept(*b) { 1 } else { 3 }).sum();
    let mut out = Zeroizing::new(Vec::with_capacity(length));
    for byte in bytes {
        if kept(*byte) {
            out.push(*byte);
        } else {
            out.push(b'%');
            out.extend(hex_digits(*byte, UPPER_HEX));
        }
    }
    out
}

fn hex_digits(byte: u8, digits: &[u8; 16]) -> [u8; 2] {
    [
        digits[usize::from(byte >> 4)],
        digits[usize::from(byte & 15)],
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all_bytes() -> Vec<u8> {
        (0..=255).collect()
    }

    fn encoded(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
        encode(encoding, bytes).expect("encodable").to_vec()
    }

    #[test]
    fn raw_is_exact_for_every_byte_and_length() {
        for bytes in [
            vec![0],
            vec![b'\n'],
            all_bytes(),
            b"a\0b\r\n".to_vec(),
            vec![0xff; 7_500],
        ] {
            assert_eq!(encoded(Encoding::Raw, &bytes), bytes);
        }
    }

    #[test]
    fn text_loses_exactly_one_final_newline() {
        for (given, expected) in [
            ("pass", "pass"),
            ("pass\n", "pass"),
            ("pass\r\n", "pass"),
            ("pass\n\n", "pass\n"),
            ("pass\r\n\r\n", "pass\r\n"),
            ("pass\r", "pass\r"),
            ("\npass", "\npass"),
            (" pass \n", " pass "),
            ("\n", ""),
            ("", ""),
            ("pä€s\n", "pä€s"),
        ] {
            assert_eq!(
                encoded(Encoding::Text, given.as_bytes()),
                expected.as_bytes(),
                "{given:?}"
            );
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_refused() {
        for bytes in [&[0xff][..], b"abc\xc3", b"\xed\xa0\x80"] {
            assert!(matches!(
                encode(Encoding::Text, bytes),
                Err(Problem::NotText { .. })
            ));
        }
    }

    #[test]
    fn golden_values() {
        let bytes = [0xfb, 0xff, 0x00, 0x0a];
        for (encoding, expected) in [
            (Encoding::Base64, "+/8ACg=="),
            (Encoding::Base64Url, "-_8ACg=="),
            (Encoding::Base64UrlNoPad, "-_8ACg"),
            (Encoding::Hex, "fbff000a"),
        ] {
            assert_eq!(encoded(encoding, &bytes), expected.as_bytes());
        }
        assert_eq!(encoded(Encoding::Base64, b""), b"");
        assert_eq!(encoded(Encoding::Hex, b""), b"");
        assert_eq!(
            percent("aZ09-._~ +/%&=é\n".as_bytes()).as_slice(),
            b"aZ09-._~%20%2B%2F%25%26%3D%C3%A9%0A"
        );
    }

    fn unhex(text: &[u8]) -> Vec<u8> {
        text.chunks(2)
            .map(|pair| {
                let pair = std::str::from_utf8(pair).expect("ASCII");
                u8::from_str_radix(pair, 16).expect("hex")
            })
            .collect()
    }

    fn unpercent(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = text;
        while let [first, tail @ ..] = rest {
            if *first == b'%' {
                out.extend(unhex(&tail[..2]));
                rest = &tail[2..];
            } else {
                out.push(*first);
                rest = tail;
            }
        }
        out
    }

    proptest! {
        #[test]
        fn what_was_encoded_decodes_to_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            prop_assert_eq!(&encoded(Encoding::Raw, &bytes), &bytes);
            prop_assert_eq!(&STANDARD.decode(encoded(Encoding::Base64, &bytes)).expect("base64"), &bytes);
            prop_assert_eq!(&URL_SAFE.decode(encoded(Encoding::Base64Url, &bytes)).expect("base64"), &bytes);
            prop_assert_eq!(
                &URL_SAFE_NO_PAD.decode(encoded(Encoding::Base64UrlNoPad, &bytes)).expect("base64"),
                &bytes
            );
            prop_assert_eq!(&unhex(&encoded(Encoding::Hex, &bytes)), &bytes);
            prop_assert_eq!(&unpercent(&percent(&bytes)), &bytes);
        }

        #[test]
        fn buffers_never_grow(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            for out in [hex(&bytes), percent(&bytes), copy(&bytes)] {
                prop_assert_eq!(out.len(), out.capacity());
            }
        }

        #[test]
        fn text_without_a_final_newline_is_as_it_was(text in "\\PC{0,80}") {
            prop_assert_eq!(encoded(Encoding::Text, text.as_bytes()), text.as_bytes());
        }
    }
}
