//! Who signs: the method, its key and its certificate.

use zeroize::Zeroizing;

use super::Setting;
use crate::PrivateKey;
use crate::config::Method;
use crate::show::Show;

pub(super) const ROWS: &[Setting] = &[
    Setting {
        variable: "MODEL_SIGNING_METHOD",
        values: "auto, certificate, key, pkcs11, sigstore",
        default: "auto",
        about: "Who signs: the holder of a private key, whom an X.509 certificate may name, or whom an identity token names (keyless, through Sigstore). `pkcs11`: a private key that must be on a token, with its certificate where that is set. `auto` is `certificate` where MODEL_SIGNING_CERTIFICATE is set, `key` where only MODEL_SIGNING_PRIVATE_KEY is, else `sigstore`.",
        show: Show::Whole,
        read: |config, value| {
            config.method = match value.to_str()? {
                "auto" => Method::Auto,
                "certificate" => Method::Certificate,
                "key" => Method::Key,
                "pkcs11" => Method::Pkcs11,
                "sigstore" => Method::Sigstore,
                _ => return None,
            };
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_PRIVATE_KEY",
        values: "path, PEM text, or pkcs11: URI",
        default: "",
        about: "The key to sign with: PEM, ECDSA on P-256, P-384 or P-521, SEC 1 or PKCS#8; or one that stays on its PKCS#11 token (RFC 7512), such as pkcs11:token=NAME;object=KEY?module-path=/PATH/MODULE.so&pin-source=file:/PATH/PIN. A file is the better place for a key, as pin-source is for a PIN: child processes inherit PEM text, and a pin-value.",
        show: Show::Key,
        read: |config, value| {
            // Kept even where it is wrong: then nobody else signs.
            let key = config.private_key.insert(PrivateKey::of(value)?);
            key.is_sound().then_some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_CERTIFICATE",
        values: "path",
        default: "",
        about: "The X.509 certificate for that key, PEM: key usage digitalSignature, extended key usage codeSigning.",
        show: Show::Path,
        read: |config, value| value.path().map(|path| config.certificate = Some(path)),
    },
    Setting {
        variable: "MODEL_SIGNING_CERTIFICATE_CHAIN",
        values: "path",
        default: "",
        about: "Certificates of its issuers, which signatures carry along: PEM, any number in the file.",
        show: Show::Path,
        read: |config, value| {
            value
                .path()
                .map(|path| config.certificate_chain = vec![path])
        },
    },
    Setting {
        variable: "MODEL_SIGNING_PASSWORD",
        values: "text",
        default: "",
        about: "Opens an encrypted key. A file is the better place: child processes inherit the environment.",
        show: Show::Hidden,
        read: |config, value| {
            config.password = Some(Zeroizing::new(value.to_str()?.as_bytes().to_vec()));
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_PASSWORD_FILE",
        values: "path",
        default: "",
        about: "A file whose first line opens an encrypted key. Read when the key is.",
        show: Show::SecretFile,
        read: |config, value| value.path().map(|path| config.password_file = Some(path)),
    },
];
