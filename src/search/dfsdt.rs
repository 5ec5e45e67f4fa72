//! `dfsdt`: depth first, one candidate at a time, each told what became of those before.

use std::collections::VecDeque;

use super::ledger::Room;
use super::protocol::{Compat, Request, SearchConfig, StopReason};
use super::strategy::{News, Next, Strategy};
use super::tree::Tree;
use crate::types::{Action, EdgeId, NodeId, Preference};

/// The name of an action that stands for a reply without a call, as imported trees hold them.
pub(crate) const THINK: &str = "think";

/// Depth-first search-based decision tree, after Qin et al. 2023, *`ToolLLM`* (arXiv 2307.16789), as
/// its code runs.
///
/// Stand in a state. Ask for **one** candidate; the proposer is told which were tried here and what
/// became of them (the "diversity prompt"). Carry it out and stand in the state it leads to. When
/// that subtree has failed, come back and ask for the next, `branching` times in all. So:
///
/// * States are visited in pre-order. There is no value; nothing is judged.
/// * The first terminal state that is not given up is the answer and ends the search.
/// * **Give-up** (the action [`Action::GIVE_UP`]) backs up two levels: the state that gave up asks
///   for no other candidate, and its parent goes on with the next.
/// * A **dead end** (the depth limit; an action that is rejected, held for its write, or fails; a step into a known
///   state; a state whose candidates are used up) backs up one level: the next sibling.
/// * Every proposal uses up one of the `branching` places, whatever became of it.
///
/// With [`ranked`](super::DfsdtOptions::ranked), all candidates of a state are carried out first, then
/// each pair of the states they led to is compared in both orders ([`Request::Compare`]): a win
/// counts 1, a tie ½ for both, an abstention or a failed comparison nothing. They are visited by
/// their points, those with equal points in the order in which they were proposed.
///
/// `best` is the answer. If the search ended without one: the first state that ended with an
/// answer and was not visited yet (`ranked`), else the deepest state, the earliest of these, never
/// one that gave up. `None` if no action led anywhere.
///
/// # Compatibility
///
/// With [`Compat::Toolbench`] the search asks for exactly as many replies as the reference
/// implementation does, so that published counts can be repeated and its trees imported:
///
/// | | Here | `compat = "toolbench"` |
/// |---|---|---|
/// | Depth | actions from the root | nodes of that tree: an action is two (name, input), a thought one more; the limit 12 is then 4 steps with thoughts, 6 without |
/// | Give-up under the root | the root asks for its next candidate | the search is over, after one call |
/// | The reply that reaches the limit of model calls | is carried out | is paid for and thrown away |
/// | A candidate that repeats a sibling | is not carried out again | is a sibling of its own, subtree included |
/// | A step into a known state | is a dead end | makes a state of its own |
///
/// [`Compat::ToolbenchTrees`] is the same for the published answer trees: in these the depth limit,
/// too, backs up two levels.
///
/// # What cannot go wrong here
///
/// Faults of the reference implementation, read in its code, and what rules each out:
///
/// | There | Here |
/// |---|---|
/// | The world is not put back between siblings: the wrapper of the client is copied, the prompt says that changes are irreversible | every step starts from its parent's state, restored and verified, or fails |
/// | `compute_weight()` returns 0.0, and the model is shown it as a value found by tree search | there is no value, and none is shown |
/// | A provider's failure becomes a thought with a code, and is searched on from | a proposal that fails closes the state; nothing is made up |
/// | Errors of a tool and of the transport share one list of codes; some are read wrong | the environment's fault closes the edge, a tool's own refusal is an observation |
/// | A vote is the last character of a reply: any other text is a vote for the second state | a comparison is a value; what cannot be read is an abstention and counts for neither |
/// | Pairwise votes are asked for outside the budget | they are requests like any other, reserved before asking (also under `compat`) |
/// | No answer: a give-up leaf is drawn at random and exported as the result | `best` is fixed by the tree, and never a state that gave up |
/// | No answer and no give-up: an index error | `best` is the deepest state, or none |
/// | 57 % of the calls in its published trees repeat one that was made before | an equal action is under a state once, a known state is not searched again; the environment's memo does the rest |
#[derive(Debug, Clone)]
pub struct Dfsdt {
    width: u8,
    depth: u16,
    ranked: bool,
    compat: Option<Compat>,
    /// Under `compat`: the reply with this number is thrown away.
    last_call: Option<u32>,
    calls: u32,
    thrown_away: bool,
    /// From the root to the state it stands in.
    stack: Vec<Frame>,
    /// Requests that were asked and have not landed.
    under_way: usize,
    answer: Option<NodeId>,
    /// The first state that ended with an answer.
    ended: Option<NodeId>,
    deepest: Option<NodeId>,
}

