//! One request, as a page sees it: who asks, with what, and what may be answered.

use axum::http::StatusCode;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

use super::html::Html;
use super::store;

/// What a page answers.
#[derive(Debug)]
pub(super) enum Reply {
    /// A page in the shop's frame.
    Page {
        status: StatusCode,
        title: String,
        body: Html,
    },
    /// Go there by GET.
    SeeOther(String),
    /// For the single-page app.
    Json(StatusCode, Value),
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "these are the last words of functions that can fail"
)]
impl Reply {
    /// An ordinary page.
    pub(super) fn page(title: &str, body: Html) -> Result<Self, Refusal> {
        Self::page_with(StatusCode::OK, title, body)
    }

    /// A page with a status of its own.
    pub(super) fn page_with(status: StatusCode, title: &str, body: Html) -> Result<Self, Refusal> {
        Ok(Self::Page {
            status,
            title: title.to_owned(),
            body,
        })
    }

    /// Elsewhere.
    pub(super) fn see_other(path: impl Into<String>) -> Result<Self, Refusal> {
        Ok(Self::SeeOther(path.into()))
    }
}

/// Why a request gets no proper answer. Each becomes a page.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// There is no such thing; the sentence says what.
    #[error("{0}")]
    NotFound(&'static str),
    /// The method does not fit the address.
    #[error("this address does not answer to that")]
    WrongMethod,
    /// The request could not be read.
    #[error("{1}")]
    Malformed(StatusCode, String),
    /// The form's token is not the session's.
    #[error("the form was not made by this shop for you")]
    Forged,
    /// Only for customers; where to come back to after signing in.
    #[error("please sign in")]
    SignIn(String),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
}

/// What a page gives back.
pub(super) type Answer = Result<Reply, Refusal>;

/// A signed-in customer.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) id: i64,
    pub(super) name: String,
}

/// A browser's session.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) csrf: String,
    pub(super) user: Option<User>,
    /// Whether the browser has yet to be told its id.
    pub(super) fresh: bool,
}

impl Session {
    /// The session of this id, or a new one.
    pub(super) fn resume(db: &Connection, id: Option<&str>) -> rusqlite::Result<Self> {
        let known = match id {
            None => None,
            Some(id) => db
                .prepare_cached(
                    "select s.id, s.csrf, u.id, u.name from sessions s
                     left join users u on u.id = s.user_id where s.id = ?1",
                )?
                .query_row([id], |row| {
                    let user: Option<i64> = row.get(2)?;
                    Ok(Self {
                        id: row.get(0)?,
                        csrf: row.get(1)?,
                        user: match user {
                            Some(id) => Some(User {
                                id,
                                name: row.get(3)?,
                            }),
                            None => None,
                        },
                        fresh: false,
                    })
                })
                .optional()?,
        };
        known.map_or_else(|| Self::start(db), Ok)
    }

    /// A new session without a customer. Ids derive from a counter, so that equal histories give
    /// equal cookies; a real shop must draw them from the system's randomness.
    fn start(db: &Connection) -> rusqlite::Result<Self> {
        let nth: i64 = db
            .prepare_cached(
                "update meta set value = cast(value as integer) + 1 where key = 'sessions'
                 returning cast(value as integer)",
            )?
            .query_row([], |row| row.get(0))?;
        let secret = |what: &str| {
            let mut hex = blake3::hash(format!("hearth and harbour {what} {nth}").as_bytes())
                .to_hex()
                .to_string();
            hex.truncate(32);
            hex
        };
        let session = Self {
            id: secret("session"),
            csrf: secret("csrf"),
            user: None,
            fresh: true,
        };
        db.prepare_cached("insert into sessions (id, csrf) values (?1, ?2)")?
            .execute(params![session.id, session.csrf])?;
        Ok(session)
    }
}

/// A request being answered.
pub(super) struct Visit<'a> {
    pub(super) db: &'a Connection,
    pub(super) session: Session,
    /// The path, as sent.
    pub(super) path: String,
    /// The captured parts of the path.
    pub(super) params: Vec<(String, String)>,
    /// The query of a GET, the form of a POST.
    pub(super) fields: Vec<(String, String)>,
}

impl Visit<'_> {
    /// A captured part of the path.
    pub(super) fn param(&self, name: &str) -> &str {
        find(&self.params, name).unwrap_or_default()
    }

    /// A field without the white space around it; empty if it is not there.
    pub(super) fn field(&self, name: &str) -> &str {
        find(&self.fields, name).unwrap_or_default().trim()
    }

    /// Whom the cart belongs to.
    pub(super) fn owner(&self) -> String {
        match &self.session.user {
            Some(user) => format!("user:{}", user.id),
            None => format!("session:{}", self.session.id),
        }
    }

    /// The customer, who is sent back to `back` after signing in.
    pub(super) fn customer(&self, back: &str) -> Result<User, Refusal> {
        self.session
            .user
            .clone()
            .ok_or_else(|| Refusal::SignIn(back.to_owned()))
    }

    /// Signs a customer in: a new session id (so that an old one is worth nothing), the guest's
    /// cart joins the saved one.
    pub(super) fn sign_in(&mut self, user: User) -> rusqlite::Result<()> {
        let guest = self.owner();
        let was_guest = self.session.user.is_none();
        self.end_session()?;
        self.session.user = Some(user);
        if let Some(user) = &self.session.user {
            self.db
                .prepare_cached("update sessions set user_id = ?1 where id = ?2")?
                .execute(params![user.id, self.session.id])?;
        }
        if was_guest {
            let owner = self.owner();
            for line in store::cart(self.db, &guest)? {
                let room = line.stock - store::in_cart(self.db, &owner, line.variant)?;
                let qty = line.qty.min(room);
                if qty > 0 {
                    store::put_in_cart(self.db, &owner, line.variant, qty, line.cents, &line.note)?;
                }
            }
            self.db
                .prepare_cached("delete from cart_lines where owner = ?1")?
                .execute([guest])?;
        }
        Ok(())
    }

    /// Forgets the session and starts another one, without a customer.
    pub(super) fn end_session(&mut self) -> rusqlite::Result<()> {
        for table in ["sessions where id", "drafts where session_id"] {
            self.db
                .prepare_cached(&format!("delete from {table} = ?1"))?
                .execute([&self.session.id])?;
        }
        self.session = Session::start(self.db)?;
        Ok(())
    }
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

/// A whole number within bounds, or nothing.
pub(super) fn number(text: &str, least: i64, most: i64) -> Option<i64> {
    text.parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
}

/// A path of this shop: begins with one slash and cannot lead to another origin.
pub(super) fn local_path(text: &str) -> Option<&str> {
    let local = text.starts_with('/')
        && !text.starts_with("//")
        && !text.contains('\\')
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    local.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_shop_are_local() {
        assert_eq!(local_path("/orders/1?a=b"), Some("/orders/1?a=b"));
        for foreign in ["", "//evil", "/\\evil", "https://evil", "/a\nb", "orders"] {
            assert_eq!(local_path(foreign), None, "{foreign:?}");
        }
    }

    #[test]
    fn numbers_stay_within_bounds() {
        assert_eq!(number("99", 1, 99), Some(99));
        for bad in ["0", "100", "-1", "1.5", "", "99999999999999999999", "one"] {
            assert_eq!(number(bad, 1, 99), None, "{bad:?}");
        }
    }
}
