//! Undo rules on a server over HTTP that numbers what it creates and gives no number twice: what is
//! created again is another thing, and has to be taken back as what it is.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use branchline::context::Cx;
use branchline::env::tools::environment::{ToolRules, ToolSource, ToolWorld, ToolWorldConfig};
use branchline::env::tools::registry::{Memo, Registry, parse};
use branchline::env::{Environment, RestoreError, World};
use branchline::eval::Outcome;
use branchline::runtime::{Job, RunReport};
use branchline::search::{SearchConfig, StrategyKind};
use branchline::types::{Action, Seed, SiteNoteKind, Snapshot, Step, View, Writes};
use serde_json::{Value, json};
use tokio_util::sync::DropGuard;

use crate::runtime::{critic, policy, quiet, tool_job};
use crate::support::serve::serve;

/// What the server holds, and what it was asked.
#[derive(Default)]
struct Desk {
    tickets: BTreeMap<u64, String>,
    last: u64,
    /// Requests that write, as `METHOD path`.
    log: Vec<String>,
}

struct Server {
    origin: String,
    desk: Arc<Mutex<Desk>>,
    _stop: DropGuard,
}

const RULE: &str = r#"undo = [{ tool = "create_ticket", call = "delete_ticket", arguments = { ticketId = "reply:/id" }, verify = { call = "get_ticket", arguments = { ticketId = "reply:/id" }, expect = "error" } }]"#;

impl Server {
    async fn start() -> Self {
        let desk: Arc<Mutex<Desk>> = Arc::default();
        {
            let mut desk = desk.lock().unwrap();
            desk.last = 3;
            desk.tickets = (1..=3).map(|id| (id, format!("old {id}"))).collect();
        }
        let router = Router::new().fallback(answer).with_state(Arc::clone(&desk));
        let (origin, stop) = serve(router).await;
        Self {
            origin,
            desk,
            _stop: stop,
        }
    }

    fn ids(&self) -> Vec<u64> {
        self.desk.lock().unwrap().tickets.keys().copied().collect()
    }

    fn log(&self) -> Vec<String> {
        self.desk.lock().unwrap().log.clone()
    }

    /// Its tools by a registry with these keys more.
    async fn registry(&self, keys: &str) -> Registry {
        let text = format!(
            "[[source]]\nname = \"tickets\"\nkind = \"openapi\"\ndocument = \"{}/openapi.json\"\nallow = {{ private = true }}\n{keys}\n",
            self.origin
        );
        let spec = parse(&text, "tickets.toml", Path::new(".")).unwrap();
        Registry::load(&[spec], None, &Cx::default()).await.unwrap()
    }

    /// A world of its tools by a registry with these keys more.
    async fn world(&self, keys: &str) -> ToolWorld {
        let registry = self.registry(keys).await;
        let loaded = &registry.sources()[0];
        let source = ToolSource {
            source: Arc::clone(&loaded.source),
            rules: ToolRules {
                undo: loaded.spec.undo.clone(),
                verify: loaded.spec.verify.clone(),
                memo: Memo::Tree,
                volatile: loaded.spec.volatile.iter().cloned().collect(),
            },
            memo: None,
        };
        let mut config = ToolWorldConfig::new("tickets", vec![source]);
        config.writes = Writes::Checkpoint;
        ToolWorld::new(config)
    }
}

fn document() -> Value {
    let id =
        json!({"name": "ticketId", "in": "path", "required": true, "schema": {"type": "integer"}});
    let ticket = json!({"type": "object", "required": ["title"], "properties": {"title": {"type": "string"}}});
    let operation =
        |id: &str| json!({"operationId": id, "responses": {"200": {"description": "ok"}}});
    let mut create = operation("createTicket");
    create["requestBody"] =
        json!({"required": true, "content": {"application/json": {"schema": ticket}}});
    json!({
        "openapi": "3.0.3",
        "info": {"title": "Tickets", "version": "1"},
        "servers": [{"url": "/"}],
        "paths": {
            "/tickets": {"get": operation("listTickets"), "post": create},
            "/tickets/{ticketId}": {
                "parameters": [id],
                "get": operation("getTicket"),
                "delete": operation("deleteTicket"),
            },
        },
    })
}

