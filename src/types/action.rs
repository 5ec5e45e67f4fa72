//! Actions: a tool call everywhere, in the browser too.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::UnitF32;

/// A call of one of the environment's actions.
///
/// Equality is by name and arguments (object keys are sorted, so spelling order does not count).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// The [`ActionSpec::name`] it calls.
    pub name: String,
    /// The arguments, valid by the spec's schema once the environment accepted it.
    #[serde(default)]
    pub arguments: Map<String, Value>,
}

impl Action {
    /// The terminal action by which an agent says that there is no way on from here. A state that
    /// it leads to is an end, and no solution.
    pub const GIVE_UP: &str = "give_up";

    /// Several independent calls of other actions as one (argument `calls`: an array of
    /// `{id, tool, arguments, after}`, where `after` names the calls that must be done before).
    pub const BATCH: &str = "batch";

    /// An action from its name and a JSON object (anything else counts as no arguments).
    #[must_use]
    pub fn new(name: &str, arguments: Value) -> Self {
        let arguments = match arguments {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        Self {
            name: name.to_owned(),
            arguments,
        }
    }

    /// A string argument.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.arguments.get(key).and_then(Value::as_str)
    }

    /// The element reference it acts on, where it has one (argument `ref`).
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        self.text("ref")
    }
}

impl std::fmt::Display for Action {
    /// `click(ref: "12")`: for people and prompts, not for parsing back.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}(", self.name)?;
        for (i, (key, value)) in self.arguments.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{key}: {value}")?;
        }
        f.write_str(")")
    }
}

/// JSON Schema `pattern` of an argument that names an element of the observation. Arguments of
/// tools have names of all kinds, so that a name alone (`ref`, `to`) says nothing.
pub const REFERENCE_PATTERN: &str = "^[0-9]+$";

/// What an environment can do, as a proposer sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionSpec {
    /// Unique within the environment, at most 64 characters of `[A-Za-z0-9_-]`.
    pub name: String,
    /// One or two sentences for the model.
    pub description: String,
    /// JSON Schema (2020-12) of the arguments object.
    pub parameters: Value,
    /// Whether description and parameters are another's words, a tool provider's: data to a model.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outside: bool,
    /// Whether calling it ends the episode (`stop`, `finish`).
    pub terminal: bool,
    /// Whether its calls may stand in an [`Action::BATCH`]. Others are actions of their own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub together: bool,
}

/// An action proposed under a state, not executed yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// What to do.
    pub action: Action,
    /// How likely the proposer finds it; the priors of one proposal sum to at most 1.
    pub prior: UnitF32,
    /// The proposer's reason, if it gave one. Shown to people; never an instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thought: Option<String>,
}

/// Why an action was not carried out. The state is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// What was wrong, naming the place: a lowercase sentence fragment.
    pub reason: String,
    /// What was probably meant, nearest first: for example elements as they are rendered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nearest: Vec<String>,
}

impl Rejection {
    /// A rejection that knows nothing nearer.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            nearest: Vec::new(),
        }
    }
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)?;
        if !self.nearest.is_empty() {
            write!(f, "; nearest: {}", self.nearest.join(", "))?;
        }
        Ok(())
    }
}
