//! What every world and environment must do, whatever it is made of.
//!
//! [`conforms`] is run on every implementation, with a [`Script`] that says which actions to use
//! there. It asserts contracts, not figures.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::time::Duration;

use branchline::context::{Cx, Interrupted};
use branchline::env::sim::SimWorld;
use branchline::env::{Environment, Fault, ObserveError, World};
use branchline::types::{Action, Observation, Query, Restored, Rung, Seed, Snapshot, Step};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Which actions to use in a world.
pub(crate) struct Script {
    /// Possible in the start state; changes it.
    pub(crate) first: Action,
    /// Possible after `first`; changes the state again.
    pub(crate) second: Action,
    /// Refused in the start state, and changes nothing.
    pub(crate) refused: Action,
    /// Ends the episode in the start state, with the answer `42`.
    pub(crate) last: Action,
}

const SEED: Seed = Seed(11);

/// Runs the whole suite on a world that can hold two instances at a time.
pub(crate) async fn conforms(world: &dyn World, script: &Script) {
    let cx = Cx::default();
    specs_are_usable(world, &cx).await;
    equal_states_have_equal_digests(world, &cx).await;
    refusals_change_nothing(world, script, &cx).await;
    restores_are_exact(world, script, &cx).await;
    snapshots_serve_other_instances(world, script, &cx).await;
    cut_off_actions_are_survived(world, script, &cx).await;
    a_terminal_action_ends_the_episode(world, script, &cx).await;
    cancellation_is_an_error(world).await;
}

async fn open(world: &dyn World, cx: &Cx) -> Box<dyn Environment> {
    world.open(SEED, cx).await.unwrap()
}

async fn look(env: &mut dyn Environment, cx: &Cx) -> Observation {
    env.observe(cx).await.unwrap()
}

/// Acts, which must succeed, and observes.
async fn go(env: &mut dyn Environment, action: &Action, cx: &Cx) -> Observation {
    let step = env.act(action, cx).await.unwrap();
    assert!(matches!(step, Step::Done { .. }), "{action}: {step:?}");
    look(env, cx).await
}

async fn mark(env: &mut dyn Environment, seen: &Observation, cx: &Cx) -> Snapshot {
    let snapshot = env.snapshot(cx).await.unwrap();
    assert_eq!(
        snapshot.digest, seen.digest,
        "a snapshot is of what was observed"
    );
    assert!(env.is_at(&snapshot), "the snapshot was just taken");
    // The log keeps it.
    let text = serde_json::to_string(&snapshot).unwrap();
    assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), snapshot);
    snapshot
}

/// Restores, and checks that the state is the one that was observed then, references included.
async fn back(env: &mut dyn Environment, to: &Snapshot, then: &Observation, cx: &Cx) -> Restored {
    let restored = env.restore(to, cx).await.unwrap();
    assert!(env.is_at(to), "it was just restored");
    let now = look(env, cx).await;
    assert_eq!(now.digest, to.digest);
    assert_eq!(now.elements, then.elements);
    assert_eq!((now.url, now.title), (then.url.clone(), then.title.clone()));
    restored
}

async fn specs_are_usable(world: &dyn World, cx: &Cx) {
    assert!(world.concurrency().get() >= 2, "the suite needs two");
    let env = open(world, cx).await;
    let specs = env.actions();
    let names: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    assert_eq!(names.len(), specs.len(), "names are unique");
    for spec in specs {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        assert!(
            spec.name.len() <= 64 && spec.name.chars().all(allowed),
            "{}",
            spec.name
        );
        assert!(!spec.description.is_empty(), "{}", spec.name);
        assert_eq!(spec.parameters["type"], json!("object"), "{}", spec.name);
    }
    assert!(
        specs.iter().any(|spec| spec.terminal),
        "an episode can be ended"
    );
    env.close(cx).await.unwrap();
}

async fn equal_states_have_equal_digests(world: &dyn World, cx: &Cx) {
    let mut one = open(world, cx).await;
    let mut two = open(world, cx).await;
    let first = look(&mut *one, cx).await;
    let again = look(&mut *one, cx).await;
    let other = look(&mut *two, cx).await;
    assert_eq!(first.digest, again.digest, "observed twice");
    assert_eq!(first.digest, other.digest, "opened twice with one seed");
    assert_eq!(first.elements, other.elements);
    assert!(!first.terminal);
    one.close(cx).await.unwrap();
    two.close(cx).await.unwrap();
}

