//! What services and programs say, made fit for an error message.

/// `text` without control characters and without any run that looks like a JWT: three parts, the first two JSON objects
/// in base64url.
pub(crate) fn redacted(text: &str) -> String {
    let parts = text.split_inclusive(|c: char| {
        !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '='))
    });
    let mut clean = String::with_capacity(text.len());
    for part in parts {
        let run = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        if run.contains("eyJ") {
            clean.push_str("[token]");
            clean.push_str(part.get(run.len()..).unwrap_or_default());
        } else {
            clean.push_str(part);
        }
    }
    clean.retain(|c| !c.is_control());
    clean
}

#[cfg(test)]
mod tests {
    use super::redacted;

    #[test]
    fn what_looks_like_a_token_is_not_repeated() {
        let jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzIn0.c2ln";
        for text in [
            format!("bad token {jwt}"),
            format!("{{\"token\":\"{jwt}\"}}"),
            format!("a=b&token={jwt}&c=d"),
            format!("x{jwt}"),
            jwt[..20].to_owned(),
        ] {
            let clean = redacted(&text);
            assert!(!clean.contains("eyJ") && !clean.contains("c2ln"), "{clean}");
        }
        assert_eq!(
            redacted("code 3: not\x1b[2J found."),
            "code 3: not[2J found."
        );
    }
}
