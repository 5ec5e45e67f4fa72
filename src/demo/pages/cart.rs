//! The cart.

use axum::http::StatusCode;
use rusqlite::params;

use super::product::{unfit, wanted};
use crate::demo::html::{Html, html};
use crate::demo::layout::{alert, csrf, done};
use crate::demo::picture::picture;
use crate::demo::seed::CUSTOM_LAMP;
use crate::demo::store::{self, CartLine, Cents, MOST, line_name};
use crate::demo::visit::{Answer, Refusal, Reply, Visit, number};

/// `GET /cart`
pub(in crate::demo) fn cart(visit: &mut Visit<'_>) -> Answer {
    let said = match visit.field("said") {
        "added" => Some(done("Added to your cart.")),
        "updated" => Some(done("Your cart is up to date.")),
        "removed" => Some(done("Removed from your cart.")),
        _ => None,
    };
    show(visit, StatusCode::OK, said.as_ref())
}

fn show(visit: &Visit<'_>, status: StatusCode, said: Option<&Html>) -> Answer {
    let lines = store::cart(visit.db, &visit.owner())?;
    let inside = if lines.is_empty() {
        html!(
            "<p>Your cart is empty.</p><p><a class=\"button\" href=\"/search\">See all products</a></p>"
        )
    } else {
        let rows: Html = lines.iter().map(|line| row(visit, line)).collect();
        html!(
            "<table class=\"lines\"><thead><tr><th>Product</th><th>Price</th><th>Quantity</th><th>Sum</th><th></th></tr></thead>\
             <tbody>{rows}</tbody></table><p class=\"total\">Subtotal {total}, without shipping</p>\
             <p class=\"actions\"><a class=\"button\" href=\"/checkout\">Go to checkout</a></p>",
            rows = rows,
            total = store::subtotal(&lines),
        )
    };
    let body = html!("<h1>Your cart</h1>{}{}", said, inside);
    Reply::page_with(status, "Your cart", body)
}

fn row(visit: &Visit<'_>, line: &CartLine) -> Html {
    let path = if line.slug == CUSTOM_LAMP {
        "/configurator".to_owned()
    } else {
        format!("/product/{}", line.slug)
    };
    html!(
        "<tr><td><a class=\"mini\" href=\"{path}\">{picture}{name}</a></td><td>{price}</td>\
         <td><form class=\"row\" method=\"post\" action=\"/cart/update\">{csrf}\
         <input type=\"hidden\" name=\"line\" value=\"{id}\">\
         <label class=\"quiet\" for=\"qty-{id}\">Quantity of {name}</label>\
         <input id=\"qty-{id}\" name=\"qty\" type=\"number\" min=\"1\" max=\"99\" value=\"{qty}\">\
         <button class=\"second\">Update</button></form></td><td>{sum}</td>\
         <td><form method=\"post\" action=\"/cart/remove\">{csrf}\
         <input type=\"hidden\" name=\"line\" value=\"{id}\">\
         <button class=\"link\" aria-label=\"Remove {name}\">Remove</button></form></td></tr>",
        path = path,
        picture = picture(&line.art, &line.slug, None),
        name = line_name(&line.name, &line.label, &line.note),
        price = line.cents,
        csrf = csrf(visit),
        id = line.id,
        qty = line.qty,
        sum = Cents(line.cents.0 * line.qty),
    )
}

/// `POST /cart/add`
pub(in crate::demo) fn add_to_cart(visit: &mut Visit<'_>) -> Answer {
    let product = wanted(visit, visit.field("product"))?;
    let chosen = [visit.field("option1"), visit.field("option2")];
    for (axis, value) in product.axes.iter().zip(chosen) {
        if value.is_empty() {
            let why = format!("Please choose first: {axis}.");
            return unfit(visit, &product, &why);
        }
    }
    let variants = store::variants(visit.db, product.id)?;
    let variant = variants
        .iter()
        .find(|variant| (0..product.axes.len()).all(|at| variant.options[at] == chosen[at]));
    let Some(variant) = variant else {
        return unfit(visit, &product, "We do not have it like that.");
    };
    if variant.stock == 0 {
        let why = format!(
            "{} is sold out.",
            line_name(&product.name, &variant.label, "")
        );
        return unfit(visit, &product, &why);
    }
    let Some(qty) = number(visit.field("qty"), 1, MOST) else {
        return unfit(
            visit,
            &product,
            "The quantity must be a whole number from 1 to 99.",
        );
    };
    let owner = visit.owner();
    let had = store::in_cart(visit.db, &owner, variant.id)?;
    if had + qty > variant.stock.min(MOST) {
        let why = format!(
            "We have only {} of these, and {had} are in your cart.",
            variant.stock
        );
        return unfit(visit, &product, &why);
    }
    store::put_in_cart(visit.db, &owner, variant.id, qty, variant.cents, "")?;
    Reply::see_other("/cart?said=added")
}

/// The line of the visitor's own cart that the form means.
fn own_line(visit: &Visit<'_>) -> Result<CartLine, Refusal> {
    let id = number(visit.field("line"), 1, i64::MAX);
    store::cart(visit.db, &visit.owner())?
        .into_iter()
        .find(|line| Some(line.id) == id)
        .ok_or(Refusal::NotFound("This is not in your cart any more."))
}

/// `POST /cart/update`
pub(in crate::demo) fn update_cart(visit: &mut Visit<'_>) -> Answer {
    let line = own_line(visit)?;
    let refused = |why: &str| show(visit, StatusCode::UNPROCESSABLE_ENTITY, Some(&alert(why)));
    let Some(qty) = number(visit.field("qty"), 1, MOST) else {
        return refused("The quantity must be a whole number from 1 to 99.");
    };
    if qty > line.stock {
        return refused(&format!("We have only {} of these.", line.stock));
    }
    visit
        .db
        .prepare_cached("update cart_lines set qty = ?1 where id = ?2")?
        .execute(params![qty, line.id])?;
    Reply::see_other("/cart?said=updated")
}

/// `POST /cart/remove`
pub(in crate::demo) fn remove_from_cart(visit: &mut Visit<'_>) -> Answer {
    let line = own_line(visit)?;
    visit
        .db
        .prepare_cached("delete from cart_lines where id = ?1")?
        .execute([line.id])?;
    Reply::see_other("/cart?said=removed")
}
