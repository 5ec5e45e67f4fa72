//! Outcomes in few words, and a driver that carries requests out one by one. For unit tests.

use super::{
    Ask, Compared, Outcome, Proposed, Request, Scored, Search, Start, Stepped, StopReason, Tree,
};
use crate::types::{Action, Candidate, Cost, Digest, Preference, Rejection, UnitF32};

pub(super) fn start(name: &str) -> Start {
    Start {
        digest: Digest::of(name),
        terminal: false,
    }
}

pub(super) fn terminal_start(name: &str) -> Start {
    Start {
        terminal: true,
        ..start(name)
    }
}

/// Candidates by action name and prior.
pub(super) fn propose(candidates: &[(&str, f32)]) -> Outcome {
    let candidate = |(name, prior): &(&str, f32)| Candidate {
        action: Action::new(name, serde_json::Value::Null),
        prior: UnitF32::new(*prior).unwrap(),
        thought: None,
    };
    Outcome::Proposed(Proposed {
        candidates: candidates.iter().map(candidate).collect(),
        cost: Cost::default(),
    })
}

/// Candidates with equal priors.
pub(super) fn fan(names: &[&str]) -> Outcome {
    propose(&names.iter().map(|name| (*name, 0.1)).collect::<Vec<_>>())
}

pub(super) fn state(name: &str) -> Outcome {
    Outcome::Stepped(Stepped::State {
        digest: Digest::of(name),
        terminal: false,
        cost: Cost::default(),
    })
}

pub(super) fn terminal(name: &str) -> Outcome {
    Outcome::Stepped(Stepped::State {
        digest: Digest::of(name),
        terminal: true,
        cost: Cost::default(),
    })
}

pub(super) fn rejected() -> Outcome {
    Outcome::Stepped(Stepped::Rejected {
        rejection: Rejection::new("no such element".to_owned()),
        cost: Cost::default(),
    })
}

pub(super) fn held() -> Outcome {
    Outcome::Stepped(Stepped::Held {
        digest: Digest::of("held"),
        effects: Vec::new(),
        cost: Cost::default(),
    })
}

pub(super) fn lost() -> Outcome {
    Outcome::Stepped(Stepped::Lost {
        reason: "no way leads back".to_owned(),
        cost: Cost::default(),
    })
}

pub(super) fn score(value: f32) -> Outcome {
    Outcome::Scored(Scored {
        value: Some(UnitF32::new(value).unwrap()),
        cost: Cost::default(),
    })
}

pub(super) fn abstained() -> Outcome {
    Outcome::Scored(Scored {
        value: None,
        cost: Cost::default(),
    })
}

pub(super) fn prefer(preference: Option<Preference>) -> Outcome {
    Outcome::Compared(Compared {
        preference,
        cost: Cost::default(),
    })
}

pub(super) fn failed() -> Outcome {
    Outcome::Failed {
        reason: "the page crashed".to_owned(),
        cost: Cost::default(),
    }
}

/// A search that ran to its end.
pub(super) struct Run {
    pub(super) search: Search,
    pub(super) reason: StopReason,
    /// What was asked: `propose n0`, `step <action>`, `judge n1`.
    pub(super) log: Vec<String>,
}

/// Carries out a search; what is given out together is told in order.
pub(super) fn run(mut search: Search, mut answer: impl FnMut(&Tree, Request) -> Outcome) -> Run {
    let mut log = Vec::new();
    let mut waiting = std::collections::VecDeque::new();
    loop {
        match search.ask() {
            Ask::Start { ticket, request } => {
                log.push(match request {
                    Request::Propose { node, .. } => format!("propose {node}"),
                    Request::Step { edge } => {
                        format!("step {}", search.tree().edge(edge).action().name)
                    }
                    Request::Judge { node } => format!("judge {node}"),
                    Request::Compare { first, second } => format!("compare {first} {second}"),
                });
                waiting.push_back((ticket, request));
            }
            Ask::Wait => {
                let (ticket, request) = waiting.pop_front().expect("something to wait for");
                let outcome = answer(search.tree(), request);
                search.tell(ticket, outcome).unwrap();
            }
            Ask::Stop { reason } => {
                assert!(search.tree().is_settled());
                assert_eq!(search.in_flight(), 0);
                return Run {
                    search,
                    reason,
                    log,
                };
            }
        }
    }
}
