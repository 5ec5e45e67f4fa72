//! The server: routes, and the way from a request to a page.
//!
//! Each handler is a plain function from a [`Visit`] to an [`Answer`], run under the lock of the
//! database within one transaction; nothing is awaited while it is held.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{DefaultBodyLimit, Form, FromRequest, RawPathParams, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use rusqlite::backup::Backup;
use rusqlite::{Connection, InterruptHandle};

use super::html::encode;
use super::visit::{Answer, Refusal, Reply, Session, Visit};
use super::{api, layout, pages, seed};

/// The name of the session cookie.
const SESSION_COOKIE: &str = "hearth_session";

/// No form of this shop comes near.
const LARGEST_BODY: usize = 64 * 1024;

/// One shop: its database, and nothing else.
pub(super) struct Shop {
    db: Mutex<Connection>,
    interrupt: InterruptHandle,
}

impl Shop {
    /// A shop in the seeded state, in memory.
    pub(super) fn open() -> Result<Self, String> {
        Self::seeded(Connection::open_in_memory())
    }

    /// A shop in the seeded state, in this file. What is in the file is overwritten.
    pub(super) fn open_at(file: &Path) -> Result<Self, String> {
        Self::seeded(Connection::open(file))
    }

    fn seeded(db: rusqlite::Result<Connection>) -> Result<Self, String> {
        let mut db = db.map_err(|error| error.to_string())?;
        db.set_prepared_statement_cache_capacity(128);
        refill(&mut db)?;
        Ok(Self {
            interrupt: db.get_interrupt_handle(),
            db: Mutex::new(db),
        })
    }

    /// The database. A handler that panicked left no half-done transaction behind: dropping one
    /// rolls it back.
    pub(super) fn lock(&self) -> MutexGuard<'_, Connection> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts everything back to the seeded state.
    pub(super) fn reset(&self) -> Result<(), String> {
        refill(&mut self.lock())
    }

    /// A copy of the present state.
    pub(super) fn save(&self) -> Result<Mutex<Connection>, String> {
        let mut kept = Connection::open_in_memory().map_err(|error| error.to_string())?;
        copy(&self.lock(), &mut kept)?;
        Ok(Mutex::new(kept))
    }

    /// Puts a saved state back.
    pub(super) fn load(&self, kept: &Mutex<Connection>) -> Result<(), String> {
        let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        copy(&kept, &mut self.lock())
    }

    /// Stops the statement that is running, if one is.
    pub(super) fn interrupt(&self) {
        self.interrupt.interrupt();
    }
}

/// Copies the pristine database over this one.
fn refill(db: &mut Connection) -> Result<(), String> {
    let source = seed::pristine()?
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    copy(&source, db)
}

/// Copies one database over another, with SQLite's online backup.
fn copy(source: &Connection, db: &mut Connection) -> Result<(), String> {
    let words = |error: rusqlite::Error| error.to_string();
    let backup = Backup::new(source, db).map_err(words)?;
    match backup.step(-1).map_err(words)? {
        rusqlite::backup::StepResult::Done => Ok(()),
        other => Err(format!("the copy stopped with {other:?}")),
    }
}

