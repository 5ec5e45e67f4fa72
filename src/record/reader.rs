//! Reads a run's directory.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::writer::blob_path;
use super::{Event, EventKind, LOG_VERSION};
use crate::types::Digest;

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The log could not be opened or read.
    #[error("cannot read {path}: {source}", path = .path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line that is whole but no event.
    #[error("{path}, line {line}: {reason}", path = .path.display())]
    Line {
        /// The log.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A line of a later version.
    #[error(
        "{path}, line {line}: written in version {found} of the log's format; this program reads up to {LOG_VERSION}",
        path = .path.display()
    )]
    Version {
        /// The log.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// Its version.
        found: u32,
    },
    /// A kind of event that this program does not know.
    #[error(
        "{path}, line {line}: unknown kind of event `{kind}` (version {version} of the log's format)",
        path = .path.display()
    )]
    UnknownKind {
        /// The log.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// The kind.
        kind: String,
        /// The line's version.
        version: u32,
    },
    /// A blob that an event names is not there, or is not what it was.
    #[error("blob {digest} {problem} ({path})", path = .path.display())]
    Blob {
        /// Which.
        digest: Digest,
        /// Where it should be.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// Streams the events of a run. A last line without its newline is what a crash leaves: it is not
/// an event, and [`Reader::torn`] says so at the end.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    path: PathBuf,
    file: BufReader<File>,
    line: u64,
    torn: Option<String>,
    done: bool,
}

#[derive(Deserialize)]
struct Head {
    v: u32,
    seq: u64,
    ms: u64,
    kind: String,
}

impl Reader {
    /// Opens the record in `dir`.
    ///
    /// # Errors
    /// [`ReadError::Io`] if there is no log.
    pub fn open(dir: &Path) -> Result<Self, ReadError> {
        let path = dir.join("events.jsonl");
        let file = File::open(&path).map_err(|source| ReadError::Io {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            dir: dir.to_owned(),
            path,
            file: BufReader::new(file),
            line: 0,
            torn: None,
            done: false,
        })
    }

    /// Once the events are at their end: what was cut off the last line, in words.
    #[must_use]
    pub fn torn(&self) -> Option<&str> {
        self.torn.as_deref()
    }

    /// A blob's bytes, checked against its digest.
    ///
    /// # Errors
    /// [`ReadError::Blob`] naming it if it is missing or damaged.
    pub fn blob(&self, digest: Digest) -> Result<Vec<u8>, ReadError> {
        let path = blob_path(&self.dir, digest);
        let problem = match std::fs::read(&path) {
            Ok(bytes) if Digest::of(&bytes) == digest => return Ok(bytes),
            Ok(_) => "is damaged".to_owned(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => "is missing".to_owned(),
            Err(e) => format!("cannot be read: {e}"),
        };
        Err(ReadError::Blob {
            digest,
            path,
            problem,
        })
    }

    /// A JSON blob.
    ///
    /// # Errors
    /// [`ReadError::Blob`] naming it if it is missing, damaged or something else.
    pub fn json<T: DeserializeOwned>(&self, digest: Digest) -> Result<T, ReadError> {
        serde_json::from_slice(&self.blob(digest)?).map_err(|e| ReadError::Blob {
            digest,
            path: blob_path(&self.dir, digest),
            problem: format!("does not hold what it should: {e}"),
        })
    }

    /// Whether a blob is there (its content is not checked).
    #[must_use]
    pub fn has_blob(&self, digest: Digest) -> bool {
        blob_path(&self.dir, digest).exists()
    }

    fn read(&mut self) -> Result<Option<Event>, ReadError> {
        let mut bytes = Vec::new();
        self.file
            .read_until(b'\n', &mut bytes)
            .map_err(|source| ReadError::Io {
                path: self.path.clone(),
                source,
            })?;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.line += 1;
        if bytes.pop() != Some(b'\n') {
            self.torn = Some(format!(
                "line {} was cut off after {} bytes",
                self.line,
                bytes.len() + 1
            ));
            return Ok(None);
        }
        let line = self.line;
        let path = || self.path.clone();
        let bad = |reason: String| ReadError::Line {
            path: path(),
            line,
            reason,
        };
        let head: Head =
            serde_json::from_slice(&bytes).map_err(|e| bad(format!("not an event: {e}")))?;
        if head.v > LOG_VERSION {
            return Err(ReadError::Version {
                path: path(),
                line,
                found: head.v,
            });
        }
        if !EventKind::KINDS.contains(&head.kind.as_str()) {
            return Err(ReadError::UnknownKind {
                path: path(),
                line,
                kind: head.kind,
                version: head.v,
            });
        }
        if head.seq != line - 1 {
            return Err(bad(format!(
                "event {} stands where event {} belongs",
                head.seq,
                line - 1
            )));
        }
        let kind = serde_json::from_slice(&bytes)
            .map_err(|e| bad(format!("a malformed `{}` event: {e}", head.kind)))?;
        Ok(Some(Event {
            seq: head.seq,
            ms: head.ms,
            kind,
        }))
    }
}

impl Iterator for Reader {
    type Item = Result<Event, ReadError>;

    /// The next event. After an error there are no more.
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let item = self.read().transpose();
        self.done = !matches!(item, Some(Ok(_)));
        item
    }
}
