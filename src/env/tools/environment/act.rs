//! Carrying out an action: reads from the record or sent together, and with them writes that are
//! declared independent; a write by the task's regime.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::{Map, Value};

use super::env::ToolEnvironment;
use super::memo;
use super::plan::{Offer, Plan, Planned, rounds};
use super::render;
use super::server::{Server, Told};
use super::state::{Answer, Called, Did, End, Turn, Write};
use super::undo::{self, WayBack};
use crate::context::{Cx, Interrupted};
use crate::env::ActError;
use crate::env::tools::cut;
use crate::env::tools::registry::Memo;
use crate::env::tools::{Access, CallError, Prepared, Reply, Session, Tool};
use crate::types::{Action, Effect, EffectKind, Notice, NoticeKind, Rejection, Step, Writes};

/// Tools that a search gives.
const FOUND: usize = 10;
/// Bytes of a further part of a reply.
const PAGE: usize = 6_000;

/// What may take writes back, by their places among the calls of an action.
type WaysBack = BTreeMap<usize, Vec<WayBack>>;

/// Why an action is carried out.
#[derive(Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// To see what it does.
    Search,
    /// Again, on the way to a state: nothing is taken from the record.
    Replay,
    /// For good: these writes may leave where writes are held.
    Commit(&'a [Effect]),
}

/// A call that may be sent.
struct Ready {
    planned: Planned,
    prepared: Prepared,
    session: Arc<dyn Session>,
}

impl Ready {
    fn writes(&self) -> bool {
        self.planned.tool.access != Access::Read
    }

    /// The write that the call would be.
    fn effect(&self) -> Effect {
        Effect {
            kind: EffectKind::Write,
            ..self.prepared.effect.clone()
        }
    }
}

/// How a call ended without an answer.
enum Fault {
    /// The call alone: why, and whether its session is gone.
    Unanswered {
        reason: String,
        gone: bool,
    },
    Forbidden(String),
    Interrupted(Interrupted),
}

impl From<CallError> for Fault {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Interrupted(why @ Interrupted::Cancelled) => Self::Interrupted(why),
            CallError::Forbidden { .. } => Self::Forbidden(error.to_string()),
            // A time out here is the provider's own limit: ours ends the whole action.
            CallError::Interrupted(Interrupted::Timeout(_)) | CallError::Unreachable { .. } => {
                Self::Unanswered {
                    reason: error.to_string(),
                    gone: false,
                }
            }
            CallError::SessionLost { .. } => Self::Unanswered {
                reason: error.to_string(),
                gone: true,
            },
        }
    }
}

/// What became of the calls of an action, by their places in it.
struct Sent {
    /// Each answer, and whether it is from the record.
    answers: Vec<Option<(Answer, bool)>>,
    notices: Vec<(usize, Notice)>,
    /// Why the registry forbids a call, the first such.
    forbidden: Option<String>,
    /// The first call without an answer: why, and whether its session is gone.
    silent: Option<(String, bool)>,
    /// The same of the first write: nobody knows whether it arrived.
    unsure: Option<(String, bool)>,
    /// Sources whose sessions are gone.
    gone: Vec<String>,
}

impl Sent {
    fn of(calls: usize) -> Self {
        Self {
            answers: vec![None; calls],
            notices: Vec::new(),
            forbidden: None,
            silent: None,
            unsure: None,
            gone: Vec::new(),
        }
    }

    /// The calls of a round that are to be made; notes those that come after a failed one.
    fn due(&mut self, round: &[usize], ready: &[Ready]) -> Vec<usize> {
        let mut due = Vec::new();
        for &place in round {
            let mut after = ready[place].planned.after.iter();
            let failed = after.find(|before| !answered_well(self.answers[**before].as_ref()));
            if let Some(before) = failed {
                let label = ready[*before].planned.label.as_deref().unwrap_or_default();
                let why = format!("`{label}` failed, after which it comes");
                self.answers[place] = Some((Answer::Skipped(why), false));
            } else {
                due.push(place);
            }
        }
        due
    }

