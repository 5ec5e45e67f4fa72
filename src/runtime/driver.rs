//! The driver: the one owner of the search and of the record.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use crate::context::{Cx, Interrupted};
use crate::critic::{Comparison, JudgeError, Judgement};
use crate::eval::{Evidence, Outcome as Verdicted};
use crate::llm::ChatError;
use crate::policy::{Proposal, ProposeError};
use crate::record::{Detail, EventKind, RecordError, Recorder, StepDetail};
use crate::search::{
    Ask, Budget, Compared, EdgeStatus, Outcome, Proposed, Request, Scored, Search, SearchConfig,
    Spent, Start, Stepped, StopReason,
};
use crate::types::{
    Action, ActionSpec, Cost, Digest, EdgeId, Effect, Exchange, NodeId, Observation, PathStep,
    Seed, SiblingOutcome, SiteNote, Snapshot, Step, Ticket,
};

use super::commit::{self, Committed};
use super::job::{Failure, FailurePart, Job, Progress, RunError, RunReport, StepFigures};
use super::lane::{self, Lane, Pool, Slot};
use super::order::{self, Done, StartError, StepDone, StepEnd, StepOrder, elapsed_ms};
use super::view::{NodeState, OwnedView, calls, rendered_target, sent_writes, siblings};

/// Who watches a run.
pub(super) type Watch<'a> = &'a mut (dyn FnMut(&Progress, &Search) + Send);

/// Orders in a row that a part may fail before the run is stopped on its account.
const STREAK: u32 = 3;

/// Runs a job to its report: searches, commits the best path in a fresh environment, judges it.
///
/// Ctrl-C is the cancellation of `cx`: what is outstanding is dropped and told as failed, the log
/// is completed, nothing is committed, and the report says `interrupted`. `progress` is called
/// from the driver, between events: it must not block.
///
/// # Errors
/// [`RunError`] if there was no start state or the record could not be written. Environments are
/// closed on every way out.
pub async fn run(
    job: Job,
    mut recorder: Recorder,
    progress: Watch<'_>,
    cx: &Cx,
) -> Result<RunReport, RunError> {
    let begun = Instant::now();
    let most = job.workers.min(job.world.concurrency()).get();
    let mut pool = Pool::new(most);
    let result = conduct(&job, &mut recorder, &mut pool, progress, cx, begun).await;
    for text in pool.close(&job.limits.calls).await {
        tracing::warn!("{text}");
    }
    let ended = match &result {
        Ok(report) => EventKind::RunEnded {
            outcome: how_it_ended(report).to_owned(),
            reason: report.uncommitted.clone(),
            cost: report.cost,
        },
        Err(error) => EventKind::RunEnded {
            outcome: match error {
                RunError::Interrupted => "interrupted".to_owned(),
                RunError::Start { .. } | RunError::NoGoal | RunError::Record(_) => {
                    "failed".to_owned()
                }
            },
            reason: Some(error.to_string()),
            cost: Cost::default(),
        },
    };
    match (result, recorder.append(&ended)) {
        (Ok(_), Err(error)) => Err(error.into()),
        (result, _) => result,
    }
}

fn how_it_ended(report: &RunReport) -> &'static str {
    if report.interrupted {
        "interrupted"
    } else if report.failure.is_some() {
        "failed"
    } else {
        match report.verdict.outcome {
            Verdicted::Solved => "solved",
            Verdicted::NotSolved => "not_solved",
            Verdicted::Unscored => "unscored",
        }
    }
}

async fn conduct(
    job: &Job,
    recorder: &mut Recorder,
    pool: &mut Pool,
    progress: Watch<'_>,
    cx: &Cx,
    begun: Instant,
) -> Result<RunReport, RunError> {
    let env_seed = job.seed.derive("env");
    let calls = &job.limits.calls;
    let (lane, observation, snapshot) =
        match order::start(&job.world, env_seed, job.retries, calls, cx).await {
            Ok(started) => started,
            Err(StartError::Cancelled) => return Err(RunError::Interrupted),
            Err(StartError::Failed(reason, hint)) => return Err(RunError::Start { reason, hint }),
        };
    let goal = job.goal.clone().or_else(|| lane.goal().map(str::to_owned));
    let actions: Arc<[ActionSpec]> = lane.actions().into();
    pool.add(lane);
    let Some(goal) = goal.filter(|goal| !goal.trim().is_empty()) else {
        return Err(RunError::NoGoal);
    };

    let mut driver = Driver::begin(
        Parts {
            job,
            recorder,
            pool,
            progress,
            cx,
            env_seed,
        },
        goal,
        actions,
        observation,
        snapshot,
    )?;
    let ended = driver.rounds(begun).await;
    driver.drain().await;
    let ended = match ended {
        Ok((reason, committed)) => driver.finish(reason, committed, begun).await,
        Err(error) => Err(error.into()),
    };
    if let Some(real) = driver.real.take()
        && let Err(text) = lane::close(real, calls).await
    {
        tracing::warn!("{text}");
    }
    ended
}

