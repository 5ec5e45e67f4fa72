//! Laws of the search, over random worlds: any landing order, budgets, faults, replay, oracles.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails the test it serves"
)]

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU8;
use std::ops::Add;

use branchline::search::{
    Ask, Budget, Compared, Compat, DfsdtOptions, EdgeStatus, Order, Outcome, Proposed, Request,
    Scored, Search, SearchConfig, Spent, Start, Stepped, StopReason, StrategyKind, TellError, Tree,
};
use branchline::types::{
    Action, Candidate, Cost, Digest, EdgeId, MicroUsd, NodeId, Preference, Rejection, Seed, Ticket,
    UnitF32,
};
use pathfinding::num_traits::Zero;
use pathfinding::prelude::{bfs_reach, dijkstra};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

// ---------------------------------------------------------------- a random world

/// A directed graph of states with faults. Outcomes depend on the state and the ticket only.
#[derive(Debug, Clone, Copy)]
struct World {
    seed: u64,
    states: u64,
    faults: bool,
}

fn mix(parts: &[u64]) -> u64 {
    let text = parts.iter().map(u64::to_string).collect::<Vec<_>>();
    Digest::of(text.join(" ")).prefix()
}

fn digest(state: u64) -> Digest {
    Digest::of(format!("state {state}"))
}

fn unit(thousandths: u64) -> UnitF32 {
    let whole = u16::try_from(thousandths).unwrap();
    UnitF32::new(f32::from(whole) / 1000.0).unwrap()
}

impl World {
    fn state(self, tree: &Tree, node: NodeId) -> u64 {
        if tree.node(node).held() {
            // A state of its own kind: nothing but its value is asked of it.
            return self.states + u64::from(node.0);
        }
        let wanted = tree.node(node).digest();
        (0..self.states)
            .find(|state| digest(*state) == wanted)
            .expect("every node is a state of the world")
    }

    fn answer(self, tree: &Tree, ticket: Ticket, request: Request) -> Outcome {
        let cost = Cost {
            model_calls: 1,
            input_tokens: mix(&[self.seed, ticket.0, 9]) % 50,
            money: MicroUsd(3),
            wall_ms: ticket.0,
            ..Cost::default()
        };
        let luck = if self.faults {
            mix(&[self.seed, ticket.0]) % 100
        } else {
            99
        };
        if luck < 8 {
            let reason = "the page crashed".to_owned();
            return Outcome::Failed { reason, cost };
        }
        match request {
            Request::Propose { node, .. } => {
                let state = self.state(tree, node);
                let count = if luck < 14 {
                    0
                } else {
                    mix(&[self.seed, state, 1]) % 7
                };
                // More than asked for at times, with repeats.
                let candidates = (0..count).map(|i| self.candidate(state, i)).collect();
                Outcome::Proposed(Proposed { candidates, cost })
            }
            Request::Step { edge } => {
                if luck < 18 {
                    let reason = "no such element".to_owned();
                    let nearest = vec!["button \"Buy\"".to_owned()];
                    let rejection = Rejection { reason, nearest };
                    return Outcome::Stepped(Stepped::Rejected { rejection, cost });
                }
                if luck < 26 {
                    return Outcome::Stepped(Stepped::Held {
                        digest: Digest::of(format!("held {edge}")),
                        effects: Vec::new(),
                        cost,
                    });
                }
                if luck < 30 {
                    let reason = "no way leads back".to_owned();
                    return Outcome::Stepped(Stepped::Lost { reason, cost });
                }
                let edge = tree.edge(edge);
                let from = self.state(tree, edge.parent());
                let action = edge.action();
                let terminal = action.name == "stop";
                let to = if terminal {
                    from
                } else {
                    action.arguments["to"].as_u64().unwrap()
                };
                let digest = digest(to);
                Outcome::Stepped(Stepped::State {
                    digest,
                    terminal,
                    cost,
                })
            }
            Request::Compare { first, second } => {
                let preference = match mix(&[
                    self.seed,
                    self.state(tree, first),
                    self.state(tree, second),
                ]) % 4
                {
                    0 => None,
                    1 => Some(Preference::Tie),
                    2 => Some(Preference::First),
                    _ => Some(Preference::Second),
                };
                Outcome::Compared(Compared { preference, cost })
            }
            Request::Judge { node } => {
                let state = self.state(tree, node);
                let value = match mix(&[self.seed, state, 2]) % 1100 {
                    _ if luck < 30 => None,
                    v if v > 1060 => Some(UnitF32::ONE),
                    v => Some(unit(v.min(999))),
                };
                Outcome::Scored(Scored { value, cost })
            }
        }
    }

