//! The same pages with and without a browser: the same elements.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use branchline::context::Cx;
use branchline::demo::DemoSite;
use branchline::env::browser::{BrowserConfig, BrowserWorld};
use branchline::env::html::{HtmlConfig, HtmlWorld, compare};
use branchline::env::{Environment, World};
use branchline::types::{Action, Element, Observation, Seed, Step, Writes};
use serde_json::json;

use crate::support::site::Pages;

/// Pages of one kind (`/product/…`) that are compared.
const OF_A_KIND: usize = 2;

async fn go(env: &mut dyn Environment, action: &Action, cx: &Cx) -> Observation {
    let step = env.act(action, cx).await.unwrap();
    assert!(matches!(step, Step::Done { .. }), "{action}: {step:?}");
    env.observe(cx).await.unwrap()
}

fn goto(url: &str) -> Action {
    Action::new("goto", json!({ "url": url }))
}

/// What must agree: everything but the place on a screen that only a layout knows.
fn essence(seen: &Observation) -> Vec<Element> {
    let elements = seen.elements.iter().cloned();
    elements
        .map(|element| Element {
            visible: true,
            ..element
        })
        .collect()
}

fn assert_same(html: &Observation, browser: &Observation) {
    assert_eq!(html.url, browser.url);
    assert_eq!(html.title, browser.title, "{}", browser.url);
    let (mine, theirs) = (essence(html), essence(browser));
    for (a, b) in mine.iter().zip(&theirs) {
        assert_eq!(
            a, b,
            "{}:\n{}\n---\n{}",
            browser.url, html.text, browser.text
        );
    }
    assert_eq!(mine.len(), theirs.len(), "{}", browser.url);
    let fit = compare(html, browser);
    assert!(fit.is_enough(), "{}: {fit}", browser.url);
}

fn worlds(start: &str, writes: Writes) -> (HtmlWorld, BrowserWorld) {
    let config = BrowserConfig {
        screenshots: false,
        ..BrowserConfig::default()
    };
    (
        HtmlWorld::new(
            HtmlConfig::default(),
            Arc::new(DemoSite::new()),
            start,
            writes,
        ),
        BrowserWorld::new(config, Arc::new(DemoSite::new()), start, writes, None),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn html_browser_agree_on_the_shops_pages() {
    let cx = Cx::default();
    let (html, browser) = worlds("/", Writes::Hold);
    let mut html = html.open(Seed(0), &cx).await.unwrap();
    let mut browser = browser.open(Seed(0), &cx).await.unwrap();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut known = BTreeSet::from(["/".to_owned()]);
    let mut queue = std::collections::VecDeque::from(["/".to_owned()]);
    let mut compared = 0;
    while let Some(path) = queue.pop_front() {
        let mine = go(&mut *html, &goto(&path), &cx).await;
        let theirs = go(&mut *browser, &goto(&path), &cx).await;
        assert_same(&mine, &theirs);
        compared += 1;
        // Where its links lead, found by following each from here.
        let here = html.snapshot(&cx).await.unwrap();
        let links: Vec<String> = mine
            .elements
            .iter()
            .filter(|e| e.role == "link")
            .map(|e| e.r#ref.clone())
            .collect();
        for link in links {
            let at = go(
                &mut *html,
                &Action::new("click", json!({ "ref": link })),
                &cx,
            )
            .await;
            let path = at.url.trim_start_matches("http://shop.demo").to_owned();
            let kind = path[1..].split(['/', '?']).next().unwrap_or_default();
            let count = kinds.entry(kind.to_owned()).or_default();
            // The configurator is a script; everything else is not.
            if *count < OF_A_KIND && kind != "configurator" && known.insert(path.clone()) {
                *count += 1;
                queue.push_back(path);
            }
            html.restore(&here, &cx).await.unwrap();
        }
        if compared >= 20 {
            break;
        }
    }
    assert!(compared >= 10, "{compared} pages of {kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn html_browser_agree_along_a_way_with_forms() {
    let cx = Cx::default();
    let (html, browser) = worlds("/search?q=teapot", Writes::Checkpoint);
    let mut html = html.open(Seed(0), &cx).await.unwrap();
    let mut browser = browser.open(Seed(0), &cx).await.unwrap();
    let mut mine = html.observe(&cx).await.unwrap();
    let mut theirs = browser.observe(&cx).await.unwrap();
    assert_same(&mine, &theirs);
    let named = |seen: &Observation, role: &str, name: &str| {
        let found = seen
            .elements
            .iter()
            .find(|e| e.role == role && e.name.starts_with(name));
        found
            .unwrap_or_else(|| panic!("no {role} {name:?} in {}", seen.text))
            .r#ref
            .clone()
    };
    let on = |seen: &Observation, action: &str, role: &str, name: &str, more: serde_json::Value| {
        let mut arguments = more;
        arguments["ref"] = json!(named(seen, role, name));
        Action::new(action, arguments)
    };
    let product = mine
        .elements
        .iter()
        .find(|e| e.role == "link" && e.name.starts_with("Glass teapot"))
        .unwrap()
        .name
        .clone();
    let steps: Vec<(&str, &str, String, serde_json::Value)> = vec![
        ("click", "link", product, json!({})),
        (
            "fill",
            "spinbutton",
            "Quantity".to_owned(),
            json!({"text": "2"}),
        ),
        ("click", "button", "Add to cart".to_owned(), json!({})),
        (
            "fill",
            "spinbutton",
            "Quantity of".to_owned(),
            json!({"text": "3"}),
        ),
        ("click", "button", "Update".to_owned(), json!({})),
        ("click", "link", "Go to checkout".to_owned(), json!({})),
    ];
    for (action, role, name, more) in steps {
        mine = {
            let action = on(&mine, action, role, &name, more.clone());
            go(&mut *html, &action, &cx).await
        };
        theirs = {
            let action = on(&theirs, action, role, &name, more);
            go(&mut *browser, &action, &cx).await
        };
        assert_same(&mine, &theirs);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn html_browser_differ_where_scripts_make_the_page() {
    let pages = Pages::serve(&[(
        "/",
        "<title>App</title><div id=app></div><script>app.innerHTML = '<button>Start</button>'</script>",
    )])
    .await;
    let cx = Cx::default();
    let config = BrowserConfig {
        screenshots: false,
        ..BrowserConfig::default()
    };
    let html = HtmlWorld::new(
        HtmlConfig::default(),
        Arc::new(pages.clone()),
        "/",
        Writes::Hold,
    );
    let browser = BrowserWorld::new(config, Arc::new(pages), "/", Writes::Hold, None);
    let mine = html
        .open(Seed(0), &cx)
        .await
        .unwrap()
        .observe(&cx)
        .await
        .unwrap();
    let mut browser = browser.open(Seed(0), &cx).await.unwrap();
    let theirs = browser.observe(&cx).await.unwrap();
    assert!(
        mine.text
            .contains("! this page has scripts, which do not run here")
    );
    let fit = compare(&mine, &theirs);
    assert_eq!(fit.missing, ["button \"Start\""]);
    assert!(!fit.is_enough());
}
