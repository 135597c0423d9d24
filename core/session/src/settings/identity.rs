//! Where identity tokens come from, and in whose name they may sign.

use autosign_signing::{Credentials, Sources, SubjectType};
use zeroize::Zeroizing;

use super::Setting;
use crate::show::Show;

pub(super) const ROWS: &[Setting] = &[
    Setting {
        variable: "MODEL_SIGNING_IDENTITY_TOKEN_FILE",
        values: "path",
        default: "",
        about: "A file with the OIDC identity token to sign with, read again for every certificate: what renews it may do so at any time.",
        show: Show::SecretFile,
        read: |config, value| {
            value
                .path()
                .map(|path| config.keyless.token_file = Some(path))
        },
    },
    Setting {
        variable: "MODEL_SIGNING_IDENTITY_TOKEN",
        values: "text",
        default: "$SIGSTORE_ID_TOKEN",
        about: "The token itself, if there is no file; $SIGSTORE_IDENTITY_TOKEN is read, too. A file is the better place: it can be renewed, and child processes inherit the environment.",
        show: Show::Hidden,
        read: |config, value| {
            config.keyless.token = Some(Zeroizing::new(value.to_str()?.to_owned()));
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_IDENTITY_TOKEN_COMMAND",
        values: "words, as for a shell that expands nothing",
        default: "",
        about: "A program that prints a token, or JSON with one in `token`; it finds the audience in MODEL_SIGNING_AUDIENCE and has half a minute.",
        show: Show::Command,
        read: |config, value| {
            value
                .to_text()
                .map(|text| config.keyless.command = Some(text))
        },
    },
    Setting {
        variable: "MODEL_SIGNING_IDENTITY_TOKEN_URL",
        values: "URL",
        default: "",
        about: "A web service that gives a token to a GET request; `{audience}` in it stands for the audience.",
        show: Show::Url,
        read: |config, value| value.to_text().map(|text| config.keyless.url = Some(text)),
    },
    Setting {
        variable: "MODEL_SIGNING_IDENTITY_TOKEN_HEADERS",
        values: "NAME: VALUE; NAME: VALUE",
        default: "",
        about: "What that request carries.",
        show: Show::Hidden,
        read: |config, value| {
            config.keyless.headers = Some(Zeroizing::new(value.to_str()?.to_owned()));
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_IDENTITY_TOKEN_HEADERS_FILE",
        values: "path",
        default: "",
        about: "A file with them instead, on one line or several, read again for every token. The better place: child processes inherit the environment.",
        show: Show::SecretFile,
        read: |config, value| {
            value
                .path()
                .map(|path| config.keyless.headers_file = Some(path))
        },
    },
    Setting {
        variable: "MODEL_SIGNING_IDENTITY_TOKEN_FIELD",
        values: "name, or JSON pointer",
        default: "",
        about: "Where the token is in the answer, if that is JSON.",
        show: Show::Whole,
        read: |config, value| {
            value
                .to_text()
                .map(|text| config.keyless.field = Some(text))
        },
    },
    Setting {
        variable: "MODEL_SIGNING_TOKEN_EXCHANGE_URL",
        values: "URL",
        default: "",
        about: "Token endpoint of an identity provider of one's own that exchanges the token for one that Fulcio takes (RFC 8693), such as Dex.",
        show: Show::Url,
        read: |config, value| {
            value
                .to_text()
                .map(|text| config.keyless.exchange_url = Some(text))
        },
    },
    Setting {
        variable: "MODEL_SIGNING_TOKEN_EXCHANGE_CLIENT_ID",
        values: "text",
        default: "",
        about: "As whom that is asked, and the audience that the token to exchange must be for; else that is MODEL_SIGNING_AUDIENCE.",
        show: Show::Whole,
        read: |config, value| {
            value
                .to_text()
                .map(|text| config.keyless.exchange_client = Some(text))
        },
    },
    Setting {
        variable: "MODEL_SIGNING_TOKEN_EXCHANGE_CLIENT_SECRET_FILE",
        values: "path",
        default: "",
        about: "A file whose first line is the client's secret.",
        show: Show::SecretFile,
        read: |config, value| {
            value
                .path()
                .map(|path| config.keyless.exchange_secret_file = Some(path))
        },
    },
    Setting {
        variable: "MODEL_SIGNING_TOKEN_EXCHANGE_CONNECTOR",
        values: "text",
        default: "",
        about: "The connector of Dex that judges the token to exchange.",
        show: Show::Whole,
        read: |config, value| {
            value
                .to_text()
                .map(|text| config.keyless.exchange_connector = Some(text))
        },
    },
    Setting {
        variable: "MODEL_SIGNING_TOKEN_EXCHANGE_SUBJECT_TYPE",
        values: "id_token, access_token, jwt",
        default: "id_token",
        about: "What the token to exchange is called (RFC 8693 section 3): Dex takes an ID token, Keycloak an access token of its own.",
        show: Show::Whole,
        read: |config, value| {
            config.keyless.exchange_subject_type = match value.to_str()? {
                "access_token" => SubjectType::AccessToken,
                "id_token" => SubjectType::IdToken,
                "jwt" => SubjectType::Jwt,
                _ => return None,
            };
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_SPIFFE_ID",
        values: "spiffe:// URI",
        default: "",
        about: "Which identity to sign as where the SPIFFE agent gives several; else the first.",
        show: Show::Whole,
        read: |_, value| value.to_str().map(drop),
    },
    Setting {
        variable: "MODEL_SIGNING_VAULT_ROLE",
        values: "text",
        default: "",
        about: "The role of Vault's identity secrets engine that issues tokens, whose client id is the audience; with $VAULT_ADDR and $VAULT_TOKEN or ~/.vault-token.",
        show: Show::Whole,
        read: |_, value| value.to_str().map(drop),
    },
    Setting {
        variable: "MODEL_SIGNING_CREDENTIALS",
        values: "auto, or a list of file, env, exec, http, github, gitlab, buildkite, circleci, kubernetes, kubernetes-api, spiffe, gcp-impersonation, gcp, aws, azure, vault",
        default: "auto",
        about: "Where tokens may come from. `auto`: from the settings above, where one is set, else from what the job finds where it runs, asked in the order of this list. A list names sources and their order; `-NAME` leaves one out.",
        show: Show::Whole,
        read: |config, value| {
            let given = ["file", "env", "exec", "http"];
            let names = [&given[..], &Sources::names()].concat();
            config.keyless.credentials = Credentials::parse(value.to_str()?, &names)?;
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_EXPECT_IDENTITY",
        values: "text, glob:PATTERN, or re:EXPRESSION",
        default: "",
        about: "Sign as nobody else: the name that the certificate must have, an email address, URI or username. A token for anybody else is not sent.",
        show: Show::Whole,
        read: |config, value| {
            // Kept even where it is wrong: then nothing is signed, and not by anybody.
            config.keyless.expected.0 = Some(value.text().to_string_lossy().into_owned());
            config.keyless.guard().ok().map(drop)
        },
    },
    Setting {
        variable: "MODEL_SIGNING_EXPECT_ISSUER",
        values: "text, glob:PATTERN, or re:EXPRESSION",
        default: "",
        about: "The same for the issuer of the token, a URL.",
        show: Show::Whole,
        read: |config, value| {
            config.keyless.expected.1 = Some(value.text().to_string_lossy().into_owned());
            config.keyless.guard().ok().map(drop)
        },
    },
    Setting {
        variable: "MODEL_SIGNING_AUDIENCE",
        values: "text",
        default: "sigstore",
        about: "The audience that the token must be for: the client id of the instance's Fulcio. A token for another audience is never sent.",
        show: Show::Whole,
        read: |config, value| {
            value
                .to_text()
                .map(|text| config.keyless.audience = Some(text))
        },
    },
];
