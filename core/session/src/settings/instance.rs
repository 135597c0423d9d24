//! Which Sigstore instance, and how it is asked.

use super::Setting;
use crate::Instance;
use crate::show::{Show, address};
use crate::values::{duration, rate};

pub(super) const ROWS: &[Setting] = &[
    Setting {
        variable: "MODEL_SIGNING_INSTANCE",
        values: "production, staging, or the URL of a TUF repository",
        default: "production",
        about: "The Sigstore instance to sign with and to believe: a public one, or one that `model-signing trust add` was given.",
        show: Show::Url,
        read: |config, value| {
            let name = value.to_str()?;
            // Kept even where there is more than an address: then no other instance signs.
            config.keyless.instance = Instance::named(name)?;
            (address(name) == name).then_some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_TRUST_CONFIG",
        values: "path",
        default: "",
        about: "The Sigstore instance to sign with and to believe instead: a ClientTrustConfig file, which holds its keys and its addresses.",
        show: Show::Path,
        read: |config, value| {
            let path = value.path()?;
            let instance = &mut config.keyless.instance;
            instance.set_file(|files| files.trust_config = Some(path));
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_TRUSTED_ROOT",
        values: "path",
        default: "",
        about: "The same in the two files that cosign has: its trusted_root.json, with the keys and certificates. Alone it can verify, and not sign.",
        show: Show::Path,
        read: |config, value| {
            let path = value.path()?;
            let instance = &mut config.keyless.instance;
            instance.set_file(|files| files.trusted_root = Some(path));
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_SIGNING_CONFIG",
        values: "path",
        default: "",
        about: "And its signing_config.json, with the addresses.",
        show: Show::Path,
        read: |config, value| {
            let path = value.path()?;
            let instance = &mut config.keyless.instance;
            instance.set_file(|files| files.signing_config = Some(path));
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_REKOR_VERSION",
        values: "auto, 1, 2",
        default: "auto",
        about: "Which version of the log is asked. `auto`: the highest that the instance has and this program speaks.",
        show: Show::Whole,
        read: |config, value| {
            config.keyless.rekor_version = match value.to_str()? {
                "auto" => None,
                "1" => Some(1),
                "2" => Some(2),
                _ => return None,
            };
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_TIMESTAMP_URL",
        values: "URL",
        default: "",
        about: "The timestamp authority to ask (RFC 3161) instead of those of the instance, whose trusted root must name it, too. With a private key the one to ask when signing, if any.",
        show: Show::Url,
        read: |config, value| {
            value
                .to_text()
                .map(|text| config.keyless.timestamp_url = Some(text))
        },
    },
    Setting {
        variable: "MODEL_SIGNING_PUBLIC_LOG",
        values: "allow, deny",
        default: "allow",
        about: "Whether to sign with a public instance, whose log shows the signer's identity, the time and a hash of what was signed to everybody, for ever.",
        show: Show::Whole,
        read: |config, value| {
            // What cannot be read denies: what is public once stays so.
            config.keyless.deny_public_log = value.text() != "allow";
            matches!(value.to_str()?, "allow" | "deny").then_some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_RATE",
        values: "N/s, N/min, N/h, or off",
        default: "30/min",
        about: "How many signatures a session makes, all at once or evenly; what is too much waits. The default holds for the public instances alone, a value for any.",
        show: Show::Whole,
        read: |config, value| {
            config.keyless.rate = rate(value.to_str()?)?;
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_TIMEOUT",
        values: "duration, such as 90s or 5m",
        default: "60s",
        about: "How long the services may take for one signature, all of them together. Waiting for MODEL_SIGNING_RATE, or for a person, does not count.",
        show: Show::Whole,
        read: |config, value| {
            let limit = duration(value.to_str()?).filter(|limit| !limit.is_zero())?;
            config.keyless.timeout = Some(limit);
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_RETRIES",
        values: "number from 0",
        default: "4",
        about: "How often a request is tried again that failed for a passing reason.",
        show: Show::Whole,
        read: |config, value| {
            config.keyless.retries = Some(value.to_str()?.parse().ok()?);
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_CA_BUNDLE",
        values: "path",
        default: "$SSL_CERT_FILE",
        about: "PEM file with the CA certificates that the services' TLS certificates must come from, instead of those of the web. $REQUESTS_CA_BUNDLE is read, too; of these two what is not there is passed over.",
        show: Show::Path,
        read: |config, value| {
            value
                .path()
                .map(|path| config.keyless.ca_bundle = Some(path))
        },
    },
];
