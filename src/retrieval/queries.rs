//! What to look for: the parts of a goal.

use serde_json::json;

use crate::context::Cx;
use crate::llm::{ChatError, ChatModel, ChatRequest, Message, ResponseFormat, Role, prompt};
use crate::types::Exchange;

/// The most queries that a model may write for one goal.
const MOST: usize = 5;

/// The sentences of a text that say something: at least two words each. The text itself if there is
/// no such.
#[must_use]
pub fn sentences(text: &str) -> Vec<&str> {
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

/// Search queries that a model writes for a goal, in English, one for each thing that has to be found
/// or done: names and wordings of operations, not of their arguments.
///
/// # Errors
/// [`ChatError`] of the provider. A reply without a usable query gives none: the caller falls back on
/// the goal itself.
pub async fn written(
    goal: &str,
    model: &dyn ChatModel,
    cx: &Cx,
) -> Result<(Vec<String>, Exchange), ChatError> {
    let schema = json!({
        "type": "object",
        "properties": {
            "queries": {
                "type": "array",
                "items": { "type": "string" },
                "minItems": 1,
                "maxItems": MOST,
            },
        },
        "required": ["queries"],
        "additionalProperties": false,
    });
    let system = "You choose words for a search engine over the documentation of API operations. \
                  For the user's goal, write one short English query for each kind of operation that \
                  is needed: what it does and on what, without the goal's particular names, numbers \
                  or dates. Reply with JSON only: {\"queries\": [\"…\"]}, at most five.";
    let request = ChatRequest {
        messages: vec![
            Message::new(Role::System, system),
            Message::new(
                Role::User,
                format!("Goal: {}", prompt::neutral(goal.trim())),
            ),
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
        max_tokens: 200,
        top_logprobs: None,
    };
    let reply = model.chat(&request, cx).await?;
    let text = reply.choices.first().map_or("", |choice| &choice.text);
    let exchange = Exchange {
        request: json!(request),
        reply: json!(text),
        cost: reply.cost,
    };
    let mut queries: Vec<String> = Vec::new();
    if let Some(object) = prompt::object(text, prompt::Cut::Close) {
        for query in object["queries"].as_array().into_iter().flatten() {
            let query = prompt::line(query.as_str().unwrap_or_default(), 200);
            if !query.is_empty() && !queries.contains(&query) {
                queries.push(query);
            }
        }
    }
    queries.truncate(MOST);
    Ok((queries, exchange))
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
    }
}
