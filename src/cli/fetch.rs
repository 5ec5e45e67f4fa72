//! `branchline fetch`: gets benchmarks that are not ours to ship.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::task::{bfcl, data_dir, miniwob};

/// SHA-256 of `miniwob-1.1.0-py3-none-any.whl` on the Python package index.
const MINIWOB_SHA256: &str = "297006e84219d56ad037e843527ed773a4a82509dc43b6031ec4a3ad3e3e61d9";

/// Why something was not fetched. Completes "failed to fetch miniwob: …".
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nothing says where data is kept.
    #[error("no directory for data: BRANCHLINE_DATA, XDG_DATA_HOME and HOME are all unset")]
    NoDataDir,
    /// No Python to run.
    #[error("there is no `python3`")]
    NoPython,
    /// Python without pip.
    #[error("this python3 has no pip")]
    NoPip,
    /// The package index could not be reached.
    #[error("the Python package index was not reached: {0}")]
    Network(String),
    /// The index gave another file than the one that is pinned.
    #[error("the file that came is not the pinned one (wrong SHA-256)")]
    WrongHash,
    /// The disk is full.
    #[error("no space left for {0}")]
    DiskFull(PathBuf),
    /// A file could not be written or moved.
    #[error("cannot {verb} {path}: {source}")]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A package holds something else than expected.
    #[error("the package was unpacked, but does not hold what was expected")]
    Incomplete,
    /// Python or pip failed in another way; its last words.
    #[error("{program} failed: {words}")]
    Failed {
        /// Which program.
        program: &'static str,
        /// What it said last.
        words: String,
    },
}

impl FetchError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoDataDir => "set BRANCHLINE_DATA to a directory",
            Self::NoPython => {
                "install Python 3 with pip (Debian, Ubuntu: `apt-get install python3-pip`)"
            }
            Self::NoPip => "install pip (Debian, Ubuntu: `apt-get install python3-pip`)",
            Self::Network(_) => {
                "check the connection; pip takes a proxy from HTTPS_PROXY and a mirror from PIP_INDEX_URL"
            }
            Self::WrongHash => {
                "an index or mirror serves a changed file: do not use it; try without PIP_INDEX_URL"
            }
            Self::DiskFull(_) => "free about 20 MB there, or set BRANCHLINE_DATA to another disk",
            Self::Io { .. } => "check the permissions, or set BRANCHLINE_DATA to another directory",
            Self::Incomplete => "this is a fault of Branchline or of the wheel: please report it",
            Self::Failed { .. } => {
                "try the same by hand: `python3 -m pip download miniwob==1.1.0 --no-deps`, or `python3 -m \
                 venv DIR` (Debian, Ubuntu: `apt-get install python3-venv`)"
            }
        }
    }
}

/// Gets the `MiniWoB` pages (1.9 MB, from the Python package index, by pip, checksum pinned) and
/// gives the directory of the pages. Does nothing if they are there. `say` is told each step.
///
/// Nothing half-done is ever in place: the pages are unpacked beside it and moved there at the end.
/// Blocks; pip gives up on a silent network after about a minute.
///
/// # Errors
/// [`FetchError`], with a [`FetchError::hint`].
pub fn fetch_miniwob(say: &mut dyn FnMut(&str)) -> Result<PathBuf, FetchError> {
    let data = data_dir().ok_or(FetchError::NoDataDir)?;
    fetch_miniwob_to(&data, Path::new("python3"), MINIWOB_SHA256, say)
}

