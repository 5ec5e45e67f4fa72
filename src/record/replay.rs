//! Rebuilds a search from its log.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Event, EventKind, ReadError, Reader, RunManifest};
use crate::search::{Ask, Search, StopReason, TellError};
use crate::types::{Digest, Seed};

/// A search as its log rebuilt it.
#[derive(Debug)]
pub struct Replay {
    /// The run's id.
    pub id: String,
    /// What was run.
    pub manifest: RunManifest,
    /// The search, in the state in which the log leaves it: the last round's. `None`: the log ends
    /// before the start state was observed.
    pub search: Option<Search>,
    /// The searches of the rounds before, in order: each ended in a commit from which the next one
    /// went on.
    pub earlier: Vec<Search>,
    /// Events read.
    pub events: u64,
    /// Why and that the search ended; `None`: the log breaks off before (a crash).
    pub ended: Option<StopReason>,
    /// Whether the log holds its last event.
    pub complete: bool,
    /// What was cut off the last line, in words.
    pub torn: Option<String>,
    /// Blobs that the log names and that are not there.
    pub missing: BTreeSet<Digest>,
}

/// Why a log did not rebuild its search.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The record could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log's events do not follow each other.
    #[error("event {seq}: {reason}")]
    Order {
        /// Which event.
        seq: u64,
        /// What is wrong.
        reason: String,
    },
    /// The search asks for something else than it did.
    #[error("event {seq}: the log asks for {logged}, the rebuilt search for {rebuilt}")]
    AskDiffers {
        /// Which event.
        seq: u64,
        /// What the log says.
        logged: String,
        /// What the search says.
        rebuilt: String,
    },
    /// The search refuses what it was told.
    #[error("event {seq}: {source}")]
    Tell {
        /// Which event.
        seq: u64,
        /// Why.
        source: TellError,
    },
    /// The rebuilt search ends otherwise.
    #[error("event {seq}: the {what} was {logged}, the rebuilt search has {rebuilt}")]
    EndDiffers {
        /// Which event.
        seq: u64,
        /// What differs.
        what: &'static str,
        /// What the log says.
        logged: String,
        /// What the search says.
        rebuilt: String,
    },
}

/// Rebuilds the search of the run in `dir` from its log alone, by asking and telling, and holds it
/// against the log at every ask and at the end. A log that breaks off replays up to where it does.
///
/// # Errors
/// [`ReplayError`] at the first event that does not fit.
pub fn replay(dir: &Path) -> Result<Replay, ReplayError> {
    let mut reader = Reader::open(dir)?;
    let mut out = match reader.next().transpose()? {
        Some(Event {
            kind: EventKind::RunStarted { id, manifest },
            ..
        }) => Replay {
            id,
            manifest,
            search: None,
            earlier: Vec::new(),
            events: 1,
            ended: None,
            complete: false,
            torn: None,
            missing: BTreeSet::new(),
        },
        other => {
            return Err(ReplayError::Order {
                seq: 0,
                reason: match other {
                    Some(_) => "a log begins with `run_started`".to_owned(),
                    None => "the log is empty".to_owned(),
                },
            });
        }
    };
    while let Some(event) = reader.next().transpose()? {
        out.events += 1;
        for digest in event.kind.blobs() {
            if !reader.has_blob(digest) {
                out.missing.insert(digest);
            }
        }
        out.follow(event)?;
    }
    out.torn = reader.torn().map(str::to_owned);
    Ok(out)
}

impl Replay {
    /// The run's seed.
    #[must_use]
    pub fn seed(&self) -> Seed {
        self.manifest.seed
    }

    /// How many rounds began.
    #[must_use]
    pub fn rounds(&self) -> usize {
        self.earlier.len() + usize::from(self.search.is_some())
    }

    fn follow(&mut self, event: Event) -> Result<(), ReplayError> {
        let Event { seq, kind, .. } = event;
        let order = |reason: &str| ReplayError::Order {
            seq,
            reason: reason.to_owned(),
        };
        if self.complete {
            return Err(order("the log goes on after `run_ended`"));
        }
        let rounds = self.rounds();
        let begun = self
            .search
            .as_mut()
            .ok_or_else(|| order("it comes before `root`"));
        match kind {
            EventKind::RunStarted { .. } => return Err(order("a second `run_started`")),
            EventKind::Root {
                round,
                budget,
                start,
                ..
            } => {
                if round as usize != rounds {
                    return Err(order("a `root` of another round"));
                }
                if begun.is_ok() && self.ended.take().is_none() {
                    return Err(order("a second `root` before the search ended"));
                }
                let mut config = self.manifest.search;
                config.budget = budget.unwrap_or(config.budget);
                let search = Search::new(config, start);
                self.earlier.extend(self.search.replace(search));
            }
            EventKind::Asked { ticket, request } => {
                let logged = Ask::Start { ticket, request };
                let rebuilt = begun?.ask();
                if rebuilt != logged {
                    return Err(ReplayError::AskDiffers {
                        seq,
                        logged: format!("{logged:?}"),
                        rebuilt: format!("{rebuilt:?}"),
                    });
                }
            }
            EventKind::Told {
                ticket, outcome, ..
            } => begun?
                .tell(ticket, outcome)
                .map_err(|source| ReplayError::Tell { seq, source })?,
            EventKind::Stopping { reason, .. } => begun?.stop(reason),
            EventKind::SearchEnded {
                reason, best, tree, ..
            } => {
                let search = begun?;
                let differs = |what, logged: String, rebuilt: String| {
                    (logged != rebuilt).then_some(ReplayError::EndDiffers {
                        seq,
                        what,
                        logged,
                        rebuilt,
                    })
                };
                let end = Ask::Stop { reason };
                let difference = differs(
                    "end of the search",
                    format!("{end:?}"),
                    format!("{:?}", search.ask()),
                )
                .or_else(|| {
                    differs(
                        "best state",
                        format!("{best:?}"),
                        format!("{:?}", search.best()),
                    )
                })
                .or_else(|| {
                    differs(
                        "tree's digest",
                        tree.to_string(),
                        search.tree().digest().to_string(),
                    )
                });
                if let Some(error) = difference {
                    return Err(error);
                }
                self.ended = Some(reason);
            }
            EventKind::RunEnded { .. } => self.complete = true,
            EventKind::Imported { .. }
            | EventKind::CommitStarted { .. }
            | EventKind::CommitStep { .. }
            | EventKind::CommitDiverged { .. }
            | EventKind::Verdict { .. }
            | EventKind::Warning { .. } => {}
        }
        Ok(())
    }
}
