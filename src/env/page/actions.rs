//! The actions of a page, their schemas and their parsing. One source for both: the argument types.

use schemars::{JsonSchema, schema_for};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::types::{Action, ActionSpec, Notice, REFERENCE_PATTERN, Rejection};

/// An element reference: `"12"`, also accepted as `12` or `"[12]"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::env) struct Ref(pub u32);

impl<'de> Deserialize<'de> for Ref {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let text = match &value {
            Value::String(text) => text.trim_matches(|c: char| !c.is_ascii_digit()).to_owned(),
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        text.parse().map(Self).map_err(|_| {
            D::Error::custom(format!(
                "{value} is no element reference (expected for example \"12\")"
            ))
        })
    }
}

impl JsonSchema for Ref {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Ref".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": REFERENCE_PATTERN})
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(in crate::env) enum Direction {
    Up,
    Down,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::env) struct OnRef {
    #[serde(rename = "ref")]
    pub target: Ref,
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::env) struct Fill {
    #[serde(rename = "ref")]
    pub target: Ref,
    /// Replaces what the field holds.
    pub text: String,
    /// Press Enter afterwards.
    #[serde(default)]
    pub submit: bool,
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::env) struct Select {
    #[serde(rename = "ref")]
    pub target: Ref,
    /// The option's label.
    pub option: String,
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::env) struct Check {
    #[serde(rename = "ref")]
    pub target: Ref,
    #[serde(default = "yes")]
    pub on: bool,
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::env) struct Press {
    /// For example Enter, Tab, Escape, `ArrowDown`, Control+a, x.
    pub key: String,
    #[serde(rename = "ref", default)]
    pub target: Option<Ref>,
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::env) struct Scroll {
    pub direction: Direction,
    /// An element inside the pane to scroll; the page without it.
    #[serde(rename = "ref", default)]
    pub target: Option<Ref>,
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::env) struct Drag {
    pub from: Ref,
    pub to: Ref,
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::env) struct Goto {
    pub url: String,
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::env) struct TabIndex {
    /// Counted from 1, as listed.
    pub index: u32,
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::env) struct MaybeTab {
    /// Counted from 1; the active tab without it.
    #[serde(default)]
    pub index: Option<u32>,
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::env) struct Find {
    /// Words to look for, anywhere on the page.
    pub text: String,
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::env) struct Stop {
    /// The answer, where the goal asks for one.
    #[serde(default)]
    pub answer: Option<String>,
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::env) struct Nothing {}

fn yes() -> bool {
    true
}

/// What a carried-out action gives besides its effects on the page.
#[derive(Debug, Default)]
pub(in crate::env) struct Performed {
    pub notices: Vec<Notice>,
    /// The answer that it states, if it ends the task with one.
    pub answer: Option<String>,
    /// Whether it ends the task.
    pub terminal: bool,
}

/// A parsed action.
#[derive(Debug)]
pub(in crate::env) enum Verb {
    Click(OnRef),
    Fill(Fill),
    Select(Select),
    Check(Check),
    Hover(OnRef),
    Press(Press),
    Scroll(Scroll),
    Drag(Drag),
    Goto(Goto),
    Back,
    Forward,
    TabSwitch(TabIndex),
    TabOpen(Goto),
    TabClose(MaybeTab),
    Wait,
    Find(Find),
    Stop(Stop),
}

impl Verb {
    /// The element it acts on, where there is one.
    pub(in crate::env) fn target(&self) -> Option<Ref> {
        match self {
            Self::Click(a) | Self::Hover(a) => Some(a.target),
            Self::Fill(a) => Some(a.target),
            Self::Select(a) => Some(a.target),
            Self::Check(a) => Some(a.target),
            Self::Press(a) => a.target,
            Self::Scroll(a) => a.target,
            Self::Drag(a) => Some(a.from),
            Self::Goto(_)
            | Self::Back
            | Self::Forward
            | Self::TabSwitch(_)
            | Self::TabOpen(_)
            | Self::TabClose(_)
            | Self::Wait
            | Self::Find(_)
            | Self::Stop(_) => None,
        }
    }
}

type Parse = fn(&Action) -> Result<Verb, Rejection>;

struct Definition {
    name: &'static str,
    description: &'static str,
    schema: fn() -> Value,
    parse: Parse,
}

macro_rules! definitions {
    ($($name:literal $args:ty => $variant:expr, $text:literal;)*) => {
        &[$(Definition {
            name: $name,
            description: $text,
            schema: schema::<$args>,
            parse: |action| arguments::<$args>(action).map($variant),
        }),*]
    };
}