/// What the driver borrows from [`run`].
struct Parts<'a> {
    job: &'a Job,
    recorder: &'a mut Recorder,
    pool: &'a mut Pool,
    progress: Watch<'a>,
    cx: &'a Cx,
    env_seed: Seed,
}

struct Driver<'a> {
    parts: Parts<'a>,
    /// This round's search.
    search: Search,
    round: u32,
    /// What the rounds before spent.
    past: Spent,
    /// The environment in which commits are carried out, once there was one.
    real: Option<Lane>,
    /// The answer that a commit gave.
    answer: Option<String>,
    /// The actions that the commits executed.
    committed: Vec<Action>,
    goal: Arc<str>,
    /// By node id.
    states: Vec<NodeState>,
    /// States that were told and have not landed in the tree yet.
    arriving: HashMap<EdgeId, NodeState>,
    /// Why edges were refused or held: the tree only knows that they were.
    refusals: HashMap<EdgeId, SiblingOutcome>,
    /// The real actions behind those that the tree and the record hold without their secrets.
    secrets: HashMap<(NodeId, Action), Action>,
    tasks: JoinSet<Done>,
    running: HashMap<Id, (Ticket, Request)>,
    /// Steps that wait for a lane, oldest first.
    waiting: VecDeque<(Ticket, EdgeId)>,
    /// The context of all orders: ends with the run's, or when the runtime stops the search.
    orders: Cx,
    /// Set once the runtime stopped the search: why, in words.
    halted: Option<&'static str>,
    provider_streak: u32,
    environment_streak: u32,
    /// The last fault of a part that has not worked since.
    last_fault: Option<(FailurePart, String)>,
    failure: Option<Failure>,
    figures: StepFigures,
    /// What the world has said of its site.
    notes: Vec<SiteNote>,
}

impl<'a> Driver<'a> {
    fn begin(
        parts: Parts<'a>,
        goal: String,
        actions: Arc<[ActionSpec]>,
        mut observation: Observation,
        snapshot: Snapshot,
    ) -> Result<Self, RecordError> {
        let start = Start {
            digest: observation.digest,
            terminal: observation.terminal,
        };
        let screenshot = keep_screenshot(parts.recorder, &mut observation)?;
        let root = EventKind::Root {
            round: 0,
            budget: None,
            start,
            goal: goal.clone(),
            observation: parts.recorder.json(&observation)?,
            screenshot,
            snapshot: snapshot.clone(),
            actions: parts.recorder.json(&&*actions)?,
        };
        parts.recorder.append(&root)?;
        let orders = parts.cx.child();
        let mut driver = Self {
            search: Search::new(parts.job.search, start),
            round: 0,
            past: Spent::default(),
            real: None,
            answer: None,
            committed: Vec::new(),
            parts,
            goal: goal.as_str().into(),
            states: vec![NodeState {
                observation: Arc::new(observation),
                previous: None,
                snapshot,
                actions,
                path: Arc::new([]),
                answer: None,
                writes: None,
                effects: Arc::new([]),
                held: false,
            }],
            arriving: HashMap::new(),
            refusals: HashMap::new(),
            secrets: HashMap::new(),
            tasks: JoinSet::new(),
            running: HashMap::new(),
            waiting: VecDeque::new(),
            orders,
            halted: None,
            provider_streak: 0,
            environment_streak: 0,
            last_fault: None,
            failure: None,
            figures: StepFigures::default(),
            notes: Vec::new(),
        };
        let dir = driver.parts.recorder.dir().to_owned();
        driver.say(&Progress::Opened { goal, dir });
        driver.note_site()?;
        Ok(driver)
    }

