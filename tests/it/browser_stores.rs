//! Pages that keep something in `IndexedDB` or Cache Storage: brought back from the record with it, or
//! a named reason.

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use branchline::env::browser::{BrowserConfig, RestoreLimits};
use branchline::types::{Action, MissReason, Observation, Rung, Writes};
use serde_json::json;

use crate::support::lane::{Lane, Served, config, full_chromium, page, ways};

/// A cart in `IndexedDB`, on every page that begins with this. `THING` is what a line of it holds.
const CART: &str = r#"<!doctype html><meta charset=utf-8><title>Shop</title><ul id=list></ul>
<button onclick="add()">Add</button> <button onclick="details()">Details</button>
<a href=/cart>Cart</a> <a href=/away>Away</a><pre id=out></pre>
<script>
const asked = (r) => new Promise((ok, no) => { r.onsuccess = () => ok(r.result); r.onerror = () => no(r.error); });
const busy = () => setTimeout(() => {}, 290); // no rest before the database has answered
const shop = (() => {
    const r = indexedDB.open('shop', 3);
    r.onupgradeneeded = () => {
        const lines = r.result.createObjectStore('lines', { keyPath: 'id', autoIncrement: true });
        lines.createIndex('tag', 'tags', { multiEntry: true });
        r.result.createObjectStore('notes');
    };
    return asked(r);
})();
const all = async () => asked((await shop).transaction('lines').objectStore('lines').getAll());
const show = async () => { busy(); list.innerHTML = (await all()).map((line) => `<li>line ${line.id}`).join(''); };
const add = async () => {
    busy();
    const t = (await shop).transaction(['lines', 'notes'], 'readwrite');
    t.objectStore('lines').add({ at: new Date(), tags: ['a', 'b'], thing: THING });
    t.objectStore('notes').put(Math.random(), [1, 'last']);
    await new Promise((ok) => { t.oncomplete = ok; });
    show();
};
const details = async () => {
    busy();
    const lines = await all();
    const tagged = await asked((await shop).transaction('lines').objectStore('lines').index('tag').count('b'));
    const last = await asked((await shop).transaction('notes').objectStore('notes').get([1, 'last']));
    out.textContent = lines.map(({ id, at, thing }) => `${id} ${at instanceof Date} ms=${at.getTime()}
        ${Object.prototype.toString.call(thing)} ${thing.bytes} ${thing.big} ${[...thing.map || []]} ${thing.none}`)
        .join('\n') + `\n${tagged} ${last}`;
};
show();
</script>"#;
const THING: &str = "{ bytes: new Uint8Array([1, 2, 255]), big: 12n, map: new Map([[1, { x: NaN }]]), none: undefined }";

const AWAY: &str = "<title>Away</title><p>elsewhere</p>";

