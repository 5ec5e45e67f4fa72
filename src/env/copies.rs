//! Folders that begin as copies of others.

use std::path::{Path, PathBuf};

/// Makes a folder for a process, with copies of `sources`; relative ones start at `from`.
///
/// # Errors
/// Which path could not be copied, and why.
pub(super) fn fill(sources: &[PathBuf], from: &Path, folder: &Path) -> Result<(), String> {
    let words = |path: &Path, error: &std::io::Error| format!("{}: {error}", path.display());
    std::fs::create_dir_all(folder).map_err(|error| words(folder, &error))?;
    for source in sources {
        let source = from.join(source);
        let name = source
            .file_name()
            .ok_or_else(|| format!("{} names no file", source.display()))?;
        copy(&source, &folder.join(name)).map_err(|error| words(&source, &error))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    if !std::fs::metadata(from)?.is_dir() {
        return std::fs::copy(from, to).map(drop);
    }
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(entry.path())?, target)?;
        } else {
            copy(&entry.path(), &target)?;
        }
    }
    Ok(())
}
