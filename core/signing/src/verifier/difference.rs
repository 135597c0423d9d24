//! How a model differs from what was signed, and which accident that looks like.

use std::fmt;

use crate::RelPath;

/// Names listed in full in a message; more are counted.
const NAMES_SHOWN: usize = 10;

/// Endings of files that no loader opens: documents, pictures, and signatures.
const DOCUMENTS: [&str; 9] = [
    "gif", "jpeg", "jpg", "md", "pdf", "png", "rst", "sig", "webp",
];
/// The same for whole names.
const DOCUMENT_NAMES: [&str; 7] = [
    ".DS_Store",
    ".gitattributes",
    ".gitignore",
    "LICENSE",
    "NOTICE",
    "README",
    "Thumbs.db",
];
/// What `hf download --local-dir` keeps in its folder: endings, and the names of files that have none of these.
const CACHE: &str = ".cache/huggingface/";
const CACHED: [&str; 3] = ["incomplete", "lock", "metadata"];
const CACHED_NAMES: [&str; 2] = [".gitignore", "CACHEDIR.TAG"];

/// How the files on disk differ from those signed, each list sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Signed, but not there.
    pub missing: Vec<RelPath>,
    /// There, with other content.
    pub changed: Vec<RelPath>,
    /// There, but not signed.
    pub added: Vec<RelPath>,
    /// Of those that are missing, the ones whose content is there in one that was added.
    pub renamed: Vec<Renamed>,
}

/// A signed file under another name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Renamed {
    /// The name that was signed.
    pub signed_as: RelPath,
    /// The name that it has.
    pub name: RelPath,
}

impl Difference {
    /// What to do next. Only what looks like an accident gets a word of its own; it is refused all the same, since whoever can
    /// write to the model can make it look so.
    pub(crate) fn hint(&self) -> &'static str {
        let is_lost = self.missing.len() > self.renamed.len();
        let is_altered = !self.changed.is_empty() || is_lost;
        let is_clear = self.renamed.iter().all(Renamed::keeps_its_kind);
        if is_altered || !is_clear || !self.only_added().all(is_document) {
            return "do not load this model: restore it from a trusted copy, or ask its producer";
        }
        if self.renamed.is_empty() {
            return "all that was signed is there and unchanged: remove what was added, or leave it out with --ignore-paths (in a policy `ignore_paths`); nobody signed it, so nothing may load it or rely on it";
        }
        "where you renamed it yourself, give it the name that was signed; where you did not, do not load it: it is not the file that its name says"
    }

    fn only_added(&self) -> impl Iterator<Item = &RelPath> {
        let renamed = |name: &RelPath| self.renamed.iter().any(|one| one.name == *name);
        self.added.iter().filter(move |name| !renamed(name))
    }

    fn only_missing(&self) -> impl Iterator<Item = &RelPath> {
        let renamed = |name: &RelPath| self.renamed.iter().any(|one| one.signed_as == *name);
        self.missing.iter().filter(move |name| !renamed(name))
    }
}

impl Renamed {
    /// Whether a loader takes it for what it is: text that was signed must not become code by its name.
    fn keeps_its_kind(&self) -> bool {
        ending(&self.name) == ending(&self.signed_as)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the model is not the one that was signed")?;
        let quoted = |name: &RelPath| format!("{:?}", name.as_str());
        let renamed = self.renamed.iter();
        for (what, names) in [
            ("changed", self.changed.iter().map(quoted).collect()),
            ("missing", self.only_missing().map(quoted).collect()),
            ("added", self.only_added().map(quoted).collect()),
            (
                "renamed",
                renamed
                    .map(|one| {
                        format!(
                            "{} was signed as {}",
                            quoted(&one.name),
                            quoted(&one.signed_as)
                        )
                    })
                    .collect::<Vec<_>>(),
            ),
        ] {
            if names.is_empty() {
                continue;
            }
            let listed: Vec<_> = names.iter().take(NAMES_SHOWN).map(String::as_str).collect();
            write!(f, "; {what}: {}", listed.join(", "))?;
            if names.len() > NAMES_SHOWN {
                write!(f, " and {} more", names.len() - NAMES_SHOWN)?;
            }
        }
        Ok(())
    }
}

