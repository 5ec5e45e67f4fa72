//! What workers do: one function per kind of order. They own what they work on and move it back.

use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::context::{Cx, Interrupted};
use crate::critic::{Comparison, Critic, JudgeError, Judgement};
use crate::env::{
    ActError, Environment, Fault, ObserveError, OpenError, RestoreError, SnapshotError, World,
};
use crate::policy::{Policy, Proposal, ProposeError};
use crate::types::{
    Action, ActionSpec, Effect, Miss, Observation, Rejection, Restored, Seed, Snapshot, Step,
};

use super::job::Limits;
use super::lane::{self, Purpose, Slot};
use super::view::OwnedView;

/// A finished order.
pub(super) enum Done {
    Propose(Result<Proposal, ProposeError>, u64),
    Judge(Result<Judgement, JudgeError>, u64),
    Compare(Result<Comparison, JudgeError>, u64),
    Step(Box<StepDone>),
}

/// An action to be executed in a state.
pub(super) struct StepOrder {
    pub(super) action: Action,
    pub(super) parent: Snapshot,
    /// What can be done in the parent state.
    pub(super) actions: Arc<[ActionSpec]>,
    pub(super) world: Arc<dyn World>,
    pub(super) seed: Seed,
    pub(super) retries: u8,
    pub(super) limits: Limits,
}

/// A finished step.
pub(super) struct StepDone {
    /// The place, with the lane in it if it is still good.
    pub(super) slot: Slot,
    pub(super) end: StepEnd,
    /// Restores that succeeded, failed attempts' included.
    pub(super) restores: Vec<Restored>,
    /// Actions executed, replayed ones and failed attempts' included.
    pub(super) actions: u32,
    /// Attempts that failed, each with the reason.
    pub(super) faults: Vec<String>,
    pub(super) wall_ms: u64,
}

/// What became of a step.
pub(super) enum StepEnd {
    Reached {
        step: Step,
        answer: Option<String>,
        observation: Box<Observation>,
        snapshot: Snapshot,
        /// What can be done there: the parent's own list where that is the same.
        actions: Arc<[ActionSpec]>,
    },
    Rejected(Rejection),
    Held(Vec<Effect>),
    /// No way leads back to the state that it starts from.
    Lost {
        reason: String,
        misses: Vec<Miss>,
    },
    /// It failed for good. `down`: because the environment is not there.
    Failed {
        reason: String,
        down: bool,
    },
    /// The run is being stopped.
    Cancelled,
}

/// Why an attempt failed.
struct Fall {
    reason: String,
    fault: Fault,
    cancelled: bool,
    down: bool,
    /// The state cannot be reached again: the ways that were tried.
    lost: Option<Vec<Miss>>,
}

macro_rules! falls {
    ($($error:ident while $doing:literal),* $(,)?) => {$(
        impl From<$error> for Fall {
            fn from(error: $error) -> Self {
                Self {
                    reason: format!(concat!("failed to ", $doing, ": {}"), error),
                    fault: error.fault(),
                    cancelled: matches!(error, $error::Interrupted(Interrupted::Cancelled)),
                    down: matches!(error, $error::Lost(_) | $error::Interrupted(_)),
                    lost: None,
                }
            }
        }
    )*};
}

falls!(
    OpenError while "open the environment",
    ActError while "act",
    ObserveError while "observe",
    SnapshotError while "take a snapshot",
);

impl From<RestoreError> for Fall {
    fn from(error: RestoreError) -> Self {
        let fault = match &error {
            // A state that is not there will not be there at the next try.
            RestoreError::Exhausted { misses } if !misses.iter().any(|m| m.reason.may_pass()) => {
                Fault::Fatal
            }
            _ => error.fault(),
        };
        Self {
            reason: format!("failed to restore the state: {error}"),
            fault,
            cancelled: matches!(error, RestoreError::Interrupted(Interrupted::Cancelled)),
            down: matches!(error, RestoreError::Lost(_) | RestoreError::Interrupted(_)),
            lost: error.is_lost().then(|| match error {
                RestoreError::Exhausted { misses } => misses,
                _ => Vec::new(),
            }),
        }
    }
}

