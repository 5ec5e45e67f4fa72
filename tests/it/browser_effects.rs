//! What actions cause outside the page: seen, classified, held, and released by a commit; against
//! real Chromium and a server that counts what arrives.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use branchline::context::Cx;
use branchline::env::browser::{BrowserConfig, BrowserWorld};
use branchline::env::{Environment, FixedSite, Site, SiteError, SiteInstance, World};
use branchline::types::{
    Action, Effect, EffectKind, EffectRules, Notice, Observation, Rung, Seed, Snapshot, Step,
    Writes,
};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::steps::{Hands, held, reference};

// ------------------------------------------------------------ a server that counts what arrives

#[derive(Default)]
struct Seen {
    /// Path to status line's number, headers, body. `{n}` in a body is a number that grows.
    pages: HashMap<String, (u16, Vec<String>, String)>,
    /// `METHOD /path body` of everything that is not a GET, and `WS /path payload` of frames.
    writes: Vec<String>,
    reads: Vec<String>,
    count: u32,
}

/// The server: HTTP and `WebSocket`s on one port. Stopped with the runtime.
#[derive(Clone)]
struct Server {
    origin: String,
    seen: Arc<Mutex<Seen>>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            origin: format!("http://{}", listener.local_addr().unwrap()),
            seen: Arc::default(),
        };
        let seen = Arc::clone(&server.seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                tokio::spawn(async move { serve(stream, &seen).await });
            }
        });
        server
    }

    fn page(self, path: &str, body: &str) -> Self {
        self.answer(path, 200, &[], body)
    }

    fn answer(self, path: &str, status: u16, headers: &[&str], body: &str) -> Self {
        let headers = headers.iter().map(|h| (*h).to_owned()).collect();
        let page = (status, headers, body.to_owned());
        self.seen
            .lock()
            .unwrap()
            .pages
            .insert(path.to_owned(), page);
        self
    }

    fn writes(&self) -> Vec<String> {
        self.seen.lock().unwrap().writes.clone()
    }

    fn reads(&self) -> Vec<String> {
        self.seen.lock().unwrap().reads.clone()
    }
}

async fn serve(mut stream: TcpStream, seen: &Mutex<Seen>) {
    let mut head = vec![0; 16 << 10];
    let (text, end) = loop {
        let Ok(length) = stream.peek(&mut head).await else {
            return;
        };
        if length == 0 {
            return;
        }
        let text = String::from_utf8_lossy(&head[..length]).into_owned();
        match text.find("\r\n\r\n") {
            Some(end) => break (text[..end].to_owned(), end + 4),
            None => tokio::task::yield_now().await,
        }
    };
    let mut words = text.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default().to_owned();
    let path = target.split('?').next().unwrap_or_default().to_owned();
    let header = |name: &str| {
        let found = text.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then(|| value.to_owned())
        });
        found.unwrap_or_default()
    };
    if header("upgrade") == "websocket" {
        let Ok(socket) = tokio_tungstenite::accept_async(stream).await else {
            return;
        };
        let (_open, mut frames) = socket.split();
        while let Some(Ok(frame)) = frames.next().await {
            if frame.is_text() || frame.is_binary() {
                let text = format!("WS {path} {}", String::from_utf8_lossy(&frame.into_data()));
                seen.lock().unwrap().writes.push(text);
            }
        }
        return;
    }
    let length = header("content-length").parse::<usize>().unwrap_or(0);
    let mut whole = vec![0; end + length];
    if stream.read_exact(&mut whole).await.is_err() {
        return;
    }
    let body = String::from_utf8_lossy(&whole[end..]).into_owned();
    let (status, headers, mut page) = {
        let mut seen = seen.lock().unwrap();
        if path != "/favicon.ico" {
            if method == "GET" {
                seen.reads.push(path.clone());
            } else {
                seen.writes
                    .push(format!("{method} {path} {body}").trim_end().to_owned());
            }
        }
        seen.count += 1;
        let none = (404, Vec::new(), "<title>Not found</title>".to_owned());
        seen.pages.get(&path).cloned().unwrap_or(none)
    };
    let count = seen.lock().unwrap().count;
    page = page.replace("{n}", &count.to_string());
    let kind = if path.rsplit('.').next() == Some("js") {
        "text/javascript"
    } else {
        "text/html; charset=utf-8"
    };
    let headers: Vec<String> = headers.into_iter().map(|line| line + "\r\n").collect();
    let headers = headers.concat();
    let reply = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\
         {headers}\r\n{page}",
        page.len()
    );
    stream.write_all(reply.as_bytes()).await.ok();
    stream.shutdown().await.ok();
}

