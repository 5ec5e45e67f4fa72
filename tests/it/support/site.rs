//! A server of hand-written pages, as a [`Site`]: every lease sees the same server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use branchline::context::Cx;
use branchline::env::{FixedSite, Site, SiteError, SiteInstance};

use super::serve::serve;

/// A page: status, headers, body.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn html(body: &str) -> Self {
        Self {
            status: 200,
            headers: vec![(
                "content-type".to_owned(),
                "text/html; charset=utf-8".to_owned(),
            )],
            body: body.to_owned(),
        }
    }
}

/// A page made for every request, from the count of requests for it.
type Made = fn(u32) -> String;

#[derive(Default)]
struct Shared {
    pages: Mutex<HashMap<String, Answer>>,
    made: Mutex<HashMap<String, Made>>,
    log: Mutex<Vec<String>>,
}

/// The server. Dropping it stops it.
#[derive(Clone)]
pub(crate) struct Pages {
    origin: String,
    shared: Arc<Shared>,
    _stop: Arc<tokio_util::sync::DropGuard>,
}

impl Pages {
    pub(crate) async fn serve(pages: &[(&str, &str)]) -> Self {
        let shared = Arc::new(Shared::default());
        for (path, body) in pages {
            shared
                .pages
                .lock()
                .unwrap()
                .insert((*path).to_owned(), Answer::html(body));
        }
        let app = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        let (origin, stop) = serve(app).await;
        Self {
            origin,
            shared,
            _stop: Arc::new(stop),
        }
    }

    pub(crate) fn add(&self, path: &str, answer: Answer) {
        self.shared
            .pages
            .lock()
            .unwrap()
            .insert(path.to_owned(), answer);
    }

    /// A page that is another one with every request: it is told how many there were.
    pub(crate) fn make(&self, path: &str, page: Made) {
        let mut made = self.shared.made.lock().unwrap();
        made.insert(path.to_owned(), page);
    }

    /// `METHOD /path` of every request so far, favicons left out.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.log.lock().unwrap().clone()
    }

    pub(crate) fn real_origin(&self) -> &str {
        &self.origin
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let path = request.uri().path().to_owned();
    if path != "/favicon.ico" {
        shared
            .log
            .lock()
            .unwrap()
            .push(format!("{} {path}", request.method()));
    }
    let fixed = shared.pages.lock().unwrap().get(&path).cloned();
    let page = fixed.or_else(|| {
        let page = *shared.made.lock().unwrap().get(&path)?;
        let log = shared.log.lock().unwrap();
        let count = log
            .iter()
            .filter(|line| line.ends_with(&format!(" {path}")))
            .count();
        Some(Answer::html(&page(u32::try_from(count).unwrap())))
    });
    let page = page.unwrap_or_else(|| Answer {
        status: 404,
        ..Answer::html("<title>Not found</title><h1>Not found</h1>")
    });
    let mut response = Response::new(Body::from(page.body));
    *response.status_mut() = StatusCode::from_u16(page.status).unwrap();
    for (name, value) in page.headers {
        let name = axum::http::HeaderName::try_from(name).unwrap();
        response.headers_mut().append(name, value.parse().unwrap());
    }
    response
}

#[async_trait]
impl Site for Pages {
    fn logical_origin(&self) -> &'static str {
        "http://pages.test"
    }

    async fn lease(&self, _cx: &Cx) -> Result<Box<dyn SiteInstance>, SiteError> {
        Ok(Box::new(FixedSite::new(&self.origin)))
    }
}
