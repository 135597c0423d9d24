//! A private key that stays on its token, with its public half.

use std::sync::{Mutex, PoisonError};

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use der::asn1::{AnyRef, BitString, OctetStringRef, UintRef};
use der::oid::ObjectIdentifier;
use der::oid::db::rfc5912::{ID_EC_PUBLIC_KEY, SECP_256_R_1, SECP_384_R_1, SECP_521_R_1};
use der::{Any, Decode, Encode, Tag};
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use super::Pkcs11Fault as Fault;
use super::process::{Call, process};
use super::token::{failed, open};
use super::uri::Pkcs11Uri;
use crate::certificate::Certificate;
use crate::signer::PrivateKey;
use crate::verifier::KeyVerifier;
use crate::{CertificateFault, Envelope, Error, Statement};

/// It may cross a fork, its session does not.
pub(in crate::signer) struct TokenKey {
    uri: Pkcs11Uri,
    opened: Mutex<Option<Opened>>,
    curve: Curve,
    pub(super) verifier: KeyVerifier,
}

/// The private key, as one process may use it.
struct Opened {
    session: Session,
    private: ObjectHandle,
    process: u32,
}

impl Opened {
    fn new(uri: &Pkcs11Uri) -> Result<Self, Error> {
        let (session, hides) = open(uri)?;
        Ok(Self {
            private: private_key(&session, uri, hides)?,
            session,
            process: process(),
        })
    }
}

impl TokenKey {
    /// The key that `uri` means; its public half is in the certificate that it is to sign with, or on the token.
    pub(in crate::signer) fn open(
        uri: &Pkcs11Uri,
        certified: Option<&Certificate>,
    ) -> Result<Self, Error> {
        let _call = Call::begin()?;
        let opened = Opened::new(uri)?;
        let on_token = public_key(&opened.session, opened.private)?;
        let info = match (certified, on_token) {
            (None, None) => return Err(Fault::NoPublicKey.into()),
            (None, Some(info)) => info,
            (Some(certificate), None) => certificate.public_key_info()?,
            (Some(certificate), Some(info)) => {
                let own = KeyVerifier::from_der(&info)?;
                if own.hint() != certificate.public_key()?.hint() {
                    return Err(certificate.refused(CertificateFault::AnotherKey));
                }
                info
            }
        };
        Ok(Self {
            uri: uri.clone(),
            opened: Mutex::new(Some(opened)),
            curve: Curve::of(&info)?,
            verifier: KeyVerifier::from_der(&info)?,
        })
    }
}

impl Drop for TokenKey {
    /// What a forked child inherits is its parent's to close: the number may be that of another session here.
    fn drop(&mut self) {
        let opened = self.opened.get_mut();
        let opened = opened.unwrap_or_else(PoisonError::into_inner).take();
        if opened.as_ref().is_some_and(|own| own.process != process()) {
            std::mem::forget(opened);
        }
    }
}

impl PrivateKey for TokenKey {
    fn hint(&self) -> &str {
        self.verifier.hint()
    }

    fn envelope(&self, statement: &Statement) -> Result<Envelope, Error> {
        let payload = statement.to_json()?;
        let message = Envelope::pre_authentication_encoding(&payload);
        let digest = self.curve.digest(&message);
        let call = Call::begin()?;
        // Held within calls alone, so that a process that may call was not forked while it was.
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let own = match opened.take() {
            Some(own) if own.process == process() => own,
            inherited => {
                std::mem::forget(inherited);
                Opened::new(&self.uri)?
            }
        };
        let pair = own.session.sign(&Mechanism::Ecdsa, own.private, &digest);
        *opened = Some(own);
        drop(opened);
        drop(call);
        let pair = pair.map_err(failed)?;
        let envelope = Envelope {
            payload,
            signature: self.curve.signature(&pair)?,
        };
        if self.verifier.signed(&envelope) {
            Ok(envelope)
        } else {
            Err(Fault::KeysDiffer.into())
        }
    }
}

/// The one private key of `uri`.
fn private_key(session: &Session, uri: &Pkcs11Uri, hides: bool) -> Result<ObjectHandle, Error> {
    let mut wanted = vec![Attribute::Class(ObjectClass::PRIVATE_KEY)];
    let label = uri.object.as_ref();
    wanted.extend(label.map(|label| Attribute::Label(label.clone().into_bytes())));
    wanted.extend(uri.id.clone().map(Attribute::Id));
    let found = session.find_objects(&wanted).map_err(failed)?;
    let key = match found.as_slice() {
        [key] => *key,
        [] if hides => return Err(Fault::PinNeeded.into()),
        [] => return Err(Fault::NoPrivateKey.into()),
        several => {
            let found = several.len();
            return Err(Fault::SeveralPrivateKeys { found }.into());
        }
    };
    let facts = [AttributeType::KeyType, AttributeType::AlwaysAuthenticate];
    let facts = session.get_attributes(key, &facts).map_err(failed)?;
    if !facts.contains(&Attribute::KeyType(KeyType::EC)) {
        return Err(Error::KeyKind);
    }
    if facts.contains(&Attribute::AlwaysAuthenticate(true)) {
        return Err(Fault::AlwaysAuthenticates.into());
    }
    Ok(key)
}

