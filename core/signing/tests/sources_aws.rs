//! Tokens of AWS: from what it shows a machine, through the real Fulcio, to the name in the certificate; and what
//! STS refuses.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod platform;
mod stack;

use std::path::Path;

use autosign_signing::{Error, Surroundings};
use platform::{
    NONE, Platform, Reply, Request, SHORT, at_once, certified, field, is_refused_soon, machine,
    put, silent, trainer,
};
use serde_json::json;
use sha2::{Digest, Sha256};
use stack::STACK;
use tempfile::tempdir;

const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SESSION: &str = "IQoJb3JpZ2luX2VjEXAMPLE//session==";

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = Sha256::digest([&block.map(|byte| byte ^ 0x36)[..], message].concat());
    Sha256::digest([&block.map(|byte| byte ^ 0x5c)[..], &inner].concat()).into()
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

/// Whether the request, as it came in, is signed as AWS documents, by [`SECRET_KEY`].
fn is_signed(request: &Request, id: &str, region: &str) -> bool {
    let authorization = request.header("authorization");
    let fields = authorization.strip_prefix("AWS4-HMAC-SHA256 ").unwrap();
    let fields: Vec<_> = fields
        .split(", ")
        .map(|field| field.split_once('=').unwrap().1)
        .collect();
    let [credential, names, signature] = fields[..] else {
        panic!("{authorization}")
    };
    let time = request.header("x-amz-date");
    let day = &time[..8];
    assert_eq!(credential, format!("{id}/{day}/{region}/sts/aws4_request"));
    for name in ["host", "x-amz-date", "content-type"] {
        assert!(names.split(';').any(|signed| signed == name), "{names}");
    }
    let has = request.headers.contains_key("x-amz-security-token");
    assert_eq!(has, names.contains("x-amz-security-token"));
    let headers: Vec<_> = names
        .split(';')
        .map(|name| format!("{name}:{}\n", request.header(name)))
        .collect();
    let headers = headers.concat();
    let (path, query) = request
        .target
        .split_once('?')
        .unwrap_or((&request.target, ""));
    let body = hex(&Sha256::digest(&request.body));
    let canonical = format!(
        "{}\n{path}\n{query}\n{headers}\n{names}\n{body}",
        request.method
    );
    let canonical = hex(&Sha256::digest(canonical));
    let message = format!("AWS4-HMAC-SHA256\n{time}\n{day}/{region}/sts/aws4_request\n{canonical}");
    let mut key = format!("AWS4{SECRET_KEY}").into_bytes();
    for part in [day, region, "sts", "aws4_request", &message] {
        key = hmac(&key, part.as_bytes()).to_vec();
    }
    hex(&key) == signature
}

fn aws_error(code: &str, message: &str) -> String {
    format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n  <Error>\n    \
         <Type>Sender</Type>\n    <Code>{code}</Code>\n    <Message>{message}</Message>\n  </Error>\n  \
         <RequestId>01234567-89ab</RequestId>\n</ErrorResponse>\n"
    )
}

fn web_identity_token(token: &str) -> String {
    format!(
        "<GetWebIdentityTokenResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n  \
         <GetWebIdentityTokenResult>\n    <WebIdentityToken>{token}</WebIdentityToken>\n    \
         <Expiration>2026-01-01T00:00:00Z</Expiration>\n  </GetWebIdentityTokenResult>\n  \
         <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>\n</GetWebIdentityTokenResponse>"
    )
}

fn fields(request: &Request) -> Vec<(String, String)> {
    let body = request.body.as_bytes();
    form_urlencoded::parse(body).into_owned().collect()
}

