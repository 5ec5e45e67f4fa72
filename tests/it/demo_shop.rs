//! The embedded shop over plain HTTP: every demo task is solvable along its gold path, the dead
//! ends are dead, and nothing that comes in breaks it.
#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use branchline::context::Cx;
use branchline::demo::{DemoError, DemoSite, serve};
use branchline::env::{Site, SiteInstance};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// A browser without a browser: follows redirects, keeps the cookie, reads forms and links.
struct Visitor {
    site: Box<dyn SiteInstance>,
    client: reqwest::Client,
    cookie: Option<String>,
    /// Path and query of the page.
    at: String,
    status: u16,
    page: String,
}

impl Visitor {
    async fn new() -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .unwrap();
        Self {
            site: DemoSite::new().lease(&Cx::default()).await.unwrap(),
            client,
            cookie: None,
            at: String::new(),
            status: 0,
            page: String::new(),
        }
    }

    /// A visitor at the start of a task.
    async fn at_start_of(task: &str) -> Self {
        let task = load(task);
        let mut visitor = Self::new().await;
        visitor.goto(task["start"]["path"].as_str().unwrap()).await;
        assert_eq!(visitor.status, 200, "{}", visitor.page);
        visitor
    }

    async fn send(&mut self, method: &str, path: &str, body: Option<String>) {
        let (mut method, mut path, mut body) = (method.to_owned(), path.to_owned(), body);
        for _ in 0..10 {
            let url = format!("{}{path}", self.site.origin());
            let mut request = self.client.request(method.parse().unwrap(), url);
            if let Some(cookie) = &self.cookie {
                request = request.header("cookie", cookie);
            }
            if let Some(body) = body.take() {
                request = request
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(body);
            }
            let response = request.send().await.unwrap();
            if let Some(cookie) = response.headers().get("set-cookie") {
                let cookie = cookie.to_str().unwrap();
                assert!(cookie.contains("HttpOnly"), "{cookie}");
                self.cookie = cookie.split(';').next().map(str::to_owned);
            }
            self.status = response.status().as_u16();
            let Some(next) = response.headers().get("location") else {
                self.at = path;
                self.page = response.text().await.unwrap();
                return;
            };
            path = next.to_str().unwrap().to_owned();
            "GET".clone_into(&mut method);
        }
        panic!("too many redirects, last to {path}");
    }

    async fn goto(&mut self, path: &str) {
        self.send("GET", path, None).await;
    }

    /// Follows the first link of this text.
    async fn click(&mut self, text: &str) {
        let links = elements(&self.page, "a");
        let link = links
            .iter()
            .find(|link| link.text() == text)
            .unwrap_or_else(|| panic!("no link “{text}” on {}", self.at));
        let href = link.attribute("href").unwrap().to_owned();
        self.goto(&href).await;
        assert_eq!(self.status, 200, "{} {}", self.at, self.page);
    }

    /// Fills in the first form with this action as a person could, and submits it.
    async fn submit(&mut self, action: &str, fill: &[(&str, &str)]) {
        let forms = elements(&self.page, "form");
        let form = forms
            .iter()
            .find(|form| form.attribute("action") == Some(action))
            .unwrap_or_else(|| panic!("no form to {action} on {}", self.at));
        let mut fields = form.fields();
        for (name, value) in fill {
            let field = fields
                .get_mut(*name)
                .unwrap_or_else(|| panic!("no field {name} in the form to {action}"));
            if let Some(allowed) = &field.allowed {
                assert!(
                    allowed.iter().any(|option| option == value),
                    "{name} cannot be {value}: {allowed:?}"
                );
            }
            (*value).clone_into(&mut field.value);
        }
        let body = encoded(
            fields
                .iter()
                .map(|(name, field)| (name.as_str(), field.value.as_str())),
        );
        if form.attribute("method") == Some("post") {
            self.send("POST", action, Some(body)).await;
        } else {
            self.goto(&format!("{action}?{body}")).await;
        }
    }

    async fn search(&mut self, words: &str) {
        self.submit("/search", &[("q", words)]).await;
    }

    /// The names of the products listed.
    fn listed(&self) -> Vec<String> {
        elements(&self.page, "h3")
            .iter()
            .map(Element::text)
            .collect()
    }

    async fn sql(&self, statement: &str) -> Value {
        self.site.sql(statement, &Cx::default()).await.unwrap()
    }

    /// What the single-page app sends at its end.
    async fn configure(&mut self, parts: [(&str, &str); 4]) {
        let app = elements(&self.page, "div");
        let csrf = app
            .iter()
            .find_map(|div| div.attribute("data-csrf"))
            .unwrap()
            .to_owned();
        let body = encoded(parts.into_iter().chain([("csrf", csrf.as_str())]));
        self.send("POST", "/api/configurator/cart", Some(body))
            .await;
    }

    /// Whether every check of the task holds here.
    async fn passes(&self, task: &str, answer: &str) -> bool {
        let task = load(task);
        let mut all = true;
        for check in task["check"].as_array().unwrap() {
            all &= self.holds(check, answer).await;
        }
        all
    }

    async fn holds(&self, check: &toml::Value, answer: &str) -> bool {
        let text = |key: &str| check.get(key).and_then(toml::Value::as_str);
        match text("kind").unwrap() {
            "answer" => {
                let number = check.get("number").map(|n| {
                    #[expect(clippy::cast_precision_loss, reason = "small numbers of a task")]
                    n.as_float()
                        .unwrap_or_else(|| n.as_integer().unwrap() as f64)
                });
                match (number, text("contains")) {
                    (Some(number), None) => answer
                        .trim_start_matches(['€', '−'])
                        .parse::<f64>()
                        .is_ok_and(|got| (got - number).abs() < 0.005),
                    (None, Some(part)) => answer.contains(part),
                    other => panic!("a check these tests do not know: {other:?}"),
                }
            }
            "url" => {
                let (path, query) = self.at.split_once('?').unwrap_or((&self.at, ""));
                let wanted = check.get("query").and_then(toml::Value::as_table);
                path == text("path").unwrap()
                    && wanted.into_iter().flatten().all(|(key, value)| {
                        let pair = format!("{key}={}", value.as_str().unwrap());
                        query.split('&').any(|other| other == pair)
                    })
            }
            "page" => {
                let within = match text("selector") {
                    Some(tag) => elements(&self.page, tag)
                        .iter()
                        .map(Element::text)
                        .collect::<Vec<_>>()
                        .join(" "),
                    None => stripped(&self.page),
                };
                within.contains(text("contains").unwrap())
            }
            "sql" => {
                let rows = self.sql(text("statement").unwrap()).await;
                rows == serde_json::to_value(&check["equals"]).unwrap()
            }
            other => panic!("a kind of check these tests do not know: {other}"),
        }
    }
}

