//! The budgets: what is spent, what is spoken for, what may still be asked.
//!
//! Invariant: `spent + reserved <= limit` for steps, nodes and model calls, at every moment.

use super::protocol::{Budget, Request, Spent, StopReason};
use crate::types::Cost;

/// What a strategy may ask for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    step: Option<StopReason>,
    model: Option<StopReason>,
    under_way: usize,
}

impl Room {
    /// Why no `Step` may be asked, if so. Because of nodes it may pass: a step in flight that makes
    /// no node gives its place back. Anything else stays.
    #[must_use]
    pub fn lacks_step(&self) -> Option<StopReason> {
        self.step
    }

    /// Why no `Propose`, `Judge` or `Compare` may be asked, if so. It stays.
    #[must_use]
    pub fn lacks_model(&self) -> Option<StopReason> {
        self.model
    }

    /// Why it makes no sense to propose: no model, or no step left to use a proposal.
    #[must_use]
    pub fn lacks_expansion(&self) -> Option<StopReason> {
        self.step.or(self.model)
    }

    /// Requests that were asked, or will be without fail, and have not landed.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way
    }
}

/// The account.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    budget: Budget,
    spent: Spent,
    steps_reserved: u32,
    orders_reserved: u32,
}

impl Ledger {
    /// A fresh account; the root is there.
    pub(super) fn new(budget: Budget) -> Self {
        Self {
            budget,
            spent: Spent {
                nodes: 1,
                ..Spent::default()
            },
            steps_reserved: 0,
            orders_reserved: 0,
        }
    }

    pub(super) fn spent(&self) -> Spent {
        self.spent
    }

    /// What may be asked now.
    pub(super) fn room(&self, under_way: usize) -> Room {
        let Budget {
            steps,
            nodes,
            model_calls,
            tokens,
            money,
        } = self.budget;
        let full = |limit: Option<u32>, used: u32, reserved: u32| {
            limit.is_some_and(|limit| used.saturating_add(reserved) >= limit)
        };
        let cost = &self.spent.cost;
        let used = cost.input_tokens.saturating_add(cost.output_tokens);
        let dry = if tokens.is_some_and(|limit| used >= limit) {
            Some(StopReason::Tokens)
        } else if money.is_some_and(|limit| cost.money >= limit) {
            Some(StopReason::Money)
        } else {
            None
        };
        let step = if full(steps, self.spent.steps, self.steps_reserved) {
            Some(StopReason::Steps)
        } else if full(nodes, self.spent.nodes, self.steps_reserved) {
            Some(StopReason::Nodes)
        } else {
            dry
        };
        let model = if full(model_calls, self.spent.orders, self.orders_reserved) {
            Some(StopReason::ModelCalls)
        } else {
            dry
        };
        Room {
            step,
            model,
            under_way,
        }
    }

    /// Why this kind of request may not be asked, if so.
    pub(super) fn lack(room: &Room, request: Request) -> Option<StopReason> {
        match request {
            Request::Step { .. } => room.step,
            Request::Propose { .. } | Request::Judge { .. } | Request::Compare { .. } => room.model,
        }
    }

    /// Speaks for what a request may use.
    pub(super) fn reserve(&mut self, request: Request) {
        *self.reserved(request) += 1;
    }

    /// Gives back what a request that was never asked was to use.
    pub(super) fn release(&mut self, request: Request) {
        *self.reserved(request) -= 1;
    }

    /// Books what a request used. `nodes` is the tree's size afterwards.
    pub(super) fn settle(&mut self, request: Request, cost: &Cost, nodes: u32) {
        self.release(request);
        match request {
            Request::Step { .. } => self.spent.steps += 1,
            Request::Propose { .. } | Request::Judge { .. } | Request::Compare { .. } => {
                self.spent.orders += 1;
            }
        }
        self.spent.nodes = nodes;
        add(&mut self.spent.cost, cost);
    }

    fn reserved(&mut self, request: Request) -> &mut u32 {
        match request {
            Request::Step { .. } => &mut self.steps_reserved,
            Request::Propose { .. } | Request::Judge { .. } | Request::Compare { .. } => {
                &mut self.orders_reserved
            }
        }
    }
}

/// Costs come from outside: a provider that reports nonsense must not overflow the account.
fn add(total: &mut Cost, cost: &Cost) {
    let Cost {
        model_calls,
        input_tokens,
        cached_tokens,
        output_tokens,
        money,
        env_actions,
        wall_ms,
    } = cost;
    total.model_calls = total.model_calls.saturating_add(*model_calls);
    total.input_tokens = total.input_tokens.saturating_add(*input_tokens);
    total.cached_tokens = total.cached_tokens.saturating_add(*cached_tokens);
    total.output_tokens = total.output_tokens.saturating_add(*output_tokens);
    total.money.0 = total.money.0.saturating_add(money.0);
    total.env_actions = total.env_actions.saturating_add(*env_actions);
    total.wall_ms = total.wall_ms.saturating_add(*wall_ms);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{EdgeId, MicroUsd, NodeId};

    const STEP: Request = Request::Step { edge: EdgeId(0) };
    const JUDGE: Request = Request::Judge { node: NodeId::ROOT };

    #[test]
    fn reservations_count_and_a_step_without_a_node_gives_its_place_back() {
        let mut ledger = Ledger::new(Budget {
            steps: Some(3),
            nodes: Some(2),
            ..Budget::default()
        });
        assert_eq!(ledger.room(0).lacks_step(), None);
        ledger.reserve(STEP);
        assert_eq!(ledger.room(1).lacks_step(), Some(StopReason::Nodes));
        ledger.settle(STEP, &Cost::default(), 1);
        assert_eq!(ledger.room(0).lacks_step(), None);
        ledger.reserve(STEP);
        ledger.settle(STEP, &Cost::default(), 1);
        ledger.reserve(STEP);
        assert_eq!(ledger.room(1).lacks_step(), Some(StopReason::Steps));
        ledger.release(STEP);
        assert_eq!(ledger.room(0).lacks_step(), None);
        assert_eq!(ledger.spent().steps, 2);
    }

    #[test]
    fn tokens_and_money_close_everything_and_never_overflow() {
        let mut ledger = Ledger::new(Budget {
            tokens: Some(100),
            ..Budget::default()
        });
        let cost = Cost {
            input_tokens: u64::MAX,
            output_tokens: u64::MAX,
            money: MicroUsd(u64::MAX),
            ..Cost::default()
        };
        for _ in 0..2 {
            ledger.reserve(JUDGE);
            ledger.settle(JUDGE, &cost, 1);
        }
        let room = ledger.room(0);
        assert_eq!(room.lacks_step(), Some(StopReason::Tokens));
        assert_eq!(room.lacks_model(), Some(StopReason::Tokens));
        assert_eq!(ledger.spent().cost.money, MicroUsd(u64::MAX));
        assert_eq!(ledger.spent().orders, 2);
    }

    #[test]
    fn model_calls_leave_steps_open_but_not_expansion() {
        let mut ledger = Ledger::new(Budget {
            model_calls: Some(1),
            ..Budget::default()
        });
        ledger.reserve(JUDGE);
        let room = ledger.room(1);
        assert_eq!(room.lacks_step(), None);
        assert_eq!(room.lacks_model(), Some(StopReason::ModelCalls));
        assert_eq!(room.lacks_expansion(), Some(StopReason::ModelCalls));
    }
}
