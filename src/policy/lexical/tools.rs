//! The lexical policy over calls of tools: word overlap between the goal and the names and
//! descriptions of tools and parameters; arguments from the goal and from what was answered.
//!
//! **Tools.** With `w` the rarity of a word among the tools: `1.6 · (share of its name that the goal
//! says) + 0.8 · (share of its description)`; words for reading ("get", "list", "find") count a
//! fifth. A tool whose required arguments nothing gives cannot be called; what makes one callable
//! is called first: tools that the description of the missing parameter names ("as search gives
//! it") or that share its noun take over a part of its score.
//!
//! **Arguments**, best first: the value that the goal gives under the parameter's whole name (of two
//! or more words: it goes nowhere else), or under a word of it; a value of
//! its `enum`, or one that its description lists, that the goal says; a quoted part whose words fit;
//! a number beside the parameter's noun; a value of a reply under the same name, or the identifier
//! of a record of the parameter's noun, the more the record's own words stand in the goal, and the
//! extreme one where the goal has a superlative; for parameters that search, the goal's object.
//! Optional ones are left out unless the goal gives them.
//!
//! **Ends.** A question is answered by the value whose names and record share most words with it.
//! Anything else is finished after a call that did what the goal says, as far as its words tell.
//!
//! **What it cannot do**: everything that the lexical policy of pages cannot do either.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::proposer::Scored;
use crate::llm::replies::{Call, Fact, READING, answers, calls, covered, name_words, plain};
use crate::llm::words::{Goal, Literal, Measure, count, figure, terms, words};
use crate::types::{Action, ActionSpec, View};

/// Field names that name a record.
const IDENTIFIERS: &[&str] = &["id", "slug", "code", "key", "number", "uuid", "name"];
/// An argument that is not required is given from this score on.
const SURE: f64 = 2.0;
/// Values that are tried for one argument.
const VARIANTS: usize = 3;
/// How many calls before the one that the goal names are planned back.
const BACK: usize = 3;

/// A tool that can be called.
struct Tool<'a> {
    spec: &'a ActionSpec,
    name: Vec<String>,
    relevance: f64,
    parameters: Vec<Parameter<'a>>,
}

struct Parameter<'a> {
    name: &'a str,
    words: Vec<String>,
    description: &'a str,
    described: Vec<String>,
    schema: &'a Value,
    required: bool,
}

/// A value for a parameter.
#[derive(Debug, Clone)]
struct Choice {
    value: Value,
    score: f64,
}

struct Talk<'a> {
    view: &'a View<'a>,
    goal: Goal,
    calls: Vec<Call>,
    tools: Vec<Tool<'a>>,
}

/// Everything that could be done, best first.
pub(super) fn scored(view: &View<'_>) -> Vec<Scored> {
    Talk::of(view).scored()
}

impl<'a> Talk<'a> {
    fn of(view: &'a View<'a>) -> Self {
        let goal = Goal::of(view.goal);
        let specs: Vec<&ActionSpec> = view
            .actions
            .iter()
            .filter(|spec| !spec.terminal && !is_ours(&spec.name))
            .collect();
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for spec in &specs {
            let mut all = name_words(&spec.name);
            all.extend(terms(&spec.description));
            all.sort();
            all.dedup();
            for word in all {
                *seen.entry(word).or_default() += 1;
            }
        }
        let n = count(specs.len());
        let weight = |word: &String| {
            let rare = (1.0 + n / count(seen.get(word).copied().unwrap_or(1))).ln();
            if READING.contains(&word.as_str()) {
                rare / 5.0
            } else {
                rare
            }
        };
        let share = |text: &[String]| {
            let all: f64 = text.iter().map(weight).sum();
            let said = text.iter().filter(|word| goal.terms.contains(word));
            if all > 0.0 {
                said.map(weight).sum::<f64>() / all
            } else {
                0.0
            }
        };
        let tools = specs
            .into_iter()
            .map(|spec| {
                let name: Vec<String> = name_words(&spec.name)
                    .into_iter()
                    .filter(|word| !terms(word).is_empty())
                    .collect();
                let relevance = 1.6 * share(&name) + 0.8 * share(&terms(&spec.description));
                Tool {
                    spec,
                    relevance,
                    parameters: parameters(spec),
                    name,
                }
            })
            .collect();
        Self {
            view,
            goal,
            calls: calls(view.observation),
            tools,
        }
    }

