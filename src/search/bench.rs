//! A workload for measuring the core alone. It reads no clock: the caller times it.

use std::num::NonZeroU8;

use serde_json::json;

use super::{
    Ask, Budget, Compared, Outcome, Proposed, Request, Scored, Search, SearchConfig, Start, Stepped,
};
use crate::types::{Action, Candidate, Cost, Digest, Seed, UnitF32};

/// What a run of the workload came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoreFigures {
    /// Requests asked and told.
    pub pairs: u64,
    /// Nodes, the root included.
    pub nodes: u32,
    /// Edges, queued ones included.
    pub edges: u32,
    /// Bytes on the heap, of the tree (edges and actions included) and of the strategy's queue, by
    /// capacity, a node; rounded up.
    pub bytes_per_node: u64,
}

/// Runs best-first, branching 5, until the tree has `nodes` nodes, against an oracle that answers
/// at once: every state is new and offers five actions on the elements of a page of 400 (one of
/// them types a word), values are pseudo-random, so that the frontier stays wide. The time it takes
/// includes the oracle's own.
///
/// # Panics
/// If the search breaks its own contract.
#[must_use]
pub fn measure(nodes: u32) -> CoreFigures {
    let config = SearchConfig {
        branching: NonZeroU8::new(5).expect("not 0"),
        depth: u16::MAX,
        budget: Budget {
            steps: None,
            nodes: Some(nodes),
            ..Budget::default()
        },
        ..SearchConfig::default()
    };
    let start = Start {
        digest: Digest::of("start"),
        terminal: false,
    };
    let mut search = Search::new(config, start);
    let mut oracle = Oracle(config.seed);
    let mut pairs = 0;
    while let Ask::Start { ticket, request } = search.ask() {
        search
            .tell(ticket, oracle.answer(request))
            .expect("asked, not told, of its kind");
        pairs += 1;
    }
    let count = |n: usize| u32::try_from(n).expect("ids are u32");
    let nodes = count(search.tree().len());
    CoreFigures {
        pairs,
        nodes,
        edges: count(search.tree().edge_count()),
        bytes_per_node: (search.heap_bytes() as u64).div_ceil(u64::from(nodes)),
    }
}

struct Oracle(Seed);

impl Oracle {
    /// A cheap, well-mixed number (the finaliser of splitmix64, Steele et al. 2014).
    fn number(&mut self) -> u64 {
        self.0.0 = self.0.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn answer(&mut self, request: Request) -> Outcome {
        let cost = Cost::default();
        match request {
            Request::Propose { width, .. } => Outcome::Proposed(Proposed {
                candidates: (0..width.get()).map(|i| self.candidate(i)).collect(),
                cost,
            }),
            Request::Step { edge } => Outcome::Stepped(Stepped::State {
                digest: Digest::of(edge.0.to_le_bytes()),
                terminal: false,
                cost,
            }),
            // The strategy measured is best-first.
            Request::Compare { .. } => Outcome::Compared(Compared {
                preference: None,
                cost,
            }),
            Request::Judge { .. } => Outcome::Scored(Scored {
                value: Some(self.unit()),
                cost,
            }),
        }
    }

    /// Five actions on five different elements.
    fn candidate(&mut self, i: u8) -> Candidate {
        let element = self.number() % 80 * 5 + u64::from(i);
        let action = if i == 4 {
            let word = format!("word {}", self.number() % 64);
            Action::new("fill", json!({ "ref": element.to_string(), "text": word }))
        } else {
            Action::new("click", json!({ "ref": element.to_string() }))
        };
        Candidate {
            action,
            prior: UnitF32::saturating(0.2),
            thought: None,
        }
    }

    /// Below 1, so that nothing is ever solved.
    fn unit(&mut self) -> UnitF32 {
        let fraction = u16::try_from(self.number() % 60_000).expect("below 2^16");
        UnitF32::saturating(f32::from(fraction) / 65_536.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workload_has_the_size_it_claims_and_stays_compact() {
        let figures = measure(5_000);
        assert_eq!(figures.nodes, 5_000);
        // Each state but the root is stepped into and judged; all but the last are expanded.
        assert_eq!(figures.pairs, 3 * 4_999);
        assert_eq!(figures.edges, 5 * 4_999);
        assert!(figures.bytes_per_node <= 400, "{figures:?}");
        assert_eq!(measure(5_000), figures);
    }
}
