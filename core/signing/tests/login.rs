//! A person who logs in, at a real issuer and in front of a real Fulcio: whatever does not belong to this login ends it,
//! and nothing is sent to Fulcio.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod stack;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use autosign_signing::{
    Bundle, Connection, Error, ExpectedSigner, KeylessSigner, KeylessVerifier, Login, Prompt,
    Sources, Verifier, seal,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use stack::{Answer, Hurried, Proxy, STACK, origin, redirected, statement};
use ureq::ResponseExt;
use zeroize::Zeroizing;

/// A person, who does this with the address of the login page and may answer with a code.
type Act = dyn Fn(&str) -> String + Send + Sync;

#[derive(Clone)]
struct Person {
    act: Arc<Act>,
    /// The addresses shown.
    shown: Arc<Mutex<Vec<String>>>,
}

impl Person {
    fn who(act: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self {
            act: Arc::new(act),
            shown: Arc::default(),
        }
    }
}

impl Prompt for Person {
    fn open(&self, url: &str) {
        self.shown.lock().unwrap().push(url.to_owned());
        let (act, url) = (Arc::clone(&self.act), url.to_owned());
        std::thread::spawn(move || act(&url));
    }

    fn code(&self, url: &str) -> Result<Zeroizing<String>, Error> {
        self.shown.lock().unwrap().push(url.to_owned());
        Ok(Zeroizing::new((self.act)(url)))
    }
}

/// A browser: what the page at the end of the redirects says.
fn browse(url: &str) -> String {
    let mut response = ureq::get(url).call().unwrap();
    response.body_mut().read_to_string().unwrap()
}

/// Where the issuer sends the browser.
fn sent_to(url: &str) -> String {
    let agent = ureq::Agent::config_builder()
        .max_redirects(0)
        .max_redirects_will_error(false)
        .build()
        .new_agent();
    let response = agent.get(url).call().unwrap();
    response.headers()["location"].to_str().unwrap().to_owned()
}

fn parameter(url: &str, name: &str) -> String {
    let query = url.split_once('?').unwrap().1;
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(found, _)| found == name).unwrap().1.into()
}

fn login_at(issuer: String, person: &Person) -> Login {
    let connection = Connection::new(None, Arc::new(Hurried::default())).unwrap();
    Login::new(issuer, connection, Box::new(person.clone())).within(Duration::from_secs(20))
}

fn login(person: &Person) -> Login {
    login_at(STACK.provider("email"), person)
}

/// Signs; how often Fulcio was asked, and who signed.
fn signed(login: Login) -> (usize, Result<String, Error>) {
    signed_by(login, |_, honest| honest)
}

/// The same with a Fulcio that lies.
fn signed_by(
    login: Login,
    lie: impl Fn(usize, Answer) -> Answer + Send + Sync + 'static,
) -> (usize, Result<String, Error>) {
    let trust = STACK.trust_json("trust_config");
    let fulcio = Proxy::before(&origin(&trust, "caUrls"), lie);
    let connection = Connection::new(None, Arc::new(Hurried::default())).unwrap();
    let proxied = redirected(&trust, "caUrls", &fulcio);
    let signer = KeylessSigner::new(proxied, Sources::only(Box::new(login), connection)).unwrap();
    let result = seal(&statement(b"weights"), &signer).map(|bytes| {
        let issuer = STACK.provider("email");
        let expected = ExpectedSigner::new("alice@example.test", &issuer).unwrap();
        let verifier = KeylessVerifier::new(&stack::parsed(&trust), expected).unwrap();
        let proven = verifier.verify(&Bundle::parse(&bytes).unwrap()).unwrap();
        proven.signer().to_owned()
    });
    (fulcio.asked(), result)
}

/// The error of a login that must not reach Fulcio.
fn refused(login: Login) -> String {
    let (asked, result) = signed(login);
    assert_eq!(asked, 0, "something went to Fulcio");
    result.expect_err("signed").to_string()
}

/// The email issuer, which lies.
fn lying(lie: impl Fn(&str, Answer) -> Answer + Send + Sync + 'static) -> String {
    let own: Arc<Mutex<String>> = Arc::default();
    let url = Arc::clone(&own);
    let honest_url = STACK.told("issuer").to_owned();
    let proxy = Proxy::before(STACK.told("issuer"), move |_, honest| {
        let own = own.lock().unwrap();
        // Its endpoints and its name are those of the proxy.
        let body = String::from_utf8(honest.body.clone()).unwrap();
        let body = body.replace(&honest_url, &own).into_bytes();
        lie(&own, Answer { body, ..honest })
    });
    url.lock().unwrap().clone_from(&proxy.url);
    format!("{}/email", proxy.url)
}