/// STS, for whoever signs with the key `id` in `region`; `other` answers what is no `GetWebIdentityToken`.
fn sts(
    id: &'static str,
    region: &'static str,
    other: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> Platform {
    let token = STACK.token("uri", &json!({}), "");
    Platform::new(move |request| {
        if !request.body.starts_with("Action=GetWebIdentityToken&") {
            return other(request);
        }
        let asked: Vec<_> = fields(request).into_iter().skip(1).collect();
        let expected = [
            ("Version", "2011-06-15"),
            ("Audience.member.1", "sigstore"),
            ("SigningAlgorithm", "ES384"),
            ("DurationSeconds", "300"),
        ];
        assert_eq!(
            asked,
            expected.map(|(name, value)| (name.into(), value.into()))
        );
        if is_signed(request, id, region) {
            (200, web_identity_token(&token))
        } else {
            (403, aws_error("SignatureDoesNotMatch", "no"))
        }
    })
}

/// A job with credentials in its environment.
fn keyed(endpoint: &str, root: &Path) -> Surroundings {
    machine(
        &[
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_SESSION_TOKEN", SESSION),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ENDPOINT_URL_STS", endpoint),
        ],
        root,
    )
}

#[test]
fn aws_makes_a_token_for_credentials_in_the_environment() {
    let root = tempdir().unwrap();
    let server = sts("AKIDEXAMPLE", "eu-central-1", |_| NONE);
    for path in ["", "/", "/below/here"] {
        assert_eq!(
            certified(keyed(&server.url(path), root.path())).unwrap(),
            trainer()
        );
    }
    let seen = server.seen();
    assert_eq!(seen[1].target, "/");
    assert_eq!(seen[2].target, "/below/here/");
    assert_eq!(seen[0].header("x-amz-security-token"), SESSION);

    let here = machine(
        &[
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_DEFAULT_REGION", "eu-central-1"),
            ("AWS_ENDPOINT_URL", &server.url("")),
        ],
        root.path(),
    );
    assert_eq!(certified(here).unwrap(), trainer());
}

#[test]
fn aws_takes_a_role_by_the_token_of_a_pod_which_goes_to_sts_only() {
    let root = tempdir().unwrap();
    // Fulcio would take it: were it sent there, this would be Kubernetes' name.
    let pod = STACK.token("kubernetes", &json!({}), "");
    let path = put(root.path(), "/token", &pod);
    let server = sts("ASIAROLE", "eu-central-1", move |_| {
        let answer = format!(
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
             <AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>{SECRET_KEY}</SecretAccessKey>\
             <SessionToken>{SESSION}</SessionToken><Expiration>2026-01-01T00:00:00Z</Expiration>\
             </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        );
        (200, answer)
    });
    let role = "arn:aws:iam::123456789012:role/trainer";
    let here = |endpoint: &str| {
        machine(
            &[
                ("AWS_WEB_IDENTITY_TOKEN_FILE", &path),
                ("AWS_ROLE_ARN", role),
                ("AWS_REGION", "eu-central-1"),
                ("AWS_ENDPOINT_URL_STS", endpoint),
            ],
            root.path(),
        )
    };
    assert_eq!(certified(here(&server.url(""))).unwrap(), trainer());
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].header("authorization"), "");
    let asked = fields(&seen[0]);
    assert_eq!(field(&asked, "Action"), "AssumeRoleWithWebIdentity");
    assert_eq!(field(&asked, "Version"), "2011-06-15");
    assert_eq!(field(&asked, "RoleArn"), role);
    assert_eq!(field(&asked, "WebIdentityToken"), pod);
    assert_eq!(field(&asked, "RoleSessionName"), "model-signing-autosign");
    assert!(!format!("{:?}", seen[1]).contains(&pod));

    let quoting = Platform::new(|request| (403, aws_error("AccessDenied", &request.body)));
    let error = certified(here(&quoting.url(""))).unwrap_err().to_string();
    assert!(error.contains("trust policy"), "{error}");
    assert!(!error.contains(&pod) && !error.contains("eyJ"), "{error}");
}

#[test]
fn aws_asks_the_container_s_server_with_its_token() {
    let root = tempdir().unwrap();
    let server = sts("ASIATASK", "eu-central-1", |request| {
        if request.header("authorization") != "pod-token" || request.target != "/v1/credentials" {
            return NONE;
        }
        let answer = json!({"AccessKeyId": "ASIATASK", "SecretAccessKey": SECRET_KEY,
            "Token": SESSION, "Expiration": "2026-01-01T00:00:00Z"});
        (200, answer.to_string())
    });
    let path = put(root.path(), "/authorization", "pod-token\n");
    for token in [
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod-token"),
    ] {
        let here = machine(
            &[
                (
                    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                    &server.url("/v1/credentials"),
                ),
                token,
                ("AWS_REGION", "eu-central-1"),
                ("AWS_ENDPOINT_URL_STS", &server.url("")),
            ],
            root.path(),
        );
        assert_eq!(certified(here).unwrap(), trainer());
    }
}