    fn scored(&self) -> Vec<Scored> {
        let mut needed: BTreeMap<&str, f64> = BTreeMap::new();
        for tool in &self.tools {
            self.plan_back(tool, tool.relevance, BACK, &mut needed);
        }
        let mut all = Vec::new();
        for tool in &self.tools {
            let score = needed.get(tool.spec.name.as_str()).copied();
            let score = score.map_or(tool.relevance, |more| more.max(tool.relevance));
            for (arguments, sure) in self.arguments(tool) {
                let action = Action::new(&tool.spec.name, Value::Object(arguments));
                all.push(Scored {
                    score: score + 0.3 * sure - self.repeated(&action),
                    why: format!("{} fits the goal by {:.2}", tool.spec.name, tool.relevance),
                    action,
                });
            }
        }
        all.extend(self.ends());
        let tried: Vec<&Action> = self.view.siblings.iter().map(|s| &s.action).collect();
        all.retain(|scored| !tried.contains(&&scored.action) && scored.score > -2.0);
        all.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut known: Vec<Action> = Vec::new();
        all.retain(|scored| {
            let new = !known.contains(&scored.action);
            known.push(scored.action.clone());
            new
        });
        all
    }

    /// What a call that cannot be made yet is worth to the calls that would make it possible.
    fn plan_back<'b>(
        &'b self,
        tool: &'b Tool<'a>,
        worth: f64,
        left: usize,
        needed: &mut BTreeMap<&'b str, f64>,
    ) {
        let missing = tool
            .parameters
            .iter()
            .filter(|p| p.required && self.best(tool, p) < 1.0);
        for parameter in missing {
            let hint = squashed(parameter.description);
            for other in &self.tools {
                if left == 0 || std::ptr::eq(other, tool) {
                    continue;
                }
                let named = hint.contains(&squashed(&other.spec.name));
                let nouns = other.name.iter().any(|word| {
                    !READING.contains(&word.as_str())
                        && (parameter.words.contains(word) || tool.name.contains(word))
                });
                let reads = other.name.iter().any(|w| READING.contains(&w.as_str()));
                let worth = match (named, nouns && reads) {
                    (true, _) => worth * 0.95,
                    (false, true) => worth * 0.6,
                    (false, false) => continue,
                };
                let known = needed.entry(other.spec.name.as_str()).or_insert(0.0);
                if worth > *known {
                    *known = worth;
                    self.plan_back(other, worth, left - 1, needed);
                }
            }
        }
    }

    fn best(&self, tool: &Tool<'_>, parameter: &Parameter<'_>) -> f64 {
        let choices = self.choices(tool, parameter);
        choices.first().map_or(0.0, |choice| choice.score)
    }

    /// How much an action loses because it was done on the way here.
    fn repeated(&self, action: &Action) -> f64 {
        let same = self.view.path.iter().filter(|step| step.action == *action);
        // The same tool with other arguments: less if it gave nothing.
        let others = self
            .calls
            .iter()
            .filter(|call| call.tool == action.name && call.arguments != action.arguments);
        let other: f64 = others
            .map(|call| if call.facts.len() < 3 { 0.1 } else { 0.9 })
            .sum();
        6.0 * count(same.count()) + other
    }

    /// Sets of arguments, best first, each with how sure it is: its weakest part.
    fn arguments(&self, tool: &Tool<'_>) -> Vec<(Map<String, Value>, f64)> {
        let mut sets: Vec<(Map<String, Value>, f64)> = vec![(Map::new(), 3.0)];
        for parameter in &tool.parameters {
            let mut choices = self.choices(tool, parameter);
            if !parameter.required {
                choices.retain(|choice| choice.score >= SURE);
                if !searches(parameter) {
                    choices.truncate(1);
                }
            } else if choices.is_empty() {
                return Vec::new();
            }
            choices.truncate(VARIANTS);
            if choices.is_empty() {
                continue;
            }
            let mut next = Vec::new();
            for (arguments, sure) in &sets {
                for choice in &choices {
                    let mut arguments = arguments.clone();
                    arguments.insert(parameter.name.to_owned(), choice.value.clone());
                    // Given arguments that nobody had to give speak for the call.
                    let bonus = if parameter.required { 0.0 } else { 0.5 };
                    next.push((arguments, sure.min(choice.score) + bonus));
                }
            }
            next.sort_by(|a, b| b.1.total_cmp(&a.1));
            next.truncate(VARIANTS);
            sets = next;
        }
        sets
    }

    /// Values for a parameter, best first.
    fn choices(&self, tool: &Tool<'_>, parameter: &Parameter<'_>) -> Vec<Choice> {
        let mut all: Vec<Choice> = Vec::new();
        let mut offer = |value: Option<Value>, score: f64| {
            let Some(value) = value else { return };
            match all.iter_mut().find(|known| known.value == value) {
                Some(known) => known.score = known.score.max(score),
                None => all.push(Choice { value, score }),
            }
        };
        let fits = |text: &str| typed(parameter.schema, text);
        let nouns = |words: &[String]| words.iter().any(|word| parameter.words.contains(word));
        for literal in &self.goal.literals {
            // The goal may say whole names: `bucket id "shop"` is the bucket's and no other's.
            let meant = meant(tool, literal);
            let whole = meant > 0 && parameter.words.len() == meant && says(parameter, literal);
            if meant > 1 && !whole {
                continue;
            }
            let own = whole || nouns(&literal.keys);
            let told = literal
                .keys
                .iter()
                .any(|word| parameter.described.contains(word) || tool.name.contains(word));
            let score = match (own, told, literal.keyed) {
                (true, _, _) if whole => 3.8,
                (true, _, _) => 3.5,
                (false, true, _) => 2.2,
                (false, false, true) => continue,
                (false, false, false) => 0.6,
            };
            offer(fits(&literal.text), score);
        }
        if let Some(options) = parameter.schema["enum"].as_array() {
            for option in options.iter().filter(|option| !option.is_null()) {
                if self.goal.says(&words(&plain(option))) {
                    offer(Some(option.clone()), 3.0);
                }
            }
        }
        for example in listed(parameter.description) {
            if self.goal.says(&words(example)) {
                offer(fits(example), 3.0);
            }
        }
        let numbers = self.numbers();
        let named = nouns(&self.goal.terms);
        for (number, beside) in &numbers {
            let own = nouns(beside) || (named && numbers.len() == 1);
            let noun = beside.iter().any(|word| {
                tool.name.contains(word)
                    && IDENTIFIERS.contains(&parameter.words.join(" ").as_str())
            });
            let amount = parameter
                .words
                .iter()
                .any(|w| w == "quantity" || w == "amount");
            let score = match (own || noun, amount) {
                // What the goal says goes before what is so now.
                (true, _) => 4.0,
                (false, true) => 2.1,
                (false, false) => continue,
            };
            offer(fits(number), score);
        }
        let hint = squashed(parameter.description);
        for (age, call) in self.calls.iter().rev().enumerate() {
            if call.failed {
                continue;
            }
            let named = hint.contains(&squashed(&call.tool));
            for fact in &call.facts {
                let fit = Self::fact_fits(tool, parameter, fact);
                if fit <= 0.0 {
                    continue;
                }
                let mut score = fit + self.record_score(call, fact);
                score += if named { 0.6 } else { 0.0 };
                score += if age == 0 { 0.2 } else { 0.0 };
                offer(fits(&plain(&fact.value)), score);
            }
        }
        if searches(parameter) {
            for (place, query) in self.goal.queries.iter().enumerate() {
                offer(fits(query), SURE + 0.4 - 0.1 * count(place));
            }
        }
        all.sort_by(|a, b| b.score.total_cmp(&a.score));
        all
    }

    /// How well a value's names fit a parameter.
    fn fact_fits(tool: &Tool<'_>, parameter: &Parameter<'_>, fact: &Fact) -> f64 {
        let identifies = fact.key.len() == 1 && IDENTIFIERS.contains(&fact.key[0].as_str());
        let asks_id =
            parameter.words.len() == 1 && IDENTIFIERS.contains(&parameter.words[0].as_str());
        let of = |names: &[String], words: &[String]| names.iter().any(|n| words.contains(n));
        if !fact.key.is_empty() && fact.key == parameter.words {
            return 1.4;
        }
        if identifies && of(&fact.holder, &parameter.words) {
            return 1.4;
        }
        // The value of a field `order`, for the id of a tool about orders.
        if asks_id && fact.key.len() == 1 && tool.name.contains(&fact.key[0]) {
            return 1.3;
        }
        let last = parameter.words.last();
        if last.is_some_and(|noun| fact.key.len() == 1 && fact.key[0] == *noun) {
            return 1.2;
        }
        if asks_id && of(&fact.key, &parameter.described) && !identifies {
            return 0.9;
        }
        0.0
    }

    /// How far a value's record is what the goal speaks of.
    fn record_score(&self, call: &Call, fact: &Fact) -> f64 {
        let said = fact.terms.iter().filter(|t| self.goal.terms.contains(t));
        let mut score = (0.45 * count(said.count())).min(1.6);
        if let Some(extreme) = self.goal.extreme {
            let figures: Vec<(usize, f64)> = call
                .facts
                .iter()
                .filter(|other| other.holder == fact.holder)
                .filter_map(|other| Some((other.record, measured(other, extreme.measure)?)))
                .collect();
            let best = figures
                .iter()
                .map(|(_, figure)| *figure)
                .reduce(|a, b| if (a > b) == extreme.largest { a } else { b });
            let own = figures.iter().find(|(record, _)| *record == fact.record);
            if own.is_some_and(|(_, figure)| Some(*figure) == best) && figures.len() > 1 {
                score += 1.2;
            }
        }
        score
    }

    /// Numbers of the goal outside of its literals, each with the words beside it.
    fn numbers(&self) -> Vec<(String, Vec<String>)> {
        const SPELT: [&str; 9] = [
            "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
        ];
        let all = words(self.view.goal);
        let number = |word: &String| {
            if word.chars().all(|c| c.is_ascii_digit() || c == '.') {
                return Some(word.clone());
            }
            let place = SPELT.iter().position(|spelt| spelt == word)?;
            Some((place + 2).to_string())
        };
        let beside = |at: usize| {
            let from = at.saturating_sub(1);
            let near = all[from..(at + 3).min(all.len())].iter();
            near.filter(|word| number(word).is_none())
                .cloned()
                .collect()
        };
        // The 3 of "order-3" is none.
        let parts = self.goal.literals.iter();
        let parts = parts.filter(|literal| literal.text.parse::<f64>().is_err());
        let quoted: Vec<String> = parts.flat_map(|l| words(&l.text)).collect();
        (0..all.len())
            .filter(|at| !quoted.contains(&all[*at]))
            .filter_map(|at| Some((number(&all[at])?, beside(at))))
            .collect()
    }

    // --- ends -----------------------------------------------------------------------------------

    fn ends(&self) -> Vec<Scored> {
        let Some(spec) = self.view.actions.iter().find(|spec| spec.name == "finish") else {
            return Vec::new();
        };
        let end = |answer: &str, score: f64, why: &str| Scored {
            action: Action::new(&spec.name, json!({ "answer": answer })),
            score,
            why: why.to_owned(),
        };
        if let Some(asked) = self.goal.asked {
            let mut best: Vec<(String, f64)> = self
                .calls
                .iter()
                .enumerate()
                .filter(|(_, call)| !call.failed)
                .flat_map(|(at, call)| {
                    let newest = at + 1 == self.calls.len();
                    call.facts.iter().map(move |fact| (call, fact, newest))
                })
                .map(|(call, fact, newest)| {
                    let fresh = if newest { 0.3 } else { 0.0 };
                    let near = answers(&self.goal, asked, call, fact);
                    (plain(&fact.value), near + fresh)
                })
                .collect();
            best.sort_by(|a, b| b.1.total_cmp(&a.1));
            best.dedup_by(|a, b| a.0 == b.0);
            let why = "its names and its record share most words with the question";
            return best
                .iter()
                .take(VARIANTS)
                .map(|(answer, near)| end(answer, near - 0.4, why))
                .collect();
        }
        let Some(last) = self.calls.last().filter(|call| !call.failed) else {
            return Vec::new();
        };
        let done = covered(&self.goal, &self.calls);
        let acted = !name_words(&last.tool)
            .iter()
            .any(|word| READING.contains(&word.as_str()));
        let score = if acted && done >= 0.99 {
            4.0
        } else {
            1.2 * done - 0.8
        };
        vec![end("done", score, "the calls say what the goal says")]
    }
}

