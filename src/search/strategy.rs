//! What a strategy is.

use super::best_first::BestFirst;
use super::best_of_n::BestOfN;
use super::dfsdt::Dfsdt;
use super::greedy::Greedy;
use super::ledger::Room;
use super::protocol::{Request, SearchConfig, StopReason, StrategyKind};
use super::tree::Tree;
use crate::types::{EdgeId, NodeId, Preference};

/// A strategy's move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Ask this. It must be possible: the edge queued, the node open, the depth allowed.
    Start(Request),
    /// Nothing to ask now. With nothing under way it means: nothing left to try.
    Idle,
    /// It would go on, but for this budget.
    Blocked(StopReason),
    /// Done. What is under way still lands.
    Solved,
}

/// What a strategy is told, once per request, after the tree holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Edges `first..first + count` were queued under `node`.
    Proposed {
        /// The state.
        node: NodeId,
        /// The first new edge.
        first: EdgeId,
        /// How many are new; 0 if nothing was proposed, or nothing new.
        count: u32,
        /// Whether the first candidate came with a thought.
        thought: bool,
    },
    /// An action was tried; the edge's status says what became of it.
    Stepped {
        /// The action.
        edge: EdgeId,
    },
    /// A state was judged; no value there means that the critic abstained.
    Judged {
        /// The state.
        node: NodeId,
    },
    /// Two states were compared.
    Compared {
        /// The state that was shown first.
        first: NodeId,
        /// The state that was shown second.
        second: NodeId,
        /// `None`: the critic abstained.
        preference: Option<Preference>,
    },
    /// A proposal or judgement could not be had: the node is closed. Or a comparison could not: the
    /// tree is unchanged.
    Failed {
        /// What was asked.
        request: Request,
    },
}

/// Decides what to try next. Deterministic: no clock, no global, randomness only from a
/// [`SearchRng`](super::SearchRng) of its own. Its data sits beside the tree, never in it.
pub trait Strategy: Send {
    /// The name, as in the config.
    fn name(&self) -> &'static str;

    /// Whether a step into a known state ends there ([`EdgeStatus::Loop`](super::EdgeStatus::Loop))
    /// instead of making a node of its own.
    fn merges(&self) -> bool;

    /// Whether a candidate that equals an action already under its state is queued all the same.
    fn repeats(&self) -> bool {
        false
    }

    /// The next move. Called after every landing until it gives no request, or as many are under
    /// way as the config allows. A request without room is not asked, and not asked for again:
    /// look at `room` before taking anything off a queue.
    fn next(&mut self, tree: &Tree, room: &Room) -> Next;

    /// Takes note of an outcome.
    fn told(&mut self, tree: &Tree, news: &News);

    /// The state whose path should be committed. `None` if no action was carried out.
    fn best(&self, tree: &Tree) -> Option<NodeId>;

    /// Bytes its data takes on the heap.
    fn heap_bytes(&self) -> usize;
}

/// The strategy a config names.
pub(super) fn build(config: &SearchConfig) -> Box<dyn Strategy> {
    match config.strategy {
        StrategyKind::Greedy => Box::new(Greedy::new(config)),
        StrategyKind::BestOfN => Box::new(BestOfN::new(config)),
        StrategyKind::BestFirst => Box::new(BestFirst::new(config)),
        StrategyKind::Dfsdt => Box::new(Dfsdt::new(config)),
    }
}
