//! PKCS#11 URIs (RFC 7512): which key of which token, through which module, opened how.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::Pkcs11Fault as Fault;
use crate::{Error, read_password};

const SCHEME: &str = "pkcs11:";

/// Attributes before `?`.
const PATH: Part = Part {
    place: "before `?`",
    separator: ';',
    reserved: "&",
    names: &[
        "id",
        "library-description",
        "library-manufacturer",
        "library-version",
        "manufacturer",
        "model",
        "object",
        "serial",
        "slot-description",
        "slot-id",
        "slot-manufacturer",
        "token",
        "type",
    ],
};

/// Attributes after it.
const QUERY: Part = Part {
    place: "after `?`",
    separator: '&',
    reserved: "/?|",
    names: &["module-name", "module-path", "pin-source", "pin-value"],
};

/// A private key on a token, and how to reach it. Has no `Debug`: it may hold a PIN.
///
/// ```
/// use autosign_signing::Pkcs11Uri;
/// let pin_in_a_file = "pkcs11:token=Release;object=models?module-name=opensc-pkcs11&pin-source=file:/run/pin";
/// assert!(Pkcs11Uri::parse(pin_in_a_file).is_ok());
/// let error = Pkcs11Uri::parse("pkcs11:token=Release;object=models;object=others").err().unwrap();
/// assert_eq!(error.to_string(), "the PKCS#11 URI has object twice");
/// ```
#[derive(Clone)]
pub struct Pkcs11Uri {
    /// What library, slot and token have to say of themselves.
    pub(super) said: Vec<(&'static str, String)>,
    pub(super) library_version: Option<(u8, u8)>,
    pub(super) slot: Option<u64>,
    pub(super) object: Option<String>,
    pub(super) id: Option<Vec<u8>>,
    module_path: Option<PathBuf>,
    module_name: Option<String>,
    folders: Vec<PathBuf>,
    pin: Pin,
}

#[derive(Clone)]
enum Pin {
    None,
    Value(Zeroizing<String>),
    File(PathBuf),
}

impl Pkcs11Uri {
    /// Reads a URI. It must name a key by `id` or `object`, and a module by `module-path` or `module-name`; attributes that
    /// RFC 7512 does not have are vendors', and passed over.
    ///
    /// # Errors
    /// [`Error::Pkcs11`] with what is wrong, never with the URI.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (scheme, rest) = text.split_at_checked(SCHEME.len()).ok_or(Fault::NotAUri)?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(Fault::NotAUri.into());
        }
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut path = PATH.read(path, &QUERY)?;
        let mut query = QUERY.read(query, &PATH)?;

        match path.text("type")?.as_deref() {
            None | Some("private") => {}
            Some(_) => return Err(wrong("type", "is not `private`")),
        }
        let uri = Self {
            library_version: path
                .text("library-version")?
                .as_deref()
                .map(version)
                .transpose()?,
            slot: path.text("slot-id")?.as_deref().map(slot).transpose()?,
            object: path.text("object")?,
            id: path.bytes("id"),
            module_path: query.bytes("module-path").map(absolute).transpose()?,
            module_name: query.text("module-name")?.map(name).transpose()?,
            pin: Pin::of(&mut query)?,
            folders: usual_folders(),
            // What is left.
            said: path.texts()?,
        };
        if uri.object.is_none() && uri.id.is_none() {
            return Err(Fault::NoObject.into());
        }
        if uri.module_path.is_none() && uri.module_name.is_none() {
            return Err(Fault::NoModule.into());
        }
        Ok(uri)
    }

    /// Looks for `module-name` in `folders` instead of where distributions put modules.
    #[must_use]
    pub fn with_module_folders(mut self, folders: Vec<PathBuf>) -> Self {
        self.folders = folders;
        self
    }

    /// The module's file.
    pub(super) fn module(&self) -> Result<PathBuf, Error> {
        let folders = match &self.module_path {
            Some(path) if !path.is_dir() => return Ok(path.clone()),
            Some(folder) => vec![folder.clone()],
            None => self.folders.clone(),
        };
        let name = self.module_name.clone().ok_or(Fault::NoModule)?;
        let mut found: Vec<_> = folders
            .iter()
            .filter_map(|folder| folder.read_dir().ok())
            .flat_map(|entries| entries.filter_map(Result::ok))
            .map(|entry| entry.path())
            .filter(|path| is_called(path, &name))
            .collect();
        // Which of `libx.so` and `libx.so.2` is taken should not depend on the file system.
        found.sort();
        let found = found.into_iter().next();
        Ok(found.ok_or(Fault::ModuleMissing { name, folders })?)
    }

    /// The PIN, from the URI or the file that it names.
    pub(super) fn pin(&self) -> Result<Option<Zeroizing<String>>, Error> {
        Ok(match &self.pin {
            Pin::None => None,
            Pin::Value(value) => Some(value.clone()),
            Pin::File(path) => Some(read_password(path)?),
        })
    }
}

