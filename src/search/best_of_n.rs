//! `best-of-n`: several independent greedy paths, the best by the critic.

use std::num::NonZeroU8;

use super::ledger::Room;
use super::protocol::{Request, SearchConfig, StopReason};
use super::rng::SearchRng;
use super::strategy::{News, Next, Strategy};
use super::tree::Tree;
use super::walk::{Walk, Want};
use crate::types::{EdgeId, NodeId, UnitF32};

/// As many walks from the root as `branching` says, each without a way back; the critic values
/// where each ends and the best value wins.
///
/// * At every state a walk draws one of the proposed actions with probability in proportion to its
///   prior. The first walk takes the most likely one instead, so it is the deterministic greedy
///   path. What a walk draws depends on the seed and its own number only.
/// * A state is proposed once, with `branching` candidates, and an action carried out once: walks
///   that come the same way share both. Walks are otherwise independent, so two may be the same.
/// * A rejected or failed action is out for all walks; where none is left, a new proposal is
///   asked for, three times at most (see [`Greedy`](super::Greedy)). Equal states are not merged.
/// * A walk ends at a terminal state, where a write is held, the depth limit, where it is stuck, or where the budget of
///   steps ends; that state is judged, unless it is the root. A value at or over the threshold ends
///   the search at once. If the critic abstains the state has no value and cannot win.
///
/// `best` is the judged end with the highest value, the earlier walk's if equal; if none has a
/// value, where the first walk stands that left the root; `None` if none did.
#[derive(Debug, Clone)]
pub struct BestOfN {
    paths: Vec<Path>,
    branching: NonZeroU8,
    depth: u16,
    threshold: UnitF32,
    solved: bool,
    /// The budget that cut walks short.
    cut: Option<StopReason>,
}

#[derive(Debug, Clone)]
struct Path {
    walk: Walk,
    /// None for the first: it takes the most likely action.
    rng: Option<SearchRng>,
}

impl BestOfN {
    /// The strategy under a config.
    #[must_use]
    pub fn new(config: &SearchConfig) -> Self {
        let path = |number: u8| Path {
            walk: Walk::new(),
            rng: (number > 0).then(|| SearchRng::new(config.seed, &format!("path {number}"))),
        };
        Self {
            paths: (0..config.branching.get()).map(path).collect(),
            branching: config.branching,
            depth: config.depth,
            threshold: config.threshold,
            solved: false,
            cut: None,
        }
    }
}

impl Path {
    fn want(&mut self, tree: &Tree, depth: u16) -> Want {
        let Self { walk, rng } = self;
        walk.want(tree, depth, |tree, live| pick(tree, live, rng.as_mut()))
    }
}

fn pick(tree: &Tree, live: &[EdgeId], rng: Option<&mut SearchRng>) -> EdgeId {
    let prior = |edge: &EdgeId| tree.edge(*edge).prior();
    let drawn = rng.and_then(|rng| rng.weighted(&live.iter().map(prior).collect::<Vec<_>>()));
    let likeliest = |best: EdgeId, edge: &EdgeId| {
        if prior(edge) > prior(&best) {
            *edge
        } else {
            best
        }
    };
    drawn.map_or_else(|| live.iter().fold(live[0], likeliest), |at| live[at])
}

