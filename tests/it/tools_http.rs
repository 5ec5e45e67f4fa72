//! Tools over HTTP against a real server: what is sent, what is refused, what comes back.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use base64::Engine;
use branchline::context::{Cx, Interrupted};
use branchline::env::World;
use branchline::env::tools::environment::{ToolRules, ToolSource, ToolWorld, ToolWorldConfig};
use branchline::env::tools::registry::{Registry, RegistryError};
use branchline::env::tools::{CallError, Reply, Session, Tool};
use branchline::types::{Action, Seed, Step, Writes};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::support::serve::serve;
use crate::support::tools::Store;

/// A server that tells what it got, and misbehaves on some paths.
struct Server {
    origin: String,
    log: Log,
    _stop: tokio_util::sync::DropGuard,
}

/// Requests as `METHOD path`, in order.
type Log = Arc<Mutex<Vec<String>>>;

impl Server {
    async fn start() -> Self {
        let log = Log::default();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&log));
        let (origin, stop) = serve(router).await;
        Self {
            origin,
            log,
            _stop: stop,
        }
    }

    fn count(&self, path: &str) -> usize {
        self.log
            .lock()
            .unwrap()
            .iter()
            .filter(|line| line.ends_with(path))
            .count()
    }
}

fn text(status: u16, media: &str, body: impl Into<Body>) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("content-type", media)
        .body(body.into())
        .unwrap()
}

async fn answer(State(log): State<Log>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    log.lock().unwrap().push(format!("{} {path}", parts.method));
    let times = log
        .lock()
        .unwrap()
        .iter()
        .filter(|line| line.ends_with(&path))
        .count();
    let header = |name: &str| {
        let value = parts
            .headers
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned());
        value.unwrap_or_default()
    };
    match path.as_str() {
        "/login" => Response::builder()
            .header("set-cookie", format!("sid=user{times}; Path=/; HttpOnly"))
            .body(Body::empty())
            .unwrap(),
        "/elsewhere" => Response::builder()
            .status(302)
            .header("location", "http://other.example/x")
            .body(Body::empty())
            .unwrap(),
        "/moved" => Response::builder()
            .status(307)
            .header("location", "/echo/moved")
            .body(Body::empty())
            .unwrap(),
        "/loop" => Response::builder()
            .status(302)
            .header("location", "/loop")
            .body(Body::empty())
            .unwrap(),
        "/endless" => {
            // A list without end: it is never read whole.
            let chunk =
                Bytes::from("{\"id\": 12345, \"name\": \"a row of the list\"},".repeat(1000));
            let rows = futures_util::stream::unfold(true, move |first| {
                let chunk = if first {
                    Bytes::from_static(b"[")
                } else {
                    chunk.clone()
                };
                async move { Some((Ok::<_, Infallible>(chunk), false)) }
            });
            text(200, "application/json", Body::from_stream(rows))
        }
        "/page" => text(502, "text/html", "<html><h1>Bad gateway</h1></html>"),
        "/lies" => text(200, "application/json", "not json"),
        "/hang" => std::future::pending().await,
        "/busy" if times < 3 => Response::builder()
            .status(429)
            .header("retry-after", "0")
            .body(Body::empty())
            .unwrap(),
        "/busy-write" if times < 3 => Response::builder()
            .status(503)
            .header("retry-after", "0")
            .body(Body::from("come back"))
            .unwrap(),
        "/token" => {
            let grant = String::from_utf8(bytes.to_vec()).unwrap();
            let expected = base64::engine::general_purpose::STANDARD.encode("me:client-secret-1");
            if header("authorization") != format!("Basic {expected}")
                || !grant.contains("grant_type=client_credentials")
            {
                return text(401, "application/json", r#"{"error":"invalid_client"}"#);
            }
            text(
                200,
                "application/json",
                json!({ "access_token": format!("token-number-{times}"), "expires_in": 3600 })
                    .to_string(),
            )
        }
        // The first token is withdrawn before its time.
        "/guarded" if header("authorization") != "Bearer token-number-2" => {
            text(401, "application/json", "{}")
        }
        _ => {
            let headers: BTreeMap<&str, String> = parts
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.to_str().unwrap().to_owned()))
                .collect();
            let body = String::from_utf8_lossy(&bytes).into_owned();
            text(
                200,
                "application/json",
                json!({
                    "method": parts.method.as_str(), "path": path, "query": parts.uri.query(),
                    "headers": headers, "body": body,
                })
                .to_string(),
            )
        }
    }
}