impl Pin {
    fn of(query: &mut Attributes) -> Result<Self, Error> {
        let value = query.text("pin-value")?.map(Zeroizing::new);
        let source = query.text("pin-source")?;
        Ok(match (value, source) {
            (None, None) => Self::None,
            (Some(value), None) => Self::Value(value),
            (None, Some(source)) => {
                let path = source.strip_prefix("file:").unwrap_or(&source);
                let path = path.strip_prefix("//localhost").unwrap_or(path);
                let path = path.strip_prefix("//").unwrap_or(path);
                if !path.starts_with('/') {
                    return Err(wrong("pin-source", "is neither file:/PATH nor /PATH"));
                }
                Self::File(path.into())
            }
            (Some(_), Some(_)) => {
                return Err(wrong("pin-source", "and its pin-value exclude each other"));
            }
        })
    }
}

/// What the part before `?`, or after it, is made of.
struct Part {
    place: &'static str,
    separator: char,
    /// Characters that may stand for themselves beside those that may everywhere.
    reserved: &'static str,
    names: &'static [&'static str],
}

impl Part {
    fn read(&self, text: &str, other: &Self) -> Result<Attributes, Error> {
        let mut read = Attributes(Vec::new());
        let mut vendors = Vec::new();
        if text.is_empty() {
            return Ok(read);
        }
        for one in text.split(self.separator) {
            let place = self.place;
            let well_formed = |name: &str| {
                let mut bytes = name.bytes();
                !name.is_empty() && bytes.all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            };
            let (name, value) = one
                .split_once('=')
                .filter(|(name, _)| well_formed(name))
                .ok_or(Fault::AttributeForm { place })?;
            let known = |names: &'static [&str]| names.iter().copied().find(|known| *known == name);
            if let Some(name) = known(other.names) {
                return Err(Fault::AttributePlace { name, place }.into());
            }
            let Some(known) = known(self.names) else {
                let value = self.decode("vendor's attribute", value)?;
                drop(value);
                // A query may give a vendor's attribute several times (RFC 7512 section 2.3).
                if self.separator == ';' && vendors.contains(&name) {
                    let name = "a vendor's attribute";
                    return Err(Fault::AttributeTwice { name }.into());
                }
                vendors.push(name);
                continue;
            };
            if read.0.iter().any(|(name, _)| *name == known) {
                return Err(Fault::AttributeTwice { name: known }.into());
            }
            read.0.push((known, self.decode(known, value)?));
        }
        Ok(read)
    }

    fn decode(&self, name: &'static str, value: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut decoded = Zeroizing::new(Vec::with_capacity(value.len()));
        let mut bytes = value.bytes();
        while let Some(byte) = bytes.next() {
            let itself = byte.is_ascii_alphanumeric()
                || b"-._~:[]@!$'()*+,=".contains(&byte)
                || self.reserved.as_bytes().contains(&byte);
            if byte == b'%' {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit(), digit());
                let both = high.zip(low).map(|(high, low)| high * 16 + low);
                let byte = both.and_then(|value| u8::try_from(value).ok());
                decoded.push(byte.ok_or_else(|| wrong(name, "has a % without two hex digits"))?);
            } else if itself {
                decoded.push(byte);
            } else {
                return Err(wrong(name, "has a character that must be written as %XX"));
            }
        }
        Ok(decoded)
    }
}

/// Decoded attributes. Has no `Debug`.
struct Attributes(Vec<(&'static str, Zeroizing<Vec<u8>>)>);

impl Attributes {
    fn bytes(&mut self, name: &str) -> Option<Vec<u8>> {
        let at = self.0.iter().position(|(known, _)| *known == name)?;
        Some(std::mem::take(&mut *self.0.swap_remove(at).1))
    }

    fn text(&mut self, name: &'static str) -> Result<Option<String>, Error> {
        let text = self.bytes(name).map(String::from_utf8).transpose();
        text.map_err(|error| {
            drop(Zeroizing::new(error.into_bytes()));
            wrong(name, "is not UTF-8")
        })
    }

    fn texts(&mut self) -> Result<Vec<(&'static str, String)>, Error> {
        let names: Vec<_> = self.0.iter().map(|(name, _)| *name).collect();
        let all = names
            .into_iter()
            .map(|name| Ok((name, self.text(name)?.unwrap_or_default())));
        all.collect()
    }
}

/// Where distributions put modules, or links to them. The first two are upstream's.
fn usual_folders() -> Vec<PathBuf> {
    let debian = format!("/usr/lib/{}-linux-gnu/pkcs11", std::env::consts::ARCH);
    let folders = ["/usr/lib64/pkcs11", "/usr/lib/pkcs11", &debian];
    folders.map(PathBuf::from).to_vec()
}

fn wrong(name: &'static str, reason: &'static str) -> Error {
    Fault::AttributeValue { name, reason }.into()
}

fn slot(text: &str) -> Result<u64, Error> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.ok_or_else(|| wrong("slot-id", "is not a number"))
}

fn version(text: &str) -> Result<(u8, u8), Error> {
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    let number = |part: &str| {
        let digits = part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u8>().ok().filter(|_| digits)
    };
    let both = number(major).zip(number(minor));
    both.ok_or_else(|| wrong("library-version", "is not MAJOR.MINOR"))
}

fn absolute(path: Vec<u8>) -> Result<PathBuf, Error> {
    let path = PathBuf::from(OsString::from_vec(path));
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(wrong("module-path", "is not absolute"))
    }
}