impl Strategy for BestOfN {
    fn name(&self) -> &'static str {
        "best-of-n"
    }

    fn merges(&self) -> bool {
        false
    }

    fn next(&mut self, tree: &Tree, room: &Room) -> Next {
        if self.solved {
            return Next::Solved;
        }
        loop {
            let mut lack = None;
            for path in &mut self.paths {
                let (request, missing) = match path.want(tree, self.depth) {
                    Want::Propose(node) => {
                        let width = self.branching;
                        (Request::Propose { node, width }, room.lacks_expansion())
                    }
                    Want::Step(edge) => (Request::Step { edge }, room.lacks_step()),
                    Want::Wait => continue,
                    Want::End => {
                        let node = tree.node(path.walk.position(tree));
                        if node.id() == NodeId::ROOT || node.judged() || node.judging() {
                            continue;
                        }
                        let node = node.id();
                        (Request::Judge { node }, room.lacks_model())
                    }
                };
                match missing {
                    None => return Next::Start(request),
                    Some(reason) => lack = lack.or(Some(reason)),
                }
            }
            if room.under_way() > 0 {
                return Next::Idle;
            }
            let Some(reason) = lack else {
                return self.cut.map_or(Next::Idle, Next::Blocked);
            };
            // Nothing can come that would help: the walks end where they stand and are judged.
            let cut = self
                .paths
                .iter_mut()
                .filter_map(|p| p.walk.cut().then_some(()));
            if cut.count() == 0 {
                return Next::Blocked(reason);
            }
            self.cut = Some(reason);
        }
    }

    fn told(&mut self, tree: &Tree, news: &News) {
        if let News::Judged { node } = news {
            let value = tree.node(*node).value();
            self.solved |= value.is_some_and(|value| value >= self.threshold);
        }
    }

    fn best(&self, tree: &Tree) -> Option<NodeId> {
        let ends = || {
            let position = |path: &Path| path.walk.position(tree);
            self.paths
                .iter()
                .map(position)
                .filter(|node| *node != NodeId::ROOT)
        };
        let mut best: Option<(UnitF32, NodeId)> = None;
        for node in ends() {
            if let Some(value) = tree.node(node).value()
                && best.is_none_or(|(high, _)| value > high)
            {
                best = Some((value, node));
            }
        }
        best.map(|(_, node)| node).or_else(|| ends().next())
    }

    fn heap_bytes(&self) -> usize {
        self.paths.capacity() * size_of::<Path>()
    }
}

#[cfg(test)]
mod tests {
    use super::super::protocol::{Budget, StrategyKind};
    use super::super::testing::{
        Run, abstained, failed, fan, held, propose, run, score, start, state, terminal,
    };
    use super::super::{Outcome, Search};
    use super::*;
    use crate::types::Seed;

    fn config(paths: u8) -> SearchConfig {
        SearchConfig {
            strategy: StrategyKind::BestOfN,
            branching: NonZeroU8::new(paths).unwrap(),
            depth: 3,
            ..SearchConfig::default()
        }
    }

    /// States are the letters of the way to them; every state offers x (likelier), y and z.
    fn letters(config: SearchConfig, value: impl Fn(&str) -> Outcome) -> Run {
        run(Search::new(config, start("")), |tree, request| {
            let name = |node| -> String {
                let path = tree.path(node).into_iter();
                path.map(|edge| tree.edge(edge).action().name).collect()
            };
            match request {
                Request::Propose { .. } => propose(&[("x", 0.5), ("y", 0.3), ("z", 0.2)]),
                Request::Step { edge } => {
                    let edge = tree.edge(edge);
                    state(&(name(edge.parent()) + &edge.action().name))
                }
                Request::Judge { node } => value(&name(node)),
                Request::Compare { .. } => unreachable!("it compares nothing"),
            }
        })
    }

    #[test]
    fn the_first_path_takes_the_likeliest_action() {
        let run = letters(config(1), |_| score(0.2));
        let best = run.search.best().unwrap();
        assert_eq!(run.log.last().unwrap(), &format!("judge {best}"));
        let steps: Vec<_> = run.log.iter().filter(|l| l.starts_with("step")).collect();
        assert_eq!(steps, ["step x", "step x", "step x"]);
        assert_eq!(run.reason, StopReason::Exhausted);
    }

