//! The shop's REST API, described by `openapi.json` beside this file and served at
//! `/api/openapi.json`.
//!
//! Same database, same rules as the pages: a customer's cart here is the cart there. Money is in
//! euro cents. There is no key: whoever names a customer acts for them, as a shop assistant would.
//!
//! Every refusal is JSON: `{"error": "…"}`, with 400 for a request that cannot be read, 404 for what
//! is not there, 405 for the wrong method, 422 for what the shop's rules forbid.

mod carts;
mod goods;
mod orders;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequest, Query, RawPathParams, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, get};
use rusqlite::{Connection, OptionalExtension};
use serde_json::{Value, json};

use super::shop::Shop;

/// The document.
const OPENAPI: &str = include_str!("openapi.json");

/// A call, read.
struct Call<'a> {
    db: &'a Connection,
    params: Vec<(String, String)>,
    query: Vec<(String, String)>,
    body: Value,
}

/// Why a call is refused.
#[derive(Debug, thiserror::Error)]
enum Problem {
    /// There is no such thing.
    #[error("{0}")]
    Missing(String),
    /// It cannot be read as what is asked for.
    #[error("{0}")]
    Bad(String),
    /// The shop's rules forbid it.
    #[error("{0}")]
    Refused(String),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
}

type Answer = Result<(StatusCode, Value), Problem>;
type Action = fn(&Call<'_>) -> Answer;

/// A customer, as calls name them.
struct Customer {
    id: i64,
    username: String,
}

impl Customer {
    fn owner(&self) -> String {
        format!("user:{}", self.id)
    }
}

impl Call<'_> {
    fn param(&self, name: &str) -> &str {
        found(&self.params, name).unwrap_or_default()
    }

    fn query(&self, name: &str) -> Option<&str> {
        found(&self.query, name)
            .map(str::trim)
            .filter(|v| !v.is_empty())
    }

    /// A whole number of the query.
    fn number(&self, name: &str, least: i64, most: i64) -> Result<Option<i64>, Problem> {
        let Some(text) = self.query(name) else {
            return Ok(None);
        };
        let number = text.parse().ok().filter(|n| (least..=most).contains(n));
        number.map(Some).ok_or_else(|| {
            Problem::Bad(format!(
                "`{name}` must be a whole number from {least} to {most}, not `{text}`"
            ))
        })
    }

    /// A whole number of the body.
    fn body_number(&self, name: &str, least: i64, most: i64) -> Result<i64, Problem> {
        let number = self.body[name].as_i64();
        number
            .filter(|n| (least..=most).contains(n))
            .ok_or_else(|| {
                let got = &self.body[name];
                Problem::Bad(format!(
                    "`{name}` must be a whole number from {least} to {most}, not {got}"
                ))
            })
    }

    /// A text of the body; `None` if it is absent or null.
    fn body_text(&self, name: &str) -> Result<Option<&str>, Problem> {
        match &self.body[name] {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.trim())),
            other => Err(Problem::Bad(format!("`{name}` must be text, not {other}"))),
        }
    }

    fn needed_text(&self, name: &str) -> Result<&str, Problem> {
        self.body_text(name)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| Problem::Bad(format!("`{name}` is missing")))
    }

    /// The customer that the path names.
    fn customer(&self) -> Result<Customer, Problem> {
        let username = self.param("username");
        let id = self
            .db
            .prepare_cached("select id from users where username = ?1")?
            .query_row([username], |row| row.get(0))
            .optional()?;
        let id =
            id.ok_or_else(|| Problem::Missing(format!("there is no customer `{username}`")))?;
        Ok(Customer {
            id,
            username: username.to_owned(),
        })
    }
}

fn found<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let pair = pairs.iter().find(|(key, _)| key == name);
    pair.map(|(_, value)| value.as_str())
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the last word of functions that can fail"
)]
fn ok(value: Value) -> Answer {
    Ok((StatusCode::OK, value))
}