fn name(text: String) -> Result<String, Error> {
    if text.is_empty() || text.contains('/') {
        Err(wrong("module-name", "is not a name"))
    } else {
        Ok(text)
    }
}

/// Whether `path` is the module `name`, which goes without the platform's `lib` and `.so`, in upper or lower case.
fn is_called(path: &Path, name: &str) -> bool {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let file = file.to_lowercase();
    let numbered = |rest: &str| rest.bytes().all(|b| b == b'.' || b.is_ascii_digit());
    let stem = match file.rsplit_once(".so") {
        Some((stem, rest)) if numbered(rest) => stem,
        _ => file.strip_suffix(".dylib").unwrap_or(&file),
    };
    let name = name.to_lowercase();
    stem == name || stem.strip_prefix("lib") == Some(&name)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "plain files")]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Pkcs11Uri, Fault> {
        Pkcs11Uri::parse(text).map_err(|error| match error {
            Error::Pkcs11(fault) => fault,
            other => panic!("{other}"),
        })
    }

    #[test]
    fn every_attribute_is_read() {
        let uri = parse(
            "pkcs11:token=My%20token;manufacturer=M;serial=01ab;model=&;library-manufacturer=L;library-description=D;\
             library-version=2.40;slot-description=S;slot-manufacturer=O;slot-id=4294967296;type=private;\
             object=k%C3%A9y;id=%00%ff%0A;x-vendor=%31?\
             module-path=/lib/p11.so&module-name=p11&pin-value=a%26b%3d/?|&x-vendor=1&x-vendor=2",
        )
        .unwrap_or_else(|fault| panic!("{fault}"));
        let mut said = uri.said.clone();
        said.sort_unstable();
        let names = [
            ("library-description", "D"),
            ("library-manufacturer", "L"),
            ("manufacturer", "M"),
            ("model", "&"),
            ("serial", "01ab"),
            ("slot-description", "S"),
            ("slot-manufacturer", "O"),
            ("token", "My token"),
        ];
        assert_eq!(said, names.map(|(name, value)| (name, value.to_owned())));
        assert_eq!(uri.library_version, Some((2, 40)));
        assert_eq!(uri.slot, Some(1 << 32));
        assert_eq!(uri.object.as_deref(), Some("kéy"));
        assert_eq!(uri.id.as_deref(), Some(&[0, 255, 10][..]));
        assert_eq!(uri.module().unwrap(), Path::new("/lib/p11.so"));
        assert_eq!(uri.pin().unwrap().unwrap().as_str(), "a&b=/?|");
        let uri = parse("PKCS11:id=%01;library-version=3?module-name=p11")
            .unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(uri.library_version, Some((3, 0)));
        assert!(uri.pin().unwrap().is_none());
    }

    #[test]
    fn a_pin_file_is_a_path_or_a_file_uri() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pin");
        std::fs::write(&file, "12 34\r\n").unwrap();
        for form in ["", "file:", "file://", "file://localhost"] {
            let uri = format!(
                "pkcs11:id=%01?module-name=m&pin-source={form}{}",
                file.display()
            );
            let uri = parse(&uri).unwrap_or_else(|fault| panic!("{fault}"));
            assert_eq!(uri.pin().unwrap().unwrap().as_str(), "12 34", "{form}");
        }
    }

    #[test]
    fn a_module_is_found_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        for file in [
            "libOne.so",
            "two.so.2",
            "three",
            "libfour-extra.so",
            "five.sock",
        ] {
            std::fs::write(folder.path().join(file), b"").unwrap();
        }
        let found = |name: &str, inside: bool| {
            let place = if inside {
                format!("&module-path={}", folder.path().display())
            } else {
                String::new()
            };
            let uri = parse(&format!("pkcs11:id=%01?module-name={name}{place}"))
                .unwrap_or_else(|fault| panic!("{fault}"));
            let module = uri.with_module_folders(vec![folder.path().into()]).module();
            module.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        };
        for inside in [true, false] {
            assert_eq!(found("one", inside).unwrap(), "libOne.so");
            assert_eq!(found("TWO", inside).unwrap(), "two.so.2");
            assert_eq!(found("three", inside).unwrap(), "three");
            for name in ["four", "five", "ne", "six"] {
                let error = found(name, inside).unwrap_err();
                assert!(
                    matches!(error, Error::Pkcs11(Fault::ModuleMissing { .. })),
                    "{name}: {error}"
                );
            }
        }
        let nameless = parse(&format!(
            "pkcs11:id=%01?module-path={}",
            folder.path().display()
        ));
        let error = nameless
            .unwrap_or_else(|fault| panic!("{fault}"))
            .module()
            .unwrap_err();
        assert!(matches!(error, Error::Pkcs11(Fault::NoModule)), "{error}");
    }
}
