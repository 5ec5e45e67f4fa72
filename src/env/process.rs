//! Process groups that do not outlive us.
//!
//! A small `sh` watches a pipe that only we hold: when we end, in whatever way, the pipe closes and
//! the shell kills the group and removes its folder.

use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, ChildStdin, Command};

/// Kills the group when it is dropped.
pub(super) struct GroupGuard(pub(super) Pid);

impl Drop for GroupGuard {
    fn drop(&mut self) {
        killpg(self.0, Signal::SIGKILL).ok();
    }
}

/// Starts the shell that outlives us by one command: it ends `group` and removes `folder`.
pub(super) fn watch(group: Pid, folder: &Path) -> std::io::Result<(Child, ChildStdin)> {
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(r#"cat >/dev/null; kill -KILL "-$1" 2>/dev/null; sleep 0.1; rm -rf -- "$2""#)
        .arg("branchline-watchdog")
        .arg(group.as_raw().to_string())
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    let pipe = child.stdin.take().expect("stdin was piped above");
    Ok((child, pipe))
}