/// The API's routes, for the shop's router.
pub(super) fn routes() -> Router<Arc<Shop>> {
    const GET: MethodFilter = MethodFilter::GET;
    const POST: MethodFilter = MethodFilter::POST;
    const PUT: MethodFilter = MethodFilter::PUT;
    const PATCH: MethodFilter = MethodFilter::PATCH;
    const DELETE: MethodFilter = MethodFilter::DELETE;
    let all: [(&str, &[(MethodFilter, Action)]); 17] = [
        ("categories", &[(GET, goods::categories)]),
        ("products", &[(GET, goods::search)]),
        ("products/{slug}", &[(GET, goods::product)]),
        ("products/{slug}/reviews", &[(GET, goods::reviews)]),
        ("shipping", &[(GET, orders::shipping)]),
        ("vouchers/{code}", &[(GET, orders::voucher)]),
        ("customers/{username}", &[(GET, orders::customer)]),
        (
            "customers/{username}/cart",
            &[(GET, carts::show), (DELETE, carts::empty)],
        ),
        ("customers/{username}/cart/items", &[(POST, carts::add)]),
        (
            "customers/{username}/cart/items/{item}",
            &[(PATCH, carts::change), (DELETE, carts::remove)],
        ),
        ("customers/{username}/wishlist", &[(GET, carts::wishlist)]),
        (
            "customers/{username}/wishlist/{slug}",
            &[(PUT, carts::wish), (DELETE, carts::unwish)],
        ),
        ("customers/{username}/quote", &[(GET, orders::quote)]),
        (
            "customers/{username}/orders",
            &[(GET, orders::list), (POST, orders::place)],
        ),
        ("orders/{id}", &[(GET, orders::show)]),
        ("orders/{id}/cancel", &[(POST, orders::cancel)]),
        ("messages", &[(POST, orders::message)]),
    ];
    let mut router = Router::new().route("/api/openapi.json", get(document));
    for (path, actions) in all {
        let mut route = MethodRouter::new();
        for &(filter, action) in actions {
            route = route.on(filter, move |state, params, request| {
                answer(state, params, request, action)
            });
        }
        router = router.route(&format!("/api/v1/{path}"), route.fallback(wrong_method));
    }
    router.route("/api/v1/{*rest}", axum::routing::any(nothing))
}

async fn document() -> Response {
    ([(CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

async fn nothing() -> Response {
    let why = "there is no operation at this address: see /api/openapi.json";
    refusal(StatusCode::NOT_FOUND, why)
}

async fn wrong_method() -> Response {
    let why = "this address does not answer to that method: see /api/openapi.json";
    refusal(StatusCode::METHOD_NOT_ALLOWED, why)
}

fn refusal(status: StatusCode, why: &str) -> Response {
    (status, axum::Json(json!({ "error": why }))).into_response()
}

/// Reads a request and answers it by `action`, in one transaction.
async fn answer(
    State(shop): State<Arc<Shop>>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    action: Action,
) -> Response {
    let params = match params {
        Ok(params) => params
            .iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        Err(rejection) => return refusal(rejection.status(), &rejection.body_text()),
    };
    let query = match Query::<Vec<(String, String)>>::try_from_uri(request.uri()) {
        Ok(Query(query)) => query,
        Err(rejection) => return refusal(rejection.status(), &rejection.body_text()),
    };
    let bytes = match Bytes::from_request(request, &()).await {
        Ok(bytes) => bytes,
        Err(rejection) => return refusal(rejection.status(), &rejection.body_text()),
    };
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        match serde_json::from_slice(&bytes) {
            Ok(value @ Value::Object(_)) => value,
            Ok(_) => return refusal(StatusCode::BAD_REQUEST, "the body is no JSON object"),
            Err(error) => {
                let why = format!("the body is no JSON: {error}");
                return refusal(StatusCode::BAD_REQUEST, &why);
            }
        }
    };
    let mut db = shop.lock();
    match carried_out(&mut db, params, query, body, action) {
        Ok((status, value)) => (status, axum::Json(value)).into_response(),
        Err(Problem::Missing(why)) => refusal(StatusCode::NOT_FOUND, &why),
        Err(Problem::Bad(why)) => refusal(StatusCode::BAD_REQUEST, &why),
        Err(Problem::Refused(why)) => refusal(StatusCode::UNPROCESSABLE_ENTITY, &why),
        Err(Problem::Database(error)) => {
            tracing::error!(%error, "the demo shop's database failed");
            refusal(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the shop is closed for a moment",
            )
        }
    }
}

/// A refused call changes nothing: its transaction is dropped.
fn carried_out(
    db: &mut Connection,
    params: Vec<(String, String)>,
    query: Vec<(String, String)>,
    body: Value,
    action: Action,
) -> Answer {
    let tx = db.transaction()?;
    let answer = action(&Call {
        db: &tx,
        params,
        query,
        body,
    })?;
    tx.commit()?;
    Ok(answer)
}
