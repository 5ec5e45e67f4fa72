//! The demo shop's REST API over plain HTTP: it does what its document says, by the shop's rules.
#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests")]

use branchline::context::Cx;
use branchline::demo::DemoSite;
use branchline::env::{Site, SiteInstance};
use serde_json::{Value, json};

struct Api {
    site: Box<dyn SiteInstance>,
    client: reqwest::Client,
}

impl Api {
    async fn new() -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        Self {
            site: DemoSite::new().lease(&Cx::default()).await.unwrap(),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("{}/api{path}", self.site.origin());
        let mut request = self.client.request(method.parse().unwrap(), url);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        assert_eq!(response.headers()["content-type"], "application/json");
        (status, response.json().await.unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, value) = self.call("GET", &format!("/v1{path}"), None).await;
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    async fn refused(&self, method: &str, path: &str, body: Option<Value>) -> (u16, String) {
        let (status, value) = self.call(method, &format!("/v1{path}"), body).await;
        (status, value["error"].as_str().unwrap().to_owned())
    }

    async fn rows(&self, statement: &str) -> Value {
        self.site.sql(statement, &Cx::default()).await.unwrap()
    }
}

#[tokio::test]
async fn the_document_names_every_operation_once_and_its_reads_answer() {
    let api = Api::new().await;
    let (status, document) = api.call("GET", "/openapi.json", None).await;
    assert_eq!((status, &document["openapi"]), (200, &json!("3.1.0")));
    let mut names = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            names.push(operation["operationId"].as_str().unwrap().to_owned());
            if method != "get" {
                continue;
            }
            let mut path = path
                .replace("{slug}", "SLUG")
                .replace("{username}", "alan")
                .replace("{code}", "harbour10")
                .replace("{id}", "1001");
            if path.contains("/products/") {
                let any = api.get("/products?limit=1").await["products"][0]["slug"].clone();
                path = path.replace("SLUG", any.as_str().unwrap());
            }
            if path.ends_with("/quote") {
                path.push_str("?shipping=parcel&voucher=HARBOUR10");
            }
            let value = api.get(&path).await;
            let declared = &operation["responses"]["200"]["content"]["application/json"]["schema"];
            for key in keys(&document, declared) {
                assert!(
                    value.get(&key).is_some(),
                    "{path} answers no `{key}`: {value}"
                );
            }
        }
    }
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!((names.len(), all), (21, 21));
}

/// The keys that a schema of the document declares.
fn keys(document: &Value, schema: &Value) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return keys(document, document.pointer(&reference[1..]).unwrap());
    }
    let own = schema["properties"].as_object().into_iter().flatten();
    let own = own.map(|(key, _)| key.clone());
    let all = schema["allOf"].as_array().into_iter().flatten();
    own.chain(all.flat_map(|part| keys(document, part)))
        .collect()
}

#[tokio::test]
async fn an_order_is_quoted_placed_and_cancelled() {
    let api = Api::new().await;
    let found = api.get("/products?q=teapot&sort=price").await;
    let slug = found["products"][0]["slug"].as_str().unwrap().to_owned();
    let product = api.get(&format!("/products/{slug}")).await;
    let variant = product["variants"][0].clone();
    let cart = "/v1/customers/ada/cart/items";
    let body = json!({ "variant": variant["id"], "quantity": 2 });
    let (status, filled) = api.call("POST", cart, Some(body)).await;
    let cents = variant["cents"].as_i64().unwrap();
    assert_eq!(
        (status, &filled["subtotal_cents"]),
        (201, &json!(2 * cents))
    );
    let quote = api
        .get("/customers/ada/quote?shipping=parcel&voucher=harbour10")
        .await;
    let stock = format!("select stock from variants where id = {}", variant["id"]);
    let before = api.rows(&stock).await;
    let (status, order) = api
        .call(
            "POST",
            "/v1/customers/ada/orders",
            Some(json!({ "shipping": "parcel", "voucher": "HARBOUR10" })),
        )
        .await;
    assert_eq!(status, 201, "{order}");
    assert_eq!(order["total_cents"], quote["total_cents"]);
    assert_eq!(order["lines"][0]["quantity"], 2);
    assert_ne!(api.rows(&stock).await, before);
    assert_eq!(api.get("/customers/ada/cart").await["items"], json!([]));
    let number = order["order"].as_i64().unwrap();
    let (status, ended) = api
        .call("POST", &format!("/v1/orders/{number}/cancel"), None)
        .await;
    assert_eq!((status, &ended["status"]), (200, &json!("Cancelled")));
    assert_eq!(api.rows(&stock).await, before);
    let again = api
        .refused("POST", &format!("/orders/{number}/cancel"), None)
        .await;
    assert_eq!(
        again,
        (422, format!("order {number} is cancelled: it is too late"))
    );
}

#[tokio::test]
async fn refusals_are_json_name_the_place_and_change_nothing() {
    let api = Api::new().await;
    let all = "select count(*) from cart_lines union all select count(*) from orders";
    let before = api.rows(all).await;
    let refusals = [
        api.refused("GET", "/products?max_cents=cheap", None).await,
        api.refused("GET", "/products?category=boats", None).await,
        api.refused("GET", "/products/no-such-thing", None).await,
        api.refused("GET", "/customers/eve/cart", None).await,
        api.refused(
            "POST",
            "/customers/ada/cart/items",
            Some(json!({ "variant": "blue" })),
        )
        .await,
        api.refused(
            "POST",
            "/customers/ada/cart/items",
            Some(json!({ "variant": 1, "quantity": 100 })),
        )
        .await,
        api.refused(
            "POST",
            "/customers/ada/orders",
            Some(json!({ "shipping": "parcel" })),
        )
        .await,
        api.refused("GET", "/customers/alan/quote?shipping=pigeon", None)
            .await,
        api.refused(
            "POST",
            "/customers/alan/orders",
            Some(json!({ "shipping": "express", "voucher": "HARBOUR10" })),
        )
        .await,
        api.refused("DELETE", "/products", None).await,
        api.refused("GET", "/nothing/here", None).await,
        api.refused("POST", "/messages", Some(json!([1]))).await,
    ];
    insta::assert_debug_snapshot!(refusals);
    assert_eq!(api.rows(all).await, before);
}

#[tokio::test]
async fn a_run_archives_what_its_commit_sent_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_branchline"))
        .current_dir(dir.path())
        .args(["run", "demo/api-five-notebooks", "--json", "--seed", "0"])
        .env_remove("BRANCHLINE_MODEL")
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let report: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let file = dir.path().join(report["archive"].as_str().unwrap());
    let har: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let mut told = Vec::new();
    for entry in har["log"]["entries"].as_array().unwrap() {
        let (request, response) = (&entry["request"], &entry["response"]);
        let content: Value =
            serde_json::from_str(response["content"]["text"].as_str().unwrap()).unwrap();
        told.push(format!(
            "{} {} {} -> {} {}",
            request["method"].as_str().unwrap(),
            request["url"].as_str().unwrap(),
            request["postData"]["text"].as_str().unwrap_or("-"),
            response["status"],
            content
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
                .join("+"),
        ));
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
    GET http://shop.demo/api/v1/customers/alan/orders - -> 200 customer+orders
    GET http://shop.demo/api/v1/customers/alan/cart - -> 200 customer+items+subtotal_cents
    PATCH http://shop.demo/api/v1/customers/alan/cart/items/3 {"quantity":5} -> 200 customer+items+subtotal_cents
    "#);
    let path = report["path"].as_array().unwrap();
    assert_eq!(
        told.len() + 1,
        path.len(),
        "every call, and no check: {report:#}"
    );
}
