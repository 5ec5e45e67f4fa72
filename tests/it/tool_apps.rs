//! Tools that nobody here wrote, driven by the program itself: four MCP servers and Kinto, installed
//! by `fixtures/apps/install`. Where they are not there the tests say so and pass.
//!
//! The tasks are those of `tasks/mcp` and `tasks/kinto`. The lexical policy solves those whose goal
//! says the call; a scripted model, asked over HTTP like any other, walks into a wrong write first
//! and then does what a reader would do.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::support::skipped;

/// What begins the part of a prompt that tells of siblings.
const TRIED: &str = "Already tried here";
const STRATEGIES: [&str; 2] = ["dfsdt", "best-first"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether an application is installed; says so if not.
fn installed(program: &str) -> bool {
    let there = root().join("target/apps").join(program).exists();
    if !there {
        skipped(&format!(
            "target/apps/{program} is missing: run fixtures/apps/install"
        ));
    }
    there
}

fn mcp_installed() -> bool {
    installed("mcp/node_modules/.bin/mcp-server-filesystem")
}

/// Runs a task; the report, and where its record is.
async fn run(task: &str, strategy: &str, more: &[&str]) -> (Value, Output, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_branchline"))
        .current_dir(root())
        .args(["run", &format!("tasks/{task}.toml"), "--json"])
        .args(["--strategy", strategy, "--out"])
        .arg(dir.path())
        .args(more)
        .env_remove("BRANCHLINE_MODEL")
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = text.lines().last().unwrap_or_default();
    let report = serde_json::from_str(last).unwrap_or_else(|_| panic!("{task}: {output:?}"));
    (report, output, dir)
}

async fn solves(task: &str, strategy: &str, more: &[&str]) -> (Value, tempfile::TempDir) {
    let (report, output, dir) = run(task, strategy, more).await;
    assert_eq!(
        output.status.code(),
        Some(0),
        "{task} by {strategy}: {report:#}"
    );
    (report, dir)
}

#[tokio::test]
async fn lexical_runs_on_mcp_servers() {
    if !mcp_installed() {
        return;
    }
    for strategy in STRATEGIES {
        for task in ["mcp/new-file", "mcp/sum"] {
            solves(task, strategy, &[]).await;
        }
    }
}

#[tokio::test]
async fn lexical_runs_on_kinto() {
    if !installed("kinto/ready") {
        return;
    }
    for strategy in STRATEGIES {
        for task in ["kinto/unpaid-order", "kinto/new-order"] {
            solves(task, strategy, &[]).await;
        }
    }
}

/// Held while searching, sent once by the commit.
async fn holds(task: &str) {
    for strategy in STRATEGIES {
        let (report, _) = solves(task, strategy, &[]).await;
        assert_eq!(report["steps"]["writes"], 0, "{report:#}");
        assert_eq!(report["steps"]["commit_writes"], 1, "{report:#}");
    }
}

#[tokio::test]
async fn lexical_commits_a_file_that_was_held() {
    if mcp_installed() {
        holds("mcp/held-file").await;
    }
}

#[tokio::test]
async fn lexical_commits_a_deletion_that_was_held() {
    if installed("kinto/ready") {
        holds("kinto/held-delete").await;
    }
}

// ---------------------------------------------------------------- a scripted model

/// What a reader would do, after one thing that he would not.
struct Script {
    /// A wrong call that is proposed first; a state behind it is given up.
    wrong: (&'static str, Value),
    /// The calls that lead to the goal, in their order.
    right: Vec<(&'static str, Value)>,
    answer: &'static str,
}

impl Script {
    /// A call as an observation shows it.
    fn mark((tool, arguments): &(&'static str, Value)) -> String {
        format!("] {tool} {arguments}")
    }

    fn action((tool, arguments): &(&'static str, Value)) -> Value {
        let mut action = arguments.clone();
        action["action"] = json!(tool);
        action
    }

    /// How many right calls were made in the conversation that a prompt shows; `None` on the wrong way.
    fn progress(&self, prompt: &str) -> Option<usize> {
        let here = prompt.split(TRIED).next().unwrap_or_default();
        let made = |call: &&(&'static str, Value)| here.contains(&Self::mark(call));
        if made(&&self.wrong) {
            return None;
        }
        Some(self.right.iter().take_while(made).count())
    }

    fn propose(&self, prompt: &str) -> Value {
        let actions = match self.progress(prompt) {
            None => vec![json!({"action": "give_up", "reason": "that was wrong"})],
            Some(0) if !prompt.contains(TRIED) => {
                vec![Self::action(&self.wrong), Self::action(&self.right[0])]
            }
            Some(done) if done < self.right.len() => vec![Self::action(&self.right[done])],
            Some(_) => vec![json!({"action": "finish", "answer": self.answer})],
        };
        json!({ "actions": actions })
    }

    fn judge(&self, prompt: &str) -> Value {
        let progress = self.progress(prompt);
        let done = progress == Some(self.right.len()) && prompt.contains(self.answer);
        let word = |yes: bool, words: [&'static str; 2]| words[usize::from(yes)];
        json!({
            "on_track": word(progress.is_some(), ["no", "yes"]),
            "status": word(done, ["failure", "success"]),
            "why": "as written",
        })
    }
}

async fn completions(State(script): State<Arc<Script>>, Json(asked): Json<Value>) -> Json<Value> {
    let messages = asked["messages"].as_array().unwrap();
    let prompt: String = messages
        .iter()
        .filter(|message| message["role"] == "user")
        .map(|message| match &message["content"] {
            Value::String(text) => text.clone(),
            parts => parts[0]["text"].as_str().unwrap_or_default().to_owned(),
        })
        .collect();
    let proposes = asked["response_format"].to_string().contains("\"actions\"");
    let reply = if proposes {
        script.propose(&prompt)
    } else {
        script.judge(&prompt)
    };
    let choice = json!({"message": {"role": "assistant", "content": reply.to_string()}, "finish_reason": "stop"});
    Json(json!({
        "model": "scripted",
        "choices": [choice],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }))
}

/// Runs a task by both strategies with the script as the model.
async fn scripted(task: &str, script: impl Fn() -> Script) {
    for strategy in STRATEGIES {
        let app = Router::new()
            .route("/v1/chat/completions", post(completions))
            .with_state(Arc::new(script()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let model = [
            "--model",
            "scripted",
            "--base-url",
            &url,
            "--critic-samples",
            "1",
        ];
        let (report, record) = solves(task, strategy, &model).await;
        serving.abort();
        let sent = report["steps"]["writes"].as_u64().unwrap();
        let kept = report["steps"]["commit_writes"].as_u64().unwrap();
        assert!(
            sent > kept,
            "the wrong write was sent, and taken back: {report:#}"
        );
        replays(record.path());
    }
}

/// The record gives the tree again.
fn replays(runs: &Path) {
    let run: PathBuf = std::fs::read_dir(runs)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let replayed = std::process::Command::new(env!("CARGO_BIN_EXE_branchline"))
        .arg("replay")
        .arg(run)
        .output()
        .unwrap();
    assert!(replayed.status.success(), "{replayed:?}");
}

#[tokio::test]
async fn scripted_runs_on_the_filesystem_server() {
    if !mcp_installed() {
        return;
    }
    let table = "Ingrid Solberg: shellfish\nTomas Lind: peanuts\n";
    let write = |text: &str| {
        (
            "write_file",
            json!({"content": text, "path": "/files/desk/table.txt"}),
        )
    };
    let read = |name: &str| {
        (
            "read_text_file",
            json!({"path": format!("/files/desk/{name}.txt")}),
        )
    };
    let script = || Script {
        wrong: write("nobody"),
        right: vec![
            read("guests"),
            read("allergies"),
            write(table),
            read("table"),
        ],
        answer: "Ingrid Solberg: shellfish\nTomas Lind: peanuts",
    };
    scripted("mcp/table-plan", script).await;
}

#[tokio::test]
async fn scripted_runs_on_the_memory_server() {
    if !mcp_installed() {
        return;
    }
    let relation = |to: &str| {
        let relation = json!({"from": "Ada Moreau", "relationType": "plays in", "to": to});
        ("create_relations", json!({"relations": [relation]}))
    };
    let told = json!({"contents": ["Member since 2026"], "entityName": "Ada Moreau"});
    let script = || Script {
        wrong: relation("Tomas Lind"),
        right: vec![
            relation("Quayside Quartet"),
            ("add_observations", json!({"observations": [told]})),
            ("search_nodes", json!({"query": "Member since 2026"})),
        ],
        answer: "Ada Moreau and the Quayside Quartet",
    };
    scripted("mcp/quartet", script).await;
}

#[tokio::test]
async fn scripted_runs_on_kinto() {
    if !installed("kinto/ready") {
        return;
    }
    let place = |id: &str| json!({"bucket_id": "shop", "collection_id": "orders", "id": id});
    let pay = |id: &str| {
        let mut arguments = place(id);
        arguments["data"] = json!({"paid": true});
        ("patch_record", arguments)
    };
    let script = || Script {
        wrong: ("delete_record", place("order-2")),
        right: vec![
            (
                "get_records",
                json!({"bucket_id": "shop", "collection_id": "orders"}),
            ),
            pay("order-2"),
            ("get_record", place("order-2")),
        ],
        answer: "paid: true",
    };
    scripted("kinto/rug-is-paid", script).await;
}