/// A registry of one document, in a folder of its own.
struct Fixture {
    server: Server,
    dir: tempfile::TempDir,
}

const PATHS: &str = r"
  /echo/{id}:
    post:
      operationId: echo
      parameters:
        - {name: id, in: path, required: true, schema: {type: string}}
        - {name: list, in: query, schema: {type: array, items: {type: string}}}
        - {name: csv, in: query, explode: false, schema: {type: array, items: {type: integer}}}
        - {name: deep, in: query, style: deepObject, schema: {type: object, additionalProperties: {type: string}}}
        - {name: json, in: query, content: {application/json: {schema: {type: object}}}}
        - {name: X-Word, in: header, schema: {type: string}}
        - {name: crumb, in: cookie, schema: {type: string}}
      requestBody:
        content: {application/json: {schema: {type: object, required: [name], properties: {id: {type: integer}, name: {type: string}}}}}
  /form: {post: {operationId: form, requestBody: {content: {application/x-www-form-urlencoded: {schema: {type: object, properties: {a: {type: string}, tags: {type: array, items: {type: string}}, meta: {type: object}}}}}}}}
  /files: {post: {operationId: files, requestBody: {content: {multipart/form-data: {schema: {type: object, properties: {file: {type: string, format: binary}, note: {type: string}}}}}}}}
  /login: {post: {operationId: login}}
  /who: {get: {operationId: who}}
  /elsewhere: {get: {operationId: elsewhere}}
  /moved: {post: {operationId: moved, requestBody: {content: {text/plain: {}}}}}
  /loop: {get: {operationId: loop}}
  /endless: {get: {operationId: endless}}
  /page: {get: {operationId: page}}
  /lies: {get: {operationId: lies}}
  /hang: {get: {operationId: hang}}
  /busy: {post: {operationId: busy}}
  /busy-write: {post: {operationId: busy_write}}
  /guarded: {get: {operationId: guarded}}
";

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("api.yaml"),
            format!("openapi: 3.0.0\npaths:{PATHS}"),
        )
        .unwrap();
        std::fs::write(
            dir.path().join("secrets.toml"),
            "key = \"client-secret-1\"\n",
        )
        .unwrap();
        Self {
            server: Server::start().await,
            dir,
        }
    }

    async fn load(&self, more: &str) -> Result<Registry, RegistryError> {
        let origin = &self.server.origin;
        let text = format!(
            "secrets = \"secrets.toml\"\n[[source]]\nname = \"api\"\nkind = \"openapi\"\ndocument = \"api.yaml\"\nbase_url = \"{origin}\"\n{more}\n"
        );
        let file = self.dir.path().join("r.toml");
        std::fs::write(&file, text).unwrap();
        Registry::open(file.to_str().unwrap(), &Cx::default()).await
    }

    async fn registry(&self, more: &str) -> Registry {
        self.load(&format!("allow = {{ private = true }}\n{more}"))
            .await
            .unwrap()
    }
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn tool(registry: &Registry, name: &str) -> Arc<Tool> {
    registry.find(name).unwrap().1
}

async fn open(registry: &Registry) -> Box<dyn Session> {
    registry.sources()[0]
        .source
        .open(&Cx::default())
        .await
        .unwrap()
}

async fn call(
    registry: &Registry,
    session: &dyn Session,
    name: &str,
    arguments: &Value,
) -> Result<Reply, CallError> {
    let tool = tool(registry, name);
    let prepared = session.prepare(&tool, &object(arguments)).unwrap();
    session.call(&tool, &prepared, &Cx::default()).await
}

