//! The engine: tickets out, outcomes in.
//!
//! Invariants:
//! * What is asked next is decided at two moments only: at the start, and after each landing. So
//!   the tree does not depend on when `ask` is called, and under [`Order::Ticket`] not on the order
//!   of the tells either.
//! * A request is under way from that decision until it lands; at most
//!   [`SearchConfig::in_flight`] are. Its budget is reserved all that time.
//! * Every request that is given out is told exactly once, also after a stop. A tell that is
//!   refused changes nothing.

use std::collections::VecDeque;

use super::ledger::Ledger;
use super::protocol::{
    Ask, Order, Outcome, Request, SearchConfig, Spent, Start, Stepped, StopReason, TellError,
};
use super::strategy::{News, Next, Strategy, build};
use super::tree::{EdgeStatus, Tree};
use crate::types::{NodeId, Ticket};

enum Phase {
    /// Decided, not yet given out.
    Planned,
    /// Given out.
    Asked,
    /// Told, waiting for those before it.
    Told(Outcome),
}

struct Slot {
    ticket: Ticket,
    request: Request,
    phase: Phase,
}

/// A search in progress.
///
/// The loop around it: [`ask`](Self::ask) until it says `Wait`, carry out what it gave, in parallel
/// if you like, [`tell`](Self::tell) each outcome, ask again; end at `Stop`.
pub struct Search {
    config: SearchConfig,
    tree: Tree,
    strategy: Box<dyn Strategy>,
    ledger: Ledger,
    /// In ticket order; planned ones are at the back.
    slots: VecDeque<Slot>,
    next_ticket: u64,
    /// Decided: nothing more is planned.
    ending: Option<StopReason>,
    /// Why nothing was planned last. With nothing under way, it is why the search is over.
    rest: StopReason,
}

impl Search {
    /// A search from `start`, by the strategy that the config names.
    #[must_use]
    pub fn new(config: SearchConfig, start: Start) -> Self {
        Self::with_strategy(config, start, build(&config))
    }

    /// A search by a strategy of one's own. `config.strategy` is ignored.
    #[must_use]
    pub fn with_strategy(config: SearchConfig, start: Start, strategy: Box<dyn Strategy>) -> Self {
        let mut search = Self {
            config,
            tree: Tree::new(&start),
            strategy,
            ledger: Ledger::new(config.budget),
            slots: VecDeque::new(),
            next_ticket: 0,
            ending: None,
            rest: StopReason::Exhausted,
        };
        search.plan();
        search
    }

    /// What to do now. Tickets count from 0 in the order of asking.
    pub fn ask(&mut self) -> Ask {
        let planned = |slot: &&mut Slot| matches!(slot.phase, Phase::Planned);
        if let Some(slot) = self.slots.iter_mut().find(planned) {
            slot.phase = Phase::Asked;
            Ask::Start {
                ticket: slot.ticket,
                request: slot.request,
            }
        } else if self.slots.is_empty() {
            Ask::Stop {
                reason: self.ending.unwrap_or(self.rest),
            }
        } else {
            Ask::Wait
        }
    }

    /// Takes the outcome of a request. Any order; each ticket exactly once.
    ///
    /// # Errors
    /// [`TellError`]; the search is unchanged then.
    pub fn tell(&mut self, ticket: Ticket, outcome: Outcome) -> Result<(), TellError> {
        let unknown = TellError::NotOutstanding(ticket);
        let at = self
            .slots
            .binary_search_by_key(&ticket, |slot| slot.ticket)
            .map_err(|_| unknown)?;
        let slot = &mut self.slots[at];
        if !matches!(slot.phase, Phase::Asked) {
            return Err(unknown);
        }
        if !outcome.answers(slot.request) {
            return Err(TellError::WrongKind(ticket));
        }
        match self.config.order {
            Order::Arrival => {
                let request = slot.request;
                self.slots.remove(at);
                self.land(request, outcome);
            }
            Order::Ticket => {
                slot.phase = Phase::Told(outcome);
                while let Some((request, outcome)) = self.pop_told() {
                    self.land(request, outcome);
                }
            }
        }
        Ok(())
    }

    /// Ends the search from outside (time, the user, an order that failed for good). What was not
    /// given out yet never will be; what was still has to be told. A search that is over, or ending
    /// already, keeps its own reason.
    ///
    /// The log must keep it in its place among asks and tells: which requests had been given out
    /// is part of the tree's history.
    pub fn stop(&mut self, reason: StopReason) {
        if self.slots.is_empty() {
            return;
        }
        self.ending.get_or_insert(reason);
        while let Some(slot) = self
            .slots
            .pop_back_if(|slot| matches!(slot.phase, Phase::Planned))
        {
            self.mark(slot.request, false);
            self.ledger.release(slot.request);
        }
    }

