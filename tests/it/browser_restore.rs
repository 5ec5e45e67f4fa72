//! The ladder of restores against real Chromium: every rung, and every reason for missing one that
//! can be provoked.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use branchline::env::World;
use branchline::env::browser::{BrowserConfig, RestoreLimits};
use branchline::types::{Action, MissReason, Rung, Seed, SiteNote, SiteNoteKind, Step, Writes};
use serde_json::json;

use crate::support::lane::{Lane, Served, config, full_chromium, page, ways};
use crate::support::serve::greeter;

const AWAY: &str = "<title>Away</title><p>elsewhere</p>";

/// A site whose start page is `body`, with somewhere to go.
fn site(body: &'static str) -> Router {
    Router::new()
        .route("/", page(body))
        .route("/away", page(AWAY))
}

const CLOSURE: &str = r#"<title>Counter</title><p id=out>0</p>
    <button onclick="n += 1 + Math.round(performance.now() * 0); out.textContent = n; localStorage.n = n">More</button>
    <input aria-label=Note><a href=/away>Away</a>
    <div style="height:2000px"></div><a href=/away>Below</a><script>let n = 0;</script>"#;
const WRITES_STORAGE: &str =
    "<title>Away</title><script>localStorage.n = 'other'; document.cookie = 'x=1'</script>";

#[tokio::test(flavor = "multi_thread")]
async fn chromium_goes_back_to_the_page_it_kept() {
    let Some(binary) = full_chromium() else {
        return;
    };
    let hits = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&hits);
    let app = Router::new()
        .route(
            "/",
            get(move || {
                counted.fetch_add(1, Ordering::SeqCst);
                std::future::ready(Html(CLOSURE))
            }),
        )
        .route("/away", page(WRITES_STORAGE));
    let site = Served::with(app).await;
    let config = BrowserConfig {
        binary: Some(binary),
        ..config()
    };
    let mut lane = Lane::open(&site, config, Writes::Hold).await;
    lane.click("More").await;
    lane.click("More").await;
    let (two, seen) = lane.state().await;
    lane.click("Away").await;
    lane.state().await;
    let back = lane.restore(&two).await;
    assert_eq!((back.rung, back.actions), (Rung::History, 0), "{back:?}");
    let again = lane.observe().await;
    assert_eq!(
        (again.digest, &again.elements),
        (seen.digest, &seen.elements)
    );
    assert_eq!(hits.load(Ordering::SeqCst), 1, "the server was not asked");
    // It is live: the closure goes on from where it was, and can be left and come back to again.
    lane.click("More").await;
    let (three, _) = lane.state().await;
    assert!(lane.observe().await.text.contains("\n3"));
    lane.click("Below").await;
    lane.state().await;
    let back = lane.restore(&three).await;
    assert_eq!(back.rung, Rung::History, "{back:?}");
    assert!(lane.observe().await.text.contains("\n3"));
    // The one before is not in the history any more: its page has moved on.
    let document = lane.restore(&two).await;
    assert_eq!(document.rung, Rung::Document, "{document:?}");
    assert_eq!(lane.observe().await.digest, seen.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_that_did_not_keep_the_page_says_so_and_learns() {
    let Some(binary) = full_chromium() else {
        return;
    };
    // A page that listens for `unload` is not kept.
    let unload = "<title>Home</title><a href=/away>Away</a><script>addEventListener('unload', () => {})</script>";
    let site = Served::with(site(unload)).await;
    let config = BrowserConfig {
        binary: Some(binary),
        ..config()
    };
    let mut lane = Lane::open(&site, config, Writes::Hold).await;
    let (home, seen) = lane.state().await;
    for round in 0..3 {
        lane.click("Away").await;
        let restored = lane.restore(&home).await;
        assert_eq!(restored.rung, Rung::Document, "{restored:?}");
        let missed = [(Rung::History, MissReason::NotCached)];
        match round {
            0 => assert_eq!(ways(&restored.misses), missed),
            1 => {
                assert_eq!(ways(&restored.misses), missed);
                let learned = restored.learned.unwrap();
                assert!(
                    learned.contains("\"history\" is tried after replay now"),
                    "{learned}"
                );
            }
            _ => assert_eq!(restored.misses, []),
        }
        assert_eq!(lane.observe().await.digest, seen.digest);
    }
}

/// Three pages one behind the other, the first one with a field and a view that it has an entry for.
fn chapters(requests: &Arc<AtomicU32>) -> Router {
    let chapter = |body: &'static str| {
        let requests = Arc::clone(requests);
        get(move || {
            requests.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Html(body))
        })
    };
    let one = r##"<title>One</title><input aria-label=Note><p id=out>plain</p><script>
            const show = () => { out.textContent = location.hash || 'plain' };
            addEventListener('hashchange', show); show()</script>
        <a href="#view">View</a><div style="height:2000px"></div><a href=/two>Two</a>"##;
    Router::new()
        .route("/", chapter(one))
        .route(
            "/two",
            chapter("<title>Two</title><a href=/three>Three</a>"),
        )
        .route(
            "/three",
            chapter("<title>Three</title><input aria-label=End>"),
        )
}