fn fetch_miniwob_to(
    data: &Path,
    python: &Path,
    sha256: &str,
    say: &mut dyn FnMut(&str),
) -> Result<PathBuf, FetchError> {
    let html = miniwob::html_dir(data);
    if miniwob::is_fetched(data) {
        say(&format!("already there: {}", html.display()));
        return Ok(html);
    }
    let io = io_error;
    std::fs::create_dir_all(data).map_err(io("create", data))?;
    let temporary = tempfile::Builder::new()
        .prefix(".fetch-miniwob-")
        .tempdir_in(data)
        .map_err(io("write to", data))?;
    let at = temporary.path();

    let version = miniwob::VERSION;
    let requirement = at.join("requirement.txt");
    std::fs::write(
        &requirement,
        format!("miniwob=={version} --hash=sha256:{sha256}\n"),
    )
    .map_err(io("write", &requirement))?;
    say(&format!("downloading miniwob {version} (1.9 MB) with pip"));
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "download", "--require-hashes", "--no-deps"])
        .args([
            "--only-binary=:all:",
            "--no-input",
            "--disable-pip-version-check",
        ])
        .args(["--progress-bar=off", "--timeout=15", "--retries=2"])
        .arg("--dest")
        .arg(at)
        .arg("--requirement")
        .arg(&requirement);
    run(&mut pip, "pip", at)?;

    say("unpacking");
    let unpacked = at.join("unpacked");
    let mut unzip = Command::new(python);
    unzip
        .args(["-m", "zipfile", "-e"])
        .arg(at.join(format!("miniwob-{version}-py3-none-any.whl")))
        .arg(&unpacked);
    run(&mut unzip, "python3 -m zipfile", at)?;

    // As the data directory will see it: under its own name.
    let target = data.join(format!("miniwob-{version}"));
    let staged = at.join(format!("miniwob-{version}"));
    std::fs::rename(&unpacked, &staged).map_err(io("move", &unpacked))?;
    if !miniwob::is_fetched(at) {
        return Err(FetchError::Incomplete);
    }
    if target.symlink_metadata().is_ok() {
        // Not complete, or we would not be here: put aside, and removed with the rest.
        std::fs::rename(&target, at.join("replaced")).map_err(io("replace", &target))?;
    }
    match std::fs::rename(&staged, &target) {
        Ok(()) => {}
        // Another fetch was faster.
        Err(_) if miniwob::is_fetched(data) => {}
        Err(source) => return Err(io("create", &target)(source)),
    }
    say(&format!("done: {}", html.display()));
    Ok(html)
}

/// Gets BFCL's package (2.5 MB, from the Python package index, by pip, checksums pinned) into a
/// virtual environment of its own and gives its directory. Does nothing if it is there. `say` is
/// told each step. Blocks.
///
/// # Errors
/// [`FetchError`], with a [`FetchError::hint`].
pub fn fetch_bfcl(say: &mut dyn FnMut(&str)) -> Result<PathBuf, FetchError> {
    let data = data_dir().ok_or(FetchError::NoDataDir)?;
    fetch_bfcl_to(&data, Path::new("python3"), say)
}

