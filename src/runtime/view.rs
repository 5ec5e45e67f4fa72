//! States as the driver keeps them, and the views that policies and critics get of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::search::{EdgeStatus, Tree};
use crate::types::{
    ActionSpec, Digest, EdgeId, Effect, EffectKind, NodeId, NoticeKind, Observation, PathStep,
    Seed, Sibling, SiblingOutcome, Snapshot, Step, View,
};

/// What the driver knows of a node beyond the tree.
#[derive(Debug, Clone)]
pub(super) struct NodeState {
    pub(super) observation: Arc<Observation>,
    pub(super) previous: Option<Arc<Observation>>,
    pub(super) snapshot: Snapshot,
    /// What can be done here.
    pub(super) actions: Arc<[ActionSpec]>,
    /// From the root to here. Only this branch.
    pub(super) path: Arc<[PathStep]>,
    pub(super) answer: Option<String>,
    /// The writes that were sent on the way here: two states that look alike are not the same if a
    /// server was told different things.
    pub(super) writes: Option<Digest>,
    /// The writes of the last action: sent, or waiting.
    pub(super) effects: Arc<[Effect]>,
    /// Whether they wait: this state is its parent's, with a write held.
    pub(super) held: bool,
}

impl NodeState {
    /// What the search knows the state by: what can be seen, and what was written on the way.
    pub(super) fn identity(&self) -> Digest {
        let waiting = self.effects.iter().filter(|_| self.held);
        let waiting = writes_digest(&waiting.collect::<Vec<_>>());
        match (self.writes, waiting) {
            (None, None) => self.observation.digest,
            (Some(writes), None) => Digest::of(format!("{}{writes}", self.observation.digest)),
            (writes, Some(waiting)) => {
                let seen = self.observation.digest;
                Digest::of(format!("{seen}{writes:?} waits {waiting}"))
            }
        }
    }

    /// The state that `step` led to from here.
    pub(super) fn child(
        &self,
        step: PathStep,
        observation: Arc<Observation>,
        snapshot: Snapshot,
        actions: Arc<[ActionSpec]>,
        answer: Option<String>,
        effects: Vec<Effect>,
    ) -> Self {
        let sent = writes_digest(&effects.iter().collect::<Vec<_>>());
        let writes = match (self.writes, sent) {
            (Some(before), Some(sent)) => Some(Digest::of(format!("{before}{sent}"))),
            (before, sent) => sent.or(before),
        };
        Self {
            writes,
            observation,
            previous: Some(Arc::clone(&self.observation)),
            snapshot,
            actions,
            path: self.path.iter().cloned().chain([step]).collect(),
            answer: answer.or_else(|| self.answer.clone()),
            effects: effects.into(),
            held: false,
        }
    }

    /// This state with the writes of `step` waiting.
    pub(super) fn waiting(&self, step: PathStep, effects: Vec<Effect>) -> Self {
        Self {
            path: self.path.iter().cloned().chain([step]).collect(),
            effects: effects.into(),
            held: true,
            ..self.clone()
        }
    }
}

/// A [`View`] that owns its parts, to be moved into a worker.
#[derive(Debug, Clone)]
pub(super) struct OwnedView {
    pub(super) goal: Arc<str>,
    pub(super) state: NodeState,
    pub(super) siblings: Vec<Sibling>,
    pub(super) seed: Seed,
}

impl OwnedView {
    pub(super) fn view(&self) -> View<'_> {
        View {
            goal: &self.goal,
            path: &self.state.path,
            observation: &self.state.observation,
            previous: self.state.previous.as_deref(),
            actions: &self.state.actions,
            siblings: &self.siblings,
            answer: self.state.answer.as_deref(),
            waiting: if self.state.held {
                &self.state.effects
            } else {
                &[]
            },
            seed: self.seed,
        }
    }
}

/// An element as a path shows it: `button "Add to cart"`.
pub(super) fn rendered_target(
    observation: &Observation,
    reference: Option<&str>,
) -> Option<String> {
    let element = observation.element(reference?)?;
    Some(format!("{} {:?}", element.role, element.name))
}

/// The writes that a step sent.
pub(super) fn sent_writes(step: &Step) -> Vec<Effect> {
    let Step::Done { effects, .. } = step else {
        return Vec::new();
    };
    let sent = |effect: &&Effect| effect.kind == EffectKind::Write && !effect.held;
    effects.iter().filter(sent).cloned().collect()
}

/// Calls of tools that a step sent, and those that were answered from the record.
pub(super) fn calls(step: &Step) -> (u32, u32) {
    let Step::Done { notices, .. } = step else {
        return (0, 0);
    };
    let count = |kind: NoticeKind| {
        let of = notices.iter().filter(|notice| notice.kind == kind).count();
        u32::try_from(of).unwrap_or(u32::MAX)
    };
    (count(NoticeKind::Call), count(NoticeKind::Recorded))
}

/// Writes as one digest; none of none.
pub(super) fn writes_digest(writes: &[&Effect]) -> Option<Digest> {
    let line = |e: &&Effect| {
        let body = e.body.as_deref().unwrap_or_default();
        format!("{} {} {body}\n", e.method, e.url)
    };
    (!writes.is_empty()).then(|| Digest::of(writes.iter().map(line).collect::<String>()))
}

/// Most bytes of what a sibling showed.
const SEEN: usize = 1_000;

/// The lines of `now` that `before` did not have, as far as they fit.
fn seen(before: &Observation, now: &Observation) -> String {
    let known: HashSet<&str> = before.text.lines().map(str::trim).collect();
    let mut out = String::new();
    let new = |line: &&str| !line.is_empty() && !known.contains(line);
    for line in now.text.lines().map(str::trim).filter(new) {
        if !out.is_empty() {
            out.push('\n');
        }
        let room = SEEN.saturating_sub(out.len());
        if line.len() > room {
            out.push_str(&line[..line.floor_char_boundary(room)]);
            break;
        }
        out.push_str(line);
    }
    out
}

/// What was tried under a state, in the order in which it was proposed. `refusals` holds what the
/// tree does not: why edges were refused or held.
pub(super) fn siblings(
    tree: &Tree,
    node: NodeId,
    states: &[NodeState],
    refusals: &HashMap<EdgeId, SiblingOutcome>,
) -> Vec<Sibling> {
    let tried = tree.edges(node).map(|id| {
        let edge = tree.edge(id);
        let outcome = match edge.status() {
            EdgeStatus::Queued | EdgeStatus::InFlight => SiblingOutcome::Queued,
            EdgeStatus::Done(to) | EdgeStatus::Loop(to) => {
                let to = &states[to.0 as usize].observation;
                SiblingOutcome::Done {
                    url: to.url.clone(),
                    seen: seen(&states[node.0 as usize].observation, to),
                }
            }
            EdgeStatus::Rejected | EdgeStatus::Held(_) => refusals
                .get(&id)
                .expect("a refusal is kept before it is told")
                .clone(),
            EdgeStatus::Failed | EdgeStatus::Lost => SiblingOutcome::Failed,
        };
        Sibling {
            action: edge.action(),
            outcome,
        }
    });
    tried.collect()
}
