//! `best-first`: the most promising unexecuted action anywhere in the tree.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::num::NonZeroU8;

use super::ledger::Room;
use super::protocol::{Request, SearchConfig};
use super::strategy::{News, Next, Strategy};
use super::tree::{EdgeStatus, Tree};
use crate::types::{EdgeId, NodeId, UnitF32};

/// Best-first search over unexecuted edges, after Koh et al. 2024, *Tree Search for Language Model
/// Agents* (arXiv 2407.01476).
///
/// Until it stops: take the queued edge with the highest priority, carry it out, judge the state it
/// leads to, and, if that is neither terminal nor held nor at the depth limit, propose `branching` actions
/// there and queue them **unexecuted**.
///
/// * Priority is the value of the state an edge starts from; 0.5 for the root's edges, since the
///   root is not judged. Ties go to the higher prior, then to the edge proposed first.
/// * A value at or over the threshold ends the search: terminal or not. Terminal states are judged
///   too, and never expanded.
/// * If the critic **abstains**, the state keeps no value; its edges are queued with the priority of
///   the edge that led to it. It is never treated as 0. If the judgement or the proposal **fails**,
///   the state is closed: no edges, no value.
/// * A rejected or failed edge makes no state. It costs its step and the search goes on elsewhere. A
///   state that cannot be reached again is **lost**: neither it nor anything under it is expanded any
///   further.
/// * A **held** edge makes a state that is judged and not expanded: there, with a write waiting that
///   only a commit can send. It is in the running for `best` only if the critic values it higher than
///   the state it was tried in: a write that is no progress is never committed.
/// * A step into a known, non-terminal state makes no node: into an ancestor it is a loop, into any
///   other a transposition; both are [`EdgeStatus::Loop`](super::EdgeStatus::Loop), and a state is judged and expanded once.
///   The one exception: a state that was only known at the depth limit, where it cannot be
///   expanded, gets a node of its own when it is reached nearer the root. A subtree that was cut by
///   the limit is not explored again otherwise. A terminal state is never merged.
/// * Nothing is proposed when no step is left to use it, and no step made when the model budget
///   could not judge what it leads to.
///
/// `best` is the **finished** state (terminal, held, or valued at least the threshold) with the
/// highest value; if none is finished and valued, the valued state with the highest value; the earlier one
/// if equal. If nothing was ever valued, the deepest state that is not held, the earliest of these. `None` if no
/// action led anywhere. The root is never it.
///
/// # What cannot go wrong here
///
/// Faults of the reference implementation, observed or read in its code, and what rules each out:
///
/// | There | Here |
/// |---|---|
/// | A failed action is swallowed; the unchanged page is scored and expanded as if it were new (16 of 78 steps in a measured round) | a step ends as a state, rejected, held or failed, and only a state makes a node; nothing but a node can be judged or proposed |
/// | A replay that diverges is not noticed | a restore is proved by the digest or fails, and a failure closes the edge |
/// | The observation used under a node may be another branch's | every request names its node or edge, every outcome its ticket; there is no "current state" to mix up |
/// | Prompts inside the tree carry the committed history instead of the branch's own | the path of a node follows its parents; there is no second history |
/// | A misread reply becomes a perfect score; an unreadable one becomes 0 | a value is a number in 0..=1 or absent; no text comes in, and absent is never 0 |
/// | Success is float equality with 1.0 on a mean | at or over a threshold from the config |
/// | Ending on a high score without a stop action breaks the evaluator, and the task drops out of the average | `best` is a node whose `terminal` says whether there is an answer, the reason for stopping is a value of its own, and evaluation is elsewhere |
/// | The stop action is sent to the page, fails there and costs a full step | an ending is a property of the state the environment reports; nothing is asked under it |
/// | History is collapsed to one page load when the URL changes: tabs, scroll and forms are lost | a path is the executed actions, all of them; the tree has no way to rewrite one |
/// | Queue entries copy whole trajectories with screenshots (megabytes each) | a queue entry is 12 bytes: priority, prior, edge |
/// | Ties go to the branch sampled first at the root | ties go to the prior, then to proposal order anywhere in the tree |
/// | The final tie rule in the code is not the documented one | strictly better wins, above and in the tests |
/// | Two spellings of one action are two branches; sampled duplicates are compared as text | an action is compared by name and arguments, and is under a node once |
/// | Actions that do nothing lead to the same state again and again | equal states are recognised, judged and expanded once |
/// | Every expansion replays its path anew, so 2.6 actions are repeated per new one | an edge is stepped once; how its parent is restored is the environment's choice |
/// | Abandoned branches leave their writes on the server | a write that is not allowed comes back as held: nothing was sent, and only the commit of that very state sends it |
/// | The number of actions is bounded, time and money are not | budgets are reserved before asking and settled after; the runtime's clock stops it by [`Search::stop`](super::Search::stop) |
/// | The evaluator of another benchmark scores the run | no evaluator is reachable from the search |
#[derive(Debug, Clone)]
pub struct BestFirst {
    branching: NonZeroU8,
    depth: u16,
    threshold: UnitF32,
    to_judge: VecDeque<NodeId>,
    to_propose: VecDeque<NodeId>,
    frontier: BinaryHeap<Entry>,
    /// By node: what its edges are queued with.
    priority: Vec<UnitF32>,
    best: Option<Best>,
    deepest: Option<NodeId>,
    solved: bool,
}

