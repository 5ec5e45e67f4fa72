//! What passes between a search and whoever carries its requests out. Everything here is logged.

use std::num::NonZeroU8;

use serde::{Deserialize, Serialize};

use crate::types::{
    Candidate, Cost, Digest, EdgeId, Effect, MicroUsd, NodeId, Preference, Rejection, Seed, Ticket,
    UnitF32,
};

/// Something to be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "request")]
pub enum Request {
    /// Propose up to `width` actions under a state.
    Propose {
        /// The state.
        node: NodeId,
        /// At most this many.
        width: NonZeroU8,
    },
    /// Execute a queued action in its parent state.
    Step {
        /// The action.
        edge: EdgeId,
    },
    /// Value a state.
    Judge {
        /// The state.
        node: NodeId,
    },
    /// Say which of two states is nearer the goal. They are shown in this order: who wants to be
    /// rid of a bias for a place asks for both orders.
    Compare {
        /// The state that is shown first.
        first: NodeId,
        /// The state that is shown second.
        second: NodeId,
    },
}

/// The answer to "what now?".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ask")]
pub enum Ask {
    /// Carry this out and tell the outcome under this ticket.
    Start {
        /// The ticket.
        ticket: Ticket,
        /// The request.
        #[serde(flatten)]
        request: Request,
    },
    /// Nothing to do before an outstanding ticket is told.
    Wait,
    /// The search is over and nothing is outstanding.
    Stop {
        /// Why.
        reason: StopReason,
    },
}

/// Why a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// A terminal state reached the value threshold (or the strategy's own notion of done).
    Solved,
    /// Nothing left to try.
    Exhausted,
    /// The budget of executed actions is spent.
    Steps,
    /// The budget of nodes is spent.
    Nodes,
    /// The budget of model calls is spent.
    ModelCalls,
    /// The budget of tokens is spent.
    Tokens,
    /// The budget of money is spent.
    Money,
    /// The wall-clock budget is spent (told by the runtime, logged).
    Time,
    /// The user stopped it.
    Interrupted,
    /// An order failed for good (told by the runtime, logged).
    Failed,
}

/// What became of a request. An environment's or provider's fault is [`Outcome::Failed`]: it makes
/// no node and no score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// To `Propose`.
    Proposed(Proposed),
    /// To `Step`.
    Stepped(Stepped),
    /// To `Judge`.
    Scored(Scored),
    /// To `Compare`.
    Compared(Compared),
    /// To any: it could not be carried out. The edge or node is closed; nothing is scored.
    Failed {
        /// Why, in words.
        reason: String,
        /// What was spent all the same.
        cost: Cost,
    },
}

impl Outcome {
    /// Whether it is an answer to this kind of request.
    #[must_use]
    pub fn answers(&self, request: Request) -> bool {
        match self {
            Self::Proposed(_) => matches!(request, Request::Propose { .. }),
            Self::Stepped(_) => matches!(request, Request::Step { .. }),
            Self::Scored(_) => matches!(request, Request::Judge { .. }),
            Self::Compared(_) => matches!(request, Request::Compare { .. }),
            Self::Failed { .. } => true,
        }
    }

    /// Why it led nowhere, or waits, in words; `None` if it came to what was asked.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        match self {
            Self::Failed { reason, .. } | Self::Stepped(Stepped::Lost { reason, .. }) => {
                Some(reason.clone())
            }
            Self::Stepped(Stepped::Rejected { rejection, .. }) => Some(rejection.to_string()),
            Self::Stepped(Stepped::Held { effects, .. }) => Some(match effects.as_slice() {
                [] => "it writes".to_owned(),
                [one] => format!("would send {} {}", one.method, one.url),
                [first, rest @ ..] => {
                    let more = rest.len();
                    format!("would send {} {} and {more} more", first.method, first.url)
                }
            }),
            Self::Stepped(Stepped::State { .. })
            | Self::Proposed(_)
            | Self::Scored(_)
            | Self::Compared(_) => None,
        }
    }

    /// What it cost.
    #[must_use]
    pub fn cost(&self) -> Cost {
        match self {
            Self::Proposed(Proposed { cost, .. })
            | Self::Stepped(
                Stepped::State { cost, .. }
                | Stepped::Rejected { cost, .. }
                | Stepped::Held { cost, .. }
                | Stepped::Lost { cost, .. },
            )
            | Self::Scored(Scored { cost, .. })
            | Self::Compared(Compared { cost, .. })
            | Self::Failed { cost, .. } => *cost,
        }
    }
}

/// Actions proposed under a state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposed {
    /// Most likely first. The tree takes the first `width` that are new under the state: repeats
    /// of an action already there, and arguments nested deeper than 64 levels, are left out.
    pub candidates: Vec<Candidate>,
    /// What it cost.
    pub cost: Cost,
}

/// An executed action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "stepped")]
pub enum Stepped {
    /// It led to a state.
    State {
        /// Digest of the new state.
        digest: Digest,
        /// Whether the episode ended there.
        terminal: bool,
        /// What it cost.
        cost: Cost,
    },
    /// The environment refused it; nothing changed.
    Rejected {
        /// Why.
        rejection: Rejection,
        /// What it cost.
        cost: Cost,
    },
    /// It would have written and was stopped: a state from which nothing but a commit leads on.
    Held {
        /// Digest of the state it was tried in, with the writes that wait.
        digest: Digest,
        /// The stopped writes.
        effects: Vec<Effect>,
        /// What it cost.
        cost: Cost,
    },
    /// It could not be tried: no way leads back to the state it starts from. That state and its
    /// subtree are closed.
    Lost {
        /// Why, in words.
        reason: String,
        /// What it cost.
        cost: Cost,
    },
}

