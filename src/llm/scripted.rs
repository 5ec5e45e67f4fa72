//! A model whose replies are written down in advance: for tests, demos and benches.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::{ChatError, ChatModel, ChatReply, ChatRequest, Choice, Usage};
use crate::context::Cx;
use crate::types::{Cost, MicroUsd};

type Script = Box<dyn FnMut(&ChatRequest) -> Result<ChatReply, ChatError> + Send>;

/// A chat model that answers from a script and remembers what it was asked.
pub struct Scripted {
    name: String,
    latency: Duration,
    script: Mutex<Script>,
    requests: Mutex<Vec<ChatRequest>>,
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scripted")
            .field("name", &self.name)
            .field("latency", &self.latency)
            .finish_non_exhaustive()
    }
}

impl Scripted {
    /// Replies come from a closure, called once per request, in order of arrival.
    pub fn new(
        script: impl FnMut(&ChatRequest) -> Result<ChatReply, ChatError> + Send + 'static,
    ) -> Self {
        Self {
            name: "scripted".to_owned(),
            latency: Duration::ZERO,
            script: Mutex::new(Box::new(script)),
            requests: Mutex::new(Vec::new()),
        }
    }

    /// Replies come from a queue of texts; a request for `n` choices takes `n` of them. When it is
    /// empty, requests fail with [`ChatError::NotRecorded`].
    pub fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        let mut queue: VecDeque<String> = texts.into_iter().map(Into::into).collect();
        Self::new(move |request| {
            let n = usize::try_from(request.n.max(1)).unwrap_or(usize::MAX);
            if queue.len() < n {
                return Err(ChatError::NotRecorded(format!(
                    "the script is at its end: {n} replies asked for, {} left",
                    queue.len()
                )));
            }
            Ok(Self::reply(request, queue.drain(..n)))
        })
    }

    /// Answers only after this time, as a provider would.
    #[must_use]
    pub fn with_latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Goes by another name in the record.
    #[must_use]
    pub fn with_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// A reply with these texts as its choices; tokens are estimated at 4 bytes each.
    pub fn reply<T: Into<String>>(
        request: &ChatRequest,
        texts: impl IntoIterator<Item = T>,
    ) -> ChatReply {
        let choices: Vec<Choice> = texts
            .into_iter()
            .map(|text| Choice {
                text: text.into(),
                tool_calls: Vec::new(),
                truncated: false,
                logprobs: None,
            })
            .collect();
        let bytes = |n: usize| u64::try_from(n.div_ceil(4)).unwrap_or(u64::MAX);
        let usage = Usage {
            input_tokens: request
                .messages
                .iter()
                .map(|m| bytes(m.content.len()))
                .sum(),
            cached_tokens: 0,
            output_tokens: choices.iter().map(|c| bytes(c.text.len())).sum(),
        };
        ChatReply {
            choices,
            usage,
            cost: Cost {
                model_calls: 1,
                input_tokens: usage.input_tokens,
                output_tokens: usage.output_tokens,
                money: MicroUsd(0),
                ..Cost::default()
            },
            model: "scripted".to_owned(),
            priced: false,
        }
    }

    /// Every request so far, in order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<ChatRequest> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[async_trait]
impl ChatModel for Scripted {
    fn name(&self) -> &str {
        &self.name
    }

    async fn chat(&self, request: &ChatRequest, cx: &Cx) -> Result<ChatReply, ChatError> {
        let reply = {
            self.requests
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(request.clone());
            let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
            (*script)(request)
        };
        if !self.latency.is_zero() {
            cx.pause(self.latency).await?;
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::{Message, ResponseFormat, Role};

    fn request(n: u32) -> ChatRequest {
        ChatRequest {
            messages: vec![Message::new(Role::User, "hello")],
            tools: Vec::new(),
            format: ResponseFormat::Text,
            n,
            temperature: 0.0,
            top_p: None,
            seed: None,
            max_tokens: 8,
            top_logprobs: None,
        }
    }

    #[tokio::test]
    async fn a_request_takes_n_texts_and_then_the_script_ends() {
        let model = Scripted::texts(["a", "b", "c"]);
        let reply = model.chat(&request(2), &Cx::default()).await.unwrap();
        let texts: Vec<_> = reply.choices.iter().map(|c| c.text.as_str()).collect();
        assert_eq!(texts, ["a", "b"]);
        let error = model.chat(&request(2), &Cx::default()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "no recorded reply: the script is at its end: 2 replies asked for, 1 left"
        );
        assert_eq!(model.requests(), vec![request(2), request(2)]);
    }

    #[tokio::test]
    async fn latency_can_be_cancelled() {
        let model = Scripted::texts(["a"]).with_latency(Duration::from_hours(1));
        let cx = Cx::default();
        cx.token().cancel();
        let error = model.chat(&request(1), &cx).await.unwrap_err();
        assert!(matches!(error, ChatError::Interrupted(_)), "{error}");
    }
}