#[tokio::test]
async fn arguments_of_every_place_arrive() {
    let fixture = Fixture::new().await;
    let registry = fixture.registry("").await;
    let session = open(&registry).await;
    let arguments = json!({
        "id": "a b/..", "list": ["x&y", "z"], "csv": [1, 2], "deep": { "k": "v=w" },
        "json": { "q": [1] }, "X-Word": "hi there", "crumb": "c1", "id__body": 7, "name": "Ré\"x",
    });
    let tool = tool(&registry, "echo");
    let prepared = session.prepare(&tool, &object(&arguments)).unwrap();
    assert_eq!(prepared.effect.method, "POST");
    assert_eq!(
        prepared.effect.body.as_deref(),
        Some("{\"id\":7,\"name\":\"Ré\\\"x\"}")
    );
    let reply = session
        .call(&tool, &prepared, &Cx::default())
        .await
        .unwrap();
    assert_eq!((reply.error, reply.status), (false, Some(200)));
    let got = &reply.content;
    assert_eq!(got["path"], "/echo/a%20b%2F..");
    assert_eq!(
        got["query"],
        "list=x%26y&list=z&csv=1,2&deep[k]=v%3Dw&json=%7B%22q%22%3A%5B1%5D%7D"
    );
    assert_eq!(got["headers"]["x-word"], "hi there");
    assert_eq!(got["headers"]["cookie"], "crumb=c1");
    assert_eq!(got["headers"]["content-type"], "application/json");
    assert_eq!(got["body"], "{\"id\":7,\"name\":\"Ré\\\"x\"}");
    // The effect says what was sent.
    assert_eq!(
        prepared.effect.url,
        format!(
            "{}/echo/a%20b%2F..?{}",
            fixture.server.origin,
            got["query"].as_str().unwrap()
        )
    );
}

#[tokio::test]
async fn forms_and_files_arrive() {
    let fixture = Fixture::new().await;
    let registry = fixture.registry("").await;
    let session = open(&registry).await;
    let arguments = json!({ "a": "1 2", "tags": ["x", "y"], "meta": { "k": 1 } });
    let reply = call(&registry, &*session, "form", &arguments)
        .await
        .unwrap();
    assert_eq!(
        reply.content["headers"]["content-type"],
        "application/x-www-form-urlencoded"
    );
    assert_eq!(
        reply.content["body"],
        "a=1%202&meta=%7B%22k%22%3A1%7D&tags=x&tags=y"
    );

    let arguments = json!({ "file": "aGVsbG8=", "note": "a note" });
    let reply = call(&registry, &*session, "files", &arguments)
        .await
        .unwrap();
    let body = reply.content["body"].as_str().unwrap();
    assert!(
        body.contains("name=\"file\"; filename=\"file\"") && body.contains("\r\nhello\r\n"),
        "{body}"
    );
    assert!(body.contains("name=\"note\"\r\n\r\na note\r\n"), "{body}");
    let bad = session.prepare(&tool(&registry, "files"), &object(&json!({ "file": "%%" })));
    assert!(
        bad.unwrap_err()
            .reason
            .starts_with("`/file`: a file is given in base64")
    );
}

