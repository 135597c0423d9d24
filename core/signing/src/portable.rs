//! Names that are good on every system: asked for by whoever ships a model to other ones, and refused by nobody else, since
//! OMS compares names byte by byte.

use unicode_normalization::UnicodeNormalization;

use crate::{Error, RelPath};

/// Names of devices on Windows, with any ending; of `COM` and `LPT` with a digit or one of `¹²³`.
const DEVICES: [&str; 6] = ["aux", "con", "conin$", "conout$", "nul", "prn"];
const PORTS: [&str; 2] = ["com", "lpt"];

/// Why a name is not good on every system.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortabilityFault {
    /// A character that reorders the text around it, so that the name looks like another.
    #[error("holds {found:?}, which reorders text")]
    Bidi {
        /// The character.
        found: char,
    },
    /// A character that Windows does not have in names.
    #[error("holds {found:?}, which Windows does not have in names")]
    Character {
        /// The character.
        found: char,
    },
    /// The name of a device, which Windows does not take for a file's.
    #[error("is a device on Windows: {component:?}")]
    Device {
        /// The file or folder of that name.
        component: String,
    },
    /// A dot or a space at the end, which Windows cuts off.
    #[error("ends with a dot or a space, which Windows cuts off: {component:?}")]
    Ending {
        /// The file or folder of that name.
        component: String,
    },
    /// Another name that differs by upper and lower case, or by how Unicode composes letters: many systems take both for
    /// one.
    #[error("is one with {other:?} where case or composed letters do not count")]
    Twin {
        /// The other file or folder.
        other: String,
    },
}

/// Whether all of `names` can lie in one folder on every system.
///
/// # Errors
/// [`Error::NotPortable`] for one that cannot.
pub(crate) fn check<'a>(names: impl IntoIterator<Item = &'a RelPath>) -> Result<(), Error> {
    let refused = |name: &RelPath, fault| {
        let name = name.to_string();
        Err(Error::NotPortable { name, fault })
    };
    let mut all = Vec::new();
    for name in names {
        if let Some(fault) = name.components().find_map(fault_of) {
            return refused(name, fault);
        }
        // With NUL, which is in no name and before all that is, the names below one folder stand together when sorted.
        all.push((folded(name.as_str()).replace('/', "\0"), name));
    }
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    for pair in all.windows(2) {
        let [one, other] = pair else { continue };
        if let Some(twin) = twin(one, other) {
            let fault = PortabilityFault::Twin {
                other: twin.to_owned(),
            };
            return refused(other.1, fault);
        }
    }
    Ok(())
}

/// What of the first name, the whole of it or a folder, is one with as much of the second when both are folded.
fn twin<'a>(
    (one, name): &(String, &'a RelPath),
    (other, named): &(String, &RelPath),
) -> Option<&'a str> {
    let folded = one.split('\0').zip(other.split('\0'));
    let written = name.components().zip(named.components());
    let same = folded.zip(written).take_while(|((a, b), _)| a == b);
    let mut end = 0;
    for (_, (a, b)) in same {
        end += a.len();
        if a != b {
            return name.as_str().get(..end);
        }
        end += 1;
    }
    None
}

fn fault_of(component: &str) -> Option<PortabilityFault> {
    let bad = |&c: &char| c < ' ' || "\\:*?\"<>|\u{7f}".contains(c);
    if let Some(found) = component.chars().find(bad) {
        return Some(PortabilityFault::Character { found });
    }
    // Those of Unicode's property Bidi_Control.
    let reorders = |&c: &char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if let Some(found) = component.chars().find(reorders) {
        return Some(PortabilityFault::Bidi { found });
    }
    let component = component.to_owned();
    if component.ends_with(['.', ' ']) {
        return Some(PortabilityFault::Ending { component });
    }
    is_device(&component).then_some(PortabilityFault::Device { component })
}

/// Windows looks at what stands before the first dot, without spaces at its end.
fn is_device(component: &str) -> bool {
    let stem = component.split('.').next().unwrap_or_default();
    let stem = stem.trim_end_matches(' ').to_ascii_lowercase();
    let is_port = |port: &&str| {
        let mut rest = stem.strip_prefix(*port).unwrap_or_default().chars();
        let number = rest.next();
        number.is_some_and(|c| "0123456789¹²³".contains(c)) && rest.next().is_none()
    };
    DEVICES.contains(&stem.as_str()) || PORTS.iter().any(is_port)
}

/// What is left of a name where neither case nor composition counts. Of a letter whose upper case is two, both are one.
fn folded(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    let lower = name.nfd().flat_map(char::to_lowercase);
    let upper = lower.flat_map(char::to_uppercase);
    upper.flat_map(char::to_lowercase).nfd().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(names: &[&str]) -> Option<PortabilityFault> {
        let names: Vec<_> = names
            .iter()
            .map(|name| RelPath::parse(name).unwrap())
            .collect();
        match check(&names) {
            Err(Error::NotPortable { fault, .. }) => Some(fault),
            Ok(()) => None,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn twins_by_case_and_composition() {
        for (one, other) in [
            ("model.bin", "Model.bin"),
            ("a/b/x", "a/B/y"),
            ("a/x", "A"),
            ("größe", "GRÖSSE"),
            ("gro\u{308}ße", "größe"),
            ("ﬀ", "FF"),
            ("ς", "σ"),
            ("\u{212a}", "k"),
            ("Å", "\u{212b}"),
        ] {
            let found = fault(&["0", one, other]);
            let expected = PortabilityFault::Twin {
                other: one
                    .split('/')
                    .take(other.split('/').count())
                    .collect::<Vec<_>>()
                    .join("/"),
            };
            assert!(
                matches!(found, Some(PortabilityFault::Twin { .. })),
                "{one} {other}: {found:?}"
            );
            if one.split('/').count() == 1 {
                assert_eq!(found, Some(expected));
            }
        }
        assert_eq!(
            fault(&["a/x", "a/y", "b/x", "größe", "grosse2", "ab"]),
            None
        );
        // Others that sort between the two by bytes.
        let other = "a".to_owned();
        assert_eq!(
            fault(&["A/z", "a", "a!/x", "a.b", "a/a"]),
            Some(PortabilityFault::Twin { other })
        );
    }

    #[test]
    fn what_windows_does_not_take() {
        for name in [
            "CON",
            "a/nul.txt",
            "Com1",
            "lpt².bin/x",
            "aux .json",
            "COM0",
        ] {
            let found = fault(&[name]);
            assert!(
                matches!(found, Some(PortabilityFault::Device { .. })),
                "{name}: {found:?}"
            );
        }
        for name in ["a.", "a /b", "x. "] {
            let found = fault(&[name]);
            assert!(
                matches!(found, Some(PortabilityFault::Ending { .. })),
                "{name}: {found:?}"
            );
        }
        for name in ["a:b", "a\\b", "a\nb", "what?", "a/*", "a\u{7f}"] {
            let found = fault(&[name]);
            assert!(
                matches!(found, Some(PortabilityFault::Character { .. })),
                "{name}: {found:?}"
            );
        }
        let found = '\u{202e}';
        assert_eq!(
            fault(&["a\u{202e}nib.exe"]),
            Some(PortabilityFault::Bidi { found })
        );
        let good = [
            "console",
            "com10",
            "common",
            "lpt",
            "a b.c",
            ".hidden",
            "日本/é",
            "nul-1",
        ];
        assert_eq!(fault(&good), None);
    }
}