#[derive(Debug, Clone, Copy)]
struct Best {
    finished: bool,
    value: UnitF32,
    node: NodeId,
}

/// A queued edge; the greatest is taken first.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Entry {
    priority: UnitF32,
    prior: UnitF32,
    edge: EdgeId,
}

impl Eq for Entry {}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.priority
            .total_cmp(&other.priority)
            .then(self.prior.total_cmp(&other.prior))
            .then(Reverse(self.edge).cmp(&Reverse(other.edge)))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl BestFirst {
    /// The strategy under a config.
    #[must_use]
    pub fn new(config: &SearchConfig) -> Self {
        Self {
            branching: config.branching,
            depth: config.depth,
            threshold: config.threshold,
            to_judge: VecDeque::new(),
            to_propose: VecDeque::from([NodeId::ROOT]),
            frontier: BinaryHeap::new(),
            priority: vec![UnitF32::HALF],
            best: None,
            deepest: None,
            solved: false,
        }
    }

    fn expandable(&self, tree: &Tree, node: NodeId) -> bool {
        let node = tree.node(node);
        !node.leaf() && node.depth() < self.depth && !node.lost()
    }

    fn landed(&mut self, tree: &Tree, edge: EdgeId) {
        let Some(node) = tree.edge(edge).child() else {
            return;
        };
        let parent = tree.edge(edge).parent();
        // Nodes land in id order, so this is index `node`.
        self.priority.push(self.priority[parent.0 as usize]);
        self.to_judge.push_back(node);
        let depth = |node| tree.node(node).depth();
        let deeper = self.deepest.is_none_or(|old| depth(node) > depth(old));
        if deeper && !tree.node(node).held() {
            self.deepest = Some(node);
        }
    }

    fn judged(&mut self, tree: &Tree, node: NodeId) {
        if let Some(value) = tree.node(node).value() {
            // Until now a node's priority is that of the state it was reached from.
            let before = std::mem::replace(&mut self.priority[node.0 as usize], value);
            let runs = !tree.node(node).held() || value > before;
            self.solved |= runs && value >= self.threshold;
            let finished = tree.node(node).leaf() || value >= self.threshold;
            let better = |old: Best| (finished, value) > (old.finished, old.value);
            if runs && self.best.is_none_or(better) {
                self.best = Some(Best {
                    finished,
                    value,
                    node,
                });
            }
        }
        if self.expandable(tree, node) {
            self.to_propose.push_back(node);
        }
    }
}