    /// The tree so far.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// What has landed so far, counted.
    #[must_use]
    pub fn spent(&self) -> Spent {
        self.ledger.spent()
    }

    /// The state whose path should be committed; see the strategy's docs. `None` if no action was
    /// carried out.
    #[must_use]
    pub fn best(&self) -> Option<NodeId> {
        self.strategy.best(&self.tree)
    }

    /// The config.
    #[must_use]
    pub fn config(&self) -> &SearchConfig {
        &self.config
    }

    /// The strategy's name.
    #[must_use]
    pub fn strategy_name(&self) -> &'static str {
        self.strategy.name()
    }

    /// How many requests were given out and not told.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.outstanding().count()
    }

    /// The requests that were given out and not told, in ticket order: what a resumed run has to
    /// carry out again.
    pub fn outstanding(&self) -> impl Iterator<Item = (Ticket, Request)> + '_ {
        self.slots
            .iter()
            .filter(|slot| matches!(slot.phase, Phase::Asked))
            .map(|slot| (slot.ticket, slot.request))
    }

    /// Bytes on the heap that grow with the tree: the tree's and the strategy's.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.tree.heap_bytes() + self.strategy.heap_bytes()
    }

    fn pop_told(&mut self) -> Option<(Request, Outcome)> {
        let slot = self
            .slots
            .pop_front_if(|slot| matches!(slot.phase, Phase::Told(_)))?;
        match slot.phase {
            Phase::Told(outcome) => Some((slot.request, outcome)),
            Phase::Planned | Phase::Asked => None,
        }
    }

    /// Decides what to ask next, as far as there is room.
    fn plan(&mut self) {
        while self.ending.is_none() && self.slots.len() < usize::from(self.config.in_flight.get()) {
            let room = self.ledger.room(self.slots.len());
            match self.strategy.next(&self.tree, &room) {
                Next::Start(request) => {
                    if let Some(reason) = Ledger::lack(&room, request) {
                        self.rest = reason;
                        return;
                    }
                    if !self.possible(request) {
                        // A strategy's bug must not become an endless or impossible search.
                        self.ending = Some(StopReason::Failed);
                        return;
                    }
                    self.ledger.reserve(request);
                    self.mark(request, true);
                    self.slots.push_back(Slot {
                        ticket: Ticket(self.next_ticket),
                        request,
                        phase: Phase::Planned,
                    });
                    self.next_ticket += 1;
                }
                Next::Idle => {
                    self.rest = StopReason::Exhausted;
                    return;
                }
                Next::Blocked(reason) => {
                    self.rest = reason;
                    return;
                }
                Next::Solved => self.ending = Some(StopReason::Solved),
            }
        }
    }

    /// Whether a request makes sense in the tree as it is.
    fn possible(&self, request: Request) -> bool {
        let expandable = |node| {
            let node = self.tree.node(node);
            !node.leaf() && node.depth() < self.config.depth
        };
        match request {
            Request::Propose { node, .. } => {
                self.tree.has_node(node) && expandable(node) && {
                    let node = self.tree.node(node);
                    !node.proposing() && !node.closed()
                }
            }
            Request::Step { edge } => {
                self.tree.has_edge(edge) && {
                    let edge = self.tree.edge(edge);
                    edge.status() == EdgeStatus::Queued && expandable(edge.parent())
                }
            }
            Request::Judge { node } => {
                self.tree.has_node(node) && {
                    let node = self.tree.node(node);
                    !node.judged() && !node.judging()
                }
            }
            Request::Compare { first, second } => {
                first != second && self.tree.has_node(first) && self.tree.has_node(second)
            }
        }
    }

    /// Marks a request as under way in the tree, or as not.
    fn mark(&mut self, request: Request, on: bool) {
        match request {
            Request::Propose { node, .. } => self.tree.set_proposing(node, on),
            Request::Judge { node } => self.tree.set_judging(node, on),
            Request::Step { edge } => {
                let status = if on {
                    EdgeStatus::InFlight
                } else {
                    EdgeStatus::Queued
                };
                self.tree.set_status(edge, status);
            }
            // The tree does not hold comparisons: they are the strategy's to remember.
            Request::Compare { .. } => {}
        }
    }

    /// Puts an outcome into the tree, books it, tells the strategy and plans on.
    fn land(&mut self, request: Request, outcome: Outcome) {
        let cost = outcome.cost();
        let news = self.apply(request, outcome);
        let nodes = u32::try_from(self.tree.len()).expect("node ids are u32");
        self.ledger.settle(request, &cost, nodes);
        self.strategy.told(&self.tree, &news);
        self.plan();
    }

    fn apply(&mut self, request: Request, outcome: Outcome) -> News {
        match (request, outcome) {
            (Request::Propose { node, width }, Outcome::Proposed(proposed)) => {
                let candidates = &proposed.candidates;
                let repeats = self.strategy.repeats();
                let (first, count) = self.tree.add_proposal(node, width, candidates, repeats);
                let thought = candidates.first().is_some_and(|c| c.thought.is_some());
                News::Proposed {
                    node,
                    first,
                    count,
                    thought,
                }
            }
            (Request::Step { edge }, Outcome::Stepped(stepped)) => {
                match stepped {
                    Stepped::State {
                        digest, terminal, ..
                    } => {
                        let merge = self.strategy.merges().then_some(self.config.depth);
                        self.tree.add_state(edge, digest, terminal, merge);
                    }
                    Stepped::Rejected { .. } => self.tree.set_status(edge, EdgeStatus::Rejected),
                    Stepped::Held { digest, .. } => self.tree.add_held(edge, digest),
                    Stepped::Lost { .. } => {
                        self.tree.lose(self.tree.edge(edge).parent());
                        self.tree.set_status(edge, EdgeStatus::Lost);
                    }
                }
                News::Stepped { edge }
            }
            (Request::Judge { node }, Outcome::Scored(scored)) => {
                self.tree.add_value(node, scored.value);
                News::Judged { node }
            }
            (Request::Compare { first, second }, Outcome::Compared(compared)) => News::Compared {
                first,
                second,
                preference: compared.preference,
            },
            (Request::Compare { .. }, _) => News::Failed { request },
            (Request::Step { edge }, _) => {
                self.tree.set_status(edge, EdgeStatus::Failed);
                News::Stepped { edge }
            }
            (Request::Propose { node, .. }, _) => {
                self.tree.fail_proposal(node);
                News::Failed { request }
            }
            (Request::Judge { node }, _) => {
                self.tree.fail_judgement(node);
                News::Failed { request }
            }
        }
    }
}

