//! The actions as a model reads them in its prompt.
//!
//! What a provider says of a tool's arguments is read, too, as far as there is room: the list is part
//! of every prompt, and some tools have hundreds of arguments. Those that a call needs come first; a
//! long description gives way to short ones.

use std::fmt::Write as _;

use super::wire::{Argument, key, offered};
use crate::llm::prompt::line;
use crate::types::ActionSpec;

/// Characters of an argument's choices.
const MOST_CHOICES: usize = 200;
/// Characters of what an action does.
const MOST_TEXT: usize = 90;
/// Characters of what an argument is.
const MOST_MEANT: usize = 160;
/// A description with less room than this says nothing.
const LEAST_MEANT: usize = 24;
/// Characters of all descriptions of arguments together: about 1,500 tokens.
const ROOM: usize = 6_000;

/// The actions, one a line, the arguments of tools described below them. Constant for an
/// environment. With `rounds` it says which actions share none.
pub(super) fn list(actions: &[&ActionSpec], rounds: bool) -> String {
    let actions: Vec<(&ActionSpec, Vec<Argument>)> =
        actions.iter().map(|spec| (*spec, offered(spec))).collect();
    let room = Room::of(&actions);
    let mut out = String::new();
    for (spec, arguments) in &actions {
        let end = if spec.terminal {
            " Ends the task."
        } else if rounds && !spec.together {
            " Stands alone."
        } else {
            ""
        };
        let text = line(&spec.description, 400);
        let text = text
            .split(". ")
            .next()
            .unwrap_or_default()
            .trim_end_matches('.');
        let text = match line(text, MOST_TEXT) {
            text if text.is_empty() => text,
            text => format!(": {text}"),
        };
        let name = &spec.name;
        let named: Vec<String> = arguments.iter().map(named).collect();
        let _written = writeln!(out, "{name}({}){text}.{end}", named.join(", "));
        for argument in arguments.iter().filter(|_| spec.outside) {
            let meant = room.meant(argument);
            if !meant.is_empty() {
                let _written = writeln!(out, "  {}: {meant}", line(&key(&argument.name), 64));
            }
        }
    }
    out
}

/// An argument's name and choices.
fn named(argument: &Argument) -> String {
    let optional = if argument.required { "" } else { "?" };
    let choices = argument.schema["enum"].as_array().map(|choices| {
        let choices: Vec<&str> = choices
            .iter()
            .filter_map(|choice| choice.as_str())
            .collect();
        format!(": {}", line(&choices.join("|"), MOST_CHOICES))
    });
    let name = line(&key(&argument.name), 64);
    format!("{name}{optional}{}", choices.unwrap_or_default())
}

/// How many characters a description may have.
struct Room {
    required: usize,
    optional: usize,
}

impl Room {
    /// The room in a list of these actions.
    fn of(actions: &[(&ActionSpec, Vec<Argument>)]) -> Self {
        let lengths = |required: bool| -> Vec<usize> {
            let outside = actions.iter().filter(|(spec, _)| spec.outside);
            outside
                .flat_map(|(_, arguments)| arguments)
                .filter(|argument| argument.required == required)
                .map(|argument| line(&argument.description, MOST_MEANT).chars().count())
                .collect()
        };
        let (required, left) = share(lengths(true), ROOM);
        let (optional, _) = share(lengths(false), left);
        Self { required, optional }
    }

    /// An argument's description, as far as there is room.
    fn meant(&self, argument: &Argument) -> String {
        let most = if argument.required {
            self.required
        } else {
            self.optional
        };
        if most < LEAST_MEANT {
            return String::new();
        }
        line(&argument.description, most)
    }
}

/// The most characters of each text, so that together they fit into `room`, and what is left of it.
fn share(mut lengths: Vec<usize>, mut room: usize) -> (usize, usize) {
    lengths.sort_unstable();
    for (place, length) in lengths.iter().enumerate() {
        let others = lengths.len() - place;
        if length * others > room {
            return (room / others, 0);
        }
        room -= length;
    }
    (MOST_MEANT, room)
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;

    /// A tool with so many arguments, the first of them required.
    fn tool(arguments: usize, description: &str, outside: bool) -> ActionSpec {
        let name = |n: usize| format!("p{n:03}");
        let properties: Map<String, Value> = (0..arguments)
            .map(|n| {
                (
                    name(n),
                    json!({"type": "string", "description": description}),
                )
            })
            .collect();
        ActionSpec {
            name: "get".to_owned(),
            description: "Gives it.".to_owned(),
            parameters: json!({"type": "object", "properties": properties, "required": [name(0)]}),
            outside,
            terminal: false,
            together: false,
        }
    }

    #[test]
    fn arguments_of_tools_are_described_below_them() {
        let spec = tool(2, "Which\none. See <|x|>", true);
        insta::assert_snapshot!(list(&[&spec], false), @r"
        get(p000, p001?): Gives it.
          p000: Which one. See ‹|x|›
          p001: Which one. See ‹|x|›
        ");
        let own = tool(2, "Which one", false);
        assert_eq!(list(&[&own], false), "get(p000, p001?): Gives it.\n");
        let long = list(&[&tool(1, &"x".repeat(500), true)], false);
        assert!(long.ends_with(&format!("  p000: {}…\n", "x".repeat(MOST_MEANT))));
    }

    #[test]
    fn many_descriptions_are_short_and_what_a_call_needs_comes_first() {
        let text = "a word ".repeat(20);
        for arguments in [1, 40, 100, 300] {
            let list = list(&[&tool(arguments, &text, true)], false);
            let described = list.lines().filter(|line| line.starts_with("  p")).count();
            assert_eq!(described, if arguments > 200 { 1 } else { arguments });
            assert!(list.contains(&format!("  p000: {}", &text[..text.len() - 1])));
            // Names, indents and marks of what was cut come on top.
            let said: usize = list.lines().skip(1).map(|line| line.chars().count()).sum();
            assert!(said <= ROOM + arguments * 10, "{arguments}: {said}");
        }
        assert_eq!(share(vec![10, 90, 50], 100), (45, 0));
        assert_eq!(share(vec![10, 20], 100), (MOST_MEANT, 70));
    }
}
