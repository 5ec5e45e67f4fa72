//! The file of votes: one JSON object a line, appended and flushed before a vote counts.
//!
//! `sitting` says who is judged, by whom and how; the votes after it, and earlier ones of the same
//! panel, are what rates are computed from. A last line without its newline is what a crash leaves:
//! it is cut off when the file is opened for more votes.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::question::{Question, Ruling};
use super::subject::End;
use crate::record::Redactor;
use crate::types::{Cost, Digest, Seed};

/// Version of the file's format. A reader refuses a later one.
const VERSION: u32 = 1;

/// Why votes could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum VotesError {
    /// The file could not be read or written.
    #[error("cannot {what} {path}: {source}", path = .path.display())]
    Io {
        /// `read` or `write`.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A whole line that is none of this file's.
    #[error("{path}, line {line}: {reason}", path = .path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// No `sitting`: nothing says what the votes are about.
    #[error("{path} holds no `sitting` line: it is no file of votes", path = .path.display())]
    Nothing {
        /// Which file.
        path: PathBuf,
    },
}

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Line {
    /// Who is judged, by whom and how.
    Sitting(Sitting),
    /// One reply of the judge, or why there is none.
    Vote(Vote),
}

/// Who is judged, by whom and how. The last one of a file is the one that rates are about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sitting {
    /// Version of the format.
    pub v: u32,
    /// The judge.
    pub model: String,
    /// Digest of all that makes votes comparable: model, prompts, sampling.
    pub panel: Digest,
    /// Ballots of each question.
    pub votes: u32,
    /// Seed of the ballots' sampling, and of the coins of a rule that tosses some.
    pub seed: Seed,
    /// The runs, those that others are held against last.
    pub places: Vec<Place>,
    /// Which run is held against which.
    pub pairs: Vec<Pair>,
    /// Runs of either side that have no partner.
    pub alone: u32,
}

/// A run as rates need it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Its id.
    pub run: String,
    /// Its task.
    pub task: String,
    /// Whether it is one that others are held against.
    pub reference: bool,
    /// How it ended.
    pub end: End,
    /// Why it is not judged, if it is not.
    pub fault: Option<String>,
}

/// Two runs to compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// The run.
    pub run: String,
    /// What it is held against.
    pub against: String,
    /// Whether both did the same and ended the same way.
    pub same: bool,
}

/// One reply of the judge, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Vote {
    /// On which run.
    pub run: String,
    /// Against which, for [`Question::Better`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<String>,
    /// The question.
    pub question: Question,
    /// Which ballot, from 0.
    pub ballot: u32,
    /// For [`Question::Better`]: whether `against` was shown first.
    #[serde(default)]
    pub swapped: bool,
    /// [`Sitting::panel`].
    pub panel: Digest,
    /// Digest of the request as it was sent.
    pub prompt: Digest,
    /// The ruling; `None`: the reply was none, or there was no reply.
    pub ruling: Option<Ruling>,
    /// The reply as it came.
    pub reply: Option<String>,
    /// Why there is no reply. Such a vote is asked for again in the next sitting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// The model that answered, as the provider names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<String>,
    /// What it cost.
    pub cost: Cost,
}

/// What makes a vote the same vote.
pub(super) type Key = (String, Option<String>, Question, u32, bool);

impl Vote {
    pub(super) fn key(&self) -> Key {
        (
            self.run.clone(),
            self.against.clone(),
            self.question,
            self.ballot,
            self.swapped,
        )
    }
}

/// A file of votes: what it holds, and where more go.
#[derive(Debug)]
pub struct VoteFile {
    path: PathBuf,
    sitting: Option<Sitting>,
    votes: BTreeMap<(Digest, Key), Vote>,
    sink: Option<File>,
    redactor: Redactor,
}

impl VoteFile {
    /// Reads the file.
    ///
    /// # Errors
    /// [`VotesError`] naming the line that cannot be read.
    pub fn read(path: &Path) -> Result<Self, VotesError> {
        let text = std::fs::read_to_string(path).map_err(|source| VotesError::Io {
            what: "read",
            path: path.to_owned(),
            source,
        })?;
        let mut file = Self {
            path: path.to_owned(),
            sitting: None,
            votes: BTreeMap::new(),
            sink: None,
            redactor: Redactor::default(),
        };
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for (i, line) in whole.lines().enumerate() {
            let bad = |reason: String| VotesError::Line {
                path: path.to_owned(),
                line: i + 1,
                reason,
            };
            match serde_json::from_str(line).map_err(|e| bad(format!("no line of votes: {e}")))? {
                Line::Sitting(sitting) if sitting.v > VERSION => {
                    return Err(bad(format!(
                        "written in version {} of the format; this program reads up to {VERSION}",
                        sitting.v
                    )));
                }
                Line::Sitting(sitting) => file.sitting = Some(sitting),
                Line::Vote(vote) => file.keep(vote),
            }
        }
        Ok(file)
    }