impl std::fmt::Debug for Search {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Search")
            .field("strategy", &self.strategy.name())
            .field("nodes", &self.tree.len())
            .field("under_way", &self.slots.len())
            .field("spent", &self.ledger.spent())
            .field("ending", &self.ending)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU8;

    use super::super::ledger::Room;
    use super::super::testing::{failed, fan, propose, score, start, state};
    use super::*;
    use crate::types::EdgeId;

    fn wide(order: Order) -> SearchConfig {
        SearchConfig {
            in_flight: NonZeroU8::new(3).unwrap(),
            order,
            ..SearchConfig::default()
        }
    }

    fn started(search: &mut Search) -> Vec<(Ticket, Request)> {
        std::iter::from_fn(|| match search.ask() {
            Ask::Start { ticket, request } => Some((ticket, request)),
            Ask::Wait | Ask::Stop { .. } => None,
        })
        .collect()
    }

    /// A search with the root proposed and three steps given out (tickets 1 to 3).
    fn three_steps(order: Order) -> Search {
        let mut search = Search::new(wide(order), start("root"));
        let asked = started(&mut search);
        assert_eq!(asked.len(), 1);
        search.tell(Ticket(0), fan(&["a", "b", "c"])).unwrap();
        let asked: Vec<_> = started(&mut search).into_iter().map(|(t, _)| t).collect();
        assert_eq!(asked, [Ticket(1), Ticket(2), Ticket(3)]);
        search
    }

    #[test]
    fn by_ticket_an_early_outcome_waits_for_those_before_it() {
        let mut search = three_steps(Order::Ticket);
        search.tell(Ticket(3), state("c")).unwrap();
        search.tell(Ticket(2), state("b")).unwrap();
        assert_eq!(search.tree().len(), 1);
        assert_eq!((search.in_flight(), search.ask()), (1, Ask::Wait));
        search.tell(Ticket(1), state("a")).unwrap();
        assert_eq!(search.tree().len(), 4);
        let first = search.tree().edge(EdgeId(0)).status();
        assert_eq!(first, EdgeStatus::Done(NodeId(1)));
    }

    #[test]
    fn by_arrival_an_outcome_lands_at_once() {
        let mut search = three_steps(Order::Arrival);
        search.tell(Ticket(3), state("c")).unwrap();
        let third = search.tree().edge(EdgeId(2)).status();
        assert_eq!(third, EdgeStatus::Done(NodeId(1)));
        let judge = Request::Judge { node: NodeId(1) };
        let ask = Ask::Start {
            ticket: Ticket(4),
            request: judge,
        };
        assert_eq!(search.ask(), ask);
    }

