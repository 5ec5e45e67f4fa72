//! The chat client against a server that misbehaves on purpose.

#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use axum::routing::post;
use branchline::context::{Cx, Interrupted};
use branchline::llm::{
    ChatError, ChatModel, ChatRequest, Message, OpenAi, OpenAiConfig, Price, ResponseFormat, Role,
    Usage,
};
use branchline::types::MicroUsd;
use serde_json::{Value, json};
use tokio::sync::Notify;

const KEY: &str = "sk-very-secret-0123456789";

/// One scripted answer.
enum Reply {
    Http(u16, &'static [(&'static str, &'static str)], String),
    /// Headers are sent, the body never ends.
    Hang,
    /// A body that is cut short.
    Cut,
}

#[derive(Default)]
struct Script {
    replies: Mutex<VecDeque<Reply>>,
    seen: Mutex<Vec<(HeaderMap, Value)>>,
    arrived: Notify,
}

async fn answer(
    State(script): State<Arc<Script>>,
    headers: HeaderMap,
    body: String,
) -> Response<Body> {
    let body = serde_json::from_str(&body).unwrap();
    script.seen.lock().unwrap().push((headers, body));
    script.arrived.notify_one();
    let reply = script.replies.lock().unwrap().pop_front();
    match reply.expect("more requests than scripted") {
        Reply::Http(status, headers, body) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            response.body(Body::from(body)).unwrap()
        }
        Reply::Hang => std::future::pending().await,
        Reply::Cut => Response::builder()
            .header("content-length", "1000")
            .body(Body::from_stream(Once(Some("{\"choices\":"))))
            .unwrap(),
    }
}

/// A body stream of one chunk, shorter than its announced length.
struct Once(Option<&'static str>);

impl futures_util::Stream for Once {
    type Item = Result<&'static str, std::io::Error>;
    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.take().map(Ok))
    }
}