    fn candidate(self, state: u64, i: u64) -> Candidate {
        let target = mix(&[self.seed, state, 3, i]) % self.states;
        let action = if target == 0 {
            Action::new("stop", json!({ "answer": "é \"quoted\"" }))
        } else {
            Action::new("go", json!({ "to": target }))
        };
        Candidate {
            action,
            prior: unit(mix(&[self.seed, state, 4, i]) % 400),
            thought: None,
        }
    }
}

fn start() -> Start {
    Start {
        digest: digest(0),
        terminal: false,
    }
}

// ---------------------------------------------------------------- a driver by a schedule

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Ask(Ask),
    Tell { ticket: Ticket, outcome: Outcome },
    Stop { reason: StopReason },
}

#[derive(Debug, Clone, PartialEq)]
struct End {
    tree: Digest,
    spent: Spent,
    reason: StopReason,
    best: Option<NodeId>,
}

fn end(search: &Search, reason: StopReason) -> End {
    End {
        tree: search.tree().digest(),
        spent: search.spent(),
        reason,
        best: search.best(),
    }
}

/// Runs a search, deciding by `picks` when to ask and what to tell, and stopping it from outside
/// after `stop_after` turns. Checks after each turn what must always hold.
fn drive(world: World, config: SearchConfig, picks: &[u8], stop_after: usize) -> (End, Vec<Line>) {
    let mut search = Search::new(config, start());
    let mut open: Vec<(Ticket, Request)> = Vec::new();
    let mut log = Vec::new();
    let mut asked = Spent::default();
    for (turn, pick) in picks.iter().cycle().map(|p| usize::from(*p)).enumerate() {
        assert!(turn < 100_000, "no end");
        if turn == stop_after {
            search.stop(StopReason::Time);
            log.push(Line::Stop {
                reason: StopReason::Time,
            });
        }
        let mut wait = pick % 3 == 0;
        if !wait || open.is_empty() {
            let ask = search.ask();
            log.push(Line::Ask(ask));
            match ask {
                Ask::Start { ticket, request } => {
                    open.push((ticket, request));
                    if config.in_flight.get() == 1 {
                        let at = match request {
                            Request::Propose { node, .. } => Some(node),
                            Request::Step { edge } => Some(search.tree().edge(edge).parent()),
                            Request::Judge { .. } | Request::Compare { .. } => None,
                        };
                        let lost = at.is_some_and(|node| search.tree().node(node).lost());
                        assert!(!lost, "nothing is tried under a lost state");
                    }
                    match request {
                        Request::Step { .. } => asked.steps += 1,
                        Request::Propose { .. }
                        | Request::Judge { .. }
                        | Request::Compare { .. } => asked.orders += 1,
                    }
                }
                Ask::Wait => {
                    assert!(!open.is_empty(), "waiting for nothing");
                    wait = true;
                }
                Ask::Stop { reason } => {
                    assert_eq!((open.len(), search.in_flight()), (0, 0));
                    settled(search.tree());
                    return (end(&search, reason), log);
                }
            }
        }
        if wait && !open.is_empty() {
            let (ticket, request) = open.remove(pick % open.len());
            let outcome = world.answer(search.tree(), ticket, request);
            log.push(Line::Tell {
                ticket,
                outcome: outcome.clone(),
            });
            search.tell(ticket, outcome).unwrap();
        }
        assert_eq!(search.in_flight(), open.len());
        assert!(open.len() <= usize::from(config.in_flight.get()));
        within(asked.steps, config.budget.steps);
        within(asked.orders, config.budget.model_calls);
        let nodes = u32::try_from(search.tree().len()).unwrap();
        assert_eq!(search.spent().nodes, nodes);
        within(nodes, config.budget.nodes.map(|limit| limit.max(1)));
    }
    unreachable!("picks are never empty")
}

