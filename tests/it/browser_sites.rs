//! Servers behind a browser: saved and put back with the cookies, leased one by one, given back as
//! they were found.

use std::sync::Arc;
use std::time::Duration;

use branchline::context::Cx;
use branchline::env::browser::{BrowserConfig, BrowserWorld};
use branchline::env::server::{ServerSite, ServerSpec};
use branchline::env::{Environment, RestoreError, Site, SiteError, World};
use branchline::task::{StartSite, parse};
use branchline::types::{Action, Observation, Rung, Seed, Snapshot, Step, Writes};
use serde_json::json;

use crate::support::board::Board;

/// The site of a task with these tables.
fn spec(tables: &str) -> ServerSpec {
    let text = format!("goal = \"g\"\n{tables}\n[[check]]\nkind = \"url\"\npath = \"/\"\n");
    let task = parse(&text, "/tmp/t.toml", "t").unwrap();
    match task.start.site {
        StartSite::Server(spec) => *spec,
        other => panic!("{other:?}"),
    }
}

fn pool(boards: &[&Board]) -> ServerSpec {
    let folder = boards[0].file.parent().unwrap().display();
    let origins: Vec<&str> = boards.iter().map(|board| board.origin.as_str()).collect();
    spec(&format!(
        "[start]\nsite = {}\n[checkpoint]\nsqlite = [\"{folder}/{{port}}.db\"]",
        json!(origins)
    ))
}

fn single(board: &Board) -> ServerSpec {
    spec(&format!(
        "[start]\nsite = \"{}\"\n[checkpoint]\nsqlite = [\"{}\"]",
        board.origin,
        board.file.display()
    ))
}

fn world(spec: ServerSpec, writes: Writes) -> BrowserWorld {
    let config = BrowserConfig {
        screenshots: false,
        settle: Duration::from_secs(3),
        ..BrowserConfig::default()
    };
    let site = ServerSite::new(spec, writes).unwrap();
    BrowserWorld::new(config, Arc::new(site), "/", writes, None)
}

struct Lane {
    env: Box<dyn Environment>,
    cx: Cx,
}

impl Lane {
    async fn open(world: &BrowserWorld) -> Self {
        let cx = Cx::default();
        let env = world.open(Seed(1), &cx).await.unwrap();
        Self { env, cx }
    }

    async fn look(&mut self) -> Observation {
        self.env.observe(&self.cx).await.unwrap()
    }

    async fn on(&mut self, name: &str, action: &str, text: Option<&str>) -> Step {
        let action = self.action(name, action, text).await;
        self.env.act(&action, &self.cx).await.unwrap()
    }

