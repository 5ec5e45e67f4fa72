//! The digest, one change at a time: what an agent can see or use makes another state, what nobody
//! can see or use does not.

use std::sync::Arc;
use std::time::Duration;

use branchline::context::Cx;
use branchline::env::browser::{BrowserConfig, BrowserWorld, inspect};
use branchline::env::{Environment, World};
use branchline::types::{Action, Digest, NoticeKind, Observation, Seed, Step, Writes};
use serde_json::json;

use crate::support::site::{Answer, Pages};

/// A page with everything that a digest covers. `CHANGE` runs when it has loaded.
const EVERYTHING: &str = r#"<!doctype html><html lang=en><head><title>Everything</title>
<meta id=meta name=csrf-token content=aaaa></head><body>
<!-- a comment -->
<nav><a id=link href="/a?page=1">Next</a> <a id=out href="/out?csrf_token=a1b2&to=/x">Out</a></nav>
<h1 id=head>Heading</h1><p id=text data-note=1 class=plain>Some text</p><p id=long>LONG</p>
<form id=form action="/send"><input type=hidden id=item name=item value=17>
<input type=hidden id=csrf name=csrf_token value=aaaa>
<label>Name <input id=name value="Ada"></label><label>Mail <input id=mail type=email placeholder="you@example.org"></label>
<input id=pass type=password aria-label=Password value=abcd>
<label><input id=box type=checkbox name=box value=1> Box</label>
<label><input id=r1 type=radio name=r checked> One</label><label><input id=r2 type=radio name=r> Two</label>
<select id=plan aria-label=Plan><option>Free<option>Paid<option>Gold</select>
<select id=many multiple aria-label=Many><option>x<option>y</select>
<textarea id=area aria-label=Area>words</textarea><button id=go name=go value=1>Go</button></form>
<details id=det><summary>More</summary><p>inside</p></details>
<button id=toggle aria-pressed=false>Toggle</button><button id=menu aria-expanded=false>Menu</button>
<div id=tab role=tab aria-selected=false tabindex=0>Tab</div><progress id=bar aria-label=Bar value=1 max=9></progress>
<p id=hidden hidden>Hidden</p><ul id=list><li>one<li>two</ul>
<div id=pane style="height:60px;width:200px;overflow:auto"><div style="height:400px">pane</div></div>
<iframe id=frame src=/frame style="height:60px"></iframe><x-box id=xbox></x-box><dialog id=dlg>Sure?</dialog>
<p>It is <span id=clock>10:00:00</span></p><p id=ago>saved just now</p><img id=pic alt=Picture src=/a.png>
<div style="height:2000px"></div><p>foot</p>
<script>
customElements.define('x-box', class extends HTMLElement {
    connectedCallback() { this.attachShadow({mode: 'open'}).innerHTML = '<p id=in>shadow</p>'; } });
addEventListener('load', () => { CHANGE });
</script></body></html>"#;

struct Lab {
    pages: Pages,
    world: BrowserWorld,
    cx: Cx,
}

impl Lab {
    async fn new(start: &str) -> Self {
        let frame = "<p id=far>frame text</p><button id=fb>Frame button</button>";
        let pages = Pages::serve(&[("/frame", frame), ("/two", "<title>Two</title>two")]).await;
        let config = BrowserConfig {
            screenshots: false,
            settle: Duration::from_secs(3),
            ..BrowserConfig::default()
        };
        let site = Arc::new(pages.clone());
        let world = BrowserWorld::new(config, site, start, Writes::Hold, None);
        Self {
            pages,
            world,
            cx: Cx::default(),
        }
    }

    /// The page with one change, freshly loaded.
    async fn open(&self, change: &str) -> Box<dyn Environment> {
        let long = "long text with many words ".repeat(40);
        let page = EVERYTHING.replace("LONG", &long).replace("CHANGE", change);
        self.pages.add("/", Answer::html(&page));
        self.world.open(Seed(1), &self.cx).await.unwrap()
    }

    async fn digest(&self, change: &str) -> Digest {
        let mut env = self.open(change).await;
        let seen = env.observe(&self.cx).await.unwrap();
        env.close(&self.cx).await.unwrap();
        seen.digest
    }
}

