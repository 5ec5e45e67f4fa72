//! `greedy`: one path, no way back.

use std::num::NonZeroU8;

use super::ledger::Room;
use super::protocol::{Request, SearchConfig};
use super::strategy::{News, Next, Strategy};
use super::tree::Tree;
use super::walk::{Walk, Want};
use crate::types::NodeId;

/// Propose one action, carry it out, repeat: the loop of `ReAct` (Yao et al. 2023,
/// arXiv 2210.03629), as the baseline that search has to beat. No critic is asked.
///
/// * An action that is rejected or fails costs its step; a new proposal is asked for at the same
///   state, at most three times in a row, then the walk ends. So does an empty proposal, or
///   one that fails. A proposal that only repeats what was refused counts as one of the three.
/// * A step into a state seen before is wasted ([`NodeView::repeats`](super::NodeView::repeats)
///   says so), but the walk goes on from it with its whole history, as an agent without a tree
///   would: equal states are not merged.
/// * It ends solved at a terminal state and where a write is held (an agent without a way back does
///   what it proposes: the commit sends it), exhausted at the depth limit or where it is stuck.
///
/// `best` is the state where it stands; `None` while that is the root.
#[derive(Debug, Clone)]
pub struct Greedy {
    walk: Walk,
    depth: u16,
}

impl Greedy {
    /// The strategy under a config; `depth` counts, `branching` and `threshold` do not.
    #[must_use]
    pub fn new(config: &SearchConfig) -> Self {
        Self {
            walk: Walk::new(),
            depth: config.depth,
        }
    }
}