fn load(task: &str) -> toml::Table {
    let path = format!("{}/tasks/demo/{task}.toml", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap().parse().unwrap()
}

/// An element of a page, found by its tag; elements of one tag do not nest here.
struct Element {
    attributes: Vec<(String, String)>,
    inner: String,
}

struct Field {
    value: String,
    /// The values that can be chosen, where it is a choice.
    allowed: Option<Vec<String>>,
}

impl Element {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    fn text(&self) -> String {
        stripped(&self.inner)
    }

    /// The fields of a form with what a browser would send untouched.
    fn fields(&self) -> BTreeMap<String, Field> {
        let mut fields = BTreeMap::new();
        for input in elements(&self.inner, "input") {
            let name = input.attribute("name").unwrap().to_owned();
            let value = input.attribute("value").unwrap_or_default().to_owned();
            if input.attribute("type") != Some("radio") {
                fields.insert(
                    name,
                    Field {
                        value,
                        allowed: None,
                    },
                );
                continue;
            }
            let field = fields.entry(name).or_insert(Field {
                value: String::new(),
                allowed: Some(Vec::new()),
            });
            if input.attribute("checked").is_some() {
                field.value.clone_from(&value);
            }
            field.allowed.as_mut().unwrap().push(value);
        }
        for select in elements(&self.inner, "select") {
            let options = elements(&select.inner, "option");
            let chosen = options
                .iter()
                .find(|option| option.attribute("selected").is_some())
                .unwrap_or(&options[0]);
            let value = |option: &Element| option.attribute("value").unwrap().to_owned();
            fields.insert(
                select.attribute("name").unwrap().to_owned(),
                Field {
                    value: value(chosen),
                    allowed: Some(options.iter().map(value).collect()),
                },
            );
        }
        for area in elements(&self.inner, "textarea") {
            fields.insert(
                area.attribute("name").unwrap().to_owned(),
                Field {
                    value: area.text(),
                    allowed: None,
                },
            );
        }
        fields
    }
}

fn elements(page: &str, tag: &str) -> Vec<Element> {
    let open = format!("<{tag}");
    let close = format!("</{tag}>");
    let mut found = Vec::new();
    for (at, _) in page.match_indices(&open) {
        let rest = &page[at + open.len()..];
        if !rest.starts_with([' ', '>']) {
            continue;
        }
        let end = rest.find('>').unwrap();
        let after = &rest[end + 1..];
        found.push(Element {
            attributes: attributes(&rest[..end]),
            inner: after[..after.find(&close).unwrap_or(0)].to_owned(),
        });
    }
    found
}

fn attributes(mut text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    loop {
        text = text.trim_start();
        if text.is_empty() {
            return found;
        }
        let end = text.find(['=', ' ']).unwrap_or(text.len());
        let name = text[..end].to_owned();
        text = &text[end..];
        let mut value = String::new();
        if let Some(quoted) = text.strip_prefix("=\"") {
            let end = quoted.find('"').unwrap();
            value = unescaped(&quoted[..end]);
            text = &quoted[end + 1..];
        }
        found.push((name, value));
    }
}

fn stripped(markup: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for c in markup.chars() {
        match c {
            '<' => inside = true,
            '>' => {
                inside = false;
                text.push(' ');
            }
            c if !inside => text.push(c),
            _ => {}
        }
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    unescaped(&words.join(" "))
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}

fn encoded<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let part = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                    char::from(byte).to_string()
                }
                other => format!("%{other:02X}"),
            })
            .collect()
    };
    fields
        .map(|(key, value)| format!("{}={}", part(key), part(value)))
        .collect::<Vec<_>>()
        .join("&")
}