fn fetch_bfcl_to(
    data: &Path,
    python: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<PathBuf, FetchError> {
    let home = bfcl::home(data);
    if bfcl::is_fetched(data) {
        say(&format!("already there: {}", home.display()));
        return Ok(home);
    }
    std::fs::create_dir_all(data).map_err(io_error("create", data))?;
    let temporary = tempfile::Builder::new()
        .prefix(".fetch-bfcl-")
        .tempdir_in(data)
        .map_err(io_error("write to", data))?;
    let at = temporary.path();
    let staged = bfcl::home(at);
    say("making a virtual environment");
    let mut venv = Command::new(python);
    venv.args(["-m", "venv"]).arg(&staged);
    run(&mut venv, "python3 -m venv", at)?;
    let requirements = at.join("requirements.txt");
    std::fs::write(&requirements, bfcl::REQUIREMENTS).map_err(io_error("write", &requirements))?;
    let version = bfcl::VERSION;
    say(&format!("installing bfcl-eval {version} (2.5 MB) with pip"));
    let mut pip = Command::new(bfcl::python(at));
    pip.args(["-m", "pip", "install", "--require-hashes", "--no-deps"])
        .args([
            "--only-binary=:all:",
            "--no-input",
            "--disable-pip-version-check",
        ])
        .args(["--progress-bar=off", "--timeout=15", "--retries=2"])
        .arg("--requirement")
        .arg(&requirements);
    run(&mut pip, "pip", at)?;
    if !bfcl::is_fetched(at) {
        return Err(FetchError::Incomplete);
    }
    if home.symlink_metadata().is_ok() {
        // Not complete, or we would not be here: put aside, and removed with the rest.
        std::fs::rename(&home, at.join("replaced")).map_err(io_error("replace", &home))?;
    }
    match std::fs::rename(&staged, &home) {
        Ok(()) => {}
        // Another fetch was faster.
        Err(_) if bfcl::is_fetched(data) => {}
        Err(source) => return Err(io_error("create", &home)(source)),
    }
    say(&format!("done: {}", home.display()));
    Ok(home)
}

/// An error of a file operation, which names the full disk.
fn io_error(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FetchError + use<> {
    let path = path.to_owned();
    move |source: io::Error| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FetchError::DiskFull(path),
        _ => FetchError::Io { verb, path, source },
    }
}

fn run(command: &mut Command, program: &'static str, at: &Path) -> Result<(), FetchError> {
    let output = command.output().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => FetchError::NoPython,
        _ => FetchError::Failed {
            program,
            words: source.to_string(),
        },
    })?;
    if output.status.success() {
        Ok(())
    } else {
        Err(explain(&output, program, at))
    }
}