/// A state that is being expanded.
#[derive(Debug, Clone)]
struct Frame {
    node: NodeId,
    /// Depth as the limit counts it.
    depth: u16,
    /// Candidates asked for.
    used: u8,
    /// The candidate that waits to be carried out, and how long it is as the limit counts.
    edge: Option<(EdgeId, u16)>,
    phase: Phase,
    /// With `ranked`: where the candidates led.
    children: VecDeque<Child>,
}

#[derive(Debug, Clone)]
enum Phase {
    Growing,
    /// The pairs that are still to be asked about.
    Comparing(VecDeque<(NodeId, NodeId)>),
    Visiting,
}

#[derive(Debug, Clone, Copy)]
struct Child {
    node: NodeId,
    depth: u16,
    /// In halves.
    points: u32,
}

impl Frame {
    fn new(node: NodeId, depth: u16) -> Self {
        Self {
            node,
            depth,
            used: 0,
            edge: None,
            phase: Phase::Growing,
            children: VecDeque::new(),
        }
    }
}

impl Dfsdt {
    /// The strategy under a config.
    #[must_use]
    pub fn new(config: &SearchConfig) -> Self {
        let compat = config.dfsdt.compat;
        Self {
            width: config.branching.get(),
            depth: config.depth,
            ranked: config.dfsdt.ranked,
            compat,
            last_call: config.budget.model_calls.filter(|_| compat.is_some()),
            calls: 0,
            thrown_away: false,
            stack: vec![Frame::new(NodeId::ROOT, 0)],
            under_way: 0,
            answer: None,
            ended: None,
            deepest: None,
        }
    }

    /// How much an action adds to the depth.
    fn length(&self, tree: &Tree, edge: EdgeId, thought: bool) -> u16 {
        if self.compat.is_some() && tree.edge(edge).action().name != THINK {
            2 + u16::from(thought)
        } else {
            1
        }
    }

    /// Goes into a state that an action led to.
    fn enter(&mut self, tree: &Tree, node: NodeId, depth: u16) {
        if gives_up(tree, node) {
            // Under the root there is no grandparent to back up to.
            if self.compat.is_some() || self.stack.len() > 1 {
                self.stack.pop();
            }
        } else if tree.node(node).terminal() {
            self.answer = Some(node);
        } else if depth < self.depth && !tree.node(node).held() {
            self.stack.push(Frame::new(node, depth));
        } else if self.compat == Some(Compat::ToolbenchTrees) {
            self.stack.pop();
        }
    }

    fn proposed(&mut self, tree: &Tree, first: EdgeId, count: u32, thought: bool) {
        self.calls += 1;
        self.thrown_away = self.last_call.is_some_and(|last| self.calls >= last);
        let edge = (count > 0).then(|| (first, self.length(tree, first, thought)));
        if let Some(frame) = self.stack.last_mut() {
            frame.used = frame.used.saturating_add(1);
            frame.edge = edge;
        }
    }

    fn stepped(&mut self, tree: &Tree, edge: EdgeId) {
        let Some(frame) = self.stack.last_mut() else {
            return;
        };
        let (depth, length) = (
            frame.depth,
            frame.edge.take().map_or(1, |(_, length)| length),
        );
        let depth = depth.saturating_add(length);
        let Some(node) = tree.edge(edge).child() else {
            return;
        };
        if !gives_up(tree, node) {
            if tree.node(node).terminal() {
                self.ended.get_or_insert(node);
            }
            let deeper = |old| tree.node(node).depth() > tree.node(old).depth();
            if self.deepest.is_none_or(deeper) {
                self.deepest = Some(node);
            }
        }
        if self.ranked {
            let points = 0;
            frame.children.push_back(Child {
                node,
                depth,
                points,
            });
        } else {
            self.enter(tree, node, depth);
        }
    }

    fn compared(&mut self, first: NodeId, second: NodeId, preference: Option<Preference>) {
        self.calls += 1;
        let Some(frame) = self.stack.last_mut() else {
            return;
        };
        for child in &mut frame.children {
            let won = match preference {
                Some(Preference::First) => child.node == first,
                Some(Preference::Second) => child.node == second,
                Some(Preference::Tie) | None => false,
            };
            let tied = preference == Some(Preference::Tie)
                && (child.node == first || child.node == second);
            child.points += 2 * u32::from(won) + u32::from(tied);
        }
    }
}