/// What a record measures, where one of its fields does.
fn measured(fact: &Fact, measure: Measure) -> Option<f64> {
    let named = |names: &[&str]| {
        let found = fact.fields.iter().find(|(key, value)| {
            value.is_number() && key.iter().any(|w| names.contains(&w.as_str()))
        });
        found.and_then(|(_, value)| value.as_f64())
    };
    match measure {
        Measure::Money => named(&["cent", "price", "cost", "amount", "total"]),
        Measure::Rating => named(&["rating", "star", "score"]),
        Measure::Days => {
            let mut texts = fact.fields.iter().filter_map(|(_, value)| value.as_str());
            texts.find_map(|text| figure(text, Measure::Days))
        }
        Measure::Number => None,
    }
}

/// The environment's own actions, beside the tools.
fn is_ours(name: &str) -> bool {
    matches!(name, "batch" | "more" | "call" | "search_tools")
}

fn parameters(spec: &ActionSpec) -> Vec<Parameter<'_>> {
    let required = &spec.parameters["required"];
    spec.parameters["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, schema)| {
            let description = schema["description"].as_str().unwrap_or_default();
            Parameter {
                name,
                words: name_words(name),
                described: terms(description),
                description,
                schema,
                required: required
                    .as_array()
                    .is_some_and(|all| all.iter().any(|one| one == name)),
            }
        })
        .collect()
}