/// Whether no loader of models opens a file of this name.
fn is_document(name: &RelPath) -> bool {
    let (text, last) = (name.as_str(), last_part(name));
    let ending = ending(name).to_ascii_lowercase();
    let is_cached = text.starts_with(CACHE)
        && (CACHED.contains(&ending.as_str()) || CACHED_NAMES.contains(&last));
    is_cached || DOCUMENTS.contains(&ending.as_str()) || DOCUMENT_NAMES.contains(&last)
}

fn last_part(name: &RelPath) -> &str {
    let text = name.as_str();
    text.rsplit_once('/').map_or(text, |(_, last)| last)
}

/// Behind the last dot, where there is one.
fn ending(name: &RelPath) -> &str {
    last_part(name)
        .rsplit_once('.')
        .map_or("", |(_, ending)| ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<RelPath> {
        let names = names.iter().map(|name| RelPath::parse(name).unwrap());
        names.collect()
    }

    fn added(name: &str) -> Difference {
        Difference {
            added: names(&[name]),
            ..Difference::default()
        }
    }

    fn renamed(from: &str, to: &str) -> Difference {
        Difference {
            missing: names(&[from]),
            added: names(&[to]),
            renamed: vec![Renamed {
                signed_as: RelPath::parse(from).unwrap(),
                name: RelPath::parse(to).unwrap(),
            }],
            ..Difference::default()
        }
    }

    fn is_alarm(difference: &Difference) -> bool {
        difference.hint().starts_with("do not load this model")
    }

    #[test]
    fn what_no_loader_opens_is_no_alarm() {
        for name in [
            "README.md",
            "docs/Readme.MD",
            "LICENSE",
            "plot.png",
            "last.pt.sig",
            ".cache/huggingface/download/config.json.metadata",
            ".cache/huggingface/download/config.json.lock",
            ".cache/huggingface/.gitignore",
            ".cache/huggingface/CACHEDIR.TAG",
        ] {
            let difference = added(name);
            assert!(!is_alarm(&difference), "{name}");
            assert!(difference.hint().contains("--ignore-paths"), "{name}");
        }
        for name in [
            "setup.py",
            "README.md.py",
            "x/.cache/huggingface/a.metadata",
            ".cache/huggingface/modeling.py",
            ".cache/huggingface/md",
            ".cache/x.lock",
            "adapter_config.json",
            "pytorch_model.bin",
            "model.safetensors",
            "last.pt",
            "vocab.txt",
            "chat_template.jinja",
            "lib.so",
            "LICENSE.py",
            "md",
            ".md.pkl",
            "a.pyc",
        ] {
            assert!(is_alarm(&added(name)), "{name}");
        }
    }

    #[test]
    fn a_new_name_is_no_alarm_unless_it_makes_something_else_of_the_file() {
        let difference = renamed("e2.pt", "best.pt");
        assert!(!is_alarm(&difference));
        assert_eq!(
            difference.to_string(),
            "the model is not the one that was signed; renamed: \"best.pt\" was signed as \"e2.pt\""
        );
        assert!(is_alarm(&renamed("notes.txt", "setup.py")));
        assert!(is_alarm(&renamed("notes.txt", "config.json")));
    }

    #[test]
    fn an_accident_beside_something_else_is_an_alarm() {
        for worse in [
            Difference {
                changed: names(&["a"]),
                ..added("README.md")
            },
            Difference {
                missing: names(&["a"]),
                ..added("README.md")
            },
            Difference {
                changed: names(&["a"]),
                ..renamed("e2.pt", "best.pt")
            },
            Difference {
                missing: names(&["a", "e2.pt"]),
                ..renamed("e2.pt", "best.pt")
            },
            Difference {
                added: names(&["best.pt", "x.py"]),
                ..renamed("e2.pt", "best.pt")
            },
            Difference {
                added: names(&["README.md", "x.py"]),
                ..Difference::default()
            },
            Difference {
                missing: names(&["a"]),
                ..Difference::default()
            },
            Difference {
                changed: names(&["README.md"]),
                ..Difference::default()
            },
        ] {
            assert!(is_alarm(&worse), "{worse:?}");
        }
        let both = Difference {
            added: names(&["README.md", "best.pt"]),
            ..renamed("e2.pt", "best.pt")
        };
        assert!(!is_alarm(&both) && both.to_string().contains("added: \"README.md\"; renamed"));
    }
}