    fn note(
        &mut self,
        place: usize,
        ready: &Ready,
        result: Result<(Arc<Reply>, bool, u128), Fault>,
    ) -> Result<(), Interrupted> {
        let tool = &ready.planned.tool;
        self.answers[place] = Some(match result {
            Ok((reply, recorded, ms)) => {
                self.notices.push((place, told(tool, &reply, recorded, ms)));
                (Answer::Reply(reply), recorded)
            }
            Err(Fault::Interrupted(why)) => return Err(why),
            Err(Fault::Forbidden(reason)) => {
                self.forbidden.get_or_insert_with(|| reason.clone());
                (Answer::Silent(reason), false)
            }
            Err(Fault::Unanswered { reason, gone }) => {
                if gone {
                    self.gone.push(tool.source.clone());
                }
                if ready.writes() {
                    self.unsure.get_or_insert_with(|| (reason.clone(), gone));
                }
                self.silent.get_or_insert_with(|| (reason.clone(), gone));
                (Answer::Silent(reason), false)
            }
        });
        Ok(())
    }
}

fn refused(reason: impl Into<String>) -> Step {
    Step::Rejected(Rejection::new(reason.into()))
}

impl ToolEnvironment {
    /// Carries out one action. The caller has checked that the instance is fit for it.
    pub(super) async fn perform(
        &mut self,
        action: &Action,
        purpose: Purpose<'_>,
        cx: &Cx,
    ) -> Result<Step, ActError> {
        if self.state.end.is_some() {
            return Ok(refused("the episode is over"));
        }
        let plan = match self.world.menu.plan(self.offer(), action) {
            Ok(plan) => plan,
            Err(rejection) => return Ok(Step::Rejected(rejection)),
        };
        match plan {
            Plan::Calls(planned) => self.call_all(action, planned, purpose, cx).await,
            Plan::More { call, path, offset } => Ok(self.more(action, &call, &path, offset)),
            Plan::Search { query } => self.search(action, &query, cx).await,
            Plan::End(end) => {
                let answer = match &end {
                    End::Answered(answer) => Some(answer.clone()),
                    End::GaveUp(_) => None,
                };
                self.state.end = Some(end);
                self.moved();
                Ok(done(Vec::new(), Vec::new(), answer))
            }
        }
    }

    fn turn(&mut self, action: &Action, did: Did) {
        self.state.turns.push(Arc::new(Turn {
            action: action.clone(),
            did,
        }));
        self.moved();
    }

    fn more(&mut self, action: &Action, id: &str, path: &str, offset: usize) -> Step {
        let asked = id.trim_matches(['[', ']']);
        let fits = |call: &&Called| call.id == asked || call.label.as_deref() == Some(asked);
        let Some(call) = self.state.calls().rev().find(fits) else {
            let known: Vec<String> = self.state.calls().map(|call| call.id.clone()).collect();
            return Step::Rejected(Rejection {
                reason: format!("there is no result `{asked}`"),
                nearest: known.into_iter().rev().take(3).collect(),
            });
        };
        let Answer::Reply(reply) = &call.answer else {
            return refused(format!("`{asked}` has no result to show more of"));
        };
        let part = match cut::page(&reply.content, path, offset, PAGE) {
            Ok(part) => part,
            Err(error) => return refused(error.to_string()),
        };
        let mut text = format!(
            "[{}] {}: `{path}` from {offset} of {}
{}
",
            call.id,
            call.tool.name,
            part.total,
            render::written(&part.value)
        );
        if let Some(next) = part.next {
            text.push_str(&format!(
                "Cut: the rest: more(id: \"{}\", path: {path:?}, offset: {next})
",
                call.id
            ));
        }
        render::cuts(&call.id, &part.omitted, &mut text);
        let did = Did::Viewed {
            line: call.line(&self.world.volatile),
            call: call.id.clone(),
            path: path.to_owned(),
            offset,
            text,
        };
        self.turn(action, did);
        done(Vec::new(), Vec::new(), None)
    }

    /// Searches for tools; what is found can be done by its name from then on.
    async fn search(&mut self, action: &Action, query: &str, cx: &Cx) -> Result<Step, ActError> {
        let Some(finder) = self.world.config.finder.clone() else {
            return Ok(refused("there is no search for tools here"));
        };
        let hits = if let Some(hits) = self.world.searched(query) {
            hits
        } else {
            let hits = finder.find(query, FOUND, cx).await;
            let hits = hits.map_err(|reason| {
                ActError::Other(format!("the search for tools failed: {reason}"))
            })?;
            self.world.keep_search(query, hits)
        };
        let world = Arc::clone(&self.world);
        let tools = hits
            .iter()
            .filter_map(|hit| Some((world.menu.all.get(&hit.name)?, hit.score)));
        let tools: Vec<(&Arc<Tool>, f32)> = tools.collect();
        let offer = world
            .menu
            .extended(self.offer(), tools.iter().map(|(tool, _)| *tool));
        let ranks = (1..).zip(&tools).map(|(rank, (tool, score))| {
            let name = &tool.name;
            format!("{rank} {name} ({score:.2})")
        });
        let text = format!(
            "search_tools {query:?}: {}; {} found tools are offered",
            ranks.collect::<Vec<_>>().join(", "),
            offer.found.len()
        );
        let kind = NoticeKind::Find;
        let found = tools.iter().map(|(tool, _)| shown(tool, &offer)).collect();
        self.state.offer = (!offer.found.is_empty()).then(|| Arc::new(offer));
        self.turn(action, Did::Found(found));
        Ok(done(Vec::new(), vec![Notice { kind, text }], None))
    }