async fn answer(State(desk): State<Arc<Mutex<Desk>>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let (method, path) = (parts.method.as_str(), parts.uri.path());
    let (status, content) = if path == "/openapi.json" {
        (200, document())
    } else {
        handle(&mut desk.lock().unwrap(), method, path, &body)
    };
    Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .header("content-type", "application/json")
        .body(Body::from(content.to_string()))
        .unwrap()
}

fn handle(desk: &mut Desk, method: &str, path: &str, body: &[u8]) -> (u16, Value) {
    if method != "GET" {
        desk.log.push(format!("{method} {path}"));
    }
    let id: Option<u64> = path
        .strip_prefix("/tickets/")
        .and_then(|id| id.parse().ok());
    let ticket = |id: u64, title: &str| json!({"id": id, "title": title});
    match (method, id) {
        ("GET", None) => (200, json!(desk.tickets)),
        ("POST", None) => {
            let sent: Value = serde_json::from_slice(body).unwrap();
            let title = sent["title"].as_str().unwrap();
            desk.last += 1;
            desk.tickets.insert(desk.last, title.to_owned());
            (201, ticket(desk.last, title))
        }
        ("GET", Some(id)) if desk.tickets.contains_key(&id) => {
            (200, ticket(id, &desk.tickets[&id]))
        }
        ("DELETE", Some(id)) if desk.tickets.contains_key(&id) => {
            let title = desk.tickets.remove(&id).unwrap();
            (200, ticket(id, &title))
        }
        _ => (404, json!({"error": "no such ticket"})),
    }
}

fn create() -> Action {
    Action::new("create_ticket", json!({"title": "Paint the fence"}))
}

/// An instance that created a ticket: it, where it began, and where it is.
async fn created(world: &ToolWorld) -> (Box<dyn Environment>, Snapshot, Snapshot) {
    let cx = Cx::default();
    let mut env = world.open(Seed(1), &cx).await.unwrap();
    env.observe(&cx).await.unwrap();
    let start = env.snapshot(&cx).await.unwrap();
    let done = env.act(&create(), &cx).await.unwrap();
    assert!(matches!(done, Step::Done { .. }), "{done:?}");
    env.observe(&cx).await.unwrap();
    let made = env.snapshot(&cx).await.unwrap();
    (env, start, made)
}

