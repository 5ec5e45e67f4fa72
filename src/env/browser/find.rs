//! Which browser to use.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What kind of binary it is; they differ in flags and cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrowserKind {
    /// `chromium-headless-shell`: about three times cheaper to start and run.
    HeadlessShell,
    /// Full Chromium or Chrome, run with `--headless`.
    Chromium,
}

/// A browser on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrowserBinary {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub kind: BrowserKind,
}

/// Names on `PATH`, best first.
const NAMES: &[(&str, BrowserKind)] = &[
    ("chromium-headless-shell", BrowserKind::HeadlessShell),
    ("chrome-headless-shell", BrowserKind::HeadlessShell),
    ("headless_shell", BrowserKind::HeadlessShell),
    ("chromium", BrowserKind::Chromium),
    ("chromium-browser", BrowserKind::Chromium),
    ("google-chrome", BrowserKind::Chromium),
    ("google-chrome-stable", BrowserKind::Chromium),
];

/// The browser to use: `$BRANCHLINE_BROWSER` if set, else the best one on `PATH`.
#[must_use]
pub fn find_browser() -> Option<BrowserBinary> {
    if let Some(path) = std::env::var_os("BRANCHLINE_BROWSER").map(PathBuf::from) {
        let name = path.file_name()?.to_string_lossy().into_owned();
        let shell = name.contains("headless-shell") || name.contains("headless_shell");
        let kind = if shell {
            BrowserKind::HeadlessShell
        } else {
            BrowserKind::Chromium
        };
        return Some(BrowserBinary { path, kind });
    }
    let dirs: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    NAMES.iter().find_map(|(name, kind)| {
        let path = dirs
            .iter()
            .map(|dir| dir.join(name))
            .find(|path| path.is_file())?;
        Some(BrowserBinary { path, kind: *kind })
    })
}

/// What the binary says of its version, for example `Chromium 156.0.8078.79`.
#[must_use]
pub fn browser_version(path: &Path) -> Option<String> {
    let output = Command::new(path).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text
        .lines()
        .find(|line| line.chars().any(|c| c.is_ascii_digit()))?;
    Some(
        line.split(" built on")
            .next()
            .unwrap_or(line)
            .trim()
            .to_owned(),
    )
}
