//! From the cart to an order: one form, one look at it, one button.

use axum::http::StatusCode;
use rusqlite::{OptionalExtension, params};

use crate::demo::html::{Html, html};
use crate::demo::layout::{alert, csrf, field, sum_row};
use crate::demo::order::{self, Draft, Offer};
use crate::demo::store::{self, CartLine, Cents, line_name};
use crate::demo::visit::{Answer, Refusal, Reply, User, Visit, number};

/// What the form says.
fn draft_of_form(visit: &Visit<'_>) -> Draft {
    let get = |name: &str| visit.field(name).chars().take(120).collect();
    Draft {
        name: get("name"),
        street: get("street"),
        postcode: get("postcode"),
        city: get("city"),
        country: get("country"),
        shipping: get("shipping"),
        coupon: visit
            .field("coupon")
            .chars()
            .take(40)
            .collect::<String>()
            .to_uppercase(),
    }
}

/// The draft of this session, if the form was filled in.
fn saved(visit: &Visit<'_>) -> rusqlite::Result<Option<Draft>> {
    visit
        .db
        .prepare_cached(
            "select name, street, postcode, city, country, shipping, coupon from drafts
             where session_id = ?1",
        )?
        .query_row([&visit.session.id], Draft::of_row)
        .optional()
}

/// The customer and what is in the cart; an empty one leads back to it.
fn ready(visit: &Visit<'_>) -> Result<(User, Vec<CartLine>), Refusal> {
    let user = visit.customer("/checkout")?;
    let lines = store::cart(visit.db, &visit.owner())?;
    Ok((user, lines))
}

/// `GET /checkout`
pub(in crate::demo) fn checkout(visit: &mut Visit<'_>) -> Answer {
    let (user, lines) = ready(visit)?;
    if lines.is_empty() {
        return Reply::see_other("/cart");
    }
    let draft = match saved(visit)? {
        Some(draft) => draft,
        None => visit
            .db
            .prepare_cached(
                "select name, street, postcode, city, country, 'letter', '' from users where id = ?1",
            )?
            .query_row([user.id], Draft::of_row)?,
    };
    form(visit, StatusCode::OK, &draft, &lines, None)
}

fn form(
    visit: &Visit<'_>,
    status: StatusCode,
    draft: &Draft,
    lines: &[CartLine],
    why: Option<&str>,
) -> Answer {
    let ways: Html = order::shippings(visit.db)?
        .iter()
        .map(|way| {
            html!(
                "<p class=\"choice\"><label><input type=\"radio\" name=\"shipping\" value=\"{code}\"{on}> \
                 {name}, {cents}, {promise}</label></p>",
                code = way.code,
                on = Html::fixed(if way.code == draft.shipping { " checked" } else { "" }),
                name = way.name,
                cents = way.cents,
                promise = way.promise,
            )
        })
        .collect();
    let text = |label: &str, name: &str, value: &str| {
        field(label, name, "text", value, "maxlength=\"120\"")
    };
    let body = html!(
        "<h1>Checkout</h1>{why}<div class=\"browse right\"><form method=\"post\" action=\"/checkout\">{csrf}\
         <fieldset><legend>Delivery address</legend>{name}{street}{postcode}{city}{country}</fieldset>\
         <fieldset><legend>Shipping</legend>{ways}</fieldset>\
         <fieldset><legend>Voucher</legend>{coupon}</fieldset>\
         <button>Review order</button></form><aside class=\"panel\"><h2>Your order</h2>{lines}\
         <p class=\"total\">Subtotal {subtotal}</p></aside></div>",
        why = why.map(alert),
        csrf = csrf(visit),
        name = text("Name", "name", &draft.name),
        street = text("Street", "street", &draft.street),
        postcode = text("Postcode", "postcode", &draft.postcode),
        city = text("City", "city", &draft.city),
        country = text("Country", "country", &draft.country),
        ways = ways,
        coupon = text("Voucher code", "coupon", &draft.coupon),
        lines = short_list(lines),
        subtotal = store::subtotal(lines),
    );
    Reply::page_with(status, "Checkout", body)
}

fn short_list(lines: &[CartLine]) -> Html {
    let items: Html = lines
        .iter()
        .map(|line| {
            html!(
                "<li>{} × {}</li>",
                line.qty,
                line_name(&line.name, &line.label, &line.note)
            )
        })
        .collect();
    html!("<ul>{}</ul>", items)
}

