//! What is peculiar about a site is said by name, in the record and at the end of the run: each kind
//! on a real page, found by a search that knows nothing of it.

use std::num::{NonZeroU8, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header;
use axum::response::Html;
use axum::routing::get;
use branchline::context::Cx;
use branchline::critic::LexicalCritic;
use branchline::env::browser::{BrowserConfig, BrowserWorld};
use branchline::env::{ActError, Environment, FixedSite, World};
use branchline::policy::LexicalPolicy;
use branchline::record::{EventKind, Reader, Recorder, Redactor, RunManifest};
use branchline::report::{About, summary, summary_json};
use branchline::runtime::{Job, RunLimits, RunReport, run};
use branchline::search::{Budget, SearchConfig};
use branchline::types::{Action, MissReason, Rung, Seed, SiteNoteKind, Writes};
use serde_json::json;

use crate::support::lane::{self, page};
use crate::support::serve::{greeter, listen, serve, serve_on};
use crate::support::steps::{done, reference};

fn config() -> BrowserConfig {
    BrowserConfig {
        double_load: true,
        // Longer than a request may take at a page's rest.
        settle: Duration::from_secs(6),
        ..lane::config()
    }
}

/// Everything that hinders, a link for each.
fn hindering(socket: &str) -> Router {
    const MIB: &[u8] = &[b'x'; 1 << 20];
    const WORKER: &str =
        "addEventListener('fetch', (e) => e.respondWith(new Response('the worker')))";
    let loads = Arc::new(AtomicU32::new(0));
    // An advertisement that can be pressed: it counts, and is another one with every load.
    let home = move || {
        let n = loads.fetch_add(1, Ordering::SeqCst);
        let page = format!(
            "<title>Home</title><a href=/events>Events</a> <a href=/large>Large</a> <a href=/socket>Socket</a>
            <a href=/drip>Drip</a> <a href=/popup>Popup</a> <a href=/worker>Worker</a> <a href=/out>Logout</a><button>Offer {n}</button>"
        );
        std::future::ready(([(header::SET_COOKIE, "sid=1")], Html(page)))
    };
    let endless = |kind: &'static str| {
        move || {
            let one = std::future::ready(Ok::<_, std::io::Error>("data: 1\n\n"));
            let one = futures_util::stream::once(one);
            let stream = futures_util::StreamExt::chain(one, futures_util::stream::pending());
            std::future::ready(([(header::CONTENT_TYPE, kind)], Body::from_stream(stream)))
        }
    };
    let large = || {
        let parts = futures_util::stream::iter((0..100).map(|_| Ok::<_, std::io::Error>(MIB)));
        let length = [(header::CONTENT_LENGTH, (100 << 20).to_string())];
        std::future::ready((length, Body::from_stream(parts)))
    };
    let socket = format!("<title>Socket</title><script>new WebSocket('{socket}')</script>");
    let out = || {
        std::future::ready((
            [(header::SET_COOKIE, "sid=; Max-Age=0")],
            Html("<title>Out</title>"),
        ))
    };
    let script = [(header::CONTENT_TYPE, "text/javascript")];
    Router::new()
        .route("/", get(home))
        .route("/events", page("<title>Events</title><script>new EventSource('/ticks?t=1')</script>"))
        .route("/ticks", get(endless("text/event-stream")))
        .route("/drip", page("<title>Drip</title><script>fetch('/drops?n=1')</script>"))
        .route("/drops", get(endless("text/plain")))
        .route("/large", page("<title>Large</title><p id=out></p><script>
            fetch('/blob').then((r) => r.blob()).then((b) => { out.textContent = b.size; })</script>"))
        .route("/blob", get(large))
        .route("/socket", get(move || std::future::ready(Html(socket.clone()))))
        .route("/popup", page("<title>Popup</title><iframe sandbox=allow-scripts srcdoc='<script>open(`/ad`)</script>'></iframe>"))
        .route("/worker", page("<title>Worker</title><p id=out></p><script>navigator.serviceWorker.register('/sw.js')
            .then(() => navigator.serviceWorker.ready).then(() => { out.textContent = 'ready'; })</script>"))
        .route("/sw.js", get(move || std::future::ready((script, WORKER))))
        .route("/out", get(out))
}

async fn searched(origin: &str) -> (RunReport, tempfile::TempDir) {
    let site = Arc::new(FixedSite::new(origin));
    let world = BrowserWorld::new(config(), site, "/", Writes::Hold, None);
    let search = SearchConfig {
        branching: NonZeroU8::new(8).unwrap(),
        depth: 1,
        budget: Budget {
            steps: Some(8),
            ..Budget::default()
        },
        ..SearchConfig::default()
    };
    let runs = tempfile::tempdir().unwrap();
    let manifest = RunManifest {
        search,
        ..RunManifest::default()
    };
    let recorder = Recorder::create(runs.path(), &manifest, Redactor::default()).unwrap();
    let job = Job {
        goal: Some("events, large, socket, drip, popup, worker, logout".to_owned()),
        search,
        policy: Arc::new(LexicalPolicy::default()),
        critic: Arc::new(LexicalCritic::default()),
        world: Arc::new(world),
        workers: NonZeroUsize::MIN,
        checks: Vec::new(),
        limits: RunLimits::default(),
        seed: Seed(0),
        retries: 0,
        dry_run: true,
    };
    let report = run(job, recorder, &mut |_, _| {}, &Cx::default()).await;
    (report.unwrap(), runs)
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_names_what_hinders_in_the_record_and_the_summary() {
    let (origin, _serving) = serve(hindering(&greeter().await)).await;
    let (report, _runs) = searched(&origin).await;
    let mut kinds: Vec<_> = report.notes.iter().map(|note| note.kind).collect();
    kinds.sort();
    assert_eq!(
        kinds,
        [
            SiteNoteKind::Differs,
            SiteNoteKind::ServiceWorker,
            SiteNoteKind::Socket,
            SiteNoteKind::Stream,
            SiteNoteKind::Stream,
            SiteNoteKind::TooLarge,
            SiteNoteKind::PopupBlocked,
            SiteNoteKind::SessionEnded,
        ],
        "{:#?}",
        report.notes
    );
    let told = |kind| -> Vec<String> {
        let found = report.notes.iter().filter(|note| note.kind == kind);
        found
            .map(|note| note.text.replace(&origin, "SITE"))
            .collect()
    };
    let text_of = |kind| told(kind).concat();
    assert!(text_of(SiteNoteKind::Differs).contains("Offer"));
    let mut streams = told(SiteNoteKind::Stream);
    streams.sort();
    assert_eq!(
        streams,
        [
            "the response of SITE/drops had no end after 4 s: while that is so, pages that ask for it are only come back to by replay",
            "the response of SITE/ticks has no end (events, or media): pages that ask for it are only come back to by replay",
        ]
    );
    assert!(
        text_of(SiteNoteKind::TooLarge)
            .starts_with("the response of SITE/blob is larger than the 8192 KiB")
    );
    assert!(text_of(SiteNoteKind::PopupBlocked).ends_with("open a tab: SITE/ad"));
    // Each of them once in the record, and at the end of the run for people and machines.
    let about = About {
        task: None,
        strategy: "best-first",
        budget: Budget::default(),
        wall: None,
        width: None,
        colour: false,
    };
    let shown = summary(&report, &about);
    let printed = summary_json(&report);
    let events = Reader::open(&report.dir).unwrap();
    let logged: Vec<String> = events
        .filter_map(|event| match event.unwrap().kind {
            EventKind::Warning { text } => Some(text),
            _ => None,
        })
        .collect();
    assert_eq!(
        printed["notes"].as_array().unwrap().len(),
        report.notes.len()
    );
    for note in &report.notes {
        let times = logged.iter().filter(|text| text.ends_with(&note.text));
        assert_eq!(times.count(), 1, "{note:?} in {logged:#?}");
        assert!(shown.contains(&note.text), "{note:?} in {shown}");
        assert!(
            printed["notes"]
                .to_string()
                .contains(&json!(note.text).to_string())
        );
    }
}

/// A server that keeps its sessions in memory.
fn keeping(server: &'static str) -> Router {
    let known: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let look = move |headers: axum::http::HeaderMap| {
        let cookie = headers.get(header::COOKIE).and_then(|c| c.to_str().ok());
        let mut known = known.lock().unwrap();
        let asked = cookie.unwrap_or_default().to_owned();
        if !known.contains(&asked) {
            let next = format!("session={server}{}", known.len());
            known.push(next);
        }
        let session = known
            .iter()
            .find(|s| **s == asked)
            .or(known.last())
            .unwrap();
        let page = Html("<title>Look</title><a href=/>Look</a>");
        std::future::ready(([(header::SET_COOKIE, session.clone())], page))
    };
    Router::new().route("/", get(look))
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_says_that_a_restarted_server_does_not_know_its_sessions() {
    let cx = Cx::default();
    let (listener, address) = listen().await;
    let serving = serve_on(listener, keeping("a"));
    let origin = format!("http://{address}");
    let site = Arc::new(FixedSite::new(&origin));
    let world = BrowserWorld::new(config(), site, "/", Writes::Session, None);
    let mut env = world.open(Seed(1), &cx).await.unwrap();
    let mut other = world.open(Seed(1), &cx).await.unwrap();
    let look = async |env: &mut dyn Environment| {
        let seen = env.observe(&cx).await.unwrap();
        let action = Action::new("click", json!({ "ref": reference(&seen, "Look") }));
        env.act(&action, &cx).await
    };
    assert!(done(&look(&mut *env).await.unwrap()));
    env.observe(&cx).await.unwrap();
    let known = env.snapshot(&cx).await.unwrap();
    assert_eq!(world.notes(), []);
    // While it is gone nothing is a state: the browser's page about it is not the site's.
    drop(serving);
    let clicked = look(&mut *other).await.unwrap_err();
    let goto = Action::new("goto", json!({ "url": "/" }));
    let gone = other.act(&goto, &cx).await.unwrap_err();
    for error in [clicked, gone] {
        assert!(matches!(error, ActError::Lost(_)), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains("the site did not answer: net::ERR_CONNECTION_REFUSED"),
            "{text}"
        );
    }
    // Up again, it has forgotten everybody: what was kept of the session does not count any more.
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let _serving = serve_on(listener, keeping("b"));
    assert!(done(&look(&mut *env).await.unwrap()));
    let [note] = &world.notes()[..] else {
        panic!("{:?}", world.notes())
    };
    assert_eq!(note.kind, SiteNoteKind::SessionReplaced);
    assert!(note.text.contains("the cookie session"), "{}", note.text);
    let restored = env.restore(&known, &cx).await.unwrap();
    assert_eq!(restored.rung, Rung::Replay, "{restored:?}");
    assert_eq!(restored.misses[0].reason, MissReason::ServerMoved);
}
