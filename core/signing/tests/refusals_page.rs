//! docs/reference/refusals.md names every error of this crate, and tests that there are.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const ENUMS: [(&str, &str); 7] = [
    ("AnnotationFault", "annotations.rs"),
    ("Error", "error.rs"),
    ("CertificateFault", "fault.rs"),
    ("IndexFault", "index.rs"),
    ("PortabilityFault", "portable.rs"),
    ("SerializationFault", "serialization.rs"),
    ("SymlinkFault", "symlinks.rs"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The variants of an enum of core/signing/src, as `Enum::Variant`, those of `Error` without the enum.
fn variants((name, file): (&str, &str)) -> Vec<String> {
    let text = read(&format!("core/signing/src/{file}"));
    let (_, body) = text.split_once(&format!("pub enum {name} {{\n")).unwrap();
    let lines = body.lines().take_while(|line| *line != "}");
    let lines = lines.filter_map(|line| line.strip_prefix("    "));
    let named = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    let variant = |line: &str| {
        let end = line.find(|c: char| !c.is_ascii_alphanumeric()).unwrap();
        match name {
            "Error" => line[..end].to_owned(),
            _ => format!("{name}::{}", &line[..end]),
        }
    };
    named.map(variant).collect()
}

struct Row {
    what: String,
    errors: Vec<String>,
    tests: Vec<String>,
}

/// What stands between backticks.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The rows of the section `title`.
fn rows(page: &str, title: &str) -> Vec<Row> {
    let (_, section) = page.split_once(&format!("\n## {title}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    let rows: Vec<_> = rows
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split(" | ").collect();
            let [what, errors, tests] = cells[..] else {
                panic!("{line}")
            };
            Row {
                what: what.trim().to_owned(),
                errors: quoted(errors)
                    .into_iter()
                    .filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()))
                    .collect(),
                tests: quoted(tests),
            }
        })
        .collect();
    assert!(rows.len() > 20, "{title}");
    rows
}

/// The text of the test `place`, which is `FILE::NAME` in core/signing/tests, or a whole path.
fn text_of(place: &str) -> String {
    let (file, name) = place.rsplit_once("::").unwrap();
    let path = if file.contains('/') {
        file.to_owned()
    } else {
        format!("core/signing/tests/{file}.rs")
    };
    let text = read(&path);
    let begin = ["fn", "def"]
        .iter()
        .find_map(|head| text.find(&format!("{head} {name}(")));
    let text = &text[begin.unwrap_or_else(|| panic!("there is no test {place}"))..];
    // Up to the next test; what helps a test may stand behind it.
    let end = text.find("#[test]").unwrap_or(text.len());
    text[..end].to_owned()
}

/// Whether `text` names the variant, by whichever short name of its enum.
fn names(text: &str, error: &str) -> bool {
    // Tests of certificates name what is inside of it.
    let variant = match error {
        "CertificateRefused" => "Malformed",
        error => error.rsplit("::").next().unwrap(),
    };
    let name = format!("::{variant}");
    text.match_indices(&name).any(|(at, _)| {
        let next = text[at + name.len()..].chars().next();
        !next.is_some_and(|c| c.is_ascii_alphanumeric())
    })
}

#[test]
fn every_error_is_on_the_page_once() {
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows(&read("docs/reference/refusals.md"), "Every error") {
        let [error] = &row.errors[..] else {
            panic!("{}: {:?}", row.what, row.errors)
        };
        *found.entry(error.clone()).or_default() += 1;
    }
    let expected = ENUMS.into_iter().flat_map(variants).map(|name| (name, 1));
    assert_eq!(found, expected.collect());
}

#[test]
fn every_row_has_a_test_that_names_its_error() {
    let page = read("docs/reference/refusals.md");
    let mut unnamed = Vec::new();
    for title in ["What is tried", "Every error"] {
        for row in rows(&page, title) {
            assert!(!row.tests.is_empty(), "{}", row.what);
            let texts: Vec<_> = row.tests.iter().map(|place| text_of(place)).collect();
            // Those of other floors see what is said alone.
            let ours = row.tests.iter().all(|place| !place.contains('/'));
            let ours = ours
                || row
                    .tests
                    .iter()
                    .all(|place| place.starts_with("core/signing/"));
            for error in row.errors.iter().filter(|_| ours) {
                if !texts.iter().any(|text| names(text, error)) {
                    unnamed.push(format!("{error} in {:?}", row.tests));
                }
            }
        }
    }
    assert!(unnamed.is_empty(), "{unnamed:#?}");
}