async fn serve(replies: impl IntoIterator<Item = Reply>) -> (Arc<Script>, OpenAiConfig) {
    let script = Arc::new(Script {
        replies: Mutex::new(replies.into_iter().collect()),
        ..Script::default()
    });
    let app = Router::new()
        .route("/v1/chat/completions", post(answer))
        .with_state(script.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = OpenAiConfig {
        base_url: format!("http://{}", listener.local_addr().unwrap()),
        model: "gpt-4o".to_owned(),
        backoff_ms: 1,
        max_tries: 3,
        ..OpenAiConfig::default()
    };
    tokio::spawn(async move { axum::serve(listener, app).await });
    (script, config)
}

fn client(config: OpenAiConfig) -> OpenAi {
    OpenAi::with_env(config, |name| {
        (name == "OPENAI_API_KEY").then(|| KEY.to_owned())
    })
    .unwrap()
}

fn request(n: u32) -> ChatRequest {
    ChatRequest {
        messages: vec![Message::new(Role::User, "hello")],
        tools: Vec::new(),
        format: ResponseFormat::Text,
        n,
        temperature: 0.7,
        top_p: None,
        seed: Some(7),
        max_tokens: 16,
        top_logprobs: None,
    }
}

fn good(texts: &[&str]) -> Reply {
    let choices: Vec<Value> = texts
        .iter()
        .map(|t| json!({"message": {"role": "assistant", "content": t}, "finish_reason": "stop"}))
        .collect();
    let body = json!({
        "model": "gpt-4o-2024-08-06",
        "choices": choices,
        "usage": {"prompt_tokens": 100, "completion_tokens": 10,
                  "prompt_tokens_details": {"cached_tokens": 60}},
    });
    Reply::Http(200, &[], body.to_string())
}

fn bad(status: u16, body: &str) -> Reply {
    Reply::Http(status, &[], body.to_owned())
}

fn texts(reply: &branchline::llm::ChatReply) -> Vec<&str> {
    reply.choices.iter().map(|c| c.text.as_str()).collect()
}

#[tokio::test]
async fn what_is_sent_and_what_it_costs() {
    let (script, config) = serve([good(&["hi"])]).await;
    let mut ask = request(1);
    ask.format = ResponseFormat::JsonSchema {
        name: "thing".to_owned(),
        schema: json!({"type": "object"}),
    };
    ask.top_logprobs = Some(5);
    ask.tools = vec![branchline::llm::ToolSpec {
        name: "f".to_owned(),
        description: "d".to_owned(),
        parameters: json!({"type": "object"}),
    }];
    let reply = client(config).chat(&ask, &Cx::default()).await.unwrap();
    assert_eq!(texts(&reply), ["hi"]);
    assert_eq!(
        reply.usage,
        Usage {
            input_tokens: 100,
            cached_tokens: 60,
            output_tokens: 10
        }
    );
    // 40 * 2.5 + 60 * 1.25 + 10 * 10
    assert_eq!((reply.cost.money, reply.priced), (MicroUsd(275), true));
    assert_eq!(
        (reply.cost.model_calls, reply.model.as_str()),
        (1, "gpt-4o-2024-08-06")
    );
    let seen = script.seen.lock().unwrap();
    assert_eq!(seen[0].0["authorization"], format!("Bearer {KEY}"));
    assert_eq!(
        seen[0].1,
        json!({
            "model": "gpt-4o",
            "messages": [{"role": "user", "content": "hello"}],
            "max_tokens": 16, "temperature": 0.7, "seed": 7,
            "logprobs": true, "top_logprobs": 5,
            "response_format": {"type": "json_schema", "json_schema":
                {"name": "thing", "strict": true, "schema": {"type": "object"}}},
            "tools": [{"type": "function", "function":
                {"name": "f", "description": "d", "parameters": {"type": "object"}}}],
        })
    );
}

#[tokio::test]
async fn waits_as_told_and_tries_again() {
    let past = &[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")];
    let (script, config) = serve([
        Reply::Http(429, &[("retry-after", "0")], "slow down".to_owned()),
        Reply::Http(503, past, String::new()),
        good(&["ok"]),
    ])
    .await;
    let reply = client(config)
        .chat(&request(1), &Cx::default())
        .await
        .unwrap();
    assert_eq!((texts(&reply), reply.cost.model_calls), (vec!["ok"], 3));
    assert_eq!(script.seen.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn gives_up_after_its_tries_or_when_told_to_wait_too_long() {
    let (_script, config) = serve([bad(500, "a"), bad(500, "b"), bad(500, "c")]).await;
    let error = client(config)
        .chat(&request(1), &Cx::default())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the model endpoint answered 500 after 3 tries: c"
    );

    let (_script, config) = serve([Reply::Http(
        429,
        &[("retry-after", "3600")],
        "later".to_owned(),
    )])
    .await;
    let error = client(config)
        .chat(&request(1), &Cx::default())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the model endpoint answered 429 after 1 tries: later"
    );

    let (_script, config) = serve([bad(429, "{\"code\":\"insufficient_quota\"}")]).await;
    let error = client(config)
        .chat(&request(1), &Cx::default())
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ChatError::Status {
                status: 429,
                tries: 1,
                ..
            }
        ),
        "{error}"
    );

    let (_script, config) = serve([bad(404, "no such model")]).await;
    let error = client(config)
        .chat(&request(1), &Cx::default())
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ChatError::Status {
                status: 404,
                tries: 1,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_no_completion_is_an_error() {
    for (body, part) in [
        ("", "the body is empty"),
        ("I am a teapot, not a model.", "I am a teapot"),
        ("{\"choices\":[{\"message\":", "EOF"),
        ("{\"choices\":[]}", "no choices"),
        ("{\"choices\":\"none\"}", "invalid type"),
        ("{\"error\":{\"message\":\"overloaded\"}}", "overloaded"),
    ] {
        let (_script, config) = serve([bad(200, body)]).await;
        let error = client(config)
            .chat(&request(1), &Cx::default())
            .await
            .unwrap_err();
        assert!(
            matches!(&error, ChatError::Malformed(why) if why.contains(part)),
            "{error}"
        );
    }
}

#[tokio::test]
async fn an_error_inside_a_200_is_treated_by_its_own_status() {
    let (_script, config) = serve([
        bad(200, "{\"error\":{\"code\":502,\"message\":\"upstream\"}}"),
        good(&["ok"]),
    ])
    .await;
    let reply = client(config)
        .chat(&request(1), &Cx::default())
        .await
        .unwrap();
    assert_eq!((texts(&reply), reply.cost.model_calls), (vec!["ok"], 2));
}

#[tokio::test]
async fn a_broken_connection_is_tried_again() {
    let (_script, config) = serve([Reply::Cut, good(&["ok"])]).await;
    let reply = client(config)
        .chat(&request(1), &Cx::default())
        .await
        .unwrap();
    assert_eq!((texts(&reply), reply.cost.model_calls), (vec!["ok"], 2));

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let config = OpenAiConfig {
        base_url: base_url.clone(),
        backoff_ms: 1,
        ..OpenAiConfig::default()
    };
    let error = client(config)
        .chat(&request(1), &Cx::default())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ChatError::Unreachable { url, .. } if url.starts_with(&base_url)),
        "{error}"
    );
}