/// Whether all words of a parameter's name stand beside the literal.
fn says(parameter: &Parameter<'_>, literal: &Literal) -> bool {
    let words = &parameter.words;
    !words.is_empty() && words.iter().all(|word| literal.keys.contains(word))
}

/// How many words the longest name of a parameter has that stands whole beside a literal.
fn meant(tool: &Tool<'_>, literal: &Literal) -> usize {
    let said = tool.parameters.iter().filter(|p| says(p, literal));
    said.map(|parameter| parameter.words.len())
        .max()
        .unwrap_or(0)
}

/// Whether a parameter takes words to look for.
fn searches(parameter: &Parameter<'_>) -> bool {
    let named = parameter
        .words
        .iter()
        .any(|word| matches!(word.as_str(), "q" | "query" | "search" | "keyword"));
    named
        || parameter
            .described
            .iter()
            .any(|word| word == "look" || word == "search")
}

/// Letters and digits only, lower case: `addToCart` and `add_to_cart` are one.
fn squashed(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// The values that a description lists after a colon: "who it is for: ada, grace or alan".
fn listed(description: &str) -> Vec<&str> {
    let Some((_, list)) = description.split_once(':') else {
        return Vec::new();
    };
    list.split([',', ';', '.'])
        .flat_map(|part| part.split(" or "))
        .map(|part| part.trim().trim_matches(['"', '\'', '`']))
        .filter(|part| !part.is_empty() && !part.contains(' '))
        .collect()
}

/// A text as a value of a parameter's type, if it can be one.
fn typed(schema: &Value, text: &str) -> Option<Value> {
    let takes = |name: &str| match &schema["type"] {
        Value::String(one) => one == name,
        Value::Array(all) => all.iter().any(|one| one == name),
        _ => false,
    };
    let value = if takes("integer") {
        Value::from(text.trim().parse::<i64>().ok()?)
    } else if takes("number") {
        Value::from(text.trim().parse::<f64>().ok()?)
    } else if takes("string") {
        Value::from(text)
    } else if takes("array") {
        let items = if schema["items"]["type"].is_null() {
            &json!({ "type": "string" })
        } else {
            &schema["items"]
        };
        Value::Array(vec![typed(items, text)?])
    } else {
        return None;
    };
    let known = schema["enum"].as_array();
    (known.is_none_or(|all| all.contains(&value))).then_some(value)
}