/// `back` or `forward`.
fn go(way: &str) -> Action {
    Action::new(way, json!({}))
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_restores_pages_that_were_gone_back_and_forward_to() {
    let requests = Arc::default();
    let site = Served::with(chapters(&requests)).await;
    let mut lane = Lane::open(&site, config(), Writes::Hold).await;
    let seen = lane.observe().await;
    let note = seen.elements.iter().find(|e| e.name == "Note").unwrap();
    let fill = json!({ "ref": note.r#ref, "text": "remember" });
    lane.act(&Action::new("fill", fill)).await;
    lane.click("View").await;
    lane.state().await;
    let mut states = Vec::new();
    for step in ["Two", "Three", "back", "back", "forward", "back", "Two"] {
        match step {
            "back" | "forward" => lane.act(&go(step)).await,
            link => lane.click(link).await,
        }
        states.push((step, lane.state().await));
    }
    let (_, (_, one)) = &states[3];
    let note = one.elements.iter().find(|e| e.name == "Note").unwrap();
    assert!(one.url.ends_with("#view"));
    assert_eq!(note.value.as_deref(), Some("remember"), "by the browser");
    let asked = requests.load(Ordering::SeqCst);
    for (index, (step, (state, seen))) in states.iter().enumerate().rev() {
        let restored = lane.restore(state).await;
        let document = (Rung::Document, &[][..]);
        let live = index + 1 == states.len();
        let got = (restored.rung, &restored.misses[..]);
        assert!(live || got == document, "{index} {step}: {restored:?}");
        let again = lane.observe().await;
        assert_eq!(again.digest, seen.digest, "{index} {step}");
        assert_eq!(again.elements, seen.elements, "{index} {step}");
    }
    let now = requests.load(Ordering::SeqCst);
    assert_eq!(now, asked, "no restore asked the server");
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_goes_back_behind_the_document_that_a_restore_began_at() {
    let requests = Arc::default();
    let site = Served::with(chapters(&requests)).await;
    let mut lane = Lane::open(&site, config(), Writes::Hold).await;
    let (root, _) = lane.state().await;
    lane.click("View").await;
    lane.state().await;
    lane.click("Two").await;
    lane.act(&go("back")).await;
    let view = lane.observe().await;
    lane.act(&go("forward")).await;
    let (two, _) = lane.state().await;
    lane.click("Three").await;
    let (three, seen) = lane.state().await;
    lane.restore(&two).await;
    // What was seen here is not what is there after the next restore, before anybody looks.
    lane.observe().await;
    // On the lane that was there, on one that never was, and once more.
    for other in [false, true, false] {
        if other {
            lane.env = lane.another().await;
        }
        let restored = lane.restore(&three).await;
        assert_eq!((restored.rung, restored.actions), (Rung::Document, 0));
        let asked = requests.load(Ordering::SeqCst);
        lane.act(&go("back")).await;
        assert_eq!(lane.observe().await.title, "Two");
        lane.act(&go("back")).await;
        let again = lane.observe().await;
        assert_eq!((&again.title, again.digest), (&view.title, view.digest));
        // Each page was asked for again by going back to it, as without a restore; nothing else was.
        assert_eq!(requests.load(Ordering::SeqCst), asked + 2);
        lane.act(&go("back")).await;
        assert!(lane.observe().await.text.contains("plain"));
        let refused = lane.env.act(&go("back"), &lane.cx).await.unwrap();
        let Step::Rejected(rejection) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(rejection.reason, "there is no earlier page");
        lane.act(&go("forward")).await;
        lane.act(&go("forward")).await;
        lane.act(&go("forward")).await;
        assert_eq!(lane.observe().await.digest, seen.digest);
    }
    // Nothing was before the root.
    assert_eq!(lane.restore(&root).await.rung, Rung::Document);
    lane.observe().await;
    let refused = lane.env.act(&go("back"), &lane.cx).await.unwrap();
    assert!(matches!(refused, Step::Rejected(_)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_restores_what_a_redirection_to_two_slashes_brought() {
    let forward = |headers: axum::http::HeaderMap| {
        let host = headers[header::HOST].to_str().unwrap();
        let to = format!("http://{host}//deep");
        std::future::ready(axum::response::Redirect::to(&to))
    };
    let app = site("<title>Home</title><a href=/go>Go</a>")
        .route("/go", get(forward))
        .fallback(page("<title>Deep</title><a href=/away>Away</a>"));
    let site = Served::with(app).await;
    let mut lane = Lane::open(&site, config(), Writes::Hold).await;
    let (home, _) = lane.state().await;
    lane.click("Go").await;
    let (deep, seen) = lane.state().await;
    assert!(seen.url.ends_with("//deep"), "{}", seen.url);
    lane.click("Away").await;
    for (state, title) in [(home, "Home"), (deep, "Deep")] {
        let restored = lane.restore(&state).await;
        assert_eq!(
            (restored.rung, &restored.misses[..]),
            (Rung::Document, &[][..])
        );
        assert_eq!(lane.observe().await.title, title);
    }
    // Behind the redirection, too, the tab has its history.
    lane.act(&go("back")).await;
    lane.click("Go").await;
    assert_eq!(lane.observe().await.digest, seen.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_restores_a_page_sent_in_parts_and_a_request_that_failed() {
    let body = r"<title>Parts</title><p id=out></p><a href=/away>Away</a><script>
        (async () => {
            const data = await (await fetch('/data')).text();
            const lost = await fetch('http://127.0.0.1:9/').then(() => 'there', () => 'lost');
            out.textContent = data + ' ' + lost;
        })()</script>";
    let chunked = |body: &'static str, kind: &'static str| {
        get(move || {
            let parts = body
                .as_bytes()
                .chunks(40)
                .map(|c| Ok::<_, std::io::Error>(c.to_vec()));
            let stream = futures_util::stream::iter(parts.collect::<Vec<_>>());
            std::future::ready(([(header::CONTENT_TYPE, kind)], Body::from_stream(stream)))
        })
    };
    let app = Router::new()
        .route("/", chunked(body, "text/html"))
        .route(
            "/data",
            chunked("in several parts, each of them small", "text/plain"),
        )
        .route("/away", page(AWAY));
    let mut site = Served::with(app).await;
    let mut lane = Lane::open(&site, config(), Writes::Hold).await;
    let (home, seen) = lane.state().await;
    assert!(
        seen.text.contains("each of them small lost"),
        "{}",
        seen.text
    );
    lane.click("Away").await;
    site.down().await;
    let restored = lane.restore(&home).await;
    assert_eq!(restored.rung, Rung::Document, "{restored:?}");
    assert_eq!(restored.misses, []);
    assert_eq!(lane.observe().await.digest, seen.digest);
}

/// A response that never ends, one that is too large, and a socket. What an event source or a socket
/// brings is not shown: no page is at rest only when it has come.
fn troublesome(socket: &str) -> Router {
    let endless = || {
        let parts = futures_util::stream::unfold(0_u32, |n| async move {
            if n > 0 {
                std::future::pending::<()>().await;
            }
            Some((Ok::<_, std::io::Error>("data: tick\n\n"), n + 1))
        });
        Body::from_stream(parts)
    };
    let socket = format!(
        "<title>Socket</title><p id=out></p><script>
        new WebSocket('{socket}'); out.textContent = 'listening'</script>"
    );
    let home = r"<title>Home</title><a href=/stream>Stream</a> <a href=/events>Events</a> <a href=/large>Large</a>
        <a href=/socket>Socket</a> <a href=/away>Away</a> <a href=/clock>Clock</a>";
    Router::new()
        .route("/", page(home))
        .route("/away", page(AWAY))
        .route("/stream", page("<title>Stream</title><p id=out></p><script>
            fetch('/endless').then(async (r) => { const reader = r.body.getReader(); await reader.read(); out.textContent = 'begun'; })</script>"))
        .route("/endless", get(move || std::future::ready(endless())))
        .route("/events", page("<title>Events</title><p id=out></p><script>
            new EventSource('/ticks'); out.textContent = 'listening'</script>"))
        .route("/ticks", get(move || std::future::ready(([(header::CONTENT_TYPE, "text/event-stream")], endless()))))
        .route("/large", page("<title>Large</title><p id=out></p><script>
            fetch('/blob').then((r) => r.blob()).then((b) => { out.textContent = b.size; })</script>"))
        .route("/blob", get(|| std::future::ready("x".repeat(2 << 20))))
        .route("/clock", page("<title>Clock</title><p id=out></p><script>
            fetch('/away?' + performance.now()).then((r) => { out.textContent = r.status; })</script>"))
        .route("/socket", get(move || std::future::ready(Html(socket.clone()))))
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_names_the_reason_for_every_missed_rung() {
    let mut site = Served::with(troublesome(&greeter().await)).await;
    let config = BrowserConfig {
        restore: RestoreLimits {
            response: 1 << 20,
            ..RestoreLimits::default()
        },
        settle: Duration::from_secs(2),
        ..config()
    };
    let mut lane = Lane::open(&site, config, Writes::Hold).await;
    let (home, _) = lane.state().await;
    let mut states = Vec::new();
    for (link, reason) in [
        ("Stream", MissReason::Stream),
        ("Events", MissReason::Stream),
        ("Large", MissReason::TooLarge),
        ("Socket", MissReason::Socket),
        ("Clock", MissReason::NotRecorded),
    ] {
        lane.restore(&home).await;
        lane.click(link).await;
        let (state, seen) = lane.state().await;
        // Back home, so that the state is no longer live.
        lane.restore(&home).await;
        let restored = lane.restore(&state).await;
        assert_eq!(restored.rung, Rung::Replay, "{link}: {restored:?}");
        assert_eq!(ways(&restored.misses), [(Rung::Document, reason)], "{link}");
        assert_eq!(lane.observe().await.digest, seen.digest, "{link}");
        states.push((link, reason, state));
    }
    // Without the server there is no way back to these, and each way says why.
    site.down().await;
    for (link, reason, state) in &states[..4] {
        lane.restore(&home).await;
        let expected = [
            (Rung::Document, *reason),
            (Rung::Replay, MissReason::Unreachable),
        ];
        assert_eq!(lane.lost(state).await, expected, "{link}");
    }
    assert_eq!(lane.restore(&home).await.rung, Rung::Document);
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_bounds_what_it_keeps_and_says_what_made_room() {
    let site = Served::with(site(CLOSURE)).await;
    let limits = |kept, record| BrowserConfig {
        restore: RestoreLimits {
            kept,
            record,
            ..RestoreLimits::default()
        },
        ..config()
    };
    for (config, reason) in [
        (limits(1, 1 << 20), MissReason::Evicted),
        (limits(1 << 20, 100), MissReason::RecordFull),
    ] {
        let mut lane = Lane::open(&site, config, Writes::Hold).await;
        lane.click("More").await;
        let (state, seen) = lane.state().await;
        lane.click("Away").await;
        let restored = lane.restore(&state).await;
        assert_eq!(restored.rung, Rung::Replay);
        assert_eq!(ways(&restored.misses), [(Rung::Document, reason)]);
        assert_eq!(lane.observe().await.digest, seen.digest);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_ends_honestly_on_a_site_that_answers_differently_each_time() {
    let count = Arc::new(AtomicU32::new(0));
    let app = Router::new()
        .route(
            "/",
            get(move || {
                let n = count.fetch_add(1, Ordering::SeqCst);
                // What it shows depends on a timer, too: the record does not help.
                let body = format!(
                    "<title>Home</title><h1>Visitor {n}</h1><a href=/away>Away</a><p id=p></p>\
                     <script>p.textContent = 'Load ' + Math.floor(performance.timeOrigin)</script>"
                );
                std::future::ready(Html(body))
            }),
        )
        .route("/away", page(AWAY));
    let site = Served::with(app).await;
    let mut lane = Lane::open(&site, config(), Writes::Hold).await;
    let (home, _) = lane.state().await;
    let both = [
        (Rung::Document, MissReason::OtherState),
        (Rung::Replay, MissReason::OtherState),
    ];
    lane.click("Away").await;
    assert_eq!(lane.lost(&home).await, both);
    assert_eq!(lane.lost(&home).await, both);
    // Learned: the recorded document is not tried first again.
    assert_eq!(lane.lost(&home).await, [both[1], both[0]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_brings_back_cookies_that_the_server_deleted() {
    let app = Router::new()
        .route(
            "/",
            get(|headers: axum::http::HeaderMap| {
                let cookie = headers.get(header::COOKIE).and_then(|c| c.to_str().ok());
                let known = cookie.is_some_and(|c| c.contains("who=ada"));
                let text = if known { "Hello Ada" } else { "Hello stranger" };
                let body = format!(
                    "<title>Home</title><p>{text}</p><a href=/in>In</a> <a href=/out>Out</a> <a href=/>Again</a>"
                );
                std::future::ready(Html(body))
            }),
        )
        .route("/in", get(|| std::future::ready(cookie("who=ada; HttpOnly"))))
        .route("/out", get(|| std::future::ready(cookie("who=; Max-Age=0"))));
    let site = Served::with(app).await;
    let mut lane = Lane::open(&site, config(), Writes::Hold).await;
    lane.click("In").await;
    let (ada, seen) = lane.state().await;
    assert!(seen.text.contains("Hello Ada"));
    lane.click("Out").await;
    let (stranger, _) = lane.state().await;
    assert_eq!(lane.restore(&ada).await.rung, Rung::Document);
    assert_eq!(lane.observe().await.digest, seen.digest);
    lane.click("Again").await;
    assert!(
        lane.observe().await.text.contains("Hello Ada"),
        "the cookie is back"
    );
    assert_eq!(lane.restore(&stranger).await.rung, Rung::Document);
    lane.click("Again").await;
    assert!(lane.observe().await.text.contains("Hello stranger"));
}

fn cookie(set: &'static str) -> Response {
    let headers = [(header::SET_COOKIE, set), (header::LOCATION, "/")];
    (axum::http::StatusCode::SEE_OTHER, headers).into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_takes_the_record_only_while_its_session_has_not_moved() {
    // The server keeps a counter for each session.
    let counts: Arc<Mutex<std::collections::HashMap<String, u32>>> = Arc::default();
    let next = Arc::new(AtomicU32::new(1));
    let session = move |headers: &axum::http::HeaderMap| -> (String, bool) {
        let cookie = headers.get(header::COOKIE).and_then(|c| c.to_str().ok());
        match cookie.and_then(|c| c.strip_prefix("s=")) {
            Some(known) => (known.to_owned(), false),
            None => (next.fetch_add(1, Ordering::SeqCst).to_string(), true),
        }
    };
    let session = Arc::new(session);
    let (of_get, of_post) = (Arc::clone(&counts), counts);
    let (for_get, for_post) = (Arc::clone(&session), session);
    let show = move |headers: axum::http::HeaderMap| {
        let (id, _) = for_get(&headers);
        let n = of_get.lock().unwrap().get(&id).copied().unwrap_or(0);
        let body = format!(
            "<title>Count</title><p>count {n}</p><form method=post action=/add><button>Add</button></form><a href=/>Look</a>"
        );
        std::future::ready(([(header::SET_COOKIE, format!("s={id}"))], Html(body)))
    };
    let add = move |headers: axum::http::HeaderMap| {
        let (id, _) = for_post(&headers);
        *of_post.lock().unwrap().entry(id).or_default() += 1;
        std::future::ready(axum::response::Redirect::to("/"))
    };
    let app = Router::new()
        .route("/", get(show))
        .route("/add", axum::routing::post(add));
    let site = Served::with(app).await;
    let mut lane = Lane::open(&site, config(), Writes::Session).await;
    let (zero, _) = lane.state().await;
    lane.click("Add").await;
    let (one, seen) = lane.state().await;
    assert!(seen.text.contains("count 1"));
    lane.click("Look").await;
    assert_eq!(
        lane.restore(&one).await.rung,
        Rung::Document,
        "nothing was written since"
    );
    // The session has moved on since `zero`: a fresh one is walked there.
    let fresh = lane.restore(&zero).await;
    assert_eq!(fresh.rung, Rung::Replay);
    assert_eq!(
        ways(&fresh.misses),
        [(Rung::Document, MissReason::ServerMoved)]
    );
    lane.click("Look").await;
    assert!(lane.observe().await.text.contains("count 0"));
    // The first session is still where it was.
    assert_eq!(lane.restore(&one).await.rung, Rung::Document);
    lane.click("Look").await;
    assert!(lane.observe().await.text.contains("count 1"));
    // A second lane that adopts the session and writes takes it away from the first.
    assert_eq!(lane.restore(&one).await.rung, Rung::Document);
    let other = lane.world.open(Seed(1), &lane.cx).await.unwrap();
    let mine = std::mem::replace(&mut lane.env, other);
    assert_eq!(lane.restore(&one).await.rung, Rung::Document);
    lane.click("Add").await;
    lane.env = mine;
    assert!(lane.env.is_at(&one));
    let again = lane.restore(&one).await;
    assert_eq!(again.rung, Rung::Replay);
    let moved = |rung| (rung, MissReason::ServerMoved);
    assert_eq!(
        ways(&again.misses),
        [moved(Rung::Live), moved(Rung::Document)]
    );
    lane.click("Look").await;
    assert!(lane.observe().await.text.contains("count 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_passes_service_workers_by_and_says_so() {
    let home = "<title>Home</title><p id=out>none</p><a href=/away>Away</a><script>
        navigator.serviceWorker.register('/sw.js').then(() => navigator.serviceWorker.ready).then(() => { out.textContent = 'registered'; })</script>";
    let worker = "addEventListener('install', () => skipWaiting()); addEventListener('activate', (e) => e.waitUntil(clients.claim()));
        addEventListener('fetch', (e) => e.respondWith(new Response('from the worker')))";
    let script = [(header::CONTENT_TYPE, "text/javascript")];
    let app = site(home).route("/sw.js", get(move || std::future::ready((script, worker))));
    let site = Served::with(app).await;
    let mut lane = Lane::open(&site, config(), Writes::Hold).await;
    let seen = lane.observe().await;
    assert!(seen.text.contains("registered"), "{}", seen.text);
    assert_eq!(
        lane.world.notes(),
        [SiteNote {
            kind: SiteNoteKind::ServiceWorker,
            text: format!(
                "the service worker {}/sw.js is bypassed: requests go to the server",
                site.origin
            ),
        }]
    );
    lane.click("Away").await;
    assert_eq!(
        lane.observe().await.title,
        "Away",
        "not the worker's answer"
    );
}