/// The `SubjectPublicKeyInfo` of `private`, where the token has the public key, or a certificate, of the same id; of the
/// same label, where the key has no id.
fn public_key(session: &Session, private: ObjectHandle) -> Result<Option<Vec<u8>>, Error> {
    let names = [AttributeType::Id, AttributeType::Label];
    let names = session.get_attributes(private, &names).map_err(failed)?;
    let name = names
        .into_iter()
        .find(|name| !matches!(name, Attribute::Id(id) if id.is_empty()));
    let Some(name) = name else { return Ok(None) };

    let of = |class| session.find_objects(&[Attribute::Class(class), name.clone()]);
    if let Some(key) = of(ObjectClass::PUBLIC_KEY).map_err(failed)?.first() {
        let parts = [AttributeType::EcParams, AttributeType::EcPoint];
        let parts = session.get_attributes(*key, &parts).map_err(failed)?;
        return match parts.as_slice() {
            [Attribute::EcParams(curve), Attribute::EcPoint(point)] => {
                Ok(Some(public_key_info(curve, point)?))
            }
            _ => Err(Error::KeyKind),
        };
    }
    if let Some(certificate) = of(ObjectClass::CERTIFICATE).map_err(failed)?.first() {
        let value = session.get_attributes(*certificate, &[AttributeType::Value]);
        if let [Attribute::Value(der)] = value.map_err(failed)?.as_slice() {
            return Ok(Some(Certificate::parse(der)?.public_key_info()?));
        }
    }
    Ok(None)
}

/// RFC 5480, from the attributes of PKCS#11 v3.1 section 6.3.3: a point stands inside an OCTET STRING, or with some tokens
/// alone. The length tells which, as no point on the three curves is as long as another one's OCTET STRING.
fn public_key_info(curve: &[u8], point: &[u8]) -> Result<Vec<u8>, Error> {
    let point = match OctetStringRef::from_der(point) {
        Ok(inside) if !Curve::ALL.iter().any(|curve| curve.point() == point.len()) => {
            inside.as_bytes()
        }
        _ => point,
    };
    let info = SubjectPublicKeyInfoOwned {
        algorithm: AlgorithmIdentifierOwned {
            oid: ID_EC_PUBLIC_KEY,
            parameters: Some(Any::from_der(curve).map_err(|_| Error::KeyKind)?),
        },
        subject_public_key: BitString::from_bytes(point).map_err(|_| Error::KeyKind)?,
    };
    info.to_der().map_err(|_| Error::KeyKind)
}

/// The curves of OMS, each with its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    fn of(info: &[u8]) -> Result<Self, Error> {
        let info = SubjectPublicKeyInfoOwned::from_der(info).map_err(|_| Error::KeyKind)?;
        let parameters = info.algorithm.parameters.ok_or(Error::KeyKind)?;
        let curve: ObjectIdentifier = parameters.decode_as().map_err(|_| Error::KeyKind)?;
        match curve {
            SECP_256_R_1 => Ok(Self::P256),
            SECP_384_R_1 => Ok(Self::P384),
            SECP_521_R_1 => Ok(Self::P521),
            _ => Err(Error::KeyKind),
        }
    }

    /// The length of a number below its order, in bytes.
    fn number(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// The length of a point that is not compressed.
    fn point(self) -> usize {
        2 * self.number() + 1
    }

    fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::P256 => Sha256::digest(message).to_vec(),
            Self::P384 => Sha384::digest(message).to_vec(),
            Self::P521 => Sha512::digest(message).to_vec(),
        }
    }

    /// `r || s` (PKCS#11 v3.1 section 6.3.1) as the DER that OMS has.
    fn signature(self, pair: &[u8]) -> Result<Vec<u8>, Error> {
        let expected = 2 * self.number();
        if pair.len() != expected {
            let found = pair.len();
            return Err(Fault::SignatureLength { expected, found }.into());
        }
        let (r, s) = pair.split_at(self.number());
        let encoded = || {
            let numbers = [UintRef::new(r)?.to_der()?, UintRef::new(s)?.to_der()?];
            AnyRef::new(Tag::Sequence, &numbers.concat())?.to_der()
        };
        encoded().map_err(|_: der::Error| Error::SigningFailed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_of_numbers_becomes_der() {
        let mut pair = [0; 64];
        pair[31] = 0x80;
        pair[63] = 1;
        let der = Curve::P256.signature(&pair).unwrap();
        assert_eq!(der, [0x30, 7, 2, 2, 0, 0x80, 2, 1, 1]);
        let error = Curve::P384.signature(&pair).unwrap_err();
        let expected = Fault::SignatureLength {
            expected: 96,
            found: 64,
        };
        assert!(matches!(error, Error::Pkcs11(fault) if fault == expected));
    }

    #[test]
    fn a_point_may_stand_alone() {
        let pem = include_bytes!("../../../tests/keys/p256.pub.pem");
        let info = pem::parse(pem).unwrap().into_contents();
        let curve = SECP_256_R_1.to_der().unwrap();
        let point = &info[info.len() - 65..];
        let inside = [&[4, 65], point].concat();
        assert_eq!(public_key_info(&curve, point).unwrap(), info);
        assert_eq!(public_key_info(&curve, &inside).unwrap(), info);
        assert_eq!(Curve::of(&info).unwrap(), Curve::P256);

        // It may look like an OCTET STRING of its own.
        let mut alike = point.to_vec();
        alike[1] = 63;
        assert!(public_key_info(&curve, &alike).unwrap().ends_with(&alike));
    }

    #[test]
    fn other_curves_are_refused() {
        let k256 = ObjectIdentifier::new_unwrap("1.3.132.0.10");
        let info = public_key_info(&k256.to_der().unwrap(), &[4; 65]).unwrap();
        assert!(matches!(Curve::of(&info), Err(Error::KeyKind)));
        // Parameters spelled out, or a name (PKCS#11 v3.1 section 6.3.3).
        let info = public_key_info(&[0x30, 0], &[4; 65]).unwrap();
        assert!(matches!(Curve::of(&info), Err(Error::KeyKind)));
    }
}