    /// Opens the file for more votes and makes it if it is missing. Known secrets are kept out of
    /// what is written.
    ///
    /// # Errors
    /// [`VotesError`] naming what cannot be read or written.
    pub fn open(path: &Path, redactor: Redactor) -> Result<Self, VotesError> {
        let failed = |source| VotesError::Io {
            what: "write",
            path: path.to_owned(),
            source,
        };
        let sink = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(failed)?;
        let mut file = Self::read(path)?;
        let bytes = std::fs::read(path).map_err(failed)?;
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        if whole < bytes.len() {
            sink.set_len(whole as u64).map_err(failed)?;
        }
        file.sink = Some(sink);
        file.redactor = redactor;
        Ok(file)
    }

    fn keep(&mut self, vote: Vote) {
        self.votes.insert((vote.panel, vote.key()), vote);
    }

    /// The last sitting.
    ///
    /// # Errors
    /// [`VotesError::Nothing`] if there is none.
    pub fn sitting(&self) -> Result<&Sitting, VotesError> {
        self.sitting.as_ref().ok_or_else(|| VotesError::Nothing {
            path: self.path.clone(),
        })
    }

    /// The votes of a panel, the last of each.
    pub(super) fn of(&self, panel: Digest) -> impl Iterator<Item = &Vote> {
        let of_panel = move |((by, _), _): &(&(Digest, Key), &Vote)| *by == panel;
        self.votes.iter().filter(of_panel).map(|(_, vote)| vote)
    }

    /// Writes a sitting, unless the last one was the same.
    ///
    /// # Errors
    /// [`VotesError::Io`].
    pub fn sit(&mut self, sitting: Sitting) -> Result<(), VotesError> {
        if self.sitting.as_ref() != Some(&sitting) {
            self.append(&Line::Sitting(sitting.clone()))?;
        }
        self.sitting = Some(sitting);
        Ok(())
    }

    /// Writes a vote; after that it counts.
    ///
    /// # Errors
    /// [`VotesError::Io`].
    pub fn add(&mut self, vote: &Vote) -> Result<(), VotesError> {
        self.append(&Line::Vote(vote.clone()))?;
        self.keep(vote.clone());
        Ok(())
    }

    fn append(&mut self, line: &Line) -> Result<(), VotesError> {
        let failed = |source| VotesError::Io {
            what: "write",
            path: self.path.clone(),
            source,
        };
        let mut value: Value = serde_json::to_value(line).map_err(|e| failed(e.into()))?;
        self.redactor.value(&mut value);
        let sink = self
            .sink
            .as_mut()
            .ok_or_else(|| failed(io::Error::other("it was opened for reading only")))?;
        sink.write_all(format!("{value}\n").as_bytes())
            .map_err(failed)
    }
}

impl Sitting {
    /// The version that is written.
    pub(super) const V: u32 = VERSION;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_line_is_dropped_and_a_broken_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("verdicts.jsonl");
        let sitting = Sitting {
            v: 1,
            model: "m".to_owned(),
            panel: Digest::of("p"),
            votes: 1,
            seed: Seed(0),
            places: Vec::new(),
            pairs: Vec::new(),
            alone: 0,
        };
        let mut file = VoteFile::open(&path, Redactor::default()).unwrap();
        assert!(matches!(file.sitting(), Err(VotesError::Nothing { .. })));
        file.sit(sitting.clone()).unwrap();
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"kind\":\"vo");
        std::fs::write(&path, &text).unwrap();
        let mut file = VoteFile::open(&path, Redactor::default()).unwrap();
        assert_eq!(file.sitting().unwrap(), &sitting);
        let later = Sitting {
            votes: 3,
            ..sitting
        };
        file.sit(later.clone()).unwrap();
        assert_eq!(VoteFile::read(&path).unwrap().sitting().unwrap(), &later);
        std::fs::write(&path, "{}\n").unwrap();
        let error = VoteFile::read(&path).unwrap_err().to_string();
        assert!(error.contains("verdicts.jsonl, line 1: "), "{error}");
    }
}
