//! Which sources a job may take tokens from, and in which order.

/// A choice among sources by their names. The default: those given in settings if there are any, else all that the
/// platform may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    only: Option<Vec<String>>,
    never: Vec<String>,
}

impl Credentials {
    /// `auto`; or names in the order in which they are asked, and no others; each with `-` before it to leave it out.
    /// Nothing where one is not of `names`, or where nothing is left.
    #[must_use]
    pub fn parse(text: &str, names: &[&str]) -> Option<Self> {
        let mut parsed = Self::default();
        for word in text.split(',').map(str::trim) {
            let name = word.strip_prefix('-').unwrap_or(word);
            if word == "auto" {
                continue;
            }
            if !names.contains(&name) {
                return None;
            }
            let list = if word.starts_with('-') {
                &mut parsed.never
            } else {
                parsed.only.get_or_insert_default()
            };
            list.push(name.to_owned());
        }
        Some(parsed)
    }

    /// The place of `name` among those that are asked; nothing where it is not.
    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        if self.never.iter().any(|one| one == name) {
            return None;
        }
        match &self.only {
            None => Some(0),
            Some(only) => only.iter().position(|one| one == name),
        }
    }

    /// Whether sources were named.
    pub(crate) fn names_some(&self) -> bool {
        self.only.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_an_order_and_a_minus_leaves_out() {
        let parse = |text: &str| Credentials::parse(text, &["github", "gcp", "aws"]);
        let places = |text: &str| {
            let credentials = parse(text).unwrap();
            ["github", "gcp", "aws"].map(|name| credentials.place(name))
        };
        assert_eq!(places("auto"), [Some(0); 3]);
        assert_eq!(places("gcp, github"), [Some(1), Some(0), None]);
        assert_eq!(places("-gcp"), [Some(0), None, Some(0)]);
        assert_eq!(places("auto,-gcp,-aws"), [Some(0), None, None]);
        assert_eq!(places("gcp,aws,-aws"), [None, Some(0), None]);
        for wrong in ["", "gpc", "gcp;aws", "--gcp", "gcp,"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
