//! Answers of read calls, kept to be given again.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::env::tools::{Reply, Tool};
use crate::types::Digest;

/// One answer, or the place for it: whoever holds the lock makes the call, the others wait.
pub(super) type MemoSlot = Arc<tokio::sync::Mutex<Option<Arc<Reply>>>>;

/// Answers of read calls. How long one lives says how far they are reused: a tree, a run, or (with
/// a file) longer.
#[derive(Debug, Default)]
pub struct MemoStore {
    slots: Mutex<BTreeMap<Digest, MemoSlot>>,
    file: Option<Mutex<File>>,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    key: Digest,
    tool: String,
    reply: Reply,
}

impl MemoStore {
    /// Answers that are also kept in a file, one JSON object a line. Lines that cannot be read are
    /// left out. Whoever wants fresh answers removes the file.
    ///
    /// # Errors
    /// If the file can neither be read nor made.
    pub fn on_disk(path: &Path) -> std::io::Result<Self> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let mut slots = BTreeMap::new();
        if path.exists() {
            for line in BufReader::new(File::open(path)?).lines() {
                match serde_json::from_str::<Line>(&line?) {
                    Ok(Line { key, reply, .. }) => {
                        let kept = Some(Arc::new(reply));
                        slots.insert(key, Arc::new(tokio::sync::Mutex::new(kept)));
                    }
                    Err(error) => tracing::warn!(%error, "an unreadable answer was left out"),
                }
            }
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self {
            slots: Mutex::new(slots),
            file: Some(Mutex::new(file)),
        })
    }

    /// The place of a call's answer.
    pub(super) fn slot(&self, key: Digest) -> MemoSlot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(key).or_default())
    }

    /// Writes an answer to the file, if there is one. What fails is only not there next time.
    pub(super) fn keep(&self, key: Digest, tool: &Tool, reply: &Reply) {
        let Some(file) = &self.file else { return };
        let line = Line {
            key,
            tool: tool.name.clone(),
            reply: reply.clone(),
        };
        let Ok(line) = serde_json::to_string(&line) else {
            return;
        };
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = writeln!(file, "{line}") {
            tracing::warn!(%error, "an answer could not be kept");
        }
    }
}

/// What makes two read calls the same: provider, operation, canonical arguments, and the writes
/// before them.
pub(super) fn key(tool: &Tool, arguments: &Map<String, Value>, epoch: Option<Digest>) -> Digest {
    let parts = serde_json::json!([tool.source, tool.original, tool.binding, arguments, epoch]);
    Digest::of(parts.to_string())
}

/// Whether the answer will be the same next time: successes, and refusals that do not pass.
pub(super) fn lasting(reply: &Reply) -> bool {
    match (reply.error, reply.status) {
        (false, _) => true,
        (true, Some(status)) => (400..500).contains(&status) && !matches!(status, 408 | 425 | 429),
        (true, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(error: bool, status: Option<u16>) -> Reply {
        Reply {
            error,
            status,
            content: Value::Null,
            bytes: 0,
            notes: Vec::new(),
        }
    }

    #[test]
    fn what_may_pass_is_not_kept() {
        assert!(lasting(&reply(false, Some(200))));
        assert!(lasting(&reply(true, Some(404))));
        for status in [408, 425, 429, 500, 503] {
            assert!(!lasting(&reply(true, Some(status))), "{status}");
        }
        assert!(!lasting(&reply(true, None)));
    }

    #[tokio::test]
    async fn a_file_gives_answers_to_the_next_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memo").join("shop.jsonl");
        let key = Digest::of("a call");
        let tool: Tool = serde_json::from_value(serde_json::json!({
            "name": "t", "source": "s", "original": "t", "summary": "", "description": "",
            "tags": [], "parameters": {}, "output": null, "access": "read",
            "binding": {"kind": "described"}, "notes": []
        }))
        .unwrap();
        MemoStore::on_disk(&path)
            .unwrap()
            .keep(key, &tool, &reply(false, Some(200)));
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"{half\n")
            .unwrap();
        let store = MemoStore::on_disk(&path).unwrap();
        let kept = store.slot(key).lock().await.clone();
        assert_eq!(kept.as_deref(), Some(&reply(false, Some(200))));
        assert!(store.slot(Digest::of("another")).lock().await.is_none());
    }
}
