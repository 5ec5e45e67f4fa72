//! Pages for requests that get no proper answer.

use axum::http::StatusCode;

use crate::demo::html::{Html, html};
use crate::demo::shop::sign_in_path;
use crate::demo::visit::{Refusal, Reply};

/// The page that says why; only a failing database stays an error.
pub(in crate::demo) fn refusal(refusal: Refusal) -> rusqlite::Result<Reply> {
    let (status, title, text) = match refusal {
        Refusal::Database(error) => return Err(error),
        Refusal::SignIn(back) => return Ok(Reply::SeeOther(sign_in_path(&back))),
        Refusal::NotFound(what) => (StatusCode::NOT_FOUND, "Not found", what.to_owned()),
        Refusal::WrongMethod => (
            StatusCode::METHOD_NOT_ALLOWED,
            "Not like this",
            "This address cannot be used in that way.".to_owned(),
        ),
        Refusal::Malformed(status, reason) => (status, "We could not read that", reason),
        Refusal::Forged => (
            StatusCode::FORBIDDEN,
            "This form is not valid any more",
            "It was made for another session. Go back, load the page again and repeat what you did."
                .to_owned(),
        ),
    };
    Ok(Reply::Page {
        status,
        title: title.to_owned(),
        body: page(title, &text),
    })
}

fn page(title: &str, text: &str) -> Html {
    html!(
        "<section class=\"narrow\"><h1>{}</h1><p>{}</p><p><a href=\"/\">To the start page</a></p></section>",
        title,
        text
    )
}