#[async_trait]
impl Site for Server {
    fn logical_origin(&self) -> &'static str {
        "http://pages.test"
    }

    async fn lease(&self, _cx: &Cx) -> Result<Box<dyn SiteInstance>, SiteError> {
        Ok(Box::new(FixedSite::new(&self.origin)))
    }
}

// ------------------------------------------------------------ one environment on it

struct Bench {
    server: Server,
    world: BrowserWorld,
    env: Box<dyn Environment>,
    cx: Cx,
}

fn world(server: &Server, writes: Writes, rules: EffectRules) -> BrowserWorld {
    let config = BrowserConfig {
        screenshots: false,
        settle: Duration::from_secs(3),
        ..BrowserConfig::default()
    };
    BrowserWorld::new(config, Arc::new(server.clone()), "/", writes, None).with_effects(rules)
}

async fn open(server: Server, rules: EffectRules) -> Bench {
    open_with(server, Writes::Hold, rules).await
}

async fn open_with(server: Server, writes: Writes, rules: EffectRules) -> Bench {
    let world = world(&server, writes, rules);
    let cx = Cx::default();
    let env = world.open(Seed(1), &cx).await.unwrap();
    Bench {
        server,
        world,
        env,
        cx,
    }
}

impl Hands for Bench {
    fn hands(&mut self) -> (&mut dyn Environment, &Cx) {
        (&mut *self.env, &self.cx)
    }
}

impl Bench {
    async fn mark(&mut self) -> Snapshot {
        self.observe().await;
        self.env.snapshot(&self.cx).await.unwrap()
    }

    async fn back(&mut self, to: &Snapshot) -> Observation {
        self.env.restore(to, &self.cx).await.unwrap();
        self.observe().await
    }
}

fn click(seen: &Observation, name: &str) -> Action {
    Action::new("click", json!({ "ref": reference(seen, name) }))
}

fn done(step: Step) -> (Vec<Effect>, Vec<Notice>) {
    match step {
        Step::Done {
            effects, notices, ..
        } => (effects, notices),
        other => panic!("expected a step that was done, got {other:?}"),
    }
}

/// Kind, method, URL and body of each.
fn told(effects: &[Effect]) -> Vec<(EffectKind, &str, &str, &str)> {
    effects
        .iter()
        .map(|e| {
            let body = e.body.as_deref().unwrap_or_default();
            (e.kind, e.method.as_str(), e.url.as_str(), body)
        })
        .collect()
}

// ------------------------------------------------------------ holding

const KINDS: &str = r"<title>Kinds</title><p id=out></p>
<script>
  const post = (url, more) => fetch(url, {method: 'POST', body: 'b', ...more}).then((r) => { out.textContent = r.status; });
  const socket = new WebSocket('ws://' + location.host + '/live');
  const worker = new Worker('/worker.js'), shared = new SharedWorker('/shared.js').port;
  const on = (name, run) => { const b = document.createElement('button'); b.textContent = name; b.onclick = run; document.body.append(b); };
  addEventListener('load', () => {
    on('fetch post', () => post('/fetch', {headers: {'X-Shop': '1', Authorization: 'Bearer geheim'}}));
    on('fetch put', () => post('/put', {method: 'PUT', body: JSON.stringify({a: 1})}));
    on('fetch delete', () => post('/delete', {method: 'DELETE', body: null}));
    on('xhr', () => { const x = new XMLHttpRequest(); x.open('POST', '/xhr'); x.send('x=1'); });
    on('beacon', () => navigator.sendBeacon('/beacon', 'bb'));
    on('keepalive', () => post('/keepalive', {keepalive: true}));
    on('worker', () => worker.postMessage('fetch'));
    on('shared worker', () => shared.postMessage('fetch'));
    on('race', () => { post('/race'); location = '/other'; });
    on('socket', () => socket.send('hello'));
    on('binary socket', () => socket.send(new Uint8Array([1, 2, 255])));
    on('worker socket', () => worker.postMessage('socket'));
    on('upload', () => { const f = new FormData(); f.append('a', '1'); f.append('f', new File(['xyz'], 'n.txt')); post('/upload', {body: f}); });
  });