fn within(used: u32, limit: Option<u32>) {
    assert!(
        limit.is_none_or(|limit| used <= limit),
        "{used} of {limit:?}"
    );
}

/// Nothing in the tree is marked as under way.
fn settled(tree: &Tree) {
    for node in tree.nodes() {
        let view = tree.node(node);
        assert!(!view.proposing() && !view.judging());
        let in_flight = |edge| tree.edge(edge).status() == EdgeStatus::InFlight;
        assert!(!tree.edges(node).any(in_flight));
        assert_eq!(tree.path(node).len(), usize::from(view.depth()));
    }
}

const NEVER: usize = usize::MAX;

// ---------------------------------------------------------------- generators

fn worlds(faults: bool) -> impl Strategy<Value = World> {
    (any::<u64>(), 2..30u64).prop_map(move |(seed, states)| World {
        seed,
        states,
        faults,
    })
}

fn limits(range: std::ops::Range<u32>) -> impl Strategy<Value = Option<u32>> {
    prop_oneof![Just(None), range.prop_map(Some)]
}

fn configs(order: Order) -> impl Strategy<Value = SearchConfig> {
    let strategies = prop_oneof![
        Just(StrategyKind::Greedy),
        Just(StrategyKind::BestOfN),
        Just(StrategyKind::BestFirst),
        Just(StrategyKind::Dfsdt),
    ];
    let budgets = (limits(0..30), limits(0..20), limits(0..40), limits(0..900)).prop_map(
        |(steps, nodes, model_calls, tokens)| Budget {
            steps,
            nodes,
            model_calls,
            tokens: tokens.map(u64::from),
            money: None,
        },
    );
    let shape = (1..6u8, 0..6u16, 1..9u8, 300..1001u64, any::<u64>());
    let compat = prop_oneof![Just(None), Just(Some(Compat::Toolbench))];
    let dfsdt =
        (any::<bool>(), compat).prop_map(|(ranked, compat)| DfsdtOptions { ranked, compat });
    (strategies, budgets, shape, dfsdt).prop_map(move |(strategy, budget, shape, dfsdt)| {
        let (branching, depth, in_flight, threshold, seed) = shape;
        SearchConfig {
            strategy,
            branching: NonZeroU8::new(branching).unwrap(),
            depth,
            budget,
            threshold: unit(threshold),
            in_flight: NonZeroU8::new(in_flight).unwrap(),
            order,
            seed: Seed(seed),
            dfsdt,
        }
    })
}

fn any_order() -> impl Strategy<Value = SearchConfig> {
    prop_oneof![configs(Order::Ticket), configs(Order::Arrival)]
}

fn schedules() -> impl Strategy<Value = Vec<u8>> {
    // A 1 at the end: there is always a turn that asks.
    proptest::collection::vec(any::<u8>(), 1..60).prop_map(|mut picks| {
        picks.push(1);
        picks
    })
}

