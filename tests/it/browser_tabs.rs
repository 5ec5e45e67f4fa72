//! States of several tabs against real Chromium: all of them come back, from the record alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::Html;
use axum::routing::get;
use branchline::env::browser::{BrowserBinary, BrowserConfig};
use branchline::types::{Action, MissReason, NoticeKind, Observation, Rung, Snapshot, Writes};
use futures_util::StreamExt;
use serde_json::json;

use crate::support::lane::{Lane, Served, config, full_chromium, page, ways};

/// Pages that know what was stored, with fields, links to each other in this tab and in new ones, and
/// room to scroll. Every request is counted.
async fn room(State(requests): State<Arc<AtomicU32>>, Path(name): Path<String>) -> Html<String> {
    let count = requests.fetch_add(1, Ordering::SeqCst);
    Html(format!(
        r#"<title>{name}</title><h1>Visit {count} of {name}</h1><p id=out></p>
        <input aria-label="Note of {name}"><button onclick="more.append(document.createElement('input'))">More</button>
        <button onclick="localStorage.said = (localStorage.said || '') + '{name} '">Say</button>
        <button onclick="out.textContent = 'Heard: ' + localStorage.said">Hear</button>
        <button onclick="fetch('/data').then((r) => r.text()).then((text) => out.textContent = text)">Ask</button>
        <button onclick="window.close()">Leave</button><span id=more></span>
        <a href=/next>Next</a> <a href=/other target=_blank>Other</a> <a href=/third target=_blank>Third</a>
        <button onclick="child = window.open('/child')">Popup</button><button onclick="child.postMessage('hello', '*')">Greet</button>
        <div style="height:3000px"></div><p>The end</p>
        <script>let child; addEventListener('message', (e) => {{ out.textContent = 'Told: ' + e.data; }})</script>"#
    ))
}

/// The lane on such a site, and what counts its requests.
async fn rooms(binary: Option<BrowserBinary>) -> (Lane, Arc<AtomicU32>, Served) {
    let requests: Arc<AtomicU32> = Arc::default();
    let of_data = Arc::clone(&requests);
    let data = move || {
        let count = of_data.fetch_add(1, Ordering::SeqCst);
        std::future::ready(format!("answer {count}"))
    };
    let home = |state| room(state, Path("home".to_owned()));
    let app = Router::new()
        .route("/", get(home))
        .route("/data", get(data))
        .route("/{name}", get(room))
        .with_state(Arc::clone(&requests));
    let site = Served::with(app).await;
    let config = BrowserConfig { binary, ..config() };
    (
        Lane::open(&site, config, Writes::Hold).await,
        requests,
        site,
    )
}