/// What an agent can see or use: another state each.
const SEEN: &[(&str, &str)] = &[
    ("URL, by fragment", "history.replaceState(0, '', '#two')"),
    ("URL, by query", "history.replaceState(0, '', '?q=2')"),
    ("title", "document.title = 'Other'"),
    ("text", "text.textContent = 'Some other text'"),
    (
        "text far behind what is shown",
        "long.firstChild.appendData('x')",
    ),
    ("heading", "head.textContent = 'Head'"),
    ("heading level", "head.setAttribute('aria-level', 2)"),
    ("role", "link.setAttribute('role', 'button')"),
    ("name", "link.setAttribute('aria-label', 'Forward')"),
    ("link target", "link.href = '/a?page=2'"),
    ("form action", "form.setAttribute('action', '/delete')"),
    ("hidden field that is sent", "item.value = 18"),
    ("value", "document.getElementById('name').value = 'Bob'"),
    (
        "value by one space",
        "document.getElementById('name').value = 'Ada '",
    ),
    ("placeholder", "mail.placeholder = 'me@example.org'"),
    ("password of the same length", "pass.value = 'abce'"),
    ("textarea", "area.value = 'other words'"),
    ("checked", "box.checked = true"),
    ("mixed", "box.indeterminate = true"),
    ("what a box sends", "box.value = 2"),
    ("radio", "r2.checked = true"),
    ("selected option", "plan.selectedIndex = 1"),
    ("selected options", "many.options[1].selected = true"),
    ("option list", "plan.add(new Option('Platinum'))"),
    ("option disabled", "plan.options[2].disabled = true"),
    ("details open", "det.open = true"),
    ("expanded", "menu.setAttribute('aria-expanded', 'true')"),
    ("pressed", "toggle.setAttribute('aria-pressed', 'true')"),
    ("selected", "tab.setAttribute('aria-selected', 'true')"),
    ("current", "link.setAttribute('aria-current', 'page')"),
    ("tooltip", "go.title = 'Sends it'"),
    ("description", "go.setAttribute('aria-describedby', 'text')"),
    ("disabled", "go.disabled = true"),
    (
        "readonly",
        "document.getElementById('name').readOnly = true",
    ),
    ("required", "mail.required = true"),
    ("invalid", "mail.setAttribute('aria-invalid', 'true')"),
    ("most characters", "mail.maxLength = 3"),
    ("focus", "mail.focus()"),
    ("focus elsewhere", "document.getElementById('name').focus()"),
    (
        "caret",
        "const f = document.getElementById('name'); f.focus(); f.setSelectionRange(0, 1)",
    ),
    (
        "scroll of the page",
        "scrollTo({top: 300, behavior: 'instant'})",
    ),
    ("scroll of a pane", "pane.scrollTop = 40"),
    (
        "iframe text",
        "frame.contentDocument.getElementById('far').textContent = 'x'",
    ),
    (
        "iframe control",
        "frame.contentDocument.getElementById('fb').disabled = true",
    ),
    ("iframe scroll", "frame.contentWindow.scrollTo(0, 10)"),
    ("iframe gone", "frame.remove()"),
    (
        "shadow text",
        "xbox.shadowRoot.getElementById('in').textContent = 'x'",
    ),
    ("hidden made visible", "hidden.hidden = false"),
    ("visible made hidden", "text.style.visibility = 'hidden'"),
    ("order", "list.append(list.firstElementChild)"),
    ("grouping", "list.innerHTML = '<li>one<br>two'"),
    (
        "one more item",
        "list.append(document.createElement('li')); list.lastChild.textContent = 'three'",
    ),
    ("dialog", "dlg.show()"),
    ("modal dialog", "dlg.showModal()"),
    ("editable", "text.contentEditable = true"),
    ("clickable", "text.onclick = () => 0"),
    ("progress", "bar.value = 2"),
    ("picture", "pic.src = '/b.png'"),
    ("a time without seconds", "clock.textContent = '10:01'"),
];

