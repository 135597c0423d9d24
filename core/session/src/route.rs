//! The paths that one path leads through: links may stand anywhere in it, and lead to others.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

/// As many links as Linux follows.
const MAX_LINKS: usize = 40;

/// `path` as it is written, and as it is with each link that is followed replaced by where it leads; the last has none left.
///
/// # Errors
/// Of looking at it, [`io::ErrorKind::NotFound`] where it leads nowhere; `ELOOP` where it leads through too many links.
pub(crate) fn route(path: &Path) -> io::Result<Vec<PathBuf>> {
    let path = std::path::absolute(path)?;
    let mut names = vec![written(PathBuf::new(), path.components())];
    let mut real = PathBuf::new();
    let mut ahead: VecDeque<OsString> = parts(&path).collect();
    while let Some(part) = ahead.pop_front() {
        if part == ".." {
            real.pop();
            continue;
        }
        let next = real.join(part);
        if !next.symlink_metadata()?.is_symlink() {
            real = next;
            continue;
        }
        if names.len() > MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        for part in parts(&next.read_link()?).rev() {
            ahead.push_front(part);
        }
        let rest: PathBuf = ahead.iter().collect();
        names.push(written(real.clone(), rest.components()));
    }
    names.push(real);
    Ok(names)
}

fn parts(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    let parts = path.components();
    parts
        .filter(|part| !matches!(part, Component::CurDir))
        .map(|part| part.as_os_str().to_owned())
}

/// What a reader takes `more` for, coming from `from`.
fn written<'a>(mut from: PathBuf, more: impl Iterator<Item = Component<'a>>) -> PathBuf {
    for part in more {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                from.pop();
            }
            _ => from.push(part),
        }
    }
    from
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_path_on_the_way_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("vendor/evil")).unwrap();
        std::fs::create_dir(base.join("serve")).unwrap();
        symlink("vendor/./evil", base.join("granite")).unwrap();
        symlink(base.join("granite"), base.join("serve/now")).unwrap();
        symlink("../..", base.join("vendor/evil/up")).unwrap();
        symlink("loop", base.join("loop")).unwrap();
        symlink("nowhere", base.join("dangling")).unwrap();
        let names = |path: &str| -> Vec<String> {
            let names = route(&base.join(path)).unwrap();
            let names = names.iter().map(|name| name.strip_prefix(&base).unwrap());
            names.map(|name| name.display().to_string()).collect()
        };
        assert_eq!(names("vendor/evil/"), ["vendor/evil", "vendor/evil"]);
        assert_eq!(
            names("serve/now"),
            ["serve/now", "granite", "vendor/evil", "vendor/evil"]
        );
        assert_eq!(
            names("serve/../granite/up/vendor/evil"),
            [
                "granite/up/vendor/evil",
                "vendor/evil/up/vendor/evil",
                "vendor/evil",
                "vendor/evil"
            ]
        );
        for (path, errno) in [
            ("loop", Errno::LOOP),
            ("dangling", Errno::NOENT),
            ("granite/none", Errno::NOENT),
        ] {
            let error = route(&base.join(path)).unwrap_err();
            assert_eq!(Errno::from_io_error(&error), Some(errno), "{path}");
        }
    }
}