</script>
<a href=/other ping=/ping>ping</a>
<form method=post action=/form><input type=hidden name=qty value=2><button>form</button></form>
<form method=post action=/framed target=inner><button name=f value=1>framed form</button></form><iframe name=inner></iframe>
<form method=post action=/popup target=_blank><button name=p value=1>popup form</button></form>";

fn kinds(server: Server) -> Server {
    let worker = "const s = new WebSocket('ws://' + location.host + '/deep'); \
        onmessage = (e) => { if (e.data === 'fetch') fetch('/worker', {method: 'POST', body: 'w'}); else s.send('deep'); };";
    let shared = "onconnect = (e) => { e.ports[0].onmessage = () => fetch('/shared', {method: 'POST', body: 's'}); };";
    server
        .page("/", KINDS)
        .page("/other", "<title>Other</title>other")
        .page("/worker.js", worker)
        .page("/shared.js", shared)
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_holds_every_kind_of_write() {
    let mut b = open(kinds(Server::start().await), EffectRules::default()).await;
    let root = b.mark().await;
    let seen = b.observe().await;
    for (name, method, url, body) in [
        ("fetch post", "POST", "http://pages.test/fetch", "b"),
        ("fetch put", "PUT", "http://pages.test/put", "{\"a\":1}"),
        ("fetch delete", "DELETE", "http://pages.test/delete", ""),
        ("xhr", "POST", "http://pages.test/xhr", "x=1"),
        ("beacon", "POST", "http://pages.test/beacon", "bb"),
        ("keepalive", "POST", "http://pages.test/keepalive", "b"),
        ("worker", "POST", "http://pages.test/worker", "w"),
        ("shared worker", "POST", "http://pages.test/shared", "s"),
        ("race", "POST", "http://pages.test/race", "b"),
        ("ping", "POST", "http://pages.test/ping", "PING"),
        ("form", "POST", "http://pages.test/form", "qty=2"),
        ("framed form", "POST", "http://pages.test/framed", "f=1"),
        ("popup form", "POST", "http://pages.test/popup", "p=1"),
        ("socket", "WS", "ws://pages.test/live", "hello"),
        ("worker socket", "WS", "ws://pages.test/deep", "deep"),
    ] {
        let effects = held(b.click(name).await);
        assert_eq!(
            told(&effects),
            [(EffectKind::Write, method, url, body)],
            "{name}"
        );
        assert!(effects[0].held, "{name}");
        if name == "fetch post" {
            let redacted = ("authorization".to_owned(), "[redacted]".to_owned());
            let shop = ("x-shop".to_owned(), "1".to_owned());
            assert!(
                effects[0].headers.contains(&redacted) && effects[0].headers.contains(&shop),
                "{:?}",
                effects[0].headers
            );
        }
        let after = b.observe().await;
        let usable = ["Kinds", "Other", ""];
        assert!(
            usable.contains(&after.title.as_str()),
            "{name}: {}",
            after.text
        );
        let again = b.back(&root).await;
        assert_eq!(
            (again.digest, again.elements),
            (seen.digest, seen.elements.clone()),
            "{name}"
        );
    }
    let binary = held(b.click("binary socket").await);
    let body = binary[0].body.clone().unwrap_or_default();
    assert!(body.starts_with("[3 bytes, blake3 "), "{body}");
    b.back(&root).await;
    let upload = held(b.click("upload").await);
    let body = upload[0].body.clone().unwrap_or_default();
    assert!(
        body.starts_with("a=1\nf=[file \"n.txt\", 3 bytes, blake3 "),
        "{body}"
    );
    assert_eq!(b.server.writes(), [""; 0], "nothing arrived");
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_holds_what_a_closing_tab_sends() {
    let hide = "<script>addEventListener('pagehide', () => { navigator.sendBeacon('/bye', 'b'); \
        fetch('/bye', {method: 'POST', keepalive: true, body: 'k'}); fetch('/bye', {method: 'POST', body: 'p'}); });</script>";
    let server = Server::start()
        .await
        .page("/", "<title>Home</title><a href=/hide target=_blank>Open</a><button onclick=\"window.open('/selfish')\">Selfish</button>")
        .page("/hide", &format!("<title>Hide</title>{hide}"))
        .page("/selfish", &format!("<title>Selfish</title>{hide}<button onclick='window.close()'>Close</button>"));
    let mut b = open(server, EffectRules::default()).await;
    b.click("Open").await;
    let shut = Action::new("tab_close", json!({}));
    let effects = held(b.env.act(&shut, &b.cx).await.unwrap());
    assert!(
        effects
            .iter()
            .all(|e| e.held && e.url == "http://pages.test/bye"),
        "{effects:?}"
    );
    // One that closes itself is gone before its last requests are told. (Opened by a script: one that
    // has no opener gets nothing out of Chromium at all.)
    let mut b = Bench {
        env: b.world.open(Seed(1), &b.cx).await.unwrap(),
        ..b
    };
    b.click("Selfish").await;
    assert_eq!(b.observe().await.title, "Selfish");
    let effects = held(b.click("Close").await);
    let mut bodies: Vec<_> = effects.iter().filter_map(|e| e.body.as_deref()).collect();
    bodies.sort_unstable();
    assert_eq!(bodies[..2], ["b", "k"], "{effects:?}");
    assert_eq!(b.observe().await.title, "Home");
    b.env.close(&b.cx).await.unwrap();
    // A lane of another environment still works: the gate lets reads pass.
    let mut other = b.world.open(Seed(2), &b.cx).await.unwrap();
    assert_eq!(other.observe(&b.cx).await.unwrap().title, "Home");
    assert_eq!(b.server.writes(), [""; 0], "nothing arrived");
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_sees_what_a_closing_tab_sends_where_writes_are_sent() {
    let last_words = "<title>Selfish</title><script>addEventListener('beforeunload', () => navigator.sendBeacon('/bye', 'u')); \
        addEventListener('pagehide', () => { navigator.sendBeacon('/bye', 'b'); fetch('/bye', {method: 'POST', keepalive: true, body: 'k'}); \
        fetch('/bye', {method: 'POST', body: 'p'}); });</script><button onclick='window.close()'>Close</button>";
    let home = "<title>Home</title><button onclick=\"window.open('/selfish')\">Selfish</button>";
    for writes in [Writes::Session, Writes::Checkpoint, Writes::Allow] {
        let server = Server::start().await.page("/", home);
        let server = server.page("/selfish", last_words);
        let mut b = open_with(server, writes, EffectRules::default()).await;
        let root = b.mark().await;
        for closed_by_itself in [true, false] {
            b.click("Selfish").await;
            assert_eq!(b.observe().await.title, "Selfish", "{writes:?}");
            let before = b.server.writes().len();
            let step = if closed_by_itself {
                b.click("Close").await
            } else {
                let shut = Action::new("tab_close", json!({}));
                b.env.act(&shut, &b.cx).await.unwrap()
            };
            let (effects, _) = done(step);
            let sent = effects.iter().filter(|e| e.kind == EffectKind::Write);
            let sent: Vec<String> = sent
                .map(|e| {
                    assert!(!e.held && e.url == "http://pages.test/bye", "{e:?}");
                    format!(
                        "{} /bye {}",
                        e.method,
                        e.body.as_deref().unwrap_or_default()
                    )
                })
                .collect();
            // (What it left without `keepalive` the browser may give up on the way.)
            let arrived = b.server.writes().split_off(before);
            let unseen = arrived.iter().filter(|write| !sent.contains(write));
            assert_eq!(unseen.count(), 0, "{writes:?}: {sent:?} of {arrived:?}");
            for body in &["b", "k", "u"][..if closed_by_itself { 3 } else { 2 }] {
                let one = format!("POST /bye {body}");
                assert!(
                    sent.contains(&one) && arrived.contains(&one),
                    "{writes:?} {body}: {sent:?}"
                );
            }
        }
        // The server has moved: what was kept of the start is not relied upon.
        let restored = b.env.restore(&root, &b.cx).await.unwrap();
        assert_eq!(restored.rung, Rung::Replay, "{restored:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_must_be_restored_after_a_held_write() {
    let page = "<title>Shop</title><p id=n>0</p><script>fetch('/hello', {method: 'POST'}); let n = 0;</script>\
        <button onclick=\"n++; document.getElementById('n').textContent = n; fetch('/buy', {method: 'POST'})\">Buy</button>\
        <button>Nothing</button>";
    let mut b = open(
        Server::start().await.page("/", page),
        EffectRules::default(),
    )
    .await;
    let seen = b.observe().await;
    let loaded: Vec<&str> = seen.notices.iter().map(|n| n.text.as_str()).collect();
    assert_eq!(
        loaded,
        ["POST http://pages.test/hello was held while the start page loaded"]
    );
    let root = b.mark().await;
    held(b.click("Buy").await);
    assert!(!b.env.is_at(&root), "scripts were told what is not true");
    let action = click(&b.observe().await, "Nothing");
    let error = b.env.act(&action, &b.cx).await.unwrap_err();
    assert!(error.to_string().contains("must be restored"), "{error}");
    assert_eq!(b.back(&root).await.digest, seen.digest);
    done(b.click("Nothing").await);
    assert_eq!(b.server.writes(), [""; 0]);
}

// ------------------------------------------------------------ the client's own stores, and reads

#[tokio::test(flavor = "multi_thread")]
async fn browser_tells_what_an_action_changed_in_the_client() {
    let page = r#"<title>Stores</title><p id=out></p>
        <button onclick="localStorage.cart = 'secret-value'; sessionStorage.step = 2; document.cookie = 'theme=dark'; save()">Save</button>
        <button onclick="localStorage.clear(); document.cookie = 'theme=; Max-Age=0'">Clear</button>
        <button onclick="Promise.all([fetch('/a'), fetch('/b')])">Read</button>
        <script>async function save() {
            setTimeout(() => {}, 290); // no rest before the databases are done
            const cache = await caches.open('pages'); await cache.put('/q', new Response('z'));
            const db = await new Promise((ok) => { const r = indexedDB.open('db', 1); r.onupgradeneeded = () => r.result.createObjectStore('notes'); r.onsuccess = () => ok(r.result); });
            const t = db.transaction('notes', 'readwrite'); t.objectStore('notes').put(1, 'k');
            await new Promise((ok) => { t.oncomplete = ok; });
            out.textContent = 'saved';
        }</script>"#;
    let server = Server::start()
        .await
        .page("/", page)
        .page("/a", "a")
        .page("/b", "b");
    let mut b = open(server, EffectRules::default()).await;
    let site = "http://pages.test";
    let (effects, _) = done(b.click("Save").await);
    let told_of = |effects: &[Effect]| -> Vec<String> {
        let mut all: Vec<String> = told(effects)
            .iter()
            .filter(|(kind, _, url, _)| *kind == EffectKind::Client && *url == site)
            .map(|(_, store, _, what)| format!("{store} {what}"))
            .collect();
        all.sort();
        all
    };
    assert_eq!(
        told_of(&effects),
        [
            "CACHE pages",
            "COOKIE set theme",
            "INDEXEDDB db/notes",
            "LOCAL set cart",
            "SESSION set step"
        ]
    );
    assert!(!format!("{effects:?}").contains("secret-value"));
    let (effects, _) = done(b.click("Clear").await);
    assert_eq!(told_of(&effects), ["COOKIE delete theme", "LOCAL clear"]);
    let (effects, _) = done(b.click("Read").await);
    assert_eq!(
        told(&effects),
        [(EffectKind::Read, "GET", site, "2 requests")]
    );
}

// ------------------------------------------------------------ unsafe GETs and the task's own rules

fn rules(writes: &[&str], reads: &[&str], ignored: &[&str]) -> EffectRules {
    let list = |patterns: &[&str]| patterns.iter().map(|p| p.parse().unwrap()).collect();
    EffectRules {
        writes: list(writes),
        reads: list(reads),
        ignored: list(ignored),
        strict: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_goes_by_the_tasks_rules() {
    let page = r#"<title>Home</title><a href=/logout>Sign out</a><a href=/item/3/drop>Drop</a>
        <form method=post action=/search><input type=hidden name=q value=mug><button>Search</button></form>
        <button onclick="fetch('/collect', {method: 'POST', body: 'hit'}); document.title = 'Clicked'">Track</button>
        <button onclick="live.send('subscribe')">Subscribe</button><img src=/logout.png>
        <script>const live = new WebSocket('ws://' + location.host + '/live');</script>"#;
    let server = Server::start()
        .await
        .page("/", page)
        .page("/search", "<title>Found</title>found");
    let rules = rules(
        &["GET /item/*/drop"],
        &["POST /search", "WS /live"],
        &["POST /collect"],
    );
    let mut b = open(server, rules).await;
    let root = b.mark().await;
    for (name, url) in [
        ("Sign out", "http://pages.test/logout"),
        ("Drop", "http://pages.test/item/3/drop"),
    ] {
        let effects = held(b.click(name).await);
        assert_eq!(told(&effects), [(EffectKind::Write, "GET", url, "")]);
        assert_eq!(b.observe().await.title, "Home", "holding keeps the page");
        b.back(&root).await;
    }
    let (effects, _) = done(b.click("Track").await);
    assert!(
        effects
            .iter()
            .any(|e| e.held && e.url.ends_with("/collect"))
    );
    assert_eq!(b.observe().await.title, "Clicked");
    done(b.click("Subscribe").await);
    done(b.click("Search").await);
    assert_eq!(b.observe().await.title, "Found");
    let arrived = b.server.writes();
    assert_eq!(arrived, ["WS /live subscribe", "POST /search q=mug"]);
    let reads = b.server.reads();
    assert!(
        !reads
            .iter()
            .any(|path| path == "/logout" || path.contains("drop")),
        "{reads:?}"
    );
    assert!(
        reads.contains(&"/logout.png".to_owned()),
        "a picture is a read"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_says_when_a_read_ends_the_session() {
    let server = Server::start()
        .await
        .answer(
            "/",
            200,
            &[
                "Set-Cookie: sessionid=abc; HttpOnly",
                "Set-Cookie: flash=hi",
            ],
            "<title>Home</title><a href=/bye>Bye</a><a href=/seen>Seen</a>",
        )
        .answer(
            "/bye",
            200,
            &["Set-Cookie: sessionid=; Max-Age=0"],
            "<title>Bye</title>bye",
        )
        .answer(
            "/seen",
            200,
            &["Set-Cookie: flash=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"],
            "<title>Seen</title><a href=/bye>Bye</a>",
        );
    let mut b = open(server, EffectRules::default()).await;
    let (effects, notices) = done(b.click("Seen").await);
    assert!(effects.iter().all(|e| e.kind != EffectKind::Write));
    let texts: Vec<&str> = notices.iter().map(|n| n.text.as_str()).collect();
    assert_eq!(
        texts,
        ["GET http://pages.test/seen deleted the cookie flash"]
    );
    let (effects, notices) = done(b.click("Bye").await);
    assert!(
        effects
            .iter()
            .any(|e| e.kind == EffectKind::Write && !e.held && e.url == "http://pages.test/bye"),
        "{effects:?}"
    );
    assert!(
        notices
            .iter()
            .any(|n| n.text.contains("may have ended the session")),
        "{notices:?}"
    );
}

// ------------------------------------------------------------ release

#[tokio::test(flavor = "multi_thread")]
async fn browser_releases_exactly_what_was_allowed_and_archives_it() {
    let page = r#"<title>Cart</title>
        <form method=post action=/order><input type=hidden name=csrf value="t{n}"><input type=hidden name=qty value=2><button>Order</button></form>
        <button onclick="fetch('/one', {method: 'POST', body: 'a'}).then(() => fetch('/two', {method: 'POST', body: 'b'}))">Both</button>
        <button onclick="live.send('bid 5')">Bid</button>
        <script>const live = new WebSocket('ws://' + location.host + '/live');</script>"#;
    let server = Server::start()
        .await
        .answer("/", 200, &["Set-Cookie: sid=geheim"], page)
        .answer("/order", 302, &["Location: /thanks"], "")
        .page("/thanks", "<title>Thanks</title>thank you");
    let mut b = open(server, EffectRules::default()).await;
    let root = b.mark().await;
    let order = held(b.click("Order").await);
    b.back(&root).await;
    let both = held(b.click("Both").await);
    b.back(&root).await;
    let bid = held(b.click("Bid").await);
    assert_eq!(b.server.writes(), [""; 0], "the search sent nothing");

    let mut env = b.world.open_for_commit(Seed(1), &b.cx).await.unwrap();
    let action = click(&env.observe(&b.cx).await.unwrap(), "Bid");
    let (effects, _) = done(env.release(&action, &bid, &b.cx).await.unwrap());
    assert!(
        effects.iter().any(|e| e.method == "WS" && !e.held),
        "{effects:?}"
    );
    let action = click(&env.observe(&b.cx).await.unwrap(), "Order");
    let (effects, _) = done(env.release(&action, &order, &b.cx).await.unwrap());
    let sent: Vec<_> = effects
        .iter()
        .filter(|e| e.kind == EffectKind::Write)
        .collect();
    assert_eq!((sent.len(), sent[0].held), (1, false));
    assert_eq!(env.observe(&b.cx).await.unwrap().title, "Thanks");
    let arrived = b.server.writes();
    assert_eq!(arrived.len(), 2, "{arrived:?}");
    assert_eq!(arrived[0], "WS /live bid 5");
    assert!(
        arrived[1].starts_with("POST /order csrf=t") && arrived[1].ends_with("&qty=2"),
        "{arrived:?}"
    );
    let token = |text: &str| text.split(['=', '&']).nth(1).unwrap_or_default().to_owned();
    assert_ne!(
        token(order[0].body.as_deref().unwrap()),
        token(&arrived[1]),
        "another token than in the search"
    );
    archive_is_whole(&*env);
    env.close(&b.cx).await.unwrap();

    // A write that nobody allowed stays, and the step says so; so does one that did not come.
    let mut env = b.world.open_for_commit(Seed(1), &b.cx).await.unwrap();
    let seen = env.observe(&b.cx).await.unwrap();
    let step = env
        .release(&click(&seen, "Order"), &both, &b.cx)
        .await
        .unwrap();
    assert_eq!(held(step)[0].url, "http://pages.test/order");
    let mut env = b.world.open_for_commit(Seed(1), &b.cx).await.unwrap();
    let seen = env.observe(&b.cx).await.unwrap();
    let one = &both[..1];
    assert_eq!(one[0].url, "http://pages.test/one");
    let effects = held(
        env.release(&click(&seen, "Both"), one, &b.cx)
            .await
            .unwrap(),
    );
    let shown: Vec<_> = effects.iter().map(|e| (e.url.as_str(), e.held)).collect();
    assert_eq!(
        shown,
        [
            ("http://pages.test/two", true),
            ("http://pages.test/one", false)
        ],
        "what was held, then what had left"
    );
    let arrived = b.server.writes();
    assert_eq!(arrived[2..], ["POST /one a"], "{arrived:?}");
    assert!(
        b.env.archive().is_none(),
        "collected only where it is asked for"
    );
}

fn archive_is_whole(env: &dyn Environment) {
    let log = env.archive().expect("a commit's environment collects");
    let har = har::Har {
        log: har::Spec::V1_2(log.clone()),
    };
    let text = har::to_json(&har).unwrap();
    assert_eq!(har::from_str(&text).unwrap(), har, "it reads back");
    assert!(!text.contains("geheim"), "no cookie's value: {text}");
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["log"]["version"], "1.2");
    let pages = log.pages.as_ref().unwrap();
    let titles: Vec<&str> = pages.iter().map(|page| page.title.as_str()).collect();
    assert_eq!(titles, ["http://pages.test/", "http://pages.test/thanks"]);
    let of = |url: &str| {
        let found = log.entries.iter().find(|e| e.request.url == url);
        found.unwrap_or_else(|| panic!("{url} is in the archive: {text}"))
    };
    let home = of("http://pages.test/");
    assert_eq!(home.response.status, 200);
    assert!(
        home.response
            .content
            .text
            .as_ref()
            .unwrap()
            .contains("<title>Cart")
    );
    assert_eq!(home.pageref.as_deref(), Some(pages[0].id.as_str()));
    let order = of("http://pages.test/order");
    assert_eq!(
        (order.request.method.as_str(), order.response.status),
        ("POST", 302)
    );
    let sent = order.request.post_data.as_ref().unwrap();
    assert!(sent.text.as_ref().unwrap().ends_with("&qty=2"));
    assert_eq!(order.response.redirect_url.as_deref(), Some("/thanks"));
    let thanks = of("http://pages.test/thanks");
    assert_eq!(
        thanks.response.content.text.as_deref(),
        Some("<title>Thanks</title>thank you")
    );
    assert!(thanks.time >= 0.0 && thanks.started_date_time.starts_with("20"));
}
