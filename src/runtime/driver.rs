//! The driver: the one owner of the search and of the record. It asks and hands out here; what comes
//! back lands in `landing`, and the run ends in `ending`.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::task::{Id, JoinSet};
use tokio::time::Instant;

use crate::context::Cx;
use crate::eval::Outcome as Verdicted;
use crate::record::{Detail, EventKind, RecordError, Recorder};
use crate::search::{
    Ask, Budget, Outcome, Request, Search, SearchConfig, Spent, Start, StopReason,
};
use crate::types::{
    Action, ActionSpec, Cost, Digest, EdgeId, NodeId, Observation, Seed, SiblingOutcome, SiteNote,
    Snapshot, Ticket,
};

use super::commit::Committed;
use super::job::{Failure, FailurePart, Job, Progress, RunError, RunReport, StepFigures};
use super::lane::{self, Lane, Pool};
use super::order::{self, Done, StartError, StepOrder};
use super::view::{NodeState, OwnedView, siblings};

/// Who watches a run.
pub(super) type Watch<'a> = &'a mut (dyn FnMut(&Progress, &Search) + Send);

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
pub(super) struct Parts<'a> {
    pub(super) job: &'a Job,
    pub(super) recorder: &'a mut Recorder,
    pub(super) pool: &'a mut Pool,
    pub(super) progress: Watch<'a>,
    pub(super) cx: &'a Cx,
    pub(super) env_seed: Seed,
}

pub(super) struct Driver<'a> {
    pub(super) parts: Parts<'a>,
    /// This round's search.
    pub(super) search: Search,
    pub(super) round: u32,
    /// What the rounds before spent.
    pub(super) past: Spent,
    /// The environment in which commits are carried out, once there was one.
    pub(super) real: Option<Lane>,
    /// The answer that a commit gave.
    pub(super) answer: Option<String>,
    /// The actions that the commits executed.
    pub(super) committed: Vec<Action>,
    pub(super) goal: Arc<str>,
    /// By node id.
    pub(super) states: Vec<NodeState>,
    /// States that were told and have not landed in the tree yet.
    pub(super) arriving: HashMap<EdgeId, NodeState>,
    /// Why edges were refused or held: the tree only knows that they were.
    pub(super) refusals: HashMap<EdgeId, SiblingOutcome>,
    /// The real actions behind those that the tree and the record hold without their secrets.
    pub(super) secrets: HashMap<(NodeId, Action), Action>,
    pub(super) tasks: JoinSet<Done>,
    pub(super) running: HashMap<Id, (Ticket, Request)>,
    /// Steps that wait for a lane, oldest first.
    pub(super) waiting: VecDeque<(Ticket, EdgeId)>,
    /// The context of all orders: ends with the run's, or when the runtime stops the search.
    pub(super) orders: Cx,
    /// Set once the runtime stopped the search: why, in words.
    pub(super) halted: Option<&'static str>,
    pub(super) provider_streak: u32,
    pub(super) environment_streak: u32,
    /// The last fault of a part that has not worked since.
    pub(super) last_fault: Option<(FailurePart, String)>,
    pub(super) failure: Option<Failure>,
    pub(super) figures: StepFigures,
    /// What the world has said of its site.
    pub(super) notes: Vec<SiteNote>,
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

    pub(super) fn say(&mut self, progress: &Progress) {
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

    pub(super) fn state(&self, node: NodeId) -> &NodeState {
        &self.states[node.0 as usize]
    }

    /// The action to execute: with its secrets.
    pub(super) fn real_action(&self, edge: EdgeId) -> Action {
        let edge = self.search.tree().edge(edge);
        let shown = edge.action();
        if self.secrets.is_empty() {
            return shown;
        }
        let key = (edge.parent(), shown);
        self.secrets.get(&key).unwrap_or(&key.1).clone()
    }

    /// Stops the search from outside and gives up what is outstanding.
    pub(super) fn stop(
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
    pub(super) fn break_off(
        &mut self,
        part: FailurePart,
        reason: String,
    ) -> Result<(), RecordError> {
        if self.halted.is_some() {
            return Ok(());
        }
        self.failure = Some(Failure {
            part,
            reason: reason.clone(),
        });
        self.stop(StopReason::Failed, "the run was broken off", reason)
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
    pub(super) fn spent(&self) -> Spent {
        let mut spent = self.past;
        spent += self.search.spent();
        spent
    }

    /// Logs and says what the world has found out about its site since.
    pub(super) fn note_site(&mut self) -> Result<(), RecordError> {
        let notes = self.parts.job.world.notes();
        for note in notes.into_iter().skip(self.notes.len()) {
            let note = self.parts.recorder.redactor().clean(note);
            self.notes.push(note.clone());
            self.warn(format!("this site: {}", note.text))?;
        }
        Ok(())
    }

    pub(super) fn warn(&mut self, text: String) -> Result<(), RecordError> {
        self.parts
            .recorder
            .append(&EventKind::Warning { text: text.clone() })?;
        self.say(&Progress::Warning(text));
        Ok(())
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
