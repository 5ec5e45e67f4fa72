//! Writes a run's directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::Serialize;
use serde_json::Value;

use super::{EventKind, LOG_VERSION, Redactor, RunManifest};
use crate::types::Digest;

/// Why the record could not be written. Fatal to a run: the record is the product.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The run's directory could not be made.
    #[error("cannot create {path}: {source}", path = .path.display())]
    Create {
        /// What could not be created.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An event could not be appended.
    #[error(
        "cannot write {path}: {source}; its first {safe} events are safe and can be replayed",
        path = .path.display()
    )]
    Append {
        /// The log.
        path: PathBuf,
        /// Events that were written whole before.
        safe: u64,
        /// Why.
        source: io::Error,
    },
    /// A blob could not be kept.
    #[error(
        "cannot write {path}: {source}; the log's first {safe} events are safe and can be replayed",
        path = .path.display()
    )]
    Blob {
        /// The blob's place.
        path: PathBuf,
        /// Events that were written whole before.
        safe: u64,
        /// Why.
        source: io::Error,
    },
    /// A write failed before; nothing more is written after a gap.
    #[error("the record at {path} failed before; its first {safe} events are safe", path = .path.display())]
    Broken {
        /// The log.
        path: PathBuf,
        /// Events that were written whole.
        safe: u64,
    },
    /// Something could not be written as JSON or TOML.
    #[error("cannot serialise {what}: {reason}")]
    Serialise {
        /// What.
        what: &'static str,
        /// Why.
        reason: String,
    },
}

/// The writer of one run. One owner, no clones: the log has one order.
pub struct Recorder {
    id: String,
    dir: PathBuf,
    log: PathBuf,
    sink: Box<dyn Write + Send>,
    redactor: Redactor,
    begun: Instant,
    next: u64,
    broken: bool,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("dir", &self.dir)
            .field("next", &self.next)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Line<'a, T> {
    v: u32,
    seq: u64,
    ms: u64,
    #[serde(flatten)]
    kind: &'a T,
}

impl Recorder {
    /// Makes `runs/<id>/` under `runs` (created if missing) with its `run.toml`, and logs
    /// [`EventKind::RunStarted`].
    ///
    /// # Errors
    /// [`RecordError`] naming the path that could not be written.
    pub fn create(
        runs: &Path,
        manifest: &RunManifest,
        redactor: Redactor,
    ) -> Result<Self, RecordError> {
        Self::create_with(runs, manifest, redactor, |path| {
            let log: File = OpenOptions::new()
                .append(true)
                .create_new(true)
                .open(path)?;
            Ok(Box::new(log))
        })
    }

