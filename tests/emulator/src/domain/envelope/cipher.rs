//! The cipher: AES-GCM with a 96-bit IV and a 128-bit tag, by RustCrypto's crate.
//!
//! Everything that the emulator encrypts goes through these two functions, and
//! NIST's own vectors go through them in the tests. There is no cryptography of
//! our own here.

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::aes::Aes192;
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm};

type Aes192Gcm = AesGcm<Aes192, U12>;

/// How long an IV is.
pub const IV_BYTES: usize = 12;

/// What was to be encrypted or decrypted cannot be: a key of a wrong size, or
/// a text that this key, IV and associated data did not make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("key, IV, associated data and text do not fit together")]
pub struct Unfit;

/// Encrypts, and appends the tag.
pub fn seal(key: &[u8], iv: &[u8; IV_BYTES], aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, Unfit> {
    let payload = Payload { msg: plain, aad };
    match key.len() {
        16 => cipher::<Aes128Gcm>(key)?.encrypt(&(*iv).into(), payload),
        24 => cipher::<Aes192Gcm>(key)?.encrypt(&(*iv).into(), payload),
        32 => cipher::<Aes256Gcm>(key)?.encrypt(&(*iv).into(), payload),
        _ => return Err(Unfit),
    }
    .map_err(|_| Unfit)
}

/// Checks the tag at the end, and decrypts.
pub fn open(key: &[u8], iv: &[u8; IV_BYTES], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Unfit> {
    let payload = Payload { msg: sealed, aad };
    match key.len() {
        16 => cipher::<Aes128Gcm>(key)?.decrypt(&(*iv).into(), payload),
        24 => cipher::<Aes192Gcm>(key)?.decrypt(&(*iv).into(), payload),
        32 => cipher::<Aes256Gcm>(key)?.decrypt(&(*iv).into(), payload),
        _ => return Err(Unfit),
    }
    .map_err(|_| Unfit)
}

fn cipher<C: KeyInit>(key: &[u8]) -> Result<C, Unfit> {
    C::new_from_slice(key).map_err(|_| Unfit)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        assert!(text.len().is_multiple_of(2));
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    /// Reads the vectors of a file of NIST's: `Name = value`, blank lines between.
    fn vectors(file: &str) -> Vec<BTreeMap<String, Vec<u8>>> {
        let mut all = Vec::new();
        for block in file.split("\n\n").filter(|block| block.contains("Count")) {
            let mut vector = BTreeMap::new();
            for line in block.lines().filter(|line| !line.starts_with('#')) {
                let (name, value) = line.split_once(" =").unwrap_or((line, ""));
                if name != "Count" {
                    vector.insert(name.to_owned(), hex(value.trim()));
                }
            }
            all.push(vector);
        }
        all
    }

    fn iv(vector: &BTreeMap<String, Vec<u8>>) -> [u8; IV_BYTES] {
        vector["IV"].as_slice().try_into().unwrap()
    }

    #[test]
    fn nist_vectors_of_encryption_come_out_as_published() {
        for (file, bytes) in [
            (include_str!("vectors/gcmEncryptExtIV128.rsp"), 16),
            (include_str!("vectors/gcmEncryptExtIV192.rsp"), 24),
            (include_str!("vectors/gcmEncryptExtIV256.rsp"), 32),
        ] {
            let vectors = vectors(file);
            assert_eq!(vectors.len(), 75);
            for vector in vectors {
                assert_eq!(vector["Key"].len(), bytes);
                let expected = [&vector["CT"][..], &vector["Tag"]].concat();
                let sealed = seal(&vector["Key"], &iv(&vector), &vector["AAD"], &vector["PT"]);
                assert_eq!(sealed.unwrap(), expected, "{vector:?}");
                let opened = open(&vector["Key"], &iv(&vector), &vector["AAD"], &expected);
                assert_eq!(opened.unwrap(), vector["PT"], "{vector:?}");
            }
        }
    }

    #[test]
    fn nist_vectors_of_decryption_are_opened_or_refused_as_published() {
        for file in [
            include_str!("vectors/gcmDecrypt128.rsp"),
            include_str!("vectors/gcmDecrypt192.rsp"),
            include_str!("vectors/gcmDecrypt256.rsp"),
        ] {
            let (mut opened, mut refused) = (0, 0);
            for vector in vectors(file) {
                let sealed = [&vector["CT"][..], &vector["Tag"]].concat();
                let actual = open(&vector["Key"], &iv(&vector), &vector["AAD"], &sealed);
                if vector.contains_key("FAIL") {
                    refused += 1;
                    assert_eq!(actual, Err(Unfit), "{vector:?}");
                } else {
                    opened += 1;
                    assert_eq!(actual.unwrap(), vector["PT"], "{vector:?}");
                }
            }
            assert!(opened > 30 && refused > 30, "{opened} and {refused}");
        }
    }

    /// Test cases 2, 8 and 14 of McGrew and Viega's specification of GCM.
    #[test]
    fn the_specification_s_own_cases_come_out_as_published() {
        for (bytes, expected) in [
            (
                16,
                "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf",
            ),
            (
                24,
                "98e7247c07f0fe411c267e4384b0f6002ff58d80033927ab8ef4d4587514f0fb",
            ),
            (
                32,
                "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919",
            ),
        ] {
            let sealed = seal(&vec![0; bytes], &[0; IV_BYTES], b"", &[0; 16]);
            assert_eq!(sealed.unwrap(), hex(expected));
        }
    }

    #[test]
    fn keys_of_another_size_are_refused() {
        for bytes in [0, 15, 17, 31, 33, 64] {
            assert_eq!(seal(&vec![0; bytes], &[0; IV_BYTES], b"", b"x"), Err(Unfit));
            assert_eq!(open(&vec![0; bytes], &[0; IV_BYTES], b"", b"x"), Err(Unfit));
        }
        assert_eq!(open(&[0; 32], &[0; IV_BYTES], b"", b"short"), Err(Unfit));
    }
}
