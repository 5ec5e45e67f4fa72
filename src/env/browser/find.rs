//! Which browser to use.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// The two builds of Chromium; they differ in what they need on their command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BrowserKind {
    /// `chromium-headless-shell`: always headless, about three times cheaper to start.
    HeadlessShell,
    /// The full browser: needs `--headless`.
    Chromium,
}

/// A browser on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrowserBinary {
    /// The program.
    pub path: PathBuf,
    /// Which build.
    pub kind: BrowserKind,
}

impl BrowserBinary {
    /// The browser at `path`, its kind read from the name.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let kind = if name.contains("headless-shell") || name.contains("headless_shell") {
            BrowserKind::HeadlessShell
        } else {
            BrowserKind::Chromium
        };
        Self { path, kind }
    }
}

/// Names to look for on `PATH`, best first.
const NAMES: [&str; 6] = [
    "chromium-headless-shell",
    "chrome-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// The browser to use: `$BRANCHLINE_BROWSER` as it stands, whether or not it is there (starting it
/// will say so; a silent choice of another one would not), else the first of
/// `chromium-headless-shell`, `chrome-headless-shell`, `chromium`, `chromium-browser`,
/// `google-chrome`, `google-chrome-stable` on `PATH`.
#[must_use]
pub fn find_browser() -> Option<BrowserBinary> {
    find_in(
        std::env::var_os("BRANCHLINE_BROWSER"),
        std::env::var_os("PATH").as_deref(),
        Path::new("/snap/bin/chromium").exists(),
    )
}

fn find_in(named: Option<OsString>, path: Option<&OsStr>, snap: bool) -> Option<BrowserBinary> {
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        return Some(BrowserBinary::at(PathBuf::from(named)));
    }
    let folders: Vec<PathBuf> = std::env::split_paths(path?).collect();
    NAMES
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|program| is_program(program) && (snap || !is_snap_stub(program)))
        .map(BrowserBinary::at)
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// Ubuntu's `chromium-browser` package is a script that only says to install the snap.
fn is_snap_stub(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(4096).read_to_end(&mut head));
    read.is_ok()
        && head.starts_with(b"#!")
        && String::from_utf8_lossy(&head).contains("/snap/bin/chromium")
}

/// Why a browser did not tell its version.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// It could not be started.
    #[error("{path} does not start: {source}")]
    Start {
        /// The program.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It started and said nothing that is a version.
    #[error("{path} --version says no version ({words})")]
    Silent {
        /// The program.
        path: PathBuf,
        /// What it said instead.
        words: String,
    },
    /// It did not end.
    #[error("{0} --version did not answer within 20 s")]
    Timeout(PathBuf),
}

/// The version a browser states, such as `Chromium 156.0.8078.79`.
///
/// # Errors
/// [`VersionError`] if it does not start, does not end within 20 s, or states none.
pub fn browser_version(path: &Path) -> Result<String, VersionError> {
    version_within(path, Duration::from_secs(20))
}

fn version_within(path: &Path, limit: Duration) -> Result<String, VersionError> {
    let mut child = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|source| VersionError::Start {
            path: path.to_owned(),
            source,
        })?;
    let mut out = child.stdout.take().expect("stdout was asked to be a pipe");
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What could be read before a failure is judged like any other answer.
        drop(out.read_to_end(&mut bytes));
        // Nobody listens any more after the time limit.
        drop(send.send(bytes));
    });
    let answer = receive.recv_timeout(limit);
    // It has said all it will, or had its time: either way it ends here and is reaped.
    drop(child.kill());
    drop(child.wait());
    let bytes = answer.map_err(|_| VersionError::Timeout(path.to_owned()))?;
    let words = String::from_utf8_lossy(&bytes).trim().to_owned();
    let version = words
        .split_whitespace()
        .any(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit()));
    if version {
        Ok(words)
    } else {
        let words = words.chars().take(200).collect();
        Err(VersionError::Silent {
            path: path.to_owned(),
            words,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn program(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn finds_the_best_one() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let chromium = program(&a, "chromium", "#!/bin/sh\n");
        let path = std::env::join_paths([&a, &b]).unwrap();
        let find = |named: Option<&str>| find_in(named.map(OsString::from), Some(&path), false);
        assert_eq!(
            find(None),
            Some(BrowserBinary {
                path: chromium,
                kind: BrowserKind::Chromium
            })
        );
        let shell = program(&b, "chromium-headless-shell", "");
        assert_eq!(
            find(None),
            Some(BrowserBinary {
                path: shell,
                kind: BrowserKind::HeadlessShell
            })
        );
        let named = find(Some("/opt/chrome-linux/headless_shell")).unwrap();
        assert_eq!(named.kind, BrowserKind::HeadlessShell);
        assert_eq!(find(Some("")), find(None));
        assert_eq!(find_in(None, None, false), None);
    }

    #[test]
    fn what_cannot_run_is_no_browser() {
        let dir = tempfile::tempdir().unwrap();
        let stub = "#!/bin/sh\nexec /snap/bin/chromium \"$@\"\n";
        program(dir.path(), "chromium-browser", stub);
        let file = program(dir.path(), "google-chrome", "");
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644)).unwrap();
        let find = |snap| find_in(None, Some(dir.path().as_os_str()), snap);
        assert_eq!(find(false), None);
        assert_eq!(
            find(true).unwrap().path,
            dir.path().join("chromium-browser")
        );
    }

    #[test]
    fn versions() {
        let dir = tempfile::tempdir().unwrap();
        let says = |name: &str, text: &str| {
            let path = program(dir.path(), name, &format!("#!/bin/sh\n{text}\n"));
            version_within(&path, Duration::from_secs(20))
        };
        let version = says("good", "echo noise >&2; echo 'Chromium 156.0.8078.79 '");
        assert_eq!(version.unwrap(), "Chromium 156.0.8078.79");
        assert!(matches!(
            says("bad", "echo use the snap"),
            Err(VersionError::Silent { .. })
        ));
        assert!(matches!(
            browser_version(&dir.path().join("none")),
            Err(VersionError::Start { .. })
        ));
        // Never ends by itself; only the limit does it.
        let hangs = program(dir.path(), "hangs", "#!/bin/sh\nexec tail -f /dev/null\n");
        assert!(matches!(
            version_within(&hangs, Duration::ZERO),
            Err(VersionError::Timeout(_))
        ));
    }
}