// ---- every task has a way -------------------------------------------------------------------

/// Every task file, so that none is forgotten below.
#[test]
fn every_demo_task_has_a_gold_path_here() {
    let source = include_str!("demo_shop.rs");
    let folder = format!("{}/tasks/demo", env!("CARGO_MANIFEST_DIR"));
    let names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        // Tasks of calls start at the API, not on a page.
        .filter(|name| !name.starts_with("api-"))
        .collect();
    assert!(names.len() >= 12);
    for name in names {
        let task = load(&name);
        assert!(task["goal"].as_str().is_some_and(|goal| !goal.is_empty()));
        assert_eq!(task["start"]["site"].as_str(), Some("demo"), "{name}");
        assert!(
            source.contains(&format!("at_start_of(\"{name}\")")),
            "{name} has no gold path"
        );
    }
}

/// No task is solved where it starts.
#[tokio::test]
async fn no_task_is_solved_by_doing_nothing() {
    for entry in std::fs::read_dir(format!("{}/tasks/demo", env!("CARGO_MANIFEST_DIR"))).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name.starts_with("api-") {
            continue;
        }
        let visitor = Visitor::at_start_of(name).await;
        assert!(!visitor.passes(name, "").await, "{name}");
    }
}

#[tokio::test]
async fn open_the_weekend_duffel() {
    let mut v = Visitor::at_start_of("open-the-weekend-duffel").await;
    v.search("Harbour weekend duffel").await;
    assert_eq!(v.listed()[0], "Harbour weekend duffel");
    v.click("Harbour weekend duffel").await;
    assert!(v.passes("open-the-weekend-duffel", "").await);
}

#[tokio::test]
async fn keyboards_under_100() {
    let mut v = Visitor::at_start_of("keyboards-under-100").await;
    // The first form to /search is the shop's own search box; the filters are the second one.
    v.goto("/search?q=&category=keyboards&min=&max=100&sort=price-asc")
        .await;
    assert_eq!(
        v.listed(),
        [
            "Switch sampler",
            "Keycap set, 104 keys",
            "Wren compact keyboard",
            "Petrel wireless keyboard"
        ]
    );
    assert!(v.passes("keyboards-under-100", "").await);
    let forms = elements(&v.page, "form");
    let filters = forms
        .iter()
        .find(|form| form.attribute("class") == Some("filters"))
        .unwrap()
        .fields();
    let sent: Vec<(&str, &str)> = filters
        .iter()
        .map(|(name, field)| (name.as_str(), field.value.as_str()))
        .collect();
    assert_eq!(
        sent,
        [
            ("category", "keyboards"),
            ("max", "100"),
            ("min", ""),
            ("q", ""),
            ("sort", "price-asc")
        ]
    );
}

