//! Whole runs in the simulated world: searching, recovering, stopping, committing, replaying.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::fs;
use std::num::{NonZeroU8, NonZeroUsize};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use branchline::context::Cx;
use branchline::critic::{Critic, JudgeError, Judgement};
use branchline::env::sim::{SimBuilder, SimCall, SimFault, SimGate, SimWhen, SimWorld};
use branchline::env::tools::environment::ToolWorld;
use branchline::eval::{AnswerTest, Check, CheckOutcome, Outcome as Verdicted};
use branchline::llm::ChatError;
use branchline::policy::{Policy, Proposal, ProposeError};
use branchline::record::{
    Detail, EventKind, ReadError, Reader, RecordError, Recorder, Redactor, Replay, ReplayError,
    RunManifest, replay,
};
use branchline::runtime::{
    FailurePart, Job, Progress, RunError, RunLimits, RunReport, StepFigures, run,
};
use branchline::search::{
    Budget, Order, Outcome, Request, Search, SearchConfig, StopReason, StrategyKind,
};
use branchline::types::{
    Action, Candidate, Cost, Digest, Exchange, Rung, Seed, Sibling, SiblingOutcome, UnitF32, View,
    Writes,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::record::{FullDisk, files_with};

type Propose = dyn Fn(&View<'_>) -> Result<Vec<Action>, ProposeError> + Send + Sync;
type Judge = dyn Fn(&View<'_>) -> Result<Option<f32>, JudgeError> + Send + Sync;

struct ScriptedPolicy(Box<Propose>);
struct ScriptedCritic(Box<Judge>);

#[async_trait]
impl Policy for ScriptedPolicy {
    fn name(&self) -> &'static str {
        "scripted"
    }

    async fn propose(
        &self,
        view: &View<'_>,
        width: NonZeroU8,
        _cx: &Cx,
    ) -> Result<Proposal, ProposeError> {
        let actions = (self.0)(view)?;
        Ok(Proposal {
            candidates: actions
                .into_iter()
                .take(usize::from(width.get()))
                .map(|action| Candidate {
                    action,
                    prior: UnitF32::saturating(0.2),
                    thought: None,
                })
                .collect(),
            ..Proposal::default()
        })
    }
}

#[async_trait]
impl Critic for ScriptedCritic {
    fn name(&self) -> &'static str {
        "scripted"
    }

    async fn judge(&self, view: &View<'_>, _cx: &Cx) -> Result<Judgement, JudgeError> {
        Ok(Judgement {
            value: (self.0)(view)?.map(UnitF32::saturating),
            spread: None,
            samples: 1,
            unreadable: 0,
            rationale: view.observation.title.clone(),
            cost: Cost::default(),
            exchanges: Vec::new(),
        })
    }
}

fn goto(page: &str) -> Action {
    Action::new("goto", json!({ "to": page }))
}

fn stop(answer: &str) -> Action {
    Action::new("stop", json!({ "answer": answer }))
}

/// Follows every link; on a page without links it stops and answers the page's name.
fn follow(view: &View<'_>) -> Vec<Action> {
    let links = &view.observation.elements;
    if links.is_empty() {
        return vec![stop(&view.observation.title)];
    }
    links.iter().map(|link| goto(&link.name)).collect()
}

/// Prefers branch `b`, and knows the goal when it is answered.
fn value(view: &View<'_>) -> f32 {
    match (view.answer, view.observation.title.as_str()) {
        (Some("b2"), _) => 1.0,
        (Some(_), _) => 0.1,
        (None, title) if title.starts_with('b') => 0.8,
        (None, _) => 0.5,
    }
}

/// Three branches of two leaves.
fn pages() -> SimBuilder {
    SimWorld::builder("start")
        .goal("reach b2 and say so")
        .page("start", "", &["a", "b", "c"])
        .page("a", "", &["a1", "a2"])
        .page("b", "", &["b1", "b2"])
        .page("c", "", &["c1", "c2"])
}

fn job(world: &SimWorld) -> Job {
    Job {
        goal: None,
        search: SearchConfig {
            strategy: StrategyKind::BestFirst,
            branching: NonZeroU8::new(3).unwrap(),
            depth: 4,
            budget: Budget {
                steps: Some(40),
                ..Budget::default()
            },
            in_flight: NonZeroU8::new(4).unwrap(),
            ..SearchConfig::default()
        },
        policy: Arc::new(ScriptedPolicy(Box::new(|view| Ok(follow(view))))),
        critic: Arc::new(ScriptedCritic(Box::new(|view| Ok(Some(value(view)))))),
        world: Arc::new(world.clone()),
        workers: NonZeroUsize::new(4).unwrap(),
        checks: vec![Check::Answer(AnswerTest::Exact("b2".to_owned()))],
        limits: RunLimits::default(),
        seed: Seed(5),
        retries: 2,
        dry_run: false,
    }
}

/// A job of tools for one worker, which takes every fault as it comes and has to answer `done`.
pub(crate) fn tool_job(
    goal: &str,
    world: ToolWorld,
    search: SearchConfig,
    policy: Arc<dyn Policy>,
    critic: Arc<dyn Critic>,
) -> Job {
    Job {
        goal: Some(goal.to_owned()),
        search,
        policy,
        critic,
        world: Arc::new(world),
        workers: NonZeroUsize::MIN,
        checks: vec![Check::Answer(AnswerTest::Exact("done".to_owned()))],
        limits: RunLimits::default(),
        seed: Seed(5),
        retries: 0,
        dry_run: false,
    }
}

pub(crate) fn policy(
    propose: impl Fn(&View<'_>) -> Vec<Action> + Send + Sync + 'static,
) -> Arc<dyn Policy> {
    Arc::new(ScriptedPolicy(Box::new(move |view| Ok(propose(view)))))
}

pub(crate) fn critic(
    judge: impl Fn(&View<'_>) -> Option<f32> + Send + Sync + 'static,
) -> Arc<dyn Critic> {
    Arc::new(ScriptedCritic(Box::new(move |view| Ok(judge(view)))))
}

fn manifest(job: &Job) -> RunManifest {
    RunManifest {
        task: "sim".to_owned(),
        search: job.search,
        seed: job.seed,
        ..RunManifest::default()
    }
}

/// A run and what it left.
pub(crate) struct Ran {
    _runs: tempfile::TempDir,
    pub(crate) report: RunReport,
    replay: Replay,
    events: Vec<EventKind>,
}

/// Runs, and holds the log against the report: it is complete and rebuilds the same tree.
async fn ran(job: Job, watch: &mut (dyn FnMut(&Progress, &Search) + Send), cx: &Cx) -> Ran {
    ran_with(job, Redactor::default(), watch, cx).await
}

async fn ran_with(
    job: Job,
    redactor: Redactor,
    watch: &mut (dyn FnMut(&Progress, &Search) + Send),
    cx: &Cx,
) -> Ran {
    let runs = tempfile::tempdir().unwrap();
    let recorder = Recorder::create(runs.path(), &manifest(&job), redactor).unwrap();
    let running: Pin<Box<dyn Future<Output = _> + Send + '_>> =
        Box::pin(run(job, recorder, watch, cx));
    let report = running.await.unwrap();
    let replay = replay(&report.dir).unwrap();
    assert!(replay.complete);
    assert_eq!(replay.ended, Some(report.reason));
    assert!(replay.torn.is_none() && replay.missing.is_empty());
    let search = replay.search.as_ref().unwrap();
    assert_eq!(search.tree().digest(), report.tree_digest);
    assert_eq!(search.best(), report.best);
    let mut spent = search.spent();
    for earlier in &replay.earlier {
        spent += earlier.spent();
    }
    assert_eq!(spent, report.spent);
    assert_eq!(search.in_flight(), 0);
    let events = Reader::open(&report.dir)
        .unwrap()
        .map(|event| event.unwrap().kind)
        .collect();
    Ran {
        _runs: runs,
        report,
        replay,
        events,
    }
}

pub(crate) async fn quiet(job: Job) -> Ran {
    ran(job, &mut |_, _| {}, &Cx::default()).await
}

fn assert_closed(world: &SimWorld) {
    let stats = world.stats();
    assert_eq!((stats.alive, stats.closed), (0, stats.opened), "{stats:?}");
}

fn uncommitted(ran: &Ran) -> &str {
    assert_eq!(ran.report.verdict.outcome, Verdicted::Unscored);
    for check in &ran.report.verdict.checks {
        let reason = ran.report.uncommitted.clone().unwrap();
        assert_eq!(check.result, CheckOutcome::Unscored { reason });
    }
    ran.report.uncommitted.as_deref().unwrap()
}

/// Every reason of a failed order, in the order of the log.
fn failures(ran: &Ran) -> Vec<&str> {
    let reason = |event| match event {
        &EventKind::Told {
            outcome: Outcome::Failed { ref reason, .. },
            ..
        } => Some(reason.as_str()),
        _ => None,
    };
    ran.events.iter().filter_map(reason).collect()
}

#[tokio::test]
async fn a_run_searches_commits_and_is_judged() {
    let world = pages().build();
    let mut committing = Vec::new();
    let mut landed = 1;
    let ran = ran(
        job(&world),
        &mut |news, search| match news {
            Progress::Landed { nodes, .. } => {
                landed += nodes.len();
                assert_eq!(landed, search.tree().len());
            }
            Progress::Committing { step, of, action } => {
                committing.push(format!("{step}/{of} {action}"));
            }
            _ => {}
        },
        &Cx::default(),
    )
    .await;
    let report = &ran.report;
    assert_eq!(report.verdict.outcome, Verdicted::Solved);
    assert_eq!(report.reason, StopReason::Solved);
    assert_eq!(report.answer.as_deref(), Some("b2"));
    assert_eq!(report.goal, "reach b2 and say so");
    assert_eq!((report.interrupted, &report.failure), (false, &None));
    let path: Vec<_> = report
        .path
        .iter()
        .map(|step| step.action.to_string())
        .collect();
    assert_eq!(
        path,
        [
            "goto(to: \"b\")",
            "goto(to: \"b2\")",
            "stop(answer: \"b2\")"
        ]
    );
    assert_eq!(report.steps.commit_actions, 3);
    assert_eq!(
        committing,
        [
            "1/3 goto(to: \"b\")",
            "2/3 goto(to: \"b2\")",
            "3/3 stop(answer: \"b2\")"
        ]
    );
    assert_eq!(ran.replay.events, ran.events.len() as u64);
    assert_closed(&world);
}

#[tokio::test]
async fn a_wrong_answer_is_not_solved() {
    let world = pages().build();
    let mut job = job(&world);
    job.critic = critic(|view| Some(if view.answer == Some("a1") { 1.0 } else { 0.5 }));
    let ran = quiet(job).await;
    assert_eq!(ran.report.verdict.outcome, Verdicted::NotSolved);
    assert_eq!(ran.report.answer.as_deref(), Some("a1"));
}

/// Holds the first of the root's three steps until the other two were told.
async fn reordered(order: Order, workers: usize) -> Ran {
    let world = pages().build();
    let gate = SimGate::default();
    world.fault(
        SimWhen::act("goto(to: \"a\")", 1),
        SimFault::Gate(gate.clone()),
    );
    let mut job = job(&world);
    job.search.order = order;
    job.workers = NonZeroUsize::new(workers).unwrap();
    let mut told = 0;
    let release = gate.release.clone();
    if workers == 1 {
        release.notify_one();
    }
    let ran = ran(
        job,
        &mut move |news, _| {
            if let Progress::Landed {
                request: Request::Step { .. },
                ..
            } = news
            {
                // The two steps beside the gated one.
                told += 1;
                if told == 2 {
                    release.notify_one();
                }
            }
        },
        &Cx::default(),
    )
    .await;
    assert_closed(&world);
    ran
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn by_ticket_the_tree_does_not_depend_on_the_workers() {
    let one = reordered(Order::Ticket, 1).await;
    let four = reordered(Order::Ticket, 4).await;
    assert_eq!(one.report.tree_digest, four.report.tree_digest);
    assert_eq!(one.report.path, four.report.path);
    let order = arrivals(&four);
    assert!(!order.is_sorted(), "the gate reordered the arrivals");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn by_arrival_the_log_still_rebuilds_the_tree() {
    let ran = reordered(Order::Arrival, 4).await;
    assert_eq!(ran.report.verdict.outcome, Verdicted::Solved);
}

#[tokio::test]
async fn ctrl_c_leaves_a_complete_log() {
    let world = pages().build();
    let gate = SimGate::default();
    world.fault(
        SimWhen::act("goto(to: \"b\")", 1),
        SimFault::Gate(gate.clone()),
    );
    let mut job = job(&world);
    job.workers = NonZeroUsize::new(1).unwrap();
    let token = CancellationToken::new();
    let cx = Cx::new(token.clone());
    let presser = tokio::spawn(async move {
        gate.entered.notified().await;
        token.cancel();
    });
    let ran = ran(job, &mut |_, _| {}, &cx).await;
    presser.await.unwrap();
    assert!(ran.report.interrupted);
    assert_eq!(ran.report.reason, StopReason::Interrupted);
    assert_eq!(uncommitted(&ran), "the run was interrupted");
    // The gated step, and the one that waited for its lane.
    assert_eq!(failures(&ran), ["interrupted", "interrupted"]);
    assert_eq!(ran.report.steps.commit_actions, 0);
    assert_closed(&world);
}

#[tokio::test]
async fn ctrl_c_before_the_start_ends_at_once() {
    let world = pages().build();
    let gate = SimGate::default();
    world.fault(
        SimWhen::call(SimCall::Open, 1),
        SimFault::Gate(gate.clone()),
    );
    let token = CancellationToken::new();
    let cx = Cx::new(token.clone());
    let presser = tokio::spawn(async move {
        gate.entered.notified().await;
        token.cancel();
    });
    let (error, events) = failed(job(&world), &cx).await;
    presser.await.unwrap();
    assert!(matches!(error, RunError::Interrupted));
    assert!(matches!(
        &events[..],
        [EventKind::RunStarted { .. }, EventKind::RunEnded { outcome, .. }]
            if outcome == "interrupted"
    ));
    assert_closed(&world);
}

#[tokio::test]
async fn ctrl_c_in_the_commit_leaves_it_unscored() {
    let world = pages().build();
    let gate = SimGate::default();
    // The second time it is executed, it is for good.
    world.fault(
        SimWhen::act("goto(to: \"b2\")", 2),
        SimFault::Gate(gate.clone()),
    );
    let token = CancellationToken::new();
    let cx = Cx::new(token.clone());
    let presser = tokio::spawn(async move {
        gate.entered.notified().await;
        token.cancel();
    });
    let ran = ran(job(&world), &mut |_, _| {}, &cx).await;
    presser.await.unwrap();
    assert!(ran.report.interrupted);
    assert_eq!(ran.report.reason, StopReason::Solved);
    assert_eq!(uncommitted(&ran), "the commit was interrupted");
    assert_eq!(ran.report.steps.commit_actions, 1);
    assert_closed(&world);
}

#[tokio::test]
async fn time_is_a_logged_stop_and_the_best_is_committed() {
    let world = pages().build();
    let mut job = job(&world);
    job.limits.wall = Some(Duration::ZERO);
    let ran = quiet(job).await;
    assert_eq!(ran.report.reason, StopReason::Time);
    assert!(!ran.report.interrupted);
    let stopping = |event: &&EventKind| matches!(event, EventKind::Stopping { .. });
    assert_eq!(ran.events.iter().filter(stopping).count(), 1);
    // Nothing was done: the checks say so about the start state.
    assert_eq!(ran.report.verdict.outcome, Verdicted::NotSolved);
    assert_closed(&world);
}

#[tokio::test]
async fn an_environment_that_dies_is_replaced() {
    let world = pages().build();
    for call in [
        SimCall::Act,
        SimCall::Observe,
        SimCall::Restore,
        SimCall::Snapshot,
    ] {
        let crash = SimFault::Crash(format!("gone in {call:?}"));
        world.fault(SimWhen::call(call, 3), crash);
    }
    let undisturbed = quiet(self::job(&pages().build())).await;
    let mut job = job(&world);
    // Whichever orders they hit, one can take them all.
    job.retries = 4;
    let ran = quiet(job).await;
    assert_eq!(ran.report.verdict.outcome, Verdicted::Solved);
    assert_eq!(ran.report.tree_digest, undisturbed.report.tree_digest);
    assert_eq!(ran.report.steps.retried, 4);
    assert_eq!(failures(&ran), Vec::<&str>::new());
    assert_closed(&world);
}

#[tokio::test]
async fn errors_hangs_and_divergences_are_tried_again() {
    let world = pages().build();
    world.fault(
        SimWhen::act("goto(to: \"a\")", 1),
        SimFault::Error("hiccup".to_owned()),
    );
    world.fault(
        SimWhen::act("goto(to: \"b\")", 1),
        SimFault::Gate(SimGate::default()),
    );
    world.fault(SimWhen::call(SimCall::Restore, 5), SimFault::Drift);
    world.fault(
        SimWhen::call(SimCall::Open, 2),
        SimFault::Error("no port".to_owned()),
    );
    let mut job = job(&world);
    job.limits.calls.act = Duration::from_millis(100);
    job.retries = 4;
    let undisturbed = quiet(self::job(&pages().build())).await;
    let ran = quiet(job).await;
    assert_eq!(ran.report.verdict.outcome, Verdicted::Solved);
    assert_eq!(ran.report.tree_digest, undisturbed.report.tree_digest);
    assert_eq!(ran.report.steps.retried, 4);
    assert_closed(&world);
}

#[tokio::test]
async fn a_step_that_keeps_failing_makes_no_state_and_no_score() {
    let world = pages().build();
    for nth in 1..=3 {
        world.fault(
            SimWhen::act("goto(to: \"b\")", nth),
            SimFault::Error("broken".to_owned()),
        );
    }
    let ran = quiet(job(&world)).await;
    assert_eq!(failures(&ran), ["failed to act: broken"]);
    assert_eq!(ran.report.steps.failed, 1);
    assert_eq!(ran.report.failure, None);
    let search = ran.replay.search.as_ref().unwrap();
    assert!(search.tree().nodes().all(|node| {
        let path = search.tree().path(node);
        path.iter()
            .all(|&edge| search.tree().edge(edge).action() != goto("b"))
    }));
    assert_closed(&world);
}

#[tokio::test]
async fn an_environment_that_stays_away_ends_the_run() {
    let world = pages().build();
    for nth in 2..60 {
        world.fault(
            SimWhen::call(SimCall::Open, nth),
            SimFault::Error("no memory".to_owned()),
        );
    }
    world.fault(
        SimWhen::call(SimCall::Restore, 1),
        SimFault::Crash("killed".to_owned()),
    );
    let ran = quiet(job(&world)).await;
    assert_eq!(ran.report.reason, StopReason::Failed);
    let failure = ran.report.failure.clone().unwrap();
    assert_eq!(failure.part, FailurePart::Environment);
    assert_eq!(
        failure.reason,
        "3 orders in a row found no environment; the last: failed to open the environment: no \
         memory"
    );
    assert_eq!(uncommitted(&ran), failure.reason);
    assert_closed(&world);
}

#[tokio::test]
async fn a_refused_key_ends_the_run_without_a_score() {
    let world = pages().build();
    let mut job = job(&world);
    job.critic = Arc::new(ScriptedCritic(Box::new(|view| {
        if view.path.is_empty() {
            return Ok(Some(0.5));
        }
        Err(JudgeError::Model(ChatError::Status {
            status: 401,
            tries: 1,
            body: "bad key".to_owned(),
        }))
    })));
    let ran = quiet(job).await;
    assert_eq!(ran.report.reason, StopReason::Failed);
    let failure = ran.report.failure.clone().unwrap();
    assert_eq!(failure.part, FailurePart::Provider);
    assert_eq!(
        failure.reason,
        "the model endpoint answered 401 after 1 tries: bad key"
    );
    assert_eq!(uncommitted(&ran), failure.reason);
    let search = ran.replay.search.as_ref().unwrap();
    let scored = |node| search.tree().node(node).value().is_some();
    assert!(search.tree().nodes().skip(1).all(|node| !scored(node)));
    assert_closed(&world);
}

/// A critic that cannot be reached for the first `times` states below the root.
fn unreachable_critic(times: u32) -> Arc<dyn Critic> {
    let left = Mutex::new(times);
    Arc::new(ScriptedCritic(Box::new(move |view| {
        let mut left = left.lock().unwrap();
        if view.path.is_empty() || *left == 0 {
            return Ok(Some(value(view)));
        }
        *left -= 1;
        Err(JudgeError::Model(ChatError::Unreachable {
            url: "http://model".to_owned(),
            reason: "refused".to_owned(),
        }))
    })))
}

#[tokio::test]
async fn a_provider_that_fails_three_times_in_a_row_ends_the_run() {
    let world = pages().build();
    let mut job = job(&world);
    job.critic = unreachable_critic(u32::MAX);
    let ran = quiet(job).await;
    assert_eq!(ran.report.reason, StopReason::Failed);
    let failure = ran.report.failure.clone().unwrap();
    assert_eq!(failure.part, FailurePart::Provider);
    assert_eq!(
        failure.reason,
        "3 model orders in a row failed; the last: cannot reach the model at http://model: refused"
    );
    assert_eq!(uncommitted(&ran), failure.reason);
    let search = ran.replay.search.as_ref().unwrap();
    let scored = |node| search.tree().node(node).value().is_some();
    assert!(search.tree().nodes().skip(1).all(|node| !scored(node)));
    assert_closed(&world);
}

#[tokio::test]
async fn a_provider_that_fails_now_and_then_only_closes_states() {
    let world = pages().build();
    let mut job = job(&world);
    job.critic = unreachable_critic(1);
    let ran = quiet(job).await;
    assert_eq!(
        failures(&ran),
        ["cannot reach the model at http://model: refused"]
    );
    assert_eq!(ran.report.failure, None);
    assert_eq!(ran.report.verdict.outcome, Verdicted::Solved);
}

#[tokio::test]
async fn a_policy_without_a_usable_reply_closes_its_state_and_keeps_the_exchange() {
    let world = pages().build();
    let mut job = job(&world);
    let exchange = Exchange {
        request: json!({ "prompt": "what now?" }),
        reply: json!("let me think"),
        cost: Cost::default(),
    };
    let cost = Cost {
        model_calls: 2,
        input_tokens: 30,
        ..Cost::default()
    };
    let kept = exchange.clone();
    job.policy = Arc::new(ScriptedPolicy(Box::new(move |view| {
        if view.observation.title != "a" {
            return Ok(follow(view));
        }
        Err(ProposeError::Unusable {
            tries: 2,
            last: "prose".to_owned(),
            cost,
            exchanges: vec![kept.clone()],
        })
    })));
    job.critic = critic(|view| {
        let first = view.observation.title == "a";
        Some(if first { 0.9 } else { value(view) })
    });
    let ran = quiet(job).await;
    assert_eq!(
        failures(&ran),
        ["no usable action in 2 replies; the last: prose"]
    );
    assert_eq!(
        ran.report.spent.cost.input_tokens, 30,
        "what was spent counts"
    );
    let blobs: Vec<Exchange> = ran
        .events
        .iter()
        .filter_map(|event| match event {
            EventKind::Told {
                detail: Detail::Propose { exchanges, .. },
                ..
            } => Some(exchanges),
            _ => None,
        })
        .flatten()
        .map(|&blob| Reader::open(&ran.report.dir).unwrap().json(blob).unwrap())
        .collect();
    assert_eq!(blobs, [exchange]);
}

#[tokio::test]
async fn a_divergence_in_the_commit_is_named() {
    let world = pages().build();
    world.fault(SimWhen::act("goto(to: \"b2\")", 2), SimFault::Drift);
    let ran = quiet(job(&world)).await;
    assert_eq!(ran.report.reason, StopReason::Solved);
    let reason = uncommitted(&ran);
    assert!(
        reason.starts_with("step 2 of the commit, goto(to: \"b2\"), led to another state ("),
        "{reason}"
    );
    assert_eq!(ran.report.steps.commit_actions, 2);
    assert_eq!(ran.report.failure, None);
    let diverged = ran.events.iter().find_map(|event| match event {
        EventKind::CommitDiverged { index, action, .. } => Some((*index, action.clone())),
        _ => None,
    });
    assert_eq!(diverged, Some((Some(1), Some(goto("b2")))));
    assert_closed(&world);
}

#[tokio::test]
async fn refusals_and_crashes_stop_the_commit() {
    let cases = [
        (
            SimFault::Reject("not now".to_owned()),
            "step 1 of the commit, goto(to: \"b\"), was rejected: not now",
            false,
        ),
        (
            SimFault::Crash("oom".to_owned()),
            "step 1 of the commit, goto(to: \"b\"): the environment failed: the environment died: \
             oom",
            true,
        ),
    ];
    for (fault, reason, broke) in cases {
        let world = pages().build();
        world.fault(SimWhen::act("goto(to: \"b\")", 2), fault);
        let ran = quiet(job(&world)).await;
        assert_eq!(uncommitted(&ran), reason);
        assert_eq!(ran.report.failure.is_some(), broke);
        assert_closed(&world);
    }
}

#[tokio::test]
async fn a_server_that_remembers_makes_the_commit_diverge() {
    // Nothing undoes writes here: the search itself moved the start state.
    let world = SimWorld::builder("start").writes(Writes::Allow).build();
    let mut job = job(&world);
    job.goal = Some("write once".to_owned());
    job.policy = policy(|view| match view.path.len() {
        0 => vec![Action::new("write", json!({ "key": "order" }))],
        _ => vec![stop("done")],
    });
    job.search.strategy = StrategyKind::Greedy;
    let ran = quiet(job).await;
    let reason = uncommitted(&ran);
    assert!(
        reason.starts_with("the commit started in another state ("),
        "{reason}"
    );
    assert_closed(&world);
}

#[tokio::test]
async fn own_server_state_is_undone_between_branches() {
    let world = SimWorld::builder("start").writes(Writes::Session).build();
    let mut job = job(&world);
    job.goal = Some("write x once".to_owned());
    job.policy = policy(|view| match view.path.len() {
        0 => ["x", "y"]
            .map(|key| Action::new("write", json!({ "key": key })))
            .into(),
        _ => vec![stop("done")],
    });
    job.critic = critic(|view| {
        let wrote = |key: &str| view.observation.text.contains(&format!("server {key}: 1"));
        assert!(!(wrote("x") && wrote("y")), "branches are isolated");
        Some(if wrote("y") && view.answer.is_some() {
            1.0
        } else {
            0.5
        })
    });
    job.checks = vec![Check::Sql {
        statement: "all".to_owned(),
        equals: vec![vec![
            branchline::eval::Cell::Text("y".to_owned()),
            branchline::eval::Cell::Integer(1),
        ]],
    }];
    let ran = quiet(job).await;
    assert_eq!(ran.report.verdict.outcome, Verdicted::Solved);
    assert_closed(&world);
}

#[tokio::test]
async fn a_failing_record_ends_the_run_and_closes_its_lanes() {
    let whole = {
        let ran = quiet(job(&pages().build())).await;
        fs::metadata(ran.report.dir.join("events.jsonl"))
            .unwrap()
            .len()
    };
    for eighth in 1..8 {
        let room = usize::try_from(whole).unwrap() * eighth / 8;
        let world = pages().build();
        let job = job(&world);
        let runs = tempfile::tempdir().unwrap();
        let recorder =
            Recorder::create_with(runs.path(), &manifest(&job), Redactor::default(), |log| {
                Ok(Box::new(FullDisk {
                    file: fs::File::create(log)?,
                    room,
                }))
            })
            .unwrap();
        let dir = recorder.dir().to_owned();
        let error = run(job, recorder, &mut |_, _| {}, &Cx::default())
            .await
            .unwrap_err();
        let RunError::Record(RecordError::Append { safe, .. }) = error else {
            panic!("{error:?}");
        };
        let rebuilt = replay(&dir).unwrap();
        assert_eq!((rebuilt.events, rebuilt.complete), (safe, false));
        assert_closed(&world);
    }
}

#[tokio::test]
async fn a_directory_that_vanishes_is_a_record_error() {
    let world = pages().build();
    let job = job(&world);
    let runs = tempfile::tempdir().unwrap();
    let recorder = Recorder::create(runs.path(), &manifest(&job), Redactor::default()).unwrap();
    let blobs = recorder.dir().join("blobs");
    let mut landed = 0;
    let mut watch = |news: &Progress, _: &Search| {
        landed += usize::from(matches!(news, Progress::Landed { .. }));
        if landed == 3 {
            fs::remove_dir_all(&blobs).ok();
            fs::write(&blobs, "in the way").unwrap();
        }
    };
    let error = run(job, recorder, &mut watch, &Cx::default())
        .await
        .unwrap_err();
    assert!(
        matches!(error, RunError::Record(RecordError::Blob { .. })),
        "{error:?}"
    );
    assert_closed(&world);
}

/// Runs to an error, and reads the log that it left.
async fn failed(job: Job, cx: &Cx) -> (RunError, Vec<EventKind>) {
    let runs = tempfile::tempdir().unwrap();
    let recorder = Recorder::create(runs.path(), &manifest(&job), Redactor::default()).unwrap();
    let dir = recorder.dir().to_owned();
    let error = run(job, recorder, &mut |_, _| {}, cx).await.unwrap_err();
    let events = Reader::open(&dir)
        .unwrap()
        .map(|event| event.unwrap().kind)
        .collect();
    (error, events)
}

#[tokio::test]
async fn a_world_that_does_not_open_is_an_error_and_logged() {
    let world = pages().build();
    for nth in 1..=3 {
        world.fault(
            SimWhen::call(SimCall::Open, nth),
            SimFault::Error("no browser".to_owned()),
        );
    }
    let (error, events) = failed(job(&world), &Cx::default()).await;
    assert_eq!(
        error.to_string(),
        "the environment did not start: no browser"
    );
    assert_eq!(
        events.last(),
        Some(&EventKind::RunEnded {
            outcome: "failed".to_owned(),
            reason: Some(error.to_string()),
            cost: Cost::default(),
        })
    );
    assert_eq!(world.stats().opened, 0);
}

#[tokio::test]
async fn a_run_without_a_goal_is_an_error() {
    let world = SimWorld::builder("start").build();
    let (error, _) = failed(job(&world), &Cx::default()).await;
    assert!(matches!(error, RunError::NoGoal));
    assert_closed(&world);
}

#[tokio::test]
async fn a_panic_in_a_worker_is_a_failed_order() {
    let world = pages().build();
    let mut job = job(&world);
    job.policy = policy(|view| {
        assert!(view.observation.title != "a", "a bug in a policy");
        follow(view)
    });
    job.critic = critic(|view| {
        Some(if view.observation.title == "a" {
            0.9
        } else {
            value(view)
        })
    });
    let ran = quiet(job).await;
    assert_eq!(failures(&ran), ["the worker panicked"]);
    assert_eq!(ran.report.verdict.outcome, Verdicted::Solved);
    assert_closed(&world);
}

#[tokio::test]
async fn a_world_for_one_is_never_asked_for_two() {
    let world = pages().concurrency(NonZeroUsize::MIN).build();
    let ran = quiet(job(&world)).await;
    assert_eq!(ran.report.verdict.outcome, Verdicted::Solved);
    assert_eq!(world.stats().most_alive, 1);
    assert_closed(&world);
}

#[tokio::test]
async fn a_single_path_never_leaves_its_live_lane() {
    let world = pages().build();
    let mut job = job(&world);
    job.search.strategy = StrategyKind::Greedy;
    let ran = quiet(job).await;
    let StepFigures { restores, .. } = &ran.report.steps;
    assert_eq!(restores.keys().collect::<Vec<_>>(), [&Rung::Live]);
    assert_eq!(world.stats().opened, 2, "one to search, one to commit");
}

/// Where a proposal was asked for, on which path, and what had been tried there.
type Seen = Vec<(String, Vec<String>, Vec<Sibling>)>;

#[tokio::test]
async fn views_hold_their_own_branch_and_what_was_tried() {
    let world = pages().build();
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let log = Arc::clone(&seen);
    let mut job = job(&world);
    job.search.strategy = StrategyKind::Greedy;
    job.search.branching = NonZeroU8::MIN;
    job.policy = policy(move |view| {
        let path = view
            .path
            .iter()
            .map(|step| step.action.to_string())
            .collect();
        log.lock()
            .unwrap()
            .push((view.observation.title.clone(), path, view.siblings.to_vec()));
        let tried = |action: &Action| view.siblings.iter().any(|s| s.action == *action);
        let all = [goto("nowhere"), goto("b"), stop("given up")];
        all.into_iter()
            .filter(|action| !tried(action))
            .take(1)
            .collect()
    });
    quiet(job).await;
    let seen = seen.lock().unwrap();
    for (title, path, siblings) in seen.iter() {
        match title.as_str() {
            "start" => assert_eq!(path, &Vec::<String>::new()),
            _ => assert_eq!(path, &["goto(to: \"b\")"]),
        }
        for sibling in siblings {
            match (sibling.action.name.as_str(), &sibling.outcome) {
                ("goto", SiblingOutcome::Rejected(rejection)) => {
                    let links: &[&str] = match title.as_str() {
                        "start" => &["a", "b", "c"],
                        _ => &["b1", "b2"],
                    };
                    assert_eq!(rejection.nearest, links);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(seen.iter().any(|(.., siblings)| !siblings.is_empty()));
}

#[tokio::test]
async fn secrets_are_used_and_not_kept() {
    let secret = "hunter2-in-the-clear";
    let world = SimWorld::builder("start").build();
    let mut job = job(&world);
    job.goal = Some(format!("count {secret}"));
    job.policy = policy(move |view| match view.path.len() {
        0 => vec![Action::new("add", json!({ "counter": secret }))],
        _ => vec![stop("done")],
    });
    job.critic = critic(move |view| {
        assert!(
            view.path
                .iter()
                .all(|step| !step.action.to_string().contains(secret))
        );
        Some(if view.answer.is_some() { 1.0 } else { 0.5 })
    });
    job.checks = vec![Check::Page {
        selector: None,
        test: branchline::eval::PageTest::Contains(format!("{secret}: 1")),
    }];
    let ran = ran_with(job, Redactor::new([secret]), &mut |_, _| {}, &Cx::default()).await;
    assert_eq!(ran.report.verdict.outcome, Verdicted::Solved);
    let path: Vec<_> = ran
        .report
        .path
        .iter()
        .map(|step| step.action.to_string())
        .collect();
    assert_eq!(
        path,
        ["add(counter: \"[redacted]\")", "stop(answer: \"done\")"]
    );
    assert_eq!(files_with(&ran.report.dir, secret), Vec::<String>::new());
}

/// The log of a whole run, cut after every line, replays up to there; a log with a changed outcome
/// does not pass for the run's.
#[tokio::test]
async fn a_log_replays_to_wherever_it_was_cut() {
    let ran = quiet(job(&pages().build())).await;
    let log = ran.report.dir.join("events.jsonl");
    let whole = fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    for count in 1..lines.len() {
        let half = &lines[count][..lines[count].len() / 2];
        fs::write(&log, lines[..count].concat() + half).unwrap();
        let rebuilt = replay(&ran.report.dir).unwrap();
        assert_eq!(rebuilt.events, count as u64);
        assert!(rebuilt.torn.is_some() && !rebuilt.complete);
    }

    let tampered = |from: &str, to: &str| {
        assert!(whole.contains(from), "{from}");
        fs::write(&log, whole.replacen(from, to, 1)).unwrap();
        replay(&ran.report.dir).unwrap_err()
    };
    let error = tampered("\"value\":0.8", "\"value\":0.01");
    let differs = matches!(
        error,
        ReplayError::AskDiffers { .. } | ReplayError::EndDiffers { .. }
    );
    assert!(differs, "{error}");
    let error = tampered("\"outcome\":\"scored\"", "\"outcome\":\"guessed\"");
    assert!(
        matches!(error, ReplayError::Read(ReadError::Line { .. })),
        "{error}"
    );
    let error = tampered("\"reason\":\"solved\"", "\"reason\":\"exhausted\"");
    assert!(matches!(error, ReplayError::EndDiffers { .. }), "{error}");

    fs::write(&log, &whole).unwrap();
    remove_one_blob(&ran.report.dir);
    assert_eq!(replay(&ran.report.dir).unwrap().missing.len(), 1);
}

fn remove_one_blob(dir: &Path) {
    let folder = fs::read_dir(dir.join("blobs"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let blob = fs::read_dir(folder.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    fs::remove_file(blob.path()).unwrap();
}

// ---------------------------------------------------------------- held writes, rounds

/// A shop of two offers, either of which can be ordered; the order leads to a page with a way on.
fn offers() -> SimBuilder {
    SimWorld::builder("shop")
        .goal("order the good one and say so")
        .page("shop", "", &["bad", "good"])
        .page("bad", "", &[])
        .page("good", "", &[])
}

/// Orders where it can be ordered, and says so once an order was sent.
fn order(view: &View<'_>) -> Vec<Action> {
    let page = view.observation.title.as_str();
    let sent = view.observation.text.contains("server order-");
    match page {
        "shop" => vec![goto("bad"), goto("good")],
        _ if sent => vec![stop("done")],
        page => vec![Action::new(
            "write",
            json!({ "key": format!("order-{page}") }),
        )],
    }
}

/// Knows the good order when it waits and when it was sent.
fn good_order(view: &View<'_>) -> f32 {
    let good = view.observation.title == "good";
    match (view.waiting, good, view.answer) {
        ([], true, Some(_)) => 1.0,
        ([], true, None) => 0.6,
        ([], false, _) => 0.5,
        ([write, ..], good, _) => {
            assert!(write.held && write.url.contains("order-"));
            if good { 0.9 } else { 0.1 }
        }
    }
}

fn ordering(world: &SimWorld) -> Job {
    Job {
        policy: policy(order),
        critic: critic(|view| Some(good_order(view))),
        checks: vec![
            Check::Answer(AnswerTest::Exact("done".to_owned())),
            Check::Page {
                selector: None,
                test: branchline::eval::PageTest::Contains("server order-good: 1".to_owned()),
            },
        ],
        ..job(world)
    }
}

#[tokio::test]
async fn a_held_write_is_sent_once_by_the_commit_and_the_search_goes_on_behind_it() {
    let world = offers().build();
    let mut rounds = Vec::new();
    let ran = ran(
        ordering(&world),
        &mut |news, search| {
            if let Progress::Round { round } = news {
                rounds.push((*round, search.tree().len()));
            }
        },
        &Cx::default(),
    )
    .await;
    let report = &ran.report;
    assert_eq!(report.verdict.outcome, Verdicted::Solved, "{report:?}");
    assert_eq!((report.rounds, rounds), (2, vec![(1, 1)]));
    let path: Vec<_> = report
        .path
        .iter()
        .map(|step| step.action.to_string())
        .collect();
    let all = [
        "goto(to: \"good\")",
        "write(key: \"order-good\")",
        "stop(answer: \"done\")",
    ];
    assert_eq!(path, all);
    // Both orders were tried, none was sent before the commit, and the commit sent one.
    let figures = &report.steps;
    assert_eq!((figures.held, figures.writes), (2, 0));
    assert_eq!((figures.commit_writes, figures.commit_actions), (1, 3));
    // The log holds both trees, and what the second one might spend.
    assert_eq!(ran.replay.rounds(), 2);
    let first = &ran.replay.earlier[0];
    let left = ran.replay.search.as_ref().unwrap().config().budget;
    assert_eq!(left.steps, Some(40 - first.spent().steps));
    let best = first.tree().node(first.best().unwrap());
    assert!(best.held());
    let commits = ran.events.iter().filter_map(|event| match event {
        EventKind::CommitStep { expected, .. } => Some(expected.is_some()),
        _ => None,
    });
    assert_eq!(commits.collect::<Vec<_>>(), [true, false, true]);
    assert_closed(&world);
}

#[tokio::test]
async fn greedy_commits_the_first_write_it_meets() {
    let world = offers().build();
    let mut job = ordering(&world);
    job.search.strategy = StrategyKind::Greedy;
    let ran = quiet(job).await;
    assert_eq!(ran.report.verdict.outcome, Verdicted::NotSolved);
    assert_eq!(ran.report.steps.commit_writes, 1);
    assert_eq!(ran.report.path[0].action, goto("bad"));
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_sent_and_sends_nothing() {
    let world = offers().build();
    let mut job = ordering(&world);
    job.dry_run = true;
    let ran = quiet(job).await;
    assert_eq!(uncommitted(&ran), "a dry run: nothing was committed");
    let sent: Vec<_> = ran
        .report
        .would_send
        .iter()
        .map(|write| format!("{} {}", write.method, write.url))
        .collect();
    assert_eq!(sent, ["POST sim://site/good/order-good"]);
    assert_eq!(ran.report.steps.commit_actions, 0);
    assert_eq!(ran.report.rounds, 1);
    assert_closed(&world);
}

#[tokio::test]
async fn a_write_that_is_no_progress_is_not_committed() {
    let world = offers().build();
    let mut job = ordering(&world);
    job.critic = critic(|view| Some(if view.waiting.is_empty() { 0.5 } else { 0.4 }));
    let ran = quiet(job).await;
    assert_eq!(ran.report.steps.held, 2);
    assert_eq!(ran.report.steps.commit_writes, 0);
    assert_eq!(ran.report.verdict.outcome, Verdicted::NotSolved);
}

#[tokio::test]
async fn a_spent_budget_ends_the_run_after_the_commit() {
    let world = offers().build();
    let mut job = ordering(&world);
    job.search.budget.steps = Some(4);
    let ran = quiet(job).await;
    // Two ways, two orders: nothing is left for a second round, and the answer is missing.
    assert_eq!((ran.report.rounds, ran.report.spent.steps), (1, 4));
    assert_eq!(ran.report.steps.commit_writes, 1);
    assert_eq!(ran.report.verdict.outcome, Verdicted::NotSolved);
}

#[tokio::test]
async fn a_commit_sends_no_write_that_the_search_did_not_see() {
    let world = offers().writes(Writes::Checkpoint).build();
    let mut job = ordering(&world);
    world.fault(
        SimWhen::act("write(key: \"order-good\")", 2),
        SimFault::OtherWrite,
    );
    job.critic = critic(|view| {
        let ordered = view.observation.text.contains("server order-good");
        Some(match (ordered, view.answer) {
            (true, Some(_)) => 1.0,
            (true, None) => 0.8,
            _ if view.observation.title == "good" => 0.6,
            _ => 0.2,
        })
    });
    let ran = quiet(job).await;
    let reason = uncommitted(&ran);
    let all = "step 2 of the commit, write(key: \"order-good\"), would send POST \
               sim://site/good/order-good-elsewhere, which it did not in the search; it was held";
    assert_eq!(reason, all);
    assert_eq!(ran.report.steps.commit_writes, 0);
}

// --- the order of landing ---------------------------------------------------------------------

/// A policy or critic that answers late: after as many turns of the scheduler as its dice say. No
/// clock is read, so a seed always gives the same order of arrivals.
struct Late<T: ?Sized> {
    dice: Mutex<ChaCha8Rng>,
    inner: Arc<T>,
}

impl<T: ?Sized> Late<T> {
    fn new(inner: Arc<T>, seed: u64) -> Arc<Self> {
        let dice = Mutex::new(ChaCha8Rng::seed_from_u64(seed));
        Arc::new(Self { dice, inner })
    }

    async fn dawdle(&self) {
        let turns = self.dice.lock().unwrap().next_u32() % 200;
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl Policy for Late<dyn Policy> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn propose(
        &self,
        view: &View<'_>,
        width: NonZeroU8,
        cx: &Cx,
    ) -> Result<Proposal, ProposeError> {
        self.dawdle().await;
        self.inner.propose(view, width, cx).await
    }
}

#[async_trait]
impl Critic for Late<dyn Critic> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn judge(&self, view: &View<'_>, cx: &Cx) -> Result<Judgement, JudgeError> {
        self.dawdle().await;
        self.inner.judge(view, cx).await
    }
}

/// A search over four levels of three pages each, valued by their names' digests.
async fn late(order: Order, strategy: StrategyKind, seed: u64) -> Ran {
    let mut world = SimWorld::builder("p").goal("look around");
    let mut level = vec!["p".to_owned()];
    for _ in 0..4 {
        let mut next = Vec::new();
        for page in level {
            let links = ["a", "b", "c"].map(|link| format!("{page}{link}"));
            world = world.page(&page, "", &links.each_ref().map(String::as_str));
            next.extend(links);
        }
        level = next;
    }
    let world = world.build();
    let value = |view: &View<'_>| {
        let byte = Digest::of(view.observation.title.as_bytes())
            .to_string()
            .into_bytes()[0];
        Some(f32::from(byte) / 256.0)
    };
    let mut job = job(&world);
    job.search.order = order;
    job.search.strategy = strategy;
    job.checks = Vec::new();
    job.policy = Late::new(job.policy, seed);
    job.critic = Late::new(critic(value), seed + 1000);
    let ran = quiet(job).await;
    assert_closed(&world);
    ran
}

fn arrivals(ran: &Ran) -> Vec<u64> {
    let ticket = |event: &EventKind| match event {
        EventKind::Told { ticket, .. } => Some(ticket.0),
        _ => None,
    };
    ran.events.iter().filter_map(ticket).collect()
}

#[tokio::test]
async fn by_ticket_the_tree_does_not_depend_on_how_long_models_take() {
    for strategy in [StrategyKind::BestFirst, StrategyKind::BestOfN] {
        let first = late(Order::Ticket, strategy, 0).await;
        let mut orders = BTreeSet::from([arrivals(&first)]);
        let mut trees = BTreeSet::new();
        for seed in 1..12 {
            let ran = late(Order::Ticket, strategy, seed).await;
            assert_eq!(ran.report.tree_digest, first.report.tree_digest, "{seed}");
            assert_eq!(ran.report.path, first.report.path, "{seed}");
            orders.insert(arrivals(&ran));
            let ran = late(Order::Arrival, strategy, seed).await;
            trees.insert(ran.report.tree_digest);
        }
        // The latencies did change what came when, and it matters where nothing puts it in order.
        assert!(orders.len() > 5, "{strategy:?}: {} orders", orders.len());
        assert!(trees.len() > 1, "{strategy:?}: one tree by arrival, too");
    }
}