#[tokio::test]
async fn a_huge_body_is_not_read_to_its_end() {
    let (_script, config) = serve([bad(200, &"x".repeat(17 << 20))]).await;
    let error = client(config)
        .chat(&request(1), &Cx::default())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the model endpoint answered no chat completion: the reply is longer than 16 MiB"
    );
    // A long error body is quoted in part.
    let (_script, config) = serve([bad(400, &"y".repeat(1 << 20))]).await;
    let error = client(config)
        .chat(&request(1), &Cx::default())
        .await
        .unwrap_err();
    assert!(error.to_string().len() < 500);
}

#[tokio::test]
async fn a_reply_that_never_comes_is_a_timeout_and_not_repeated() {
    let (script, config) = serve([Reply::Hang]).await;
    let config = OpenAiConfig {
        timeout_ms: 2_000,
        ..config
    };
    let error = client(config)
        .chat(&request(1), &Cx::default())
        .await
        .unwrap_err();
    assert!(
        matches!(error, ChatError::Interrupted(Interrupted::Timeout(_))),
        "{error}"
    );
    assert_eq!(script.seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn cancelling_ends_every_wait() {
    // While the reply is awaited, and while a retry is.
    for reply in [
        Reply::Hang,
        Reply::Http(429, &[("retry-after", "50")], String::new()),
    ] {
        let (script, config) = serve([reply]).await;
        let cx = Cx::default();
        let model = client(config);
        let ask = request(1);
        let (result, ()) = tokio::join!(model.chat(&ask, &cx), async {
            script.arrived.notified().await;
            cx.token().cancel();
        });
        let error = result.unwrap_err();
        assert!(
            matches!(error, ChatError::Interrupted(Interrupted::Cancelled)),
            "{error}"
        );
    }
    // A deadline that would pass during the wait is reported at once.
    let (_script, config) =
        serve([Reply::Http(429, &[("retry-after", "50")], String::new())]).await;
    let cx = Cx::default().within(Duration::from_secs(40));
    let error = client(config).chat(&request(1), &cx).await.unwrap_err();
    assert!(
        matches!(error, ChatError::Interrupted(Interrupted::Timeout(_))),
        "{error}"
    );
}

#[tokio::test]
async fn n_is_reached_whatever_the_provider_does() {
    // It ignores n.
    let (script, config) = serve([good(&["a"]), good(&["b"]), good(&["c"])]).await;
    let reply = client(config)
        .chat(&request(3), &Cx::default())
        .await
        .unwrap();
    assert_eq!(
        (texts(&reply), reply.cost.model_calls),
        (vec!["a", "b", "c"], 3)
    );
    assert_eq!(reply.usage.input_tokens, 300);
    let seeds: Vec<Value> = script
        .seen
        .lock()
        .unwrap()
        .iter()
        .map(|(_, b)| b["seed"].clone())
        .collect();
    assert_eq!(seeds, [7, 8, 9]);

    // It refuses n, and is not asked for it again.
    let (script, config) = serve([
        bad(
            400,
            "{\"error\":{\"param\":\"n\",\"message\":\"only 1 is allowed\"}}",
        ),
        good(&["a"]),
        good(&["b"]),
    ])
    .await;
    let reply = client(config)
        .chat(&request(2), &Cx::default())
        .await
        .unwrap();
    assert_eq!((texts(&reply), reply.cost.model_calls), (vec!["a", "b"], 3));
    let asked: Vec<Value> = script
        .seen
        .lock()
        .unwrap()
        .iter()
        .map(|(_, b)| b["n"].clone())
        .collect();
    assert_eq!(asked, [json!(2), Value::Null, Value::Null]);

    // A repeat fails: what was paid for is kept.
    let (_script, config) = serve([good(&["a"]), bad(403, "no")]).await;
    let reply = client(config)
        .chat(&request(2), &Cx::default())
        .await
        .unwrap();
    assert_eq!((texts(&reply), reply.cost.model_calls), (vec!["a"], 2));
}

#[tokio::test]
async fn refused_parameters_are_left_out() {
    let (script, config) = serve([
        bad(
            400,
            "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
        ),
        bad(400, "Unsupported value: 'temperature' does not support 0.7"),
        good(&["a"]),
        good(&["b"]),
    ])
    .await;
    let model = client(config);
    model.chat(&request(1), &Cx::default()).await.unwrap();
    model.chat(&request(1), &Cx::default()).await.unwrap();
    let seen = script.seen.lock().unwrap();
    let last = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}],
                      "max_completion_tokens": 16, "seed": 7});
    assert_eq!((&seen[2].1, &seen[3].1), (&last, &last));
}