// ---------------------------------------------------------------- laws

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn by_ticket_the_tree_does_not_depend_on_who_finishes_first_or_when_one_asks(
        world in worlds(true),
        config in configs(Order::Ticket),
        one in schedules(),
        other in schedules(),
    ) {
        let (one, _) = drive(world, config, &one, NEVER);
        let (other, _) = drive(world, config, &other, NEVER);
        prop_assert_eq!(one, other);
    }

    #[test]
    fn faults_of_every_kind_end_in_a_stop_within_the_budgets(
        world in worlds(true),
        config in any_order(),
        picks in schedules(),
        stop_after in prop_oneof![Just(NEVER), 0..80usize],
    ) {
        let (end, _) = drive(world, config, &picks, stop_after);
        let spent = end.spent;
        within(spent.steps, config.budget.steps);
        within(spent.orders, config.budget.model_calls);
        if end.reason == StopReason::Time {
            prop_assert!(stop_after != NEVER);
        }
        prop_assert_ne!(end.reason, StopReason::Failed);
        prop_assert_ne!(end.best, Some(NodeId::ROOT));
    }

    #[test]
    fn a_log_replays_to_the_same_tree(
        world in worlds(true),
        config in any_order(),
        picks in schedules(),
        stop_after in prop_oneof![Just(NEVER), 0..80usize],
    ) {
        let (recorded, log) = drive(world, config, &picks, stop_after);
        let config = serde_json::to_string(&config).unwrap();
        let mut search = Search::new(serde_json::from_str(&config).unwrap(), start());
        let mut reason = None;
        for line in log {
            let text = serde_json::to_string(&line).unwrap();
            let read: Line = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&read, &line);
            match read {
                Line::Ask(ask) => {
                    prop_assert_eq!(search.ask(), ask);
                    if let Ask::Stop { reason: why } = ask {
                        reason = Some(why);
                    }
                }
                Line::Tell { ticket, outcome } => search.tell(ticket, outcome).unwrap(),
                Line::Stop { reason } => search.stop(reason),
            }
        }
        prop_assert_eq!(end(&search, reason.unwrap()), recorded);
    }

    #[test]
    fn refused_tells_change_nothing(
        world in worlds(true),
        config in any_order(),
        unknown in any::<u64>(),
    ) {
        let mut search = Search::new(config, start());
        let mut told: Vec<Ticket> = Vec::new();
        loop {
            let mut open = Vec::new();
            while let Ask::Start { ticket, request } = search.ask() {
                open.push((ticket, request));
            }
            if open.is_empty() {
                break;
            }
            // Latest first, so that by ticket all but the last are buffered.
            for (ticket, request) in open.into_iter().rev() {
                let before = end(&search, StopReason::Time);
                for wrong in wrong_kinds(request) {
                    let refused = search.tell(ticket, wrong);
                    prop_assert_eq!(refused, Err(TellError::WrongKind(ticket)));
                }
                let unknown = Ticket(unknown.max(1_000_000));
                for ticket in told.iter().copied().chain([unknown]) {
                    let outcome = world.answer(search.tree(), ticket, request);
                    let refused = search.tell(ticket, outcome);
                    prop_assert_eq!(refused, Err(TellError::NotOutstanding(ticket)));
                }
                prop_assert_eq!(end(&search, StopReason::Time), before);
                let outcome = world.answer(search.tree(), ticket, request);
                search.tell(ticket, outcome).unwrap();
                told.push(ticket);
            }
        }
        let stopped = matches!(search.ask(), Ask::Stop { .. });
        prop_assert!(stopped);
    }

    #[test]
    fn whatever_was_asked_and_not_told_is_listed_for_a_resume(
        world in worlds(false),
        config in any_order(),
    ) {
        let mut search = Search::new(config, start());
        let mut open = Vec::new();
        for _ in 0..12 {
            while let Ask::Start { ticket, request } = search.ask() {
                open.push((ticket, request));
            }
            prop_assert_eq!(search.outstanding().collect::<Vec<_>>(), open.clone());
            if open.is_empty() {
                break;
            }
            let (ticket, request) = open.remove(0);
            let outcome = world.answer(search.tree(), ticket, request);
            search.tell(ticket, outcome).unwrap();
        }
    }
}

