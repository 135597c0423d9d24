//! Who signs: the method, and its key.

use zeroize::Zeroizing;

use super::Setting;
use crate::config::Method;
use crate::show::Show;

pub(super) const ROWS: &[Setting] = &[
    Setting {
        variable: "MODEL_SIGNING_METHOD",
        values: "auto, key, sigstore",
        default: "auto",
        about: "Who signs: the holder of a private key, or whom an identity token names (keyless, through Sigstore). `auto` is the key where MODEL_SIGNING_PRIVATE_KEY is set, else Sigstore.",
        show: Show::Whole,
        read: |config, value| {
            config.method = match value.to_str()? {
                "auto" => Method::Auto,
                "key" => Method::Key,
                "sigstore" => Method::Sigstore,
                _ => return None,
            };
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_PRIVATE_KEY",
        values: "path",
        default: "",
        about: "The key to sign with: PEM, ECDSA on P-256, P-384 or P-521, SEC 1 or PKCS#8.",
        show: Show::Whole,
        read: |config, value| value.path().map(|path| config.private_key = Some(path)),
    },
    Setting {
        variable: "MODEL_SIGNING_PASSWORD",
        values: "text",
        default: "",
        about: "Opens an encrypted key. A file is the better place: child processes inherit the environment.",
        show: Show::Hidden,
        read: |config, value| {
            config.password = Some(Zeroizing::new(value.to_str()?.to_owned()));
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_PASSWORD_FILE",
        values: "path",
        default: "",
        about: "A file whose first line opens an encrypted key. Read when the key is.",
        show: Show::Whole,
        read: |config, value| value.path().map(|path| config.password_file = Some(path)),
    },
];
