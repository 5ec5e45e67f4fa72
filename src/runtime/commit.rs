//! The commit: the best path, executed once and for good in a fresh environment.
//!
//! Every step must lead where it led during the search, and may send only the writes that it sent, or
//! wanted to send, then. Where it does otherwise, the commit stops, the record says at which step, and
//! the run is unscored: a path that cannot be repeated proves nothing about the task.
//!
//! A write that the search held is sent here for the first time, so where it leads is news. If that is
//! not the end, the search goes on from there, and the next commit in this very environment: what was
//! sent is never sent again.

use crate::context::{Cx, Interrupted};
use crate::env::{ActError, Environment, ObserveError, OpenError, SnapshotError};
use crate::eval::{Check, CheckOutcome, CheckResult, Evidence, Verdict, evaluate};
use crate::record::{EventKind, RecordError, Recorder};
use crate::types::{Action, Digest, EdgeId, Effect, Observation, Seed, Snapshot, Step};

use super::driver::keep_screenshot;
use super::job::{Failure, FailurePart, Job, Progress};
use super::view::{rendered_target, sent_writes};
use super::{lane, order};

/// What to execute.
pub(super) struct Plan<'a> {
    pub(super) job: &'a Job,
    pub(super) env_seed: Seed,
    /// Digest of the state it begins in.
    pub(super) start: Digest,
    pub(super) steps: Vec<PlannedStep>,
}

/// One action of the path.
pub(super) struct PlannedStep {
    pub(super) edge: EdgeId,
    /// Without secrets.
    pub(super) shown: Action,
    pub(super) action: Action,
    /// Where it led during the search; `None` if it was held.
    pub(super) expected: Option<Digest>,
    /// The state that it led to.
    pub(super) led_to: Snapshot,
    /// What it is done to, as rendered in the search.
    pub(super) target: Option<String>,
    /// The writes it sent, or wanted to send, in the search: those and no others may leave.
    pub(super) writes: Vec<Effect>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Committed {
    /// The evaluator's, if it came to that.
    evaluated: Option<Verdict>,
    pub(super) answer: Option<String>,
    /// Why there is no evaluation.
    pub(super) uncommitted: Option<String>,
    /// Actions executed, without secrets.
    pub(super) actions: Vec<Action>,
    pub(super) writes: u32,
    /// The same in words, with their steps.
    sent: Vec<String>,
    pub(super) interrupted: bool,
    pub(super) failure: Option<Failure>,
    /// Where the write that the last step sent led, unless that is the end: the next root.
    pub(super) news: Option<(Observation, Snapshot)>,
}

impl Committed {
    /// No commit took place.
    pub(super) fn not(reason: String) -> Self {
        Self {
            uncommitted: Some(reason),
            ..Self::default()
        }
    }

    /// The evaluator's verdict, or an unscored one that gives the reason under every check.
    pub(super) fn verdict(&self, checks: &[Check]) -> Verdict {
        if let Some(verdict) = &self.evaluated {
            return verdict.clone();
        }
        let reason = self.uncommitted.clone().unwrap_or_default();
        let unscored = |name: String| CheckResult {
            name,
            result: CheckOutcome::Unscored {
                reason: reason.clone(),
            },
        };
        let mut results: Vec<CheckResult> =
            checks.iter().map(|check| unscored(check.name())).collect();
        if results.is_empty() {
            results.push(unscored("commit".to_owned()));
        }
        Verdict::of(results)
    }

