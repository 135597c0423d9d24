//! Method `key`: ECDSA on P-256, P-384 or P-521 with a PEM private key (FIPS 186-5, SEC 1, RFC 5958).

use std::ffi::OsStr;
use std::path::Path;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair,
};
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::Kdf;
use zeroize::Zeroizing;

use super::{PrivateKey, Signer};
use crate::bundle::Signatory;
use crate::reading::read_capped;
use crate::redacted::{as_far_as_there, is_secret};
use crate::verifier::{KeyVerifier, MAX_KEY_BYTES, Verifier, pem_block, pem_text};
use crate::{Bundle, Envelope, Error, Statement};

/// Curve and hash go together (OMS v1.0).
static ALGORITHMS: [&EcdsaSigningAlgorithm; 3] = [
    &ECDSA_P256_SHA256_ASN1_SIGNING,
    &ECDSA_P384_SHA384_ASN1_SIGNING,
    &ECDSA_P521_SHA512_ASN1_SIGNING,
];

/// What a key's file may ask for with PBKDF2, ten times what is advised today.
const MAX_ITERATIONS: u64 = 10_000_000;
/// What it may ask for with scrypt, in bytes: 64 times what OpenSSL does.
const MAX_MIXED: u64 = 1 << 30;

/// A private key. Has no `Debug`.
pub struct KeySigner {
    pair: EcdsaKeyPair,
    verifier: KeyVerifier,
}

impl KeySigner {
    /// Reads the PEM file at `path`; `password` opens an encrypted key. Where a key stands in the place of the path, it is
    /// that key.
    ///
    /// # Errors
    /// Those of [`KeySigner::from_pem`]. For a file [`Error::Io`], and [`Error::At`] round them.
    pub fn read(path: &Path, password: Option<&[u8]>) -> Result<Self, Error> {
        if let Some(text) = key_text(path.as_os_str()) {
            return Self::from_pem(text.as_bytes(), password);
        }
        let pem = Zeroizing::new(read_capped(path, "key", MAX_KEY_BYTES)?);
        Self::from_pem(&pem, password).map_err(Error::at(path))
    }

    /// Takes the first private key of a PEM text: SEC 1 (`EC PRIVATE KEY`), PKCS#8 (`PRIVATE KEY`) or encrypted
    /// PKCS#8 (`ENCRYPTED PRIVATE KEY`).
    ///
    /// # Errors
    /// [`Error::KeyForm`], [`Error::KeyKind`], [`Error::KeyPassword`], [`Error::KeyDerivation`].
    pub fn from_pem(pem: &[u8], password: Option<&[u8]>) -> Result<Self, Error> {
        let tags = ["EC PRIVATE KEY", "PRIVATE KEY", "ENCRYPTED PRIVATE KEY"];
        let block = pem_block(pem, "private key", &tags)?;
        let opened;
        let der = if block.tag() == "ENCRYPTED PRIVATE KEY" {
            let locked = EncryptedPrivateKeyInfoRef::try_from(block.contents())
                .map_err(|_| Error::KeyKind)?;
            let password = password.ok_or(Error::KeyPassword { given: false })?;
            affordable(&locked.encryption_algorithm)?;
            opened = locked
                .decrypt(password)
                .map_err(|_| Error::KeyPassword { given: true })?;
            opened.as_bytes()
        } else if block.headers().get("DEK-Info").is_some() {
            return Err(Error::KeyLegacyEncryption);
        } else {
            block.contents()
        };
        let pair = ALGORITHMS
            .iter()
            .find_map(|algorithm| EcdsaKeyPair::from_private_key_der(algorithm, der).ok())
            .ok_or(Error::KeyKind)?;
        let public: PublicKeyX509Der<'_> =
            pair.public_key().as_der().map_err(|_| Error::KeyKind)?;
        let verifier = KeyVerifier::from_der(public.as_ref())?;
        Ok(Self { pair, verifier })
    }

    /// What names the key and tells nothing of it: the SHA-256 of its public key in PEM form, hex, as its signatures have it.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        self.verifier.hint()
    }
}

/// The PEM text in `value`, if that is a key and no path; its line ends may be escaped, as they are in some files of
/// variables.
#[must_use]
pub fn key_text(value: &OsStr) -> Option<Zeroizing<String>> {
    let text = value.to_str()?;
    let is_key = text.contains("-----BEGIN ") || is_secret(text);
    is_key.then(|| Zeroizing::new(text.replace("\\n", "\n")))
}

/// Whether trying a password takes no more than seconds, and no more memory than there is.
fn affordable(scheme: &EncryptionScheme) -> Result<(), Error> {
    let EncryptionScheme::Pbes2(parameters) = scheme else {
        return Ok(());
    };
    let (found, unit, limit) = match &parameters.kdf {
        Kdf::Pbkdf2(pbkdf2) => (
            u64::from(pbkdf2.iteration_count),
            "iterations",
            MAX_ITERATIONS,
        ),
        Kdf::Scrypt(scrypt) => {
            // RFC 7914: N blocks of 128 r bytes, p times.
            let factors = [
                scrypt.cost_parameter,
                scrypt.block_size.into(),
                scrypt.parallelization.into(),
            ];
            let bytes = factors.into_iter().fold(128, u64::saturating_mul);
            (bytes, "bytes", MAX_MIXED)
        }
        _ => return Ok(()),
    };
    match found {
        // No key derivation has none; that of the crate panics.
        0 => Err(Error::KeyKind),
        _ if found > limit => Err(Error::KeyDerivation { found, unit, limit }),
        _ => Ok(()),
    }
}

