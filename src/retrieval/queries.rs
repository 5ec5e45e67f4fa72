//! What to look for: the parts of a goal.

use serde_json::json;

use crate::context::Cx;
use crate::llm::{ChatError, ChatModel, ChatRequest, Message, ResponseFormat, Role, prompt};
use crate::types::Exchange;

/// The most queries that a model may write for one goal.
const MOST: usize = 5;
/// The most sentences of a query that are ranked beside the whole.
const MOST_PARTS: usize = 12;

/// The sentences of a text that say something: at least two words each. The text itself if there is
/// no such.
fn sentences(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next);
        let ends = match c {
            '\n' | '。' | '？' | '！' | '；' => true,
            '.' | '?' | '!' | ';' => next.is_none_or(char::is_whitespace),
            _ => false,
        };
        if ends {
            out.push(text[start..at].trim());
            start = at + c.len_utf8();
        }
    }
    out.push(text[start..].trim());
    let says = |part: &&str| part.split_whitespace().count() > 1 || part.chars().count() > 5;
    out.retain(says);
    if out.is_empty() {
        out.push(text.trim());
    }
    out
}

/// The sentences of a query that are ranked beside the whole: none if it is a single one.
pub(super) fn parts(query: &str) -> Vec<&str> {
    let mut parts = sentences(query);
    parts.truncate(if parts.len() == 1 { 0 } else { MOST_PARTS });
    parts
}

/// What a model makes of a goal, for a search in English documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wording {
    /// The goal in English.
    pub english: String,
    /// A query for each thing that has to be found or done.
    pub queries: Vec<String>,
}

/// What a model is told. Both examples are goals in other languages, since those are what a small
/// model would otherwise search for as they stand.
const SYSTEM: &str = r#"You prepare a search in the English documentation of API operations. Reply with JSON only:
"english": the user's goal, complete and in English; names and values stay as they are.
"queries": for each thing that has to be found or done, one short English query, a verb and its object, as the documentation of such an operation would say it; at most five.
Goal: Ich ziehe nach Lyon. Zeig mir Mietwohnungen unter 900 Euro. Wie ist dort die Luftqualität?
{"english": "I am moving to Lyon. Show me flats for rent under 900 euros. How is the air quality there?", "queries": ["search flats for rent by city and price", "get air quality of a city"]}
Goal: 帮我找一份西红柿的食谱，再把它发邮件给anna@example.com。
{"english": "Find me a recipe with tomatoes, then email it to anna@example.com.", "queries": ["search recipes by ingredient", "send an email"]}"#;

/// Asks a model for the wording of a goal. `None` stands for a reply without a usable one: the caller
/// falls back on the goal itself.
///
/// # Errors
/// [`ChatError`] of the provider.
pub async fn written(
    goal: &str,
    model: &dyn ChatModel,
    cx: &Cx,
) -> Result<(Option<Wording>, Exchange), ChatError> {
    let reply = model.chat(&request(goal), cx).await?;
    let text = reply.choices.first().map_or("", |choice| &choice.text);
    let exchange = Exchange {
        request: json!(request(goal)),
        reply: json!(text),
        cost: reply.cost,
    };
    Ok((wording(text), exchange))
}

fn request(goal: &str) -> ChatRequest {
    let schema = json!({
        "type": "object",
        "properties": {
            "english": { "type": "string" },
            "queries": {
                "type": "array",
                "items": { "type": "string" },
                "minItems": 1,
                "maxItems": MOST,
            },
        },
        "required": ["english", "queries"],
        "additionalProperties": false,
    });
    let goal = format!("Goal: {}", prompt::neutral(goal.trim()));
    ChatRequest {
        messages: vec![
            Message::new(Role::System, SYSTEM),
            Message::new(Role::User, goal),
        ],
        tools: Vec::new(),
        format: ResponseFormat::JsonSchema {
            name: "queries".to_owned(),
            schema,
        },
        n: 1,
        temperature: 0.0,
        top_p: None,
        seed: None,
        max_tokens: 500,
        top_logprobs: None,
    }
}

/// What a reply says, if it says the goal in English or at least one query.
fn wording(reply: &str) -> Option<Wording> {
    let object = prompt::object(reply, prompt::Cut::Close)?;
    let english = prompt::line(object["english"].as_str().unwrap_or_default(), 2000);
    let mut queries: Vec<String> = Vec::new();
    for query in object["queries"].as_array().into_iter().flatten() {
        let query = prompt::line(query.as_str().unwrap_or_default(), 200);
        if !query.is_empty() && !queries.contains(&query) {
            queries.push(query);
        }
    }
    queries.truncate(MOST);
    (!english.is_empty() || !queries.is_empty()).then_some(Wording { english, queries })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_where_they_end() {
        assert_eq!(
            sentences("Find v1.2 of it. Then book!\nOk. What does it cost?"),
            ["Find v1.2 of it", "Then book", "What does it cost"]
        );
        assert_eq!(sentences("one"), ["one"]);
        assert_eq!(sentences(""), [""]);
        assert_eq!(
            sentences("北京的天气怎么样？明天会下雨吗？"),
            ["北京的天气怎么样", "明天会下雨吗"]
        );
        assert_eq!(parts("Find it. Then book it!"), ["Find it", "Then book it"]);
        assert_eq!(parts("Find it."), [""; 0]);
    }

    #[test]
    fn a_wording_is_read_as_far_as_it_goes() {
        let worded = |english: &str, queries: &[&str]| {
            Some(Wording {
                english: english.to_owned(),
                queries: queries.iter().map(|&query| query.to_owned()).collect(),
            })
        };
        assert_eq!(
            wording(
                r#"{"english": "Find\na flat.", "queries": ["search flats", "", "search flats", 3]}"#
            ),
            worded("Find a flat.", &["search flats"])
        );
        assert_eq!(
            wording(r#"Sure: {"queries": ["a", "b", "c", "d", "e", "f"]}"#),
            worded("", &["a", "b", "c", "d", "e"])
        );
        // Cut by the limit of tokens.
        assert_eq!(
            wording(r#"{"english": "Find a flat.", "queries": ["sea"#),
            worded("Find a flat.", &["sea"])
        );
        for useless in ["", "I cannot", "{}", r#"{"english": "", "queries": []}"#] {
            assert_eq!(wording(useless), None, "{useless}");
        }
    }
}
