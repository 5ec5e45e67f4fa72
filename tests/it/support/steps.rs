//! Driving an environment by the names of elements, and reading what it answers.

use branchline::context::Cx;
use branchline::env::Environment;
use branchline::types::{Action, Effect, Observation, Rejection, Step};
use serde_json::{Value, json};

/// A test's fixture that holds an environment: what it observes and does, where a fault fails the test.
pub(crate) trait Hands {
    /// The environment, and what its calls are given.
    fn hands(&mut self) -> (&mut dyn Environment, &Cx);

    async fn observe(&mut self) -> Observation {
        let (env, cx) = self.hands();
        env.observe(cx).await.unwrap()
    }

    async fn act(&mut self, name: &str, arguments: Value) -> Step {
        let (env, cx) = self.hands();
        env.act(&Action::new(name, arguments), cx).await.unwrap()
    }

    /// Acts on the element with this name.
    async fn on(&mut self, action: &str, name: &str, more: Value) -> Step {
        let reference = reference(&self.observe().await, name);
        let mut arguments = more;
        arguments["ref"] = json!(reference);
        self.act(action, arguments).await
    }

    async fn click(&mut self, name: &str) -> Step {
        self.on("click", name, json!({})).await
    }
}

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