async fn refusals_change_nothing(world: &dyn World, script: &Script, cx: &Cx) {
    let mut env = open(world, cx).await;
    let before = look(&mut *env, cx).await;
    let unknown = Action::new("no_such_action", json!({}));
    for action in [&script.refused, &unknown] {
        match env.act(action, cx).await.unwrap() {
            Step::Rejected(rejection) => assert!(!rejection.reason.is_empty()),
            other => panic!("{action} should be rejected: {other:?}"),
        }
        assert_eq!(look(&mut *env, cx).await.digest, before.digest, "{action}");
    }
    env.close(cx).await.unwrap();
}

async fn restores_are_exact(world: &dyn World, script: &Script, cx: &Cx) {
    let mut env = open(world, cx).await;
    let at_start = look(&mut *env, cx).await;
    let start = mark(&mut *env, &at_start, cx).await;
    let restored = back(&mut *env, &start, &at_start, cx).await;
    assert_eq!(restored.rung, Rung::Live, "nothing was done since");

    let at_first = go(&mut *env, &script.first, cx).await;
    assert_ne!(at_first.digest, at_start.digest, "the script says so");
    assert!(!env.is_at(&start));
    let first = mark(&mut *env, &at_first, cx).await;

    let at_second = go(&mut *env, &script.second, cx).await;
    assert_ne!(at_second.digest, at_first.digest, "the script says so");
    let second = mark(&mut *env, &at_second, cx).await;

    back(&mut *env, &first, &at_first, cx).await;
    let again = go(&mut *env, &script.second, cx).await;
    assert_eq!(
        again.digest, at_second.digest,
        "the same action from the same state"
    );
    back(&mut *env, &start, &at_start, cx).await;
    back(&mut *env, &second, &at_second, cx).await;
    env.close(cx).await.unwrap();
}

async fn snapshots_serve_other_instances(world: &dyn World, script: &Script, cx: &Cx) {
    let mut one = open(world, cx).await;
    let mut two = open(world, cx).await;
    look(&mut *one, cx).await;
    let at_first = go(&mut *one, &script.first, cx).await;
    let first = mark(&mut *one, &at_first, cx).await;
    assert!(!two.is_at(&first));
    back(&mut *two, &first, &at_first, cx).await;
    go(&mut *two, &script.second, cx).await;
    // What one instance does is not seen by another.
    assert_eq!(look(&mut *one, cx).await.digest, first.digest);
    one.close(cx).await.unwrap();
    two.close(cx).await.unwrap();
}

async fn cut_off_actions_are_survived(world: &dyn World, script: &Script, cx: &Cx) {
    let mut env = open(world, cx).await;
    let at_start = look(&mut *env, cx).await;
    let start = mark(&mut *env, &at_start, cx).await;
    // Polled once and dropped, unless it was done at once.
    tokio::time::timeout(Duration::ZERO, env.act(&script.first, cx))
        .await
        .ok();
    match env.restore(&start, cx).await {
        Ok(_) => assert_eq!(look(&mut *env, cx).await.digest, at_start.digest),
        Err(error) => assert_eq!(error.fault(), Fault::InstanceLost, "{error}"),
    }
    env.close(cx).await.ok();
}

async fn a_terminal_action_ends_the_episode(world: &dyn World, script: &Script, cx: &Cx) {
    let mut env = open(world, cx).await;
    look(&mut *env, cx).await;
    match env.act(&script.last, cx).await.unwrap() {
        Step::Done { answer, .. } => assert_eq!(answer.as_deref(), Some("42")),
        other => panic!("{}: {other:?}", script.last),
    }
    assert!(look(&mut *env, cx).await.terminal);
    assert!(matches!(
        env.query(&Query::Url, cx).await.unwrap(),
        Value::String(_)
    ));
    env.close(cx).await.unwrap();
}

async fn cancellation_is_an_error(world: &dyn World) {
    let token = CancellationToken::new();
    let cx = Cx::new(token.clone());
    let mut env = open(world, &cx).await;
    token.cancel();
    assert!(matches!(
        env.observe(&cx).await,
        Err(ObserveError::Interrupted(Interrupted::Cancelled))
    ));
    env.close(&Cx::default()).await.unwrap();
    assert!(world.open(SEED, &cx).await.is_err());
}

#[tokio::test]
async fn sim_conforms() {
    let world = SimWorld::builder("home")
        .page("home", "welcome", &["shop", "about"])
        .page("shop", "things", &["home", "cart"])
        .build();
    let script = Script {
        first: Action::new("goto", json!({ "to": "shop" })),
        second: Action::new("add", json!({ "counter": "cart" })),
        refused: Action::new("goto", json!({ "to": "cart" })),
        last: Action::new("stop", json!({ "answer": "42" })),
    };
    conforms(&world, &script).await;
    let stats = world.stats();
    assert_eq!((stats.alive, stats.closed), (0, stats.opened));
}