/// Executes an action in its parent state. A fault of the environment is tried again, on another
/// lane if this one is lost.
pub(super) async fn step(order: StepOrder, mut slot: Slot, cx: Cx) -> StepDone {
    let begun = Instant::now();
    let mut restores = Vec::new();
    let mut actions = 0;
    let mut faults = Vec::new();
    let end = loop {
        let mut lane = match slot.0.take() {
            Some(lane) => lane,
            // Its own retries are ours: one count for the whole order.
            None => match lane::open(
                &order.world,
                Purpose::Search,
                order.seed,
                0,
                &order.limits,
                &cx,
            )
            .await
            {
                Ok(lane) => lane,
                Err(error) => {
                    let mut fall = Fall::from(error);
                    fall.down = true;
                    match settle(fall, &mut faults, order.retries) {
                        Some(end) => break end,
                        None => continue,
                    }
                }
            },
        };
        match attempt(&order, &mut *lane, &mut restores, &mut actions, &cx).await {
            Ok(end) => {
                slot.0 = Some(lane);
                break end;
            }
            Err(fall) => {
                // A lane that failed twice in one order is not trusted again; one that is being
                // cancelled is closed by the driver with the rest.
                let good = fall.cancelled || (fall.fault == Fault::Retryable && faults.is_empty());
                if good {
                    slot.0 = Some(lane);
                } else if let Err(reason) = lane::close(lane, &order.limits).await {
                    tracing::warn!(reason);
                }
                if let Some(end) = settle(fall, &mut faults, order.retries) {
                    break end;
                }
            }
        }
    };
    StepDone {
        slot,
        end,
        restores,
        actions,
        faults,
        wall_ms: elapsed_ms(begun),
    }
}

/// What a failed attempt means: the end of the order, or `None` for another attempt.
fn settle(fall: Fall, faults: &mut Vec<String>, retries: u8) -> Option<StepEnd> {
    if fall.cancelled {
        return Some(StepEnd::Cancelled);
    }
    if fall.fault == Fault::Fatal || faults.len() >= usize::from(retries) {
        if let Some(misses) = fall.lost {
            return Some(StepEnd::Lost {
                reason: fall.reason,
                misses,
            });
        }
        return Some(StepEnd::Failed {
            reason: fall.reason,
            down: fall.down,
        });
    }
    faults.push(fall.reason);
    None
}

async fn attempt(
    order: &StepOrder,
    lane: &mut dyn Environment,
    restores: &mut Vec<Restored>,
    actions: &mut u32,
    cx: &Cx,
) -> Result<StepEnd, Fall> {
    let limits = &order.limits;
    let done = restore(lane, &order.parent, limits, cx).await?;
    *actions += done.actions;
    restores.push(done);
    let step = act(lane, &order.action, limits, cx).await?;
    let answer = match &step {
        Step::Rejected(rejection) => return Ok(StepEnd::Rejected(rejection.clone())),
        Step::Held { effects } => {
            *actions += 1;
            return Ok(StepEnd::Held(effects.clone()));
        }
        Step::Done { answer, .. } => answer.clone(),
    };
    *actions += 1;
    let (observation, snapshot) = look(lane, limits, cx).await?;
    // In one world a name always means the same action.
    let here = lane.actions().iter().map(|spec| &spec.name);
    let actions = if here.eq(order.actions.iter().map(|spec| &spec.name)) {
        Arc::clone(&order.actions)
    } else {
        lane.actions().into()
    };
    Ok(StepEnd::Reached {
        step,
        answer,
        observation: Box::new(observation),
        snapshot,
        actions,
    })
}

async fn restore(
    lane: &mut dyn Environment,
    to: &Snapshot,
    limits: &Limits,
    cx: &Cx,
) -> Result<Restored, RestoreError> {
    let within = cx.within(limits.restore);
    cx.bounded(limits.restore, lane.restore(to, &within))
        .await?
}

/// One action, within its limit.
pub(super) async fn act(
    lane: &mut dyn Environment,
    action: &Action,
    limits: &Limits,
    cx: &Cx,
) -> Result<Step, ActError> {
    let within = cx.within(limits.act);
    cx.bounded(limits.act, lane.act(action, &within)).await?
}

/// One action for good, within its limit.
pub(super) async fn release(
    lane: &mut dyn Environment,
    action: &Action,
    allowed: &[Effect],
    limits: &Limits,
    cx: &Cx,
) -> Result<Step, ActError> {
    let within = cx.within(limits.act);
    cx.bounded(limits.act, lane.release(action, allowed, &within))
        .await?
}

