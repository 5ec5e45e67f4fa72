//! Which call takes a write back, and the way back by such calls.
//!
//! * Rules are tried in the registry's order; the first that applies counts. One that proves itself
//!   by an error (what was made is gone) does not apply where the thing was there before the write:
//!   it would remove what it did not make.
//! * What a rule needs of the time before the write is read before it is sent. A write that no rule
//!   could take back is held.
//! * A write that is repeated may get another answer: it is taken back by what it was answered last.
//!   Where that differs in what is compared, it is taken back at once.
//! * Once it is not known what the server holds, nothing more is sent, and what is there is named.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::env::ToolEnvironment;
use super::server::{Server, Told, shown};
use super::state::{State, differs, masked};
use super::world::Shared;
use crate::context::Cx;
use crate::env::tools::registry::{Template, UndoProof, UndoRule};
use crate::env::tools::{Reply, Tool};
use crate::env::{ActError, RestoreError};
use crate::types::{Digest, SiteNoteKind};

/// A rule that may take a write back, as far as that is known before it is sent.
#[derive(Debug)]
pub(super) struct WayBack {
    rule: UndoRule,
    /// What its check gave, where the state before the write matters.
    before: Option<Arc<Reply>>,
}

/// How a write is taken back.
#[derive(Debug)]
enum Undo {
    /// It changed nothing: it was refused.
    Nothing,
    /// By a call.
    Call {
        tool: Arc<Tool>,
        arguments: Map<String, Value>,
        check: Option<Check>,
    },
    /// Not at all: why.
    Never(String),
}

/// A read that shows whether an undo worked.
#[derive(Debug)]
struct Check {
    tool: Arc<Tool>,
    arguments: Map<String, Value>,
    /// What it must give: what it gave before the write, or an error.
    before: Option<Arc<Reply>>,
}

/// What may take a write back, the first choice first. Empty where rules are of no concern, too.
pub(super) async fn ways(
    env: &mut ToolEnvironment,
    tool: &Tool,
    arguments: &Map<String, Value>,
    cx: &Cx,
) -> Result<Vec<WayBack>, ActError> {
    let world = Arc::clone(&env.world);
    if !world.undoes() {
        return Ok(Vec::new());
    }
    let mut ways = Vec::new();
    // Rules of one tool often ask the same.
    let mut asked: Vec<(&str, Map<String, Value>, Arc<Reply>)> = Vec::new();
    for rule in world.undo_rules(tool) {
        let mut before = None;
        if let Some(check) = &rule.verify {
            let sent = Template {
                arguments,
                reply: None,
                before: None,
            };
            match (check.read.fill(sent), check.expect) {
                (Ok(filled), _) => {
                    let call = &check.read.call;
                    let known = asked
                        .iter()
                        .find(|(of, with, _)| of == call && *with == filled);
                    before = if let Some((_, _, reply)) = known {
                        Some(Arc::clone(reply))
                    } else {
                        let read = env.direct(&tool.source, call, &filled, cx).await;
                        let reply = Arc::new(read.map_err(|reason| {
                            ActError::Other(format!(
                                "the check of the undo rule for `{}` cannot be made: {reason}",
                                tool.name
                            ))
                        })?);
                        asked.push((call, filled, Arc::clone(&reply)));
                        Some(reply)
                    };
                }
                // Only the reply names what is to be gone.
                (Err(_), UndoProof::Error) => {}
                (Err(_), UndoProof::Same) => continue,
            }
        }
        let way = WayBack {
            rule: rule.clone(),
            before,
        };
        if way.applies(arguments) {
            ways.push(way);
        }
    }
    Ok(ways)
}

impl WayBack {
    /// Whether it does, as far as that is known before the write.
    fn applies(&self, arguments: &Map<String, Value>) -> bool {
        let Some(check) = &self.rule.verify else {
            return true;
        };
        let there = self.before.as_ref().filter(|reply| !reply.error);
        match check.expect {
            UndoProof::Error => there.is_none(),
            UndoProof::Same => self.rule.finds_before(Template {
                arguments,
                reply: None,
                before: there.map(|reply| &reply.content),
            }),
        }
    }
}

/// How a write is taken back, by what it was answered last.
fn of(world: &Shared, told: &Told) -> Undo {
    let (tool, reply) = (&told.write.tool, &told.reply);
    if reply.error {
        let refused = reply
            .status
            .is_some_and(|status| (400..500).contains(&status));
        return if refused {
            Undo::Nothing
        } else {
            Undo::Never(format!("`{}` failed, and may have done a part", tool.name))
        };
    }
    let mut reason = format!("no undo rule applies to `{}`", tool.name);
    for way in &told.write.ways {
        match call(world, tool, &told.write.arguments, reply, way) {
            Ok(undo) => return undo,
            Err(why) => reason = why,
        }
    }
    Undo::Never(reason)
}

/// The calls that a rule makes of a write.
fn call(
    world: &Shared,
    tool: &Tool,
    arguments: &Map<String, Value>,
    reply: &Reply,
    way: &WayBack,
) -> Result<Undo, String> {
    let known = Template {
        arguments,
        reply: Some(&reply.content),
        before: way.before.as_ref().map(|reply| &reply.content),
    };
    let find = |what: &str, name: &str| {
        let found = world.tool_of(&tool.source, name);
        found.ok_or_else(|| format!("its {what} calls `{name}`, which is no tool"))
    };
    let rule = &way.rule;
    let undoing = find("undo rule", &rule.call)?;
    let filled = rule
        .fill(known)
        .map_err(|reason| format!("its undo cannot be filled in: {reason}"))?;
    let check = match &rule.verify {
        None => None,
        Some(check) => Some(Check {
            tool: find("check", &check.read.call)?,
            arguments: check
                .read
                .fill(known)
                .map_err(|reason| format!("its check cannot be filled in: {reason}"))?,
            before: match check.expect {
                UndoProof::Error => None,
                UndoProof::Same => way.before.clone(),
            },
        }),
    };
    Ok(Undo::Call {
        tool: undoing,
        arguments: filled,
        check,
    })
}

