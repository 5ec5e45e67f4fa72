//! Documents that a POST brought: a way back to one sends nothing again.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::header;
use axum::response::{Html, Redirect};
use axum::routing::post;
use branchline::env::browser::{BrowserConfig, RestoreLimits};
use branchline::eval::{AnswerTest, Check, Outcome};
use branchline::runtime::{Job, RunLimits};
use branchline::search::{Budget, SearchConfig, StrategyKind};
use branchline::types::{Action, MissReason, Rung, Seed, Step, View, Writes};
use serde_json::json;

use crate::runtime::{critic, policy, quiet};
use crate::support::lane::{Lane, Served, click, config, page};

const SHOP: &str = "<title>Shop</title>
    <form method=post action=/order><input type=hidden name=what value=lamp><button>Order</button></form>
    <form method=post action=/parts><button>Order in parts</button></form>
    <form method=post action=/moved><button>Order elsewhere</button></form>
    <form method=post action=/moved-for-good><button>Order for good</button></form>
    <form method=post action=/abroad><button>Order abroad</button></form>
    <form method=post action=/order#thanks><button>Order below</button></form>
    <a href=/order>Orders</a>";
const TERMS: &str = "<title>Terms</title><p>no way on</p>";
const RECEIPT: &str = "<title>Receipt</title><p>paid</p>";