const DEFINITIONS: &[Definition] = definitions! {
    "click" OnRef => Verb::Click, "Click an element.";
    "fill" Fill => Verb::Fill, "Type into a field, replacing its content; submit presses Enter.";
    "select" Select => Verb::Select, "Choose an option of a combobox by its label; in a listbox, switch it on or off.";
    "check" Check => Verb::Check, "Tick (on) or untick a checkbox, radio or switch.";
    "hover" OnRef => Verb::Hover, "Move the mouse over an element.";
    "press" Press => Verb::Press, "Press a key or combination, on an element if one is given.";
    "scroll" Scroll => Verb::Scroll, "Scroll most of a screen up or down.";
    "drag" Drag => Verb::Drag, "Drag one element onto another.";
    "goto" Goto => Verb::Goto, "Load a URL in the active tab.";
    "back" Nothing => |_| Verb::Back, "Go back in the tab's history.";
    "forward" Nothing => |_| Verb::Forward, "Go forward in the tab's history.";
    "tab_switch" TabIndex => Verb::TabSwitch, "Make another tab the active one.";
    "tab_open" Goto => Verb::TabOpen, "Open a URL in a new tab.";
    "tab_close" MaybeTab => Verb::TabClose, "Close a tab.";
    "wait" Nothing => |_| Verb::Wait, "Wait a little for the page to change.";
    "find" Find => Verb::Find, "Find text on the whole page and scroll to it.";
    "stop" Stop => Verb::Stop, "End the task: the goal is reached, or this is the answer.";
};

/// What can be done in a browser, in a stable order.
#[must_use]
pub fn action_specs() -> Vec<ActionSpec> {
    DEFINITIONS
        .iter()
        .map(|d| ActionSpec {
            name: d.name.to_owned(),
            description: d.description.to_owned(),
            parameters: (d.schema)(),
            outside: false,
            terminal: d.name == "stop",
            together: false,
        })
        .collect()
}

/// Parses an action, or says what is wrong with it.
pub(in crate::env) fn parse(action: &Action) -> Result<Verb, Rejection> {
    let Some(definition) = DEFINITIONS.iter().find(|d| d.name == action.name) else {
        let mut names: Vec<&str> = DEFINITIONS.iter().map(|d| d.name).collect();
        names.sort_by(|a, b| {
            let near = |name: &str| strsim::jaro_winkler(name, &action.name);
            near(b).total_cmp(&near(a))
        });
        return Err(Rejection {
            reason: format!("there is no action `{}`", action.name),
            nearest: names.into_iter().take(3).map(str::to_owned).collect(),
        });
    };
    (definition.parse)(action)
}

fn arguments<T: DeserializeOwned>(action: &Action) -> Result<T, Rejection> {
    serde_json::from_value(Value::Object(action.arguments.clone()))
        .map_err(|error| Rejection::new(format!("bad arguments for `{}`: {error}", action.name)))
}

fn schema<T: JsonSchema>() -> Value {
    let mut schema = schema_for!(T).to_value();
    if let Some(object) = schema.as_object_mut() {
        object.remove("$schema");
        object.remove("title");
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_are_read_in_every_spelling() {
        for spelling in [json!("12"), json!(12), json!("[12]"), json!("ref 12")] {
            let action = Action::new("click", json!({"ref": spelling}));
            assert!(matches!(
                parse(&action),
                Ok(Verb::Click(OnRef { target: Ref(12) }))
            ));
        }
        let rejected = parse(&Action::new("click", json!({"ref": true}))).unwrap_err();
        assert!(
            rejected.reason.contains("no element reference"),
            "{rejected}"
        );
    }

    #[test]
    fn mistakes_are_named() {
        let unknown = parse(&Action::new("clik", json!({"ref": "1"}))).unwrap_err();
        assert_eq!(unknown.reason, "there is no action `clik`");
        assert_eq!(unknown.nearest[0], "click");
        let extra = parse(&Action::new("back", json!({"far": 1}))).unwrap_err();
        assert!(extra.reason.contains("unknown field `far`"), "{extra}");
        let missing = parse(&Action::new("fill", json!({"ref": "1"}))).unwrap_err();
        assert!(missing.reason.contains("missing field `text`"), "{missing}");
    }

    #[test]
    fn schemas_are_plain_objects() {
        for spec in action_specs() {
            assert_eq!(spec.parameters["type"], "object", "{}", spec.name);
            assert!(spec.parameters.get("$defs").is_none(), "{}", spec.name);
        }
        insta::assert_json_snapshot!(action_specs()[1].parameters["properties"]["ref"], @r#"
        {
          "pattern": "^[0-9]+$",
          "type": "string"
        }
        "#);
    }
}