    fn say(&mut self, progress: &Progress) {
        (self.parts.progress)(progress, &self.search);
    }

    /// Searches and commits, until a commit is the end: why the last search ended, and what came of
    /// its commit.
    async fn rounds(&mut self, begun: Instant) -> Result<(StopReason, Committed), RecordError> {
        loop {
            let reason = self.search(begun).await?;
            let mut committed = self.commit(reason).await?;
            self.figures.commit_actions +=
                u32::try_from(committed.actions.len()).unwrap_or(u32::MAX);
            self.committed.append(&mut committed.actions);
            self.figures.commit_writes += committed.writes;
            if let Some(answer) = &committed.answer {
                self.answer = Some(answer.clone());
            }
            let left = self.search.config().budget.less(&self.search.spent());
            let late = self
                .parts
                .job
                .limits
                .wall
                .is_some_and(|wall| begun.elapsed() >= wall);
            match committed.news.take() {
                Some((observation, snapshot))
                    if left.allows_a_step() && !late && !self.parts.cx.is_cancelled() =>
                {
                    self.next_round(left, observation, snapshot)?;
                }
                Some(_) | None => return Ok((reason, committed)),
            }
        }
    }

    /// Goes on from where a commit led, in a tree of its own.
    fn next_round(
        &mut self,
        budget: Budget,
        observation: Observation,
        snapshot: Snapshot,
    ) -> Result<(), RecordError> {
        let best = self.search.best().expect("its path was committed");
        let from = self.state(best);
        let mut path = from.path.to_vec();
        if let Some(last) = path.last_mut() {
            last.url.clone_from(&observation.url);
            last.changed = from.observation.digest != observation.digest;
        }
        let previous = Some(Arc::clone(&from.observation));
        // What a commit sends offers nothing new.
        let actions = Arc::clone(&from.actions);
        self.round += 1;
        self.past += self.search.spent();
        self.figures.loops += self.count_loops();
        let start = Start {
            digest: observation.digest,
            terminal: observation.terminal,
        };
        let recorder = &mut *self.parts.recorder;
        let root = EventKind::Root {
            round: self.round,
            budget: Some(budget),
            start,
            goal: self.goal.to_string(),
            observation: recorder.json(&observation)?,
            // The commit's last step has it.
            screenshot: None,
            snapshot: snapshot.clone(),
            actions: recorder.json(&&*actions)?,
        };
        recorder.append(&root)?;
        let config = SearchConfig {
            budget,
            ..*self.search.config()
        };
        self.search = Search::new(config, start);
        self.states = vec![NodeState {
            observation: Arc::new(observation),
            previous,
            snapshot,
            actions,
            path: path.into(),
            answer: None,
            writes: None,
            effects: Arc::new([]),
            held: false,
        }];
        self.arriving.clear();
        self.refusals.clear();
        self.secrets.clear();
        self.orders = self.parts.cx.child();
        let round = self.round;
        self.say(&Progress::Round { round });
        Ok(())
    }

    /// Asks, carries out and tells until the search ends.
    async fn search(&mut self, begun: Instant) -> Result<StopReason, RecordError> {
        let deadline = self.parts.job.limits.wall.map(|wall| begun + wall);
        loop {
            if let Some(reason) = self.ask()? {
                return Ok(reason);
            }
            self.dispatch();
            let cx = self.parts.cx;
            let open = self.halted.is_none();
            tokio::select! {
                biased;
                () = cx.cancelled(), if open => {
                    self.stop(StopReason::Interrupted, "interrupted", String::new())?;
                }
                () = until(deadline), if open => {
                    let note = "the time budget is spent".to_owned();
                    self.stop(StopReason::Time, "out of time", note)?;
                }
                Some(joined) = self.tasks.join_next_with_id() => self.land(joined)?,
                else => unreachable!("a search waits only for outstanding tickets"),
            }
        }
    }

