//! Installs a browser through the system's package manager where it can.

use std::process::{Command, Output, Stdio};

use crate::env::browser::{BrowserBinary, find_browser};

/// Why no browser was installed. Completes "failed to install a browser: …".
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Not a system whose package manager we use.
    #[error("this system ({0}) is not Debian or Ubuntu")]
    OtherSystem(String),
    /// Neither root nor able to become it without a password.
    #[error("installing needs root, and `sudo -n` is not allowed")]
    NotRoot,
    /// Ubuntu has Chromium as a snap only.
    #[error("Ubuntu packages Chromium as a snap only, which this program does not install")]
    SnapOnly,
    /// The package lists name no browser.
    #[error("the package sources offer neither chromium-headless-shell nor chromium")]
    NoPackage,
    /// apt failed.
    #[error("`{command}` failed: {words}")]
    Apt {
        /// What was run.
        command: String,
        /// What it said last.
        words: String,
    },
    /// apt succeeded, and still nothing is on `PATH`.
    #[error("{0} was installed, but no browser is on PATH")]
    StillMissing(&'static str),
}

impl InstallError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        let other = "install Chromium or Google Chrome, put it on PATH or name it in \
                     BRANCHLINE_BROWSER";
        match self {
            Self::OtherSystem(_) => other.to_owned(),
            Self::NotRoot => {
                "run as root: `apt-get install --no-install-recommends chromium-headless-shell` \
                 (or `chromium`)"
                    .to_owned()
            }
            Self::SnapOnly => "run `snap install chromium`, or install Google Chrome's .deb, or \
                               unpack chrome-headless-shell from Chrome for Testing and name it in \
                               BRANCHLINE_BROWSER"
                .to_owned(),
            Self::NoPackage => format!("enable Debian's main archive, or {other}"),
            Self::Apt { command, .. } => format!("try by hand: `{command}`; or {other}"),
            Self::StillMissing(_) => "add /usr/bin to PATH, or set BRANCHLINE_BROWSER".to_owned(),
        }
    }
}

/// Installs a browser by apt (Debian, Ubuntu), as root or by `sudo -n`: `chromium-headless-shell`
/// where the sources have it, else `chromium`. `say` is told every command before it runs. Blocks,
/// often for a minute.
///
/// # Errors
/// [`InstallError`], with an [`InstallError::hint`]; nothing is installed on other systems.
pub fn install_browser(say: &mut dyn FnMut(&str)) -> Result<BrowserBinary, InstallError> {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let system = System::read(&release);
    if !system.apt {
        return Err(InstallError::OtherSystem(system.name));
    }
    let root = root()?;
    say("no browser found: installing one with apt");
    apt(root, &["update"], say)?;
    let package = choose(&system, candidate)?;
    apt(
        root,
        &["install", "-y", "--no-install-recommends", package],
        say,
    )?;
    find_browser().ok_or(InstallError::StillMissing(package))
}

/// What `/etc/os-release` says.
#[derive(Debug, PartialEq, Eq)]
struct System {
    name: String,
    apt: bool,
    ubuntu: bool,
}

impl System {
    fn read(release: &str) -> Self {
        let value = |key: &str| {
            release.lines().find_map(|line| {
                let value = line.trim().strip_prefix(key)?.strip_prefix('=')?;
                Some(value.trim_matches(['"', '\'']).to_owned())
            })
        };
        let like = value("ID_LIKE").unwrap_or_default();
        let id = value("ID").unwrap_or_default();
        let is = |name: &str| id == name || like.split_whitespace().any(|word| word == name);
        Self {
            name: value("PRETTY_NAME").unwrap_or_else(|| std::env::consts::OS.to_owned()),
            apt: is("debian") || is("ubuntu"),
            ubuntu: is("ubuntu"),
        }
    }
}

/// The package to install. `has` says whether the sources offer one.
fn choose(system: &System, has: impl Fn(&str) -> bool) -> Result<&'static str, InstallError> {
    let offered = ["chromium-headless-shell", "chromium"]
        .into_iter()
        .find(|package| has(package));
    offered.ok_or(if system.ubuntu {
        InstallError::SnapOnly
    } else {
        InstallError::NoPackage
    })
}

/// Whether apt would install `package`.
fn candidate(package: &str) -> bool {
    let output = Command::new("apt-cache")
        .args(["policy", package])
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output();
    output.is_ok_and(|output| has_candidate(&String::from_utf8_lossy(&output.stdout)))
}

fn has_candidate(policy: &str) -> bool {
    policy.lines().any(|line| {
        let version = line.trim().strip_prefix("Candidate:").map(str::trim);
        version.is_some_and(|version| !version.is_empty() && version != "(none)")
    })
}

/// How to run something as root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    Already,
    Sudo,
}

fn root() -> Result<Root, InstallError> {
    let quiet = |program: &str, args: &[&str]| -> Option<Output> {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).output().ok()
    };
    if quiet("id", &["-u"]).is_some_and(|o| o.stdout.trim_ascii() == b"0") {
        return Ok(Root::Already);
    }
    if quiet("sudo", &["-n", "true"]).is_some_and(|o| o.status.success()) {
        return Ok(Root::Sudo);
    }
    Err(InstallError::NotRoot)
}

fn apt(root: Root, args: &[&str], say: &mut dyn FnMut(&str)) -> Result<(), InstallError> {
    let sudo: &[&str] = match root {
        Root::Already => &[],
        Root::Sudo => &["sudo", "-n"],
    };
    let words: Vec<&str> = [
        sudo,
        &[
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "LC_ALL=C",
            "apt-get",
        ],
        &[
            "-q",
            "-o",
            "DPkg::Lock::Timeout=120",
            "-o",
            "Acquire::Retries=2",
        ],
        args,
    ]
    .concat();
    let command = words.join(" ");
    say(&format!("$ {command}"));
    let fail = |words: String| InstallError::Apt {
        command: command.clone(),
        words,
    };
    let output = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| fail(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = said
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let tail = last[last.len().saturating_sub(3)..].join("; ");
    Err(fail(if tail.is_empty() {
        output.status.to_string()
    } else {
        tail.chars().take(500).collect()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_system() {
        let system = |text: &str| System::read(text);
        assert_eq!(
            system("PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n"),
            System {
                name: "Debian GNU/Linux 12".into(),
                apt: true,
                ubuntu: false
            }
        );
        let mint = system("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n");
        assert!(mint.apt && mint.ubuntu);
        let fedora = system("PRETTY_NAME='Fedora 44'\nID=fedora\n");
        assert_eq!((fedora.name.as_str(), fedora.apt), ("Fedora 44", false));
    }

    #[test]
    fn chooses_a_package() {
        let debian = System::read("ID=debian");
        let ubuntu = System::read("ID=ubuntu");
        assert_eq!(
            choose(&debian, |_| true).unwrap(),
            "chromium-headless-shell"
        );
        assert_eq!(choose(&debian, |p| p == "chromium").unwrap(), "chromium");
        assert!(matches!(
            choose(&ubuntu, |_| false),
            Err(InstallError::SnapOnly)
        ));
        assert!(matches!(
            choose(&debian, |_| false),
            Err(InstallError::NoPackage)
        ));
        assert!(has_candidate(
            "chromium:\n  Installed: (none)\n  Candidate: 156.0\n"
        ));
        assert!(!has_candidate(
            "chromium:\n  Installed: (none)\n  Candidate: (none)\n"
        ));
        assert!(!has_candidate(""));
    }
}
