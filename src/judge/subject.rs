//! What is judged: one run, as its record tells it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::record::{Detail, EventKind, ReadError, Reader, ReplayError, StepDetail, replay};
use crate::search::Request;
use crate::types::{Action, ActionSpec, Digest, EdgeId, Observation, Step};

/// One run to judge.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// The run's id.
    pub run: String,
    /// The task's name.
    pub task: String,
    /// What was asked for.
    pub goal: String,
    /// What could be done, name and description.
    pub tools: Vec<(String, String)>,
    /// What was done and what it gave: the commit, or the path to the best state of a search that
    /// was not committed.
    pub steps: Vec<Taken>,
    /// How it ended.
    pub end: End,
    /// Why this run is no evidence about the agent, if it is none.
    pub fault: Option<String>,
}

/// One executed action.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// What was done.
    pub action: Action,
    /// What was seen then.
    pub seen: String,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", content = "said", rename_all = "snake_case")]
pub enum End {
    /// With this answer.
    Answered(String),
    /// By giving up, or with an answer of no text.
    GaveUp,
    /// Without an end: it ran out of budget or ways.
    Open,
}

/// Why a record cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// It could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its search could not be rebuilt.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// It holds no task: the run ended before the start state was seen.
    #[error("{0} holds no goal: the run ended before its start was seen")]
    Empty(String),
}

/// What one pass over the log finds.
#[derive(Default)]
struct Found {
    run: String,
    task: String,
    goal: Option<String>,
    /// Specs of the start, then of every step that offered others.
    actions: Vec<Digest>,
    committed: Vec<(Action, Step, Digest)>,
    asked: BTreeMap<crate::types::Ticket, EdgeId>,
    searched: BTreeMap<EdgeId, Box<StepDetail>>,
    ended: Option<(String, Option<String>)>,
}

impl Found {
    fn note(&mut self, kind: EventKind) {
        match kind {
            EventKind::RunStarted { id, manifest } => {
                self.run = id;
                self.task = manifest.task;
            }
            EventKind::Root { goal, actions, .. } => {
                // A later round starts where a commit led: its edges are counted anew.
                self.asked.clear();
                self.searched.clear();
                self.goal.get_or_insert(goal);
                self.actions.push(actions);
            }
            EventKind::Asked {
                ticket,
                request: Request::Step { edge },
            } => {
                self.asked.insert(ticket, edge);
            }
            EventKind::Told {
                ticket,
                detail: Detail::Step(detail),
                ..
            } => {
                self.actions.extend(detail.actions);
                if let Some(edge) = self.asked.remove(&ticket) {
                    self.searched.insert(edge, detail);
                }
            }
            EventKind::CommitStep {
                action,
                step,
                observation,
                ..
            } => self.committed.push((action, step, observation)),
            EventKind::RunEnded {
                outcome, reason, ..
            } => self.ended = Some((outcome, reason)),
            _ => {}
        }
    }

    /// Why the run says nothing about the agent.
    fn fault(&self) -> Option<String> {
        match &self.ended {
            None => Some("its log ends before the run did".to_owned()),
            Some((outcome, reason)) if outcome == "failed" || outcome == "interrupted" => Some(
                reason
                    .as_ref()
                    .map_or_else(|| outcome.clone(), |why| format!("{outcome}: {why}")),
            ),
            Some(_) => None,
        }
    }
}

impl Subject {
    /// Reads the record in `dir`.
    ///
    /// # Errors
    /// [`SubjectError`] if the record is damaged or holds nothing to judge.
    pub fn read(dir: &Path) -> Result<Self, SubjectError> {
        let mut reader = Reader::open(dir)?;
        let mut found = Found::default();
        while let Some(event) = reader.next().transpose()? {
            found.note(event.kind);
        }
        let fault = found.fault();
        let done = if found.committed.is_empty() {
            best_path(dir, &mut found.searched)?
        } else {
            std::mem::take(&mut found.committed)
        };
        let mut steps = Vec::new();
        let mut end = End::Open;
        for (action, step, seen) in done {
            if let Step::Done {
                answer: Some(text), ..
            } = &step
            {
                end = match text.trim() {
                    "" => End::GaveUp,
                    said => End::Answered(said.to_owned()),
                };
            } else if action.name == Action::GIVE_UP {
                end = End::GaveUp;
            }
            let seen = reader.json::<Observation>(seen)?.text;
            steps.push(Taken { action, seen });
        }
        let mut tools: Vec<(String, String)> = Vec::new();
        for actions in found.actions {
            let specs: Vec<ActionSpec> = reader.json(actions)?;
            for spec in specs.into_iter().filter(|spec| !spec.terminal) {
                if !tools.iter().any(|(name, _)| *name == spec.name) {
                    tools.push((spec.name, spec.description));
                }
            }
        }
        Ok(Self {
            goal: found
                .goal
                .ok_or_else(|| SubjectError::Empty(dir.display().to_string()))?,
            run: found.run,
            task: found.task,
            tools,
            steps,
            end,
            fault,
        })
    }
}

/// The path to the last round's best state.
fn best_path(
    dir: &Path,
    searched: &mut BTreeMap<EdgeId, Box<StepDetail>>,
) -> Result<Vec<(Action, Step, Digest)>, ReplayError> {
    let Some(search) = replay(dir)?.search else {
        return Ok(Vec::new());
    };
    let Some(best) = search.best() else {
        return Ok(Vec::new());
    };
    let path = search.tree().path(best).into_iter().filter_map(|edge| {
        let detail = searched.remove(&edge)?;
        let action = search.tree().edge(edge).action();
        Some((action, detail.step?, detail.observation?))
    });
    Ok(path.collect())
}

/// Which of `runs` to hold against which of `against`: by their task's name, else by an equal goal;
/// several runs of one task in their order. Also how many of both sides stay alone.
#[must_use]
pub fn pairs(runs: &[Subject], against: &[Subject]) -> (Vec<(usize, usize)>, usize) {
    let mut free: Vec<bool> = vec![true; against.len()];
    let mut found: Vec<Option<usize>> = vec![None; runs.len()];
    let by_task = |one: &Subject, other: &Subject| one.task == other.task;
    let by_goal = |one: &Subject, other: &Subject| one.goal == other.goal;
    for same in [&by_task as &dyn Fn(&Subject, &Subject) -> bool, &by_goal] {
        for (run, partner) in runs.iter().zip(&mut found) {
            if partner.is_some() {
                continue;
            }
            let place = (0..against.len()).find(|&i| free[i] && same(run, &against[i]));
            if let Some(i) = place {
                free[i] = false;
                *partner = Some(i);
            }
        }
    }
    let pairs: Vec<_> = found
        .into_iter()
        .enumerate()
        .filter_map(|(run, partner)| Some((run, partner?)))
        .collect();
    let alone = runs.len() + against.len() - 2 * pairs.len();
    (pairs, alone)
}