    /// Takes every order that the search gives out now; the reason once it is over.
    fn ask(&mut self) -> Result<Option<StopReason>, RecordError> {
        loop {
            match self.search.ask() {
                Ask::Start { ticket, request } => {
                    let asked = EventKind::Asked { ticket, request };
                    self.parts.recorder.append(&asked)?;
                    self.say(&Progress::Started { ticket, request });
                    match request {
                        Request::Step { edge } => self.waiting.push_back((ticket, edge)),
                        Request::Propose { node, width } => {
                            let work = order::propose(
                                Arc::clone(&self.parts.job.policy),
                                self.view(node, ticket, "propose"),
                                width,
                                self.parts.job.limits.calls.propose,
                                self.orders.clone(),
                            );
                            self.spawn(ticket, request, work);
                        }
                        Request::Judge { node } => {
                            let work = order::judge(
                                Arc::clone(&self.parts.job.critic),
                                self.view(node, ticket, "judge"),
                                self.parts.job.limits.calls.judge,
                                self.orders.clone(),
                            );
                            self.spawn(ticket, request, work);
                        }
                        Request::Compare { first, second } => {
                            let work = order::compare(
                                Arc::clone(&self.parts.job.critic),
                                self.view(first, ticket, "compare"),
                                self.view(second, ticket, "compare"),
                                self.parts.job.limits.calls.judge,
                                self.orders.clone(),
                            );
                            self.spawn(ticket, request, work);
                        }
                    }
                }
                Ask::Wait => return Ok(None),
                Ask::Stop { reason } => return Ok(Some(reason)),
            }
        }
    }

    fn spawn(
        &mut self,
        ticket: Ticket,
        request: Request,
        work: impl Future<Output = Done> + Send + 'static,
    ) {
        let handle = self.tasks.spawn(work);
        self.running.insert(handle.id(), (ticket, request));
    }

    /// Sends waiting steps to free lanes.
    fn dispatch(&mut self) {
        while let Some(&(ticket, edge)) = self.waiting.front() {
            let parent = self.search.tree().edge(edge).parent();
            let parent = self.state(parent).snapshot.clone();
            let Some(slot) = self.parts.pool.lease(&parent) else {
                return;
            };
            self.waiting.pop_front();
            let job = self.parts.job;
            let from = self.search.tree().edge(edge).parent();
            let step = StepOrder {
                action: self.real_action(edge),
                parent,
                actions: Arc::clone(&self.state(from).actions),
                world: Arc::clone(&job.world),
                seed: self.parts.env_seed,
                retries: job.retries,
                limits: job.limits.calls,
            };
            let cx = self.orders.clone();
            self.spawn(ticket, Request::Step { edge }, async move {
                Done::Step(Box::new(order::step(step, slot, cx).await))
            });
        }
    }

    fn view(&self, node: NodeId, ticket: Ticket, kind: &str) -> OwnedView {
        let mut state = self.state(node).clone();
        let redactor = self.parts.recorder.redactor();
        if state.held && !redactor.is_empty() {
            state.effects = redactor.clean(state.effects.to_vec()).into();
        }
        OwnedView {
            goal: Arc::clone(&self.goal),
            state,
            siblings: siblings(self.search.tree(), node, &self.states, &self.refusals),
            seed: self.parts.job.seed.derive(&match self.round {
                0 => format!("{kind}:{ticket}"),
                round => format!("{round}:{kind}:{ticket}"),
            }),
        }
    }

    fn state(&self, node: NodeId) -> &NodeState {
        &self.states[node.0 as usize]
    }

    /// The action to execute: with its secrets.
    fn real_action(&self, edge: EdgeId) -> Action {
        let edge = self.search.tree().edge(edge);
        let shown = edge.action();
        if self.secrets.is_empty() {
            return shown;
        }
        let key = (edge.parent(), shown);
        self.secrets.get(&key).unwrap_or(&key.1).clone()
    }

    /// Stops the search from outside and gives up what is outstanding.
    fn stop(
        &mut self,
        reason: StopReason,
        word: &'static str,
        note: String,
    ) -> Result<(), RecordError> {
        self.halted = Some(word);
        self.orders.token().cancel();
        self.parts
            .recorder
            .append(&EventKind::Stopping { reason, note })?;
        self.search.stop(reason);
        for (ticket, edge) in std::mem::take(&mut self.waiting) {
            let outcome = Outcome::Failed {
                reason: word.to_owned(),
                cost: Cost::default(),
            };
            self.tell(ticket, Request::Step { edge }, outcome, Detail::Dropped)?;
        }
        Ok(())
    }

    /// Stops the run because a part broke, unless it is being stopped already. To be called while
    /// the order that showed it is still outstanding: a search that is over keeps its own reason.
    fn break_off(&mut self, part: FailurePart, reason: String) -> Result<(), RecordError> {
        if self.halted.is_some() {
            return Ok(());
        }
        self.failure = Some(Failure {
            part,
            reason: reason.clone(),
        });
        self.stop(StopReason::Failed, "the run was broken off", reason)
    }