#[tokio::test]
async fn return_period() {
    let mut v = Visitor::at_start_of("return-period").await;
    v.click("Help").await;
    v.click("Returns and repairs").await;
    assert!(stripped(&v.page).contains("within 45 days"));
    assert!(v.passes("return-period", "45").await);
}

#[tokio::test]
async fn kettle_price() {
    let mut v = Visitor::at_start_of("kettle-price").await;
    v.search("Fjord gooseneck kettle").await;
    v.click("Fjord gooseneck kettle").await;
    assert!(stripped(&v.page).contains("from €68.00"));
    assert!(v.passes("kettle-price", "€68.00").await);
}

#[tokio::test]
async fn worst_reviews_of_the_quilt() {
    let mut v = Visitor::at_start_of("worst-reviews-of-the-quilt").await;
    v.search("Patchwork quilt").await;
    v.click("Patchwork quilt").await;
    v.submit("/product/patchwork-quilt", &[("reviews", "lowest")])
        .await;
    let stars: Vec<String> = elements(&v.page, "p")
        .iter()
        .filter(|p| p.attribute("class") == Some("by"))
        .map(|p| {
            p.text()
                .chars()
                .skip_while(|c| !c.is_ascii_digit())
                .take(1)
                .collect()
        })
        .collect();
    assert!(stars.len() >= 3 && stars.is_sorted(), "{stars:?}");
    assert!(v.passes("worst-reviews-of-the-quilt", "").await);
}

#[tokio::test]
async fn contact_the_shop() {
    let mut v = Visitor::at_start_of("contact-the-shop").await;
    v.click("Contact").await;
    let fill = [
        ("name", "Ines Vik"),
        ("email", "ines@example.org"),
        ("message", "Do you mend lamps from 1987?"),
    ];
    v.submit("/contact", &fill).await;
    assert!(stripped(&v.page).contains("Your message has been sent"));
    assert!(v.passes("contact-the-shop", "").await);
}

#[tokio::test]
async fn brass_desk_lamp_to_cart() {
    let mut v = Visitor::at_start_of("brass-desk-lamp-to-cart").await;
    v.click("Brass desk lamp deal").await;
    assert!(stripped(&v.page).contains("Sold out"));
    assert!(!v.page.contains("/cart/add"), "the deal must be a dead end");
    v.click("Lamps").await;
    v.click("Brass desk lamp").await;
    v.submit("/cart/add", &[]).await;
    assert!(v.passes("brass-desk-lamp-to-cart", "").await);
}

#[tokio::test]
async fn weatherproof_lantern() {
    let mut v = Visitor::at_start_of("weatherproof-lantern").await;
    v.click("Lanterns & Candles").await;
    assert!(!v.listed().contains(&"Zinc lantern".to_owned()));
    v.click("Paper garden lantern").await;
    assert!(stripped(&v.page).contains("not weatherproof"));
    v.search("weatherproof garden lantern").await;
    assert_eq!(v.listed()[0], "Paper garden lantern");
    v.click("Garden").await;
    v.click("Zinc lantern").await;
    v.submit("/cart/add", &[("option1", "28 cm")]).await;
    assert!(v.passes("weatherproof-lantern", "").await);
}

#[tokio::test]
async fn wool_throw_in_moss() {
    let mut v = Visitor::at_start_of("wool-throw-in-moss").await;
    v.search("wool throw").await;
    assert_eq!(
        v.listed()[..2],
        ["Wool throw pillow", "Highland wool throw"]
    );
    v.click("Wool throw pillow").await;
    v.submit("/cart/add", &[("option1", "Moss")]).await;
    assert_eq!(v.status, 422);
    assert!(stripped(&v.page).contains("Wool throw pillow, Moss is sold out."));
    v.search("wool throw").await;
    v.click("Highland wool throw").await;
    v.submit("/cart/add", &[("option1", "Moss")]).await;
    assert!(v.passes("wool-throw-in-moss", "").await);
}

#[tokio::test]
async fn voucher_code() {
    let mut v = Visitor::at_start_of("voucher-code").await;
    v.click("Get your voucher code").await;
    let entered = v.at.clone();
    for link in [
        "Continue to your voucher code",
        "Show my voucher code",
        "Try again for your voucher code",
    ] {
        assert!(!v.page.contains("HARBOUR10"));
        v.click(link).await;
    }
    assert_eq!(v.at, entered, "the promotion must lead in a circle");
    v.click("Help").await;
    v.click("Vouchers and codes").await;
    assert!(v.page.contains("HARBOUR10"));
    assert!(v.passes("voucher-code", "HARBOUR10").await);
}