#[tokio::test]
async fn the_key_appears_nowhere() {
    let echo = format!("{{\"error\":{{\"message\":\"Incorrect API key provided: {KEY}\"}}}}");
    for reply in [
        bad(401, &echo),
        bad(200, &format!("your key is {KEY}")),
        bad(200, &echo),
        good(&[KEY]),
    ] {
        let (_script, mut config) = serve([reply]).await;
        config
            .headers
            .insert("x-extra".to_owned(), "env:OPENAI_API_KEY".to_owned());
        let model = client(config.clone());
        let result = model.chat(&request(1), &Cx::default()).await;
        let mut shown = format!("{model:?} {config:?} {result:?}");
        shown += &toml::to_string(&config).unwrap();
        if let Err(error) = &result {
            shown += &error.to_string();
        }
        assert!(!shown.contains(KEY), "{shown}");
        assert!(shown.contains("***"), "{shown}");
    }
    // Nor when it cannot be a header.
    let error =
        OpenAi::with_env(OpenAiConfig::default(), |_| Some(format!("{KEY}\n{KEY}"))).unwrap_err();
    assert!(!format!("{error} {error:?}").contains(KEY), "{error}");
}

#[test]
fn the_configuration_is_toml() {
    let config: OpenAiConfig = toml::from_str(
        "base_url = \"http://localhost:8098\"\nmodel = \"base\"\nprice = { input = 1.0, output = 2.0 }",
    )
    .unwrap();
    let price = Price {
        input: 1.0,
        cached: None,
        output: 2.0,
    };
    assert_eq!(config.price, Some(price));
    let back: OpenAiConfig = toml::from_str(&toml::to_string(&config).unwrap()).unwrap();
    assert_eq!(back, config);
    assert!(toml::from_str::<OpenAiConfig>("api_key = \"x\"").is_err());
}
