//! Carts and wish lists.

use axum::http::StatusCode;
use rusqlite::{OptionalExtension, params};
use serde_json::{Value, json};

use super::{Answer, Call, Customer, Problem, goods, ok};
use crate::demo::store::{self, CartLine, MOST};

/// A cart as JSON.
fn cart_of(call: &Call<'_>, customer: &Customer) -> Result<Value, Problem> {
    let lines = store::cart(call.db, &customer.owner())?;
    let items: Vec<Value> = lines
        .iter()
        .map(|line| {
            json!({
                "item": line.id,
                "product": line.slug,
                "name": line.name,
                "variant": line.variant,
                "label": line.label,
                "note": line.note,
                "quantity": line.qty,
                "cents": line.cents.0,
            })
        })
        .collect();
    Ok(json!({
        "customer": customer.username,
        "items": items,
        "subtotal_cents": store::subtotal(&lines).0,
    }))
}

/// `getCart`
pub(super) fn show(call: &Call<'_>) -> Answer {
    ok(cart_of(call, &call.customer()?)?)
}

/// `emptyCart`
pub(super) fn empty(call: &Call<'_>) -> Answer {
    let customer = call.customer()?;
    call.db
        .prepare_cached("delete from cart_lines where owner = ?1")?
        .execute([customer.owner()])?;
    ok(cart_of(call, &customer)?)
}

/// `addToCart`
pub(super) fn add(call: &Call<'_>) -> Answer {
    let customer = call.customer()?;
    let id = call.body_number("variant", 1, i64::MAX)?;
    let quantity = match call.body["quantity"] {
        Value::Null => 1,
        _ => call.body_number("quantity", 1, MOST)?,
    };
    let known: Option<(i64, i64, String)> = call
        .db
        .prepare_cached(
            "select v.cents, v.stock, p.name from variants v join products p on p.id = v.product_id
             where v.id = ?1",
        )?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let (cents, stock, name) =
        known.ok_or_else(|| Problem::Missing(format!("there is no variant {id}")))?;
    let owner = customer.owner();
    let had = store::in_cart(call.db, &owner, id)?;
    if had + quantity > stock.min(MOST) {
        return Err(Problem::Refused(format!(
            "there are {stock} of {name} in stock, and {had} are in the cart"
        )));
    }
    store::put_in_cart(call.db, &owner, id, quantity, store::Cents(cents), "")?;
    Ok((StatusCode::CREATED, cart_of(call, &customer)?))
}

/// The line that the path names.
fn line(call: &Call<'_>, customer: &Customer) -> Result<CartLine, Problem> {
    let item = call.param("item");
    store::cart(call.db, &customer.owner())?
        .into_iter()
        .find(|line| line.id.to_string() == item)
        .ok_or_else(|| Problem::Missing(format!("there is no item {item} in this cart")))
}

/// `changeCartItem`
pub(super) fn change(call: &Call<'_>) -> Answer {
    let customer = call.customer()?;
    let line = line(call, &customer)?;
    let quantity = call.body_number("quantity", 1, MOST)?;
    if quantity > line.stock {
        let why = format!("there are {} of {} in stock", line.stock, line.name);
        return Err(Problem::Refused(why));
    }
    call.db
        .prepare_cached("update cart_lines set qty = ?1 where id = ?2")?
        .execute(params![quantity, line.id])?;
    ok(cart_of(call, &customer)?)
}

/// `removeCartItem`
pub(super) fn remove(call: &Call<'_>) -> Answer {
    let customer = call.customer()?;
    let line = line(call, &customer)?;
    call.db
        .prepare_cached("delete from cart_lines where id = ?1")?
        .execute([line.id])?;
    ok(cart_of(call, &customer)?)
}

fn wishes(call: &Call<'_>, customer: &Customer) -> Answer {
    let slugs: Vec<String> = call
        .db
        .prepare_cached(
            "select p.slug from wishlist w join products p on p.id = w.product_id
             where w.user_id = ?1 order by p.id",
        )?
        .query_map([customer.id], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    ok(json!({ "customer": customer.username, "products": slugs }))
}

/// `getWishlist`
pub(super) fn wishlist(call: &Call<'_>) -> Answer {
    wishes(call, &call.customer()?)
}

/// `addToWishlist`
pub(super) fn wish(call: &Call<'_>) -> Answer {
    let customer = call.customer()?;
    let product = goods::named(call)?;
    call.db
        .prepare_cached("insert or ignore into wishlist (user_id, product_id) values (?1, ?2)")?
        .execute(params![customer.id, product.id])?;
    wishes(call, &customer)
}

/// `removeFromWishlist`
pub(super) fn unwish(call: &Call<'_>) -> Answer {
    let customer = call.customer()?;
    let product = goods::named(call)?;
    call.db
        .prepare_cached("delete from wishlist where user_id = ?1 and product_id = ?2")?
        .execute(params![customer.id, product.id])?;
    wishes(call, &customer)
}