#[tokio::test]
async fn german_keyboard() {
    let mut v = Visitor::at_start_of("german-keyboard").await;
    v.click("Keyboards").await;
    assert!(!stripped(&v.page).contains("German"));
    v.click("Desk & Office").await;
    v.click("Petrel wireless keyboard, German layout").await;
    assert!(v.passes("german-keyboard", "").await);
}

#[tokio::test]
async fn cheapest_possible_shipping() {
    let mut v = Visitor::at_start_of("cheapest-possible-shipping").await;
    v.submit("/checkout", &[("shipping", "letter")]).await;
    assert_eq!((v.status, v.at.as_str()), (422, "/checkout"));
    assert!(stripped(&v.page).contains("Letter mail takes at most 1 kg"));
    v.submit("/checkout", &[("shipping", "parcel")]).await;
    assert_eq!(v.at, "/checkout/confirm");
    v.submit("/checkout/confirm", &[]).await;
    assert_eq!(v.at, "/checkout/thanks/1006");
    assert!(v.passes("cheapest-possible-shipping", "").await);
    let stock = "select stock from variants v join products p on p.id = v.product_id
                 where p.slug = 'terracotta-pot' and v.label = '30 cm'";
    let fresh = Visitor::new().await;
    let (before, after) = (fresh.sql(stock).await, v.sql(stock).await);
    assert_eq!(
        before[0][0].as_i64().unwrap() - 1,
        after[0][0].as_i64().unwrap()
    );
}

#[tokio::test]
async fn voucher_and_fastest_shipping() {
    let mut v = Visitor::at_start_of("voucher-and-fastest-shipping").await;
    let code = ("coupon", "HARBOUR10");
    v.submit("/checkout", &[code, ("shipping", "express")])
        .await;
    assert_eq!(v.status, 422);
    assert!(stripped(&v.page).contains("cannot be combined with Express courier"));
    v.submit("/checkout", &[code, ("shipping", "parcel")]).await;
    v.submit("/checkout/confirm", &[]).await;
    assert!(v.passes("voucher-and-fastest-shipping", "").await);
}

#[tokio::test]
async fn january_discount() {
    let mut v = Visitor::at_start_of("january-discount").await;
    let fill = [("username", "ada"), ("password", "lovelace")];
    v.submit("/login", &fill).await;
    assert_eq!(v.at, "/account");
    v.click("Your orders").await;
    assert!(stripped(&v.page).contains("Order 1003 22 January 2031"));
    v.click("Order 1003").await;
    assert!(stripped(&v.page).contains("Voucher HARBOUR10 −€14.80"));
    assert!(v.passes("january-discount", "14.80").await);
}

#[tokio::test]
async fn build_a_lamp() {
    let mut v = Visitor::at_start_of("build-a-lamp").await;
    let parts = [
        ("base", "oak"),
        ("shade", "linen"),
        ("light", "dimmable"),
        ("cable", "red"),
    ];
    v.configure(parts).await;
    assert_eq!(
        serde_json::from_str::<Value>(&v.page).unwrap(),
        json!({ "pieces": 1, "price": "€93.00" })
    );
    assert!(v.passes("build-a-lamp", "").await);
}

#[tokio::test]
async fn cheapest_glass_globe_lamp() {
    let mut v = Visitor::at_start_of("cheapest-glass-globe-lamp").await;
    let lamp = |base| {
        [
            ("base", base),
            ("shade", "globe"),
            ("light", "warm"),
            ("cable", "black"),
        ]
    };
    let start = v.page.clone();
    v.configure(lamp("oak")).await;
    assert_eq!(v.status, 422, "an oak base takes no globe");
    v.page = start;
    v.configure(lamp("brass")).await;
    assert!(v.passes("cheapest-glass-globe-lamp", "").await);
    // It is the cheapest: no allowed lamp with a globe costs less.
    v.goto("/api/configurator/options").await;
    let data: Value = serde_json::from_str(&v.page).unwrap();
    let cheapest = |step: usize, not: &[&str]| {
        data["steps"][step]["options"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|option| !not.contains(&option["id"].as_str().unwrap()))
            .map(|option| option["cents"].as_i64().unwrap())
            .min()
            .unwrap()
    };
    assert_eq!(
        cheapest(0, &["oak"])
            + cheapest(1, &["linen", "paper"])
            + cheapest(2, &[])
            + cheapest(3, &[]),
        11_000
    );
}