/// `POST /checkout`
pub(in crate::demo) fn post_checkout(visit: &mut Visit<'_>) -> Answer {
    let (_, lines) = ready(visit)?;
    if lines.is_empty() {
        return Reply::see_other("/cart");
    }
    let draft = draft_of_form(visit);
    if let Err(why) = order::offer(visit.db, &draft, &lines)? {
        return form(
            visit,
            StatusCode::UNPROCESSABLE_ENTITY,
            &draft,
            &lines,
            Some(&why),
        );
    }
    visit
        .db
        .prepare_cached("insert or replace into drafts values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
        .execute(params![
            visit.session.id,
            draft.name,
            draft.street,
            draft.postcode,
            draft.city,
            draft.country,
            draft.shipping,
            draft.coupon,
        ])?;
    Reply::see_other("/checkout/confirm")
}

/// The saved draft with its offer; or the answer where there is none to confirm.
fn offered(
    visit: &Visit<'_>,
    lines: &[CartLine],
) -> Result<Result<(Draft, Offer), Reply>, Refusal> {
    let Some(draft) = saved(visit)?.filter(|_| !lines.is_empty()) else {
        return Reply::see_other("/checkout").map(Err);
    };
    match order::offer(visit.db, &draft, lines)? {
        Ok(offer) => Ok(Ok((draft, offer))),
        Err(why) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            form(visit, status, &draft, lines, Some(&why)).map(Err)
        }
    }
}

/// `GET /checkout/confirm`
pub(in crate::demo) fn confirm(visit: &mut Visit<'_>) -> Answer {
    let (_, lines) = ready(visit)?;
    let (draft, offer) = match offered(visit, &lines)? {
        Ok(offered) => offered,
        Err(elsewhere) => return Ok(elsewhere),
    };
    let body = html!(
        "<h1>Confirm your order</h1><div class=\"browse right\"><section><h2>What you get</h2>{lines}\
         <h2>Where it goes</h2><address>{name}<br>{street}<br>{postcode} {city}<br>{country}</address>\
         <p>{way}, {promise}</p><p><a href=\"/checkout\">Change address, shipping or voucher</a></p></section>\
         <aside class=\"panel\"><h2>What it costs</h2><dl class=\"sums\">{subtotal}{discount}{postage}{total}</dl>\
         <form method=\"post\" action=\"/checkout/confirm\">{csrf}<button>Place order</button></form></aside></div>",
        lines = short_list(&lines),
        name = draft.name,
        street = draft.street,
        postcode = draft.postcode,
        city = draft.city,
        country = draft.country,
        way = offer.shipping.name,
        promise = offer.shipping.promise,
        subtotal = sum_row("Subtotal", offer.subtotal),
        discount = (offer.discount.0 > 0).then(|| sum_row(
            &format!("Voucher {}", draft.coupon),
            Cents(-offer.discount.0)
        )),
        postage = sum_row("Shipping", offer.shipping.cents),
        total = sum_row("Total", offer.total),
        csrf = csrf(visit),
    );
    Reply::page("Confirm your order", body)
}

/// `POST /checkout/confirm`
pub(in crate::demo) fn place_order(visit: &mut Visit<'_>) -> Answer {
    let (user, lines) = ready(visit)?;
    let (draft, offer) = match offered(visit, &lines)? {
        Ok(offered) => offered,
        Err(elsewhere) => return Ok(elsewhere),
    };
    let owner = visit.owner();
    let id = order::place(visit.db, user.id, &owner, &draft, &offer, &lines)?;
    visit
        .db
        .prepare_cached("delete from drafts where session_id = ?1")?
        .execute([&visit.session.id])?;
    Reply::see_other(format!("/checkout/thanks/{id}"))
}

/// `GET /checkout/thanks/{id}`
pub(in crate::demo) fn thanks(visit: &mut Visit<'_>) -> Answer {
    let user = visit.customer("/orders")?;
    let total = number(visit.param("id"), 1, i64::MAX)
        .map(|id| {
            visit
                .db
                .prepare_cached("select total from orders where id = ?1 and user_id = ?2")?
                .query_row([id, user.id], |row| row.get(0).map(Cents))
                .optional()
        })
        .transpose()?
        .flatten()
        .ok_or(Refusal::NotFound("There is no such order on your account."))?;
    let body = html!(
        "<section class=\"narrow\"><h1>Thank you, {name}</h1><p>Your order {id} over {total} has been received.</p>\
         <p><a class=\"button\" href=\"/orders/{id}\">See order {id}</a></p></section>",
        name = user.name,
        id = visit.param("id"),
        total = total,
    );
    Reply::page("Thank you", body)
}
