//! The browser environment against real Chromium and hand-written pages.

use std::sync::Arc;
use std::time::Duration;

use branchline::context::Cx;
use branchline::demo::DemoSite;
use branchline::env::browser::{BrowserConfig, BrowserWorld, DialogPolicy};
use branchline::env::episode::Episode;
use branchline::env::{ActError, Environment, RestoreError, World};
use branchline::types::{
    Action, EffectKind, Miss, MissReason, NoticeKind, Query, Restored, Rung, Seed, Step, Writes,
};
use serde_json::{Value, json};

use crate::conformance::{Script, conforms};
use crate::support::site::{Answer, Pages};
use crate::support::steps::{Hands, done, reference, rejected};

struct Bench {
    pages: Pages,
    world: BrowserWorld,
    env: Box<dyn Environment>,
    cx: Cx,
}

fn config() -> BrowserConfig {
    BrowserConfig {
        screenshots: false,
        settle: Duration::from_secs(3),
        ..BrowserConfig::default()
    }
}

async fn open_with(pages: &[(&str, &str)], config: BrowserConfig, writes: Writes) -> Bench {
    let pages = Pages::serve(pages).await;
    let world = BrowserWorld::new(config, Arc::new(pages.clone()), "/", writes, None);
    let cx = Cx::default();
    let env = world.open(Seed(1), &cx).await.unwrap();
    Bench {
        pages,
        world,
        env,
        cx,
    }
}

async fn open(pages: &[(&str, &str)]) -> Bench {
    open_with(pages, config(), Writes::Session).await
}

impl Hands for Bench {
    fn hands(&mut self) -> (&mut dyn Environment, &Cx) {
        (&mut *self.env, &self.cx)
    }
}

impl Bench {
    async fn text(&mut self) -> String {
        self.observe().await.text
    }
}

/// The ways that were tried, where none led back.
fn lost(restored: Result<Restored, RestoreError>) -> Vec<Miss> {
    match restored {
        Err(RestoreError::Exhausted { misses }) => misses,
        other => panic!("expected no way back, got {other:?}"),
    }
}

const FORM: &str = r#"<title>Sign up</title><h1>Sign up</h1>
<form action="/done"><label>Name <input name=name required></label>
<label for=plan>Plan</label><select id=plan name=plan><option>Free<option>Paid<option disabled>Old</select>
<label><input type=checkbox name=terms> I agree</label>
<input type=password aria-label=Secret name=secret>
<label>Day <input type=date name=day></label>
<button>Send</button><button disabled>Delete</button></form>
<p style="display:none">invisible</p><div aria-hidden=true>decoration</div>
<table><tr><td>Lamp</td><td>$24</td><td><a href="/lamp">Details</a></td></tr></table>"#;