/// What nobody can see or use, or what changes by itself: the same state.
const UNSEEN: &[(&str, &str)] = &[
    ("token in a hidden field", "csrf.value = 'bbbb'"),
    ("token in a meta element", "meta.content = 'bbbb'"),
    (
        "token in a link's target",
        "out.href = '/out?csrf_token=c3d4&to=/x'",
    ),
    ("token in the URL", "history.replaceState(0, '', '/')"),
    ("nonce of a script", "document.scripts[0].nonce = 'r4nd0m'"),
    ("running clock", "clock.textContent = '10:00:01'"),
    ("seconds since", "ago.textContent = 'saved 12 seconds ago'"),
    (
        "comment",
        "document.body.append(document.createComment('x'))",
    ),
    (
        "script",
        "document.body.append(document.createElement('script'))",
    ),
    ("data attribute", "text.dataset.note = 2"),
    ("class that changes nothing", "text.className = 'other'"),
    (
        "empty element",
        "document.body.append(document.createElement('span'))",
    ),
    (
        "template",
        "document.body.append(document.createElement('template'))",
    ),
    (
        "disabled hidden field",
        "const h = document.createElement('input'); h.type = 'hidden'; h.name = 'z'; h.value = 1; h.disabled = true; form.append(h)",
    ),
    // An agent sees of cookies and storage what the page makes of them; restores put them back.
    ("cookie", "document.cookie = 'a=1'"),
    ("storage", "localStorage.a = 1"),
    ("variable", "window.counter = 7"),
    ("text of a closed dialog", "dlg.textContent = 'Really?'"),
];

