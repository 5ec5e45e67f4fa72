//! MCP servers as sources: over standard streams and over HTTP, well-behaved and not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use branchline::context::{Cx, Interrupted};
use branchline::env::World;
use branchline::env::tools::environment::{ToolRules, ToolSource, ToolWorld, ToolWorldConfig};
use branchline::env::tools::mcp::{McpConfig, McpServer, McpSource};
use branchline::env::tools::registry::{Registry, RegistryError};
use branchline::env::tools::{
    Access, CallError, Reply, Session, Source, SourceError, Tool, suspicions,
};
use branchline::types::{Action, Seed, Step};
use serde_json::{Value, json};

use crate::support::mcp::{Next, Server, command};
use crate::support::skipped;

fn config(server: McpServer) -> McpConfig {
    McpConfig {
        name: "test".to_owned(),
        server,
        trusted: true,
        timeout: Duration::from_secs(20),
        secrets: Vec::new(),
    }
}

async fn connect(mode: &str) -> McpSource {
    McpSource::connect(config(command(mode, None)), &Cx::default())
        .await
        .unwrap()
}

fn tool(source: &dyn Source, name: &str) -> Arc<Tool> {
    let tools = source.tools();
    tools.into_iter().find(|tool| tool.name == name).unwrap()
}

async fn call(
    source: &dyn Source,
    session: &dyn Session,
    name: &str,
    arguments: Value,
) -> Result<Reply, CallError> {
    let tool = tool(source, name);
    let prepared = session
        .prepare(&tool, arguments.as_object().unwrap())
        .unwrap();
    session.call(&tool, &prepared, &Cx::default()).await
}

#[tokio::test]
async fn every_page_of_the_list_and_every_kind_of_result() {
    let source = connect("").await;
    let names: Vec<String> = source.tools().iter().map(|t| t.name.clone()).collect();
    assert_eq!(
        names,
        [
            "add",
            "note",
            "notes",
            "refuse",
            "mutter",
            "internal",
            "echo",
            "wrong_shape",
            "grow",
            "sleep",
            "die",
            "look",
            "lie",
            "flood",
            "babble",
            "half"
        ]
    );
    assert_eq!(tool(&source, "add").access, Access::Read);
    assert_eq!(tool(&source, "note").access, Access::Write);
    let found = suspicions(&tool(&source, "echo"));
    assert_eq!(found.len(), 1, "{found:?}");

    let session = source.open(&Cx::default()).await.unwrap();
    let reply = |name: &'static str, arguments: Value| {
        let (source, session) = (&source, &session);
        async move { call(source, &**session, name, arguments).await.unwrap() }
    };
    let sum = reply("add", json!({"a": 2, "b": 3})).await;
    assert_eq!((sum.error, sum.content), (false, json!({"sum": 5})));
    assert!(sum.notes.is_empty(), "{:?}", sum.notes);
    let refused = reply("refuse", json!({})).await;
    assert_eq!((refused.error, refused.content), (true, json!("not yours")));
    let muttered = reply("mutter", json!({})).await;
    assert_eq!(
        (muttered.error, muttered.content),
        (false, json!("Error: this is no error"))
    );
    let internal = reply("internal", json!({})).await;
    assert_eq!(
        (internal.error, internal.content),
        (true, json!("it broke"))
    );
    assert_eq!(internal.notes, ["JSON-RPC error -32603"]);
    let odd = reply("wrong_shape", json!({})).await;
    assert!(
        odd.notes[0].contains("declared output schema"),
        "{:?}",
        odd.notes
    );

    // A tool that the list does not hold: the server's own answer.
    let mut unknown = (*tool(&source, "refuse")).clone();
    unknown.binding = branchline::env::tools::Binding::Mcp {
        tool: "nothing".to_owned(),
    };
    let prepared = session.prepare(&unknown, &serde_json::Map::new()).unwrap();
    let answer = session
        .call(&unknown, &prepared, &Cx::default())
        .await
        .unwrap();
    assert_eq!(
        (answer.error, answer.content),
        (true, json!("unknown tool nothing"))
    );
    session.close().await;
}

