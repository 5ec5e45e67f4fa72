//! A small server that is nobody's fixture: a notice board in a SQLite file, with a connection that
//! stays open, sessions in the file, absolute links, and cookies that it deletes when it does not
//! know them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode, header};
use rusqlite::Connection;

use super::serve::{listen, serve_on};

struct Inner {
    db: Mutex<Connection>,
    log: Mutex<Vec<String>>,
    /// States saved by request, by name.
    saved: Mutex<Vec<Vec<String>>>,
}

/// The server. Dropping it stops it.
pub(crate) struct Board {
    pub(crate) origin: String,
    pub(crate) file: PathBuf,
    inner: Arc<Inner>,
    _stop: tokio_util::sync::DropGuard,
}

impl Board {
    /// A board on a free port, in `folder/PORT.db`.
    pub(crate) async fn serve(folder: &Path) -> Self {
        let (listener, address) = listen().await;
        let file = folder.join(format!("{}.db", address.port()));
        let db = Connection::open(&file).unwrap();
        db.execute_batch(
            "pragma journal_mode = wal; create table notes (text); create table sessions (id);",
        )
        .unwrap();
        let inner = Arc::new(Inner {
            db: Mutex::new(db),
            log: Mutex::default(),
            saved: Mutex::default(),
        });
        let origin = format!("http://{address}");
        let app = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&inner));
        Self {
            origin,
            file,
            inner,
            _stop: serve_on(listener, app),
        }
    }

    /// `METHOD /path` of every request since the last call.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.inner.log.lock().unwrap())
    }

    pub(crate) fn notes(&self) -> Vec<String> {
        self.inner.notes()
    }

    /// How many are signed in.
    pub(crate) fn sessions(&self) -> usize {
        self.inner.column("select id from sessions").len()
    }

    /// What somebody else pins, without us.
    pub(crate) fn pin(&self, note: &str) {
        let db = self.inner.db.lock().unwrap();
        db.execute("insert into notes values (?1)", [note]).unwrap();
    }
}

impl Inner {
    fn column(&self, statement: &str) -> Vec<String> {
        let db = self.db.lock().unwrap();
        let mut prepared = db.prepare(statement).unwrap();
        let rows = prepared.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }

    fn notes(&self) -> Vec<String> {
        self.column("select text from notes order by rowid")
    }
}

async fn answer(State(inner): State<Arc<Inner>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    if path == "/favicon.ico" {
        return page(StatusCode::NOT_FOUND, "");
    }
    let body = axum::body::to_bytes(body, 1 << 16).await.unwrap();
    let field = String::from_utf8_lossy(&body).into_owned();
    let field = field
        .split_once('=')
        .map_or("", |(_, v)| v)
        .replace('+', " ");
    inner
        .log
        .lock()
        .unwrap()
        .push(format!("{} {path}", parts.method));
    let text = |name: header::HeaderName| {
        let value = parts.headers.get(name);
        value.map_or("", |v| v.to_str().unwrap()).to_owned()
    };
    let (host, cookie) = (text(header::HOST), text(header::COOKIE));
    let session = cookie.strip_prefix("sid=").map(str::to_owned);
    let run = |statement: &str, value: &str| {
        let db = inner.db.lock().unwrap();
        db.execute(statement, [value]).unwrap();
    };
    match (parts.method.as_str(), path.as_str()) {
        ("POST", "/pin") => {
            run("insert into notes values (?1)", &field);
            return redirect(None);
        }
        ("POST", "/sign-in") => {
            // Sessions are numbered: the same number on two servers is not the same session.
            let id = format!("{host}-{}", inner.column("select id from sessions").len());
            run("insert into sessions values (?1)", &id);
            return redirect(Some(&format!("sid={id}")));
        }
        ("POST", "/save") => {
            let mut saved = inner.saved.lock().unwrap();
            saved.push(inner.notes());
            let id = saved.len() - 1;
            return page(StatusCode::OK, &format!("{{\"id\": \"s{id}\"}}"));
        }
        ("PUT", restore) if restore.starts_with("/restore/s") => {
            let saved = inner.saved.lock().unwrap();
            let number: usize = restore["/restore/s".len()..].parse().unwrap();
            let Some(notes) = saved.get(number) else {
                return page(StatusCode::NOT_FOUND, "no such state");
            };
            run("delete from notes where text <> ?1", "");
            for note in notes {
                run("insert into notes values (?1)", note);
            }
            return page(StatusCode::OK, "");
        }
        ("GET", "/about") => {
            return page(
                StatusCode::OK,
                "<title>About</title><h1>About this board</h1>",
            );
        }
        _ => {}
    }
    let known = session.as_ref().is_some_and(|id| {
        let all = inner.column("select id from sessions");
        all.contains(id)
    });
    let notes = match inner.notes().join("</li><li>") {
        none if none.is_empty() => String::new(),
        notes => format!("<li>{notes}</li>"),
    };
    let state = if known { "signed in" } else { "signed out" };
    let mut response = page(
        StatusCode::OK,
        &format!(
            "<title>Board</title><h1>Board</h1><p>You are {state} at https://{host}.</p><ul>{notes}</ul>\
             <form action=/pin method=post><label>Note <input name=text></label><button>Pin</button></form>\
             <form action=/sign-in method=post><button>Sign in</button></form>\
             <a href='http://{host}/'>Reload</a> <a href='http://{host}/about'>About</a>"
        ),
    );
    if session.is_some() && !known {
        let gone = "sid=; Max-Age=0; Path=/".parse().unwrap();
        response.headers_mut().insert(header::SET_COOKIE, gone);
    }
    response
}

fn page(status: StatusCode, body: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_owned()));
    *response.status_mut() = status;
    let html = "text/html; charset=utf-8".parse().unwrap();
    response.headers_mut().insert(header::CONTENT_TYPE, html);
    response
}

fn redirect(cookie: Option<&str>) -> Response<Body> {
    let mut response = page(StatusCode::SEE_OTHER, "");
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, "/".parse().unwrap());
    if let Some(cookie) = cookie {
        let cookie = format!("{cookie}; Path=/").parse().unwrap();
        headers.insert(header::SET_COOKIE, cookie);
    }
    response
}