    async fn call_all(
        &mut self,
        action: &Action,
        planned: Vec<Planned>,
        purpose: Purpose<'_>,
        cx: &Cx,
    ) -> Result<Step, ActError> {
        let mut ready = Vec::new();
        for planned in planned {
            let session = self.session(&planned.tool.source, cx).await?;
            match session.prepare(&planned.tool, &planned.arguments) {
                Ok(prepared) => ready.push(Ready {
                    planned,
                    prepared,
                    session,
                }),
                Err(mut rejection) => {
                    if let Some(label) = &planned.label {
                        rejection.reason = format!("call `{label}`: {}", rejection.reason);
                    }
                    return Ok(Step::Rejected(rejection));
                }
            }
        }
        self.send(action, ready, purpose, cx).await
    }

    /// Sends the calls of one action, all or none: a read, a write, or a batch of reads and of writes
    /// that are declared independent.
    async fn send(
        &mut self,
        action: &Action,
        ready: Vec<Ready>,
        purpose: Purpose<'_>,
        cx: &Cx,
    ) -> Result<Step, ActError> {
        let epoch = self.memo_epoch().await;
        let plans: Vec<Planned> = ready.iter().map(|ready| ready.planned.clone()).collect();
        let order = match rounds(&plans) {
            Ok(order) => order,
            Err(rejection) => return Ok(Step::Rejected(rejection)),
        };
        let mut ways = self.ways_back(&ready, cx).await?;
        if let Some(held) = self.hold(&ready, &ways, purpose) {
            return Ok(held);
        }
        let batch = ready.len() > 1 || ready.iter().any(|r| r.planned.label.is_some());
        let writes = ready.iter().any(Ready::writes);
        self.begin(writes);
        let server = Arc::clone(&self.server);
        let mut server = if writes {
            let mut server = server.lock().await;
            // Until the answers are there, nobody knows what arrived.
            server.unsure = Some(format!("{action} was cut off"));
            Some(server)
        } else {
            None
        };
        // Beside a write nothing is remembered: the record does not know which came first.
        let live = writes || !matches!(purpose, Purpose::Search);
        let mut sent = self.exchange(&ready, &order, epoch, live, cx).await?;
        let mut effects = Vec::new();
        if let Some(server) = &mut server {
            server.unsure = sent.unsure.as_ref().map(|(reason, _)| reason.clone());
            // As they were sent, so that they can be taken back in reverse.
            for place in order.into_iter().flatten() {
                if let Some(ways) = ways.remove(&place)
                    && let Some((Answer::Reply(reply), _)) = &sent.answers[place]
                {
                    effects.push(self.wrote(server, &ready[place], reply, ways, purpose));
                }
            }
        }
        drop(server);
        for source in &sent.gone {
            self.sessions.remove(source);
        }
        if let Some((reason, lost)) = sent.unsure {
            return Err(self.unanswered(reason, lost));
        }
        if let (Some(reason), false) = (sent.forbidden, batch) {
            self.cut_off = None;
            return Ok(refused(reason));
        }
        // A fault is an observation only beside an answer, so that it hides none.
        let any = sent
            .answers
            .iter()
            .any(|answer| matches!(answer, Some((Answer::Reply(_), _))));
        let left_writes = !sent.gone.is_empty() && !self.state.writes.is_empty();
        if let Some((reason, lost)) = sent.silent
            && (!any || left_writes)
        {
            self.cut_off = None;
            return Err(self.unanswered(reason, lost || left_writes));
        }
        let epoch = self.state.writes.len() - effects.len();
        let before = self.state.calls().count();
        let called = ready
            .into_iter()
            .zip(sent.answers)
            .enumerate()
            .map(|(place, (ready, answer))| {
                let (answer, recorded) = answer.expect("every call is in a round");
                Called {
                    id: format!("c{}", before + place + 1),
                    label: ready.planned.label,
                    tool: ready.planned.tool,
                    arguments: ready.prepared.arguments,
                    answer,
                    recorded,
                    epoch,
                }
            })
            .collect();
        self.turn(action, Did::Called(called));
        self.end();
        // In the order of the calls, not of their answers.
        sent.notices.sort_by_key(|(place, _)| *place);
        let notices = sent.notices.into_iter().map(|(_, notice)| notice);
        Ok(done(effects, notices.collect(), None))
    }

