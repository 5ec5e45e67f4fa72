//! "Build your own lamp": the single-page app and what it asks the server.

use axum::http::StatusCode;
use rusqlite::OptionalExtension;
use serde_json::{Value, json};

use crate::demo::html::html;
use crate::demo::seed::CUSTOM_LAMP;
use crate::demo::store::{self, Cents};
use crate::demo::visit::{Answer, Reply, Visit};

/// One step: id, question, and what can be chosen (id, name, cents).
type Step = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str, i64)],
);

const STEPS: [Step; 4] = [
    (
        "base",
        "Choose a base",
        &[
            ("oak", "Oak base", 2900),
            ("brass", "Brass base", 4900),
            ("marble", "Marble base", 6900),
        ],
    ),
    (
        "shade",
        "Choose a shade",
        &[
            ("linen", "Linen shade", 2800),
            ("paper", "Paper shade", 1500),
            ("globe", "Glass globe", 4500),
        ],
    ),
    (
        "light",
        "Choose a light",
        &[
            ("warm", "Warm white light", 900),
            ("dimmable", "Dimmable light", 2400),
            ("spot", "Bright reading light", 1900),
        ],
    ),
    (
        "cable",
        "Choose a cable",
        &[
            ("black", "Black cable", 700),
            ("red", "Red textile cable", 1200),
        ],
    ),
];

/// Pairs that do not go together.
const APART: [(&str, &str); 3] = [("oak", "globe"), ("marble", "paper"), ("paper", "spot")];

/// `GET /configurator`
pub(in crate::demo) fn configurator(visit: &mut Visit<'_>) -> Answer {
    let body = html!(
        "<section class=\"narrow\"><h1>Build your own lamp</h1>\
         <p class=\"lead\">Four choices, one lamp. We build it within a week.</p>\
         <div id=\"configurator\" data-csrf=\"{}\"><noscript><p class=\"notice bad\">This page needs JavaScript.</p>\
         </noscript></div></section><script src=\"/assets/configurator.js\" defer></script>",
        visit.session.csrf
    );
    Reply::page("Build your own lamp", body)
}

/// `GET /api/configurator/options`
pub(in crate::demo) fn options(_: &mut Visit<'_>) -> Answer {
    let steps: Vec<Value> = STEPS
        .iter()
        .map(|(id, title, options)| {
            let options: Vec<Value> = options
                .iter()
                .map(|(id, name, cents)| json!({ "id": id, "name": name, "cents": cents }))
                .collect();
            json!({ "id": id, "title": title, "options": options })
        })
        .collect();
    Ok(Reply::Json(
        StatusCode::OK,
        json!({ "steps": steps, "apart": APART }),
    ))
}

/// `POST /api/configurator/cart`: the server believes nothing and computes the price itself.
pub(in crate::demo) fn add_configured(visit: &mut Visit<'_>) -> Answer {
    let refused = |why: String| {
        Ok(Reply::Json(
            StatusCode::UNPROCESSABLE_ENTITY,
            json!({ "error": why }),
        ))
    };
    let mut names = Vec::with_capacity(STEPS.len());
    let mut cents = 0;
    for (step, title, options) in STEPS {
        let chosen = visit.field(step);
        let Some((_, name, more)) = options.iter().find(|(id, _, _)| *id == chosen) else {
            return refused(format!("{title}."));
        };
        names.push(*name);
        cents += more;
    }
    let has = |id: &str| STEPS.iter().any(|(step, _, _)| visit.field(step) == id);
    if let Some((one, other)) = APART.iter().find(|(one, other)| has(one) && has(other)) {
        return refused(format!("{one} and {other} do not go together."));
    }
    let made: Option<(i64, i64)> = visit
        .db
        .prepare_cached(
            "select v.id, v.stock from variants v join products p on p.id = v.product_id
             where p.slug = ?1",
        )?
        .query_row([CUSTOM_LAMP], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let owner = visit.owner();
    let Some((variant, stock)) = made else {
        return refused("We build no lamps at the moment.".to_owned());
    };
    if store::in_cart(visit.db, &owner, variant)? >= stock.min(store::MOST) {
        return refused("We cannot build more lamps than these.".to_owned());
    }
    store::put_in_cart(
        visit.db,
        &owner,
        variant,
        1,
        Cents(cents),
        &names.join(", "),
    )?;
    let pieces: i64 = store::cart(visit.db, &owner)?
        .iter()
        .map(|line| line.qty)
        .sum();
    Ok(Reply::Json(
        StatusCode::OK,
        json!({ "pieces": pieces, "price": Cents(cents).to_string() }),
    ))
}