    /// The same, with the log going to whatever `open` makes of its path: for tests of failing
    /// disks.
    ///
    /// # Errors
    /// As [`Recorder::create`].
    pub fn create_with(
        runs: &Path,
        manifest: &RunManifest,
        redactor: Redactor,
        open: impl FnOnce(&Path) -> io::Result<Box<dyn Write + Send>>,
    ) -> Result<Self, RecordError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| RecordError::Create { path, source }
        };
        fs::create_dir_all(runs).map_err(failed(runs))?;
        let (id, dir) = fresh_directory(runs)?;
        let blobs = dir.join("blobs");
        fs::create_dir(&blobs).map_err(failed(&blobs))?;

        let about = dir.join("run.toml");
        let text = manifest_toml(&id, manifest, &redactor)?;
        fs::write(&about, text).map_err(failed(&about))?;

        let log = dir.join("events.jsonl");
        let sink = open(&log).map_err(failed(&log))?;
        let mut recorder = Self {
            id: id.clone(),
            dir,
            log,
            sink,
            redactor,
            begun: Instant::now(),
            next: 0,
            broken: false,
        };
        recorder.append(&EventKind::RunStarted {
            id,
            manifest: manifest.clone(),
        })?;
        Ok(recorder)
    }

    /// The run's id: `YYYYMMDD-HHMMSS-<4 letters>` (UTC), its directory's name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The run's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Events written so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.next
    }

    /// What keeps secrets off the disk.
    #[must_use]
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Appends one event and flushes it; returns its position.
    ///
    /// # Errors
    /// [`RecordError::Append`] the first time a write fails, [`RecordError::Broken`] after that.
    pub fn append(&mut self, kind: &EventKind) -> Result<u64, RecordError> {
        self.whole()?;
        let seq = self.next;
        let ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let v = LOG_VERSION;
        let unwritable = |e: serde_json::Error| RecordError::Serialise {
            what: "an event",
            reason: e.to_string(),
        };
        let mut line = if self.redactor.is_empty() {
            serde_json::to_vec(&Line { v, seq, ms, kind }).map_err(unwritable)?
        } else {
            // By way of text, so that f32 numbers keep their short form.
            let text = serde_json::to_string(kind).map_err(unwritable)?;
            let mut kind: Value = serde_json::from_str(&text).map_err(unwritable)?;
            self.redactor.value(&mut kind);
            serde_json::to_vec(&Line {
                v,
                seq,
                ms,
                kind: &kind,
            })
            .map_err(unwritable)?
        };
        line.push(b'\n');
        if let Err(source) = self.sink.write_all(&line).and_then(|()| self.sink.flush()) {
            self.broken = true;
            return Err(RecordError::Append {
                path: self.log.clone(),
                safe: seq,
                source,
            });
        }
        self.next += 1;
        Ok(seq)
    }

    /// Keeps `bytes`, without secrets where they are text, and returns their digest. The same
    /// bytes are kept once.
    ///
    /// # Errors
    /// [`RecordError::Blob`] if they could not be written, [`RecordError::Broken`] after any
    /// failure.
    pub fn blob(&mut self, bytes: &[u8]) -> Result<Digest, RecordError> {
        self.whole()?;
        let bytes = self.redactor.bytes(bytes);
        let digest = Digest::of(&bytes);
        let path = blob_path(&self.dir, digest);
        if path.exists() {
            return Ok(digest);
        }
        if let Err(source) = keep(&path, &bytes) {
            self.broken = true;
            return Err(RecordError::Blob {
                path,
                safe: self.next,
                source,
            });
        }
        Ok(digest)
    }

    /// Keeps `value` as a JSON blob.
    ///
    /// # Errors
    /// As [`Recorder::blob`].
    pub fn json(&mut self, value: &impl Serialize) -> Result<Digest, RecordError> {
        let bytes = serde_json::to_vec(value).map_err(|e| RecordError::Serialise {
            what: "a blob",
            reason: e.to_string(),
        })?;
        self.blob(&bytes)
    }

    /// Writes `value` as a JSON file `name` beside the log, without secrets: something for other
    /// programs, which the log does not depend on. Returns where it is.
    ///
    /// # Errors
    /// As [`Recorder::blob`].
    pub fn file(&mut self, name: &str, value: &impl Serialize) -> Result<PathBuf, RecordError> {
        self.whole()?;
        let unserialisable = |e: serde_json::Error| RecordError::Serialise {
            what: "a file of the record",
            reason: e.to_string(),
        };
        let mut value = serde_json::to_value(value).map_err(unserialisable)?;
        self.redactor.value(&mut value);
        let bytes = serde_json::to_vec_pretty(&value).map_err(unserialisable)?;
        let path = self.dir.join(name);
        match keep(&path, &bytes) {
            Ok(()) => Ok(path),
            Err(source) => {
                self.broken = true;
                let safe = self.next;
                Err(RecordError::Blob { path, safe, source })
            }
        }
    }

    fn whole(&self) -> Result<(), RecordError> {
        if self.broken {
            return Err(RecordError::Broken {
                path: self.log.clone(),
                safe: self.next,
            });
        }
        Ok(())
    }
}

/// Where a blob lies.
pub(super) fn blob_path(dir: &Path, digest: Digest) -> PathBuf {
    let name = digest.to_string();
    dir.join("blobs").join(&name[..2]).join(&name)
}

/// Writes beside the place and renames: a blob is there whole or not at all.
fn keep(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = path.parent().expect("a blob lies in a directory");
    fs::create_dir_all(parent)?;
    let mut draft = tempfile::NamedTempFile::new_in(parent)?;
    draft.write_all(bytes)?;
    draft.persist(path).map_err(|e| e.error)?;
    Ok(())
}

