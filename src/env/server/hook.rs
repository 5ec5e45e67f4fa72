//! Hooks: commands and HTTP calls that save a server's state and put it back.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use crate::http::causes;

/// How much of a hook's output an error quotes, in bytes.
const QUOTED: usize = 600;
/// No checkpoint's name is longer, in bytes.
const LONGEST_ID: usize = 512;
/// No answer of a hook is read further, in bytes.
const LARGEST_ANSWER: usize = 64 * 1024;
/// How long output is waited for after its process has ended (it may have left children behind).
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Ends a process group unless it is told that the group has ended.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            killpg(group, Signal::SIGKILL).ok();
        }
    }
}

/// Runs a program to its end. It and its children are ended when the call is dropped.
///
/// # Errors
/// That it could not be run, or failed, with the end of its output.
pub(super) async fn command(
    argv: &[String],
    folder: &Path,
    env: &[(&str, String)],
) -> Result<(), String> {
    let (program, arguments) = argv.split_first().ok_or("the command is empty")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(folder)
        .envs(env.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command
        .spawn()
        .map_err(|error| format!("`{program}` could not be run: {error}"))?;
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    let mut group = Group(id.map(Pid::from_raw));
    let stdout = child.stdout.take().expect("stdout was piped above");
    let stderr = child.stderr.take().expect("stderr was piped above");
    let mut last = (Vec::new(), Vec::new());
    let status = {
        let reading = async { tokio::join!(tail(stdout, &mut last.0), tail(stderr, &mut last.1)) };
        tokio::pin!(reading);
        let (status, read) = tokio::select! {
            status = child.wait() => (status, false),
            _ = &mut reading => (child.wait().await, true),
        };
        if !read {
            tokio::time::timeout(LAST_WORDS, reading).await.ok();
        }
        status.map_err(|error| format!("`{program}` could not be waited for: {error}"))?
    };
    group.0 = None;
    if status.success() {
        return Ok(());
    }
    let said = [last.1, last.0].concat();
    let said = quoted(&said);
    let said = if said.is_empty() {
        "it said nothing".to_owned()
    } else {
        format!("it said: {said}")
    };
    Err(format!("`{program}` ended with {status}; {said}"))
}

/// Reads to the end and keeps the last of it.
async fn tail(mut from: impl AsyncRead + Unpin, last: &mut Vec<u8>) {
    let mut buffer = vec![0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        last.extend_from_slice(&buffer[..count]);
        let spare = last.len().saturating_sub(QUOTED);
        last.drain(..spare);
    }
}

/// Output as one line, without control characters.
pub(super) fn quoted(bytes: &[u8]) -> String {
    let start = bytes.len().saturating_sub(QUOTED);
    let text = String::from_utf8_lossy(&bytes[start..]);
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = text.chars().map(clean).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A request to a server's own hook; what it answered.
///
/// # Errors
/// That it did not answer, or with a status that is no success.
pub(super) async fn http(
    client: &reqwest::Client,
    method: &str,
    url: &str,
    headers: &[(String, String)],
) -> Result<Vec<u8>, String> {
    let method = reqwest::Method::from_bytes(method.as_bytes())
        .map_err(|_| format!("`{method}` is no HTTP method"))?;
    let mut request = client.request(method.clone(), url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let failed = |error: reqwest::Error| {
        let reason = causes(&error.without_url());
        format!("{method} {url} failed: {reason}")
    };
    let mut answer = request.send().await.map_err(failed)?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        body.extend_from_slice(&chunk);
        if body.len() > LARGEST_ANSWER {
            return Err(format!(
                "{method} {url} answered more than {LARGEST_ANSWER} bytes"
            ));
        }
    }
    let status = answer.status();
    if status.is_success() {
        Ok(body)
    } else {
        let said = quoted(&body);
        Err(format!("{method} {url} answered {status}: {said}"))
    }
}

/// The checkpoint's name in the answer of a save hook: JSON text, an `id` member, or plain text.
///
/// # Errors
/// That it names nothing that could stand in a URL.
pub(super) fn id_in(answer: &[u8]) -> Result<Option<String>, String> {
    let text = String::from_utf8_lossy(answer);
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let id = match serde_json::from_str::<Value>(text) {
        Ok(Value::String(id)) => id,
        Ok(Value::Number(id)) => id.to_string(),
        Ok(Value::Object(members)) => match members.get("id") {
            Some(Value::String(id)) => id.clone(),
            Some(Value::Number(id)) => id.to_string(),
            _ => return Ok(None),
        },
        Ok(_) => return Ok(None),
        Err(_) => text.to_owned(),
    };
    let fits = id.len() <= LONGEST_ID && id.chars().all(|c| c.is_ascii_graphic());
    let fits = fits && !id.contains(['/', '?', '#', '%', '<', '>']);
    if fits && !id.is_empty() {
        Ok(Some(id))
    } else {
        Err(format!(
            "its answer is no name of a checkpoint: {}",
            quoted(answer)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[tokio::test]
    async fn a_command_runs_in_its_folder_with_its_environment() {
        let folder = tempfile::tempdir().unwrap();
        let env = [("BRANCHLINE_CHECKPOINT", "here".to_owned())];
        let script = argv(&["sh", "-c", "echo $BRANCHLINE_CHECKPOINT > said"]);
        command(&script, folder.path(), &env).await.unwrap();
        let said = std::fs::read_to_string(folder.path().join("said")).unwrap();
        assert_eq!(said, "here\n");
    }

    #[tokio::test]
    async fn a_command_that_fails_says_what_it_said() {
        let folder = std::env::temp_dir();
        let script = argv(&["sh", "-c", "echo out; echo no \x1b[1mdisk >&2; exit 3"]);
        let error = command(&script, &folder, &[]).await.unwrap_err();
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.contains("no") && error.contains("disk") && !error.contains('\x1b'));
        let error = command(&argv(&["no-such-program-here"]), &folder, &[]).await;
        assert!(error.unwrap_err().contains("could not be run"));
    }

    #[tokio::test]
    async fn a_command_is_over_when_its_process_is_whatever_it_leaves_behind() {
        let folder = std::env::temp_dir();
        let script = argv(&["sh", "-c", "sleep 30 & exit 0"]);
        let ended = tokio::time::timeout(Duration::from_secs(10), command(&script, &folder, &[]));
        ended.await.unwrap().unwrap();
    }

    #[test]
    fn names_of_checkpoints() {
        let id = |text: &str| id_in(text.as_bytes());
        assert_eq!(id("\"a1\"").unwrap().as_deref(), Some("a1"));
        assert_eq!(id("{\"id\": 7, \"x\": 1}").unwrap().as_deref(), Some("7"));
        assert_eq!(id(" abc \n").unwrap().as_deref(), Some("abc"));
        assert_eq!(id("{}").unwrap(), None);
        assert_eq!(id("").unwrap(), None);
        assert!(id("<html>no</html>").is_err());
        assert!(id("\"../x\"").is_err());
    }
}