fn wrong_kinds(request: Request) -> Vec<Outcome> {
    let cost = Cost::default();
    let all = [
        Outcome::Proposed(Proposed {
            candidates: Vec::new(),
            cost,
        }),
        Outcome::Stepped(Stepped::State {
            digest: digest(1),
            terminal: false,
            cost,
        }),
        Outcome::Scored(Scored { value: None, cost }),
        Outcome::Compared(Compared {
            preference: None,
            cost,
        }),
    ];
    let right = match request {
        Request::Propose { .. } => 0,
        Request::Step { .. } => 1,
        Request::Judge { .. } => 2,
        Request::Compare { .. } => 3,
    };
    let wrong = |(i, outcome)| (i != right).then_some(outcome);
    all.into_iter().enumerate().filter_map(wrong).collect()
}

// ---------------------------------------------------------------- best-first against oracles

/// An explicit graph: for each state its successors with priors, and a value (none: the critic
/// abstains). State 0 is the start, valued 0.5 by convention.
#[derive(Debug, Clone)]
struct Graph {
    next: Vec<Vec<(usize, u64)>>,
    value: Vec<Option<u64>>,
}

fn graphs(abstain: bool) -> impl Strategy<Value = Graph> {
    (2..12usize).prop_flat_map(move |states| {
        let edges = proptest::collection::vec((0..states, 0..100u64), 0..4);
        let value = (0..999u64, any::<bool>())
            .prop_map(move |(value, some)| (some || !abstain).then_some(value));
        let next = proptest::collection::vec(edges, states);
        let value = proptest::collection::vec(value, states);
        (next, value).prop_map(|(next, value)| Graph { next, value })
    })
}

impl Graph {
    /// Best-first without limits; at `goal` the critic is sure.
    fn search(&self, goal: Option<usize>) -> (Search, StopReason) {
        let digests: HashMap<Digest, usize> = (0..self.next.len())
            .map(|state| (digest(state as u64), state))
            .collect();
        let config = SearchConfig {
            depth: u16::MAX,
            budget: Budget {
                steps: None,
                ..Budget::default()
            },
            ..SearchConfig::default()
        };
        let cost = Cost::default();
        let mut search = Search::new(config, start());
        loop {
            let (ticket, request) = match search.ask() {
                Ask::Start { ticket, request } => (ticket, request),
                Ask::Wait => unreachable!("every request is answered at once"),
                Ask::Stop { reason } => return (search, reason),
            };
            let tree = search.tree();
            let state = |node| digests[&tree.node(node).digest()];
            let outcome = match request {
                Request::Propose { node, .. } => {
                    let candidate = |(i, (_, prior)): (usize, &(usize, u64))| Candidate {
                        action: Action::new("take", json!({ "exit": i })),
                        prior: unit(*prior),
                        thought: None,
                    };
                    let edges = self.next[state(node)].iter().enumerate();
                    let candidates = edges.map(candidate).collect();
                    Outcome::Proposed(Proposed { candidates, cost })
                }
                Request::Step { edge } => {
                    let edge = tree.edge(edge);
                    let exit = edge.action().arguments["exit"].as_u64().unwrap();
                    let (to, _) = self.next[state(edge.parent())][usize::try_from(exit).unwrap()];
                    Outcome::Stepped(Stepped::State {
                        digest: digest(to as u64),
                        terminal: false,
                        cost,
                    })
                }
                Request::Compare { .. } => unreachable!("best-first compares nothing"),
                Request::Judge { node } => {
                    let at = state(node);
                    let value = if goal == Some(at) {
                        Some(1000)
                    } else {
                        self.value[at]
                    };
                    let value = value.map(unit);
                    Outcome::Scored(Scored { value, cost })
                }
            };
            search.tell(ticket, outcome).unwrap();
        }
    }