    /// The writes of an action as held ones, if one of them may not leave.
    fn hold(&self, ready: &[Ready], ways: &WaysBack, purpose: Purpose<'_>) -> Option<Step> {
        let writes = || ready.iter().enumerate().filter(|(_, ready)| ready.writes());
        let leaves = |(place, ready): (usize, &Ready)| {
            let returns = ways.get(&place).is_some_and(|ways| !ways.is_empty());
            self.may_leave(&ready.effect(), returns, purpose)
        };
        if writes().all(leaves) {
            return None;
        }
        let held = |(_, ready): (usize, &Ready)| Effect {
            held: true,
            ..ready.effect()
        };
        Some(Step::Held {
            effects: writes().map(held).collect(),
        })
    }

    /// Sends calls, round by round; those of a round at the same time.
    async fn exchange(
        &self,
        ready: &[Ready],
        order: &[Vec<usize>],
        epoch: Option<crate::types::Digest>,
        live: bool,
        cx: &Cx,
    ) -> Result<Sent, Interrupted> {
        let mut sent = Sent::of(ready.len());
        for round in order {
            let due = sent.due(round, ready);
            let calls = due.into_iter().map(|place| async move {
                let answer = self.answer(&ready[place], epoch, live, cx).await;
                (place, answer)
            });
            let mut answering =
                stream::iter(calls).buffer_unordered(self.world.config.parallel.get());
            while let Some((place, result)) = answering.next().await {
                sent.note(place, &ready[place], result)?;
            }
        }
        Ok(sent)
    }

    /// A call was made and nobody knows what it did; with `lost` its session is gone too.
    fn unanswered(&mut self, reason: String, lost: bool) -> ActError {
        if lost {
            self.lost = Some(reason.clone());
            ActError::Lost(reason)
        } else {
            ActError::Other(reason)
        }
    }

    /// One call: its reply, whether it is from the record, and the milliseconds it took.
    async fn answer(
        &self,
        ready: &Ready,
        epoch: Option<crate::types::Digest>,
        live: bool,
        cx: &Cx,
    ) -> Result<(Arc<Reply>, bool, u128), Fault> {
        let tool = &ready.planned.tool;
        let begun = Instant::now();
        let rules = self.world.source(&tool.source);
        let scope = rules.map_or(Memo::Off, |source| source.rules.memo);
        if live || scope == Memo::Off {
            let reply = ready.session.call(tool, &ready.prepared, cx).await?;
            self.world.note_reply(tool, &reply);
            return Ok((Arc::new(reply), false, begun.elapsed().as_millis()));
        }
        // Only what holds before any write can be true in another tree.
        let wider = rules
            .and_then(|source| source.memo.as_ref())
            .filter(|_| epoch.is_none() && matches!(scope, Memo::Run | Memo::Disk));
        let store = wider.unwrap_or(&self.world.memo);
        let key = memo::key(tool, &ready.prepared.arguments, epoch);
        let slot = store.slot(key);
        let mut kept = slot.lock().await;
        if let Some(reply) = &*kept {
            return Ok((Arc::clone(reply), true, 0));
        }
        let before = ready.session.save();
        let reply = Arc::new(ready.session.call(tool, &ready.prepared, cx).await?);
        self.world.note_reply(tool, &reply);
        if memo::lasting(&reply) && ready.session.save() == before {
            *kept = Some(Arc::clone(&reply));
            store.keep(key, tool, &reply);
        }
        Ok((reply, false, begun.elapsed().as_millis()))
    }

    // ------------------------------------------------------------ writes

    /// Notes a write that was answered, and how to take it back.
    fn wrote(
        &mut self,
        server: &mut Server,
        ready: &Ready,
        reply: &Arc<Reply>,
        ways: Vec<WayBack>,
        purpose: Purpose<'_>,
    ) -> Effect {
        let (tool, arguments) = (&ready.planned.tool, &ready.prepared.arguments);
        let write = Arc::new(Write {
            tool: Arc::clone(tool),
            arguments: arguments.clone(),
            reply: Arc::clone(reply),
            ways,
        });
        server.writes.push(Told {
            write: Arc::clone(&write),
            reply: Arc::clone(reply),
        });
        if matches!(purpose, Purpose::Commit(_)) {
            server.kept = server.writes.len();
        }
        self.state.writes.push(write);
        self.state.origin = self.origin();
        self.state.checkpoint = None;
        self.state.proof = None;
        ready.effect()
    }