/// Whether the action that led to a state gave up.
fn gives_up(tree: &Tree, node: NodeId) -> bool {
    let by = tree.node(node).parent();
    tree.node(node).terminal()
        && by.is_some_and(|edge| tree.edge(edge).action().name == Action::GIVE_UP)
}

/// Every pair in both orders.
fn pairs(children: &VecDeque<Child>) -> VecDeque<(NodeId, NodeId)> {
    let mut out = VecDeque::new();
    for (i, a) in children.iter().enumerate() {
        for b in children.iter().skip(i + 1) {
            out.extend([(a.node, b.node), (b.node, a.node)]);
        }
    }
    out
}

impl Strategy for Dfsdt {
    fn name(&self) -> &'static str {
        "dfsdt"
    }

    fn merges(&self) -> bool {
        self.compat.is_none()
    }

    fn repeats(&self) -> bool {
        self.compat.is_some()
    }

    fn next(&mut self, tree: &Tree, room: &Room) -> Next {
        loop {
            if self.answer.is_some() {
                return Next::Solved;
            }
            if self.thrown_away {
                return Next::Blocked(StopReason::ModelCalls);
            }
            let under_way = self.under_way > 0;
            let (width, ranked) = (self.width, self.ranked);
            let Some(frame) = self.stack.last_mut() else {
                return Next::Idle;
            };
            match &mut frame.phase {
                Phase::Growing if under_way => return Next::Idle,
                Phase::Growing => {
                    if let Some((edge, _)) = frame.edge {
                        if let Some(reason) = room.lacks_step() {
                            return Next::Blocked(reason);
                        }
                        self.under_way += 1;
                        return Next::Start(Request::Step { edge });
                    }
                    let node = tree.node(frame.node);
                    // Only the root can be terminal, or beyond the limit: others are not entered.
                    let open = !node.terminal() && !node.closed() && frame.depth < self.depth;
                    // Who saw nothing to try is not asked again. The reference would ask.
                    let dry = node.dry() && self.compat.is_none();
                    if open && !dry && frame.used < width {
                        if let Some(reason) = room.lacks_expansion() {
                            return Next::Blocked(reason);
                        }
                        self.under_way += 1;
                        return Next::Start(Request::Propose {
                            node: frame.node,
                            width: std::num::NonZeroU8::MIN,
                        });
                    }
                    if ranked {
                        frame.phase = Phase::Comparing(pairs(&frame.children));
                    } else {
                        self.stack.pop();
                    }
                }
                Phase::Comparing(pairs) => {
                    if let Some(&(first, second)) = pairs.front() {
                        if let Some(reason) = room.lacks_model() {
                            return Next::Blocked(reason);
                        }
                        pairs.pop_front();
                        self.under_way += 1;
                        return Next::Start(Request::Compare { first, second });
                    }
                    if under_way {
                        return Next::Idle;
                    }
                    // Stable: equals stay in the order of their proposals.
                    let children = frame.children.make_contiguous();
                    children.sort_by_key(|child| std::cmp::Reverse(child.points));
                    frame.phase = Phase::Visiting;
                }
                Phase::Visiting => match frame.children.pop_front() {
                    Some(child) => self.enter(tree, child.node, child.depth),
                    None => {
                        self.stack.pop();
                    }
                },
            }
        }
    }

    fn told(&mut self, tree: &Tree, news: &News) {
        self.under_way -= 1;
        match *news {
            News::Proposed {
                first,
                count,
                thought,
                ..
            } => self.proposed(tree, first, count, thought),
            News::Stepped { edge } => self.stepped(tree, edge),
            News::Compared {
                first,
                second,
                preference,
            } => self.compared(first, second, preference),
            News::Failed { .. } => self.calls += 1,
            News::Judged { .. } => {}
        }
    }

    fn best(&self, _tree: &Tree) -> Option<NodeId> {
        self.answer.or(self.ended).or(self.deepest)
    }

    fn heap_bytes(&self) -> usize {
        let frames = self.stack.capacity() * size_of::<Frame>();
        let inside = self.stack.iter().map(|frame| {
            let pairs = match &frame.phase {
                Phase::Comparing(pairs) => pairs.capacity() * size_of::<(NodeId, NodeId)>(),
                Phase::Growing | Phase::Visiting => 0,
            };
            frame.children.capacity() * size_of::<Child>() + pairs
        });
        frames + inside.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU8;

    use super::super::Search;
    use super::super::protocol::{Budget, DfsdtOptions};
    use super::super::testing::{
        Run, failed, fan, prefer, rejected, run, start, state, terminal, terminal_start,
    };
    use super::*;

    fn config(width: u8) -> SearchConfig {
        SearchConfig {
            strategy: super::super::StrategyKind::Dfsdt,
            branching: NonZeroU8::new(width).unwrap(),
            depth: 3,
            budget: Budget {
                steps: None,
                ..Budget::default()
            },
            ..SearchConfig::default()
        }
    }

    fn ranked(width: u8) -> SearchConfig {
        SearchConfig {
            dfsdt: DfsdtOptions {
                ranked: true,
                compat: None,
            },
            ..config(width)
        }
    }

    /// Actions are named for the state they lead to. `next` gives the nth candidate (from 0) of a
    /// state; `end…` and `give_up` are terminal, `bad…` is rejected.
    fn tree_of(
        config: SearchConfig,
        next: impl Fn(&str, usize) -> Option<&'static str>,
        compare: impl Fn(&str, &str) -> Option<Preference>,
    ) -> Run {
        run(Search::new(config, start("root")), |tree, request| {
            let name = |node: NodeId| {
                let edge = tree.node(node).parent();
                edge.map_or("root".to_owned(), |edge| tree.edge(edge).action().name)
            };
            match request {
                Request::Propose { node, .. } => {
                    let nth = usize::from(tree.node(node).proposals());
                    match next(&name(node), nth) {
                        Some("fail") => failed(),
                        Some(action) => fan(&[action]),
                        None => fan(&[]),
                    }
                }
                Request::Step { edge } => {
                    let to = tree.edge(edge).action().name;
                    let from = name(tree.edge(edge).parent());
                    if to.starts_with("end") || to == Action::GIVE_UP {
                        terminal(&format!("{to} from {from}"))
                    } else if to.starts_with("bad") {
                        rejected()
                    } else {
                        state(&to)
                    }
                }
                Request::Compare { first, second } => prefer(compare(&name(first), &name(second))),
                Request::Judge { .. } => unreachable!("dfsdt judges nothing"),
            }
        })
    }

    fn no_comparing(_: &str, _: &str) -> Option<Preference> {
        unreachable!("only ranked compares")
    }

    fn steps(run: &Run) -> Vec<&str> {
        run.log
            .iter()
            .filter_map(|line| line.strip_prefix("step "))
            .collect()
    }

    fn binary(from: &str, nth: usize) -> Option<&'static str> {
        match (from, nth) {
            ("root", 0) => Some("a"),
            ("root", 1) => Some("b"),
            ("a", 0) => Some("a1"),
            ("a", 1) => Some("a2"),
            ("b", 0) => Some("b1"),
            ("b", 1) => Some("b2"),
            _ => None,
        }
    }

    #[test]
    fn states_are_visited_in_pre_order_and_a_sibling_is_asked_for_after_the_subtree() {
        let run = tree_of(config(2), binary, no_comparing);
        assert_eq!(
            run.log,
            [
                "propose n0",
                "step a",
                "propose n1",
                "step a1",
                "propose n2",
                "propose n1",
                "step a2",
                "propose n3",
                "propose n0",
                "step b",
                "propose n4",
                "step b1",
                "propose n5",
                "propose n4",
                "step b2",
                "propose n6"
            ]
        );
        assert_eq!(run.reason, StopReason::Exhausted);
        // No answer: the deepest, the earliest of these.
        assert_eq!(run.search.best(), Some(NodeId(2)));
    }

    #[test]
    fn the_first_answer_ends_it() {
        let next = |from: &str, nth| match (from, nth) {
            ("a", 1) => Some("end"),
            _ => binary(from, nth),
        };
        let run = tree_of(config(2), next, no_comparing);
        assert_eq!(steps(&run), ["a", "a1", "end"]);
        assert_eq!(run.reason, StopReason::Solved);
        assert_eq!(run.search.best(), Some(NodeId(3)));
    }

    #[test]
    fn giving_up_backs_up_to_the_grandparent_and_a_dead_end_to_the_parent() {
        let next = |from: &str, nth| match (from, nth) {
            ("a", 0) => Some("bad"),
            ("a", 1) | ("b", 0) => Some("give_up"),
            _ => binary(from, nth),
        };
        let three = tree_of(config(3), next, no_comparing);
        // After giving up, `a` has a place left and does not use it; `b` has two.
        let last = ["a", "bad", "give_up", "b", "give_up"];
        assert_eq!(steps(&three), last);
        // The root is asked a third time and sees nothing.
        assert_eq!(three.log.last().unwrap(), "propose n0");
        assert_eq!(three.search.best(), Some(NodeId(1)));
    }

    #[test]
    fn giving_up_at_once_ends_the_reference_and_not_ours() {
        let next = |from: &str, nth| match (from, nth) {
            ("root", 0) => Some("give_up"),
            ("root", 1) => Some("end"),
            _ => None,
        };
        let ours = tree_of(config(2), next, no_comparing);
        assert_eq!(steps(&ours), ["give_up", "end"]);
        assert_eq!(ours.reason, StopReason::Solved);
        let mut compat = config(2);
        compat.dfsdt.compat = Some(Compat::Toolbench);
        let theirs = tree_of(compat, next, no_comparing);
        assert_eq!(theirs.log, ["propose n0", "step give_up"]);
        assert_eq!(theirs.reason, StopReason::Exhausted);
        assert_eq!(theirs.search.best(), None);
    }

    #[test]
    fn a_repeat_uses_up_its_place_and_a_failed_proposal_closes_the_state() {
        let next = |from: &str, nth| match (from, nth) {
            ("root", 0 | 1) => Some("a"),
            ("root", 2) => Some("b"),
            ("a", _) => Some("fail"),
            _ => None,
        };
        let run = tree_of(config(3), next, no_comparing);
        assert_eq!(steps(&run), ["a", "b"]);
        let asked = run.log.iter().filter(|l| **l == "propose n1").count();
        assert_eq!(asked, 1);
    }

    #[test]
    fn ranked_compares_every_pair_in_both_orders_and_visits_the_winners_first() {
        let next = |from: &str, nth: usize| match from {
            "root" => ["a", "b", "c"].get(nth).copied(),
            "b" => Some("end"),
            _ => None,
        };
        // `b` beats all; `a` and `c` are told apart by their place only, which cancels out.
        let compare = |first: &str, second: &str| {
            Some(match (first, second) {
                ("b", _) => Preference::First,
                (_, "b") => Preference::Second,
                _ => Preference::First,
            })
        };
        let run = tree_of(ranked(3), next, compare);
        assert_eq!(
            run.log,
            [
                "propose n0",
                "step a",
                "propose n0",
                "step b",
                "propose n0",
                "step c",
                "compare n1 n2",
                "compare n2 n1",
                "compare n1 n3",
                "compare n3 n1",
                "compare n2 n3",
                "compare n3 n2",
                "propose n2",
                "step end",
                "propose n2",
                "propose n2"
            ]
        );
        assert_eq!(run.reason, StopReason::Solved);
    }

    #[test]
    fn without_preferences_ranked_visits_in_the_order_of_the_proposals() {
        for preference in [None, Some(Preference::Tie)] {
            let next = |from: &str, nth: usize| match from {
                "root" => ["a", "end", "b"].get(nth).copied(),
                _ => None,
            };
            let run = tree_of(ranked(3), next, |_, _| preference);
            let visited = run.log.iter().any(|line| line == "propose n1");
            assert!(visited && run.reason == StopReason::Solved);
            assert_eq!(run.search.best(), Some(NodeId(2)));
        }
    }

    #[test]
    fn an_answer_that_was_not_visited_when_the_budget_ended_is_still_the_best() {
        let mut config = ranked(2);
        config.budget.model_calls = Some(2);
        let next = |from: &str, nth: usize| match from {
            "root" => ["a", "end"].get(nth).copied(),
            _ => None,
        };
        let run = tree_of(config, next, |_, _| None);
        assert_eq!(run.reason, StopReason::ModelCalls);
        assert_eq!(run.search.best(), Some(NodeId(2)));
    }

    #[test]
    fn a_start_that_is_over_asks_nothing() {
        let over = run(Search::new(config(2), terminal_start("root")), |_, _| {
            unreachable!("nothing is asked")
        });
        assert_eq!(over.reason, StopReason::Exhausted);
        assert_eq!(over.search.best(), None);
    }
}