#[tokio::test]
async fn three_navy_totes() {
    let mut v = Visitor::at_start_of("three-navy-totes").await;
    v.click("Canvas tote").await;
    let fill = [("option1", "Navy"), ("option2", "Large"), ("qty", "3")];
    v.submit("/cart/add", &fill).await;
    assert!(stripped(&v.page).contains("Subtotal €90.00"));
    assert!(v.passes("three-navy-totes", "").await);
}

#[tokio::test]
async fn review_the_glass_teapot() {
    let mut v = Visitor::at_start_of("review-the-glass-teapot").await;
    let fill = [
        ("stars", "5"),
        ("title", "Clear joy"),
        ("text", "The lid stays on while pouring."),
    ];
    v.submit("/product/glass-teapot/reviews", &fill).await;
    assert_eq!(v.at, "/product/glass-teapot?reviewed=1");
    assert!(v.passes("review-the-glass-teapot", "").await);
}

#[tokio::test]
async fn move_to_bergen() {
    let mut v = Visitor::at_start_of("move-to-bergen").await;
    let fill = [
        ("street", "Harbour Road 5"),
        ("postcode", "5003"),
        ("city", "Bergen"),
    ];
    v.submit("/account/address", &fill).await;
    assert!(v.passes("move-to-bergen", "").await);
}

#[tokio::test]
async fn wish_for_the_backpack() {
    let mut v = Visitor::at_start_of("wish-for-the-backpack").await;
    v.search("Roll-top backpack").await;
    v.click("Roll-top backpack").await;
    v.submit("/wishlist/add", &[]).await;
    assert_eq!(v.at, "/wishlist?said=added");
    assert!(v.passes("wish-for-the-backpack", "").await);
}

// ---- the site as a site ---------------------------------------------------------------------

#[tokio::test]
async fn reset_restores_everything_and_forgets_sessions() {
    let mut v = Visitor::new().await;
    v.goto("/product/cork-bath-mat").await;
    let (first_page, first_cookie) = (v.page.clone(), v.cookie.clone());
    v.submit("/cart/add", &[("qty", "2")]).await;
    let writes = "select method, path from writes";
    assert_eq!(v.sql(writes).await, json!([["POST", "/cart/add"]]));
    assert!(v.page.contains("Cart (2)"));

    assert!(v.site.resets());
    v.site.reset(&Cx::default()).await.unwrap();
    let left = "select (select count(*) from writes), (select count(*) from sessions),
                (select count(*) from cart where who = 'guest')";
    assert_eq!(v.sql(left).await, json!([[0, 0, 0]]));
    v.cookie = None;
    v.goto("/product/cork-bath-mat").await;
    assert_eq!((v.page, v.cookie), (first_page, first_cookie));
}

#[tokio::test]
async fn instances_are_independent_and_alike() {
    let (mut a, mut b) = (Visitor::new().await, Visitor::new().await);
    assert_ne!(a.site.origin(), b.site.origin());
    a.goto("/product/harbour-mug").await;
    b.goto("/product/harbour-mug").await;
    assert_eq!(a.page, b.page);
    assert!(
        !a.page.contains("127.0.0.1"),
        "pages must not name the port"
    );
    a.submit("/cart/add", &[("option1", "Sea")]).await;
    assert!(a.page.contains("Cart (1)"));
    b.goto("/cart").await;
    assert!(b.page.contains("Cart (0)"));
    assert_eq!(b.sql("select count(*) from writes").await, json!([[0]]));
}

#[tokio::test]
async fn sql_reads_and_nothing_else() {
    let v = Visitor::new().await;
    for bad in [
        "delete from orders",
        "drop table orders",
        "select 1; delete from orders",
        "select * from nothing",
        "begin immediate",
    ] {
        let error = v.site.sql(bad, &Cx::default()).await.unwrap_err();
        assert!(error.to_string().contains("answer SQL"), "{bad}: {error}");
    }
    assert_eq!(v.sql("select count(*) from orders").await, json!([[5]]));
}