    #[test]
    fn refused_tells_change_nothing() {
        for order in [Order::Ticket, Order::Arrival] {
            let mut search = three_steps(order);
            search.tell(Ticket(2), state("b")).unwrap();
            let before = (search.tree().digest(), search.spent(), search.in_flight());
            let twice = search.tell(Ticket(2), state("z"));
            assert_eq!(twice, Err(TellError::NotOutstanding(Ticket(2))));
            let never = search.tell(Ticket(99), state("z"));
            assert_eq!(never, Err(TellError::NotOutstanding(Ticket(99))));
            let wrong = search.tell(Ticket(1), score(0.5));
            assert_eq!(wrong, Err(TellError::WrongKind(Ticket(1))));
            let wrong = search.tell(Ticket(1), propose(&[]));
            assert_eq!(wrong, Err(TellError::WrongKind(Ticket(1))));
            let after = (search.tree().digest(), search.spent(), search.in_flight());
            assert_eq!(before, after);
        }
    }

    #[test]
    fn a_ticket_that_was_not_given_out_cannot_be_told() {
        let mut search = Search::new(wide(Order::Ticket), start("root"));
        let early = search.tell(Ticket(0), fan(&["a"]));
        assert_eq!(early, Err(TellError::NotOutstanding(Ticket(0))));
    }

    #[test]
    fn a_stop_waits_for_what_was_given_out_and_drops_the_rest() {
        let mut search = Search::new(wide(Order::Ticket), start("root"));
        started(&mut search);
        search.tell(Ticket(0), fan(&["a", "b", "c"])).unwrap();
        let Ask::Start { ticket, .. } = search.ask() else {
            panic!("three steps are planned");
        };
        search.stop(StopReason::Interrupted);
        search.stop(StopReason::Time);
        assert_eq!((search.ask(), search.in_flight()), (Ask::Wait, 1));
        search.tell(ticket, failed()).unwrap();
        let reason = StopReason::Interrupted;
        assert_eq!(search.ask(), Ask::Stop { reason });
        assert!(search.tree().is_settled());
        let dropped = search.tell(Ticket(2), state("b"));
        assert_eq!(dropped, Err(TellError::NotOutstanding(Ticket(2))));
        assert_eq!(search.spent().steps, 1);
    }

    #[test]
    fn a_finished_search_keeps_its_reason() {
        let mut search = Search::new(wide(Order::Ticket), start("root"));
        started(&mut search);
        search.tell(Ticket(0), propose(&[])).unwrap();
        let over = Ask::Stop {
            reason: StopReason::Exhausted,
        };
        assert_eq!(search.ask(), over);
        search.stop(StopReason::Time);
        assert_eq!(search.ask(), over);
    }

    #[test]
    fn a_solution_lets_the_others_land() {
        let mut search = three_steps(Order::Arrival);
        search.tell(Ticket(1), state("a")).unwrap();
        let asked = started(&mut search);
        search.tell(asked[0].0, score(1.0)).unwrap();
        assert_eq!(search.ask(), Ask::Wait);
        search.tell(Ticket(3), state("c")).unwrap();
        search.tell(Ticket(2), state("b")).unwrap();
        let reason = StopReason::Solved;
        assert_eq!(search.ask(), Ask::Stop { reason });
        assert_eq!(search.best(), Some(NodeId(1)));
        assert_eq!(search.tree().len(), 4);
    }

    /// Asks for what cannot be.
    struct Broken(Request);

    impl Strategy for Broken {
        fn name(&self) -> &'static str {
            "broken"
        }
        fn merges(&self) -> bool {
            false
        }
        fn next(&mut self, _: &Tree, _: &Room) -> Next {
            Next::Start(self.0)
        }
        fn told(&mut self, _: &Tree, _: &News) {}
        fn best(&self, _: &Tree) -> Option<NodeId> {
            None
        }
        fn heap_bytes(&self) -> usize {
            0
        }
    }

    #[test]
    fn an_impossible_request_of_a_strategy_ends_the_search() {
        let width = NonZeroU8::MIN;
        let node = NodeId(7);
        let edge = EdgeId(0);
        for request in [
            Request::Step { edge },
            Request::Judge { node },
            Request::Propose { node, width },
            Request::Compare {
                first: NodeId::ROOT,
                second: NodeId::ROOT,
            },
        ] {
            let strategy = Box::new(Broken(request));
            let mut search = Search::with_strategy(wide(Order::Ticket), start("root"), strategy);
            let reason = StopReason::Failed;
            assert_eq!(search.ask(), Ask::Stop { reason });
        }
    }
}