impl Strategy for BestFirst {
    fn name(&self) -> &'static str {
        "best-first"
    }

    fn merges(&self) -> bool {
        true
    }

    fn next(&mut self, tree: &Tree, room: &Room) -> Next {
        if self.solved {
            return Next::Solved;
        }
        if let Some(&node) = self.to_judge.front() {
            if let Some(reason) = room.lacks_model() {
                return Next::Blocked(reason);
            }
            self.to_judge.pop_front();
            return Next::Start(Request::Judge { node });
        }
        // The root is queued unseen, and a state may be lost while it waits.
        while let Some(&node) = self.to_propose.front()
            && !self.expandable(tree, node)
        {
            self.to_propose.pop_front();
        }
        if let Some(&node) = self.to_propose.front() {
            if let Some(reason) = room.lacks_expansion() {
                return Next::Blocked(reason);
            }
            self.to_propose.pop_front();
            let width = self.branching;
            return Next::Start(Request::Propose { node, width });
        }
        let dead = |entry: &Entry| tree.edge(entry.edge).status() != EdgeStatus::Queued;
        while self.frontier.peek().is_some_and(dead) {
            self.frontier.pop();
        }
        if !self.frontier.is_empty()
            && let Some(reason) = room.lacks_expansion()
        {
            return Next::Blocked(reason);
        }
        self.frontier.pop().map_or(Next::Idle, |entry| {
            Next::Start(Request::Step { edge: entry.edge })
        })
    }

    fn told(&mut self, tree: &Tree, news: &News) {
        match *news {
            News::Proposed {
                node, first, count, ..
            } => {
                let priority = self.priority[node.0 as usize];
                let edges = (first.0..first.0 + count).map(EdgeId);
                self.frontier.extend(edges.map(|edge| Entry {
                    priority,
                    prior: tree.edge(edge).prior(),
                    edge,
                }));
            }
            News::Stepped { edge } => self.landed(tree, edge),
            News::Judged { node } => self.judged(tree, node),
            News::Compared { .. } | News::Failed { .. } => {}
        }
    }

    fn best(&self, _tree: &Tree) -> Option<NodeId> {
        self.best.map(|best| best.node).or(self.deepest)
    }

    fn heap_bytes(&self) -> usize {
        self.frontier.capacity() * size_of::<Entry>()
            + self.priority.capacity() * size_of::<UnitF32>()
            + (self.to_judge.capacity() + self.to_propose.capacity()) * size_of::<NodeId>()
    }
}

#[cfg(test)]
mod tests {
    use super::super::protocol::{Budget, StopReason};
    use super::super::testing::{
        Run, abstained, failed, fan, held, lost, propose, rejected, run, score, start, state,
        terminal, terminal_start,
    };
    use super::super::{EdgeStatus, Outcome, Search};
    use super::*;

    fn name(tree: &Tree, node: NodeId) -> String {
        let edge = tree.node(node).parent();
        edge.map_or("root".to_owned(), |edge| tree.edge(edge).action().name)
    }

    /// Actions are named for the state they lead to; `end…` is terminal.
    fn maze(
        config: SearchConfig,
        next: impl Fn(&str) -> Outcome,
        value: impl Fn(&str) -> Outcome,
    ) -> Run {
        run(
            Search::new(config, start("root")),
            |tree, request| match request {
                Request::Propose { node, .. } => next(&name(tree, node)),
                Request::Step { edge } => match tree.edge(edge).action().name.as_str() {
                    "no" => rejected(),
                    "buy" => held(),
                    "crash" => failed(),
                    "gone" => lost(),
                    end if end.starts_with("end") => terminal(end),
                    other => state(other.trim_end_matches('\'')),
                },
                Request::Judge { node } => value(&name(tree, node)),
                Request::Compare { .. } => unreachable!("it compares nothing"),
            },
        )
    }

    #[test]
    fn nothing_is_tried_under_a_lost_state_and_the_rest_goes_on() {
        let run = maze(
            SearchConfig::default(),
            |from| match from {
                "root" => propose(&[("a", 0.6), ("b", 0.4)]),
                "a" => propose(&[("a1", 0.7), ("gone", 0.2), ("a3", 0.1)]),
                "a1" => fan(&["a11"]),
                _ => fan(&[]),
            },
            |at| match at {
                "a" => score(0.8),
                "b" => score(0.5),
                "a1" => score(0.1),
                _ => score(0.2),
            },
        );
        let steps: Vec<_> = run.log.iter().filter(|l| l.starts_with("step")).collect();
        assert_eq!(steps, ["step a", "step a1", "step gone", "step b"]);
        assert_eq!(run.reason, StopReason::Exhausted);
        let tree = run.search.tree();
        let lost = tree.nodes().filter(|node| tree.node(*node).lost());
        let lost: Vec<_> = lost.map(|node| name(tree, node)).collect();
        assert_eq!(lost, ["a", "a1"]);
        assert_eq!(
            name(tree, run.search.best().unwrap()),
            "a",
            "its value stands"
        );
    }

    #[test]
    fn the_order_is_by_parent_value_then_prior_then_proposal() {
        let run = maze(
            SearchConfig::default(),
            |from| match from {
                "root" => propose(&[("a", 0.2), ("b", 0.5), ("c", 0.2)]),
                "a" => propose(&[("a1", 0.1), ("a2", 0.1), ("a3", 0.8)]),
                _ => fan(&[]),
            },
            |at| match at {
                "a" => score(0.6),
                "b" => score(0.4),
                _ => score(0.1),
            },
        );
        let steps: Vec<_> = run.log.iter().filter(|l| l.starts_with("step")).collect();
        let order = [
            "step b", "step a", "step a3", "step a1", "step a2", "step c",
        ];
        assert_eq!(steps, order);
        assert_eq!(run.reason, StopReason::Exhausted);
        assert_eq!(name(run.search.tree(), run.search.best().unwrap()), "a");
    }