#[tokio::test]
async fn a_statement_without_end_is_interrupted_and_the_shop_goes_on() {
    let mut v = Visitor::new().await;
    let endless = "with recursive n(i) as (select 1 union all select i + 1 from n)
                   select count(*) from n";
    let cx = Cx::default().within(Duration::from_millis(20));
    v.site.sql(endless, &cx).await.unwrap_err();
    v.goto("/").await;
    assert_eq!(v.status, 200);
}

#[tokio::test]
async fn a_dropped_instance_closes_its_port() {
    let v = Visitor::new().await;
    let address: SocketAddr = v
        .site
        .origin()
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap();
    tokio::net::TcpStream::connect(address).await.unwrap();
    drop(v);
    let closed = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), closed)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let holder = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = holder.local_addr().unwrap();
    let serving = serve(address, None, |_| {}, CancellationToken::new());
    let error = serving.await.unwrap_err();
    assert!(matches!(error, DemoError::PortTaken(taken) if taken == address));
    let text = error.to_string();
    assert!(
        text.contains(&format!("port {} of", address.port())),
        "{text}"
    );
}

#[tokio::test]
async fn serve_ends_when_cancelled() {
    let cancel = CancellationToken::new();
    let any = ([127, 0, 0, 1], 0).into();
    let serving = tokio::spawn(serve(any, None, |_| {}, cancel.clone()));
    cancel.cancel();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_database_file_is_made_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("shop.db");
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    let any = ([127, 0, 0, 1], 0).into();
    let ready = move |_| stop.cancel();
    serve(any, Some(&file), ready, cancel).await.unwrap();
    let db = rusqlite::Connection::open(&file).unwrap();
    let orders = db.query_row("select count(*) from orders", [], |row| row.get(0));
    assert_eq!(orders, Ok(5));

    let unready = |_| panic!("it does not get that far");
    let serving = serve(any, Some(&file), unready, CancellationToken::new());
    let error = serving.await.unwrap_err();
    assert!(matches!(error, DemoError::FileThere(there) if there == file));
}

// ---- what comes in --------------------------------------------------------------------------

#[tokio::test]
async fn unknown_things_are_pages_not_found() {
    let mut v = Visitor::new().await;
    for path in [
        "/nothing",
        "/product/nothing",
        "/product/custom-lamp",
        "/category/made-to-order",
        "/deals/nothing",
        "/promo/4",
        "/help/nothing",
        "/signin/guess",
        "/%F0%9F%90%99",
    ] {
        v.goto(path).await;
        assert_eq!(v.status, 404, "{path}");
        assert!(v.page.contains("<h1>Not found</h1>"), "{path}");
    }
    v.goto("/product/%FF").await;
    assert_eq!(v.status, 400);
    assert!(v.page.contains("<h1>We could not read that</h1>"));
}

#[tokio::test]
async fn a_form_without_its_token_is_refused() {
    let mut v = Visitor::new().await;
    let body = "product=harbour-mug&option1=Sea&qty=1";
    v.send("POST", "/cart/add", Some(body.to_owned())).await;
    assert_eq!(v.status, 403, "no session yet");
    v.goto("/").await;
    for forged in [body.to_owned(), format!("{body}&csrf=guess")] {
        v.send("POST", "/cart/add", Some(forged)).await;
        assert_eq!(v.status, 403);
        assert!(v.page.contains("This form is not valid any more"));
    }
    assert_eq!(
        v.sql("select * from cart where who = 'guest'").await,
        json!([])
    );
    assert_eq!(v.sql("select count(*) from writes").await, json!([[3]]));
}

#[tokio::test]
async fn impossible_quantities_and_choices_are_explained() {
    let mut v = Visitor::new().await;
    v.goto("/product/harbour-mug").await;
    let said = |page: &str| stripped(page);
    for (fill, why) in [
        (
            vec![("option1", "Sea"), ("qty", "-1")],
            "whole number from 1 to 99",
        ),
        (
            vec![("option1", "Sea"), ("qty", "0")],
            "whole number from 1 to 99",
        ),
        (
            vec![("option1", "Sea"), ("qty", "1e9")],
            "whole number from 1 to 99",
        ),
        (
            vec![("option1", "Sea"), ("qty", "99999999999999999999")],
            "from 1 to 99",
        ),
        (vec![("option1", "Sea"), ("qty", "99")], "We have only"),
        (
            vec![("option1", ""), ("qty", "1")],
            "Please choose first: Glaze.",
        ),
    ] {
        v.submit("/cart/add", &fill).await;
        assert_eq!(v.status, 422, "{fill:?}");
        assert!(said(&v.page).contains(why), "{fill:?}");
    }
    assert_eq!(
        v.sql("select * from cart where who = 'guest'").await,
        json!([])
    );
}