/// A shop that answers an order with a page, and how many orders it got.
fn shop() -> (Router, Arc<AtomicU32>) {
    let orders = Arc::new(AtomicU32::new(0));
    let thanks = |count: u32| {
        format!(
            "<title>Thanks</title><h1 id=thanks>Order {count}</h1><p id=out>0</p>
            <button onclick='out.textContent = ++n'>More</button>
            <a href=/terms>Terms</a> <a href=/receipt>Receipt</a><script>let n = 0</script>"
        )
    };
    let count = {
        let orders = Arc::clone(&orders);
        move || orders.fetch_add(1, Ordering::SeqCst) + 1
    };
    let in_parts = count.clone();
    let order = move || std::future::ready(Html(thanks(count())));
    let parts = move || {
        let page = thanks(in_parts()).into_bytes();
        let parts: Vec<_> = page
            .chunks(60)
            .map(|part| Ok::<_, std::io::Error>(part.to_vec()))
            .collect();
        let body = Body::from_stream(futures_util::stream::iter(parts));
        std::future::ready(([(header::CONTENT_TYPE, "text/html")], body))
    };
    let forward = |redirect: Redirect| post(move || std::future::ready(redirect.clone()));
    let abroad = |headers: axum::http::HeaderMap| {
        let host = headers[header::HOST].to_str().unwrap();
        let elsewhere = host.replace("127.0.0.1", "localhost");
        std::future::ready(Redirect::temporary(&format!("http://{elsewhere}/order")))
    };
    let app = Router::new()
        .route("/", page(SHOP))
        .route("/abroad", post(abroad))
        .route("/order", page("<title>Orders</title>a list").post(order))
        .route("/parts", post(parts))
        .route("/moved", forward(Redirect::temporary("/order")))
        .route("/moved-for-good", forward(Redirect::permanent("/parts")))
        .route("/terms", page(TERMS))
        .route("/receipt", page(RECEIPT));
    (app, orders)
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_comes_back_to_what_a_released_post_answered() {
    for button in [
        "Order",
        "Order in parts",
        "Order elsewhere",
        "Order for good",
        "Order below",
    ] {
        let (app, orders) = shop();
        let site = Served::with(app).await;
        let mut lane = Lane::open(&site, config(), Writes::Hold).await;
        // The search looked at the list of orders before, at the same address.
        lane.click("Orders").await;
        lane.state().await;
        let mut committing = lane.another().await;
        let seen = committing.observe(&lane.cx).await.unwrap();
        let order = click(&seen, button);
        let shop = committing.snapshot(&lane.cx).await.unwrap();
        lane.restore(&shop).await;
        let seen = lane.observe().await;
        let held = lane.env.act(&click(&seen, button), &lane.cx).await.unwrap();
        let Step::Held { effects } = held else {
            panic!("{button}: {held:?}");
        };
        let sent = committing.release(&order, &effects, &lane.cx).await;
        assert!(matches!(sent, Ok(Step::Done { .. })), "{button}: {sent:?}");
        let seen = committing.observe(&lane.cx).await.unwrap();
        assert_eq!(
            (seen.title.as_str(), orders.load(Ordering::SeqCst)),
            ("Thanks", 1)
        );
        let thanks = committing.snapshot(&lane.cx).await.unwrap();
        for way in ["Terms", "Receipt"] {
            let restored = lane.restore(&thanks).await;
            assert_eq!(restored.rung, Rung::Document, "{button}: {restored:?}");
            assert_eq!(restored.misses, [], "{button}");
            assert_eq!(lane.observe().await.digest, seen.digest, "{button}");
            lane.click("More").await;
            lane.click("More").await;
            let (more, twice) = lane.state().await;
            assert!(twice.text.contains("\n2"), "{}", twice.text);
            lane.click(way).await;
            let restored = lane.restore(&more).await;
            assert_eq!(restored.rung, Rung::Document, "{button}: {restored:?}");
            assert_eq!(lane.observe().await.digest, twice.digest, "{button}");
            lane.click(way).await;
            assert_eq!(lane.observe().await.title, way);
        }
        assert_eq!(orders.load(Ordering::SeqCst), 1, "{button}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_holds_a_released_post_that_is_sent_on_to_another_server() {
    let (app, orders) = shop();
    let site = Served::with(app).await;
    let mut lane = Lane::open(&site, config(), Writes::Hold).await;
    let (start, seen) = lane.state().await;
    let order = click(&seen, "Order abroad");
    let Step::Held { effects } = lane.env.act(&order, &lane.cx).await.unwrap() else {
        panic!("an order is held");
    };
    lane.restore(&start).await;
    lane.observe().await;
    let sent = lane.env.release(&order, &effects, &lane.cx).await.unwrap();
    let Step::Held { effects } = sent else {
        panic!("{sent:?}");
    };
    let what: Vec<(bool, bool)> = effects
        .iter()
        .map(|e| (e.held, e.url.contains("//localhost:")))
        .collect();
    assert_eq!(what, [(true, true), (false, false)], "{effects:?}");
    assert_eq!(orders.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_gives_up_what_only_a_second_post_would_bring_back() {
    let (app, orders) = shop();
    let site = Served::with(app).await;
    let nothing = RestoreLimits {
        record: 10,
        ..RestoreLimits::default()
    };
    let config = BrowserConfig {
        restore: nothing,
        ..config()
    };
    let mut lane = Lane::open(&site, config, Writes::Hold).await;
    let seen = lane.observe().await;
    let order = click(&seen, "Order");
    let Step::Held { effects } = lane.env.act(&order, &lane.cx).await.unwrap() else {
        panic!("an order is held");
    };
    let mut committing = lane.another().await;
    committing.observe(&lane.cx).await.unwrap();
    let sent = committing.release(&order, &effects, &lane.cx).await;
    assert!(matches!(sent, Ok(Step::Done { .. })), "{sent:?}");
    let thanks = committing.snapshot(&lane.cx).await.unwrap();
    assert_eq!(
        lane.lost(&thanks).await,
        [
            (Rung::Document, MissReason::RecordFull),
            (Rung::Replay, MissReason::Unrepeatable)
        ]
    );
    assert_eq!(orders.load(Ordering::SeqCst), 1);
}

/// Orders, then reads on: the terms first, which lead nowhere.
fn order_and_read(button: &'static str) -> impl Fn(&View<'_>) -> Vec<Action> {
    move |view| match view.observation.title.as_str() {
        "Shop" => vec![click(view.observation, button)],
        "Thanks" => ["Terms", "Receipt"]
            .map(|link| click(view.observation, link))
            .to_vec(),
        title => vec![Action::new("stop", json!({ "answer": title }))],
    }
}

fn value(view: &View<'_>) -> f32 {
    match (view.observation.title.as_str(), view.answer) {
        (_, Some("Receipt")) => 1.0,
        (_, Some(_)) => 0.1,
        ("Shop", None) if !view.waiting.is_empty() => 0.9,
        ("Terms", None) => 0.6,
        _ => 0.5,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_searches_on_behind_a_post_that_a_page_answered() {
    for (button, requests) in [("Order", 1), ("Order elsewhere", 2)] {
        let (app, orders) = shop();
        let site = Served::with(app).await;
        let lane = Lane::open(&site, config(), Writes::Hold).await;
        let job = Job {
            goal: Some("order a lamp and read the receipt".to_owned()),
            search: SearchConfig {
                strategy: StrategyKind::BestFirst,
                budget: Budget {
                    steps: Some(12),
                    ..Budget::default()
                },
                ..SearchConfig::default()
            },
            policy: policy(order_and_read(button)),
            critic: critic(|view| Some(value(view))),
            world: lane.world.clone(),
            workers: NonZeroUsize::MIN,
            checks: vec![Check::Answer(AnswerTest::Exact("Receipt".to_owned()))],
            limits: RunLimits::default(),
            seed: Seed(1),
            retries: 0,
            dry_run: false,
        };
        let report = quiet(job).await.report;
        assert_eq!(
            report.verdict.outcome,
            Outcome::Solved,
            "{button}: {report:?}"
        );
        assert_eq!(
            (report.rounds, report.steps.commit_writes),
            (2, requests),
            "{button}"
        );
        assert_eq!(orders.load(Ordering::SeqCst), 1, "{button}");
        assert!(report.steps.lost.is_empty(), "{button}: {report:?}");
    }
}