#[test]
fn aws_asks_no_server_that_is_far_in_plain_http() {
    let root = tempdir().unwrap();
    let far = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/v1"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod-token"),
        ("AWS_REGION", "eu-central-1"),
    ];
    let error = certified(machine(&far, root.path()))
        .unwrap_err()
        .to_string();
    assert!(error.contains("neither https"), "{error}");
    let error = certified(keyed("http://192.0.2.1", root.path())).unwrap_err();
    assert!(error.to_string().contains("only https"), "{error}");
}

/// An EC2 instance with `role`, and STS beside it.
fn ec2(role: Reply) -> Platform {
    const METADATA: &str = "/latest/meta-data";
    sts("ASIAROLE", "us-east-2", move |request| {
        if (request.method.as_str(), request.target.as_str()) == ("PUT", "/latest/api/token") {
            let ttl = request.header("x-aws-ec2-metadata-token-ttl-seconds");
            assert!(ttl.parse::<u32>().unwrap() > 0);
            return (200, "IMDS-session-token==".to_owned());
        }
        if request.header("x-aws-ec2-metadata-token") != "IMDS-session-token==" {
            return (401, String::new());
        }
        let credentials = json!({"Code": "Success", "Type": "AWS-HMAC",
            "AccessKeyId": "ASIAROLE", "SecretAccessKey": SECRET_KEY, "Token": SESSION});
        match request.target.strip_prefix(METADATA).unwrap() {
            "/placement/region" => (200, "us-east-2".to_owned()),
            "/iam/security-credentials/" => role.clone(),
            "/iam/security-credentials/trainer" => (200, credentials.to_string()),
            _ => NONE,
        }
    })
}

fn instance(server: &Platform, more: &[(&str, &str)], root: &Path) -> Surroundings {
    let url = server.url("");
    let endpoints = [
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.as_str()),
        ("AWS_ENDPOINT_URL_STS", url.as_str()),
    ];
    machine(&[&endpoints[..], more].concat(), root)
}

#[test]
fn aws_takes_role_and_region_of_the_instance() {
    let root = tempdir().unwrap();
    let server = ec2((200, "trainer".to_owned()));
    assert_eq!(
        certified(instance(&server, &[], root.path())).unwrap(),
        trainer()
    );

    let bare = ec2((404, String::new()));
    let error = certified(instance(&bare, &[], root.path()))
        .unwrap_err()
        .to_string();
    assert!(error.contains("instance profile"), "{error}");

    let lying = ec2((200, "../../user-data".to_owned()));
    let error = certified(instance(&lying, &[], root.path())).unwrap_err();
    assert!(matches!(error, Error::ServiceMisbehaved { .. }), "{error}");

    let server = ec2((200, "trainer".to_owned()));
    let off = [("AWS_EC2_METADATA_DISABLED", "true")];
    let error = certified(instance(&server, &off, root.path()))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("AWS_EC2_METADATA_DISABLED is set"),
        "{error}"
    );
    assert!(server.seen().is_empty());
}