    /// Takes a finished order in.
    fn land(&mut self, joined: Result<(Id, Done), JoinError>) -> Result<(), RecordError> {
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
    fn tell(
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

    fn keep_exchanges(&mut self, exchanges: &[Exchange]) -> Result<Vec<Digest>, RecordError> {
        exchanges
            .iter()
            .map(|exchange| self.parts.recorder.json(exchange))
            .collect()
    }

    /// Waits for every worker, without telling anything: a record that failed, or nothing left.
    async fn drain(&mut self) {
        self.orders.token().cancel();
        while let Some(joined) = self.tasks.join_next().await {
            match joined {
                Ok(Done::Step(done)) => self.parts.pool.give_back(done.slot),
                Ok(Done::Propose(..) | Done::Judge(..) | Done::Compare(..)) | Err(_) => {}
            }
        }
    }

    /// What all rounds spent.
    fn spent(&self) -> Spent {
        let mut spent = self.past;
        spent += self.search.spent();
        spent
    }

    /// Logs the end of this round's search and commits its best path.
    async fn commit(&mut self, reason: StopReason) -> Result<Committed, RecordError> {
        let best = self.search.best();
        let spent = self.search.spent();
        let tree_digest = self.search.tree().digest();
        self.parts.recorder.append(&EventKind::SearchEnded {
            reason,
            best,
            tree: tree_digest,
            spent,
        })?;
        self.say(&Progress::SearchEnded { reason, best });
        // The commit has the world to itself.
        for text in self.parts.pool.close(&self.parts.job.limits.calls).await {
            self.warn(text)?;
        }

        // A search that ran out of things to try because a part broke was not exhausted by the task:
        // it says nothing about it.
        let streak = self.provider_streak.max(self.environment_streak);
        if reason == StopReason::Exhausted && streak > 0 && self.failure.is_none() {
            self.failure = self
                .last_fault
                .take()
                .map(|(part, reason)| Failure { part, reason });
        }
        let why_not = match (&self.failure, reason) {
            (Some(failure), _) => Some(failure.reason.clone()),
            (None, StopReason::Interrupted) => Some("the run was interrupted".to_owned()),
            (None, StopReason::Failed) => {
                Some("the strategy asked for something impossible".to_owned())
            }
            (None, _) if best.is_none() && self.round == 0 && self.parts.job.checks.is_empty() => {
                Some("there is nothing to commit".to_owned())
            }
            (None, _) if self.parts.job.dry_run => {
                Some("a dry run: nothing was committed".to_owned())
            }
            (None, _) => None,
        };
        if let Some(reason) = why_not {
            return Ok(Committed::not(reason));
        }
        let edges = best.map_or_else(Vec::new, |node| self.search.tree().path(node));
        let plan = commit::Plan {
            job: self.parts.job,
            env_seed: self.parts.env_seed,
            start: self.state(NodeId::ROOT).observation.digest,
            steps: edges.into_iter().map(|edge| self.planned(edge)).collect(),
        };
        // Exclusive, so that the closure can be sent: a strategy need not be shareable.
        let search = &mut self.search;
        let progress = &mut *self.parts.progress;
        let mut say = move |news: &Progress| progress(news, search);
        let real = &mut self.real;
        commit::commit(&plan, real, self.parts.recorder, &mut say, self.parts.cx).await
    }

    /// An edge of the best path, to be carried out for good.
    fn planned(&self, edge: EdgeId) -> commit::PlannedStep {
        let child = self.search.tree().edge(edge).child();
        let state = self.state(child.expect("the edges of a path were executed"));
        commit::PlannedStep {
            edge,
            shown: self.search.tree().edge(edge).action(),
            action: self.real_action(edge),
            expected: (!state.held).then_some(state.observation.digest),
            target: self.target(edge),
            writes: state.effects.to_vec(),
        }
    }

    /// Judges what was committed, and reports.
    async fn finish(
        &mut self,
        reason: StopReason,
        mut committed: Committed,
        begun: Instant,
    ) -> Result<RunReport, RunError> {
        self.note_site()?;
        let best = self.search.best();
        let spent = self.spent();
        let tree_digest = self.search.tree().digest();
        let mut archive = None;
        if let Some(real) = &mut self.real {
            // First of all: what the evaluators ask is no part of the commit.
            if let Some(log) = real.archive() {
                let har = har::Har {
                    log: har::Spec::V1_2(log),
                };
                archive = Some(self.parts.recorder.file("commit.har", &har)?);
            }
            if committed.uncommitted.is_none() {
                let evidence = Evidence {
                    answer: self.answer.as_deref(),
                    actions: &self.committed,
                };
                let (job, cx) = (self.parts.job, self.parts.cx);
                commit::judge(job, evidence, &mut **real, &mut committed, cx).await;
            }
        }
        let verdict = committed.verdict(&self.parts.job.checks);
        self.parts.recorder.append(&EventKind::Verdict {
            verdict: serde_json::to_value(&verdict).map_err(|e| RecordError::Serialise {
                what: "the verdict",
                reason: e.to_string(),
            })?,
            answer: self.answer.clone(),
        })?;
        self.say(&Progress::Verdict(verdict.clone()));

        self.figures.loops += self.count_loops();
        let mut cost = spent.cost;
        cost.env_actions += self.figures.commit_actions;
        let wall_ms = elapsed_ms(begun);
        cost.wall_ms = wall_ms;
        // Reports are shown and copied: they hold no secret either.
        let redactor = self.parts.recorder.redactor();
        let path = self.state(best.unwrap_or(NodeId::ROOT)).path.to_vec();
        let path = redactor.clean(path);
        let answer = redactor.clean(self.answer.take());
        let would_send = match best.filter(|_| self.parts.job.dry_run) {
            Some(best) => redactor.clean(self.writes_to(best)),
            None => Vec::new(),
        };
        Ok(RunReport {
            dir: self.parts.recorder.dir().to_owned(),
            goal: self.goal.to_string(),
            reason,
            best,
            verdict,
            interrupted: committed.interrupted || reason == StopReason::Interrupted,
            failure: self.failure.take().or(committed.failure),
            uncommitted: committed.uncommitted,
            path,
            rounds: self.round + 1,
            would_send,
            archive,
            answer,
            spent,
            cost,
            steps: std::mem::take(&mut self.figures),
            notes: std::mem::take(&mut self.notes),
            wall_ms,
            tree_digest,
        })
    }

    /// Executed edges that led to a known state.
    fn count_loops(&self) -> u32 {
        let tree = self.search.tree();
        let edges = tree.nodes().flat_map(|node| tree.edges(node));
        let loops = edges.filter(|edge| matches!(tree.edge(*edge).status(), EdgeStatus::Loop(_)));
        u32::try_from(loops.count()).unwrap_or(u32::MAX)
    }

    /// What an edge acts on, as rendered in its parent's state.
    fn target(&self, edge: EdgeId) -> Option<String> {
        let action = self.real_action(edge);
        let parent = self.search.tree().edge(edge).parent();
        rendered_target(&self.state(parent).observation, action.target())
    }

    /// The writes on the way to a state, sent and waiting ones.
    fn writes_to(&self, node: NodeId) -> Vec<Effect> {
        let tree = self.search.tree();
        let path = tree.path(node).into_iter();
        path.filter_map(|edge| tree.edge(edge).child())
            .flat_map(|child| self.state(child).effects.to_vec())
            .collect()
    }

    /// Logs and says what the world has found out about its site since.
    fn note_site(&mut self) -> Result<(), RecordError> {
        let notes = self.parts.job.world.notes();
        for note in notes.into_iter().skip(self.notes.len()) {
            let note = self.parts.recorder.redactor().clean(note);
            self.notes.push(note.clone());
            self.warn(format!("this site: {}", note.text))?;
        }
        Ok(())
    }

    fn warn(&mut self, text: String) -> Result<(), RecordError> {
        self.parts
            .recorder
            .append(&EventKind::Warning { text: text.clone() })?;
        self.say(&Progress::Warning(text));
        Ok(())
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

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Takes the screenshot out of an observation and keeps it.
pub(super) fn keep_screenshot(
    recorder: &mut Recorder,
    observation: &mut Observation,
) -> Result<Option<Digest>, RecordError> {
    let screenshot = observation.screenshot.take();
    screenshot.map(|jpeg| recorder.blob(&jpeg)).transpose()
}