#[tokio::test]
async fn arguments_are_checked_before_anything_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let source = McpSource::connect(config(command("", Some(&log))), &Cx::default())
        .await
        .unwrap();
    let session = source.open(&Cx::default()).await.unwrap();
    let add = tool(&source, "add");
    let refusal = |arguments: Value| {
        session
            .prepare(&add, arguments.as_object().unwrap())
            .unwrap_err()
            .to_string()
    };
    let wrong = refusal(json!({"a": 1, "b": "two"}));
    assert!(wrong.contains("`/b`"), "{wrong}");
    let missing = refusal(json!({"a": 1}));
    assert!(missing.contains("`b` is missing"), "{missing}");
    let good = session
        .prepare(&add, json!({"b": 2, "a": 1}).as_object().unwrap())
        .unwrap();
    assert_eq!(good.effect.url, "mcp://test/add");
    assert_eq!(good.effect.body.as_deref(), Some(r#"{"a":1,"b":2}"#));
    session.call(&add, &good, &Cx::default()).await.unwrap();
    session.close().await;
    let sent = std::fs::read_to_string(&log).unwrap();
    assert_eq!(sent, "add {\"a\":1,\"b\":2}\n");
}

#[tokio::test]
async fn a_changed_list_is_told_and_taken_over() {
    let source = connect("").await;
    let session = source.open(&Cx::default()).await.unwrap();
    call(&source, &*session, "grow", json!({})).await.unwrap();
    // The notification came before the answer, but is heard beside it.
    let mut notes = Vec::new();
    for _ in 0..50 {
        notes = call(&source, &*session, "notes", json!({}))
            .await
            .unwrap()
            .notes;
        if !notes.is_empty() || source.tools().iter().any(|t| t.name == "grown") {
            break;
        }
    }
    assert!(
        source.tools().iter().any(|t| t.name == "grown"),
        "{notes:?}"
    );
    session.close().await;
}

#[tokio::test]
async fn a_dying_server_is_a_lost_session_with_its_last_words() {
    let source = connect("").await;
    let session = source.open(&Cx::default()).await.unwrap();
    for way in ["half", "die"] {
        // Before a word of its answer, and in the middle of it.
        let session = source.open(&Cx::default()).await.unwrap();
        let reason = lost(call(&source, &*session, way, json!({})).await);
        assert!(reason.contains("out of memory: giving up"), "{reason}");
        assert!(reason.contains("exit status: 9"), "{reason}");
        session.close().await;
    }
    lost(call(&source, &*session, "die", json!({})).await);
    let again = call(&source, &*session, "notes", json!({}))
        .await
        .unwrap_err();
    assert!(matches!(again, CallError::SessionLost { .. }), "{again:?}");
    session.close().await;
    // A new session is a new process.
    let session = source.open(&Cx::default()).await.unwrap();
    assert!(
        !call(&source, &*session, "notes", json!({}))
            .await
            .unwrap()
            .error
    );
    session.close().await;
}

/// Why a call lost its session.
fn lost(result: Result<Reply, CallError>) -> String {
    match result.unwrap_err() {
        CallError::SessionLost { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_answer_without_measure_is_cut_off_and_named() {
    let source = connect("").await;
    let session = source.open(&Cx::default()).await.unwrap();
    let large = call(&source, &*session, "flood", json!({"mib": 15}))
        .await
        .unwrap();
    assert_eq!(large.bytes, 15 << 20);
    let reason = lost(call(&source, &*session, "flood", json!({"mib": 17})).await);
    assert!(reason.contains("a message longer than 16 MiB"), "{reason}");
    session.close().await;
    // Over HTTP the session need not go with it.
    let (_http, server) = serve_http(Wants::Header).await;
    let source = McpSource::connect(config(server), &Cx::default())
        .await
        .unwrap();
    let session = source.open(&Cx::default()).await.unwrap();
    let error = call(&source, &*session, "flood", json!({"mib": 17}))
        .await
        .unwrap_err();
    let CallError::Unreachable { reason, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(
        reason.contains("maximum size of 16777216 bytes"),
        "{reason}"
    );
    let sum = call(&source, &*session, "add", json!({"a": 1, "b": 1})).await;
    assert_eq!(sum.unwrap().content, json!({"sum": 2}));
    session.close().await;
}

#[tokio::test]
async fn garbage_between_the_messages_does_no_harm() {
    let source = connect("").await;
    let session = source.open(&Cx::default()).await.unwrap();
    for _ in 0..3 {
        let said = call(&source, &*session, "babble", json!({})).await.unwrap();
        assert_eq!(said.content, json!("said"));
    }
    // It is told where it may explain something.
    let reason = lost(call(&source, &*session, "die", json!({})).await);
    assert!(reason.contains("were no messages"), "{reason}");
    session.close().await;
}

/// A registry of the test server, with `more` in its source; its calls are logged in `dir`.
async fn registry(dir: &Path, more: &str) -> Registry {
    let log = dir.join("log");
    let McpServer::Process {
        command, args, env, ..
    } = command("", Some(&log))
    else {
        unreachable!();
    };
    let text = format!(
        "[[source]]\nname = \"test\"\nkind = \"mcp\"\ncommand = {command:?}\nargs = {args:?}\n{more}\n[source.env]\n{}",
        env.iter()
            .map(|(name, value)| format!("{name} = {value:?}"))
            .collect::<Vec<_>>()
            .join("\n")
    );
    let file = dir.join("r.toml");
    std::fs::write(&file, text).unwrap();
    Registry::open(file.to_str().unwrap(), &Cx::default())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_server_that_lies_in_its_annotations_is_believed_only_where_the_registry_says_so() {
    for (more, access) in [
        ("", Access::Write),
        ("trust_annotations = true", Access::Read),
        (
            "trust_annotations = true\naccess = [{ tools = \"lie\", access = \"write\" }]",
            Access::Write,
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let registry = registry(dir.path(), more).await;
        assert_eq!(registry.find("lie").unwrap().1.access, access, "{more}");
        let source = ToolSource {
            source: Arc::clone(&registry.sources()[0].source),
            rules: ToolRules::default(),
            memo: None,
        };
        let world = ToolWorld::new(ToolWorldConfig::new("test", vec![source]));
        let cx = Cx::default();
        let mut env = world.open(Seed(1), &cx).await.unwrap();
        let step = env.act(&Action::new("lie", json!({})), &cx).await.unwrap();
        let sent = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        match access {
            Access::Read => {
                assert!(matches!(step, Step::Done { .. }), "{step:?}");
                assert_eq!(sent, "lie {}\n");
            }
            Access::Idempotent | Access::Write => {
                assert!(matches!(step, Step::Held { .. }), "{step:?}");
                assert_eq!(sent, "", "{more}");
            }
        }
        env.close(&cx).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_process_was_trusted_with_is_shown_nowhere() {
    let mut config = config(command("", None));
    config.secrets = ["client secret/1", "giving up"].map(str::to_owned).into();
    let source = McpSource::connect(config, &Cx::default()).await.unwrap();
    let session = source.open(&Cx::default()).await.unwrap();
    let said = json!({"text": "the key is client secret/1"});
    let reply = call(&source, &*session, "echo", said).await.unwrap();
    let shown = format!("{reply:?}");
    assert!(!shown.contains("client secret"), "{shown}");
    assert!(shown.contains("the key is [redacted]"), "{shown}");
    let reason = lost(call(&source, &*session, "die", json!({})).await);
    assert!(reason.contains("out of memory: [redacted]"), "{reason}");
    session.close().await;

    let mut config = self::config(command("speechless", None));
    config.secrets = vec!["configuration".to_owned()];
    let error = McpSource::connect(config, &Cx::default())
        .await
        .unwrap_err();
    let error = error.to_string();
    assert!(error.contains("cannot find my [redacted]"), "{error}");
}

#[tokio::test]
async fn servers_that_are_none_are_named() {
    let start = |server: McpServer, timeout: u64| async move {
        let mut config = config(server);
        config.timeout = Duration::from_millis(timeout);
        McpSource::connect(config, &Cx::default())
            .await
            .unwrap_err()
            .to_string()
    };
    let error = start(command("speechless", None), 20_000).await;
    assert!(error.contains("cannot find my configuration"), "{error}");
    let error = start(command("hang", None), 1_500).await;
    assert!(error.contains("no answer within"), "{error}");
    // The harness announces itself where messages are expected.
    assert!(error.contains("were no messages"), "{error}");
    let error = start(command("endless", None), 20_000).await;
    assert!(error.contains("again and again"), "{error}");
    let missing = McpServer::Process {
        command: "/no/such/server".to_owned(),
        args: Vec::new(),
        env: BTreeMap::new(),
        folder: None,
    };
    let error = start(missing, 20_000).await;
    assert!(
        error.contains("could not be started (`/no/such/server`)"),
        "{error}"
    );
}

#[tokio::test]
async fn a_call_that_hangs_is_bounded_and_the_session_goes_on() {
    let source = connect("").await;
    let session = source.open(&Cx::default()).await.unwrap();
    let sleep = tool(&source, "sleep");
    let prepared = session.prepare(&sleep, &serde_json::Map::new()).unwrap();
    let cx = Cx::default().within(Duration::from_millis(100));
    let error = session.call(&sleep, &prepared, &cx).await.unwrap_err();
    let CallError::Unreachable { reason, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(reason.starts_with("no answer within"), "{reason}");
    let sum = call(&source, &*session, "add", json!({"a": 1, "b": 1}))
        .await
        .unwrap();
    assert_eq!(sum.content, json!({"sum": 2}));

    let stopped = Cx::default();
    stopped.token().cancel();
    let error = session.call(&sleep, &prepared, &stopped).await.unwrap_err();
    assert!(matches!(
        error,
        CallError::Interrupted(Interrupted::Cancelled)
    ));
    session.close().await;
}

#[tokio::test]
async fn sessions_are_processes_of_their_own() {
    let source = connect("").await;
    let one = source.open(&Cx::default()).await.unwrap();
    let two = source.open(&Cx::default()).await.unwrap();
    call(&source, &*one, "note", json!({"text": "mine"}))
        .await
        .unwrap();
    let seen = call(&source, &*one, "notes", json!({})).await.unwrap();
    assert_eq!(seen.content, json!(["mine"]));
    let seen = call(&source, &*two, "notes", json!({})).await.unwrap();
    assert_eq!(seen.content, json!([]));
    one.close().await;
    two.close().await;
}

#[tokio::test]
async fn a_process_with_a_folder_of_its_own_leaves_nothing_behind() {
    let template = tempfile::tempdir().unwrap();
    std::fs::create_dir(template.path().join("desk")).unwrap();
    std::fs::write(template.path().join("desk/a.txt"), "alpha").unwrap();
    let log = template.path().join("log");
    let mut server = command("", Some(&log));
    let McpServer::Process { folder, .. } = &mut server else {
        unreachable!();
    };
    *folder = Some(vec![template.path().join("desk")]);
    let source = McpSource::connect(config(server), &Cx::default())
        .await
        .unwrap();
    let one = source.open(&Cx::default()).await.unwrap();
    let two = source.open(&Cx::default()).await.unwrap();
    for session in [&one, &two] {
        let seen = call(&source, &**session, "look", json!({"dir": "/test"}));
        assert_eq!(
            seen.await.unwrap().content,
            json!("/test is /test with desk")
        );
        let seen = call(&source, &**session, "look", json!({"dir": "/test/desk"}));
        assert_eq!(
            seen.await.unwrap().content,
            json!("/test is /test/desk with a.txt")
        );
    }
    // What the processes were really asked for: two folders, none of them the template's.
    let asked = std::fs::read_to_string(&log).unwrap();
    let folders: BTreeSet<&str> = asked
        .lines()
        .map(|line| line.split('"').nth(3).unwrap().trim_end_matches("/desk"))
        .collect();
    assert_eq!(folders.len(), 2, "{asked}");
    assert!(folders.iter().all(|folder| Path::new(folder).is_dir()));
    one.close().await;
    drop(one);
    drop(two);
    let cx = Cx::default().within(Duration::from_secs(20));
    while folders.iter().any(|folder| Path::new(folder).exists()) {
        cx.pause(Duration::from_millis(20)).await.unwrap();
    }
    std::fs::remove_file(template.path().join("desk/a.txt")).unwrap();
    std::fs::remove_dir(template.path().join("desk")).unwrap();
    let gone = source.open(&Cx::default()).await.err().unwrap().to_string();
    assert!(gone.contains("desk: No such file"), "{gone}");
}

// ---------------------------------------------------------------- streamable HTTP

/// What a client has to prove itself with.
#[derive(Clone, Copy, Default)]
enum Wants {
    #[default]
    Header,
    Query,
    Token,
}

/// A server with sessions that it can be made to forget.
#[derive(Default)]
struct Http {
    wants: Wants,
    /// Tokens that were given; and the one that counts, if one does.
    tokens: AtomicU32,
    counts: AtomicU32,
    sessions: Mutex<BTreeMap<String, Server>>,
    opened: AtomicU32,
    seen: Mutex<Vec<String>>,
}

impl Http {
    fn proved(&self, headers: &HeaderMap, query: Option<&str>) -> bool {
        let sent = headers.get("authorization").map(|v| v.to_str().unwrap());
        match self.wants {
            Wants::Header => sent == Some("Bearer sesame"),
            Wants::Query => query == Some("key=client+secret%2F1"),
            Wants::Token => match self.counts.load(Ordering::SeqCst) {
                0 => false,
                number => sent == Some(format!("Bearer token-number-{number}").as_str()),
            },
        }
    }
}

/// The token endpoint.
async fn token(State(http): State<Arc<Http>>, headers: HeaderMap, body: String) -> Response {
    let client = base64::engine::general_purpose::STANDARD.encode("me:client secret/1");
    if headers["authorization"] != format!("Basic {client}") {
        let error = json!({"error": "invalid_client", "error_description": "client secret/1"});
        return (StatusCode::UNAUTHORIZED, axum::Json(error)).into_response();
    }
    assert_eq!(body, "grant_type=client_credentials&scope=tools");
    let number = http.tokens.fetch_add(1, Ordering::SeqCst) + 1;
    http.counts.store(number, Ordering::SeqCst);
    let token = format!("token-number-{number}");
    axum::Json(json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600}))
        .into_response()
}

async fn answer(
    State(http): State<Arc<Http>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let message: Value = serde_json::from_slice(&body).unwrap();
    if !http.proved(&headers, query.as_deref()) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    http.seen
        .lock()
        .unwrap()
        .push(message["method"].as_str().unwrap_or("reply").to_owned());
    let mut sessions = http.sessions.lock().unwrap();
    let id = if message["method"] == "initialize" {
        let id = format!("s{}", http.opened.fetch_add(1, Ordering::SeqCst));
        sessions.insert(id.clone(), Server::default());
        id
    } else {
        headers["mcp-session-id"].to_str().unwrap().to_owned()
    };
    let Some(server) = sessions.get_mut(&id) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match server.hear(&message) {
        Next::Say(messages) => match messages.into_iter().last() {
            Some(message) => (
                [
                    ("content-type", "application/json"),
                    ("mcp-session-id", id.as_str()),
                ],
                message.to_string(),
            )
                .into_response(),
            None => StatusCode::ACCEPTED.into_response(),
        },
        Next::Die => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn serve_http(wants: Wants) -> (Arc<Http>, McpServer) {
    let http = Arc::new(Http {
        wants,
        ..Http::default()
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let app = Router::new()
        .route("/mcp", post(answer))
        .route("/token", post(token))
        .with_state(Arc::clone(&http));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let headers = BTreeMap::from([("Authorization".to_owned(), "Bearer sesame".to_owned())]);
    let server = McpServer::Http {
        url,
        headers,
        credentials: None,
        private: true,
    };
    (http, server)
}

#[tokio::test]
async fn a_forgotten_http_session_is_opened_again_unless_it_was_written_in() {
    let (http, server) = serve_http(Wants::Header).await;
    let source = McpSource::connect(config(server), &Cx::default())
        .await
        .unwrap();
    let session = source.open(&Cx::default()).await.unwrap();
    let sum = call(&source, &*session, "add", json!({"a": 1, "b": 1}))
        .await
        .unwrap();
    assert_eq!((sum.content, sum.notes), (json!({"sum": 2}), Vec::new()));

    http.sessions.lock().unwrap().clear();
    let sum = call(&source, &*session, "add", json!({"a": 2, "b": 2}))
        .await
        .unwrap();
    assert_eq!(sum.content, json!({"sum": 4}));
    assert_eq!(
        sum.notes,
        ["the server had forgotten the session; a new one was opened"]
    );
    assert_eq!(http.opened.load(Ordering::SeqCst), 2);

    call(&source, &*session, "note", json!({"text": "kept"}))
        .await
        .unwrap();
    http.sessions.lock().unwrap().clear();
    let error = call(&source, &*session, "notes", json!({}))
        .await
        .unwrap_err();
    let CallError::SessionLost { reason, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(reason.contains("what was written in it"), "{reason}");
    assert_eq!(
        http.opened.load(Ordering::SeqCst),
        2,
        "no new session hides the loss"
    );
    session.close().await;
}

/// A registry with the server over HTTP and its credentials.
async fn http_registry(url: &str, auth: &str) -> Result<Registry, RegistryError> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secrets.toml"), "key = \"client secret/1\"").unwrap();
    let file = dir.path().join("r.toml");
    let text = format!(
        "secrets = \"secrets.toml\"\n[[source]]\nname = \"test\"\nkind = \"mcp\"\nurl = {url:?}\n\
         trust_annotations = true\nallow = {{ private = true }}\nauth = {auth}\n"
    );
    std::fs::write(&file, text).unwrap();
    Registry::open(file.to_str().unwrap(), &Cx::default()).await
}

fn url_of(server: &McpServer) -> &str {
    match server {
        McpServer::Http { url, .. } => url,
        McpServer::Process { .. } => unreachable!(),
    }
}

#[tokio::test]
async fn a_token_is_fetched_for_each_session_and_again_when_it_is_refused() {
    let (http, server) = serve_http(Wants::Token).await;
    let url = url_of(&server);
    let token_url = url.replace("/mcp", "/token");
    let auth = |client: &str| {
        format!(
            "{{ kind = \"oauth2\", token_url = {token_url:?}, client_id = {client:?}, client_secret = \"secret:key\", scope = \"tools\" }}"
        )
    };
    let registry = http_registry(url, &auth("me")).await.unwrap();
    let source = &*registry.sources()[0].source;
    let session = source.open(&Cx::default()).await.unwrap();
    for _ in 0..3 {
        let sum = call(source, &*session, "add", json!({"a": 1, "b": 1})).await;
        assert_eq!(sum.unwrap().content, json!({"sum": 2}));
    }
    assert_eq!(http.tokens.load(Ordering::SeqCst), 1, "one, and it is kept");

    // Withdrawn before its time: the refused call is made again, and only once.
    http.counts.store(0, Ordering::SeqCst);
    let calls = || {
        let seen = http.seen.lock().unwrap();
        seen.iter().filter(|method| *method == "tools/call").count()
    };
    let before = calls();
    call(source, &*session, "note", json!({"text": "kept"}))
        .await
        .unwrap();
    assert_eq!(
        (calls(), http.tokens.load(Ordering::SeqCst)),
        (before + 1, 2)
    );

    // What the server echoes of a secret, of this token or of the last, is not shown.
    let echo = json!({"a": "token-number-1", "b": "token-number-2", "c": "client secret/1"});
    let echoed = call(source, &*session, "echo", echo).await.unwrap();
    let hidden = json!({"a": "[redacted]", "b": "[redacted]", "c": "[redacted]"});
    assert_eq!(echoed.content, hidden);
    assert_eq!(echoed.notes.len(), 1, "{:?}", echoed.notes);
    assert_eq!(session.save(), Value::Null, "no state and in no log");

    // Another lane has a token of its own.
    let other = source.open(&Cx::default()).await.unwrap();
    assert_eq!(http.tokens.load(Ordering::SeqCst), 3);
    session.close().await;
    other.close().await;

    let error = http_registry(url, &auth("you")).await.unwrap_err();
    let error = error.to_string();
    let reason = format!("no token from {token_url}: 401 Unauthorized, invalid_client");
    assert!(error.contains(&reason), "{error}");
    assert!(!error.contains("client secret"), "{error}");
}

#[tokio::test]
async fn a_secret_of_the_query_is_sent_and_never_shown() {
    let (http, server) = serve_http(Wants::Query).await;
    let auth = "{ kind = \"query\", name = \"key\", value = \"secret:key\" }";
    let registry = http_registry(url_of(&server), auth).await.unwrap();
    let source = &*registry.sources()[0].source;
    let session = source.open(&Cx::default()).await.unwrap();
    let sum = call(source, &*session, "add", json!({"a": 1, "b": 1})).await;
    assert_eq!(sum.unwrap().content, json!({"sum": 2}));
    session.close().await;
    assert!(!http.seen.lock().unwrap().is_empty());

    let nobody = http_registry("http://127.0.0.1:1/mcp", auth)
        .await
        .unwrap_err();
    let error = nobody.to_string();
    assert!(error.contains("did not open a session"), "{error}");
    for secret in ["client secret", "client+secret", "secret%2F1"] {
        assert!(!error.contains(secret), "{error}");
    }
}

#[tokio::test]
async fn many_calls_at_a_time_over_http() {
    let (_http, server) = serve_http(Wants::Header).await;
    let source = McpSource::connect(config(server), &Cx::default())
        .await
        .unwrap();
    let session: Arc<dyn Session> = source.open(&Cx::default()).await.unwrap().into();
    let add = tool(&source, "add");
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..40 {
        let (session, add) = (Arc::clone(&session), Arc::clone(&add));
        calls.spawn(async move {
            let prepared = session
                .prepare(&add, json!({"a": n, "b": 1}).as_object().unwrap())
                .unwrap();
            let reply = session.call(&add, &prepared, &Cx::default()).await.unwrap();
            (n, reply.content)
        });
    }
    while let Some(done) = calls.join_next().await {
        let (n, content) = done.unwrap();
        assert_eq!(
            content,
            json!({"sum": n + 1}),
            "every answer reaches its own call"
        );
    }
    session.close().await;
}

#[tokio::test]
async fn an_http_server_that_is_not_there_or_refuses_is_named() {
    let (_http, server) = serve_http(Wants::Header).await;
    let McpServer::Http { url, .. } = server else {
        unreachable!();
    };
    let refused = McpServer::Http {
        url,
        headers: BTreeMap::from([("Authorization".to_owned(), "Bearer wrong".to_owned())]),
        credentials: None,
        private: true,
    };
    let error = McpSource::connect(config(refused), &Cx::default())
        .await
        .unwrap_err();
    assert!(matches!(error, SourceError::Unusable { .. }));
    let text = error.to_string();
    assert!(text.contains("401"), "{text}");
    assert!(!text.contains("wrong"), "no secret in {text}");

    let nobody = McpServer::Http {
        url: "http://127.0.0.1:1/mcp".to_owned(),
        headers: BTreeMap::new(),
        credentials: None,
        private: true,
    };
    let mut secluded = nobody.clone();
    let McpServer::Http { private, .. } = &mut secluded else {
        unreachable!();
    };
    *private = false;
    let error = McpSource::connect(config(secluded), &Cx::default())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("private address, 127.0.0.1"),
        "{error}"
    );
    let error = McpSource::connect(config(nobody), &Cx::default())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("the source `test`"), "{error}");
}

// ---------------------------------------------------------------- servers that nobody here wrote

/// Where `fixtures/apps/install` put a published server, if it did.
fn published(program: &str) -> Option<String> {
    let apps = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/apps");
    ["mcp/node_modules/.bin", "mcp-time/bin"]
        .iter()
        .map(|sub| apps.join(sub).join(program))
        .find(|path| path.exists())
        .map(|path| path.display().to_string())
}

/// Connects to a published server; says so where it is not installed.
async fn driven(
    program: &str,
    args: &[&str],
    env: &[(&str, &str)],
) -> Option<(McpSource, Box<dyn Session>)> {
    let Some(command) = published(program) else {
        skipped(&format!(
            "{program} is not installed: run fixtures/apps/install"
        ));
        return None;
    };
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let server = McpServer::Process {
        command,
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: env.iter().map(pair).collect(),
        folder: None,
    };
    let source = McpSource::connect(config(server), &Cx::default())
        .await
        .unwrap();
    let session = source.open(&Cx::default()).await.unwrap();
    Some((source, session))
}

#[tokio::test]
async fn published_filesystem() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap().display().to_string();
    std::fs::write(dir.path().join("a.txt"), "alpha").unwrap();
    let Some((source, session)) = driven("mcp-server-filesystem", &[&root], &[]).await else {
        return;
    };
    let read = call(
        &source,
        &*session,
        "read_text_file",
        json!({"path": format!("{root}/a.txt")}),
    )
    .await
    .unwrap();
    assert!(!read.error);
    assert!(read.content.to_string().contains("alpha"), "{read:?}");
    let outside = call(
        &source,
        &*session,
        "read_text_file",
        json!({"path": "/etc/passwd"}),
    )
    .await
    .unwrap();
    assert!(outside.error, "{outside:?}");
    assert_eq!(tool(&source, "read_text_file").access, Access::Read);
    assert_ne!(tool(&source, "write_file").access, Access::Read);
    let arguments = json!({"path": format!("{root}/b.txt"), "content": "beta"});
    call(&source, &*session, "write_file", arguments)
        .await
        .unwrap();
    assert_eq!(
        std::fs::read_to_string(dir.path().join("b.txt")).unwrap(),
        "beta"
    );
    session.close().await;
}

#[tokio::test]
async fn published_memory() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("memory.json").display().to_string();
    let Some((source, session)) =
        driven("mcp-server-memory", &[], &[("MEMORY_FILE_PATH", &file)]).await
    else {
        return;
    };
    let entity =
        json!({"entities": [{"name": "Ada", "entityType": "person", "observations": ["writes"]}]});
    let made = call(&source, &*session, "create_entities", entity)
        .await
        .unwrap();
    assert!(!made.error, "{made:?}");
    let graph = call(&source, &*session, "read_graph", json!({}))
        .await
        .unwrap();
    assert_eq!(
        graph.content["entities"][0]["name"],
        json!("Ada"),
        "{graph:?}"
    );
    session.close().await;
}

#[tokio::test]
async fn published_everything() {
    let Some((source, session)) = driven("mcp-server-everything", &["stdio"], &[]).await else {
        return;
    };
    let echoed = call(&source, &*session, "echo", json!({"message": "hello"}))
        .await
        .unwrap();
    assert!(echoed.content.to_string().contains("hello"), "{echoed:?}");
    let mut unknown = (*tool(&source, "echo")).clone();
    unknown.binding = branchline::env::tools::Binding::Mcp {
        tool: "no_such_tool".to_owned(),
    };
    let arguments = json!({"message": "x"});
    let prepared = session
        .prepare(&unknown, arguments.as_object().unwrap())
        .unwrap();
    let answer = session
        .call(&unknown, &prepared, &Cx::default())
        .await
        .unwrap();
    assert!(
        answer.error,
        "an unknown tool is an error of the server: {answer:?}"
    );
    session.close().await;
}

#[tokio::test]
async fn published_sequential_thinking() {
    let Some((source, session)) = driven("mcp-server-sequential-thinking", &[], &[]).await else {
        return;
    };
    let thought = json!({"thought": "one", "nextThoughtNeeded": false, "thoughtNumber": 1, "totalThoughts": 1});
    let reply = call(&source, &*session, "sequentialthinking", thought)
        .await
        .unwrap();
    assert!(!reply.error, "{reply:?}");
    session.close().await;
}

#[tokio::test]
async fn published_time() {
    let Some((source, session)) = driven("mcp-server-time", &[], &[]).await else {
        return;
    };
    let arguments =
        json!({"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"});
    let reply = call(&source, &*session, "convert_time", arguments)
        .await
        .unwrap();
    assert!(!reply.error, "{reply:?}");
    assert!(reply.content.to_string().contains("21:00"), "{reply:?}");
    session.close().await;
}