    fn broke(&mut self, reason: String, cancelled: bool) {
        if cancelled {
            self.interrupted = true;
            self.uncommitted = Some("the commit was interrupted".to_owned());
        } else {
            self.failure = Some(Failure {
                part: FailurePart::Environment,
                reason: reason.clone(),
            });
            self.uncommitted = Some(reason);
        }
    }
}

/// Executes the plan in `env`, which is opened if this is the run's first commit. It stays open, to be
/// judged or for the next round: whoever holds it closes it.
pub(super) async fn commit(
    plan: &Plan<'_>,
    env: &mut Option<lane::Lane>,
    recorder: &mut Recorder,
    say: &mut (dyn FnMut(&Progress) + Send),
    cx: &Cx,
) -> Result<Committed, RecordError> {
    let mut out = Committed::default();
    let job = plan.job;
    let env = match env {
        Some(env) => env,
        none @ None => {
            // Nothing has been done yet, so opening may be tried again; nothing after it is.
            let limits = &job.limits.calls;
            let (world, seed, purpose) = (&job.world, plan.env_seed, lane::Purpose::Commit);
            match lane::open(world, purpose, seed, job.retries, limits, cx).await {
                Ok(opened) => none.insert(opened),
                Err(error) => {
                    let cancelled = matches!(error, OpenError::Interrupted(Interrupted::Cancelled));
                    let reason = format!("no environment could be opened for the commit: {error}");
                    out.broke(reason, cancelled);
                    return Ok(out);
                }
            }
        }
    };
    walk(plan, &mut **env, recorder, say, &mut out, cx).await?;
    if let Some(reason) = &mut out.uncommitted
        && !out.sent.is_empty()
    {
        let sent = recorder.redactor().clean(out.sent.join(", "));
        reason.push_str(&format!("; what was sent stays: {sent}"));
    }
    Ok(out)
}

/// Asks the evaluators about the state that the commits led to.
pub(super) async fn judge(
    job: &Job,
    evidence: Evidence<'_>,
    env: &mut dyn Environment,
    out: &mut Committed,
    cx: &Cx,
) {
    let verdict = evaluate(&job.checks, evidence, env, cx).await;
    if cx.is_cancelled() {
        out.broke(String::new(), true);
    } else {
        out.evaluated = Some(verdict);
    }
}

async fn walk(
    plan: &Plan<'_>,
    env: &mut dyn Environment,
    recorder: &mut Recorder,
    say: &mut (dyn FnMut(&Progress) + Send),
    out: &mut Committed,
    cx: &Cx,
) -> Result<(), RecordError> {
    let limits = &plan.job.limits.calls;
    let start = match order::observe(env, limits, cx).await {
        Ok(observation) => observation,
        Err(error) => {
            let cancelled = matches!(error, ObserveError::Interrupted(Interrupted::Cancelled));
            out.broke(
                format!("the start state could not be observed for the commit: {error}"),
                cancelled,
            );
            return Ok(());
        }
    };
    let mut here = start;
    let start = here.digest;
    if start != plan.start {
        let reason = format!(
            "the commit started in another state ({} instead of {})",
            start.short(),
            plan.start.short()
        );
        recorder.append(&EventKind::CommitDiverged {
            index: None,
            action: None,
            expected: Some(plan.start),
            got: Some(start),
            reason: reason.clone(),
        })?;
        out.uncommitted = Some(reason);
        return Ok(());
    }
    recorder.append(&EventKind::CommitStarted {
        path: plan.steps.iter().map(|step| step.edge).collect(),
    })?;
    let of = plan.steps.len();
    for (position, planned) in plan.steps.iter().enumerate() {
        let number = position + 1;
        let action = planned.shown.to_string();
        say(&Progress::Committing {
            step: number,
            of,
            action: action.clone(),
        });
        let diverged = |reason: String, got: Option<Digest>| EventKind::CommitDiverged {
            index: Some(index(position)),
            action: Some(planned.shown.clone()),
            expected: planned.expected,
            got,
            reason,
        };
        let at = format!("step {number} of the commit, {action}");
        // Equal digests say that the states are equal, not that references are: a commit must not
        // act on another element than the search did.
        let target = rendered_target(&here, planned.action.target());
        if target != planned.target {
            let name = |target: Option<String>| target.unwrap_or_else(|| "nothing".to_owned());
            let (now, then) = (name(target), name(planned.target.clone()));
            let reason = format!("{at}, would act on {now} instead of {then}");
            recorder.append(&diverged(reason.clone(), Some(here.digest)))?;
            out.uncommitted = Some(reason);
            return Ok(());
        }
        let step = match order::release(env, &planned.action, &planned.writes, limits, cx).await {
            Ok(step) => step,
            Err(error) => {
                let cancelled = matches!(error, ActError::Interrupted(Interrupted::Cancelled));
                let mut reason = format!("{at}: the environment failed: {error}");
                // Nobody knows how far it came.
                if let Some(write) = planned.writes.first() {
                    let may = format!("; {} {} may have been carried out", write.method, write.url);
                    reason.push_str(&may);
                }
                recorder.append(&diverged(reason.clone(), None))?;
                out.broke(reason, cancelled);
                return Ok(());
            }
        };
        match &step {
            Step::Done { answer, .. } => {
                out.actions.push(planned.shown.clone());
                let sent = sent_writes(&step);
                out.writes += u32::try_from(sent.len()).unwrap_or(u32::MAX);
                let request = |e: &Effect| format!("step {number} sent {} {}", e.method, e.url);
                out.sent.extend(sent.iter().map(request));
                if answer.is_some() {
                    out.answer.clone_from(answer);
                }
            }
            Step::Rejected(rejection) => {
                let reason = format!("{at}, was rejected: {rejection}");
                recorder.append(&diverged(reason.clone(), None))?;
                out.uncommitted = Some(reason);
                return Ok(());
            }
            Step::Held { effects } => {
                let write = effects.first().map_or_else(
                    || "a write".to_owned(),
                    |effect| format!("{} {}", effect.method, effect.url),
                );
                let reason = format!(
                    "{at}, would send {write}, which it did not in the search; it was held"
                );
                recorder.append(&diverged(reason.clone(), None))?;
                out.uncommitted = Some(reason);
                return Ok(());
            }
        }
        let mut observation = match order::observe(env, limits, cx).await {
            Ok(observation) => observation,
            Err(error) => {
                let cancelled = matches!(error, ObserveError::Interrupted(Interrupted::Cancelled));
                let reason = format!("{at}: its result could not be observed: {error}");
                recorder.append(&diverged(reason.clone(), None))?;
                out.broke(reason, cancelled);
                return Ok(());
            }
        };
        let digest = observation.digest;
        let screenshot = keep_screenshot(recorder, &mut observation)?;
        let event = EventKind::CommitStep {
            index: index(position),
            action: planned.shown.clone(),
            step,
            digest,
            expected: planned.expected,
            observation: recorder.json(&observation)?,
            screenshot,
        };
        recorder.append(&event)?;
        if let Some(expected) = planned.expected.filter(|expected| *expected != digest) {
            let mut reason = format!(
                "{at}, led to another state ({} instead of {})",
                digest.short(),
                expected.short()
            );
            if let Some(difference) = env.difference(&planned.led_to) {
                reason.push_str(&format!(": {difference}"));
            }
            recorder.append(&diverged(reason.clone(), Some(digest)))?;
            out.uncommitted = Some(reason);
            return Ok(());
        }
        if planned.expected.is_none() && !observation.terminal {
            match order::snapshot(env, limits, cx).await {
                Ok(snapshot) if snapshot.digest == digest => {
                    out.news = Some((observation.clone(), snapshot));
                }
                // It goes on changing by itself: it can be judged, and is no point to come back to.
                Ok(_) => {}
                Err(error) => {
                    let cancelled =
                        matches!(error, SnapshotError::Interrupted(Interrupted::Cancelled));
                    let reason = format!("{at}: no snapshot of its result: {error}");
                    out.broke(reason, cancelled);
                    return Ok(());
                }
            }
        }
        here = observation;
    }
    Ok(())
}

fn index(position: usize) -> u32 {
    u32::try_from(position).expect("a path is no longer than the search is deep")
}
