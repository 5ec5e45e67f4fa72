//! The environment without a browser, against a server that tells what it was asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use branchline::context::Cx;
use branchline::demo::DemoSite;
use branchline::env::html::{HtmlConfig, HtmlWorld};
use branchline::env::{ActError, Environment, FixedSite, OpenError, RestoreError, World};
use branchline::types::{
    Action, EffectKind, EffectRules, NoticeKind, Query, RequestPattern, Rung, Seed, Step, Writes,
};
use serde_json::json;

use crate::conformance::{Script, conforms};
use crate::support::serve;
use crate::support::site::{Answer, Pages};
use crate::support::steps::{Hands, done, held, reference, rejected};

/// A page of the test server: status, headers, body.
type Reply = (u16, Vec<(&'static str, String)>, Vec<u8>);

#[derive(Clone)]
struct Echo {
    log: Arc<Mutex<Vec<String>>>,
    routes: fn(&str, &Ask) -> Option<Reply>,
}

/// A request as the server saw it.
struct Ask {
    method: Method,
    query: String,
    cookie: String,
    kind: String,
    referer: String,
    body: Vec<u8>,
}

fn html(body: impl Into<String>) -> Reply {
    let headers = vec![("content-type", "text/html; charset=utf-8".to_owned())];
    (200, headers, body.into().into_bytes())
}

fn redirect(status: u16, to: &str) -> Reply {
    (status, vec![("location", to.to_owned())], Vec::new())
}

async fn answer(
    State(echo): State<Echo>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let header = |name: &str| {
        let value = headers.get(name).and_then(|v| v.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let ask = Ask {
        method,
        query: uri.query().unwrap_or_default().to_owned(),
        cookie: header("cookie"),
        kind: header("content-type"),
        referer: header("referer"),
        body: body.to_vec(),
    };
    echo.log
        .lock()
        .unwrap()
        .push(format!("{} {}", ask.method, uri.path()));
    let reply = match uri.path() {
        // Says what it was asked.
        "/echo" => Some(html(format!(
            "<title>Echo</title><p>method {}</p><p>query {}</p><p>cookie {}</p><p>type {}</p><p>from {}</p><pre>{}</pre>",
            ask.method,
            ask.query.replace('&', "&amp;"),
            ask.cookie,
            ask.kind,
            ask.referer,
            String::from_utf8_lossy(&ask.body).replace('&', "&amp;"),
        ))),
        path => (echo.routes)(path, &ask),
    };
    let (status, headers, body) = reply.unwrap_or((404, Vec::new(), b"nothing here".to_vec()));
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Body::from(body)).unwrap()
}

struct Lane {
    origin: String,
    log: Arc<Mutex<Vec<String>>>,
    world: HtmlWorld,
    env: Box<dyn Environment>,
    cx: Cx,
    _stop: tokio_util::sync::DropGuard,
}

async fn serve(
    routes: fn(&str, &Ask) -> Option<Reply>,
) -> (String, Arc<Mutex<Vec<String>>>, tokio_util::sync::DropGuard) {
    let log = Arc::<Mutex<Vec<String>>>::default();
    let app = Router::new().fallback(answer).with_state(Echo {
        log: Arc::clone(&log),
        routes,
    });
    let (origin, stop) = serve::serve(app).await;
    (origin, log, stop)
}

async fn open_with(
    routes: fn(&str, &Ask) -> Option<Reply>,
    writes: Writes,
    config: HtmlConfig,
) -> Lane {
    let (origin, log, stop) = serve(routes).await;
    let world = HtmlWorld::new(config, Arc::new(FixedSite::new(&origin)), "/", writes);
    let cx = Cx::default();
    let env = world.open(Seed(1), &cx).await.unwrap();
    Lane {
        origin,
        log,
        world,
        env,
        cx,
        _stop: stop,
    }
}

async fn open(routes: fn(&str, &Ask) -> Option<Reply>) -> Lane {
    open_with(routes, Writes::Session, HtmlConfig::default()).await
}

impl Hands for Lane {
    fn hands(&mut self) -> (&mut dyn Environment, &Cx) {
        (&mut *self.env, &self.cx)
    }
}

impl Lane {
    async fn text(&mut self) -> String {
        self.observe().await.text.replace(&self.origin, "")
    }

    async fn url(&mut self) -> String {
        let url = self.env.query(&Query::Url, &self.cx).await.unwrap();
        url.as_str().unwrap().replace(&self.origin, "")
    }

    fn requests(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn html_conforms() {
    let pages = Pages::serve(&[
        (
            "/",
            "<title>Home</title><a href=/shop>Shop</a><button disabled>No</button>",
        ),
        (
            "/shop",
            "<title>Shop</title><form><input name=q aria-label=Search></form>",
        ),
    ])
    .await;
    for writes in [Writes::Hold, Writes::Session, Writes::Allow] {
        let world = HtmlWorld::new(HtmlConfig::default(), Arc::new(pages.clone()), "/", writes);
        let script = Script {
            first: Action::new("click", json!({"ref": "1"})),
            second: Action::new("fill", json!({"ref": "3", "text": "lamp"})),
            refused: Action::new("click", json!({"ref": "2"})),
            last: Action::new("stop", json!({"answer": "42"})),
        };
        conforms(&world, &script).await;
    }
}

#[tokio::test]
async fn html_conforms_with_a_server_that_is_put_back() {
    let world = HtmlWorld::new(
        HtmlConfig::default(),
        Arc::new(DemoSite::new()),
        "/deals",
        Writes::Checkpoint,
    );
    let cx = Cx::default();
    let seen = world
        .open(Seed(0), &cx)
        .await
        .unwrap()
        .observe(&cx)
        .await
        .unwrap();
    let link = |name: &str| Action::new("click", json!({"ref": reference(&seen, name)}));
    let script = Script {
        first: link("About us"),
        second: Action::new("goto", json!({"url": "/cart"})),
        refused: Action::new("click", json!({"ref": "99999"})),
        last: Action::new("stop", json!({"answer": "42"})),
    };
    conforms(&world, &script).await;
}

#[tokio::test]
async fn html_observations_read_like_the_browsers() {
    let page = r#"<title>Sign up</title><h1>Sign up</h1>
        <form action="/done"><label>Name <input name=name required></label>
        <label for=plan>Plan</label><select id=plan name=plan><option>Free<option>Paid<option disabled>Old</select>
        <label><input type=checkbox name=terms> I agree</label>
        <input type=password aria-label=Secret name=secret>
        <label>Day <input type=date name=day></label>
        <button>Send</button><button disabled>Delete</button></form>
        <p style="display:none">invisible</p><div aria-hidden=true>decoration</div>
        <table><tr><td>Lamp</td><td>$24</td><td><a href="/lamp">Details</a></td></tr></table>"#;
    let pages = Pages::serve(&[("/", page), ("/done", "<title>Done</title>ok")]).await;
    let world = HtmlWorld::new(HtmlConfig::default(), Arc::new(pages), "/", Writes::Hold);
    let cx = Cx::default();
    let mut env = world.open(Seed(0), &cx).await.unwrap();
    let seen = env.observe(&cx).await.unwrap();
    insta::assert_snapshot!(seen.text, @r##"
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
    for (action, arguments) in [
        ("fill", json!({"ref": "1", "text": "Ada \"L\" Ünïcode"})),
        ("select", json!({"ref": "2", "option": "paid"})),
        ("check", json!({"ref": "3"})),
        ("fill", json!({"ref": "4", "text": "s3cret"})),
        ("fill", json!({"ref": "5", "text": "2026-11-23"})),
    ] {
        let step = env.act(&Action::new(action, arguments), &cx).await.unwrap();
        assert!(done(&step), "{action}: {step:?}");
    }
    let text = env.observe(&cx).await.unwrap().text;
    assert!(text.contains("checkbox \"I agree\" checked"), "{text}");
    assert!(
        text.contains("••••••") && !text.contains("s3cret"),
        "{text}"
    );
    let step = env
        .act(&Action::new("click", json!({"ref": "6"})), &cx)
        .await;
    assert!(done(&step.unwrap()));
    assert_eq!(
        env.query(&Query::Url, &cx).await.unwrap(),
        json!(
            "http://pages.test/done?name=Ada+%22L%22+%C3%9Cn%C3%AFcode&plan=Paid&terms=on&secret=s3cret&day=2026-11-23"
        )
    );
    let title = Query::PageText { selector: None };
    assert_eq!(env.query(&title, &cx).await.unwrap(), json!("ok"));
}

fn forms(path: &str, _: &Ask) -> Option<Reply> {
    (path == "/").then(|| {
        html(
            "<form id=f method=post action=/echo enctype=multipart/form-data>\
             <input name=a aria-label=A value=1 maxlength=3><textarea name=t aria-label=T>x</textarea>\
             <input type=reset><button name=go value=yes>Post</button></form>\
             <button form=f formmethod=get formaction='/echo?gone=1' name=b value=2>Get</button>\
             <form action=/echo><input name=q aria-label=Q required><input type=radio name=r value=1 aria-label=One>\
             <input type=radio name=r value=2 aria-label=Two checked></form>\
             <fieldset disabled><legend><input aria-label=Legend></legend><button>Off</button></fieldset>\
             <select multiple aria-label=Many name=m><option>p<option>q</select>\
             <details><summary>More</summary><a href=/echo>Inside</a></details>",
        )
    })
}

#[tokio::test]
async fn html_forms_are_filled_and_sent() {
    let mut lane = open(forms).await;
    assert!(done(&lane.on("fill", "A", json!({"text": "12345"})).await));
    assert!(done(&lane.on("fill", "T", json!({"text": "l1\nl2"})).await));
    lane.click("Post").await;
    let text = lane.text().await;
    assert!(text.contains("method POST"), "{text}");
    assert!(text.contains("multipart/form-data; boundary="), "{text}");
    assert!(text.contains("name=\"a\" 123"), "{text}");
    assert!(
        text.contains("l1 l2") && text.contains("name=\"go\" yes"),
        "{text}"
    );
    assert!(text.contains("from /\n"), "{text}");

    // The form is as it was left.
    lane.act("back", json!({})).await;
    let text = lane.text().await;
    assert!(text.contains("textbox \"A\" value=\"123\""), "{text}");
    lane.click("Reset").await;
    assert!(lane.text().await.contains("textbox \"A\" value=\"1\""));
    lane.click("Get").await;
    assert_eq!(lane.url().await, "/echo?a=1&t=x&b=2");

    lane.act("back", json!({})).await;
    // Enter sends; a required field that is empty does not let it.
    lane.on("check", "One", json!({})).await;
    let text = lane.text().await;
    assert!(text.contains("radio \"One\" checked") && !text.contains("radio \"Two\" checked"));
    let untick = rejected(lane.on("check", "One", json!({"on": false})).await);
    assert!(untick.reason.contains("cannot be unticked"), "{untick}");
    lane.on("press", "Q", json!({"key": "Enter"})).await;
    let seen = lane.observe().await;
    assert!(
        seen.text
            .contains("the form was not sent: textbox \"Q\" must be filled in"),
        "{}",
        seen.text
    );
    assert!(
        seen.text
            .contains("textbox \"Q\" value=\"\" required focused invalid")
    );
    lane.on("fill", "Q", json!({"text": "two words", "submit": true}))
        .await;
    assert_eq!(lane.url().await, "/echo?q=two+words&r=1");
}

#[tokio::test]
async fn html_controls_without_requests() {
    let mut lane = open(forms).await;
    let off = rejected(lane.click("Off").await);
    assert!(off.reason.ends_with("is disabled"), "{off}");
    let none = rejected(lane.on("select", "Many", json!({"option": "z"})).await);
    assert_eq!(none.nearest, ["p", "q"]);
    for option in ["q", "p", "q"] {
        lane.on("select", "Many", json!({"option": option})).await;
    }
    assert!(lane.text().await.contains("listbox \"Many\" value=\"p\""));
    assert!(!lane.text().await.contains("Inside"));
    lane.click("More").await;
    let text = lane.text().await;
    assert!(
        text.contains("button \"More\" expanded") && text.contains("Inside"),
        "{text}"
    );
    // Typing, and moving on by keyboard.
    lane.on("press", "Q", json!({"key": "a"})).await;
    lane.act("press", json!({"key": "b"})).await;
    lane.act("press", json!({"key": "Backspace"})).await;
    assert!(
        lane.text().await.contains("searchbox") || lane.text().await.contains("\"Q\" value=\"a\"")
    );
    lane.act("press", json!({"key": "Tab"})).await;
    assert!(lane.text().await.contains("radio \"One\" focused"));
    let drag = rejected(lane.act("drag", json!({"from": "1", "to": "2"})).await);
    assert!(drag.reason.contains("scripts"), "{drag}");
    assert_eq!(lane.requests(), ["GET /"]);
}

fn ways(path: &str, ask: &Ask) -> Option<Reply> {
    Some(match path {
        "/" => html(
            "<base href=/dir/><a href=page>Page</a><a href=/hop1>Hops</a><a href=/loop>Loop</a>\
             <a href=/refresh>Refresh</a><a href=/later>Later</a><a href=/file>File</a>\
             <a href=/json>Json</a><a href=/latin>Latin</a><a href='javascript:x()'>Script</a>\
             <a href=mailto:a@b.c>Mail</a><a href=/nothing>Nothing</a><a target=_blank href=/echo>New</a>\
             <a href='http://127.0.0.1:1/'>Dead</a><a href=/gzip>Coded</a>\
             <form method=post action=/post302><button>P302</button></form>\
             <form method=post action=/post307><button>P307</button></form>",
        ),
        "/dir/page" => html(
            "<title>Page</title><h2 id=top>Top</h2><a href='#low'>Low</a><p id=low>Low end</p>",
        ),
        "/hop1" => {
            let mut reply = redirect(301, "/hop2");
            reply.1.push(("set-cookie", "a=1; Path=/".to_owned()));
            reply
        }
        "/hop2" => {
            let mut reply = redirect(308, "/echo?hops");
            reply.1.push(("set-cookie", "b=2; HttpOnly".to_owned()));
            reply
                .1
                .push(("set-cookie", "a=; Max-Age=0; Path=/".to_owned()));
            reply
        }
        "/loop" => redirect(302, "/loop"),
        "/post302" => redirect(302, "/echo"),
        "/post307" => redirect(307, "/echo"),
        "/refresh" => html("<meta http-equiv=refresh content='0; url=/echo?refreshed'>"),
        "/later" => html("<meta http-equiv=refresh content='5; url=/echo?later'>wait"),
        "/file" => (
            200,
            vec![
                ("content-type", "application/zip".to_owned()),
                (
                    "content-disposition",
                    "attachment; filename=a.zip".to_owned(),
                ),
            ],
            b"PK".to_vec(),
        ),
        "/json" => (
            200,
            vec![("content-type", "application/json".to_owned())],
            br#"{"a": "<b>"}"#.to_vec(),
        ),
        "/latin" => (
            200,
            vec![("content-type", "text/html".to_owned())],
            b"<meta charset=iso-8859-1><title>Caf\xe9</title>".to_vec(),
        ),
        "/gzip" => (
            200,
            vec![
                ("content-type", "text/html".to_owned()),
                ("content-encoding", "gzip".to_owned()),
            ],
            vec![0x1f, 0x8b],
        ),
        "/nothing" => (204, Vec::new(), Vec::new()),
        _ => {
            assert!(ask.body.is_empty());
            return None;
        }
    })
}

#[tokio::test]
async fn html_goes_where_browsers_go() {
    let mut lane = open(ways).await;
    lane.click("Hops").await;
    let text = lane.text().await;
    assert!(
        text.contains("query hops") && text.contains("cookie b=2"),
        "{text}"
    );
    lane.act("back", json!({})).await;
    lane.click("P302").await;
    assert!(lane.text().await.contains("method GET"));
    lane.act("back", json!({})).await;
    lane.click("P307").await;
    assert!(lane.text().await.contains("method POST"));
    lane.act("back", json!({})).await;
    lane.click("Refresh").await;
    assert_eq!(lane.url().await, "/echo?refreshed");
    lane.act("back", json!({})).await;
    lane.click("Later").await;
    assert!(
        lane.text()
            .await
            .contains("the page goes to /echo?later after 5 s")
    );
    lane.act("wait", json!({})).await;
    assert_eq!(lane.url().await, "/echo?later");
    lane.act("back", json!({})).await;
    lane.act("back", json!({})).await;
    lane.click("Json").await;
    assert!(lane.text().await.contains(r#"{"a": "<b>"}"#));
    lane.act("back", json!({})).await;
    lane.click("Latin").await;
    assert_eq!(lane.observe().await.title, "Café");
    lane.act("back", json!({})).await;
    lane.click("Page").await;
    assert_eq!(lane.url().await, "/dir/page");
    lane.click("Low").await;
    assert_eq!(lane.url().await, "/dir/page#low");
    lane.act("back", json!({})).await;
    assert_eq!(lane.url().await, "/dir/page");
    lane.act("forward", json!({})).await;
    assert_eq!(lane.url().await, "/dir/page#low");
    let end = rejected(lane.act("forward", json!({})).await);
    assert_eq!(end.reason, "there is no later page");
}

#[tokio::test]
async fn html_says_what_leads_nowhere() {
    let mut lane = open(ways).await;
    let before = lane.observe().await.digest;
    let script = rejected(lane.click("Script").await);
    assert!(script.reason.contains("runs a script"), "{script}");
    let mail = rejected(lane.click("Mail").await);
    assert!(mail.reason.contains("mailto:a@b.c"), "{mail}");
    // A dead address elsewhere is how the world is.
    let dead = rejected(lane.click("Dead").await);
    assert!(
        dead.reason
            .contains("http://127.0.0.1:1/ could not be loaded"),
        "{dead}"
    );
    for name in ["File", "Coded", "Nothing"] {
        assert!(done(&lane.click(name).await), "{name}");
        lane.act("press", json!({"key": "Shift+Tab"})).await;
    }
    for url in ["file:///etc/passwd", "javascript:alert(1)", "ftp://x/"] {
        let refused = rejected(lane.act("goto", json!({"url": url})).await);
        assert!(refused.reason.contains("no http or https URL"), "{refused}");
    }
    assert_eq!(lane.url().await, "/");
    // Its own site must work: a loop there is a fault, and changes nothing.
    let looped = lane
        .env
        .act(&Action::new("goto", json!({"url": "/loop"})), &lane.cx)
        .await;
    match looped {
        Err(ActError::Other(reason)) => {
            assert!(reason.contains("redirects more than 20 times"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(lane.url().await, "/");
    let lane2 = lane.world.open(Seed(1), &lane.cx).await.unwrap();
    let mut lane2 = lane2;
    assert_eq!(lane2.observe(&lane.cx).await.unwrap().digest, before);
}

#[tokio::test]
async fn html_downloads_are_refused_and_said() {
    let mut lane = open(ways).await;
    match lane.click("File").await {
        Step::Done { notices, .. } => {
            assert_eq!(notices[0].kind, NoticeKind::Download);
            assert!(notices[0].text.contains("the download file"), "{notices:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn html_tabs_open_close_and_switch() {
    let mut lane = open(ways).await;
    lane.click("New").await;
    let seen = lane.observe().await;
    assert!(seen.text.contains("! a new tab opened: "), "{}", seen.text);
    assert_eq!(seen.tabs.len(), 2);
    assert!(seen.tabs[1].active);
    lane.act("tab_open", json!({"url": "/dir/page"})).await;
    lane.act("tab_switch", json!({"index": 2})).await;
    assert_eq!(lane.url().await, "/echo");
    lane.act("tab_close", json!({})).await;
    assert_eq!(lane.url().await, "/", "its opener is next");
    let no = rejected(lane.act("tab_switch", json!({"index": 3})).await);
    assert_eq!(no.reason, "there is no tab 3; 2 are open");
    lane.act("tab_close", json!({"index": 2})).await;
    let last = rejected(lane.act("tab_close", json!({})).await);
    assert_eq!(last.reason, "the last tab cannot be closed");
}

#[tokio::test]
async fn html_digest_counts_what_the_tabs_in_the_background_show() {
    let mut lane = open(|path, _| {
        let form = "<title>Form</title><input aria-label=Note><input type=checkbox aria-label=Box>";
        Some(html(if path == "/" {
            form
        } else {
            "<title>Other</title>"
        }))
    })
    .await;
    let seen = lane.observe().await;
    let on = |name: &str| {
        let found = seen.elements.iter().find(|e| e.name == name);
        found.unwrap().r#ref.clone()
    };
    lane.act("tab_open", json!({"url": "/other"})).await;
    let mut digests = vec![lane.observe().await.digest];
    for (action, arguments) in [
        ("fill", json!({"ref": on("Note"), "text": "x"})),
        ("check", json!({"ref": on("Box"), "on": true})),
        ("check", json!({"ref": on("Box"), "on": false})),
        ("check", json!({"ref": on("Box"), "on": true})),
    ] {
        lane.act("tab_switch", json!({"index": 1})).await;
        lane.act(action, arguments).await;
        lane.act("tab_switch", json!({"index": 2})).await;
        digests.push(lane.observe().await.digest);
    }
    assert_ne!(digests[0], digests[1]);
    assert_ne!(digests[1], digests[2]);
    assert_ne!(digests[2], digests[3]);
    assert_eq!(digests[2], digests[4], "checked again");
}

fn framed(path: &str, _: &Ask) -> Option<Reply> {
    Some(match path {
        "/" => html(
            "<title>Top</title><iframe src=/in name=in title=Inner></iframe><a href=/echo target=in>Into</a>\
             <iframe srcdoc='<p>from source</p>'></iframe><iframe src=/></iframe>",
        ),
        "/in" => html("<a href=/echo?self>Self</a><a href=/echo?top target=_top>Up</a>"),
        _ => return None,
    })
}

#[tokio::test]
async fn html_frames_are_read_and_navigate_by_themselves() {
    let mut lane = open(framed).await;
    let text = lane.text().await;
    assert!(
        text.contains("iframe \"Inner\"") && text.contains("from source"),
        "{text}"
    );
    lane.click("Self").await;
    assert_eq!(lane.url().await, "/", "only the frame went");
    assert!(lane.text().await.contains("query self"));
    lane.act("back", json!({})).await;
    assert!(lane.text().await.contains("link \"Self\""));
    lane.click("Into").await;
    let text = lane.text().await;
    assert!(
        text.contains("method GET") && text.contains("link \"Into\""),
        "{text}"
    );
    lane.act("back", json!({})).await;
    lane.click("Up").await;
    assert_eq!(lane.url().await, "/echo?top");
}

fn shop(path: &str, ask: &Ask) -> Option<Reply> {
    Some(match path {
        "/" => html(
            "<a href=/other>Other</a><form method=post action=/buy><input type=hidden name=csrf value=t1>\
             <input name=n aria-label=N value=1><input type=password name=p aria-label=P><button>Buy</button></form>",
        ),
        "/buy" if ask.method == "POST" => redirect(303, "/echo"),
        "/other" => html("<title>Other</title><p>other</p>"),
        _ => return None,
    })
}

#[tokio::test]
async fn html_holds_writes_and_releases_only_what_is_allowed() {
    let mut lane = open_with(shop, Writes::Hold, HtmlConfig::default()).await;
    lane.on("fill", "N", json!({"text": "3"})).await;
    let before = lane.observe().await;
    let effects = held(lane.click("Buy").await);
    assert_eq!(effects.len(), 1);
    assert_eq!(effects[0].kind, EffectKind::Write);
    assert!(effects[0].held);
    assert_eq!(effects[0].method, "POST");
    assert_eq!(effects[0].url, format!("{}/buy", lane.origin));
    assert_eq!(effects[0].body.as_deref(), Some("csrf=t1&n=3&p="));
    assert_eq!(
        lane.observe().await.digest,
        before.digest,
        "nothing changed"
    );
    assert_eq!(lane.requests(), ["GET /"]);

    let buy = Action::new("click", json!({"ref": reference(&before, "Buy")}));
    let mut other = effects[0].clone();
    other.body = Some("csrf=t1&n=4&p=".to_owned());
    let refused = lane.env.release(&buy, &[other], &lane.cx).await.unwrap();
    assert_eq!(held(refused), effects);
    assert_eq!(lane.requests(), ["GET /"]);

    let mut allowed = effects[0].clone();
    // A token may be another one by then.
    allowed.body = Some("csrf=t0&n=3&p=".to_owned());
    match lane.env.release(&buy, &[allowed], &lane.cx).await.unwrap() {
        Step::Done { effects, .. } => {
            let told: Vec<(EffectKind, &str, bool)> = effects
                .iter()
                .map(|e| (e.kind, e.method.as_str(), e.held))
                .collect();
            assert_eq!(
                told,
                [
                    (EffectKind::Write, "POST", false),
                    (EffectKind::Read, "GET", false)
                ]
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(lane.requests(), ["GET /", "POST /buy", "GET /echo"]);
    // What was allowed and did not happen is said.
    lane.act("back", json!({})).await;
    let allowed = effects[0].clone();
    let field = Action::new("fill", json!({"ref": reference(&before, "N"), "text": "4"}));
    lane.env
        .release(&field, &[allowed], &lane.cx)
        .await
        .unwrap();
    let said = lane.text().await;
    assert!(said.contains("/buy was expected, and not sent"), "{said}");
    let log = lane.env.archive().unwrap();
    let lines: Vec<String> = log
        .entries
        .iter()
        .map(|e| format!("{} {}", e.request.method, e.response.status))
        .collect();
    assert_eq!(lines, ["GET 200", "POST 303", "GET 200"]);
    let text = serde_json::to_string(&log).unwrap();
    assert!(text.contains("\"redirectURL\":\"/echo\""), "{text}");
}

fn forwarding(path: &str, ask: &Ask) -> Option<Reply> {
    Some(match path {
        "/" => html(
            "<form method=post action=/near><button>Near</button></form>
             <form method=post action=/far><button>Far</button></form>",
        ),
        "/near" => redirect(308, "/buy"),
        "/far" => redirect(307, "http://elsewhere.test/buy"),
        "/buy" => html(format!("bought by {}", ask.method)),
        _ => return None,
    })
}

#[tokio::test]
async fn html_lets_a_released_write_go_on_where_its_server_sends_it() {
    let mut lane = open_with(forwarding, Writes::Hold, HtmlConfig::default()).await;
    let seen = lane.observe().await;
    for (button, away) in [("Far", true), ("Near", false)] {
        let click = Action::new("click", json!({"ref": reference(&seen, button)}));
        let effects = held(lane.env.act(&click, &lane.cx).await.unwrap());
        let step = lane.env.release(&click, &effects, &lane.cx).await.unwrap();
        if away {
            let urls: Vec<String> = held(step).into_iter().map(|e| e.url).collect();
            assert_eq!(urls[0], "http://elsewhere.test/buy");
        } else {
            assert!(matches!(step, Step::Done { .. }), "{step:?}");
        }
    }
    assert!(lane.text().await.contains("bought by POST"));
    let requests = ["GET /", "POST /far", "POST /near", "POST /buy"];
    assert_eq!(lane.requests(), requests);
}

fn rules(path: &str, _: &Ask) -> Option<Reply> {
    Some(match path {
        "/" => {
            let mut page = html(
                "<a href=/logout>Leave</a><a href=/item/7/zap>Zap</a>\
                 <form method=post action=/find><button>Find</button></form>\
                 <form method=post action=/stats><button>Count</button></form>",
            );
            page.1.push(("set-cookie", "seen=1".to_owned()));
            page
        }
        "/find" => {
            let mut page = html("<title>Found</title>");
            page.1.push(("set-cookie", "seen=2".to_owned()));
            page
        }
        _ => return None,
    })
}

#[tokio::test]
async fn html_follows_the_tasks_word_on_requests() {
    let (origin, log, _stop) = serve(rules).await;
    let patterns = |text: &str| vec![text.parse::<RequestPattern>().unwrap()];
    let site = Arc::new(FixedSite::new(&origin));
    let world =
        HtmlWorld::new(HtmlConfig::default(), site, "/", Writes::Hold).with_effects(EffectRules {
            writes: patterns("GET /item/*/zap"),
            reads: patterns("POST /find"),
            ignored: patterns("POST /stats"),
            strict: false,
        });
    let cx = Cx::default();
    let mut env = world.open(Seed(0), &cx).await.unwrap();
    let seen = env.observe(&cx).await.unwrap();
    let click = |name: &str| Action::new("click", json!({"ref": reference(&seen, name)}));
    for name in ["Leave", "Zap"] {
        let effects = held(env.act(&click(name), &cx).await.unwrap());
        assert_eq!(
            (effects.len(), effects[0].method.as_str()),
            (1, "GET"),
            "{name}"
        );
    }
    match env.act(&click("Count"), &cx).await.unwrap() {
        Step::Done { effects, .. } => {
            assert!(effects[0].held && effects[0].url.ends_with("/stats"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(log.lock().unwrap().clone(), ["GET /"]);
    match env.act(&click("Find"), &cx).await.unwrap() {
        Step::Done { effects, .. } => {
            let told: Vec<(EffectKind, &str)> = effects
                .iter()
                .map(|e| (e.kind, e.body.as_deref().unwrap_or_default()))
                .collect();
            assert_eq!(
                told,
                [
                    (EffectKind::Read, "1 request"),
                    (EffectKind::Client, "change seen")
                ]
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn html_states_before_a_write_are_not_just_copied() {
    for writes in [Writes::Session, Writes::Allow] {
        let mut lane = open_with(shop, writes, HtmlConfig::default()).await;
        lane.click("Other").await;
        lane.observe().await;
        let other = lane.env.snapshot(&lane.cx).await.unwrap();
        lane.act("back", json!({})).await;
        let copied = lane.env.restore(&other, &lane.cx).await.unwrap();
        assert_eq!(copied.rung, Rung::Copy);
        lane.act("back", json!({})).await;
        lane.click("Buy").await;
        lane.observe().await;
        let bought = lane.env.snapshot(&lane.cx).await.unwrap();
        // The server moved since: the way is walked again.
        let walked = lane.env.restore(&other, &lane.cx).await.unwrap();
        assert_eq!(walked.rung, Rung::Replay, "{writes:?}");
        // Nothing was written after this one.
        let copied = lane.env.restore(&bought, &lane.cx).await.unwrap();
        assert_eq!(copied.rung, Rung::Copy, "{writes:?}");
        // Another lane must not share the session; a sandbox has no sessions to keep apart.
        let mut two = lane.world.open(Seed(1), &lane.cx).await.unwrap();
        let elsewhere = two.restore(&bought, &lane.cx).await.unwrap();
        let rung = match writes {
            Writes::Session => Rung::Replay,
            Writes::Allow | Writes::Hold | Writes::Checkpoint => Rung::Copy,
        };
        assert_eq!(elsewhere.rung, rung, "{writes:?}");
    }
}

#[tokio::test]
async fn html_dropped_states_are_restored_by_replay_or_not_at_all() {
    let config = HtmlConfig {
        kept_bytes: 0,
        ..HtmlConfig::default()
    };
    let mut lane = open_with(shop, Writes::Allow, config).await;
    lane.click("Other").await;
    let seen = lane.observe().await;
    let other = lane.env.snapshot(&lane.cx).await.unwrap();
    lane.act("back", json!({})).await;
    lane.observe().await;
    lane.env.snapshot(&lane.cx).await.unwrap();
    let restored = lane.env.restore(&other, &lane.cx).await.unwrap();
    assert_eq!((restored.rung, restored.actions), (Rung::Replay, 1));
    assert_eq!(lane.observe().await.elements, seen.elements);
    lane.act("back", json!({})).await;
    lane.click("Buy").await;
    lane.observe().await;
    let bought = lane.env.snapshot(&lane.cx).await.unwrap();
    lane.act("back", json!({})).await;
    lane.observe().await;
    lane.env.snapshot(&lane.cx).await.unwrap();
    match lane.env.restore(&bought, &lane.cx).await {
        Err(RestoreError::Unrestorable(reason)) => {
            assert!(reason.contains("cannot be put back"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

fn hostile(path: &str, _: &Ask) -> Option<Reply> {
    Some(match path {
        "/" => html(
            "<a href=/huge>Huge</a><a href=/deep>Deep</a><a href=/broken>Broken</a><a href=/many>Many</a>",
        ),
        "/huge" => html("<p>word</p>".repeat(200_000)),
        "/deep" => html("<div>".repeat(100_000)),
        "/broken" => html(
            "<table><a href=/x>In</a><tr><td></b></i><select><b>x<form><p><form></table><a href=/y",
        ),
        "/many" => html("<a href=/x>x</a>".repeat(10_000)),
        _ => return None,
    })
}

#[tokio::test]
async fn html_survives_hostile_pages() {
    let config = HtmlConfig {
        largest_body: 1 << 20,
        ..HtmlConfig::default()
    };
    let mut lane = open_with(hostile, Writes::Hold, config).await;
    for (name, notice) in [
        ("Huge", "the document is larger than what is read"),
        ("Deep", "the document is larger than what is read"),
        ("Many", "the page is too large to read whole"),
    ] {
        assert!(done(&lane.click(name).await), "{name}");
        let seen = lane.observe().await;
        assert!(seen.text.contains(notice), "{name}: {}", &seen.text[..400]);
        assert!(seen.elements.len() <= 6000 && seen.tokens <= 2000);
        lane.act("back", json!({})).await;
    }
    assert!(done(&lane.click("Broken").await));
    assert!(lane.text().await.contains("link \"In\""));
}

#[tokio::test]
async fn html_names_a_server_that_hangs_or_is_not_there() {
    // Accepts, and never answers.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let config = || HtmlConfig {
        timeout: Duration::from_millis(100),
        ..HtmlConfig::default()
    };
    let open = |origin: String| async move {
        let site = Arc::new(FixedSite::new(&origin));
        let world = HtmlWorld::new(config(), site, "/", Writes::Hold);
        world.open(Seed(0), &Cx::default()).await.err().unwrap()
    };
    match open(origin).await {
        OpenError::Start { reason, .. } => {
            assert!(reason.contains("no answer within 0.1 s"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    drop(listener);
    match open("http://127.0.0.1:1".to_owned()).await {
        OpenError::Start { reason, .. } => assert!(reason.contains("refused"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn html_a_page_without_markup_says_what_it_is() {
    let pages = Pages::serve(&[]).await;
    pages.add(
        "/",
        Answer {
            status: 500,
            ..Answer::html("broken")
        },
    );
    let world = HtmlWorld::new(HtmlConfig::default(), Arc::new(pages), "/", Writes::Hold);
    match world.open(Seed(0), &Cx::default()).await.err().unwrap() {
        OpenError::Start { reason, .. } => assert_eq!(reason, "the server answered 500"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn html_long_pages_are_seen_screen_by_screen() {
    let rows: Vec<String> = (0..300)
        .map(|i| format!("<p><a href=/{i}>Row {i}</a></p>"))
        .collect();
    let rows = rows.concat();
    let page: &'static str = Box::leak(rows.into_boxed_str());
    let pages = Pages::serve(&[("/", page)]).await;
    let world = HtmlWorld::new(
        HtmlConfig {
            observation_tokens: 400,
            ..HtmlConfig::default()
        },
        Arc::new(pages),
        "/",
        Writes::Hold,
    );
    let cx = Cx::default();
    let mut env = world.open(Seed(0), &cx).await.unwrap();
    let first = env.observe(&cx).await.unwrap();
    assert!(first.text.contains("Row 0") && first.text.contains("more below"));
    let act = |name: &str, arguments| Action::new(name, arguments);
    let up = act("scroll", json!({"direction": "up"}));
    assert!(
        rejected(env.act(&up, &cx).await.unwrap())
            .reason
            .contains("nothing further")
    );
    assert!(done(
        &env.act(&act("find", json!({"text": "row 250"})), &cx)
            .await
            .unwrap()
    ));
    let found = env.observe(&cx).await.unwrap();
    assert!(
        found.text.contains("Row 250") && found.text.contains("more above"),
        "{}",
        found.text
    );
    assert_ne!(found.digest, first.digest);
    assert!(done(
        &env.act(&act("scroll", json!({"direction": "down"})), &cx)
            .await
            .unwrap()
    ));
}