/// A state's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// `None`: the critic abstained. The node keeps no value; strategies say what they do then.
    pub value: Option<UnitF32>,
    /// What it cost.
    pub cost: Cost,
}

/// Which of two states is nearer the goal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// `None`: the critic abstained. It counts for neither state.
    pub preference: Option<Preference>,
    /// What it cost.
    pub cost: Cost,
}

/// The strategies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StrategyKind {
    /// One path, no way back (`ReAct`).
    Greedy,
    /// Independent greedy paths, the best by the critic.
    BestOfN,
    /// Best-first over unexecuted edges (Koh et al. 2024).
    BestFirst,
    /// Depth first, one candidate at a time, each told what became of those before (Qin et al.
    /// 2023).
    Dfsdt,
}

/// Options of [`StrategyKind::Dfsdt`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DfsdtOptions {
    /// Carry out all candidates of a state first, compare them in pairs, and go into the best
    /// first.
    pub ranked: bool,
    /// Whose published behaviour to reproduce, defects included.
    pub compat: Option<Compat>,
}

/// A published implementation whose counts can be reproduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compat {
    /// `ToolBench`'s `DFS_woFilter_w<N>` and `DFS_w<N>`.
    Toolbench,
    /// The same as in its published answer trees, which are older than its code: the depth limit
    /// backs up two levels, as giving up does.
    ToolbenchTrees,
}

/// Limits. `None` is no limit. What an order may use up is reserved before it is asked and settled
/// when it lands, so that a limit on counts is never exceeded, whatever is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// `Step` requests, whatever became of them (refused, held and failed ones included): the
    /// field's "search budget".
    pub steps: Option<u32>,
    /// Nodes, the root included.
    pub nodes: Option<u32>,
    /// `Propose`, `Judge` and `Compare` requests.
    pub model_calls: Option<u32>,
    /// Tokens, prompt and completion together. Known only when told: nothing is asked once they are
    /// spent, but what is in flight then may overshoot.
    pub tokens: Option<u64>,
    /// Money, with the same proviso as `tokens`.
    pub money: Option<MicroUsd>,
}

impl Budget {
    /// What is left of it after `spent`: the budget of a search that goes on. Nodes count anew, from
    /// its own root.
    #[must_use]
    pub fn less(self, spent: &Spent) -> Self {
        let Spent {
            steps,
            nodes,
            orders,
            cost,
        } = spent;
        Self {
            steps: self.steps.map(|most| most.saturating_sub(*steps)),
            nodes: self.nodes.map(|most| most.saturating_sub(*nodes)),
            model_calls: self.model_calls.map(|most| most.saturating_sub(*orders)),
            tokens: self.tokens.map(|most| most.saturating_sub(cost.tokens())),
            money: self
                .money
                .map(|most| MicroUsd(most.0.saturating_sub(cost.money.0))),
        }
    }

    /// Whether an action can still be tried.
    #[must_use]
    pub fn allows_a_step(&self) -> bool {
        self.steps != Some(0)
            && self.nodes.is_none_or(|left| left > 1)
            && self.model_calls != Some(0)
            && self.tokens != Some(0)
            && self.money != Some(MicroUsd(0))
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            steps: Some(20),
            nodes: None,
            model_calls: None,
            tokens: None,
            money: None,
        }
    }
}

/// When an outcome takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// In the order in which requests were asked: an outcome told early waits for those before it.
    /// The tree does not depend on who finished first; a slow order holds up the others.
    #[default]
    Ticket,
    /// At once. Faster; the tree depends on the order of the tells, which the log keeps.
    Arrival,
}

/// The configuration of a search. Together with the outcomes it determines the tree.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SearchConfig {
    /// Which strategy.
    pub strategy: StrategyKind,
    /// Candidates per state; for `best-of-n` also the number of paths; for `dfsdt` the beam's width.
    pub branching: NonZeroU8,
    /// Most actions from the root. Under [`Compat::Toolbench`] it counts that tree's nodes: two an
    /// action, three with a thought.
    pub depth: u16,
    /// Limits.
    pub budget: Budget,
    /// A state valued at least this ends the search.
    pub threshold: UnitF32,
    /// Most requests under way at a time. Under [`Order::Ticket`] a request counts until it landed.
    pub in_flight: NonZeroU8,
    /// When an outcome takes effect.
    pub order: Order,
    /// Seed of every choice the search makes.
    pub seed: Seed,
    /// Options of `dfsdt`.
    pub dfsdt: DfsdtOptions,
}

impl Default for SearchConfig {
    fn default() -> Self {
        const FIVE: NonZeroU8 = NonZeroU8::new(5).unwrap();
        Self {
            strategy: StrategyKind::BestFirst,
            branching: FIVE,
            depth: 5,
            budget: Budget::default(),
            threshold: UnitF32::ONE,
            in_flight: NonZeroU8::MIN,
            order: Order::Ticket,
            seed: Seed(0),
            dfsdt: DfsdtOptions::default(),
        }
    }
}

/// The start state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Its digest.
    pub digest: Digest,
    /// Whether the episode is over before it began.
    pub terminal: bool,
}

/// What a search has spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spent {
    /// `Step` requests that landed.
    pub steps: u32,
    /// Nodes, the root included.
    pub nodes: u32,
    /// `Propose`, `Judge` and `Compare` requests that landed.
    pub orders: u32,
    /// Everything else.
    pub cost: Cost,
}

impl std::ops::AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.nodes += other.nodes;
        self.orders += other.orders;
        self.cost += other.cost;
    }
}

/// Why a tell was refused. The search is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TellError {
    /// Never asked, or told before.
    #[error("ticket {0} is not outstanding")]
    NotOutstanding(Ticket),
    /// The outcome answers another kind of request.
    #[error("the outcome told under {0} does not answer its request")]
    WrongKind(Ticket),
}