/// A directory that did not exist before, named by the time and four letters.
fn fresh_directory(runs: &Path) -> Result<(String, PathBuf), RecordError> {
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    loop {
        let now = jiff::Timestamp::now();
        let salt = format!(
            "{}:{}:{}",
            now.as_nanosecond(),
            std::process::id(),
            DRAWN.fetch_add(1, Ordering::Relaxed)
        );
        let mut draw = Digest::of(salt).prefix();
        let letters: String = (0..4)
            .map(|_| {
                let letter = char::from(b'a' + u8::try_from(draw % 26).expect("below 26"));
                draw /= 26;
                letter
            })
            .collect();
        let stamp = now
            .to_zoned(jiff::tz::TimeZone::UTC)
            .strftime("%Y%m%d-%H%M%S");
        let id = format!("{stamp}-{letters}");
        let dir = runs.join(&id);
        match fs::create_dir(&dir) {
            Ok(()) => return Ok((id, dir)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(RecordError::Create { path: dir, source }),
        }
    }
}

/// The manifest for people. TOML has no null and no integer above 2^63: absent values are left
/// out and large seeds are written as text. [`super::replay`] reads the first event instead.
fn manifest_toml(
    id: &str,
    manifest: &RunManifest,
    redactor: &Redactor,
) -> Result<String, RecordError> {
    let bad = |reason: String| RecordError::Serialise {
        what: "run.toml",
        reason,
    };
    let text = serde_json::to_string(manifest).map_err(|e| bad(e.to_string()))?;
    let mut value: Value = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
    redactor.value(&mut value);
    let mut table = toml::Table::new();
    table.insert("id".to_owned(), toml::Value::from(id));
    table.insert(
        "version".to_owned(),
        toml::Value::from(i64::from(LOG_VERSION)),
    );
    if let Some(toml::Value::Table(rest)) = as_toml(value) {
        table.extend(rest);
    }
    toml::to_string_pretty(&table).map_err(|e| bad(e.to_string()))
}

fn as_toml(value: Value) -> Option<toml::Value> {
    match value {
        Value::Null => None,
        Value::Bool(b) => Some(b.into()),
        Value::Number(n) => Some(match (n.as_i64(), n.is_f64(), n.as_f64()) {
            (Some(int), ..) => int.into(),
            (None, true, Some(float)) => float.into(),
            _ => n.to_string().into(),
        }),
        Value::String(s) => Some(s.into()),
        Value::Array(items) => Some(toml::Value::Array(
            items.into_iter().filter_map(as_toml).collect(),
        )),
        Value::Object(map) => Some(toml::Value::Table(
            map.into_iter()
                .filter_map(|(key, item)| Some((key, as_toml(item)?)))
                .collect(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::types::Seed;

    #[test]
    fn the_manifest_is_readable_toml_without_secrets() {
        let manifest = RunManifest {
            task: "shop/1".to_owned(),
            seed: Seed(u64::MAX),
            config: json!({ "key": "sk-123456", "none": null, "list": [1, null, 2.5] })
                .as_object()
                .unwrap()
                .clone(),
            ..RunManifest::default()
        };
        let text = manifest_toml("id-1", &manifest, &Redactor::new(["sk-123456"])).unwrap();
        let table: toml::Table = text.parse().unwrap();
        assert_eq!(table["id"].as_str(), Some("id-1"));
        assert_eq!(table["task"].as_str(), Some("shop/1"));
        assert_eq!(table["seed"].as_str(), Some("18446744073709551615"));
        assert_eq!(
            table["config"].to_string(),
            "{ key = \"[redacted]\", list = [1, 2.5] }"
        );
    }

    #[test]
    fn ids_are_dated_and_unique() {
        let runs = tempfile::tempdir().unwrap();
        let ids: std::collections::BTreeSet<String> = (0..50)
            .map(|_| fresh_directory(runs.path()).unwrap().0)
            .collect();
        assert_eq!(ids.len(), 50);
        for id in ids {
            let parts: Vec<&str> = id.split('-').collect();
            let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
            assert_eq!(lengths, [8, 6, 4], "{id}");
            assert!(parts[2].bytes().all(|b| b.is_ascii_lowercase()), "{id}");
        }
    }
}
