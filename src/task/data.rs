//! Where fetched benchmarks live.

use std::ffi::OsString;
use std::path::PathBuf;

/// The directory of fetched data: `$BRANCHLINE_DATA`, else `$XDG_DATA_HOME/branchline`, else
/// `~/.local/share/branchline`. `None` if the environment names none of them.
#[must_use]
pub fn data_dir() -> Option<PathBuf> {
    data_dir_of(|name| std::env::var_os(name))
}

fn data_dir_of(var: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name| var(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("BRANCHLINE_DATA").or_else(|| {
        let share = set("XDG_DATA_HOME")
            // The XDG base directory specification: relative paths are to be ignored.
            .filter(|path| path.is_absolute())
            .or_else(|| Some(set("HOME")?.join(".local/share")))?;
        Some(share.join("branchline"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_that_is_set() {
        let with = |vars: &[(&str, &str)]| {
            data_dir_of(|name| {
                let found = vars.iter().find(|(key, _)| *key == name)?;
                Some(OsString::from(found.1))
            })
        };
        let path = |text| Some(PathBuf::from(text));
        assert_eq!(with(&[("BRANCHLINE_DATA", "d"), ("HOME", "/h")]), path("d"));
        assert_eq!(
            with(&[
                ("BRANCHLINE_DATA", ""),
                ("XDG_DATA_HOME", "/x"),
                ("HOME", "/h")
            ]),
            path("/x/branchline")
        );
        assert_eq!(
            with(&[("XDG_DATA_HOME", "x"), ("HOME", "/h")]),
            path("/h/.local/share/branchline")
        );
        assert_eq!(with(&[]), None);
    }
}