    async fn action(&mut self, name: &str, action: &str, text: Option<&str>) -> Action {
        let seen = self.look().await;
        let found = seen
            .elements
            .iter()
            .find(|e| e.interactive && e.name == name);
        let found = found.unwrap_or_else(|| panic!("no {name:?} in:\n{}", seen.text));
        let mut arguments = json!({"ref": found.r#ref});
        if let Some(text) = text {
            arguments["text"] = json!(text);
        }
        Action::new(action, arguments)
    }

    async fn click(&mut self, name: &str) {
        let step = self.on(name, "click", None).await;
        assert!(matches!(step, Step::Done { .. }), "{name}: {step:?}");
    }

    async fn pin(&mut self, note: &str) {
        self.on("Note", "fill", Some(note)).await;
        self.click("Pin").await;
    }

    async fn mark(&mut self) -> Snapshot {
        self.look().await;
        self.env.snapshot(&self.cx).await.unwrap()
    }

    async fn back(&mut self, to: &Snapshot) -> Rung {
        let restored = self.env.restore(to, &self.cx).await.unwrap();
        assert_eq!(self.look().await.digest, to.digest);
        restored.rung
    }

    async fn text(&mut self) -> String {
        self.look().await.text
    }

    async fn close(self) {
        self.env.close(&self.cx).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_cookies_and_server_come_back_together() {
    let folder = tempfile::tempdir().unwrap();
    let board = Board::serve(folder.path()).await;
    let world = world(single(&board), Writes::Checkpoint);
    let mut lane = Lane::open(&world).await;
    let out = lane.mark().await;
    lane.click("Sign in").await;
    lane.pin("first").await;
    let signed_in = lane.mark().await;
    lane.pin("second").await;
    let second = lane.mark().await;
    assert_eq!(board.notes(), ["first", "second"]);

    // Neither with yesterday's cookies nor with tomorrow's: the server would say so.
    board.requests();
    assert_eq!(lane.back(&signed_in).await, Rung::Document);
    assert_eq!(
        board.requests(),
        [""; 0],
        "a restore asks the server nothing"
    );
    assert_eq!(
        (board.notes(), board.sessions()),
        (vec!["first".to_owned()], 1)
    );
    lane.click("Reload").await;
    assert!(lane.text().await.contains("You are signed in"));

    lane.back(&out).await;
    assert_eq!((board.notes(), board.sessions()), (vec![], 0));
    lane.click("Reload").await;
    assert!(lane.text().await.contains("You are signed out"));

    // After a page that deletes a cookie it does not know the state is whole again.
    lane.back(&second).await;
    assert_eq!(board.notes(), ["first", "second"]);
    lane.click("Reload").await;
    assert!(lane.text().await.contains("You are signed in"));
    lane.pin("third").await;
    assert_eq!(board.notes(), ["first", "second", "third"]);
    lane.close().await;
    assert_eq!(
        (board.notes(), board.sessions()),
        (vec![], 0),
        "as it was found"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_branches_on_two_servers_never_meet() {
    let folder = tempfile::tempdir().unwrap();
    let one = Board::serve(folder.path()).await;
    let two = Board::serve(folder.path()).await;
    let world = world(pool(&[&one, &two]), Writes::Checkpoint);
    assert_eq!(world.concurrency().get(), 2);
    let mut a = Lane::open(&world).await;
    let mut b = Lane::open(&world).await;

    // Cookies ignore ports, contexts do not.
    a.click("Sign in").await;
    b.click("Reload").await;
    assert!(b.text().await.contains("You are signed out"));
    b.click("Sign in").await;
    b.pin("from b").await;
    a.click("Reload").await;
    assert!(a.text().await.contains("You are signed in"));
    assert!(!a.text().await.contains("from b"));
    assert_eq!(
        (one.notes(), two.notes()),
        (vec![], vec!["from b".to_owned()])
    );

    // A state of the first server, restored on the second, stays there: its links too, though they
    // named the first.
    a.pin("from a").await;
    let of_a = a.mark().await;
    one.requests();
    assert_eq!(b.back(&of_a).await, Rung::Document);
    assert_eq!(two.notes(), ["from a"]);
    b.click("Reload").await;
    assert!(b.text().await.contains("You are signed in"));
    b.click("About").await;
    assert_eq!(one.requests(), [""; 0]);
    a.close().await;
    b.close().await;
    assert_eq!((one.notes(), two.notes()), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_lanes_that_send_nothing_share_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let one = Board::serve(folder.path()).await;
    let two = Board::serve(folder.path()).await;
    let world = world(pool(&[&one, &two]), Writes::Hold);
    assert!(world.concurrency().get() > 2);
    let mut lanes = Vec::new();
    for _ in 0..3 {
        lanes.push(Lane::open(&world).await);
    }
    let held = lanes[1].on("Sign in", "click", None).await;
    assert!(matches!(held, Step::Held { .. }), "{held:?}");
    assert_eq!(one.requests(), ["GET /"; 3]);
    assert_eq!(two.requests(), [""; 0]);
    for lane in lanes {
        lane.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_what_a_commit_wrote_stays_and_what_was_there_too() {
    let folder = tempfile::tempdir().unwrap();
    let board = Board::serve(folder.path()).await;
    board.pin("somebody's");
    let world = world(single(&board), Writes::Checkpoint);
    let mut lane = Lane::open(&world).await;
    lane.pin("searched").await;
    lane.close().await;
    assert_eq!(board.notes(), ["somebody's"]);

    let mut lane = Lane::open(&world).await;
    lane.on("Note", "fill", Some("committed")).await;
    let pin = lane.action("Pin", "click", None).await;
    let cx = Cx::default();
    let Step::Done { effects, .. } = lane.env.act(&pin, &cx).await.unwrap() else {
        panic!("it was not done");
    };
    lane.close().await;
    assert_eq!(board.notes(), ["somebody's"]);

    let mut lane = Lane::open(&world).await;
    lane.on("Note", "fill", Some("committed")).await;
    let pin = lane.action("Pin", "click", None).await;
    let step = lane.env.release(&pin, &effects, &cx).await.unwrap();
    assert!(matches!(step, Step::Done { .. }), "{step:?}");
    lane.close().await;
    assert_eq!(board.notes(), ["somebody's", "committed"]);

    // The next lease begins where the commit ended, and leaves that.
    let mut lane = Lane::open(&world).await;
    lane.pin("more").await;
    lane.close().await;
    assert_eq!(board.notes(), ["somebody's", "committed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_a_state_whose_server_was_not_saved_is_not_come_back_to() {
    let folder = tempfile::tempdir().unwrap();
    let board = Board::serve(folder.path()).await;
    // The first save is that of the start, so that there is something to put back.
    let hooks = [
        (
            "save = [\"sh\", \"-c\", \"[ -e gone ] && { echo disk full >&2; exit 7; }; touch saved\"]",
            "disk full",
        ),
        (
            "save = [\"sh\", \"-c\", \"[ -e gone ] && sleep 60; true\"]\nseconds = 1",
            "within 1.0 s",
        ),
    ];
    for (save, reason) in hooks {
        let tables = format!(
            "[start]\nsite = \"{}\"\n[checkpoint]\nsqlite = [\"{}\"]\n{save}\nrestore = [\"true\"]",
            board.origin,
            board.file.display()
        );
        let text = format!("goal = \"g\"\n{tables}\n[[check]]\nkind = \"url\"\npath = \"/\"\n");
        let here = folder.path().join("t.toml");
        let task = parse(&text, here.to_str().unwrap(), "t").unwrap();
        let StartSite::Server(spec) = task.start.site else {
            panic!("a server was named");
        };
        let world = world(*spec, Writes::Checkpoint);
        let mut lane = Lane::open(&world).await;
        let start = lane.mark().await;
        std::fs::write(folder.path().join("gone"), "").unwrap();
        lane.pin("unsaved").await;
        let unsaved = lane.mark().await;
        assert_eq!(lane.back(&unsaved).await, Rung::Live, "it is there");
        lane.pin("later").await;
        let error = lane.env.restore(&unsaved, &lane.cx).await.unwrap_err();
        assert!(matches!(error, RestoreError::Exhausted { .. }), "{error:?}");
        assert!(error.to_string().contains(reason), "{error}");
        lane.back(&start).await;
        assert_eq!(board.notes(), [""; 0]);
        std::fs::remove_file(folder.path().join("gone")).unwrap();
        lane.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_a_restore_that_fails_ends_there_with_the_hooks_words() {
    let folder = tempfile::tempdir().unwrap();
    let board = Board::serve(folder.path()).await;
    let tables = format!(
        "[start]\nsite = \"{}\"\n[checkpoint]\nsave_url = \"/save\"\nrestore_url = \"PUT /restore/{{id}}\"",
        board.origin
    );
    let world_of = || world(spec(&tables), Writes::Checkpoint);
    let world = world_of();
    let mut lane = Lane::open(&world).await;
    let start = lane.mark().await;
    lane.pin("one").await;
    let one = lane.mark().await;
    lane.pin("two").await;
    assert_eq!(lane.back(&one).await, Rung::Document);
    assert_eq!(board.notes(), ["one"]);
    lane.back(&start).await;
    assert_eq!(board.notes(), [""; 0]);
    lane.close().await;

    let broken = tables.replace("/restore/{id}", "/restore/s999");
    let world = self::world(spec(&broken), Writes::Checkpoint);
    let mut lane = Lane::open(&world).await;
    let start = lane.mark().await;
    lane.pin("one").await;
    let error = lane.env.restore(&start, &lane.cx).await.unwrap_err();
    assert!(matches!(error, RestoreError::Exhausted { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("404") && text.contains("no such state"),
        "{text}"
    );
    let error = lane.env.close(&lane.cx).await.unwrap_err().to_string();
    assert!(error.contains("no such state"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_waits_for_a_server_and_says_that_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let board = Board::serve(folder.path()).await;
    let site = ServerSite::new(single(&board), Writes::Checkpoint).unwrap();
    let cx = Cx::default();
    let first = site.lease(&cx).await.unwrap();
    let soon = cx.within(Duration::from_millis(50));
    let Err(error) = site.lease(&soon).await else {
        panic!("there is only one server");
    };
    assert!(
        matches!(error, SiteError::Busy { servers: 1, .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("fewer workers"), "{error}");
    drop(first);
    site.lease(&cx)
        .await
        .unwrap()
        .close(false, &cx)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_there_is_said_before_anything_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let board = Board::serve(folder.path()).await;
    let mut spec = single(&board);
    spec.checkpoint.as_mut().unwrap().sqlite = vec!["/no/such/file.db".to_owned()];
    let site = ServerSite::new(spec, Writes::Checkpoint).unwrap();
    let Err(error) = site.lease(&Cx::default()).await else {
        panic!("it has no file");
    };
    assert!(error.to_string().contains("/no/such/file.db"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_start_says_its_last_words() {
    let cx = Cx::default();
    let started = |command: &str, more: &str| {
        let spec = spec(&format!("[start]\n[site]\ncommand = {command}\n{more}"));
        ServerSite::new(spec, Writes::Allow).unwrap()
    };
    let failing = started(
        "[\"sh\", \"-c\", \"echo no licence for {port} >&2; exit 9\"]",
        "",
    );
    let Err(error) = failing.lease(&cx).await else {
        panic!("it ended");
    };
    let text = error.to_string();
    assert!(
        text.contains("exit status: 9") && text.contains("no licence"),
        "{text}"
    );
    let deaf = started("[\"sleep\", \"60\", \"{port}\"]", "seconds = 1");
    // `sleep` refuses the port as an argument or sleeps through it: either way it never answers.
    let Err(error) = deaf.lease(&cx).await else {
        panic!("it never answers");
    };
    let text = error.to_string();
    assert!(text.contains("did not answer / within 1 s"), "{text}");
}