/// All routes of a shop.
pub(super) fn router(shop: Arc<Shop>) -> Router {
    Router::new()
        .route("/", read(pages::home))
        .route("/category/{slug}", read(pages::category))
        .route("/search", read(pages::search))
        .route("/product/{slug}", read(pages::product))
        .route("/product/{slug}/reviews", write(pages::post_review))
        .route("/deals", read(pages::deals))
        .route("/deals/{slug}", read(pages::deal))
        .route("/promo/{step}", read(pages::promo))
        .route("/cart", read(pages::cart))
        .route("/cart/add", write(pages::add_to_cart))
        .route("/cart/update", write(pages::update_cart))
        .route("/cart/remove", write(pages::remove_from_cart))
        .route("/checkout", both(pages::checkout, pages::post_checkout))
        .route(
            "/checkout/confirm",
            both(pages::confirm, pages::place_order),
        )
        .route("/checkout/thanks/{id}", read(pages::thanks))
        .route("/login", both(pages::login, pages::post_login))
        .route("/logout", write(pages::post_logout))
        .route("/signin/{token}", read(pages::signin_link))
        .route("/account", both(pages::account, pages::post_account))
        .route(
            "/account/address",
            both(pages::address, pages::post_address),
        )
        .route("/orders", read(pages::orders))
        .route("/orders/{id}", read(pages::order))
        .route("/wishlist", read(pages::wishlist))
        .route("/wishlist/add", write(pages::wish))
        .route("/wishlist/remove", write(pages::unwish))
        .route("/contact", both(pages::contact, pages::post_contact))
        .route("/about", read(pages::about))
        .route("/help", read(pages::help))
        .route("/help/{topic}", read(pages::help_topic))
        .route("/configurator", read(pages::configurator))
        .route("/api/configurator/options", read(pages::options))
        .route("/api/configurator/cart", write(pages::add_configured))
        .route(
            "/assets/shop.css",
            asset("text/css; charset=utf-8", include_str!("assets/shop.css")),
        )
        .route(
            "/assets/configurator.js",
            asset(
                "text/javascript; charset=utf-8",
                include_str!("assets/configurator.js"),
            ),
        )
        .route(
            "/favicon.ico",
            asset("image/svg+xml", include_str!("assets/icon.svg")),
        )
        .merge(api::routes())
        .fallback(
            |State(shop): State<Arc<Shop>>, request: Request| async move {
                bare(&shop, &request, no_such_page)
            },
        )
        .method_not_allowed_fallback(
            |State(shop): State<Arc<Shop>>, request: Request| async move {
                bare(&shop, &request, wrong_method)
            },
        )
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(from_fn_with_state(Arc::clone(&shop), count_writes))
        .with_state(shop)
}

