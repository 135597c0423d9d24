//! One configuration file: TOML, whose keys are the settings' names in lower case, without their prefix.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use autosign_signing::{Error as SigningError, read_capped};
use toml::de::{DeArray, DeTable, DeValue};

use crate::Value;
use crate::layers::Fault;
use crate::settings::{key_of, setting, variable_of};

/// The table of what nobody may change; the administrator's file has it.
const LOCKED: &str = "locked";
/// What names a file is of no use in one.
const CONFIG: &str = "MODEL_SIGNING_CONFIG";
/// More than anybody writes by hand, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// What a file sets. It never fails: what cannot be used is among the faults.
#[derive(Default)]
pub(crate) struct ConfigFile {
    pub(crate) path: PathBuf,
    pub(crate) values: Vec<(&'static str, String)>,
    pub(crate) locked: Vec<(&'static str, String)>,
    pub(crate) faults: Vec<Fault>,
    /// Keys that are no settings.
    pub(crate) unknown: Vec<String>,
}

impl ConfigFile {
    /// Nothing where there is no such file.
    pub(crate) fn read(path: &Path, may_lock: bool) -> Option<Self> {
        let mut file = Self {
            path: path.to_owned(),
            ..Self::default()
        };
        let text = match read_capped(path, "configuration file", MAX_FILE) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned()),
            Err(SigningError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return None;
            }
            Err(error) => Err(format!("cannot be used: {error}")),
        };
        let read = text.and_then(|text| file.parse(&text, may_lock));
        if let Err(reason) = read {
            file.fault(reason, may_lock);
        }
        Some(file)
    }

    /// A file that should be there.
    pub(crate) fn missing(path: &Path) -> Self {
        let mut file = Self {
            path: path.to_owned(),
            ..Self::default()
        };
        file.fault("does not exist".to_owned(), false);
        file
    }

    fn fault(&mut self, reason: String, hides_lock: bool) {
        self.faults.push(Fault {
            path: self.path.clone(),
            reason,
            hides_lock,
        });
    }

    fn parse(&mut self, text: &str, may_lock: bool) -> Result<(), String> {
        let document = DeTable::parse(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map_or(0, |before| before.matches('\n').count()) + 1;
            // The message of the parser quotes nothing of the file, which may hold a secret.
            format!("is not TOML, line {line}: {}", error.message())
        })?;
        for (key, value) in document.get_ref() {
            match value.get_ref() {
                DeValue::Table(table) if key.get_ref() == LOCKED && may_lock => {
                    for (key, value) in table {
                        let value = self.value(key.get_ref(), value.get_ref(), true);
                        self.locked.extend(value);
                    }
                }
                _ if key.get_ref() == LOCKED => {
                    let reason = if may_lock {
                        "has something under `locked` that is no table"
                    } else {
                        "locks settings, which only the one in /etc can"
                    };
                    self.fault(reason.to_owned(), may_lock);
                }
                value => {
                    let value = self.value(key.get_ref(), value, false);
                    self.values.extend(value);
                }
            }
        }
        Ok(())
    }

    /// One entry, as the text that a variable would have.
    fn value(
        &mut self,
        key: &str,
        value: &DeValue<'_>,
        locked: bool,
    ) -> Option<(&'static str, String)> {
        let setting = setting(&variable_of(key));
        let Some(setting) = setting.filter(|setting| key == key_of(setting.variable)) else {
            self.unknown.push(key.to_owned());
            if locked {
                self.fault(format!("locks {key:?}, which is no setting"), true);
            }
            return None;
        };
        let text = match value {
            _ if setting.is_secret() => Err("a secret, which belongs into a file of its own"),
            _ if setting.variable == CONFIG => Err("a further file, which is not read"),
            DeValue::Array(items) => list(items),
            value => scalar(value),
        };
        match text {
            Ok(text) => {
                if let Some(reason) = setting.secret_in(&text) {
                    self.fault(format!("has under {key:?} {reason}"), locked);
                    // Not enough to sign with, and enough that nobody else does.
                    return Some((setting.variable, setting.shown(&Value::given(&text))));
                }
                Some((setting.variable, text))
            }
            Err(reason) => {
                self.fault(format!("has under {key:?} {reason}"), locked);
                None
            }
        }
    }
}

fn list(items: &DeArray<'_>) -> Result<String, &'static str> {
    let items = items.iter().map(|item| scalar(item.get_ref()));
    let items: Vec<_> = items.collect::<Result<_, _>>()?;
    if items.iter().any(|item| item.contains(',')) {
        return Err("a list with a comma in one of its parts");
    }
    Ok(items.join(","))
}

fn scalar(value: &DeValue<'_>) -> Result<String, &'static str> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        DeValue::Boolean(value) => Ok(value.to_string()),
        _ => Err("neither text, nor a whole number, nor true or false, nor a list of these"),
    }
}
