//! Which call takes a write back.
//!
//! * Rules are tried in the registry's order; the first that applies counts. One that proves itself
//!   by an error (what was made is gone) does not apply where the thing was there before the write:
//!   it would remove what it did not make.
//! * What a rule needs of the time before the write is read before it is sent. A write that no rule
//!   could take back is held.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::env::ToolEnvironment;
use super::state::{Check, Undo};
use super::world::Shared;
use crate::context::Cx;
use crate::env::ActError;
use crate::env::tools::registry::{Template, UndoProof, UndoRule};
use crate::env::tools::{Reply, Tool};

/// A rule that may take a write back, as far as that is known before it is sent.
#[derive(Debug)]
pub(super) struct WayBack {
    rule: UndoRule,
    /// What its check gave, where the state before the write matters.
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

/// How a write is taken back, now that its reply is known.
pub(super) fn of(
    world: &Shared,
    tool: &Tool,
    arguments: &Map<String, Value>,
    reply: &Reply,
    ways: &[WayBack],
) -> Undo {
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
    for way in ways {
        match call(world, tool, arguments, reply, way) {
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