#[tokio::test]
async fn a_repeat_that_is_answered_differently_is_taken_back_at_once() {
    let server = Server::start().await;
    let world = server.world(RULE).await;
    let (mut env, start, made) = created(&world).await;
    let cx = Cx::default();
    env.restore(&start, &cx).await.unwrap();
    assert_eq!(server.ids(), [1, 2, 3]);
    let error = env.restore(&made, &cx).await.unwrap_err();
    let RestoreError::Diverged { detail, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(
        detail,
        "`create_ticket` was answered differently when repeated: /id is 5, was 4 (if the server \
         gives it anew each time, add \"id\" to `volatile` of the source `tickets`)"
    );
    assert_eq!(
        server.log(),
        [
            "POST /tickets",
            "DELETE /tickets/4",
            "POST /tickets",
            "DELETE /tickets/5"
        ]
    );
    // It is known what the server holds: the start is in reach, and the instance goes on from it.
    env.restore(&start, &cx).await.unwrap();
    env.act(&create(), &cx).await.unwrap();
    env.close(&cx).await.unwrap();
    assert_eq!(server.ids(), [1, 2, 3]);
    assert_eq!(world.notes(), []);
}

#[tokio::test]
async fn what_was_repeated_is_undone_by_its_latest_answer() {
    let server = Server::start().await;
    let world = server.world(&format!("volatile = [\"id\"]\n{RULE}")).await;
    let (mut env, start, made) = created(&world).await;
    let cx = Cx::default();
    for (to, ids) in [
        (&start, vec![1, 2, 3]),
        (&made, vec![1, 2, 3, 5]),
        (&start, vec![1, 2, 3]),
        (&made, vec![1, 2, 3, 6]),
    ] {
        env.restore(to, &cx).await.unwrap();
        assert_eq!(server.ids(), ids);
    }
    env.close(&cx).await.unwrap();
    assert_eq!(server.ids(), [1, 2, 3]);
    let deleted: Vec<String> = server
        .log()
        .into_iter()
        .filter(|line| line.starts_with("DELETE"))
        .collect();
    assert_eq!(
        deleted,
        [
            "DELETE /tickets/4",
            "DELETE /tickets/5",
            "DELETE /tickets/6"
        ]
    );
}

#[tokio::test]
async fn an_undo_that_failed_is_not_sent_again_and_what_stays_is_named() {
    let server = Server::start().await;
    // There is no such ticket, ever.
    let world = server.world(&RULE.replacen("\"reply:/id\"", "99", 1)).await;
    let (mut env, start, _) = created(&world).await;
    let cx = Cx::default();
    env.restore(&start, &cx).await.unwrap_err();
    let error = env.close(&cx).await.unwrap_err().to_string();
    assert!(error.contains("what the search wrote stays"), "{error}");
    assert_eq!(server.log(), ["POST /tickets", "DELETE /tickets/99"]);
    let notes = world.notes();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert_eq!(notes[0].kind, SiteNoteKind::LeftBehind);
    for words in [
        "`create_ticket`",
        "Paint the fence",
        "\"id\":4",
        "no such ticket",
    ] {
        assert!(notes[0].text.contains(words), "{}", notes[0].text);
    }
}

/// Creates a ticket and says so, or says so without.
async fn search(world: ToolWorld, strategy: StrategyKind) -> RunReport {
    let list = || Action::new("list_tickets", json!({}));
    let propose = move |view: &View<'_>| match (view.path.len(), strategy) {
        (0, StrategyKind::BestFirst) => vec![create(), list()],
        (0, _) => vec![create()],
        _ => vec![Action::new("finish", json!({"answer": "done"}))],
    };
    let judge = |view: &View<'_>| {
        let created = view
            .path
            .first()
            .is_some_and(|step| step.action == create());
        Some(match (view.path.len(), created) {
            (0, _) => 0.5,
            (1, true) => 0.4,
            (1, false) => 0.45,
            (_, true) => 1.0,
            (_, false) => 0.1,
        })
    };
    let job = Job {
        retries: 1,
        ..tool_job(
            "a ticket for the fence",
            world,
            SearchConfig {
                strategy,
                depth: 3,
                ..SearchConfig::default()
            },
            policy(propose),
            critic(judge),
        )
    };
    quiet(job).await.report
}

#[tokio::test]
async fn a_search_loses_a_state_whose_number_is_given_anew_and_leaves_nothing() {
    let server = Server::start().await;
    let report = search(server.world(RULE).await, StrategyKind::BestFirst).await;
    assert_eq!(report.failure, None, "{report:?}");
    let lost: Vec<&String> = report.steps.lost.values().collect();
    assert!(
        lost.iter()
            .any(|reason| reason.contains("when repeated: /id is ") && reason.contains(", was 4 ")),
        "{report:?}"
    );
    assert_eq!(report.steps.commit_writes, 0, "{report:?}");
    assert_eq!(server.ids(), [1, 2, 3]);
}