#[tokio::test]
async fn garbage_gets_a_page() {
    let mut v = Visitor::new().await;
    v.goto("/").await;
    for body in ["%%%", "=&=&&&", "csrf", "\u{0}\u{1}", &"a=".repeat(50_000)] {
        v.send("POST", "/cart/add", Some(body.to_owned())).await;
        assert!((400..500).contains(&v.status), "{}", v.status);
        assert!(v.page.contains("</html>"));
    }
    for (method, path) in [
        ("DELETE", "/"),
        ("PUT", "/cart"),
        ("POST", "/about"),
        ("PATCH", "/no"),
    ] {
        v.send(method, path, None).await;
        assert!(
            [404, 405].contains(&v.status),
            "{method} {path}: {}",
            v.status
        );
        assert!(v.page.contains("</html>"));
    }
    v.goto("/search?q=%FF%00&min=x&max=-3&category=none&sort=up&page=99999999999999999999")
        .await;
    assert_eq!(v.status, 200);
    assert!(stripped(&v.page).contains("Minimum price: “x” is not an amount."));
    let long = "x".repeat(6000);
    v.goto(&format!("/search?q={long}&page=-1")).await;
    assert_eq!(v.status, 200);
    v.cookie = Some("hearth_session=' or 1=1 --".to_owned());
    v.goto("/account").await;
    assert!(v.at.starts_with("/login?next="));
}

#[tokio::test]
async fn what_people_write_stays_text() {
    let mut v = Visitor::new().await;
    v.goto("/signin/ada-7Qm2xT?next=/product/tea-tin").await;
    let evil = "<script>alert(1)</script>\" onmouseover='x'";
    v.submit(
        "/product/tea-tin/reviews",
        &[("stars", "1"), ("title", evil), ("text", evil)],
    )
    .await;
    assert_eq!(v.at, "/product/tea-tin?reviewed=1");
    assert!(!v.page.contains("<script>alert"));
    assert!(
        v.page
            .contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot; onmouseover=&#39;x&#39;")
    );
    v.goto("/search?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
        .await;
    assert!(!v.page.contains("<script>alert"));
}

#[tokio::test]
async fn signing_in_keeps_the_cart_and_changes_the_session() {
    let mut v = Visitor::new().await;
    v.goto("/product/cork-bath-mat").await;
    v.submit("/cart/add", &[]).await;
    let guest = v.cookie.clone();
    v.goto("/login?next=//evil.example/").await;
    v.submit("/login", &[("username", "grace"), ("password", "wrong")])
        .await;
    assert_eq!(v.status, 422);
    v.submit("/login", &[("username", "grace"), ("password", "hopper")])
        .await;
    assert_eq!(v.at, "/account", "a foreign address is not followed");
    assert_ne!(v.cookie, guest);
    let cart = "select product, qty from cart where who = 'grace'";
    assert_eq!(
        v.sql(cart).await,
        json!([["terracotta-pot", 1], ["cork-bath-mat", 1]])
    );
    v.goto("/orders/1001").await;
    assert_eq!(v.status, 404, "that is Ada's order");
    v.submit("/logout", &[]).await;
    v.goto("/orders").await;
    assert_eq!(v.at, "/login?next=/orders");
}

#[tokio::test]
async fn carts_of_others_cannot_be_touched() {
    let mut v = Visitor::new().await;
    v.goto("/signin/ada-7Qm2xT?next=/product/cork-bath-mat")
        .await;
    v.submit("/cart/add", &[]).await;
    let forms = elements(&v.page, "form");
    let remove = forms
        .iter()
        .find(|form| form.attribute("action") == Some("/cart/remove"))
        .unwrap()
        .fields();
    let csrf = remove["csrf"].value.clone();
    // Line 1 is Grace's saved pot.
    for path in ["/cart/remove", "/cart/update"] {
        let body = encoded([("csrf", csrf.as_str()), ("line", "1"), ("qty", "9")].into_iter());
        v.send("POST", path, Some(body)).await;
        assert_eq!(v.status, 404);
    }
    let cart = "select qty from cart where who = 'grace'";
    assert_eq!(v.sql(cart).await, json!([[1]]));
}