fn edited(answer: &Answer, edit: impl FnOnce(&mut Value)) -> Answer {
    let mut body: Value = serde_json::from_slice(&answer.body).unwrap();
    edit(&mut body);
    Answer {
        body: body.to_string().into_bytes(),
        ..answer.clone()
    }
}

#[test]
fn a_browser_on_this_machine() {
    let pages: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&pages);
    let person = Person::who(move |url| {
        // What browsers ask for by themselves, and a connection in advance on which nothing comes.
        let callback = parameter(url, "redirect_uri");
        let origin = callback.strip_suffix("/auth/callback").unwrap();
        let authority = origin.strip_prefix("http://").unwrap();
        let idle = std::net::TcpStream::connect(authority).unwrap();
        let favicon = ureq::get(format!("{origin}/favicon.ico")).call();
        assert!(matches!(favicon, Err(ureq::Error::StatusCode(404))));
        drop(idle);
        let mut response = ureq::get(url).call().unwrap();
        assert_eq!(response.get_uri().path(), "/auth/callback");
        let page = response.body_mut().read_to_string().unwrap();
        seen.lock().unwrap().push(page);
        String::new()
    });
    let (asked, result) = signed(login(&person));
    assert_eq!((asked, result.unwrap().contains("alice")), (1, true));

    let url = person.shown.lock().unwrap()[0].clone();
    assert!(url.starts_with(&format!("{}/authorize?", STACK.provider("email"))));
    assert_eq!(parameter(&url, "scope"), "openid email");
    for secret in ["state", "nonce", "code_challenge"] {
        assert_eq!(parameter(&url, secret).len(), 43, "{secret}");
    }
    assert_ne!(parameter(&url, "state"), parameter(&url, "nonce"));
    let redirect = parameter(&url, "redirect_uri");
    let address = redirect.strip_prefix("http://").unwrap();
    let address = address.split('/').next().unwrap();
    assert!(
        std::net::TcpStream::connect(address).is_err(),
        "still listening"
    );
}

#[test]
fn a_code_carried_over_by_hand() {
    let person = Person::who(|url| format!("  {}\n", browse(url)));
    let (asked, result) = signed(login(&person).out_of_band());
    assert_eq!((asked, result.unwrap().contains("alice")), (1, true));
    let shown = person.shown.lock().unwrap()[0].clone();
    assert_eq!(
        parameter(&shown, "redirect_uri"),
        "urn:ietf:wg:oauth:2.0:oob"
    );
}

#[test]
fn an_answer_that_is_not_for_this_login() {
    let forged = |forge: fn(&str, &str) -> String| {
        Person::who(move |url| {
            let honest = sent_to(url);
            let state = parameter(&honest, "state");
            browse(&honest.replace(&format!("state={state}"), &forge(&state, "state=")))
        })
    };
    let forgeries: [fn(&str, &str) -> String; 4] = [
        |_, name| format!("{name}AAAA"),
        |_, _| String::new(),
        |state, name| format!("{name}{state}&{name}{state}"),
        |state, name| format!("{name}{state}A"),
    ];
    for forge in forgeries {
        let why = refused(login(&forged(forge)));
        assert!(why.contains("not for this login"), "{why}");
    }
}

#[test]
fn a_person_who_says_no() {
    let person = Person::who(|url| {
        let state = parameter(url, "state");
        let callback = parameter(url, "redirect_uri");
        browse(&format!(
            "{callback}?error=access_denied&error_description=x%1b[2J&state={state}"
        ))
    });
    let why = refused(login(&person));
    assert!(
        why.contains("access_denied") && !why.contains('\x1b'),
        "{why}"
    );
    let why = refused(login(&Person::who(|_| "\n".to_owned())).out_of_band());
    assert!(why.contains("no code"), "{why}");
}

