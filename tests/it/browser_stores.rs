//! Pages that keep something in `IndexedDB` or Cache Storage: brought back from the record with it, or
//! a named reason.

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use branchline::env::browser::{BrowserConfig, RestoreLimits};
use branchline::types::{Action, MissReason, Rung, Writes};
use serde_json::json;

use crate::support::lane::{Lane, Served, config, page, ways};

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

#[tokio::test(flavor = "multi_thread")]
async fn browser_restores_a_page_that_keeps_responses_in_cache_storage() {
    let offline = r"<title>Offline</title><p id=out></p><button onclick=save()>Save</button>
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
    let app = Router::new()
        .route("/", page(offline))
        .route("/next", page(offline))
        .route("/away", page(AWAY));
    let mut site = Served::with(app).await;
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