    #[test]
    fn it_comes_back_from_a_dead_end() {
        let run = maze(
            SearchConfig::default(),
            |from| match from {
                "root" => propose(&[("trap", 0.9), ("way", 0.1)]),
                "trap" => fan(&["deeper"]),
                "way" => fan(&["end"]),
                _ => fan(&[]),
            },
            |at| match at {
                "end" => score(1.0),
                "way" => score(0.7),
                _ => score(0.2),
            },
        );
        assert_eq!(
            run.log,
            [
                "propose n0",
                "step trap",
                "judge n1",
                "propose n1",
                "step way",
                "judge n2",
                "propose n2",
                "step end",
                "judge n3"
            ]
        );
        assert_eq!(run.reason, StopReason::Solved);
        assert_eq!(run.search.best(), Some(NodeId(3)));
    }

    #[test]
    fn refused_and_failed_edges_make_no_state() {
        let run = maze(
            SearchConfig::default(),
            |_| fan(&["no", "crash"]),
            |_| score(0.5),
        );
        assert_eq!(run.log, ["propose n0", "step no", "step crash"]);
        assert_eq!(run.search.tree().len(), 1);
        assert_eq!(run.search.spent().steps, 2);
        assert_eq!(run.search.best(), None);
    }

    #[test]
    fn a_held_write_is_judged_not_expanded_and_committed_only_if_it_is_progress() {
        let bought = |value: f32| {
            maze(
                SearchConfig::default(),
                |from| match from {
                    "root" => propose(&[("shop", 0.9), ("home", 0.1)]),
                    "shop" => fan(&["buy"]),
                    _ => fan(&[]),
                },
                move |at| score(if at == "buy" { value } else { 0.6 }),
            )
        };
        let run = bought(0.7);
        let log = [
            "propose n0",
            "step shop",
            "judge n1",
            "propose n1",
            "step buy",
            "judge n2",
            "step home",
            "judge n3",
            "propose n3",
        ];
        assert_eq!(run.log, log);
        let tree = run.search.tree();
        assert_eq!(tree.edge(EdgeId(2)).status(), EdgeStatus::Held(NodeId(2)));
        assert!(tree.node(NodeId(2)).held() && !tree.node(NodeId(2)).terminal());
        assert_eq!(run.search.best(), Some(NodeId(2)));
        // Not better than before it: the state it was tried in wins, and nothing is sent.
        assert_eq!(bought(0.6).search.best(), Some(NodeId(1)));
    }

    #[test]
    fn a_held_write_that_nobody_valued_is_never_best() {
        let run = maze(
            SearchConfig::default(),
            |from| match from {
                "root" => fan(&["a", "buy"]),
                "a" => fan(&["buy"]),
                _ => fan(&[]),
            },
            |_| abstained(),
        );
        assert_eq!(name(run.search.tree(), run.search.best().unwrap()), "a");
        assert_eq!(run.search.tree().len(), 4);
    }

    #[test]
    fn an_abstaining_critic_hands_on_the_priority_and_is_never_zero() {
        let run = maze(
            SearchConfig::default(),
            |from| match from {
                "root" => propose(&[("a", 0.6), ("b", 0.4)]),
                "a" => fan(&["a1"]),
                "a1" => fan(&["a2"]),
                "b" => fan(&["b1"]),
                _ => fan(&[]),
            },
            |at| match at {
                "a" => score(0.7),
                "a1" => abstained(),
                _ => score(0.0),
            },
        );
        let steps: Vec<_> = run.log.iter().filter(|l| l.starts_with("step")).collect();
        // a2 inherits 0.7 through a1, so it goes before b (0.5) and long before b1 (0).
        assert_eq!(steps, ["step a", "step a1", "step a2", "step b", "step b1"]);
        assert_eq!(run.search.tree().node(NodeId(2)).value(), None);
    }

