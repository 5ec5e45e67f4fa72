//! Landing: what comes back from policies, critics and lanes enters the record, then the tree.

use std::sync::Arc;

use tokio::task::{Id, JoinError};

use crate::context::Interrupted;
use crate::critic::{Comparison, JudgeError, Judgement};
use crate::llm::ChatError;
use crate::policy::{Proposal, ProposeError};
use crate::record::{Detail, EventKind, RecordError, StepDetail};
use crate::search::{Compared, EdgeStatus, Outcome, Proposed, Request, Scored, Stepped};
use crate::types::{
    Cost, Digest, EdgeId, Exchange, NodeId, PathStep, SiblingOutcome, Step, Ticket,
};

use super::job::{FailurePart, Progress};
use super::lane::Slot;
use super::order::{Done, StepDone, StepEnd};
use super::view::{calls, rendered_target, sent_writes};

use super::driver::{Driver, keep_screenshot};

/// Orders in a row that a part may fail before the run is stopped on its account.
const STREAK: u32 = 3;

impl Driver<'_> {
    /// Takes a finished order in.
    pub(super) fn land(
        &mut self,
        joined: Result<(Id, Done), JoinError>,
    ) -> Result<(), RecordError> {
        let (id, done) = match joined {
            Ok((id, done)) => (id, Some(done)),
            Err(error) => (error.id(), None),
        };
        let (ticket, request) = self
            .running
            .remove(&id)
            .expect("every task was entered when it was spawned");
        match (done, request) {
            (Some(Done::Propose(result, ms)), Request::Propose { node, .. }) => {
                self.proposed(ticket, request, node, result, ms)
            }
            (Some(Done::Judge(result, ms)), _) => self.judged(ticket, request, result, ms),
            (Some(Done::Compare(result, ms)), _) => self.compared(ticket, request, result, ms),
            (Some(Done::Step(done)), Request::Step { edge }) => self.stepped(ticket, edge, *done),
            (None, _) => {
                if matches!(request, Request::Step { .. }) {
                    // Its lane went down with it.
                    self.parts.pool.give_back(Slot(None));
                    self.figures.failed += 1;
                }
                let outcome = Outcome::Failed {
                    reason: "the worker panicked".to_owned(),
                    cost: Cost::default(),
                };
                self.tell(ticket, request, outcome, Detail::Dropped)
            }
            (Some(_), _) => unreachable!("a task does what its request says"),
        }
    }

    fn proposed(
        &mut self,
        ticket: Ticket,
        request: Request,
        node: NodeId,
        result: Result<Proposal, ProposeError>,
        ms: u64,
    ) -> Result<(), RecordError> {
        let policy = self.parts.job.policy.name().to_owned();
        let detail = |discarded, exchanges| Detail::Propose {
            policy,
            discarded,
            exchanges,
        };
        match result {
            Ok(proposal) => {
                self.provider_streak = 0;
                let exchanges = self.keep_exchanges(&proposal.exchanges)?;
                let mut cost = proposal.cost;
                cost.wall_ms = ms;
                let redactor = self.parts.recorder.redactor();
                if !redactor.is_empty() {
                    for candidate in &proposal.candidates {
                        let clean = redactor.clean(candidate.action.clone());
                        if clean != candidate.action {
                            self.secrets
                                .entry((node, clean))
                                .or_insert_with(|| candidate.action.clone());
                        }
                    }
                }
                let outcome = Outcome::Proposed(Proposed {
                    candidates: proposal.candidates,
                    cost,
                });
                let detail = detail(proposal.discarded, exchanges);
                self.tell(ticket, request, outcome, detail)
            }
            Err(ProposeError::Unusable {
                tries,
                last,
                mut cost,
                exchanges,
            }) => {
                self.provider_streak = 0;
                let exchanges = self.keep_exchanges(&exchanges)?;
                cost.wall_ms = ms;
                let reason = format!("no usable action in {tries} replies; the last: {last}");
                let outcome = Outcome::Failed { reason, cost };
                self.tell(ticket, request, outcome, detail(vec![last], exchanges))
            }
            Err(ProposeError::Model(error)) => {
                self.provider_failed(ticket, request, &error, ms, detail(Vec::new(), Vec::new()))
            }
        }
    }

    fn judged(
        &mut self,
        ticket: Ticket,
        request: Request,
        result: Result<Judgement, JudgeError>,
        ms: u64,
    ) -> Result<(), RecordError> {
        let critic = self.parts.job.critic.name().to_owned();
        match result {
            Ok(judgement) => {
                self.provider_streak = 0;
                let exchanges = self.keep_exchanges(&judgement.exchanges)?;
                let mut cost = judgement.cost;
                cost.wall_ms = ms;
                let detail = Detail::Judge {
                    critic,
                    spread: judgement.spread.filter(|spread| spread.is_finite()),
                    samples: judgement.samples,
                    unreadable: judgement.unreadable,
                    rationale: judgement.rationale,
                    exchanges,
                };
                let value = judgement.value;
                self.tell(
                    ticket,
                    request,
                    Outcome::Scored(Scored { value, cost }),
                    detail,
                )
            }
            Err(JudgeError::Model(error)) => {
                let detail = Detail::Judge {
                    critic,
                    spread: None,
                    samples: 0,
                    unreadable: 0,
                    rationale: String::new(),
                    exchanges: Vec::new(),
                };
                self.provider_failed(ticket, request, &error, ms, detail)
            }
        }
    }

    fn compared(
        &mut self,
        ticket: Ticket,
        request: Request,
        result: Result<Comparison, JudgeError>,
        ms: u64,
    ) -> Result<(), RecordError> {
        let critic = self.parts.job.critic.name().to_owned();
        match result {
            Ok(comparison) => {
                self.provider_streak = 0;
                let exchanges = self.keep_exchanges(&comparison.exchanges)?;
                let mut cost = comparison.cost;
                cost.wall_ms = ms;
                let detail = Detail::Compare {
                    critic,
                    rationale: comparison.rationale,
                    exchanges,
                };
                let preference = comparison.preference;
                let outcome = Outcome::Compared(Compared { preference, cost });
                self.tell(ticket, request, outcome, detail)
            }
            Err(JudgeError::Model(error)) => {
                let detail = Detail::Compare {
                    critic,
                    rationale: String::new(),
                    exchanges: Vec::new(),
                };
                self.provider_failed(ticket, request, &error, ms, detail)
            }
        }
    }

    /// A provider's failure: told as such, never as a score; the run ends if it is there to stay.
    fn provider_failed(
        &mut self,
        ticket: Ticket,
        request: Request,
        error: &ChatError,
        ms: u64,
        detail: Detail,
    ) -> Result<(), RecordError> {
        let cancelled = matches!(error, ChatError::Interrupted(Interrupted::Cancelled));
        let reason = match self.halted.filter(|_| cancelled) {
            Some(word) => word.to_owned(),
            None => error.to_string(),
        };
        let cost = Cost {
            wall_ms: ms,
            ..Cost::default()
        };
        if !cancelled {
            self.provider_streak += 1;
            self.last_fault = Some((FailurePart::Provider, error.to_string()));
            if lasting(error) {
                self.break_off(FailurePart::Provider, error.to_string())?;
            } else if self.provider_streak >= STREAK {
                let reason = format!("{STREAK} model orders in a row failed; the last: {error}");
                self.break_off(FailurePart::Provider, reason)?;
            }
        }
        self.tell(ticket, request, Outcome::Failed { reason, cost }, detail)
    }

    fn stepped(&mut self, ticket: Ticket, edge: EdgeId, done: StepDone) -> Result<(), RecordError> {
        let StepDone {
            slot,
            end,
            restores,
            actions,
            faults,
            wall_ms,
        } = done;
        self.parts.pool.give_back(slot);
        self.note_site()?;
        let cost = Cost {
            env_actions: actions,
            wall_ms,
            ..Cost::default()
        };
        self.figures.actions += actions;
        self.figures.retried += u32::try_from(faults.len()).unwrap_or(u32::MAX);
        for restored in &restores {
            let of_rung = self.figures.restores.entry(restored.rung).or_default();
            of_rung.count += 1;
            of_rung.ms += restored.ms;
            self.figures.count_misses(&restored.misses);
            self.figures.learned.extend(restored.learned.clone());
        }
        let tree_edge = self.search.tree().edge(edge);
        let (parent, action) = (tree_edge.parent(), tree_edge.action());
        let from = self.state(parent);
        let target = rendered_target(&from.observation, action.target());
        let mut detail = StepDetail {
            target: target.clone(),
            restored: restores.last().cloned(),
            faults,
            ..StepDetail::default()
        };
        let mut broken = None;
        if !matches!(end, StepEnd::Cancelled | StepEnd::Failed { down: true, .. }) {
            self.environment_streak = 0;
        }
        let outcome = match end {
            StepEnd::Reached {
                step,
                answer,
                mut observation,
                snapshot,
                actions,
            } => {
                if !Arc::ptr_eq(&actions, &self.state(parent).actions) {
                    detail.actions = Some(self.parts.recorder.json(&&*actions)?);
                }
                detail.screenshot = keep_screenshot(self.parts.recorder, &mut observation)?;
                detail.observation = Some(self.parts.recorder.json(&observation)?);
                detail.url = Some(observation.url.clone());
                let writes = sent_writes(&step);
                self.figures.writes += u32::try_from(writes.len()).unwrap_or(u32::MAX);
                let (sent, recorded) = calls(&step);
                self.figures.calls += sent;
                self.figures.recorded_calls += recorded;
                detail.step = Some(step);
                detail.snapshot = Some(snapshot.clone());
                let from = self.state(parent);
                let path_step = PathStep {
                    action,
                    target,
                    url: observation.url.clone(),
                    changed: observation.digest != from.observation.digest,
                };
                let terminal = observation.terminal || answer.is_some();
                let state = from.child(
                    path_step,
                    Arc::new(*observation),
                    snapshot,
                    actions,
                    answer,
                    writes,
                );
                let digest = state.identity();
                self.arriving.insert(edge, state);
                Outcome::Stepped(Stepped::State {
                    digest,
                    terminal,
                    cost,
                })
            }
            StepEnd::Rejected(rejection) => {
                self.figures.rejected += 1;
                detail.step = Some(Step::Rejected(rejection.clone()));
                Outcome::Stepped(Stepped::Rejected { rejection, cost })
            }
            StepEnd::Held(effects) => {
                self.figures.held += 1;
                detail.step = Some(Step::Held {
                    effects: effects.clone(),
                });
                let from = self.state(parent);
                let path_step = PathStep {
                    action,
                    target,
                    url: from.observation.url.clone(),
                    changed: true,
                };
                let state = from.waiting(path_step, effects.clone());
                let digest = state.identity();
                self.arriving.insert(edge, state);
                Outcome::Stepped(Stepped::Held {
                    digest,
                    effects,
                    cost,
                })
            }
            StepEnd::Lost { reason, misses } => {
                self.figures.count_misses(&misses);
                detail.missed = misses;
                self.figures.lost.insert(parent, reason.clone());
                Outcome::Stepped(Stepped::Lost { reason, cost })
            }
            StepEnd::Failed { reason, down } => {
                self.figures.failed += 1;
                if down {
                    self.environment_streak += 1;
                    self.last_fault = Some((FailurePart::Environment, reason.clone()));
                    broken = (self.environment_streak >= STREAK).then(|| {
                        format!("{STREAK} orders in a row found no environment; the last: {reason}")
                    });
                }
                Outcome::Failed { reason, cost }
            }
            StepEnd::Cancelled => Outcome::Failed {
                reason: self.halted.unwrap_or("interrupted").to_owned(),
                cost,
            },
        };
        if let Some(reason) = broken {
            self.break_off(FailurePart::Environment, reason)?;
        }
        self.tell(
            ticket,
            Request::Step { edge },
            outcome,
            Detail::Step(Box::new(detail)),
        )
    }

    /// Logs an outcome, then tells it.
    pub(super) fn tell(
        &mut self,
        ticket: Ticket,
        request: Request,
        outcome: Outcome,
        detail: Detail,
    ) -> Result<(), RecordError> {
        // What the log cannot hold the search must not know, or it could not be rebuilt.
        let outcome = self.parts.recorder.redactor().clean(outcome);
        let note = outcome.note();
        let refusal = match &outcome {
            Outcome::Stepped(Stepped::Rejected { rejection, .. }) => {
                Some(SiblingOutcome::Rejected(rejection.clone()))
            }
            Outcome::Stepped(Stepped::Held { effects, .. }) => {
                Some(SiblingOutcome::Held(effects.clone()))
            }
            Outcome::Stepped(Stepped::State { .. } | Stepped::Lost { .. })
            | Outcome::Proposed(_)
            | Outcome::Scored(_)
            | Outcome::Compared(_)
            | Outcome::Failed { .. } => None,
        };
        if let (Request::Step { edge }, Some(refusal)) = (request, refusal) {
            self.refusals.insert(edge, refusal);
        }
        let (target, url) = match &detail {
            Detail::Step(step) => (step.target.clone(), step.url.clone()),
            Detail::Propose { .. }
            | Detail::Judge { .. }
            | Detail::Compare { .. }
            | Detail::Dropped => (None, None),
        };
        let (target, url) = self.parts.recorder.redactor().clean((target, url));
        let told = EventKind::Told {
            ticket,
            outcome: outcome.clone(),
            detail,
        };
        self.parts.recorder.append(&told)?;
        self.search
            .tell(ticket, outcome)
            .expect("each ticket is told once, with an outcome of its kind");
        let nodes = self.settle_arrivals();
        let spent = self.spent();
        self.say(&Progress::Landed {
            ticket,
            request,
            nodes,
            target,
            url,
            note,
            spent,
        });
        Ok(())
    }

    /// Gives the nodes that are new in the tree their states.
    fn settle_arrivals(&mut self) -> Vec<NodeId> {
        let tree = self.search.tree();
        let mut landed = Vec::new();
        for index in self.states.len()..tree.len() {
            let node = NodeId(u32::try_from(index).expect("node ids are 32 bits wide"));
            let edge = tree
                .node(node)
                .parent()
                .expect("only the root was not stepped to");
            let state = self
                .arriving
                .remove(&edge)
                .expect("a node lands after its step was told");
            self.states.push(state);
            landed.push(node);
        }
        // A step that led back to a known state made no node.
        self.arriving
            .retain(|&edge, _| tree.edge(edge).status() == EdgeStatus::InFlight);
        landed
    }

    pub(super) fn keep_exchanges(
        &mut self,
        exchanges: &[Exchange],
    ) -> Result<Vec<Digest>, RecordError> {
        exchanges
            .iter()
            .map(|exchange| self.parts.recorder.json(exchange))
            .collect()
    }
}

/// Whether a provider's failure is there to stay: asking again cannot help.
fn lasting(error: &ChatError) -> bool {
    match error {
        ChatError::Config(_) | ChatError::NotRecorded(_) => true,
        ChatError::Status { status, .. } => matches!(status, 400..=404 | 405 | 422),
        ChatError::Interrupted(_) | ChatError::Unreachable { .. } | ChatError::Malformed(_) => {
            false
        }
    }
}