    fn successors(&self, state: usize) -> impl Iterator<Item = usize> + '_ {
        self.next[state].iter().map(|(to, _)| *to)
    }

    /// How bad it is to leave from a state.
    fn badness(&self, state: usize) -> Worst {
        Worst(
            1000 - if state == 0 {
                500
            } else {
                self.value[state].unwrap()
            },
        )
    }

    /// The states in the order in which the definition of best-first discovers them: a flat list,
    /// searched through every time.
    fn reference(&self) -> Vec<usize> {
        let mut found = vec![0];
        let mut priority = vec![Some(500); 1];
        priority.resize(self.next.len(), None);
        let mut list: Vec<(u64, u64, usize, usize)> = Vec::new();
        let mut expand = vec![0];
        loop {
            for from in expand.drain(..) {
                for (to, prior) in &self.next[from] {
                    list.push((priority[from].unwrap(), *prior, from, *to));
                }
            }
            // Of equals the first, and the list is in proposal order.
            let mut first: Option<usize> = None;
            for (i, entry) in list.iter().enumerate() {
                if first.is_none_or(|f| (entry.0, entry.1) > (list[f].0, list[f].1)) {
                    first = Some(i);
                }
            }
            let Some(first) = first else {
                return found;
            };
            let (inherited, _, _, to) = list.remove(first);
            if !found.contains(&to) {
                found.push(to);
                priority[to] = Some(self.value[to].unwrap_or(inherited));
                expand.push(to);
            }
        }
    }
}

/// The worst along a way: a way is as bad as its worst part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Worst(u64);

impl Add for Worst {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.max(other)
    }
}

impl Zero for Worst {
    fn zero() -> Self {
        Self(0)
    }
    fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn left_alone_best_first_finds_exactly_what_is_reachable_and_steps_each_edge_once(
        graph in graphs(true),
    ) {
        let (search, reason) = graph.search(None);
        prop_assert_eq!(reason, StopReason::Exhausted);
        let reachable: BTreeSet<usize> = bfs_reach(0, |state| graph.successors(*state).collect::<Vec<_>>()).collect();
        let found: BTreeSet<Digest> = search.tree().nodes().map(|n| search.tree().node(n).digest()).collect();
        let expected: BTreeSet<Digest> = reachable.iter().map(|state| digest(*state as u64)).collect();
        prop_assert_eq!(search.tree().len(), expected.len());
        prop_assert_eq!(found, expected);
        let edges: usize = reachable.iter().map(|state| graph.next[*state].len()).sum();
        prop_assert_eq!(search.spent().steps as usize, edges);
    }

    #[test]
    fn best_first_takes_a_way_whose_worst_state_is_as_good_as_can_be(graph in graphs(false)) {
        let goal = graph.next.len() - 1;
        let (search, reason) = graph.search(Some(goal));
        let optimum = dijkstra(
            &0,
            |state| graph.successors(*state).map(|to| (to, graph.badness(*state))).collect::<Vec<_>>(),
            |state| *state == goal,
        );
        match optimum {
            None => prop_assert_eq!(reason, StopReason::Exhausted),
            Some((_, cost)) => {
                prop_assert_eq!(reason, StopReason::Solved);
                let tree = search.tree();
                let best = search.best().unwrap();
                prop_assert_eq!(tree.node(best).digest(), digest(goal as u64));
                let state = |node| (0..graph.next.len()).find(|s| digest(*s as u64) == tree.node(node).digest()).unwrap();
                let leave = |edge: EdgeId| graph.badness(state(tree.edge(edge).parent()));
                let way = tree.path(best).into_iter().map(leave).fold(Worst::zero(), Worst::add);
                prop_assert_eq!(way, cost);
            }
        }
    }

    #[test]
    fn best_first_discovers_states_in_the_order_of_its_definition(graph in graphs(true)) {
        let (search, _) = graph.search(None);
        let tree = search.tree();
        let found: Vec<Digest> = tree.nodes().map(|n| tree.node(n).digest()).collect();
        let expected: Vec<Digest> = graph.reference().iter().map(|s| digest(*s as u64)).collect();
        prop_assert_eq!(found, expected);
    }
}