/// What a failed pip meant. Its messages are no interface, so what is not recognised is quoted.
fn explain(output: &Output, program: &'static str, at: &Path) -> FetchError {
    let words = String::from_utf8_lossy(&output.stderr);
    let has = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    let last = || {
        let last = words.lines().rev().find(|line| !line.trim().is_empty());
        let line = last.map_or_else(|| output.status.to_string(), |line| line.trim().to_owned());
        line.chars().take(300).collect::<String>()
    };
    if has(&["No module named pip", "No module named 'pip'"]) {
        FetchError::NoPip
    } else if has(&["DO NOT MATCH THE HASHES"]) {
        FetchError::WrongHash
    } else if has(&["No space left on device", "Disk quota exceeded"]) {
        FetchError::DiskFull(at.parent().unwrap_or(at).to_owned())
    } else if has(&[
        "NewConnectionError",
        "NameResolutionError",
        "ConnectTimeout",
        "ReadTimeout",
        "ProxyError",
        "SSLError",
        "Connection refused",
        "Connection reset",
        "ConnectionResetError",
        "RemoteDisconnected",
        "Max retries exceeded",
        "No matching distribution found",
        "HTTP error",
    ]) {
        FetchError::Network(last())
    } else {
        FetchError::Failed {
            program,
            words: last(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A stand-in for python3: a shell script.
    fn python(dir: &Path, script: &str) -> PathBuf {
        let path = dir.join("python3");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Unpacks as many pages as the wheel has, asked to unzip; else records that pip was called.
    const WORKS: &str = r#"
        if [ "$2" = pip ]; then echo called >> "$(dirname "$0")/calls"; exit 0; fi
        html="$5/miniwob/html"
        mkdir -p "$html/miniwob" "$html/core"
        touch "$html/core/core.js"
        i=0; while [ $i -lt 130 ]; do touch "$html/miniwob/page-$i.html"; i=$((i+1)); done"#;

    struct Setup {
        dir: tempfile::TempDir,
        data: PathBuf,
    }

    impl Setup {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let data = dir.path().join("data");
            Self { dir, data }
        }

        fn fetch(&self, script: &str) -> Result<PathBuf, FetchError> {
            let python = python(self.dir.path(), script);
            fetch_miniwob_to(&self.data, &python, MINIWOB_SHA256, &mut |_| {})
        }

        fn names(&self) -> Vec<String> {
            let entries = std::fs::read_dir(&self.data).unwrap();
            entries
                .map(|e| e.unwrap().file_name().into_string().unwrap())
                .collect()
        }
    }

    #[test]
    fn fetches_once_and_leaves_nothing_else() {
        let setup = Setup::new();
        let html = setup.fetch(WORKS).unwrap();
        assert_eq!(html, miniwob::html_dir(&setup.data));
        assert!(miniwob::is_fetched(&setup.data));
        setup.fetch(WORKS).unwrap();
        let calls = std::fs::read_to_string(setup.dir.path().join("calls")).unwrap();
        assert_eq!(calls, "called\n");
        assert_eq!(setup.names(), ["miniwob-1.1.0"]);
    }

    #[test]
    fn a_broken_copy_is_replaced() {
        let setup = Setup::new();
        let page = miniwob::html_dir(&setup.data).join("miniwob/old.html");
        std::fs::create_dir_all(page.parent().unwrap()).unwrap();
        std::fs::write(&page, "").unwrap();
        setup.fetch(WORKS).unwrap();
        assert!(!page.exists() && miniwob::is_fetched(&setup.data));
        assert_eq!(setup.names(), ["miniwob-1.1.0"]);
    }

    #[test]
    fn failures_have_names_and_leave_nothing() {
        let fails = |script: &str| {
            let setup = Setup::new();
            let error = setup.fetch(script).unwrap_err();
            assert_eq!(setup.names(), Vec::<String>::new());
            error
        };
        let says = |words: &str| fails(&format!("echo '{words}' >&2; exit 1"));
        assert!(matches!(
            says("/usr/bin/python3: No module named pip"),
            FetchError::NoPip
        ));
        assert!(matches!(
            says("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE."),
            FetchError::WrongHash
        ));
        assert!(matches!(
            says("ERROR: Could not install packages due to an OSError: No space left on device"),
            FetchError::DiskFull(_)
        ));
        assert!(matches!(
            says("ERROR: No matching distribution found for miniwob==1.1.0"),
            FetchError::Network(_)
        ));
        let FetchError::Failed { words, .. } = says("something else") else {
            panic!("an unknown failure");
        };
        assert_eq!(words, "something else");
        assert!(matches!(fails("exit 0"), FetchError::Io { .. }));
        assert!(matches!(
            fails(&WORKS.replace("130", "129")),
            FetchError::Incomplete
        ));
    }

    /// Makes an environment that installs the questions, asked for one; records that it was called.
    const MAKES: &str = r#"
        echo called >> "$(dirname "$0")/calls"
        mkdir -p "$3/bin" "$3/lib/python3.0/site-packages/bfcl_eval/data"
        cat > "$3/bin/python" <<'END'
#!/bin/sh
grep -q -- --hash= "$(dirname "$0")/../../requirements.txt" || exit 9
touch "$(dirname "$0")/../lib/python3.0/site-packages/bfcl_eval/data/BFCL_v4_multi_turn_base.json"
END
        chmod +x "$3/bin/python""#;

    #[test]
    fn an_environment_is_made_once_and_whole() {
        let setup = Setup::new();
        let fetch = |script: &str| {
            let python = python(setup.dir.path(), script);
            fetch_bfcl_to(&setup.data, &python, &mut |_| {})
        };
        let broken = MAKES.replace("touch", "true");
        assert!(matches!(fetch(&broken), Err(FetchError::Incomplete)));
        assert_eq!(setup.names(), Vec::<String>::new());
        assert_eq!(fetch(MAKES).unwrap(), bfcl::home(&setup.data));
        fetch(MAKES).unwrap();
        let calls = std::fs::read_to_string(setup.dir.path().join("calls")).unwrap();
        assert_eq!(calls, "called\ncalled\n");
        assert_eq!(setup.names(), ["bfcl-2026.3.23"]);
    }

    #[test]
    fn no_python() {
        let setup = Setup::new();
        let nowhere = setup.dir.path().join("nowhere");
        let error = fetch_miniwob_to(&setup.data, &nowhere, MINIWOB_SHA256, &mut |_| {});
        assert!(matches!(error, Err(FetchError::NoPython)));
    }
}