#[tokio::test]
async fn arguments_that_have_no_place_are_rejected_and_nothing_is_sent() {
    let fixture = Fixture::new().await;
    let registry = fixture.registry("").await;
    let session = open(&registry).await;
    let tool = tool(&registry, "echo");
    let fail = |arguments: Value| {
        session
            .prepare(&tool, &object(&arguments))
            .unwrap_err()
            .to_string()
    };
    insta::assert_snapshot!(fail(json!({ "id": "" })), @r#"`/id`: a path variable cannot be """#);
    insta::assert_snapshot!(fail(json!({ "id": ".." })), @r#"`/id`: a path variable cannot be "..""#);
    insta::assert_snapshot!(fail(json!({ "id": "a", "X-Word": "a\r\nHost: evil" })), @"`/X-Word`: a header takes printable ASCII only");
    insta::assert_snapshot!(fail(json!({ "id": "a", "id__body": 3 })), @"the arguments: `name` is missing: a body that is given needs it");
    insta::assert_snapshot!(fail(json!({ "id": "a", "csv": ["x"] })), @r#"`/csv/0`: expected integer, got string "x""#);
    assert!(fixture.server.log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn cookies_belong_to_the_session_and_can_be_put_back() {
    let fixture = Fixture::new().await;
    let registry = fixture.registry("").await;
    let (one, two) = (open(&registry).await, open(&registry).await);
    let cookie = async |session: &dyn Session| {
        let reply = call(&registry, session, "who", &json!({})).await.unwrap();
        reply.content["headers"]["cookie"].clone()
    };
    call(&registry, &*one, "login", &json!({})).await.unwrap();
    assert_eq!(cookie(&*one).await, "sid=user1");
    assert_eq!(cookie(&*two).await, Value::Null);
    let saved = one.save();
    call(&registry, &*one, "login", &json!({})).await.unwrap();
    assert_eq!(cookie(&*one).await, "sid=user2");
    assert_ne!(one.save(), saved);
    one.load(&saved);
    assert_eq!(cookie(&*one).await, "sid=user1");
    assert_eq!(one.save(), saved);
    two.load(&saved);
    assert_eq!(cookie(&*two).await, "sid=user1");
    one.load(&Value::Null);
    assert_eq!(cookie(&*one).await, Value::Null);
}

#[tokio::test]
async fn what_the_registry_does_not_allow_is_refused_with_the_name() {
    let fixture = Fixture::new().await;
    let registry = fixture.registry("").await;
    let session = open(&registry).await;
    let refused = |result: Result<Reply, CallError>| match result.unwrap_err() {
        error @ CallError::Forbidden { .. } => {
            error.to_string().replace(&fixture.server.origin, "ORIGIN")
        }
        other => panic!("{other:?}"),
    };
    insta::assert_snapshot!(
        refused(call(&registry, &*session, "elsewhere", &json!({})).await),
        @"`elsewhere` was refused by the registry: it redirects to http://other.example/x: `other.example` is not the host of its base URL (127.0.0.1): list it in `allow.hosts` to reach it"
    );
    // By address, and by a name that leads to one.
    let registry = fixture.load("").await.unwrap();
    let session = open(&registry).await;
    insta::assert_snapshot!(
        refused(call(&registry, &*session, "who", &json!({})).await),
        @"`who` was refused by the registry: `127.0.0.1` is the private address 127.0.0.1: put `allow = { private = true }` in the source to reach it"
    );
    let by_name = fixture.server.origin.replace("127.0.0.1", "localhost");
    let text = std::fs::read_to_string(fixture.dir.path().join("r.toml")).unwrap();
    let file = fixture.dir.path().join("by-name.toml");
    std::fs::write(&file, text.replace(&fixture.server.origin, &by_name)).unwrap();
    let registry = Registry::open(file.to_str().unwrap(), &Cx::default())
        .await
        .unwrap();
    let session = open(&registry).await;
    let error = refused(call(&registry, &*session, "who", &json!({})).await);
    assert!(
        error.contains("`localhost` is the private address"),
        "{error}"
    );
    assert_eq!(fixture.server.count("/who"), 0);
    // Methods that are not allowed are no tools.
    let registry = fixture
        .load("allow = { private = true, methods = [\"GET\"] }")
        .await
        .unwrap();
    assert!(registry.find("login").is_none() && registry.find("who").is_some());
}

#[tokio::test]
async fn redirects_within_the_host_are_followed_and_end() {
    let fixture = Fixture::new().await;
    let registry = fixture.registry("").await;
    let session = open(&registry).await;
    let reply = call(&registry, &*session, "moved", &json!({ "body": "text" }))
        .await
        .unwrap();
    assert_eq!(
        (
            reply.content["method"].as_str(),
            reply.content["body"].as_str()
        ),
        (Some("POST"), Some("text"))
    );
    let error = call(&registry, &*session, "loop", &json!({}))
        .await
        .unwrap_err();
    insta::assert_snapshot!(error, @"`loop` got no answer: more than 5 redirects");
}

#[tokio::test]
async fn an_endless_reply_is_read_within_the_bound() {
    let fixture = Fixture::new().await;
    let registry = fixture.registry("response_bytes = 20000").await;
    let session = open(&registry).await;
    let reply = call(&registry, &*session, "endless", &json!({}))
        .await
        .unwrap();
    assert_eq!(reply.bytes, 20_000);
    let rows = reply.content.as_array().unwrap();
    assert!(rows.len() > 400, "{}", rows.len());
    assert_eq!(rows[0], json!({ "id": 12345, "name": "a row of the list" }));
    insta::assert_snapshot!(reply.notes.join("\n"), @r"
    only the first 20000 of more bytes were read
    what was read is shown as far as it was complete
    ");
}

#[tokio::test]
async fn odd_replies_are_told_apart() {
    let fixture = Fixture::new().await;
    let registry = fixture.registry("timeout_seconds = 0.3").await;
    let session = open(&registry).await;
    let page = call(&registry, &*session, "page", &json!({}))
        .await
        .unwrap();
    assert_eq!((page.error, page.status), (true, Some(502)));
    assert_eq!(page.notes, ["the reply is a web page, not data"]);
    let lies = call(&registry, &*session, "lies", &json!({}))
        .await
        .unwrap();
    assert_eq!((lies.error, &lies.content), (false, &json!("not json")));
    assert!(lies.notes[0].starts_with("the reply says it is JSON and is not"));
    let hang = call(&registry, &*session, "hang", &json!({}))
        .await
        .unwrap_err();
    assert!(
        matches!(hang, CallError::Interrupted(Interrupted::Timeout(_))),
        "{hang:?}"
    );
    // Nobody there.
    let registry = {
        let text = std::fs::read_to_string(fixture.dir.path().join("r.toml")).unwrap();
        let file = fixture.dir.path().join("gone.toml");
        std::fs::write(
            &file,
            text.replace(&fixture.server.origin, "http://127.0.0.1:1"),
        )
        .unwrap();
        Registry::open(file.to_str().unwrap(), &Cx::default())
            .await
            .unwrap()
    };
    let session = open(&registry).await;
    let gone = call(&registry, &*session, "who", &json!({}))
        .await
        .unwrap_err();
    assert!(matches!(gone, CallError::Unreachable { .. }), "{gone:?}");
}

#[tokio::test]
async fn busy_servers_are_asked_again_but_no_write_is_sent_twice() {
    let fixture = Fixture::new().await;
    let registry = fixture.registry("").await;
    let session = open(&registry).await;
    // 429: the server did not take it.
    let reply = call(&registry, &*session, "busy", &json!({}))
        .await
        .unwrap();
    assert_eq!(
        (reply.status, fixture.server.count("/busy")),
        (Some(200), 3)
    );
    // 503: nobody knows.
    let reply = call(&registry, &*session, "busy_write", &json!({}))
        .await
        .unwrap();
    assert_eq!(
        (reply.status, fixture.server.count("/busy-write")),
        (Some(503), 1)
    );
}

#[tokio::test]
async fn the_rate_is_kept() {
    let fixture = Fixture::new().await;
    let registry = fixture
        .registry("rate = { calls = 2, seconds = 3600 }")
        .await;
    let session = open(&registry).await;
    for _ in 0..2 {
        call(&registry, &*session, "who", &json!({})).await.unwrap();
    }
    // The third would have to wait beyond the caller's patience: that is said at once.
    let tool = tool(&registry, "who");
    let prepared = session.prepare(&tool, &Map::new()).unwrap();
    let cx = Cx::default().within(Duration::from_mins(1));
    let error = session.call(&tool, &prepared, &cx).await.unwrap_err();
    assert!(
        matches!(error, CallError::Interrupted(Interrupted::Timeout(_))),
        "{error:?}"
    );
    assert_eq!(fixture.server.count("/who"), 2);
}

#[tokio::test]
async fn secrets_are_sent_and_never_shown() {
    let fixture = Fixture::new().await;
    for (auth, header, sent) in [
        (
            "{ kind = \"bearer\", token = \"secret:key\" }",
            "authorization",
            "Bearer [redacted]",
        ),
        (
            "{ kind = \"header\", name = \"X-Key\", value = \"secret:key\" }",
            "x-key",
            "[redacted]",
        ),
    ] {
        let registry = fixture.registry(&format!("auth = {auth}")).await;
        assert_eq!(registry.secrets(), ["client-secret-1"]);
        let session = open(&registry).await;
        let tool = tool(&registry, "who");
        let prepared = session.prepare(&tool, &Map::new()).unwrap();
        assert_eq!(
            prepared.effect.headers,
            [(header.to_owned(), sent.to_owned())]
        );
        // The server echoes it; the reply does not.
        let reply = session
            .call(&tool, &prepared, &Cx::default())
            .await
            .unwrap();
        assert_eq!(reply.content["headers"][header], sent);
        assert_eq!(
            reply.notes,
            ["the reply held a secret of the registry: it was taken out"]
        );
    }
    let registry = fixture
        .registry("auth = { kind = \"query\", name = \"k\", value = \"secret:key\" }")
        .await;
    let session = open(&registry).await;
    let prepared = session
        .prepare(&tool(&registry, "who"), &Map::new())
        .unwrap();
    assert!(
        prepared.effect.url.ends_with("/who?k=[redacted]"),
        "{}",
        prepared.effect.url
    );
    let reply = call(&registry, &*session, "who", &json!({})).await.unwrap();
    assert_eq!(reply.content["query"], "k=[redacted]");
    // A value that is not there is named, and nothing is loaded.
    let missing = fixture
        .load("auth = { kind = \"bearer\", token = \"secret:nokey\" }")
        .await
        .unwrap_err();
    assert!(
        missing.to_string().ends_with("secrets.toml has no `nokey`"),
        "{missing}"
    );
}

#[tokio::test]
async fn a_token_is_fetched_kept_and_renewed_when_it_is_refused() {
    let fixture = Fixture::new().await;
    let origin = &fixture.server.origin;
    let auth = |id: &str| {
        format!(
            "auth = {{ kind = \"oauth2\", token_url = \"{origin}/token\", client_id = \"{id}\", client_secret = \"secret:key\" }}"
        )
    };
    let registry = fixture.registry(&auth("me")).await;
    let session = open(&registry).await;
    for _ in 0..2 {
        let reply = call(&registry, &*session, "guarded", &json!({}))
            .await
            .unwrap();
        assert_eq!(reply.status, Some(200));
        assert_eq!(
            reply.content["headers"]["authorization"],
            "Bearer [redacted]"
        );
    }
    assert_eq!(
        (
            fixture.server.count("/token"),
            fixture.server.count("/guarded")
        ),
        (2, 3)
    );
    assert_eq!(
        session.save(),
        Value::Null,
        "a token is no state and in no log"
    );
    let registry = fixture.registry(&auth("you")).await;
    let session = open(&registry).await;
    let error = call(&registry, &*session, "guarded", &json!({}))
        .await
        .unwrap_err();
    let error = error.to_string().replace(origin, "ORIGIN");
    insta::assert_snapshot!(error, @"`guarded` got no answer: no token from ORIGIN/token: 401 Unauthorized, invalid_client");
}

/// The entries of an archive as `METHOD URL status`, without the server's origin.
fn lines(log: &har::v1_2::Log, origin: &str) -> Vec<String> {
    let entries = log.entries.iter().map(|entry| {
        let (request, response) = (&entry.request, &entry.response);
        let url = request.url.replace(origin, "");
        format!("{} {url} {}", request.method, response.status)
    });
    entries.collect()
}

#[tokio::test]
async fn an_archive_has_every_exchange_and_no_secret() {
    let fixture = Fixture::new().await;
    let origin = &fixture.server.origin;
    let key = "value = \"secret:key\"";
    let query = format!("auth = {{ kind = \"query\", name = \"k\", {key} }}");
    let header = format!("auth = {{ kind = \"header\", name = \"X-Odd\", {key} }}");
    let client = format!(
        "auth = {{ kind = \"oauth2\", token_url = \"{origin}/token\", client_id = \"me\", client_secret = \"secret:key\" }}"
    );
    let moved = json!({"body": "hello"});
    let guarded = [
        "POST /token 200",
        "GET /guarded 401",
        "POST /token 200",
        "GET /guarded 200",
    ];
    let cases: [(&str, &str, Value, &[&str]); 3] = [
        (
            &query,
            "moved",
            moved.clone(),
            &[
                "POST /moved?k=[redacted] 307",
                "POST /echo/moved?k=[redacted] 200",
            ],
        ),
        (
            &header,
            "moved",
            moved,
            &["POST /moved 307", "POST /echo/moved 200"],
        ),
        (&client, "guarded", json!({}), &guarded),
    ];
    for (auth, name, arguments, expected) in cases {
        let registry = fixture.registry(auth).await;
        let session = open(&registry).await;
        assert!(session.archive().is_none(), "only a commit keeps any");
        session.keep_exchanges();
        let reply = call(&registry, &*session, name, &arguments).await.unwrap();
        let log = session.archive().unwrap();
        assert_eq!(lines(&log, origin), expected);
        let entry = log.entries.last().unwrap();
        let body: Value =
            serde_json::from_str(entry.response.content.text.as_ref().unwrap()).unwrap();
        assert_eq!(body, reply.content, "as the call got it");
        if name == "moved" {
            let sent = entry.request.post_data.as_ref().unwrap();
            assert_eq!(sent.text.as_deref(), Some("hello"));
            assert_eq!(
                log.entries[0].response.redirect_url.as_deref(),
                Some("/echo/moved")
            );
        }
        let text = serde_json::to_string(&log).unwrap();
        let basic = base64::engine::general_purpose::STANDARD.encode("me:client-secret-1");
        for secret in ["client-secret-1", "token-number", &basic] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    // What got no answer had left all the same.
    let registry = fixture.registry("timeout_seconds = 1").await;
    let session = open(&registry).await;
    session.keep_exchanges();
    call(&registry, &*session, "hang", &json!({}))
        .await
        .unwrap_err();
    let log = session.archive().unwrap();
    assert_eq!(lines(&log, origin), ["GET /hang 0"]);
    assert_eq!(log.entries[0].comment.as_deref(), Some("no answer came"));
}

#[tokio::test]
async fn a_commit_archives_its_calls_and_names_sources_that_speak_no_http() {
    let fixture = Fixture::new().await;
    let registry = fixture.registry("").await;
    let store = Store::new(false);
    let sources = [Arc::clone(&registry.sources()[0].source), Arc::new(store)];
    let sources = sources.map(|source| ToolSource {
        source,
        rules: ToolRules::default(),
        memo: None,
    });
    let config = ToolWorldConfig {
        writes: Writes::Allow,
        ..ToolWorldConfig::new("both", sources.to_vec())
    };
    let world = ToolWorld::new(config);
    let cx = Cx::default();
    let mut env = world.open_for_commit(Seed(1), &cx).await.unwrap();
    env.observe(&cx).await.unwrap();
    let mut act = async |name: &str, arguments: Value| {
        let step = env.release(&Action::new(name, arguments), &[], &cx).await;
        assert!(matches!(step, Ok(Step::Done { .. })), "{name}: {step:?}");
        env.archive()
    };
    assert_eq!(act("list_items", json!({})).await, None, "nothing to tell");
    act("who", json!({})).await;
    let log = act("login", json!({})).await.unwrap();
    let origin = &fixture.server.origin;
    assert_eq!(lines(&log, origin), ["GET /who 200", "POST /login 200"]);
    assert_eq!(
        log.comment.as_deref(),
        Some("what `store` exchanged is not in it")
    );
    let mut env = world.open(Seed(1), &cx).await.unwrap();
    env.observe(&cx).await.unwrap();
    let who = Action::new("who", json!({}));
    env.act(&who, &cx).await.unwrap();
    assert_eq!(env.archive(), None, "a search keeps none");
}

#[tokio::test]
async fn registries_say_what_fits_nothing() {
    let fixture = Fixture::new().await;
    let more = "only = [\"GET *\", \"nothing_*\"]\nexcept = [\"hang\"]\naccess = [{ tools = \"who\", access = \"write\" }]\nindependent = [\"who\", \"no_such\"]\nverify = [{ call = \"who\" }]\nundo = [{ tool = \"*\", call = \"gone\" }]";
    let registry = fixture.registry(more).await;
    assert!(registry.find("login").is_none() && registry.find("hang").is_none());
    insta::assert_snapshot!(registry.sources()[0].notes.join("\n"), @r"
    `only`: `nothing_*` fits no tool
    7 of 15 tools are offered: 8 left out by `only` and `except`, 0 by `allow.methods`
    `independent`: `no_such` fits no tool
    `verify`: `who` is no read
    ");
    let faults = registry.sources()[0].faults.join("\n");
    assert_eq!(
        faults,
        "`undo` rule 1 (`*`): `call`: there is no tool `gone`"
    );
    assert!(registry.find("who").unwrap().1.independent);
    // Two sources with the same tools need a prefix.
    let source = std::fs::read_to_string(fixture.dir.path().join("r.toml")).unwrap();
    let second = source
        .replace("secrets = \"secrets.toml\"\n", "")
        .replace("\"api\"", "\"other\"");
    let file = fixture.dir.path().join("two.toml");
    std::fs::write(&file, format!("{source}{second}")).unwrap();
    let error = Registry::open(file.to_str().unwrap(), &Cx::default())
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("`api` and `other` both offer a tool `"),
        "{error}"
    );
    let second = second.replace("only =", "prefix = \"o_\"\nonly =");
    std::fs::write(&file, format!("{source}{second}")).unwrap();
    let registry = Registry::open(file.to_str().unwrap(), &Cx::default())
        .await
        .unwrap();
    assert!(registry.find("who").is_some() && registry.find("o_who").is_some());
}

#[tokio::test]
async fn a_document_may_be_at_a_url() {
    let fixture = Fixture::new().await;
    let url = format!("{}/echo/openapi.json", fixture.server.origin);
    // On a private address, under default terms: refused by name.
    let error = Registry::open(&url, &Cx::default()).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("is the private address 127.0.0.1"),
        "{error}"
    );
    let file = fixture.dir.path().join("url.toml");
    let of = |path: &str| {
        format!(
            "[[source]]\nname = \"a\"\nkind = \"openapi\"\ndocument = \"{}{path}\"\nallow = {{ private = true }}\n",
            fixture.server.origin
        )
    };
    let open = async |path: &str| {
        std::fs::write(&file, of(path)).unwrap();
        let error = Registry::open(file.to_str().unwrap(), &Cx::default())
            .await
            .unwrap_err();
        error.to_string().replace(&fixture.server.origin, "ORIGIN")
    };
    insta::assert_snapshot!(open("/page").await, @"the document ORIGIN/page of `a` cannot be fetched: ORIGIN/page answers 502 Bad Gateway");
    insta::assert_snapshot!(open("/who").await, @"the document ORIGIN/who of `a` has neither `openapi` nor `swagger` at its top");
    insta::assert_snapshot!(open("/elsewhere").await, @"the document ORIGIN/elsewhere of `a` cannot be fetched from http://other.example/x: `other.example` is not the host of its base URL (127.0.0.1): list it in `allow.hosts` to reach it");
}

/// What the echo server saw, decoded again without our code.
fn decoded(echo: &Value) -> Value {
    let url = url::Url::parse(&format!(
        "http://x{}?{}",
        echo["path"].as_str().unwrap(),
        echo["query"].as_str().unwrap_or_default()
    ))
    .unwrap();
    let segment = url.path_segments().unwrap().next_back().unwrap();
    let id = percent_encoding::percent_decode_str(segment)
        .decode_utf8()
        .unwrap()
        .into_owned();
    let mut found = json!({ "id": id });
    let mut list: Vec<String> = Vec::new();
    let mut deep = Map::new();
    for (name, value) in url.query_pairs() {
        if name == "list" {
            list.push(value.into_owned());
        } else if name == "csv" {
            let numbers: Vec<i64> = value
                .split(',')
                .map(|number| number.parse().unwrap())
                .collect();
            found["csv"] = json!(numbers);
        } else if let Some(key) = name
            .strip_prefix("deep[")
            .and_then(|rest| rest.strip_suffix(']'))
        {
            deep.insert(key.to_owned(), Value::from(value.into_owned()));
        }
    }
    if !list.is_empty() {
        found["list"] = json!(list);
    }
    if !deep.is_empty() {
        found["deep"] = Value::Object(deep);
    }
    if let Some(body) = echo["body"].as_str().filter(|body| !body.is_empty()) {
        let body: Value = serde_json::from_str(body).unwrap();
        found["name"] = body["name"].clone();
    }
    found
}

#[test]
fn whatever_is_given_arrives() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (fixture, registry, session) = runtime.block_on(async {
        let fixture = Fixture::new().await;
        let registry = fixture.registry("").await;
        let session = open(&registry).await;
        (fixture, registry, session)
    });
    let word = "[ -~éß日]{1,12}";
    let strategy = (
        word.prop_filter("no path", |text| text != "." && text != ".."),
        proptest::option::of(proptest::collection::vec("[ -~é]{0,8}", 1..4)),
        proptest::option::of(proptest::collection::vec(any::<i64>(), 1..4)),
        proptest::option::of(proptest::collection::btree_map(
            "[a-z&= é]{1,5}",
            "[ -~é]{0,8}",
            1..4,
        )),
        proptest::option::of("\\PC{0,20}"),
    );
    proptest!(ProptestConfig::with_cases(64), |((id, list, csv, deep, name) in strategy)| {
        let mut arguments = json!({ "id": id });
        let optional = [("list", json!(list)), ("csv", json!(csv)), ("deep", json!(deep)), ("name", json!(name))];
        for (key, value) in optional {
            if !value.is_null() {
                arguments[key] = value;
            }
        }
        let reply = runtime.block_on(call(&registry, &*session, "echo", &arguments)).unwrap();
        prop_assert_eq!(decoded(&reply.content), arguments);
    });
    drop(fixture);
}

#[tokio::test]
async fn status_codes_of_the_server_are_observations() {
    let fixture = Fixture::new().await;
    let registry = fixture
        .registry("auth = { kind = \"bearer\", token = \"secret:key\" }")
        .await;
    let session = open(&registry).await;
    let reply = call(&registry, &*session, "guarded", &json!({}))
        .await
        .unwrap();
    assert_eq!(
        (reply.error, reply.status),
        (true, Some(StatusCode::UNAUTHORIZED.as_u16()))
    );
}