#[test]
fn aws_says_what_the_account_and_the_role_need() {
    let root = tempdir().unwrap();
    for (code, advice) in [
        (
            "OutboundWebIdentityFederationDisabledException",
            "iam:EnableOutboundWebIdentityFederation",
        ),
        (
            "OutboundWebIdentityFederationDisabled",
            "iam:EnableOutboundWebIdentityFederation",
        ),
        ("AccessDenied", "sts:GetWebIdentityToken"),
        ("ExpiredToken", "ExpiredToken: as said"),
    ] {
        let server = Platform::new(move |_| (403, aws_error(code, "as said")));
        let error = certified(keyed(&server.url(""), root.path()))
            .unwrap_err()
            .to_string();
        assert!(error.contains(advice), "{error}");
        assert!(error.contains("as said") && !error.contains('<'), "{error}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[test]
fn aws_that_quotes_the_request_gives_no_secret_away() {
    let root = tempdir().unwrap();
    // The text of a refusal is cut somewhere: not in the middle of a secret.
    for before in (0..400).step_by(15) {
        let server = Platform::new(move |request| {
            let (token, signature) = ("x-amz-security-token", "authorization");
            let (token, signature) = (request.header(token), request.header(signature));
            let quoted = format!("{}\n{token} {signature}", "x".repeat(before));
            (403, aws_error("SignatureDoesNotMatch", &quoted))
        });
        let here = keyed(&server.url(""), root.path());
        let error = certified(here).unwrap_err().to_string();
        assert!(error.contains("SignatureDoesNotMatch"), "{error}");
        assert!(!error.contains(&SESSION[..4]), "{error}");
        assert!(!error.contains("Signature="), "{error}");
    }
}

#[test]
fn aws_answers_that_are_none() {
    let root = tempdir().unwrap();
    let token = STACK.token("uri", &json!({}), "");
    let twice = web_identity_token(&token).repeat(2);
    let hidden = format!("<!-- {} -->", web_identity_token(&token));
    for body in ["", "{}", "<a></a>", "<WebIdentityToken>x", &twice, &hidden] {
        let body = body.to_owned();
        let server = Platform::new(move |_| (200, body.clone()));
        let error = certified(keyed(&server.url(""), root.path())).unwrap_err();
        assert!(matches!(error, Error::ServiceMisbehaved { .. }), "{error}");
        assert!(!error.to_string().contains("eyJ"), "{error}");
    }
    let other = STACK.token("uri", &json!({"aud": "other"}), "");
    let server = Platform::new(move |_| (200, web_identity_token(&other)));
    let error = certified(keyed(&server.url(""), root.path()))
        .unwrap_err()
        .to_string();
    assert!(error.contains("audience"), "{error}");
}

#[test]
fn aws_is_asked_where_it_is_only() {
    let root = tempdir().unwrap();
    let error = at_once(machine(&[], root.path()));
    assert!(
        error.contains("no EC2 instance, and AWS_ACCESS_KEY_ID is not set"),
        "{error}"
    );
    let error = at_once(machine(
        &[("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")],
        root.path(),
    ));
    assert!(error.contains("AWS_REGION is not"), "{error}");
    let half = [
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_REGION", "eu-central-1"),
    ];
    let error = at_once(machine(&half, root.path()));
    assert!(
        error.contains("AWS_SECRET_ACCESS_KEY is not set"),
        "{error}"
    );
    let strange = [
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_REGION", "x.evil.example/"),
    ];
    let error = at_once(machine(&strange, root.path()));
    assert!(error.contains("no region"), "{error}");
    for (path, text) in [
        (
            "/sys/devices/virtual/dmi/id/board_asset_tag",
            "i-0af01c0123456789a\n",
        ),
        (
            "/sys/hypervisor/uuid",
            "ec2e1916-9099-7caf-fd21-012345abcdef\n",
        ),
    ] {
        let root = tempdir().unwrap();
        put(root.path(), path, text);
        let error = at_once(machine(&[], root.path()));
        assert!(error.contains("the EC2 metadata server"), "{error}");
        // Where STS is by default, in each part of AWS.
        for (region, host) in [
            ("us-east-2", "https://sts.us-east-2.amazonaws.com/"),
            ("cn-north-1", "https://sts.cn-north-1.amazonaws.com.cn/"),
        ] {
            let keys = [
                ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
                ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
                ("AWS_REGION", region),
            ];
            let error = at_once(machine(&keys, root.path()));
            assert!(error.contains(host), "{error}");
        }
    }
}

#[test]
fn aws_that_hangs_holds_nothing_up() {
    let root = tempdir().unwrap();
    let (_listener, address) = silent();
    let url = format!("http://{address}");
    is_refused_soon(keyed(&url, root.path()), SHORT);
    let server = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.as_str());
    is_refused_soon(machine(&[server], root.path()), SHORT);
}