#[tokio::test(flavor = "multi_thread")]
async fn browser_observation_names_roles_values_and_states() {
    let mut b = open(&[("/", FORM)]).await;
    let observation = b.observe().await;
    insta::assert_snapshot!(observation.text, @r##"
    "Sign up" http://pages.test/
    # Sign up
    [1] textbox "Name" value="" required
    [2] combobox "Plan" value="Free" options: Free | Paid | Old
    [3] checkbox "I agree"
    [4] textbox "Secret" value=""
    [5] textbox "Day" value=""
    [6] button "Send"
    [7] button "Delete" disabled
    Lamp · $24 · [8] link "Details"
    "##);
    assert_eq!(observation.url, "http://pages.test/");
    assert_eq!(observation.digest, b.observe().await.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_forms_are_filled_and_sent() {
    let mut b = open(&[("/", FORM), ("/done", "<title>Done</title>ok")]).await;
    assert!(done(
        &b.on("fill", "Name", json!({"text": "Ada \"L\" Ünïcode"}))
            .await
    ));
    assert!(done(
        &b.on("select", "Plan", json!({"option": "paid"})).await
    ));
    assert!(done(&b.on("check", "I agree", json!({})).await));
    assert!(done(
        &b.on("fill", "Secret", json!({"text": "s3cret"})).await
    ));
    assert!(done(
        &b.on("fill", "Day", json!({"text": "2026-11-23"})).await
    ));
    let text = b.text().await;
    assert!(
        text.contains(r#"textbox "Name" value="Ada "L" Ünïcode""#),
        "{text}"
    );
    assert!(
        text.contains("checked") && text.contains("••••••") && !text.contains("s3cret"),
        "{text}"
    );
    assert!(done(&b.click("Send").await));
    let url = b.env.query(&Query::Url, &b.cx).await.unwrap();
    assert_eq!(
        url,
        json!(
            "http://pages.test/done?name=Ada+%22L%22+%C3%9Cn%C3%AFcode&plan=Paid&terms=on&secret=s3cret&day=2026-11-23"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_refuses_what_cannot_be_done_and_says_why() {
    let page = r#"<button onclick="this.remove()">Once</button><button>Twice</button>
        <div style="position:relative"><button>Under</button>
        <div id=veil style="position:absolute;inset:0">Cookie banner</div></div>
        <select aria-label=Size><option>S<option>M</select><input aria-label=Fixed readonly value=1>"#;
    let mut b = open(&[("/", page)]).await;
    let seen = b.observe().await;
    let once = reference(&seen, "Once");
    assert!(done(&b.click("Once").await));
    b.observe().await;
    let gone = rejected(b.act("click", json!({"ref": once})).await);
    assert!(gone.reason.contains("no longer on the page"), "{gone}");
    assert!(gone.nearest[0].contains("button"), "{gone}");
    let never = rejected(b.act("click", json!({"ref": "999"})).await);
    assert_eq!(never.reason, "there is no element [999] on this page");
    let covered = rejected(b.click("Under").await);
    assert!(
        covered
            .reason
            .contains("is covered by div \"Cookie banner\""),
        "{covered}"
    );
    let option = rejected(b.on("select", "Size", json!({"option": "XXL"})).await);
    assert_eq!(option.nearest, ["S", "M"]);
    let fixed = rejected(b.on("fill", "Fixed", json!({"text": "2"})).await);
    assert!(fixed.reason.contains("cannot be edited"), "{fixed}");
    for url in [
        "file:///etc/passwd",
        "javascript:alert(1)",
        "chrome://crash",
    ] {
        let refused = rejected(b.act("goto", json!({"url": url})).await);
        assert!(refused.reason.contains("no http or https URL"), "{refused}");
    }
    assert!(
        rejected(b.act("scroll", json!({"direction": "down"})).await)
            .reason
            .contains("nothing")
    );
    assert!(
        rejected(b.act("back", json!({})).await)
            .reason
            .contains("no earlier page")
    );
    assert!(
        rejected(b.act("tab_close", json!({})).await)
            .reason
            .contains("last tab")
    );
    assert!(
        rejected(b.act("press", json!({"key": "Sumbit"})).await)
            .reason
            .contains("no key")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_references_survive_for_as_long_as_their_element() {
    let page = r#"<ul id=list><li><button>First</button></ul>
        <button onclick="list.insertAdjacentHTML('afterbegin','<li><button>Zeroth</button>')">Add</button>"#;
    let mut b = open(&[("/", page)]).await;
    let before = b.observe().await;
    b.click("Add").await;
    let after = b.observe().await;
    assert_ne!(before.digest, after.digest);
    assert_eq!(reference(&before, "First"), reference(&after, "First"));
    assert_ne!(reference(&after, "Zeroth"), reference(&after, "First"));
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_waits_for_what_a_click_sets_off() {
    let page = r#"<p id=out>idle</p><button onclick="go()">Load</button><a href=/slow>Leave</a><script>
        async function go() {
            out.textContent = 'loading';
            for (let i = 1; i < 4; i++) await (await fetch('/data')).text();
            setTimeout(() => { out.textContent = 'loaded'; }, 150);
        }</script>"#;
    let mut b = open(&[("/", page), ("/data", "x"), ("/slow", "<title>Slow</title><script>setTimeout(()=>{document.body.append('late')},200)</script>")]).await;
    b.click("Load").await;
    assert!(b.text().await.contains("\nloaded"));
    b.click("Leave").await;
    assert!(b.text().await.contains("late"));
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_reads_and_clicks_inside_frames_and_shadow_roots() {
    let inner = "<button onclick=\"this.textContent='clicked'\">Inner</button>";
    let other = Pages::serve(&[(
        "/f",
        "<button onclick=\"this.textContent='far clicked'\">Far</button>",
    )])
    .await;
    // Another site in the browser's eyes (localhost is not 127.0.0.1): an out-of-process frame.
    let far = other.real_origin().replace("127.0.0.1", "localhost");
    let page = format!(
        r#"<p>Top</p><iframe style="margin:40px" src="/inner"></iframe>
        <iframe src="{far}/f" style="margin:30px"></iframe><iframe src="{near}/f"></iframe><x-box></x-box>
        <script>customElements.define('x-box', class extends HTMLElement {{ connectedCallback() {{
            this.attachShadow({{mode:'open'}}).innerHTML = '<button onclick="this.textContent=\'shadow clicked\'">Shadow</button>'; }} }});
        </script>"#,
        near = other.real_origin()
    );
    let mut b = open(&[("/", &page), ("/inner", inner)]).await;
    let seen = b.observe().await;
    assert_eq!(
        seen.elements.iter().filter(|e| e.name == "Far").count(),
        2,
        "{}",
        seen.text
    );
    for name in ["Inner", "Shadow", "Far", "Far"] {
        let step = b.click(name).await;
        assert!(done(&step), "{name}: {step:?}");
    }
    let text = b.text().await;
    assert!(
        text.contains("button \"clicked\"") && text.contains("shadow clicked"),
        "{text}"
    );
    assert_eq!(text.matches("far clicked").count(), 2, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_answers_boxes_follows_tabs_and_refuses_downloads() {
    let page = r#"<button onclick="out.textContent = confirm('Really?') ? 'yes' : 'no'">Ask</button><p id=out></p>
        <button onclick="for(;;) alert('again')">Storm</button>
        <a href=/two target=_blank>Two</a> <button onclick="window.open('/two')">Popup</button>
        <a href=/file>File</a>"#;
    let mut b = open(&[
        ("/", page),
        (
            "/two",
            "<title>Two</title><h1>Second</h1><button onclick=window.close()>Close me</button>",
        ),
    ])
    .await;
    b.pages.add(
        "/file",
        Answer {
            status: 200,
            headers: vec![
                (
                    "content-type".to_owned(),
                    "application/octet-stream".to_owned(),
                ),
                (
                    "content-disposition".to_owned(),
                    "attachment; filename=x.bin".to_owned(),
                ),
            ],
            body: "x".repeat(100),
        },
    );
    b.click("Ask").await;
    let seen = b.observe().await;
    assert!(seen.text.contains("\nyes"), "{}", seen.text);
    assert_eq!(seen.notices[0].text, "confirm \"Really?\" was accepted");
    b.click("File").await;
    let seen = b.observe().await;
    assert!(
        seen.notices.iter().any(|n| n.kind == NoticeKind::Download),
        "{:?}",
        seen.notices
    );
    b.click("Popup").await;
    let seen = b.observe().await;
    assert_eq!(
        (seen.title.as_str(), seen.tabs.len()),
        ("Two", 2),
        "{}",
        seen.text
    );
    assert_eq!(seen.tabs[1].url, "http://pages.test/two");
    b.click("Close me").await;
    let seen = b.observe().await;
    assert_eq!(seen.tabs.len(), 1, "{}", seen.text);
    b.click("Two").await;
    assert!(done(&b.act("tab_switch", json!({"index": 1})).await));
    assert!(b.text().await.contains("button \"Ask\""));
    assert!(done(&b.act("tab_close", json!({"index": 2})).await));
    assert_eq!(b.observe().await.tabs.len(), 1);
    b.click("Storm").await;
    let seen = b.observe().await;
    assert!(
        seen.notices
            .iter()
            .any(|n| n.text.contains("script was stopped")),
        "{:?}",
        seen.notices
    );
    b.click("Ask").await;
    let seen = b.observe().await;
    assert!(
        seen.text.contains("\nyes"),
        "a storm leaves the page usable: {}",
        seen.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_dismisses_boxes_if_told_to() {
    let page = r#"<button onclick="out.textContent = confirm('Really?') ? 'yes' : 'no'">Ask</button><p id=out></p>"#;
    let config = BrowserConfig {
        dialogs: DialogPolicy::Dismiss,
        ..config()
    };
    let mut b = open_with(&[("/", page)], config, Writes::Session).await;
    b.click("Ask").await;
    assert!(b.text().await.contains("\nno"));
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_keys_hover_scroll_drag_find_and_history() {
    let page = r#"<title>One</title><input aria-label=Box onkeydown="if(event.key==='Enter')out.textContent='entered '+this.value">
        <p id=out></p><div onmouseover="tip.hidden=false" style="width:90px;cursor:pointer">Menu</div><p id=tip hidden>Tooltip</p>
        <div draggable=true ondragstart="event.dataTransfer.setData('text/plain','card')" style="width:80px">Card</div>
        <div id=bin onclick=0 ondragover="event.preventDefault()" ondrop="event.preventDefault();this.textContent='Got '+event.dataTransfer.getData('text/plain')" style="width:80px;height:40px;border:1px solid;cursor:pointer">Bin</div>
        <a href=/two>Two</a><div style="height:3000px"></div><p>Needle in the haystack</p>"#;
    let mut b = open(&[("/", page), ("/two", "<title>Two</title>second")]).await;
    b.on("fill", "Box", json!({"text": "abc", "submit": true}))
        .await;
    assert!(b.text().await.contains("entered abc"));
    b.on("press", "Box", json!({"key": "Control+a"})).await;
    b.act("press", json!({"key": "x"})).await;
    b.act("press", json!({"key": "Enter"})).await;
    assert!(b.text().await.contains("entered x"));
    b.on("hover", "Menu", json!({})).await;
    assert!(b.text().await.contains("Tooltip"));
    let seen = b.observe().await;
    let (from, to) = (reference(&seen, "Card"), reference(&seen, "Bin"));
    assert!(done(&b.act("drag", json!({"from": from, "to": to})).await));
    assert!(b.text().await.contains("Got card"));
    let before = b.observe().await;
    assert!(done(&b.act("find", json!({"text": "needle"})).await));
    let found = b.observe().await;
    assert!(
        found.text.contains("! found 1: Needle in the haystack"),
        "{}",
        found.text
    );
    assert!(found.omitted.above > 0, "{:?}", found.omitted);
    assert_ne!(before.digest, found.digest, "scrolling is a change");
    assert!(done(&b.act("scroll", json!({"direction": "up"})).await));
    b.click("Two").await;
    assert!(done(&b.act("back", json!({})).await));
    assert_eq!(b.observe().await.title, "One");
    assert!(done(&b.act("forward", json!({})).await));
    assert_eq!(b.observe().await.title, "Two");
    let lost = rejected(b.act("goto", json!({"url": "http://127.0.0.1:1/"})).await);
    assert!(
        lost.reason.contains("ERR_CONNECTION_REFUSED") || lost.reason.contains("ERR_UNSAFE_PORT"),
        "{lost}"
    );
}

const COUNTER: &str = r#"<title>Counter</title><p id=n>0</p><p id=r></p><p id=t></p>
    <button onclick="n.textContent=++count; r.textContent = Math.random(); t.textContent = new Date().toLocaleTimeString('de-DE')">More</button>
    <input aria-label=Note><a href=/next>Next</a><script>let count = 0;</script>"#;

#[tokio::test(flavor = "multi_thread")]
async fn browser_restores_live_or_by_replay_and_proves_it() {
    let mut b = open(&[
        ("/", COUNTER),
        ("/next", "<title>Next</title><a href=/>Back home</a>"),
    ])
    .await;
    b.observe().await;
    let root = b.env.snapshot(&b.cx).await.unwrap();
    b.click("More").await;
    b.click("More").await;
    b.on("fill", "Note", json!({"text": "kept"})).await;
    let seen = b.observe().await;
    let deep = b.env.snapshot(&b.cx).await.unwrap();
    assert!(b.env.is_at(&deep) && !b.env.is_at(&root));
    let live = b.env.restore(&deep, &b.cx).await.unwrap();
    assert_eq!((live.rung, live.actions), (Rung::Live, 0));
    b.click("Next").await;
    assert!(!b.env.is_at(&deep));
    let replayed = b.env.restore(&deep, &b.cx).await.unwrap();
    assert_eq!((replayed.rung, replayed.actions), (Rung::Document, 3));
    let again = b.observe().await;
    assert_eq!(seen.digest, again.digest);
    assert_eq!(reference(&seen, "Next"), reference(&again, "Next"));
    assert!(again.text.contains("value=\"kept\""), "{}", again.text);
    let home = b.env.restore(&root, &b.cx).await.unwrap();
    assert_eq!((home.rung, home.actions), (Rung::Document, 0));
    assert_eq!(
        b.pages.requests(),
        ["GET /", "GET /next"],
        "no restore reached the server"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_restores_storage_cookies_and_what_was_fetched() {
    let page = r#"<title>App</title><p id=out></p><button onclick="more()">More</button><a href=/away>Away</a><script>
        localStorage.visits = Number(localStorage.visits || 0) + 1;
        document.cookie = 'seen=' + localStorage.visits;
        const show = (t) => { out.textContent = [localStorage.visits, document.cookie, t].join(' / '); };
        let n = 0;
        async function more() { n++; sessionStorage.n = n; show(await (await fetch('/data')).text() + n); }
        show('start');</script>"#;
    let mut b = open(&[
        ("/", page),
        ("/data", "one"),
        ("/away", "<title>Away</title><a href=/>Back</a>"),
    ])
    .await;
    b.click("Away").await;
    b.click("Back").await;
    b.click("More").await;
    b.click("More").await;
    let seen = b.observe().await;
    assert!(seen.text.contains("2 / seen=2 / one2"), "{}", seen.text);
    let deep = b.env.snapshot(&b.cx).await.unwrap();
    b.pages.add("/data", Answer::html("other"));
    b.click("Away").await;
    b.click("Back").await;
    let before = b.pages.requests().len();
    let restored = b.env.restore(&deep, &b.cx).await.unwrap();
    assert_eq!((restored.rung, restored.actions), (Rung::Document, 2));
    assert_eq!(b.observe().await.elements, seen.elements);
    assert_eq!(b.pages.requests().len(), before, "answered from the log");
    b.click("More").await;
    let on = b.text().await;
    assert!(
        on.contains("other3"),
        "the restored page is live again: {on}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_puts_the_server_back_with_the_page() {
    let world = BrowserWorld::new(
        config(),
        Arc::new(DemoSite::new()),
        "/product/brass-desk-lamp",
        Writes::Checkpoint,
        None,
    );
    let cx = Cx::default();
    let mut env = world.open(Seed(1), &cx).await.unwrap();
    let cart = Query::Sql {
        statement: "select product, qty from cart where who = 'guest'".to_owned(),
    };
    let seen = env.observe(&cx).await.unwrap();
    let empty = env.snapshot(&cx).await.unwrap();
    let add = Action::new("click", json!({"ref": reference(&seen, "Add to cart")}));
    let step = env.act(&add, &cx).await.unwrap();
    assert!(
        matches!(&step, Step::Done { effects, .. }
            if effects.iter().filter(|e| e.kind == EffectKind::Write).count() == 1),
        "{step:?}"
    );
    env.observe(&cx).await.unwrap();
    let full = env.snapshot(&cx).await.unwrap();
    let after = env.query(&cart, &cx).await.unwrap();
    assert_eq!(after, json!([["brass-desk-lamp", 1]]));
    for (state, rows) in [
        (&empty, json!([])),
        (&full, after.clone()),
        (&empty, json!([])),
        (&full, after),
    ] {
        let restored = env.restore(state, &cx).await.unwrap();
        assert_eq!(restored.rung, Rung::Document, "{restored:?}");
        assert_eq!(env.query(&cart, &cx).await.unwrap(), rows);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_never_takes_another_state_for_the_one_it_saved() {
    // A write was sent after the state was left, and nobody can say what it did to the server: the
    // recorded responses are not enough then, the path is walked again.
    let page =
        format!("{COUNTER}<button onclick=\"fetch('/touch', {{method: 'POST'}})\">Touch</button>");
    let mut b = open(&[("/", &page), ("/next", "<title>Next</title>here")]).await;
    b.click("Touch").await;
    b.click("Next").await;
    b.observe().await;
    let next = b.env.snapshot(&b.cx).await.unwrap();
    b.pages
        .add("/next", Answer::html("<title>Next</title>changed"));
    b.act("back", json!({})).await;
    b.click("Touch").await;
    let misses = lost(b.env.restore(&next, &b.cx).await);
    let way = |miss: &Miss| (miss.rung, miss.reason);
    assert_eq!(
        misses.iter().map(way).collect::<Vec<_>>(),
        [
            (Rung::Document, MissReason::ServerMoved),
            (Rung::Replay, MissReason::OtherState)
        ]
    );
    let touch = "<title>Counter</title><button onclick=\"fetch('/touch', {method: 'POST'})\">Touch</button>";
    b.pages.add("/", Answer::html(touch));
    let error = b.env.restore(&next, &b.cx).await.unwrap_err();
    assert!(
        error.to_string().contains("there is no link \"Next\" now"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_will_not_replay_a_write_it_cannot_undo() {
    let page = "<title>Shop</title><form method=post action=/buy><button>Buy</button></form>";
    let mut b = open_with(&[("/", page), ("/buy", "bought")], config(), Writes::Allow).await;
    b.observe().await;
    let step = b.click("Buy").await;
    let Step::Done { effects, .. } = step else {
        panic!("{step:?}")
    };
    assert_eq!(effects[0].url, "http://pages.test/buy");
    b.observe().await;
    let bought = b.env.snapshot(&b.cx).await.unwrap();
    b.act("goto", json!({"url": "/"})).await;
    let again = b.env.restore(&bought, &b.cx).await.unwrap();
    assert_eq!(again.rung, Rung::Document, "nothing was written since");
    b.act("goto", json!({"url": "/"})).await;
    b.click("Buy").await;
    let misses = lost(b.env.restore(&bought, &b.cx).await);
    let way = |miss: &Miss| (miss.rung, miss.reason);
    assert_eq!(
        misses.iter().map(way).collect::<Vec<_>>(),
        [
            (Rung::Document, MissReason::ServerMoved),
            (Rung::Replay, MissReason::Unrepeatable)
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_survives_hostile_pages() {
    let big = format!(
        "<title>Big</title>{}",
        "<p>row <a href=/x>link</a></p>".repeat(40_000)
    ) + &format!("<!--{}-->", "x".repeat(52 << 20));
    let pages = [
        (
            "/",
            "<title>Home</title><a href=/never>Never</a><a href=/big>Big</a><a href=/spin>Spin</a>",
        ),
        (
            "/never",
            "<title>Never</title><p id=p>0</p><a href=/>Home</a><script>setInterval(()=>{p.textContent=Math.random()},5)</script>",
        ),
        ("/big", &big),
    ];
    let config = BrowserConfig {
        settle: Duration::from_secs(1),
        ..config()
    };
    let mut b = open_with(&pages, config, Writes::Session).await;
    b.click("Never").await;
    let seen = b.observe().await;
    assert!(
        seen.notices.iter().any(|n| n.kind == NoticeKind::Unsettled),
        "{:?}",
        seen.notices
    );
    b.act("goto", json!({"url": "/big"})).await;
    let seen = b.observe().await;
    assert!(seen.tokens <= 2000, "{}", seen.tokens);
    assert!(
        seen.text.contains("too large to read whole"),
        "{}",
        &seen.text[..300]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_that_dies_is_lost_and_the_world_opens_another() {
    let mut b = open(&[("/", "<title>Home</title><a href=/>Again</a>")]).await;
    b.observe().await;
    let first = b.world.process_id().await.unwrap();
    nix::sys::signal::killpg(
        nix::unistd::Pid::from_raw(first),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    let error = b
        .env
        .act(&Action::new("click", json!({"ref": "1"})), &b.cx)
        .await
        .unwrap_err();
    assert!(matches!(error, ActError::Lost(_)), "{error}");
    let mut env = b.world.open(Seed(1), &b.cx).await.unwrap();
    assert_eq!(env.observe(&b.cx).await.unwrap().title, "Home");
    assert_ne!(b.world.process_id().await.unwrap(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_renderer_that_crashes_is_lost_and_the_browser_serves_on() {
    let mut b = open(&[("/", "<title>Home</title><a href=/>Again</a>")]).await;
    let seen = b.observe().await;
    let browser = b.world.process_id().await.unwrap();
    for renderer in renderers(browser) {
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(renderer),
            nix::sys::signal::Signal::SIGKILL,
        )
        .unwrap();
    }
    let click = Action::new("click", json!({"ref": reference(&seen, "Again")}));
    let error = b.env.act(&click, &b.cx).await.unwrap_err();
    assert!(matches!(error, ActError::Lost(_)), "{error}");
    let mut env = b.world.open(Seed(1), &b.cx).await.unwrap();
    assert_eq!(env.observe(&b.cx).await.unwrap().digest, seen.digest);
    assert_eq!(
        b.world.process_id().await,
        Some(browser),
        "the same browser"
    );
}

/// Renderer processes of the browser's process group.
fn renderers(group: i32) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let pid = Some(nix::unistd::Pid::from_raw(id));
        let ours = nix::unistd::getpgid(pid).is_ok_and(|g| g.as_raw() == group);
        if ours && String::from_utf8_lossy(&line).contains("--type=renderer") {
            found.push(id);
        }
    }
    assert!(!found.is_empty(), "a page has a renderer");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_runs_a_page_of_episodes() {
    let page = r#"<title>Game</title><div id=cover>START</div><button onclick="window.over=true">Win</button><p id=reward></p>
        <script>window.core={start(){cover.hidden=true;window.goalText='Press Win';}}</script>"#;
    let pages = Pages::serve(&[("/", page)]).await;
    let episode = Episode {
        seed: 1,
        ready: "window.core".to_owned(),
        begin: "core.start()".to_owned(),
        goal: "window.goalText || null".to_owned(),
        done: "window.over".to_owned(),
        reward: "window.over ? 1 : null".to_owned(),
        hide: "#cover".to_owned(),
    };
    let world = BrowserWorld::new(
        config(),
        Arc::new(pages),
        "/",
        Writes::Session,
        Some(episode),
    );
    let cx = Cx::default();
    let mut env = world.open(Seed(1), &cx).await.unwrap();
    assert_eq!(env.goal(), Some("Press Win"));
    let seen = env.observe(&cx).await.unwrap();
    assert!(
        !seen.terminal && !seen.text.contains("START"),
        "{}",
        seen.text
    );
    assert_eq!(env.query(&Query::Reward, &cx).await.unwrap(), Value::Null);
    env.act(
        &Action::new("click", json!({"ref": reference(&seen, "Win")})),
        &cx,
    )
    .await
    .unwrap();
    assert!(env.observe(&cx).await.unwrap().terminal);
    assert_eq!(env.query(&Query::Reward, &cx).await.unwrap(), json!(1));
    let over = rejected(env.act(&Action::new("wait", json!({})), &cx).await.unwrap());
    assert_eq!(over.reason, "the episode is over");
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_start_page_that_is_not_there_is_an_error_not_a_state() {
    let pages = Pages::serve(&[]).await;
    let start = "http://127.0.0.1:9/";
    let world = BrowserWorld::new(config(), Arc::new(pages), start, Writes::Session, None);
    let error = world
        .open(Seed(1), &Cx::default())
        .await
        .err()
        .expect("nothing is there");
    assert!(
        error
            .to_string()
            .contains("http://127.0.0.1:9/ did not load"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_keeps_the_contract_of_environments() {
    let frame = "<button onclick=\"this.textContent += '!'\">Inside</button>";
    let counter = COUNTER.replace("t.textContent = new Date()", "void new Date()");
    let page = format!("{counter}<iframe src=/frame></iframe>");
    let pages = Pages::serve(&[("/", &page), ("/frame", frame), ("/next", "next")]).await;
    let world = BrowserWorld::new(config(), Arc::new(pages), "/", Writes::Session, None);
    let act = |name, arguments| Action::new(name, arguments);
    let script = Script {
        first: act("click", json!({"ref": "1"})),
        second: act("click", json!({"ref": "4"})),
        refused: act("click", json!({"ref": "999"})),
        last: act("stop", json!({"answer": "42"})),
    };
    conforms(&world, &script).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_runs_the_shops_single_page_app_and_takes_it_back() {
    let world = BrowserWorld::new(
        config(),
        Arc::new(DemoSite::new()),
        "/configurator",
        Writes::Checkpoint,
        None,
    );
    let cx = Cx::default();
    let mut env = world.open(Seed(1), &cx).await.unwrap();
    let mut states = Vec::new();
    for step in 0..4 {
        let seen = env.observe(&cx).await.unwrap();
        states.push((env.snapshot(&cx).await.unwrap(), seen.clone()));
        // The app's own controls come after the page's navigation: take one that is not a link.
        let mut control = seen.elements.iter().filter(|e| {
            e.interactive
                && matches!(e.role.as_str(), "radio" | "button" | "checkbox")
                && !e
                    .states
                    .contains(&branchline::types::ElementState::Disabled)
        });
        let Some(target) = control.next_back() else {
            panic!("no control at step {step}: {}", seen.text)
        };
        let action = Action::new("click", json!({"ref": target.r#ref}));
        let done = env.act(&action, &cx).await.unwrap();
        assert!(
            matches!(done, Step::Done { .. }),
            "{action} on {target:?}: {done:?}"
        );
    }
    for (snapshot, seen) in states.iter().rev() {
        let restored = env.restore(snapshot, &cx).await.unwrap();
        let again = env.observe(&cx).await.unwrap();
        assert_eq!(
            (again.digest, &again.elements),
            (seen.digest, &seen.elements),
            "{restored:?}"
        );
    }
}