    #[test]
    fn a_failed_judgement_or_proposal_closes_the_state() {
        let run = maze(
            SearchConfig::default(),
            |from| match from {
                "root" => fan(&["a", "b"]),
                _ => failed(),
            },
            |at| if at == "a" { failed() } else { score(0.5) },
        );
        assert_eq!(
            run.log,
            [
                "propose n0",
                "step a",
                "judge n1",
                "step b",
                "judge n2",
                "propose n2"
            ]
        );
        let tree = run.search.tree();
        assert!(tree.node(NodeId(1)).closed() && tree.node(NodeId(2)).closed());
        assert_eq!(run.search.best(), Some(NodeId(2)));
    }

    #[test]
    fn loops_and_transpositions_are_not_expanded_twice() {
        let run = maze(
            SearchConfig::default(),
            |from| match from {
                "root" => fan(&["a", "b"]),
                "a" => fan(&["root", "x"]),
                "b" => fan(&["x'", "b'"]),
                _ => fan(&[]),
            },
            |_| score(0.5),
        );
        let tree = run.search.tree();
        assert_eq!(tree.len(), 4);
        let status = |edge| tree.edge(EdgeId(edge)).status();
        assert_eq!(status(2), EdgeStatus::Loop(NodeId::ROOT));
        // b (edge 1) became n2, x (edge 3) n3.
        assert_eq!(status(3), EdgeStatus::Done(NodeId(3)));
        assert_eq!(status(4), EdgeStatus::Loop(NodeId(3)));
        assert_eq!(status(5), EdgeStatus::Loop(NodeId(2)));
        assert_eq!(run.search.spent().steps, 6);
    }

    #[test]
    fn best_prefers_what_is_finished_and_keeps_the_earlier_of_equals() {
        let run = maze(
            SearchConfig::default(),
            |from| match from {
                "root" => fan(&["high", "end1", "end2", "end3"]),
                _ => fan(&[]),
            },
            |at| match at {
                "high" => score(0.9),
                "end1" => score(0.3),
                _ => score(0.4),
            },
        );
        assert_eq!(name(run.search.tree(), run.search.best().unwrap()), "end2");
    }

    #[test]
    fn without_any_value_best_is_the_deepest_and_earliest() {
        let run = maze(
            SearchConfig::default(),
            |from| match from {
                "root" => fan(&["a", "b"]),
                "a" => fan(&["a1"]),
                "b" => fan(&["b1"]),
                _ => fan(&[]),
            },
            |_| abstained(),
        );
        assert_eq!(name(run.search.tree(), run.search.best().unwrap()), "a1");
    }

    #[test]
    fn the_threshold_ends_it_at_a_state_that_is_not_terminal() {
        let config = SearchConfig {
            threshold: UnitF32::new(0.8).unwrap(),
            ..SearchConfig::default()
        };
        let run = maze(config, |_| fan(&["a", "b"]), |_| score(0.8));
        assert_eq!(run.log, ["propose n0", "step a", "judge n1"]);
        assert_eq!(run.reason, StopReason::Solved);
    }

    #[test]
    fn a_spent_budget_of_steps_judges_the_last_state_and_proposes_nothing() {
        let config = SearchConfig {
            budget: Budget {
                steps: Some(1),
                ..Budget::default()
            },
            ..SearchConfig::default()
        };
        let run = maze(config, |_| fan(&["a", "b"]), |_| score(0.5));
        assert_eq!(run.log, ["propose n0", "step a", "judge n1"]);
        assert_eq!(run.reason, StopReason::Steps);
        assert_eq!(run.search.best(), Some(NodeId(1)));
    }

    #[test]
    fn the_depth_limit_queues_nothing_below() {
        let config = SearchConfig {
            depth: 1,
            ..SearchConfig::default()
        };
        let run = maze(config, |_| fan(&["a"]), |_| score(0.5));
        assert_eq!(run.log, ["propose n0", "step a", "judge n1"]);
        assert_eq!(run.reason, StopReason::Exhausted);
    }

    #[test]
    fn a_start_that_is_over_or_has_no_depth_asks_nothing() {
        let none = SearchConfig {
            depth: 0,
            ..SearchConfig::default()
        };
        for (config, start) in [
            (SearchConfig::default(), terminal_start("root")),
            (none, start("root")),
        ] {
            let run = run(Search::new(config, start), |_, _| unreachable!("nothing"));
            assert_eq!(
                (run.reason, run.search.best()),
                (StopReason::Exhausted, None)
            );
        }
    }

    #[test]
    fn a_queue_entry_is_twelve_bytes() {
        assert_eq!(size_of::<Entry>(), 12);
    }
}