type Action = fn(&mut Visit<'_>) -> Answer;
type Params = Result<RawPathParams, RawPathParamsRejection>;

fn read(action: Action) -> MethodRouter<Arc<Shop>> {
    get(move |state, params, request| answer(state, params, request, action, false))
}

fn write(action: Action) -> MethodRouter<Arc<Shop>> {
    post(move |state, params, request| answer(state, params, request, action, true))
}

fn both(on_get: Action, on_post: Action) -> MethodRouter<Arc<Shop>> {
    read(on_get).merge(write(on_post))
}

fn asset(kind: &'static str, text: &'static str) -> MethodRouter<Arc<Shop>> {
    get(move || async move {
        (
            [
                (CONTENT_TYPE, kind),
                (CACHE_CONTROL, "public, max-age=31536000, immutable"),
            ],
            text,
        )
    })
}

fn no_such_page(_: &mut Visit<'_>) -> Answer {
    Err(Refusal::NotFound("There is no page at this address."))
}

fn wrong_method(_: &mut Visit<'_>) -> Answer {
    Err(Refusal::WrongMethod)
}

/// Notes every request that could write, before anything else looks at it.
async fn count_writes(State(shop): State<Arc<Shop>>, request: Request, next: Next) -> Response {
    if is_write(request.method()) {
        let noted = shop
            .lock()
            .prepare_cached("insert into writes (method, path) values (?1, ?2)")
            .and_then(|mut insert| {
                insert.execute([request.method().as_str(), request.uri().path()])
            });
        if let Err(error) = noted {
            return broken(&error);
        }
    }
    next.run(request).await
}

fn is_write(method: &Method) -> bool {
    ![Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

/// Answers by `action`; `guarded` says that the form must carry the session's token.
async fn answer(
    State(shop): State<Arc<Shop>>,
    params: Params,
    request: Request,
    action: Action,
    guarded: bool,
) -> Response {
    let path = request.uri().path().to_owned();
    let cookie = session_cookie(request.headers());
    let asked = match (captured(params), fields(request).await) {
        (Ok(params), Ok(fields)) => Ok(Asked { params, fields }),
        (Err((status, reason)), _) | (_, Err((status, reason))) => {
            Err(Refusal::Malformed(status, reason))
        }
    };
    let mut db = shop.lock();
    respond(&mut db, path, cookie.as_deref(), asked, action, guarded)
        .unwrap_or_else(|error| broken(&error))
}

/// Answers a request whose content does not matter.
fn bare(shop: &Shop, request: &Request, action: Action) -> Response {
    let path = request.uri().path().to_owned();
    let cookie = session_cookie(request.headers());
    let mut db = shop.lock();
    respond(
        &mut db,
        path,
        cookie.as_deref(),
        Ok(Asked::default()),
        action,
        false,
    )
    .unwrap_or_else(|error| broken(&error))
}

type Pairs = Vec<(String, String)>;

/// What a request says beyond its address.
#[derive(Default)]
struct Asked {
    params: Pairs,
    fields: Pairs,
}

fn captured(params: Params) -> Result<Pairs, (StatusCode, String)> {
    match params {
        Ok(params) => Ok(params
            .iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()),
        Err(rejection) => Err((rejection.status(), rejection.body_text())),
    }
}

/// The fields of the query (GET) or the form (anything else).
async fn fields(request: Request) -> Result<Pairs, (StatusCode, String)> {
    Form::<Pairs>::from_request(request, &())
        .await
        .map(|Form(fields)| fields)
        .map_err(|rejection| (rejection.status(), rejection.body_text()))
}

fn respond(
    db: &mut Connection,
    path: String,
    cookie: Option<&str>,
    asked: Result<Asked, Refusal>,
    action: Action,
    guarded: bool,
) -> rusqlite::Result<Response> {
    let tx = db.transaction()?;
    let mut visit = Visit {
        session: Session::resume(&tx, cookie)?,
        db: &tx,
        path,
        params: Vec::new(),
        fields: Vec::new(),
    };
    let outcome = asked.and_then(|asked| {
        visit.params = asked.params;
        visit.fields = asked.fields;
        let token_fits = !visit.session.fresh && visit.field("csrf") == visit.session.csrf;
        if guarded && !token_fits {
            return Err(Refusal::Forged);
        }
        action(&mut visit)
    });
    let reply = match outcome {
        Ok(reply) => reply,
        Err(refusal) => pages::refusal(refusal)?,
    };
    let response = render(&visit, reply)?;
    drop(visit);
    tx.commit()?;
    Ok(response)
}

fn render(visit: &Visit<'_>, reply: Reply) -> rusqlite::Result<Response> {
    let mut headers: Vec<(HeaderName, String)> = Vec::with_capacity(3);
    if visit.session.fresh {
        headers.push((
            SET_COOKIE,
            format!(
                "{SESSION_COOKIE}={}; Path=/; HttpOnly; SameSite=Lax",
                visit.session.id
            ),
        ));
    }
    let (status, body) = match reply {
        Reply::Page {
            status,
            title,
            body,
        } => {
            headers.push((CONTENT_TYPE, "text/html; charset=utf-8".to_owned()));
            let page = layout::frame(visit, &title, &body)?.into_string();
            (status, Body::from(page))
        }
        Reply::SeeOther(path) => {
            headers.push((LOCATION, path));
            (StatusCode::SEE_OTHER, Body::empty())
        }
        Reply::Json(status, value) => {
            headers.push((CONTENT_TYPE, "application/json".to_owned()));
            (status, Body::from(value.to_string()))
        }
    };
    let headers = headers
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
        .collect::<HeaderMap>();
    Ok((status, headers, body).into_response())
}

/// The database failed: there is no session to make a page with.
fn broken(error: &rusqlite::Error) -> Response {
    tracing::error!(%error, "the demo shop's database failed");
    (
        StatusCode::INTERNAL_SERVER_ERROR,
        "The shop is closed for a moment.",
    )
        .into_response()
}

fn session_cookie(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == SESSION_COOKIE)
        .map(|(_, value)| value.to_owned())
}

/// The way to sign in and come back.
pub(super) fn sign_in_path(back: &str) -> String {
    format!("/login?next={}", encode(back))
}
