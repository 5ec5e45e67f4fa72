//! Reading what an environment answers.

use branchline::types::{Effect, Observation, Rejection, Step};

/// The reference of the interactive element of that name.
pub(crate) fn reference(observation: &Observation, name: &str) -> String {
    observation
        .elements
        .iter()
        .find(|e| e.interactive && e.name == name)
        .unwrap_or_else(|| panic!("no element named {name:?} in:\n{}", observation.text))
        .r#ref
        .clone()
}

pub(crate) fn done(step: &Step) -> bool {
    matches!(step, Step::Done { .. })
}

pub(crate) fn rejected(step: Step) -> Rejection {
    match step {
        Step::Rejected(rejection) => rejection,
        other => panic!("expected a rejection, got {other:?}"),
    }
}

pub(crate) fn held(step: Step) -> Vec<Effect> {
    match step {
        Step::Held { effects } => effects,
        other => panic!("expected a held write, got {other:?}"),
    }
}