#[tokio::test(flavor = "multi_thread")]
async fn browser_digest_differs_by_each_thing_that_can_be_seen_or_used() {
    let lab = Lab::new("/").await;
    let base = lab.digest("").await;
    assert_eq!(base, lab.digest("").await, "two loads are one state");
    let mut seen = std::collections::HashMap::from([(base, "nothing")]);
    let mut wrong = Vec::new();
    for &(name, change) in SEEN {
        if let Some(other) = seen.insert(lab.digest(change).await, name) {
            wrong.push(format!("{name}: the same digest as {other}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_digest_is_equal_for_what_nobody_can_see_or_use() {
    let lab = Lab::new("/").await;
    let base = lab.digest("").await;
    let mut wrong = Vec::new();
    for &(name, change) in UNSEEN {
        if lab.digest(change).await != base {
            wrong.push(name);
        }
    }
    assert_eq!(wrong, Vec::<&str>::new());
    // In the page's own URL a token is masked, and everything else is not.
    let at = |start: &'static str| async move {
        let lab = Lab::new(start).await;
        lab.digest("").await
    };
    let first = at("/?csrf_token=aaaa&to=x").await;
    assert_eq!(first, at("/?csrf_token=bbbb&to=x").await);
    assert_ne!(first, at("/?csrf_token=aaaa&to=y").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_digest_counts_tabs_and_which_is_active() {
    let lab = Lab::new("/").await;
    let act = |name, arguments| Action::new(name, arguments);
    let mut env = lab.open("").await;
    let mut digests = vec![env.observe(&lab.cx).await.unwrap().digest];
    for action in [
        act("tab_open", json!({"url": "/"})),
        act("tab_switch", json!({"index": 1})),
        act("tab_open", json!({"url": "/two"})),
        act("tab_switch", json!({"index": 1})),
    ] {
        let step = env.act(&action, &lab.cx).await.unwrap();
        assert!(matches!(step, Step::Done { .. }), "{action}: {step:?}");
        digests.push(env.observe(&lab.cx).await.unwrap().digest);
    }
    let distinct: std::collections::HashSet<_> = digests.iter().collect();
    assert_eq!(distinct.len(), digests.len(), "{digests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_digest_counts_what_the_tabs_in_the_background_show() {
    let lab = Lab::new("/").await;
    let mut env = lab.open("").await;
    let seen = env.observe(&lab.cx).await.unwrap();
    let on = |name: &str| {
        let mut found = seen.elements.iter();
        let found = found.find(|e| e.interactive && e.name == name).unwrap();
        json!({ "ref": found.r#ref, "text": "Bob" })
    };
    let check = json!({ "ref": on("Box")["ref"], "on": true });
    let mut act = async |name: &str, arguments| {
        let step = env.act(&Action::new(name, arguments), &lab.cx).await;
        assert!(matches!(step.unwrap(), Step::Done { .. }), "{name}");
        env.observe(&lab.cx).await.unwrap().digest
    };
    let mut digests = vec![act("tab_open", json!({"url": "/two"})).await];
    assert_eq!(digests[0], act("find", json!({"text": "two"})).await);
    for (name, arguments) in [
        ("fill", on("Name")),
        ("check", check),
        ("scroll", json!({"direction": "down"})),
    ] {
        act("tab_switch", json!({"index": 1})).await;
        act(name, arguments).await;
        digests.push(act("tab_switch", json!({"index": 2})).await);
    }
    let distinct: std::collections::HashSet<_> = digests.iter().collect();
    assert_eq!(distinct.len(), digests.len(), "{digests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_digest_never_shows_a_password() {
    let lab = Lab::new("/").await;
    let mut env = lab.open("pass.value = 'hunter2hunter2'").await;
    let seen = env.observe(&lab.cx).await.unwrap();
    let snapshot = env.snapshot(&lab.cx).await.unwrap();
    for text in [
        serde_json::to_string(&seen).unwrap(),
        serde_json::to_string(&snapshot).unwrap(),
    ] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

// ---- places that differ with every load

/// A page that is made for every request, from a counter.
async fn counted(page: fn(u32) -> String) -> (Pages, Arc<BrowserWorld>) {
    let pages = Pages::serve(&[("/next", "<title>Next</title>next")]).await;
    pages.make("/", page);
    let config = BrowserConfig {
        screenshots: false,
        settle: Duration::from_secs(3),
        double_load: true,
        ..BrowserConfig::default()
    };
    let site = Arc::new(pages.clone());
    let world = BrowserWorld::new(config, site, "/", Writes::Hold, None);
    (pages, Arc::new(world))
}

async fn start(world: &BrowserWorld) -> (Box<dyn Environment>, Observation) {
    let cx = Cx::default();
    let mut env = world.open(Seed(1), &cx).await.unwrap();
    let seen = env.observe(&cx).await.unwrap();
    (env, seen)
}

fn warning(seen: &Observation) -> Option<&str> {
    let mut notices = seen.notices.iter();
    let found = notices.find(|n| n.kind == NoticeKind::Other && n.text.contains("each time"));
    found.map(|notice| notice.text.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_mask_hides_what_two_loads_show_differently_and_only_that() {
    let (pages, world) = counted(|n| {
        format!(
            "<title>Shop ({n} online)</title><h1>Shop</h1><p>You are visitor {n} of 9, cart: 0 items</p>
             <form action=/next><input type=hidden name=step value=x{n}><input aria-label=Note>
             <button>Go</button></form><a href='/next?from=home&click={n}'>Next</a>
             <img alt=Ad src='/ad{n}.png'><p>Quote: {}</p>",
            if n % 2 == 0 { "less is more" } else { "to be or not to be" }
        )
    })
    .await;
    let cx = Cx::default();
    let (mut env, first) = start(&world).await;
    assert_eq!(pages.requests().iter().filter(|r| *r == "GET /").count(), 2);
    assert_eq!(warning(&first), None);
    // A third and a fourth load are the same state, and a restore that asks the server is verified.
    let (mut other, second) = start(&world).await;
    assert_eq!(pages.requests().iter().filter(|r| *r == "GET /").count(), 3);
    assert_ne!(first.elements, second.elements);
    assert_eq!(first.digest, second.digest);
    let root = env.snapshot(&cx).await.unwrap();
    let restored = other.restore(&root, &cx).await.unwrap();
    assert_eq!(
        other.observe(&cx).await.unwrap().digest,
        root.digest,
        "{restored:?}"
    );
    // What was not seen to differ still counts, in the same sentence, too.
    for (from, to) in [
        ("cart: 0", "cart: 1"),
        ("Shop</h1>", "Shop!</h1>"),
        ("from=home", "from=away"),
        ("aria-label=Note", "aria-label=Note value=x"),
    ] {
        let page = "<title>Shop (7 online)</title><h1>Shop</h1><p>You are visitor 7 of 9, cart: 0 items</p>
             <form action=/next><input type=hidden name=step value=x7><input aria-label=Note>
             <button>Go</button></form><a href='/next?from=home&click=7'>Next</a>
             <img alt=Ad src='/ad7.png'><p>Quote: less is more</p>";
        pages.add("/", Answer::html(page));
        assert_eq!(start(&world).await.1.digest, first.digest);
        assert!(page.contains(from));
        pages.add("/", Answer::html(&page.replace(from, to)));
        assert_ne!(start(&world).await.1.digest, first.digest, "{from} -> {to}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_mask_gives_up_on_a_site_that_answers_differently_each_time() {
    // What can be acted upon is never masked: an A/B test of a button is another state.
    let (_pages, world) = counted(|n| {
        let label = if n % 2 == 0 { "Buy now" } else { "Add to cart" };
        format!("<title>Shop</title><p>Visitor {n}</p><button>{label}</button>")
    })
    .await;
    let (_env, first) = start(&world).await;
    let text = warning(&first).unwrap();
    assert!(
        text.contains("Buy now") && text.contains("Add to cart"),
        "{text}"
    );
    assert!(
        !text.contains("Visitor"),
        "what is masked is no trouble: {text}"
    );
    // Nor is a page of which much differs.
    let (_pages, world) = counted(|n| {
        let rows = (0..10).map(|row| format!("<p>Ad {row}: offer {}</p>", n * 10 + row));
        format!("<title>Ads</title>{}", rows.collect::<String>())
    })
    .await;
    let (_env, first) = start(&world).await;
    let text = warning(&first).unwrap();
    assert!(text.contains("and 7 more"), "{text}");
    let (_env, second) = start(&world).await;
    assert_ne!(first.digest, second.digest, "nothing is hidden then");
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_inspection_tells_what_a_site_is_like() {
    let pages = Pages::serve(&[("/next", "<title>Next</title><p>next</p>")]).await;
    pages.make("/", |n| {
        format!(
            "<title>Shop</title><p id=seen>visitor {n}</p><input aria-label=Search><input type=hidden name=a value=1>
             <a href=/logout>Log out</a><a href=/next>Next</a><iframe src=/next></iframe><script>
             document.cookie = 'theme=dark; max-age=1000'; fetch('/track', {{method: 'POST'}}).catch(() => 0);
             navigator.serviceWorker.register('/sw.js');</script>"
        )
    });
    let script = ("content-type".to_owned(), "text/javascript".to_owned());
    pages.add(
        "/sw.js",
        Answer {
            status: 200,
            headers: vec![script],
            body: "addEventListener('fetch', () => 0)".to_owned(),
        },
    );
    let (origin, cx) = (pages.real_origin(), Cx::default());
    let report = inspect(BrowserConfig::default(), origin, &cx)
        .await
        .unwrap();
    assert!(report.is_good(), "{report:?}");
    let [difference] = &report.differences[..] else {
        panic!("{report:?}")
    };
    assert_eq!(difference.masked.as_deref(), Some("visitor ▒"));
    assert_eq!(difference.place, "text at #seen");
    let tried: Vec<&str> = report
        .restores
        .iter()
        .map(|back| back.state.as_str())
        .collect();
    assert_eq!(
        tried,
        [
            "fill textbox \"Search\"",
            "the start",
            "click link \"Next\""
        ]
    );
    assert_eq!(report.cookies, ["theme"]);
    assert_eq!(report.service_workers, [format!("{origin}/")]);
    let covered = report.covered;
    assert_eq!(
        (covered.fields, covered.frames, covered.hidden),
        (1, 1, 1),
        "{covered:?}"
    );
    let asked = pages.requests();
    assert!(
        !asked
            .iter()
            .any(|r| r.starts_with("POST") || r.contains("logout")),
        "{asked:?}"
    );
    let error = inspect(BrowserConfig::default(), "shop.example", &cx)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("an http or https URL is expected"),
        "{error}"
    );
}