/// One snapshot, within its limit.
pub(super) async fn snapshot(
    lane: &mut dyn Environment,
    limits: &Limits,
    cx: &Cx,
) -> Result<Snapshot, SnapshotError> {
    let within = cx.within(limits.observe);
    cx.bounded(limits.observe, lane.snapshot(&within)).await?
}

/// One observation, within its limit.
pub(super) async fn observe(
    lane: &mut dyn Environment,
    limits: &Limits,
    cx: &Cx,
) -> Result<Observation, ObserveError> {
    let within = cx.within(limits.observe);
    cx.bounded(limits.observe, lane.observe(&within)).await?
}

async fn look(
    lane: &mut dyn Environment,
    limits: &Limits,
    cx: &Cx,
) -> Result<(Observation, Snapshot), Fall> {
    let observation = observe(lane, limits, cx).await?;
    let snapshot = snapshot(lane, limits, cx).await?;
    if snapshot.digest != observation.digest {
        // Not an environment's error type, but as good as one: the state moved in between.
        return Err(Fall {
            reason: format!(
                "the state moved between its observation ({}) and its snapshot ({})",
                observation.digest.short(),
                snapshot.digest.short()
            ),
            fault: Fault::Retryable,
            cancelled: false,
            down: false,
            lost: None,
        });
    }
    Ok((observation, snapshot))
}

/// Opens the first lane and observes the start state.
pub(super) async fn start(
    world: &Arc<dyn World>,
    seed: Seed,
    retries: u8,
    limits: &Limits,
    cx: &Cx,
) -> Result<(lane::Lane, Observation, Snapshot), StartError> {
    let mut left = retries;
    loop {
        let mut lane = match lane::open(world, Purpose::Search, seed, left, limits, cx).await {
            Ok(lane) => lane,
            Err(OpenError::Interrupted(Interrupted::Cancelled)) => {
                return Err(StartError::Cancelled);
            }
            Err(OpenError::Missing { what, hint }) => {
                return Err(StartError::Failed(what, Some(hint)));
            }
            Err(error) => return Err(StartError::Failed(error.to_string(), None)),
        };
        let fall = match look(&mut *lane, limits, cx).await {
            Ok((observation, snapshot)) => return Ok((lane, observation, snapshot)),
            Err(fall) => fall,
        };
        if let Err(reason) = lane::close(lane, limits).await {
            tracing::warn!(reason);
        }
        if fall.cancelled {
            return Err(StartError::Cancelled);
        }
        if left == 0 || fall.fault == Fault::Fatal {
            return Err(StartError::Failed(fall.reason, None));
        }
        left -= 1;
    }
}

/// Why there is no start state.
pub(super) enum StartError {
    Cancelled,
    /// The reason, and what the user can do.
    Failed(String, Option<String>),
}

pub(super) async fn propose(
    policy: Arc<dyn Policy>,
    view: OwnedView,
    width: NonZeroU8,
    limit: Duration,
    cx: Cx,
) -> Done {
    let begun = Instant::now();
    let within = cx.within(limit);
    let proposal = cx
        .bounded(limit, policy.propose(&view.view(), width, &within))
        .await
        .unwrap_or_else(|interrupted| Err(ProposeError::Model(interrupted.into())))
        .map(|mut proposal| {
            proposal.candidates.truncate(usize::from(width.get()));
            proposal
        });
    Done::Propose(proposal, elapsed_ms(begun))
}

pub(super) async fn judge(
    critic: Arc<dyn Critic>,
    view: OwnedView,
    limit: Duration,
    cx: Cx,
) -> Done {
    let begun = Instant::now();
    let within = cx.within(limit);
    let judgement = cx
        .bounded(limit, critic.judge(&view.view(), &within))
        .await
        .unwrap_or_else(|interrupted| Err(JudgeError::Model(interrupted.into())));
    Done::Judge(judgement, elapsed_ms(begun))
}

pub(super) async fn compare(
    critic: Arc<dyn Critic>,
    first: OwnedView,
    second: OwnedView,
    limit: Duration,
    cx: Cx,
) -> Done {
    let begun = Instant::now();
    let within = cx.within(limit);
    let comparison = cx
        .bounded(
            limit,
            critic.compare(&first.view(), &second.view(), &within),
        )
        .await
        .unwrap_or_else(|interrupted| Err(JudgeError::Model(interrupted.into())));
    Done::Compare(comparison, elapsed_ms(begun))
}

pub(super) fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
