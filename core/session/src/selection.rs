//! Which saves are signed.

use std::num::NonZeroUsize;
use std::path::Path;

use glob::{MatchOptions, Pattern};

/// What the settings leave out.
#[derive(Clone, Debug)]
pub struct Selection {
    /// `MODEL_SIGNING_INCLUDE`; nothing for everything.
    pub(crate) include: Vec<Pattern>,
    /// `MODEL_SIGNING_EXCLUDE`
    pub(crate) exclude: Vec<Pattern>,
    /// `MODEL_SIGNING_MIN_SIZE`, bytes.
    pub(crate) min_size: u64,
    /// `MODEL_SIGNING_EVERY`
    pub(crate) every: NonZeroUsize,
}

impl Default for Selection {
    /// Everything is signed.
    fn default() -> Self {
        Self {
            include: Vec::new(),
            exclude: Vec::new(),
            min_size: 0,
            every: NonZeroUsize::MIN,
        }
    }
}

impl Selection {
    /// The setting that leaves out what was saved at `root`, if one does.
    pub(crate) fn by_path(&self, root: &Path) -> Option<&'static str> {
        if self.include.is_empty() && self.exclude.is_empty() {
            return None;
        }
        // What is not there is told of by whoever looks at it next.
        let root = root.canonicalize().ok()?;
        let any = |globs: &[Pattern]| globs.iter().any(|glob| matches(glob, &root));
        if any(&self.exclude) {
            Some("MODEL_SIGNING_EXCLUDE")
        } else if !self.include.is_empty() && !any(&self.include) {
            Some("MODEL_SIGNING_INCLUDE")
        } else {
            None
        }
    }

    /// The same for what is `bytes` large.
    pub(crate) fn by_size(&self, bytes: u64) -> Option<&'static str> {
        (bytes < self.min_size).then_some("MODEL_SIGNING_MIN_SIZE")
    }
}

/// At least one glob, with commas between them.
pub(crate) fn globs(text: &str) -> Option<Vec<Pattern>> {
    let globs = text.split(',').map(str::trim);
    let globs = globs.filter(|glob| !glob.is_empty());
    let globs: Vec<_> = globs.map(Pattern::new).collect::<Result<_, _>>().ok()?;
    (!globs.is_empty()).then_some(globs)
}

pub(crate) fn matches(glob: &Pattern, root: &Path) -> bool {
    const OPTIONS: MatchOptions = MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: false,
    };
    let text = if glob.as_str().contains('/') {
        root.as_os_str()
    } else {
        root.file_name().unwrap_or_default()
    };
    glob.matches_with(&text.to_string_lossy(), OPTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_are_for_the_last_name_or_for_all_of_the_path() {
        let root = Path::new("/scratch/run/ckpt/epoch-10.pt");
        let matches = |text| globs(text).unwrap().iter().any(|glob| matches(glob, root));
        for glob in [
            "*.pt",
            "epoch-*",
            "epoch-1?.pt",
            "epoch-[0-9]*",
            "/scratch/**",
            "/scratch/**/*.pt",
            "/scratch/run/ckpt/**/*.pt",
            "**/ckpt/*",
            "*.safetensors, *.pt",
        ] {
            assert!(matches(glob), "{glob}");
        }
        for glob in [
            "epoch",
            "*.PT",
            "ckpt",
            "/scratch/*",
            "/scratch/*.pt",
            "scratch/**",
            "ckpt/*",
            "/run/**",
        ] {
            assert!(!matches(glob), "{glob}");
        }
        for wrong in ["", ",", "[", "*.pt,a**b"] {
            assert!(globs(wrong).is_none(), "{wrong}");
        }
    }
}
