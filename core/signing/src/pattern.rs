//! A text that must be exactly so, or must match as a whole.

use regex::Regex;

use crate::Error;

/// Either the text itself, or a regular expression for the whole of it.
#[derive(Clone, Debug)]
pub(crate) enum Pattern {
    Exact(String),
    Matching { text: String, whole: Regex },
}

impl Pattern {
    /// The text itself, or `glob:` and a pattern in which `*` stands for anything but `/` and `**` for anything, or `re:`
    /// and a regular expression for the whole of it.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let expression = if let Some(glob) = text.strip_prefix("glob:") {
            let escaped = regex::escape(glob);
            escaped.replace(r"\*\*", ".*").replace(r"\*", "[^/]*")
        } else if let Some(expression) = text.strip_prefix("re:") {
            expression.to_owned()
        } else if text.is_empty() {
            return Err(Error::IdentityPattern {
                pattern: text.to_owned(),
                reason: "it is empty".to_owned(),
            });
        } else {
            return Ok(Self::Exact(text.to_owned()));
        };
        let compile = |expression: &str| {
            Regex::new(expression).map_err(|error| {
                // The lines above the last one draw a picture of it.
                let reason = error.to_string();
                let last = reason.lines().last().unwrap_or_default();
                Error::IdentityPattern {
                    pattern: text.to_owned(),
                    reason: last.trim_start_matches("error: ").to_owned(),
                }
            })
        };
        // By itself first: `a)|(b` is sound only inside the parentheses, and there no anchor holds it.
        compile(&expression)?;
        let whole = compile(&format!(r"\A(?:{expression})\z"))?;
        Ok(Self::Matching {
            text: text.to_owned(),
            whole,
        })
    }

    pub(crate) fn matches(&self, identity: &str) -> bool {
        match self {
            Self::Exact(text) => text == identity,
            // A certificate without a name is nobody's.
            Self::Matching { whole, .. } => !identity.is_empty() && whole.is_match(identity),
        }
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Exact(text) | Self::Matching { text, .. } => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, identity: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(identity)
    }

    #[test]
    fn patterns_match_the_whole_identity_or_nothing() {
        let identity = "https://kubernetes.io/namespaces/ml/serviceaccounts/trainer";
        for pattern in [
            identity,
            "glob:https://kubernetes.io/namespaces/ml/serviceaccounts/*",
            "glob:https://kubernetes.io/**/trainer",
            "re:https://kubernetes\\.io/.*",
            "re:nobody|https://.*",
        ] {
            assert!(matches(pattern, identity), "{pattern}");
        }
        for pattern in [
            "https://kubernetes.io",
            "glob:https://kubernetes.io/*",
            "glob:https://kubernetes?io/**",
            "glob:https://kubernetes.io/**/serviceaccounts",
            "re:kubernetes",
            "re:https://kubernetes|nobody",
        ] {
            assert!(!matches(pattern, identity), "{pattern}");
        }
        assert!(!matches("re:.*", "") && !matches("glob:**", ""));
        for pattern in ["", "re:(", "re:a)|(b", "re:(\n(", "re:a{9999999}"] {
            let refused = Pattern::parse(pattern).unwrap_err().to_string();
            assert_eq!(refused.lines().count(), 1, "{refused}");
            assert!(!refused.contains("error:"), "{refused}");
        }
    }
}