#[test]
fn a_person_who_never_comes() {
    let started = Instant::now();
    let login = login(&Person::who(|_| String::new())).within(Duration::from_millis(300));
    let why = refused(login);
    assert!(why.contains("in time"), "{why}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_code_that_is_not_good() {
    let why = refused(login(&Person::who(|_| "SECRETCODE".to_owned())).out_of_band());
    assert!(
        why.contains("invalid_grant") && !why.contains("SECRET"),
        "{why}"
    );
    // Redeemed before, as by a thief: who does not know the verifier gets nothing, and the person no token.
    let thief = Person::who(|url| {
        let code = browse(url);
        let theft = ureq::post(format!("{}/token", STACK.provider("email"))).send_form([
            ("grant_type", "authorization_code"),
            ("client_id", "sigstore"),
            ("redirect_uri", "urn:ietf:wg:oauth:2.0:oob"),
            ("code", code.as_str()),
            ("code_verifier", "guessed"),
        ]);
        assert!(matches!(theft, Err(ureq::Error::StatusCode(400))));
        code
    });
    let why = refused(login(&thief).out_of_band());
    assert!(why.contains("invalid_grant"), "{why}");
}

#[test]
fn a_token_that_is_not_for_this_login() {
    // Its issuer is the proxy's name, or the login would end there.
    let minted = |claims: fn(&str) -> Value, says: &str| {
        let issuer = lying(move |own, honest| {
            let body = String::from_utf8_lossy(&honest.body).into_owned();
            if !body.contains("id_token\"") {
                return honest;
            }
            edited(&honest, |body| {
                let mut honest = payload(body["id_token"].as_str().unwrap());
                honest["iss"] = json!(format!("{own}/email"));
                for (name, claim) in claims(own).as_object().unwrap() {
                    honest[name] = claim.clone();
                }
                body["id_token"] = json!(STACK.token("email", &honest, ""));
            })
        });
        let person = Person::who(browse);
        let why = refused(login_at(issuer, &person).out_of_band());
        assert!(why.contains(says), "{why}");
        assert!(!why.contains("eyJ"), "{why}");
    };
    minted(|_| json!({"nonce": "another"}), "another login");
    minted(|_| json!({"nonce": null}), "another login");
    minted(|_| json!({"nonce": 7}), "another login");
    minted(
        |_| json!({"iss": "https://issuer.example"}),
        "issuer.example",
    );
    minted(|own| json!({"iss": format!("{own}/email/")}), "its issuer");
    minted(|_| json!({"aud": "another-client"}), "audience");
    minted(|_| json!({"exp": 1_600_000_000}), "expired");
}

fn payload(token: &str) -> Value {
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

#[test]
fn an_issuer_that_lies_about_itself() {
    let lies: [(&str, Value); 8] = [
        ("issuer", json!("https://other.example")),
        ("authorization_endpoint", json!("http://login.example/")),
        ("authorization_endpoint", json!("file://localhost/etc")),
        ("authorization_endpoint", json!("-https://login.example/")),
        (
            "authorization_endpoint",
            json!("https://login.example/\u{1b}[2J"),
        ),
        ("authorization_endpoint", json!("https://login.example/#x")),
        ("token_endpoint", json!("http://token.example/")),
        ("token_endpoint", json!(null)),
    ];
    for (name, lie) in lies {
        let issuer = lying(move |_, honest| {
            if honest.body.starts_with(b"{") {
                edited(&honest, |body| body[name] = lie.clone())
            } else {
                honest
            }
        });
        let person = Person::who(browse);
        let why = refused(login_at(issuer, &person).out_of_band());
        assert!(!why.contains('\x1b'), "{why}");
        // Nobody is sent to a page that is none.
        let asked = person.shown.lock().unwrap().len();
        let only_the_token_is_elsewhere = why.contains("token.example");
        assert_eq!(asked, usize::from(only_the_token_is_elsewhere), "{why}");
    }
    let plain = "http://issuer.example".to_owned();
    let why = refused(login_at(plain, &Person::who(|_| String::new())));
    assert!(why.contains("https"), "{why}");
}

#[test]
fn a_token_endpoint_that_repeats_what_it_was_sent() {
    for status in [400, 401, 403, 500] {
        let issuer = lying(move |_, honest| {
            if honest.body.starts_with(b"{") && !honest.body.windows(9).any(|w| w == b"id_token\"")
            {
                return honest;
            }
            if !honest.body.starts_with(b"{") {
                return honest; // the page with the code
            }
            Answer {
                status,
                body: br#"{"error":"CODE SECRETCODE","error_description":"SECRETCODE"}"#.to_vec(),
                ..honest
            }
        });
        let person = Person::who(browse);
        let why = refused(login_at(issuer, &person).out_of_band());
        assert!(!why.contains("SECRET"), "{status}: {why}");
    }
}

#[test]
fn a_person_whom_fulcio_refuses_is_not_asked_again() {
    let person = Person::who(browse);
    let (asked, result) = signed_by(login(&person), |_, honest| Answer {
        status: 401,
        ..honest
    });
    let error = result.expect_err("signed").to_string();
    assert!(error.contains("401"), "{error}");
    assert_eq!((asked, person.shown.lock().unwrap().len()), (1, 1));
}
