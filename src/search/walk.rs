//! A walk: forward only, one action after another. What `greedy` and `best-of-n` are made of.

use super::tree::{EdgeStatus, Tree};
use crate::types::{EdgeId, NodeId};

/// How often in a row a walk asks again at a state where nothing it tried could be carried out.
pub(super) const RETRIES: u8 = 3;

/// What a walk needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// Actions under this state.
    Propose(NodeId),
    /// This action carried out.
    Step(EdgeId),
    /// Something that is under way.
    Wait,
    /// Nothing: it is over.
    End,
}

/// The walk.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    at: NodeId,
    chosen: Option<EdgeId>,
    ended: bool,
}

impl Walk {
    /// A walk that stands at the root.
    pub(super) fn new() -> Self {
        Self {
            at: NodeId::ROOT,
            chosen: None,
            ended: false,
        }
    }

    /// Where it stands, as far as the tree knows.
    pub(super) fn position(&self, tree: &Tree) -> NodeId {
        let child = self.chosen.and_then(|edge| tree.edge(edge).child());
        child.unwrap_or(self.at)
    }

    /// Ends it where it stands. Whether it was still going.
    pub(super) fn cut(&mut self) -> bool {
        !std::mem::replace(&mut self.ended, true)
    }

    /// Moves on as far as the tree allows and says what is missing. `pick` chooses among the edges
    /// that can lead on (never none); it is asked once per state and choice.
    pub(super) fn want(
        &mut self,
        tree: &Tree,
        depth: u16,
        mut pick: impl FnMut(&Tree, &[EdgeId]) -> EdgeId,
    ) -> Want {
        while !self.ended {
            if let Some(edge) = self.chosen {
                match tree.edge(edge).status() {
                    EdgeStatus::Queued => return Want::Step(edge),
                    EdgeStatus::InFlight => return Want::Wait,
                    EdgeStatus::Done(node) | EdgeStatus::Held(node) => self.at = node,
                    EdgeStatus::Loop(_)
                    | EdgeStatus::Rejected
                    | EdgeStatus::Failed
                    | EdgeStatus::Lost => {}
                }
                self.chosen = None;
                continue;
            }
            let node = tree.node(self.at);
            if node.leaf() || node.depth() >= depth {
                self.ended = true;
                continue;
            }
            let live: Vec<EdgeId> = tree
                .edges(self.at)
                .filter(|edge| match tree.edge(*edge).status() {
                    EdgeStatus::Queued
                    | EdgeStatus::InFlight
                    | EdgeStatus::Done(_)
                    | EdgeStatus::Held(_) => true,
                    EdgeStatus::Loop(_)
                    | EdgeStatus::Rejected
                    | EdgeStatus::Failed
                    | EdgeStatus::Lost => false,
                })
                .collect();
            if !live.is_empty() {
                self.chosen = Some(pick(tree, &live));
            } else if node.proposing() {
                return Want::Wait;
            } else if node.closed() || node.dry() || node.proposals() > RETRIES {
                self.ended = true;
            } else {
                return Want::Propose(self.at);
            }
        }
        Want::End
    }
}