impl ToolEnvironment {
    /// Takes back what no commit sent. What stays all the same is noted for people.
    pub(super) async fn undo_rest(
        &mut self,
        server: &mut Server,
        cx: &Cx,
    ) -> Result<(), RestoreError> {
        let undone = self.undo_to(server.kept, server, cx).await;
        if undone.is_err()
            && let Some(left) = server.leftovers()
        {
            let text = format!("what the search wrote may still be there: {left}");
            self.world.note(SiteNoteKind::LeftBehind, text);
        }
        undone.map(|_| ())
    }

    /// Takes writes back until `keep` are left; how many calls it took.
    async fn undo_to(
        &mut self,
        keep: usize,
        server: &mut Server,
        cx: &Cx,
    ) -> Result<u32, RestoreError> {
        if let Some(why) = &server.unsure {
            return Err(RestoreError::Unrestorable(format!(
                "it is not known what the server was told: {why}"
            )));
        }
        let mut calls = 0;
        while server.writes.len() > keep {
            let told = &server.writes[server.writes.len() - 1];
            let of = &told.write.tool.name;
            match self::of(&self.world, told) {
                Undo::Nothing => {}
                Undo::Never(reason) => {
                    return Err(RestoreError::Unrestorable(format!(
                        "`{of}` cannot be taken back: {reason}"
                    )));
                }
                Undo::Call {
                    tool,
                    arguments,
                    check,
                } => {
                    let what = format!("undoing `{of}` by `{}`", tool.name);
                    server.unsure = Some(format!("{what} was cut off"));
                    match self.take_back(&tool, &arguments, check.as_ref(), cx).await {
                        Ok(made) => calls += made,
                        Err(reason) => {
                            let reason = format!("{what} {reason}");
                            server.unsure = Some(reason.clone());
                            return Err(RestoreError::Unrestorable(reason));
                        }
                    }
                    server.unsure = None;
                }
            }
            server.writes.pop();
        }
        Ok(calls)
    }

    /// Makes the call that takes a write back, and reads back whether it did. How many calls that
    /// took, or what went wrong: completes "undoing …".
    async fn take_back(
        &mut self,
        tool: &Tool,
        arguments: &Map<String, Value>,
        check: Option<&Check>,
        cx: &Cx,
    ) -> Result<u32, String> {
        let reply = self.direct(&tool.source, &tool.name, arguments, cx).await;
        let reply = reply.map_err(|reason| format!("got no answer: {reason}"))?;
        if reply.error {
            return Err(format!("failed: {}", shown(&reply.content)));
        }
        let Some(check) = check else {
            return Ok(1);
        };
        let (read, arguments) = (&check.tool, &check.arguments);
        let now = self.direct(&read.source, &read.name, arguments, cx).await;
        let now = now.map_err(|reason| format!("could not be checked: {reason}"))?;
        let volatile = self.world.volatile.get(&read.source);
        let holds = match &check.before {
            None => now.error,
            Some(before) => masked(&now, volatile) == masked(before, volatile),
        };
        if holds {
            return Ok(2);
        }
        Err(format!(
            "did not take it back: `{}` gives {}",
            read.name,
            shown(&now.content)
        ))
    }

    /// Puts the server back by undo rules: back to what is common, then forward again.
    pub(super) async fn back_by_undo(
        &mut self,
        to: &State,
        want: Digest,
        server: &mut Server,
        cx: &Cx,
    ) -> Result<u32, RestoreError> {
        let keep = server.common(&to.writes);
        if keep < server.kept {
            return Err(RestoreError::Unrestorable(
                "a commit wrote since, and that stays".to_owned(),
            ));
        }
        let mut calls = self.undo_to(keep, server, cx).await?;
        for write in &to.writes[keep..] {
            let (source, name) = (&write.tool.source, &write.tool.name);
            server.unsure = Some(format!("`{name}` was being repeated"));
            let reply = self.direct(source, name, &write.arguments, cx).await;
            let reply = reply.map_err(|reason| {
                let reason = format!("repeating `{name}`: {reason}");
                server.unsure = Some(reason.clone());
                RestoreError::Unrestorable(reason)
            })?;
            server.unsure = None;
            calls += 1;
            server.writes.push(Told {
                write: Arc::clone(write),
                reply: Arc::new(reply),
            });
            self.check_repeat(want, server, cx).await?;
        }
        Ok(calls)
    }

    /// Compares the answer of the last write, which was repeated, with what it gave first; takes it
    /// back where they differ.
    async fn check_repeat(
        &mut self,
        want: Digest,
        server: &mut Server,
        cx: &Cx,
    ) -> Result<(), RestoreError> {
        let before = server.writes.len() - 1;
        let Told { write, reply } = &server.writes[before];
        let (source, volatile) = (&write.tool.source, &self.world.volatile);
        let keys = volatile.get(source);
        if masked(reply, keys) == masked(&write.reply, keys) {
            return Ok(());
        }
        let diverged = RestoreError::Diverged {
            want,
            got: Digest::of(reply.content.to_string()),
            detail: format!(
                "`{}` was answered differently when repeated: {}",
                write.tool.name,
                differs(source, &write.reply, reply, volatile)
            ),
        };
        self.undo_to(before, server, cx).await?;
        Err(diverged)
    }
}
