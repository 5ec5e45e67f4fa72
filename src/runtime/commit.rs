//! The commit: the best path, executed once and for good in a fresh environment, and judged there.
//!
//! Every step must lead where it led during the search. Where it does not, the commit stops, the
//! record says at which step, and the run is unscored: a path that cannot be repeated proves
//! nothing about the task.

use crate::context::{Cx, Interrupted};
use crate::env::{ActError, Environment, ObserveError, OpenError};
use crate::eval::{Check, CheckOutcome, CheckResult, Verdict, evaluate};
use crate::record::{EventKind, RecordError, Recorder};
use crate::types::{Action, Digest, EdgeId, Seed, Step};

use super::driver::keep_screenshot;
use super::job::{Failure, FailurePart, Job, Progress};
use super::view::{rendered_target, sent_writes};
use super::{lane, order};

/// What to execute.
pub(super) struct Plan<'a> {
    pub(super) job: &'a Job,
    pub(super) env_seed: Seed,
    /// Digest of the start state.
    pub(super) start: Digest,
    pub(super) steps: Vec<PlannedStep>,
}

/// One action of the path.
pub(super) struct PlannedStep {
    pub(super) edge: EdgeId,
    /// Without secrets.
    pub(super) shown: Action,
    pub(super) action: Action,
    /// Where it led during the search.
    pub(super) expected: Digest,
    /// What it is done to, as rendered in the search.
    pub(super) target: Option<String>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Committed {
    /// The evaluator's, if it came to that.
    evaluated: Option<Verdict>,
    pub(super) answer: Option<String>,
    /// Why there is no evaluation.
    pub(super) uncommitted: Option<String>,
    /// Actions executed.
    pub(super) actions: u32,
    pub(super) writes: u32,
    pub(super) interrupted: bool,
    pub(super) failure: Option<Failure>,
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

/// Executes the plan and judges the result. The environment is closed on every way out.
pub(super) async fn commit(
    plan: &Plan<'_>,
    recorder: &mut Recorder,
    say: &mut (dyn FnMut(&Progress) + Send),
    cx: &Cx,
) -> Result<Committed, RecordError> {
    let mut out = Committed::default();
    let job = plan.job;
    let limits = &job.limits.calls;
    // Nothing has been done yet, so opening may be tried again; nothing after it is.
    let mut env = match lane::open(&job.world, plan.env_seed, job.retries, limits, cx).await {
        Ok(env) => env,
        Err(error) => {
            let cancelled = matches!(error, OpenError::Interrupted(Interrupted::Cancelled));
            out.broke(
                format!("no environment could be opened for the commit: {error}"),
                cancelled,
            );
            return Ok(out);
        }
    };
    let walked = walk(plan, &mut *env, recorder, say, &mut out, cx).await;
    if walked.is_ok() && out.uncommitted.is_none() {
        let verdict = evaluate(&job.checks, out.answer.as_deref(), &mut *env, cx).await;
        if cx.is_cancelled() {
            out.broke(String::new(), true);
        } else {
            out.evaluated = Some(verdict);
        }
    }
    if let Err(text) = lane::close(env, limits).await {
        tracing::warn!("{text}");
    }
    walked.map(|()| out)
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
            expected: plan.start,
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
        let step = match order::act(env, &planned.action, limits, cx).await {
            Ok(step) => step,
            Err(error) => {
                let cancelled = matches!(error, ActError::Interrupted(Interrupted::Cancelled));
                let reason = format!("{at}: the environment failed: {error}");
                recorder.append(&diverged(reason.clone(), None))?;
                out.broke(reason, cancelled);
                return Ok(());
            }
        };
        match &step {
            Step::Done { answer, .. } => {
                out.actions += 1;
                out.writes += u32::try_from(sent_writes(&step).len()).unwrap_or(u32::MAX);
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
            Step::Held { .. } => {
                let reason = format!("{at}, would write and was held");
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
        if digest != planned.expected {
            let reason = format!(
                "{at}, led to another state ({} instead of {})",
                digest.short(),
                planned.expected.short()
            );
            recorder.append(&diverged(reason.clone(), Some(digest)))?;
            out.uncommitted = Some(reason);
            return Ok(());
        }
        here = observation;
    }
    Ok(())
}

fn index(position: usize) -> u32 {
    u32::try_from(position).expect("a path is no longer than the search is deep")
}