async fn shop(thing: &str) -> Served {
    let cart = CART.replace("THING", thing);
    let second = cart.replace("<title>Shop", "<title>Cart");
    let show = |body: String| get(move || std::future::ready(Html(body)));
    let app = Router::new()
        .route("/", show(cart))
        .route("/cart", show(second))
        .route("/away", page(AWAY));
    Served::with(app).await
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_restores_a_cart_that_a_page_keeps_in_indexeddb() {
    let mut site = shop(THING).await;
    let mut lane = Lane::open(&site, config(), Writes::Hold).await;
    lane.click("Add").await;
    lane.click("Add").await;
    // The next document finds two lines and adds a third.
    lane.click("Cart").await;
    lane.click("Add").await;
    let (three, seen) = lane.state().await;
    assert!(seen.text.contains("line 3"), "{}", seen.text);
    lane.click("Details").await;
    let told = lane.observe().await.text;
    assert!(
        told.contains("3 true ms=") && told.contains("1,2,255 12"),
        "{told}"
    );
    lane.click("Add").await;
    lane.click("Away").await;
    site.down().await;
    let restored = lane.restore(&three).await;
    assert_eq!(restored.rung, Rung::Document, "{restored:?}");
    assert_eq!(ways(&restored.misses), []);
    assert_eq!(lane.observe().await.digest, seen.digest);
    // Times, the value of a random number and all kinds of values are the ones that were kept.
    lane.click("Details").await;
    assert_eq!(lane.observe().await.text, told);
    // The counter of the store, too: the fourth line is the fourth.
    assert_eq!(lane.restore(&three).await.rung, Rung::Document);
    lane.click("Add").await;
    let text = lane.observe().await.text;
    assert!(
        text.contains("line 4") && !text.contains("line 5"),
        "{text}"
    );
    // Nor is it the page's first document that it is restored into.
    assert_eq!(lane.observe().await.title, "Cart");
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_leaves_databases_that_several_tabs_use_to_a_replay() {
    let site = shop("1").await;
    let mut lane = Lane::open(&site, config(), Writes::Hold).await;
    let open = Action::new("tab_open", json!({"url": "/cart"}));
    lane.act(&open).await;
    lane.click("Add").await;
    let (two, seen) = lane.state().await;
    lane.act(&Action::new("tab_close", json!({"index": 1})))
        .await;
    let (one, alone) = lane.state().await;
    lane.click("Away").await;
    let restored = lane.restore(&two).await;
    assert_eq!(restored.rung, Rung::Replay, "{restored:?}");
    let missed = [(Rung::Document, MissReason::ClientStore)];
    assert_eq!(ways(&restored.misses), missed);
    assert_eq!(lane.observe().await.digest, seen.digest);
    let restored = lane.restore(&one).await;
    assert_eq!(restored.rung, Rung::Document, "{restored:?}");
    assert_eq!(lane.observe().await.digest, alone.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_names_what_a_page_keeps_that_cannot_be_put_back() {
    let limited = BrowserConfig {
        restore: RestoreLimits {
            stores: 100,
            ..RestoreLimits::default()
        },
        ..config()
    };
    let of_blob = "IndexedDB shop/lines: a value is of type Blob";
    let of_twice = "IndexedDB shop/lines: an object is in it twice";
    let of_size = "IndexedDB shop/lines: more than 100 bytes are kept";
    for (thing, config, reason) in [
        ("new Blob(['x'])", config(), of_blob),
        ("((one) => [one, one])({})", config(), of_twice),
        (THING, limited, of_size),
    ] {
        let site = shop(thing).await;
        let mut lane = Lane::open(&site, config, Writes::Hold).await;
        lane.click("Add").await;
        let (one, seen) = lane.state().await;
        lane.click("Away").await;
        let restored = lane.restore(&one).await;
        assert_eq!(restored.rung, Rung::Replay, "{reason}: {restored:?}");
        let missed = [(Rung::Document, MissReason::ClientStore)];
        assert_eq!(ways(&restored.misses), missed, "{reason}");
        assert_eq!(restored.misses[0].detail, reason);
        assert_eq!(lane.observe().await.digest, seen.digest);
        // A later document of the site finds it, and cannot have it put in place either.
        lane.click("Cart").await;
        let (cart, _) = lane.state().await;
        lane.click("Away").await;
        let restored = lane.restore(&cart).await;
        assert_eq!(ways(&restored.misses), missed, "{reason}");
    }
}

/// What it was told last, from a cache.
const OFFLINE: &str = r"<title>Offline</title><p id=out></p><button onclick=save()>Save</button>
    <button onclick=load()>Load</button><a href=/next>Next</a> <a href=/away>Away</a><script>
    const busy = () => setTimeout(() => {}, 290);
    const save = async () => {
        busy();
        const cache = await caches.open('pages');
        await cache.put('/kept', new Response('kept at ' + Math.random(), { headers: { 'x-of': 'cache' } }));
        load();
    };
    const load = async () => {
        busy();
        const kept = await caches.match('/kept');
        out.textContent = kept ? `${await kept.text()} ${kept.headers.get('x-of')}` : 'nothing';
    };
    load();</script>";

async fn offline() -> Served {
    let app = Router::new()
        .route("/", page(OFFLINE))
        .route("/next", page(OFFLINE))
        .route("/away", page(AWAY));
    Served::with(app).await
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_restores_a_page_that_keeps_responses_in_cache_storage() {
    let mut site = offline().await;
    let mut lane = Lane::open(&site, config(), Writes::Hold).await;
    let (none, _) = lane.state().await;
    lane.click("Load").await;
    let nothing = lane.observe().await;
    assert!(nothing.text.contains("nothing"), "{}", nothing.text);
    lane.click("Save").await;
    lane.click("Next").await;
    let (kept, _) = lane.state().await;
    lane.click("Load").await;
    let loaded = lane.observe().await;
    assert!(loaded.text.contains("kept at 0."), "{}", loaded.text);
    assert!(loaded.text.contains(" cache"), "{}", loaded.text);
    lane.click("Away").await;
    site.down().await;
    for (state, told) in [(&none, nothing), (&kept, loaded)] {
        let restored = lane.restore(state).await;
        assert_eq!(restored.rung, Rung::Document, "{restored:?}");
        lane.click("Load").await;
        assert_eq!(lane.observe().await.digest, told.digest);
    }
}

/// What it was told last, from a database.
const NOTES: &str = r"<title>Notes</title><p id=out></p><button onclick=save()>Save</button>
    <button onclick=load()>Load</button><a href=/next>Next</a><script>
    const busy = () => setTimeout(() => {}, 290);
    const asked = (r) => new Promise((ok, no) => { r.onsuccess = () => ok(r.result); r.onerror = () => no(r.error); });
    const r = indexedDB.open('desk', 1);
    r.onupgradeneeded = () => r.result.createObjectStore('notes');
    const desk = asked(r);
    const notes = async (mode) => (await desk).transaction('notes', mode).objectStore('notes');
    const save = async () => { busy(); await asked((await notes('readwrite')).put(Math.random(), 'last')); load(); };
    const load = async () => { busy(); out.textContent = `noted ${await asked((await notes('readonly')).get('last'))}`; };
    load();</script>";

#[tokio::test(flavor = "multi_thread")]
async fn chromium_puts_stores_right_under_a_page_that_it_kept() {
    let Some(binary) = full_chromium() else {
        return;
    };
    let config = BrowserConfig {
        binary: Some(binary),
        ..config()
    };
    let notes = Router::new().route("/", page(NOTES));
    let notes = Served::with(notes.route("/next", page(NOTES))).await;
    for site in [offline().await, notes] {
        let mut lane = Lane::open(&site, config.clone(), Writes::Hold).await;
        let told = |seen: &Observation| seen.text.lines().nth(1).unwrap().to_owned();
        lane.click("Save").await;
        let (kept, seen) = lane.state().await;
        lane.click("Next").await;
        lane.click("Save").await;
        lane.click("Save").await;
        assert_ne!(told(&lane.state().await.1), told(&seen));
        let restored = lane.restore(&kept).await;
        assert_eq!(restored.rung, Rung::History, "{restored:?}");
        // The page is the one that was left; what it asks its stores for now is what they held then.
        lane.click("Load").await;
        assert_eq!(told(&lane.observe().await), told(&seen));
    }
    // The counter of a store does not go back while a page has it open.
    let site = shop(THING).await;
    let mut lane = Lane::open(&site, config, Writes::Hold).await;
    lane.click("Add").await;
    let (one, seen) = lane.state().await;
    lane.click("Cart").await;
    lane.click("Add").await;
    lane.state().await;
    let restored = lane.restore(&one).await;
    assert_eq!(restored.rung, Rung::Document, "{restored:?}");
    let missed = [(Rung::History, MissReason::ClientStore)];
    assert_eq!(ways(&restored.misses), missed);
    let detail = &restored.misses[0].detail;
    assert_eq!(detail, "the IndexedDB shop/lines has given out keys since");
    assert_eq!(lane.observe().await.digest, seen.digest);
}