impl Strategy for Greedy {
    fn name(&self) -> &'static str {
        "greedy"
    }

    fn merges(&self) -> bool {
        false
    }

    fn next(&mut self, tree: &Tree, room: &Room) -> Next {
        match self.walk.want(tree, self.depth, |_, live| live[0]) {
            Want::Propose(node) => {
                let width = NonZeroU8::MIN;
                let ask = Next::Start(Request::Propose { node, width });
                room.lacks_expansion().map_or(ask, Next::Blocked)
            }
            Want::Step(edge) => {
                let ask = Next::Start(Request::Step { edge });
                room.lacks_step().map_or(ask, Next::Blocked)
            }
            Want::Wait => Next::Idle,
            Want::End => match self.best(tree) {
                Some(node) if tree.node(node).leaf() => Next::Solved,
                Some(_) | None => Next::Idle,
            },
        }
    }

    fn told(&mut self, _tree: &Tree, _news: &News) {}

    fn best(&self, tree: &Tree) -> Option<NodeId> {
        Some(self.walk.position(tree)).filter(|node| *node != NodeId::ROOT)
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::super::protocol::{Budget, StopReason, StrategyKind};
    use super::super::testing::{
        Run, abstained, failed, fan, held, propose, rejected, run, start, state, terminal,
        terminal_start,
    };
    use super::super::{Outcome, Search};
    use super::*;
    use crate::types::EdgeId;

    fn greedy() -> SearchConfig {
        SearchConfig {
            strategy: StrategyKind::Greedy,
            ..SearchConfig::default()
        }
    }

    /// Answers proposals and steps from two lists.
    fn scripted(config: SearchConfig, proposals: Vec<Outcome>, steps: Vec<Outcome>) -> Run {
        let mut proposals = proposals.into_iter();
        let mut steps = steps.into_iter();
        run(
            Search::new(config, start("root")),
            |_, request| match request {
                Request::Propose { width, .. } => {
                    assert_eq!(width, NonZeroU8::MIN);
                    proposals.next().expect("a proposal too many")
                }
                Request::Step { .. } => steps.next().expect("a step too many"),
                Request::Judge { .. } => abstained(),
                Request::Compare { .. } => unreachable!("it compares nothing"),
            },
        )
    }

    #[test]
    fn it_walks_to_the_terminal_state_without_a_critic() {
        let run = scripted(
            greedy(),
            vec![fan(&["a"]), fan(&["stop"])],
            vec![state("A"), terminal("A")],
        );
        assert_eq!(run.log, ["propose n0", "step a", "propose n1", "step stop"]);
        assert_eq!(run.reason, StopReason::Solved);
        assert_eq!(run.search.best(), Some(NodeId(2)));
    }

    #[test]
    fn it_asks_again_three_times_where_it_is_refused_and_then_ends() {
        let run = scripted(
            greedy(),
            vec![fan(&["a"]), fan(&["b"]), fan(&["c"]), fan(&["d"])],
            vec![rejected(), failed(), failed(), rejected()],
        );
        assert_eq!(run.reason, StopReason::Exhausted);
        assert_eq!(run.search.spent().steps, 4);
        assert_eq!(run.search.best(), None);
    }

    #[test]
    fn a_held_write_ends_the_walk_there() {
        let run = scripted(
            greedy(),
            vec![fan(&["a"]), fan(&["buy"])],
            vec![state("A"), held()],
        );
        assert_eq!(run.log, ["propose n0", "step a", "propose n1", "step buy"]);
        assert_eq!(run.reason, StopReason::Solved);
        assert_eq!(run.search.best(), Some(NodeId(2)));
    }

    #[test]
    fn a_success_starts_the_count_again() {
        let refused = || [rejected(), rejected(), rejected()];
        let run = scripted(
            greedy(),
            ["a", "b", "c", "d", "e", "f", "g", "stop"]
                .iter()
                .map(|name| fan(&[name]))
                .collect(),
            refused()
                .into_iter()
                .chain([state("D")])
                .chain(refused())
                .chain([terminal("end")])
                .collect(),
        );
        assert_eq!(run.reason, StopReason::Solved);
        assert_eq!(run.search.tree().len(), 3);
    }

    #[test]
    fn repeating_the_refused_action_uses_up_the_tries() {
        let run = scripted(
            greedy(),
            vec![fan(&["a"]), fan(&["a"]), fan(&["a"]), fan(&["a"])],
            vec![rejected()],
        );
        assert_eq!(run.reason, StopReason::Exhausted);
        assert_eq!(run.search.spent().orders, 4);
    }

    #[test]
    fn nothing_to_try_or_a_failed_proposal_ends_it() {
        for last in [propose(&[]), failed()] {
            let run = scripted(greedy(), vec![fan(&["a"]), last], vec![state("A")]);
            assert_eq!(run.reason, StopReason::Exhausted);
            assert_eq!(run.search.best(), Some(NodeId(1)));
        }
    }

    #[test]
    fn a_loop_is_wasted_but_it_goes_on() {
        let run = scripted(
            greedy(),
            vec![fan(&["a"]), fan(&["back"]), fan(&["stop"])],
            vec![state("A"), state("root"), terminal("end")],
        );
        assert_eq!(run.reason, StopReason::Solved);
        let tree = run.search.tree();
        assert_eq!(tree.node(NodeId(2)).repeats(), Some(NodeId::ROOT));
        assert_eq!(tree.path(NodeId(3)), [EdgeId(0), EdgeId(1), EdgeId(2)]);
    }

    #[test]
    fn depth_and_budget_end_it_without_a_useless_proposal() {
        let two = SearchConfig {
            depth: 2,
            ..greedy()
        };
        let steps = || vec![state("A"), state("B")];
        let deep = scripted(two, vec![fan(&["a"]), fan(&["b"])], steps());
        assert_eq!(deep.reason, StopReason::Exhausted);
        let poor = SearchConfig {
            budget: Budget {
                steps: Some(2),
                ..Budget::default()
            },
            ..greedy()
        };
        let spent = scripted(poor, vec![fan(&["a"]), fan(&["b"])], steps());
        assert_eq!(spent.reason, StopReason::Steps);
        assert_eq!(spent.search.best(), Some(NodeId(2)));
    }

    #[test]
    fn an_episode_that_is_over_before_it_began_asks_nothing() {
        let run = run(Search::new(greedy(), terminal_start("root")), |_, _| {
            unreachable!("nothing is asked")
        });
        assert_eq!(run.reason, StopReason::Exhausted);
        assert_eq!(run.search.best(), None);
    }
}
