//! Certificate authorities of a test's own, and the leaves that they issue.
#![allow(
    dead_code,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    unused_macros,
    unreachable_pub
)]

use std::path::{Path, PathBuf};

use autosign_signing::{
    CertificateSigner, CertificateVerifier, Error, Hashing, Ignore, Policy, VerifiedModel, sign,
    verify,
};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, date_time_ymd,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The fault that `$result` is refused for.
macro_rules! refused {
    ($result:expr, $fault:pat) => {{
        let Err(error) = $result else {
            panic!("accepted")
        };
        let Error::CertificateRefused { certificate, fault } = error.root() else {
            panic!("{error:?}")
        };
        assert!(matches!(fault, $fault), "{error:?}");
        let text = format!("{error}; {}", error.hint());
        assert!(!certificate.is_empty() && !text.contains('\n'), "{text}");
        text
    }};
}

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate and its private key, PEM.
pub struct Leaf {
    pub key: String,
    pub pem: String,
}

/// Makes a good one of everything, which `edit` changes.
type Edit<'a> = &'a dyn Fn(&mut CertificateParams);

pub const AS_IT_IS: Edit<'static> = &|_| {};

/// An authority that is its own root.
pub fn root(name: &str, edit: Edit<'_>) -> Authority {
    let params = authority(name, edit);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    Authority { issuer, pem }
}

/// A leaf that signed itself.
pub fn alone(edit: Edit<'_>) -> Leaf {
    let (params, key) = (signer(edit), KeyPair::generate().unwrap());
    Leaf::new(&params.self_signed(&key).unwrap(), &key)
}

impl Authority {
    pub fn authority(&self, name: &str, edit: Edit<'_>) -> Self {
        let params = authority(name, edit);
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    pub fn leaf(&self, edit: Edit<'_>) -> Leaf {
        let (params, key) = (signer(edit), KeyPair::generate().unwrap());
        Leaf::new(&params.signed_by(&key, &self.issuer).unwrap(), &key)
    }
}

impl Authority {
    /// Its list of revoked certificates, by serial number, which is good until the end of a year; PEM.
    pub fn revoked(&self, serials: &[u64], year: i32) -> String {
        self.revoked_in(2024, serials, year)
    }

    /// A list of revoked certificates that was issued at the beginning of the year `issued` and ends with `year`.
    pub fn revoked_in(&self, issued: i32, serials: &[u64], year: i32) -> String {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(issued, 1, 1),
            next_update: date_time_ymd(year, 12, 31),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// May sign lists of revoked certificates, and has this serial number.
pub fn numbered(number: u64) -> impl Fn(&mut CertificateParams) {
    move |params| {
        params.serial_number = Some(number.into());
        if params.key_usages.contains(&KeyUsagePurpose::KeyCertSign) {
            params.key_usages.push(KeyUsagePurpose::CrlSign);
        }
    }
}

impl Leaf {
    fn new(certificate: &Certificate, key: &KeyPair) -> Self {
        Self {
            key: key.serialize_pem(),
            pem: certificate.pem(),
        }
    }
}

pub fn named(params: &mut CertificateParams, name: &str) {
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
}

fn authority(name: &str, edit: Edit<'_>) -> CertificateParams {
    let mut params = CertificateParams::default();
    named(&mut params, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    edit(&mut params);
    params
}

fn signer(edit: Edit<'_>) -> CertificateParams {
    let mut params = CertificateParams::default();
    named(&mut params, "Alice");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    edit(&mut params);
    params
}

/// A model, and where its signature goes.
pub struct Signed {
    pub folder: TempDir,
    pub model: PathBuf,
    pub signature: PathBuf,
}

impl Signed {
    pub fn not_yet() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("last.pt");
        std::fs::write(&model, b"weights").unwrap();
        let signature = folder.path().join("last.pt.sig");
        Self {
            folder,
            model,
            signature,
        }
    }

    /// Signed by `leaf`, with `chain`.
    pub fn by(leaf: &Leaf, chain: &[&str]) -> Self {
        let signed = Self::not_yet();
        signed.sign(leaf, chain).unwrap();
        signed
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn sign(&self, leaf: &Leaf, chain: &[&str]) -> Result<(), Error> {
        let (key, certificate) = (
            self.file("key.pem", &leaf.key),
            self.file("leaf.pem", &leaf.pem),
        );
        let chain = self.file("chain.pem", &chain.concat());
        let files: &[&Path] = match std::fs::metadata(&chain).unwrap().len() {
            0 => &[],
            _ => &[&chain],
        };
        let signer = CertificateSigner::read(&key, None, &certificate, files)?;
        let hashing = Hashing::default();
        sign(
            &self.model,
            &self.signature,
            &Ignore::git(),
            &signer,
            hashing,
        )
        .map(drop)
    }

    pub fn verify(&self, given: &[&str]) -> Result<VerifiedModel, Error> {
        self.verify_with(&CertificateVerifier::from_pem(given.concat().as_bytes())?)
    }

    pub fn verify_with(&self, verifier: &CertificateVerifier) -> Result<VerifiedModel, Error> {
        let (policy, hashing) = (Policy::default(), Hashing::default());
        verify(&self.model, &self.signature, verifier, &policy, hashing)
    }
}

/// An authority's.
pub fn ca(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
}

/// Signed with a certificate that no signer of ours would use: the chain is put into a good bundle.
pub fn forced(leaf: &Leaf, chain: &[&str]) -> Signed {
    let pair = KeyPair::from_pem(&leaf.key).unwrap();
    let mut good = CertificateParams::default();
    good.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let good = Leaf {
        key: leaf.key.clone(),
        pem: good.self_signed(&pair).unwrap().pem(),
    };
    let signed = Signed::by(&good, &[]);
    let chain = [&[&*leaf.pem], chain].concat().concat();
    let chain = certificates(&chain);
    edit(&signed, |bundle| {
        bundle["verificationMaterial"]["x509CertificateChain"]["certificates"] = chain;
    });
    signed
}

pub fn certificates(pem: &str) -> Value {
    let blocks = pem.split("-----BEGIN CERTIFICATE-----").skip(1);
    let text = blocks.map(|block| {
        let text = block.split("-----END").next().unwrap();
        json!({"rawBytes": text.split_whitespace().collect::<String>()})
    });
    text.collect()
}

pub fn edit(signed: &Signed, change: impl FnOnce(&mut Value)) {
    let mut bundle = serde_json::from_slice(&std::fs::read(&signed.signature).unwrap()).unwrap();
    change(&mut bundle);
    std::fs::write(&signed.signature, bundle.to_string()).unwrap();
}