    #[test]
    fn only_ends_are_judged_and_the_best_value_wins() {
        let mut found = 0;
        for seed in 0..20 {
            let config = SearchConfig {
                seed: Seed(seed),
                ..config(5)
            };
            let run = letters(config, |name| {
                assert_eq!(name.len(), 3);
                score(if name.contains('z') { 0.9 } else { 0.3 })
            });
            let tree = run.search.tree();
            let best = run.search.best().unwrap();
            let values = tree.nodes().filter_map(|n| tree.node(n).value());
            let highest = values.fold(UnitF32::ZERO, |a, b| if b > a { b } else { a });
            assert_eq!(tree.node(best).value(), Some(highest));
            found += u32::from(highest.get() > 0.5);
        }
        // Some seeds draw a z and some do not: the draws are random, and different.
        assert!((5..20).contains(&found), "{found}");
    }

    #[test]
    fn the_same_seed_draws_the_same_paths_however_many_are_in_flight() {
        let ways = |in_flight: u8| {
            let config = SearchConfig {
                in_flight: NonZeroU8::new(in_flight).unwrap(),
                budget: Budget {
                    steps: None,
                    ..Budget::default()
                },
                ..config(5)
            };
            let run = letters(config, |_| score(0.1));
            let tree = run.search.tree();
            let mut ends: Vec<_> = tree
                .nodes()
                .filter(|n| tree.node(*n).judged())
                .map(|n| tree.node(n).digest())
                .collect();
            ends.sort();
            ends
        };
        assert_eq!(ways(1), ways(8));
        assert!(ways(1).len() > 1);
    }

    #[test]
    fn a_value_at_the_threshold_ends_it() {
        let run = letters(config(5), |_| score(1.0));
        assert_eq!(run.reason, StopReason::Solved);
        assert_eq!(run.search.spent().steps, 3);
    }

    #[test]
    fn a_budget_of_steps_cuts_walks_short_and_judges_them_there() {
        let config = SearchConfig {
            budget: Budget {
                steps: Some(2),
                ..Budget::default()
            },
            ..config(1)
        };
        let run = letters(config, |name| {
            assert_eq!(name, "xx");
            score(0.4)
        });
        assert_eq!(run.reason, StopReason::Steps);
        assert_eq!(run.search.best(), Some(NodeId(2)));
    }

    #[test]
    fn an_abstaining_critic_leaves_the_first_walk() {
        let run = letters(config(4), |_| abstained());
        let tree = run.search.tree();
        let best = run.search.best().unwrap();
        let path = tree.path(best);
        assert!(path.iter().all(|e| tree.edge(*e).action().name == "x"));
        assert_eq!(path.len(), 3);
    }

    #[test]
    fn a_held_write_is_an_end_and_a_failed_judgement_is_not_repeated() {
        let mut judged = Vec::new();
        let run = run(
            Search::new(config(2), start("")),
            |tree, request| match request {
                Request::Propose { .. } => propose(&[("buy", 0.9), ("stop", 0.1)]),
                Request::Step { edge } if tree.edge(edge).action().name == "buy" => held(),
                Request::Step { .. } => terminal("end"),
                Request::Compare { .. } => unreachable!("it compares nothing"),
                Request::Judge { node } => {
                    judged.push(tree.node(node).held());
                    failed()
                }
            },
        );
        assert!(judged.contains(&true));
        assert_eq!(judged.len(), run.search.tree().len() - 1);
        assert_eq!(run.reason, StopReason::Exhausted);
        // Nothing has a value: the first walk's end.
        assert_eq!(run.search.best(), Some(NodeId(1)));
        assert!(run.search.tree().node(NodeId(1)).held());
    }

    #[test]
    fn no_action_at_all_leaves_no_best() {
        let run = run(
            Search::new(config(3), start("")),
            |_, request| match request {
                Request::Propose { .. } => fan(&[]),
                Request::Step { .. } | Request::Judge { .. } | Request::Compare { .. } => {
                    unreachable!("nothing to step")
                }
            },
        );
        assert_eq!(
            (run.reason, run.search.best()),
            (StopReason::Exhausted, None)
        );
    }
}