/// A new key on P-256: the private one as PKCS#8, the public one, both PEM.
///
/// # Errors
/// [`Error::SigningFailed`] where the cryptographic library cannot make one.
pub fn generate_key() -> Result<(Zeroizing<String>, String), Error> {
    let failed = |_| Error::SigningFailed;
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?;
    let private = pair.to_pkcs8v1().map_err(failed)?;
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(failed)?;
    let private = pem_text("PRIVATE KEY", private.as_ref());
    Ok((
        Zeroizing::new(private),
        pem_text("PUBLIC KEY", public.as_ref()),
    ))
}

/// The first line of the file at `path`, without its end: a key's password.
///
/// # Errors
/// [`Error::SecretFile`], [`Error::TooLarge`] beyond 1 MiB, [`Error::PasswordNotUtf8`].
pub fn read_password(path: &Path) -> Result<Zeroizing<String>, Error> {
    let bytes = read_secret(path, "password", MAX_KEY_BYTES)?;
    let line = bytes
        .split(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = str::from_utf8(line).map_err(|_| Error::PasswordNotUtf8 { path: path.into() })?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// The bytes of a file that holds a secret. Where there is none, what should be its path may be the secret itself, and is
/// shown only [as far as it is there](as_far_as_there).
pub(crate) fn read_secret(
    path: &Path,
    what: &'static str,
    limit: u64,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let bytes = read_capped(path, what, limit).map_err(|error| match error {
        Error::Io { source, .. } => Error::SecretFile {
            what,
            path: as_far_as_there(path),
            source,
        },
        other => other,
    });
    Ok(Zeroizing::new(bytes?))
}

impl PrivateKey for KeySigner {
    fn hint(&self) -> &str {
        self.verifier.hint()
    }

    fn envelope(&self, statement: &Statement) -> Result<Envelope, Error> {
        let payload = statement.to_json()?;
        let message = Envelope::pre_authentication_encoding(&payload);
        let signature = self
            .pair
            .sign(&SystemRandom::new(), &message)
            .map_err(|_| Error::SigningFailed)?;
        Ok(Envelope {
            payload,
            signature: signature.as_ref().to_vec(),
        })
    }
}

impl Signer for KeySigner {
    fn sign(&self, statement: &Statement) -> Result<Bundle, Error> {
        let envelope = self.envelope(statement)?;
        let hint = self.hint().to_owned();
        Ok(Bundle::new(envelope, Signatory::Key(Some(hint))))
    }

    fn verifier(&self) -> &dyn Verifier {
        &self.verifier
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    /// An encrypted key whose key derivation has `new` in the place of `old`, both DER.
    fn derived(name: &str, old: &[u8], new: &[u8]) -> Result<KeySigner, Error> {
        let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
        let text = std::fs::read(format!("tests/keys/{name}")).unwrap();
        let mut der = pem::parse(text).unwrap().into_contents();
        let at = der.windows(old.len()).position(|part| part == old).unwrap();
        der.splice(at..at + old.len(), new.iter().copied());
        // of all that it lies in
        for place in [2, 4, 17, 19, 32] {
            der[place] = der[place] + length(new) - length(old);
        }
        let key = pem::encode(&pem::Pem::new("ENCRYPTED PRIVATE KEY", der));
        KeySigner::from_pem(key.as_bytes(), Some(b"checkpoint"))
    }

    #[test]
    fn keys_that_take_hours_to_open() {
        let pbkdf2 = |number| derived("p256.encrypted.pem", &[2, 2, 8, 0], number);
        pbkdf2(&[2, 2, 8, 0]).unwrap();
        let other = pbkdf2(&[2, 2, 8, 1]);
        assert!(matches!(other, Err(Error::KeyPassword { given: true })));
        let long = pbkdf2(&[2, 4, 1, 0, 0, 0]);
        let asks = |found| move |error| matches!(error, Error::KeyDerivation { found: asked, .. } if asked == found);
        assert!(long.is_err_and(asks(1 << 24)));

        let [cost, block, lanes] = [[2, 2, 0x40, 0].as_slice(), &[2, 1, 8], &[2, 1, 1]];
        let all = [cost, block, lanes].concat();
        let scrypt = |numbers: [&[u8]; 3]| derived("scrypt.encrypted.pem", &all, &numbers.concat());
        scrypt([cost, block, lanes]).unwrap();
        let long: [&[u8]; 3] = [&[2, 4, 0x40, 0, 0, 0], &[2, 2, 1, 0], &[2, 2, 1, 0]];
        for asked in [[long[0], block, lanes], [cost, block, long[2]], long] {
            assert!(matches!(scrypt(asked), Err(Error::KeyDerivation { .. })));
        }
        let none = scrypt([&[2, 1, 0], block, lanes]);
        assert!(matches!(none, Err(Error::KeyKind)));
    }
}