#[tokio::test]
async fn a_search_with_volatile_numbers_creates_one_thing() {
    let server = Server::start().await;
    let world = server.world(&format!("volatile = [\"id\"]\n{RULE}")).await;
    let report = search(world, StrategyKind::BestFirst).await;
    assert_eq!(report.verdict.outcome, Outcome::Solved, "{report:?}");
    assert_eq!(report.steps.commit_writes, 1);
    assert_eq!(server.ids().len(), 4, "{:?}", server.log());
    let posts = server
        .log()
        .iter()
        .filter(|l| l.starts_with("POST"))
        .count();
    assert!(posts > 2, "it was repeated: {:?}", server.log());
}

#[tokio::test]
async fn a_commit_that_gets_another_number_says_what_it_sent_and_why_it_stopped() {
    let server = Server::start().await;
    let report = search(server.world(RULE).await, StrategyKind::Greedy).await;
    assert_eq!(report.verdict.outcome, Outcome::Unscored, "{report:?}");
    let reason = report.uncommitted.unwrap();
    let sent = format!(
        "; what was sent stays: step 1 sent POST {}/tickets",
        server.origin
    );
    assert!(reason.ends_with(&sent), "{reason}");
    for words in [
        "step 1 of the commit, create_ticket(",
        "led to another state",
        "`create_ticket` (c1) was answered differently than before: /id is 5, was 4",
        "add \"id\" to `volatile` of the source `tickets`",
    ] {
        assert!(reason.contains(words), "{reason}");
    }
    assert_eq!(server.ids(), [1, 2, 3, 5], "the commit's, named above");
}

#[tokio::test]
async fn rules_that_can_never_work_are_faults_of_the_registry() {
    let server = Server::start().await;
    let with = async |from: &str, to: &str| {
        let registry = server.registry(&RULE.replacen(from, to, 1)).await;
        let loaded = &registry.sources()[0];
        (loaded.faults.join("\n"), loaded.notes.join("\n"))
    };
    assert_eq!(with("", "").await, (String::new(), String::new()));
    let label = "`undo` rule 1 (`create_ticket`): ";
    for (from, to, fault) in [
        (
            "call = \"delete_ticket\", arguments = { ticketId",
            "call = \"delete_ticket\", arguments = { tickedId",
            "`call`: `delete_ticket` has no parameter `tickedId`; did you mean `ticketId`?\n\
             `undo` rule 1 (`create_ticket`): `call`: `delete_ticket` needs `ticketId`",
        ),
        (
            "arguments = { ticketId = \"reply:/id\" }, ",
            "",
            "`call`: `delete_ticket` needs `ticketId`",
        ),
        (
            "\"delete_ticket\"",
            "\"delete_tickt\"",
            "`call`: there is no tool `delete_tickt`; did you mean `delete_ticket`?",
        ),
        (
            "\"get_ticket\"",
            "\"get_tickte\"",
            "`verify`: there is no tool `get_tickte`; did you mean `get_ticket`?",
        ),
        (
            "\"reply:/id\"",
            "\"argument:/titel\"",
            "`call`: `ticketId` is taken from the argument `titel`, which no tool that the rule fits \
             has; did you mean `title`?",
        ),
    ] {
        let (faults, _) = with(from, to).await;
        assert_eq!(faults, format!("{label}{fault}"));
    }
    let (faults, _) = with("\"create_ticket\"", "\"create_tickets\"").await;
    assert_eq!(
        faults,
        "`undo` rule 1 (`create_tickets`): it fits no tool; did you mean `create_ticket`?"
    );
    let (faults, _) = with("\"create_ticket\"", "\"list_*\"").await;
    assert!(faults.contains("it fits only tools that read"), "{faults}");
    // It may be meant as it is written.
    let (faults, notes) = with("\"reply:/id\"", "\"urn:/id\"").await;
    assert_eq!(faults, "");
    assert_eq!(
        notes,
        format!(
            "{label}\"urn:/id\" is sent as it is written: values are taken from `reply:`, `argument:`, `before:`"
        )
    );
}