/// One step of a path: `button`, `tab 1`, `close 2`, `open /x`, `back`, `down`, `type text`.
async fn take(lane: &mut Lane, step: &str) {
    let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
    let index = || rest.parse::<u32>().unwrap();
    let action = match verb {
        "tab" => Action::new("tab_switch", json!({ "index": index() })),
        "close" => Action::new("tab_close", json!({ "index": index() })),
        "open" => Action::new("tab_open", json!({ "url": rest })),
        "down" => Action::new("scroll", json!({ "direction": "down" })),
        "back" => Action::new("back", json!({})),
        "type" => {
            let seen = lane.observe().await;
            let mut fields = seen.elements.iter().filter(|e| e.role == "textbox");
            let field = fields.next_back().unwrap();
            Action::new("fill", json!({ "ref": field.r#ref, "text": rest }))
        }
        _ => return lane.click(step).await,
    };
    lane.act(&action).await;
}

type States = Vec<(String, (Snapshot, Observation))>;

/// Walks, and keeps every state.
async fn walk(lane: &mut Lane, steps: &[&str]) -> States {
    let mut states = vec![("the start".to_owned(), lane.state().await)];
    for step in steps {
        take(lane, step).await;
        states.push(((*step).to_owned(), lane.state().await));
    }
    states
}

/// Restores every state by the document rung, the last one first, on a lane that was never there; no
/// request may reach the server.
async fn take_back(lane: &mut Lane, states: &States, requests: &AtomicU32) {
    lane.env = lane.another().await;
    for (index, (step, (state, seen))) in states.iter().enumerate().rev() {
        let asked = requests.load(Ordering::SeqCst);
        let restored = lane.restore(state).await;
        let whence = format!("{index}, {step}: {restored:?}");
        assert_eq!(restored.rung, Rung::Document, "{whence}");
        assert_eq!(restored.misses, [], "{whence}");
        let again = lane.observe().await;
        assert_eq!(again.tabs, seen.tabs, "{whence}");
        assert_eq!(again.elements, seen.elements, "{whence}");
        assert_eq!(again.digest, seen.digest, "{whence}");
        assert_eq!(requests.load(Ordering::SeqCst), asked, "{whence}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_restores_two_tabs_with_what_was_done_in_each() {
    let (mut lane, requests, _site) = rooms(None).await;
    let path = [
        "type first",
        "Other",
        "type second",
        "More",
        "down",
        "tab 1",
        "More",
        "type third",
        "Ask",
        "tab 2",
        "Ask",
        "tab 1",
    ];
    let states = walk(&mut lane, &path).await;
    let (_, (_, last)) = &states[path.len()];
    assert_eq!((last.tabs.len(), last.tabs[0].active), (2, true));
    take_back(&mut lane, &states, &requests).await;
    // The tab in the background is there as it was left, and goes on with the server.
    lane.restore(&states[path.len()].1.0).await;
    take(&mut lane, "tab 2").await;
    let other = lane.observe().await;
    let (_, (_, before)) = &states[path.len() - 1];
    assert_eq!(
        (other.digest, &other.elements),
        (before.digest, &before.elements)
    );
    let asked = requests.load(Ordering::SeqCst);
    take(&mut lane, "Ask").await;
    assert!(
        lane.observe()
            .await
            .text
            .contains(&format!("answer {asked}"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_restores_tabs_beside_closed_ones_and_documents_that_were_left() {
    let (mut lane, requests, _site) = rooms(None).await;
    let path = [
        // One is closed by its index, one by itself, and the first tab goes on to another document
        // while others are open.
        "Other",
        "Say",
        "tab 1",
        "Third",
        "type gone",
        "Say",
        "tab 2",
        "Next",
        "close 3",
        "type kept",
        "tab 1",
        "Next",
        "Hear",
        "Third",
        "Leave",
        "open /late",
        "type late",
        "Hear",
        "close 1",
        "Other",
        "Hear",
    ];
    let states = walk(&mut lane, &path).await;
    let (_, (_, last)) = &states[path.len()];
    let titles: Vec<&str> = last.tabs.iter().map(|tab| tab.title.as_str()).collect();
    assert_eq!(titles, ["next", "late", "other"]);
    assert!(last.text.contains("Heard: other third"), "{}", last.text);
    take_back(&mut lane, &states, &requests).await;
    // What tabs that are gone have stored is there, too.
    lane.restore(&states[path.len() - 1].1.0).await;
    take(&mut lane, "Say").await;
    take(&mut lane, "Hear").await;
    assert!(
        lane.observe()
            .await
            .text
            .contains("Heard: other third other")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_goes_back_in_every_tab_of_a_restored_state() {
    let (mut lane, requests, _site) = rooms(None).await;
    let path = [
        "type note",
        "Next",
        "Other",
        "Next",
        "tab 1",
        "back",
        "tab 2",
    ];
    let states = walk(&mut lane, &path).await;
    take_back(&mut lane, &states, &requests).await;
    let (state, _) = &states[path.len()].1;
    for other in [false, true] {
        if other {
            lane.env = lane.another().await;
        }
        lane.restore(state).await;
        take(&mut lane, "back").await;
        let here = lane.observe().await;
        assert_eq!((&*here.title, here.tabs.len()), ("other", 2));
        take(&mut lane, "tab 1").await;
        let first = lane.observe().await;
        let note = first.elements.iter().find(|e| e.role == "textbox").unwrap();
        assert_eq!(
            (&*first.title, note.value.as_deref()),
            ("home", Some("note"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_restores_a_popup_that_talks_to_its_opener_only_while_that_is_there() {
    let (mut lane, requests, _site) = rooms(None).await;
    let path = ["Popup", "type child", "tab 1", "Greet", "tab 2"];
    let states = walk(&mut lane, &path).await;
    assert!(states[path.len()].1.1.text.contains("Told: hello"));
    take_back(&mut lane, &states, &requests).await;
    // The opener's document is another one now: loaded by itself, it would know of no popup.
    lane.restore(&states[path.len()].1.0).await;
    take(&mut lane, "tab 1").await;
    take(&mut lane, "Next").await;
    let (state, _) = lane.state().await;
    lane.restore(&states[0].1.0).await;
    let missed = [
        (Rung::Document, MissReason::Opener),
        (Rung::Replay, MissReason::OtherState),
    ];
    // Each visit is counted, so that a replay leads elsewhere here.
    assert_eq!(lane.lost(&state).await, missed);
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_restores_tabs_too() {
    let Some(binary) = full_chromium() else {
        return;
    };
    let (mut lane, requests, _site) = rooms(Some(binary)).await;
    let path = [
        "type first",
        "Other",
        "type second",
        "tab 1",
        "Third",
        "tab 2",
        "Next",
        "close 3",
    ];
    let states = walk(&mut lane, &path).await;
    take_back(&mut lane, &states, &requests).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_is_not_held_up_by_a_tab_in_the_background_that_loads_without_end() {
    let endless = || {
        let begin = Ok::<_, std::io::Error>("<title>Endless</title><p>begun");
        let parts = futures_util::stream::once(std::future::ready(begin));
        let body = Body::from_stream(parts.chain(futures_util::stream::pending()));
        std::future::ready(([(header::CONTENT_TYPE, "text/html")], body))
    };
    let home =
        "<title>Home</title><input aria-label=Note><a href=/endless target=_blank>Endless</a>";
    let app = Router::new()
        .route("/", page(home))
        .route("/endless", get(endless));
    let site = Served::with(app).await;
    let mut lane = Lane::open(&site, config(), Writes::Hold).await;
    let unsettled = |seen: &Observation| {
        let mut notices = seen.notices.iter();
        notices.any(|notice| notice.kind == NoticeKind::Unsettled)
    };
    take(&mut lane, "Endless").await;
    assert!(unsettled(&lane.observe().await));
    take(&mut lane, "tab 1").await;
    take(&mut lane, "type note").await;
    let (state, seen) = lane.state().await;
    assert!(!unsettled(&seen), "{}", seen.text);
    take(&mut lane, "close 2").await;
    lane.state().await;
    let restored = lane.restore(&state).await;
    assert_eq!(restored.rung, Rung::Replay, "{restored:?}");
    let missed = [(Rung::Document, MissReason::Stream)];
    assert_eq!(ways(&restored.misses), missed);
    assert_eq!(lane.observe().await.digest, seen.digest);
}
