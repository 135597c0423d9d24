//! Whom a certificate of Fulcio's names, and who vouched for that.

use der::asn1::Utf8StringRef;
use der::oid::ObjectIdentifier;
use sigstore_verify::crypto::x509::parse_certificate_info;
use sigstore_verify::types::DerCertificate;
use x509_cert::ext::pkix::name::{GeneralName, OtherName};

use crate::Error;
use crate::certificate::Certificate;

/// The kind of other name that Fulcio gives for the tokens of issuers of type `username`.
const USERNAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.7");

/// Whom the certificate `der` names, and the provider that vouched for it. Proves nothing.
pub(crate) fn certified(der: &[u8]) -> Result<(String, String), Error> {
    let identity = identity(&Certificate::parse(der)?)?;
    Ok((identity, provider(der)?.unwrap_or_default()))
}

/// The provider that vouched for whom the certificate `der` names. Proves nothing.
pub(crate) fn provider(der: &[u8]) -> Result<Option<String>, Error> {
    let info = parse_certificate_info(&DerCertificate::from_bytes(der));
    let info = info.map_err(|error| Error::Certificate {
        reason: error.to_string(),
    })?;
    Ok(info.issuer)
}

/// The names of `certificate` that are usernames of Fulcio's.
pub(crate) fn usernames(certificate: &Certificate) -> impl Iterator<Item = &str> {
    let names = certificate.all_names().iter();
    names.filter_map(|name| match name {
        GeneralName::OtherName(other) => username(other),
        _ => None,
    })
}

/// The only name of `certificate`: an email address, a URI, or a username. Of several names two readers could take two.
fn identity(certificate: &Certificate) -> Result<String, Error> {
    let names = certificate.all_names();
    let identity = match names {
        [GeneralName::Rfc822Name(text) | GeneralName::UniformResourceIdentifier(text)] => {
            Some(text.as_str()).filter(|text| !text.is_empty())
        }
        [GeneralName::OtherName(other)] => username(other),
        _ => None,
    };
    identity.map(str::to_owned).ok_or_else(|| {
        let reason = match names {
            [] => "it names nobody".to_owned(),
            [_] => "its name is no email address, URI or username of Fulcio's".to_owned(),
            _ => format!("it has {} names, not one", names.len()),
        };
        Error::Certificate { reason }
    })
}

/// The text of a username as Fulcio writes it, `NAME!DOMAIN`: none is an email address or a URI.
fn username(other: &OtherName) -> Option<&str> {
    let text = match other.type_id {
        USERNAME => other.value.decode_as::<Utf8StringRef<'_>>().ok()?.as_str(),
        _ => return None,
    };
    let (name, domain) = text.split_once('!')?;
    let sound = |part: &str| !part.is_empty() && !part.contains(['!', '@']);
    (sound(name) && sound(domain)).then_some(text)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, KeyPair, SanType};

    use super::*;

    const OID: &[u64] = &[1, 3, 6, 1, 4, 1, 57264, 1, 7];

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
    }

    fn certificate(edit: impl FnOnce(&mut CertificateParams)) -> Result<Certificate, Error> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        edit(&mut params);
        Certificate::parse(params.self_signed(&key).unwrap().der())
    }

    /// With whatever is given in the place of an extension that names somebody.
    fn naming(content: &[u8]) -> Result<Certificate, Error> {
        certificate(|params| {
            let mut names = CustomExtension::from_oid_content(&[2, 5, 29, 17], content.to_vec());
            names.set_criticality(true);
            params.custom_extensions = vec![names];
        })
    }

    fn other_name(oid: &[u64], text: &str) -> SanType {
        SanType::OtherName((oid.to_vec(), text.to_owned().into()))
    }

    fn named(names: Vec<SanType>) -> Result<String, Error> {
        identity(&certificate(|params| params.subject_alt_names = names)?)
    }

    #[test]
    fn fulcio_names_one() {
        let email = || SanType::Rfc822Name("alice@example.com".try_into().unwrap());
        let uri = SanType::URI("https://example.com/x".try_into().unwrap());
        let user = || other_name(OID, "trainer!example.com");
        for (name, expected) in [
            (email(), "alice@example.com"),
            (uri, "https://example.com/x"),
            (user(), "trainer!example.com"),
            (other_name(OID, "größe!example.com"), "größe!example.com"),
        ] {
            assert_eq!(named(vec![name]).unwrap(), expected);
        }
        for (names, reason) in [
            (vec![], "names nobody"),
            (vec![email(), user()], "2 names"),
            (vec![user(), email()], "2 names"),
            (vec![user(), user()], "2 names"),
            (vec![email(), email()], "2 names"),
            (
                vec![SanType::DnsName("a.example".try_into().unwrap())],
                "no email",
            ),
            (
                vec![SanType::Rfc822Name("".try_into().unwrap())],
                "no email",
            ),
            (
                vec![other_name(
                    &[1, 3, 6, 1, 4, 1, 311, 20, 2, 3],
                    "trainer!example.com",
                )],
                "no email",
            ),
            (
                vec![other_name(
                    &[1, 3, 6, 1, 4, 1, 57264, 1, 8],
                    "trainer!example.com",
                )],
                "no email",
            ),
            (vec![other_name(OID, "alice@example.com")], "no email"),
            (vec![other_name(OID, "alice@example.com!x")], "no email"),
            (vec![other_name(OID, "a!b!example.com")], "no email"),
            (vec![other_name(OID, "!example.com")], "no email"),
            (vec![other_name(OID, "trainer!")], "no email"),
            (vec![other_name(OID, "")], "no email"),
        ] {
            let shown = format!("{names:?}");
            let error = named(names).unwrap_err();
            assert!(
                matches!(&error, Error::Certificate { reason: said } if said.contains(reason)),
                "{shown}: {error}"
            );
        }
    }

    #[test]
    fn a_malformed_username_is_nobody_s() {
        let oid = tlv(6, &[0x2b, 6, 1, 4, 1, 0x83, 0xbf, 0x30, 1, 7]);
        let text = b"trainer!example.com";
        let san = |other: &[u8]| tlv(0x30, &tlv(0xa0, other));
        let with = |value: &[u8]| san(&[&oid[..], &tlv(0xa0, value)].concat());
        let good = naming(&with(&tlv(0x0c, text))).unwrap();
        assert_eq!(identity(&good).unwrap(), "trainer!example.com");
        for (what, content) in [
            ("an IA5String", with(&tlv(0x16, text))),
            ("an OCTET STRING", with(&tlv(4, text))),
            ("not UTF-8", with(&tlv(0x0c, b"trainer!\xff"))),
            (
                "two texts",
                with(&[tlv(0x0c, text), tlv(0x0c, text)].concat()),
            ),
            ("nothing", with(&[])),
            ("no value", san(&oid)),
            (
                "a value without its tag",
                san(&[&oid[..], &tlv(0x0c, text)].concat()),
            ),
            ("more behind it", [with(&tlv(0x0c, text)), vec![0]].concat()),
            (
                "a longer length than there is",
                tlv(0x30, &[0xa0, 0x7f, 6, 1]),
            ),
        ] {
            let identity = naming(&content).and_then(|certificate| identity(&certificate));
            assert!(identity.is_err(), "{what}: {identity:?}");
        }
    }
}
