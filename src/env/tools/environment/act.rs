//! Carrying out an action: reads from the record or sent together, a write by the task's regime.

use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::{Map, Value};

use super::env::ToolEnvironment;
use super::memo;
use super::plan::{Plan, Planned, rounds};
use super::render;
use super::state::{Answer, Called, Check, Did, End, Turn, Undo, Write};
use crate::context::{Cx, Interrupted};
use crate::env::ActError;
use crate::env::tools::cut;
use crate::env::tools::registry::{Memo, UndoProof};
use crate::env::tools::{Access, CallError, Prepared, Reply, Session, Tool};
use crate::types::{Action, Effect, EffectKind, Notice, NoticeKind, Rejection, Step, Writes};

/// Tools that a search gives.
const FOUND: usize = 10;
/// Bytes of a further part of a reply.
const PAGE: usize = 6_000;

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
        let plan = match self.world.menu.plan(action) {
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

    async fn search(&mut self, action: &Action, query: &str, cx: &Cx) -> Result<Step, ActError> {
        let Some(finder) = self.world.config.finder.clone() else {
            return Ok(refused("there is no search for tools here"));
        };
        let found = finder
            .find(query, FOUND, cx)
            .await
            .map_err(|reason| ActError::Other(format!("the search for tools failed: {reason}")))?;
        let summary = |name: String| {
            let tool = self.world.menu.all.get(&name)?;
            let text = if tool.summary.is_empty() {
                &tool.description
            } else {
                &tool.summary
            };
            let parameters = tool.parameters["properties"].as_object();
            let names: Vec<&str> = parameters
                .into_iter()
                .flat_map(Map::keys)
                .map(String::as_str)
                .collect();
            Some((format!("{name}({})", names.join(", ")), text.clone()))
        };
        let found = found.into_iter().filter_map(|f| summary(f.name)).collect();
        self.turn(action, Did::Found(found));
        Ok(done(Vec::new(), Vec::new(), None))
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
        match ready.as_slice() {
            [only] if only.planned.tool.access != Access::Read => {
                let only = ready.remove(0);
                self.write(action, only, purpose, cx).await
            }
            _ => self.read_all(action, ready, purpose, cx).await,
        }
    }

    // ------------------------------------------------------------ reads

    async fn read_all(
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
        let batch = ready.len() > 1 || ready.iter().any(|r| r.planned.label.is_some());
        self.begin(false);
        let mut answers: Vec<Option<(Answer, bool)>> = vec![None; ready.len()];
        let mut notices = Vec::new();
        let mut first_fault = None;
        let mut gone = Vec::new();
        for round in order {
            let mut due = Vec::new();
            for place in round {
                let failed = ready[place]
                    .planned
                    .after
                    .iter()
                    .find(|before| !answered_well(answers[**before].as_ref()));
                if let Some(before) = failed {
                    let label = ready[*before].planned.label.as_deref().unwrap_or_default();
                    let why = format!("`{label}` failed, after which it comes");
                    answers[place] = Some((Answer::Skipped(why), false));
                } else {
                    due.push(place);
                }
            }
            let this = &*self;
            let live = !matches!(purpose, Purpose::Search);
            let calls = due.into_iter().map(|place| {
                let ready = &ready[place];
                async move { (place, this.read(ready, epoch, live, cx).await) }
            });
            let mut answering =
                stream::iter(calls).buffer_unordered(self.world.config.parallel.get());
            while let Some((place, result)) = answering.next().await {
                let tool = &ready[place].planned.tool;
                match result {
                    Ok((reply, recorded, ms)) => {
                        notices.push((place, told(tool, &reply, recorded, ms)));
                        answers[place] = Some((Answer::Reply(reply), recorded));
                    }
                    Err(Fault::Interrupted(why)) => return Err(why.into()),
                    Err(Fault::Forbidden(reason)) if !batch => {
                        drop(answering);
                        self.cut_off = None;
                        return Ok(refused(reason));
                    }
                    Err(Fault::Forbidden(reason)) => {
                        answers[place] = Some((Answer::Silent(reason), false));
                    }
                    Err(Fault::Unanswered { reason, gone: lost }) => {
                        if lost {
                            gone.push(tool.source.clone());
                        }
                        first_fault.get_or_insert((reason.clone(), lost));
                        answers[place] = Some((Answer::Silent(reason), false));
                    }
                }
            }
        }
        // A fault is an observation only beside an answer, so that it hides none.
        let any = answers
            .iter()
            .any(|answer| matches!(answer, Some((Answer::Reply(_), _))));
        if let Some((reason, lost)) = first_fault
            && (!any || (!gone.is_empty() && !self.state.writes.is_empty()))
        {
            self.cut_off = None;
            for source in gone {
                self.sessions.remove(&source);
            }
            return Err(if lost {
                self.lost = Some(reason.clone());
                ActError::Lost(reason)
            } else {
                ActError::Other(reason)
            });
        }
        for source in gone {
            self.sessions.remove(&source);
        }
        let epoch = self.state.writes.len();
        let before = self.state.calls().count();
        let called = ready
            .into_iter()
            .zip(answers)
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
        notices.sort_by_key(|(place, _)| *place);
        let notices = notices.into_iter().map(|(_, notice)| notice).collect();
        Ok(done(Vec::new(), notices, None))
    }

    /// One read: its reply, whether it is from the record, and the milliseconds it took.
    async fn read(
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
        if memo::lasting(&reply) && ready.session.save() == before {
            *kept = Some(Arc::clone(&reply));
            store.keep(key, tool, &reply);
        }
        Ok((reply, false, begun.elapsed().as_millis()))
    }

    // ------------------------------------------------------------ writes

    async fn write(
        &mut self,
        action: &Action,
        ready: Ready,
        purpose: Purpose<'_>,
        cx: &Cx,
    ) -> Result<Step, ActError> {
        let Ready {
            planned,
            prepared,
            session,
        } = ready;
        let tool = planned.tool;
        let mut effect = prepared.effect.clone();
        effect.kind = EffectKind::Write;
        if !self.may_leave(&tool, &effect, purpose) {
            effect.held = true;
            return Ok(Step::Held {
                effects: vec![effect],
            });
        }
        let begun = Instant::now();
        self.begin(true);
        let check = self.check_before(&tool, &prepared.arguments, cx).await?;
        let server = Arc::clone(&self.server);
        let mut server = server.lock().await;
        // Until the answer is there, nobody knows whether it arrived.
        server.unsure = Some(format!("`{}` was cut off", tool.name));
        let reply = match session
            .call(&tool, &prepared, cx)
            .await
            .map_err(Fault::from)
        {
            Ok(reply) => Arc::new(reply),
            Err(Fault::Interrupted(why)) => return Err(why.into()),
            Err(Fault::Forbidden(reason)) => {
                server.unsure = None;
                self.cut_off = None;
                return Ok(refused(reason));
            }
            Err(Fault::Unanswered { reason, gone }) => {
                server.unsure = Some(reason.clone());
                return Err(if gone {
                    self.lost = Some(reason.clone());
                    ActError::Lost(reason)
                } else {
                    ActError::Other(reason)
                });
            }
        };
        server.unsure = None;
        let write = Arc::new(Write {
            undo: self.undo(&tool, &prepared.arguments, &reply, check),
            tool: Arc::clone(&tool),
            arguments: prepared.arguments.clone(),
            reply: Arc::clone(&reply),
        });
        server.writes.push(Arc::clone(&write));
        if matches!(purpose, Purpose::Commit(_)) {
            server.kept = server.writes.len();
        }
        drop(server);
        let notice = told(&tool, &reply, false, begun.elapsed().as_millis());
        let called = Called {
            id: format!("c{}", self.state.calls().count() + 1),
            label: planned.label,
            tool,
            arguments: prepared.arguments,
            answer: Answer::Reply(reply),
            recorded: false,
            epoch: self.state.writes.len(),
        };
        self.state.writes.push(write);
        self.state.origin = self.origin();
        self.state.checkpoint = None;
        self.state.proof = None;
        self.turn(action, Did::Called(vec![called]));
        self.end();
        Ok(done(vec![effect], vec![notice], None))
    }

    /// Whether a write may be sent.
    fn may_leave(&self, tool: &Tool, effect: &Effect, purpose: Purpose<'_>) -> bool {
        match (self.world.config.writes, purpose) {
            (Writes::Hold, Purpose::Search | Purpose::Replay) => false,
            (Writes::Hold, Purpose::Commit(allowed)) => allowed.iter().any(|allowed| {
                (&allowed.method, &allowed.url, &allowed.body)
                    == (&effect.method, &effect.url, &effect.body)
            }),
            // Where nothing could take it back, it is not sent.
            (Writes::Checkpoint, Purpose::Search | Purpose::Replay) => {
                self.world.config.site.is_some() || self.world.undo_rule(tool).is_some()
            }
            (Writes::Checkpoint, Purpose::Commit(_)) | (Writes::Session | Writes::Allow, _) => true,
        }
    }

    /// What the check of the undo rule gives before the write, where it is to be compared.
    async fn check_before(
        &mut self,
        tool: &Tool,
        arguments: &Map<String, Value>,
        cx: &Cx,
    ) -> Result<Option<Arc<Reply>>, ActError> {
        if !self.world.undoes() {
            return Ok(None);
        }
        let world = Arc::clone(&self.world);
        let Some((rule, _)) = world.undo_rule(tool) else {
            return Ok(None);
        };
        let Some(check) = rule.verify.as_ref().filter(|c| c.expect == UndoProof::Same) else {
            return Ok(None);
        };
        let fault = |reason: String| {
            ActError::Other(format!(
                "the check of the undo rule for `{}` cannot be made: {reason}",
                tool.name
            ))
        };
        let filled = check.read.fill(arguments, &Value::Null).map_err(fault)?;
        let reply = self
            .direct(&tool.source, &check.read.call, &filled, cx)
            .await
            .map_err(fault)?;
        Ok(Some(Arc::new(reply)))
    }

    /// How a write is taken back, now that its reply is known.
    fn undo(
        &self,
        tool: &Tool,
        arguments: &Map<String, Value>,
        reply: &Reply,
        before: Option<Arc<Reply>>,
    ) -> Undo {
        if reply.error
            && reply
                .status
                .is_some_and(|status| (400..500).contains(&status))
        {
            return Undo::Nothing;
        }
        let Some((rule, call)) = self.world.undo_rule(tool) else {
            return Undo::Never(format!("no undo rule is for `{}`", tool.name));
        };
        if reply.error {
            return Undo::Never(format!("`{}` failed, and may have done a part", tool.name));
        }
        let Some(call) = call else {
            return Undo::Never(format!(
                "its undo rule calls `{}`, which is no tool",
                rule.call
            ));
        };
        let filled = match rule.fill(arguments, &reply.content) {
            Ok(filled) => filled,
            Err(reason) => return Undo::Never(format!("its undo cannot be filled in: {reason}")),
        };
        let check = match &rule.verify {
            None => None,
            Some(check) => {
                let Some(tool) = self.world.tool_of(&tool.source, &check.read.call) else {
                    return Undo::Never(format!(
                        "its check calls `{}`, which is no tool",
                        check.read.call
                    ));
                };
                match check.read.fill(arguments, &reply.content) {
                    Ok(arguments) => Some(Check {
                        tool,
                        arguments,
                        before,
                    }),
                    Err(reason) => {
                        return Undo::Never(format!("its check cannot be filled in: {reason}"));
                    }
                }
            }
        };
        Undo::Call {
            tool: call,
            arguments: filled,
            check,
        }
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
