//! States as the driver keeps them, and the views that policies and critics get of them.

use std::sync::Arc;

use crate::search::{EdgeState, Tree};
use crate::types::{
    ActionSpec, NodeId, Observation, PathStep, Seed, Sibling, SiblingOutcome, Snapshot, View,
};

/// What the driver knows of a node beyond the tree.
#[derive(Debug, Clone)]
pub(super) struct NodeState {
    pub(super) observation: Arc<Observation>,
    pub(super) previous: Option<Arc<Observation>>,
    pub(super) snapshot: Snapshot,
    /// From the root to here. Only this branch.
    pub(super) path: Arc<[PathStep]>,
    pub(super) answer: Option<String>,
}

impl NodeState {
    /// The state that `step` led to from here.
    pub(super) fn child(
        &self,
        step: PathStep,
        observation: Arc<Observation>,
        snapshot: Snapshot,
        answer: Option<String>,
    ) -> Self {
        Self {
            observation,
            previous: Some(Arc::clone(&self.observation)),
            snapshot,
            path: self.path.iter().cloned().chain([step]).collect(),
            answer: answer.or_else(|| self.answer.clone()),
        }
    }
}

/// A [`View`] that owns its parts, to be moved into a worker.
#[derive(Debug, Clone)]
pub(super) struct OwnedView {
    pub(super) goal: Arc<str>,
    pub(super) actions: Arc<[ActionSpec]>,
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
            actions: &self.actions,
            siblings: &self.siblings,
            answer: self.state.answer.as_deref(),
            seed: self.seed,
        }
    }
}

/// An element as a path shows it: `button "Add to cart"`.
pub(super) fn rendered_target(observation: &Observation, reference: Option<&str>) -> Option<String> {
    let element = observation.element(reference?)?;
    Some(format!("{} {:?}", element.role, element.name))
}

/// What was tried under a state, in the order in which it was proposed.
pub(super) fn siblings(tree: &Tree, node: NodeId, states: &[NodeState]) -> Vec<Sibling> {
    let url = |child: NodeId| {
        let state = states.get(child.0 as usize);
        state.map_or_else(String::new, |state| state.observation.url.clone())
    };
    let tried = tree.node(node).edges.iter().map(|&id| {
        let edge = tree.edge(id);
        let outcome = match &edge.state {
            EdgeState::Queued | EdgeState::Running => SiblingOutcome::Queued,
            EdgeState::Done(child) => SiblingOutcome::Done { url: url(*child) },
            EdgeState::Rejected(rejection) => SiblingOutcome::Rejected(rejection.clone()),
            EdgeState::Held(effects) => SiblingOutcome::Held(effects.clone()),
            EdgeState::Failed(_) => SiblingOutcome::Failed,
        };
        Sibling {
            action: edge.action.clone(),
            outcome,
        }
    });
    tried.collect()
}