    /// Whether a write may be sent; `returns` says whether an undo rule could take it back.
    fn may_leave(&self, effect: &Effect, returns: bool, purpose: Purpose<'_>) -> bool {
        match (self.world.config.writes, purpose) {
            (Writes::Hold, Purpose::Search | Purpose::Replay) => false,
            (Writes::Hold, Purpose::Commit(allowed)) => allowed.iter().any(|allowed| {
                (&allowed.method, &allowed.url, &allowed.body)
                    == (&effect.method, &effect.url, &effect.body)
            }),
            // Where nothing could take it back, it is not sent.
            (Writes::Checkpoint, Purpose::Search | Purpose::Replay) => {
                self.world.config.site.is_some() || returns
            }
            (Writes::Checkpoint, Purpose::Commit(_)) | (Writes::Session | Writes::Allow, _) => true,
        }
    }

    /// What may take each of the writes back, by place; asked before they are sent.
    async fn ways_back(&mut self, ready: &[Ready], cx: &Cx) -> Result<WaysBack, ActError> {
        let mut ways = WaysBack::new();
        for (place, ready) in ready.iter().enumerate().filter(|(_, r)| r.writes()) {
            let (tool, arguments) = (&ready.planned.tool, &ready.prepared.arguments);
            ways.insert(place, undo::ways(self, tool, arguments, cx).await?);
        }
        Ok(ways)
    }

    /// One call past memo, regime and conversation: for undo rules and proofs.
    pub(super) async fn direct(
        &mut self,
        source: &str,
        name: &str,
        arguments: &Map<String, Value>,
        cx: &Cx,
    ) -> Result<Reply, String> {
        let tool = self
            .world
            .tool_of(source, name)
            .ok_or_else(|| format!("there is no tool `{name}`"))?;
        let session = self
            .session(source, cx)
            .await
            .map_err(|error| error.to_string())?;
        let prepared = session
            .prepare(&tool, arguments)
            .map_err(|rejection| rejection.to_string())?;
        session
            .call(&tool, &prepared, cx)
            .await
            .map_err(|error| error.to_string())
    }

    /// What the memo's keys hold beside the call: the writes that the server was told.
    async fn memo_epoch(&self) -> Option<crate::types::Digest> {
        if self.world.config.writes == Writes::Allow {
            // Nothing undoes them, whichever branch sent them.
            let server = self.server.lock().await;
            let told = server.writes.len();
            return (told > 0).then(|| crate::types::Digest::of(format!("{told} writes")));
        }
        self.state.epoch(&self.world.volatile)
    }
}

/// A tool that was found: how it is called, and what it does.
fn shown(tool: &Arc<Tool>, offer: &Offer) -> (String, String) {
    let name = offer.name_of(tool).unwrap_or(&tool.name);
    let text = if tool.summary.is_empty() {
        &tool.description
    } else {
        &tool.summary
    };
    let parameters = tool.parameters["properties"].as_object();
    let parameters = parameters.into_iter().flat_map(Map::keys);
    let parameters: Vec<&str> = parameters.map(String::as_str).collect();
    (format!("{name}({})", parameters.join(", ")), text.clone())
}

fn answered_well(answer: Option<&(Answer, bool)>) -> bool {
    matches!(answer, Some((Answer::Reply(reply), _)) if !reply.error)
}

fn told(tool: &Tool, reply: &Reply, recorded: bool, ms: u128) -> Notice {
    let name = &tool.name;
    if recorded {
        return Notice {
            kind: NoticeKind::Recorded,
            text: format!("{name}: answered from the record"),
        };
    }
    let error = if reply.error { ", an error" } else { "" };
    let status = reply
        .status
        .map_or_else(String::new, |status| format!("{status}, "));
    Notice {
        kind: NoticeKind::Call,
        text: format!("{name}: {status}{} bytes in {ms} ms{error}", reply.bytes),
    }
}

fn done(effects: Vec<Effect>, notices: Vec<Notice>, answer: Option<String>) -> Step {
    Step::Done {
        effects,
        notices,
        answer,
    }
}
