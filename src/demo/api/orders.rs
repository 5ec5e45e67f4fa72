//! Customers, what they order, and what they write.

use axum::http::StatusCode;
use rusqlite::{OptionalExtension, params};
use serde_json::{Value, json};

use super::{Answer, Call, Customer, Problem, ok};
use crate::demo::order::{self, Draft, Offer};
use crate::demo::store::{self, CartLine};

/// `listShipping`
pub(super) fn shipping(call: &Call<'_>) -> Answer {
    let ways: Vec<Value> = order::shippings(call.db)?
        .into_iter()
        .map(|way| {
            json!({
                "code": way.code,
                "name": way.name,
                "promise": way.promise,
                "cents": way.cents.0,
                "max_grams": way.max_grams,
                "takes_oversize": way.bulky,
                "takes_vouchers": way.coupons,
            })
        })
        .collect();
    ok(json!({ "shipping": ways }))
}

/// `getVoucher`
pub(super) fn voucher(call: &Call<'_>) -> Answer {
    let code = call.param("code").to_uppercase();
    let known: Option<(i64, String)> = call
        .db
        .prepare_cached("select percent, valid_until from coupons where code = ?1")?
        .query_row([&code], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (percent, until) =
        known.ok_or_else(|| Problem::Missing(format!("there is no voucher `{code}`")))?;
    let valid = until >= store::today(call.db)?;
    ok(json!({ "code": code, "percent": percent, "valid_until": until, "valid": valid }))
}

/// `getCustomer`
pub(super) fn customer(call: &Call<'_>) -> Answer {
    let customer = call.customer()?;
    let value = call
        .db
        .prepare_cached(
            "select name, email, street, postcode, city, country from users where id = ?1",
        )?
        .query_row([customer.id], |row| {
            Ok(json!({
                "username": customer.username,
                "name": row.get::<_, String>(0)?,
                "email": row.get::<_, String>(1)?,
                "street": row.get::<_, String>(2)?,
                "postcode": row.get::<_, String>(3)?,
                "city": row.get::<_, String>(4)?,
                "country": row.get::<_, String>(5)?,
            }))
        })?;
    ok(value)
}

/// The customer's cart with a way to send it and a voucher: what it would cost.
fn offered(
    call: &Call<'_>,
    customer: &Customer,
    shipping: &str,
    voucher: &str,
) -> Result<(Draft, Offer, Vec<CartLine>), Problem> {
    let lines = store::cart(call.db, &customer.owner())?;
    if lines.is_empty() {
        let why = format!("the cart of {} is empty", customer.username);
        return Err(Problem::Refused(why));
    }
    let mut draft = call
        .db
        .prepare_cached(
            "select name, street, postcode, city, country, '', '' from users where id = ?1",
        )?
        .query_row([customer.id], Draft::of_row)?;
    shipping.clone_into(&mut draft.shipping);
    draft.coupon = voucher.to_uppercase();
    let ways = order::shippings(call.db)?;
    if !ways.iter().any(|way| way.code == shipping) {
        let codes: Vec<String> = ways.into_iter().map(|way| way.code).collect();
        let why = format!(
            "there is no way of shipping `{shipping}`; there are {}",
            codes.join(", ")
        );
        return Err(Problem::Bad(why));
    }
    match order::offer(call.db, &draft, &lines)? {
        Ok(offer) => Ok((draft, offer, lines)),
        Err(why) => Err(Problem::Refused(why)),
    }
}

/// `quoteOrder`
pub(super) fn quote(call: &Call<'_>) -> Answer {
    let customer = call.customer()?;
    let shipping = call
        .query("shipping")
        .ok_or_else(|| Problem::Bad("`shipping` is missing".to_owned()))?;
    let voucher = call.query("voucher").unwrap_or_default();
    let (_, offer, _) = offered(call, &customer, shipping, voucher)?;
    ok(json!({
        "subtotal_cents": offer.subtotal.0,
        "discount_cents": offer.discount.0,
        "shipping_cents": offer.shipping.cents.0,
        "total_cents": offer.total.0,
        "promise": offer.shipping.promise,
    }))
}

/// `placeOrder`
pub(super) fn place(call: &Call<'_>) -> Answer {
    let customer = call.customer()?;
    let shipping = call.needed_text("shipping")?;
    let voucher = call.body_text("voucher")?.unwrap_or_default();
    let (draft, offer, lines) = offered(call, &customer, shipping, voucher)?;
    let owner = customer.owner();
    let id = order::place(call.db, customer.id, &owner, &draft, &offer, &lines)?;
    Ok((StatusCode::CREATED, one(call, id)?))
}

/// An order as JSON.
fn one(call: &Call<'_>, id: i64) -> Result<Value, Problem> {
    let order = call
        .db
        .prepare_cached(
            "select u.username, o.day, o.status, o.shipping, o.coupon, o.subtotal, o.discount,
                    o.postage, o.total from orders o join users u on u.id = o.user_id where o.id = ?1",
        )?
        .query_row([id], |row| {
            Ok(json!({
                "order": id,
                "customer": row.get::<_, String>(0)?,
                "day": row.get::<_, String>(1)?,
                "status": row.get::<_, String>(2)?,
                "shipping": row.get::<_, String>(3)?,
                "voucher": row.get::<_, String>(4)?,
                "subtotal_cents": row.get::<_, i64>(5)?,
                "discount_cents": row.get::<_, i64>(6)?,
                "shipping_cents": row.get::<_, i64>(7)?,
                "total_cents": row.get::<_, i64>(8)?,
            }))
        })
        .optional()?;
    let mut order = order.ok_or_else(|| Problem::Missing(format!("there is no order {id}")))?;
    let lines: Vec<Value> = call
        .db
        .prepare_cached(
            "select p.slug, l.variant, l.qty, l.cents from order_lines l
             join products p on p.id = l.product_id where l.order_id = ?1 order by l.id",
        )?
        .query_map([id], |row| {
            Ok(json!({
                "product": row.get::<_, String>(0)?,
                "label": row.get::<_, String>(1)?,
                "quantity": row.get::<_, i64>(2)?,
                "cents": row.get::<_, i64>(3)?,
            }))
        })?
        .collect::<rusqlite::Result<_>>()?;
    order["lines"] = json!(lines);
    Ok(order)
}

fn id(call: &Call<'_>) -> Result<i64, Problem> {
    let text = call.param("id");
    text.parse()
        .map_err(|_| Problem::Bad(format!("an order's number is a whole number, not `{text}`")))
}

/// `getOrder`
pub(super) fn show(call: &Call<'_>) -> Answer {
    ok(one(call, id(call)?)?)
}

/// `listOrders`
pub(super) fn list(call: &Call<'_>) -> Answer {
    let customer = call.customer()?;
    let status = call.query("status");
    let orders: Vec<Value> = call
        .db
        .prepare_cached(
            "select id, day, status, total from orders
             where user_id = ?1 and (?2 is null or status = ?2) order by id",
        )?
        .query_map(params![customer.id, status], |row| {
            Ok(json!({
                "order": row.get::<_, i64>(0)?,
                "day": row.get::<_, String>(1)?,
                "status": row.get::<_, String>(2)?,
                "total_cents": row.get::<_, i64>(3)?,
            }))
        })?
        .collect::<rusqlite::Result<_>>()?;
    ok(json!({ "customer": customer.username, "orders": orders }))
}

/// `cancelOrder`: only what was not sent yet; what was ordered is in stock again.
pub(super) fn cancel(call: &Call<'_>) -> Answer {
    let id = id(call)?;
    let before = one(call, id)?;
    let status = before["status"].as_str().unwrap_or_default();
    if status != "Received" {
        let why = format!("order {id} is {}: it is too late", status.to_lowercase());
        return Err(Problem::Refused(why));
    }
    call.db
        .prepare_cached("update orders set status = 'Cancelled' where id = ?1")?
        .execute([id])?;
    call.db
        .prepare_cached(
            "update variants set stock = stock + coalesce((select sum(l.qty) from order_lines l
             where l.order_id = ?1 and l.product_id = variants.product_id
               and l.variant = variants.label), 0)
             where product_id in (select product_id from order_lines where order_id = ?1)",
        )?
        .execute([id])?;
    ok(one(call, id)?)
}

/// `sendMessage`
pub(super) fn message(call: &Call<'_>) -> Answer {
    let text = |name: &str| {
        let text = call.needed_text(name)?;
        if text.chars().count() > 2000 {
            return Err(Problem::Bad(format!(
                "`{name}` is longer than 2,000 characters"
            )));
        }
        Ok(text)
    };
    let (name, email, topic) = (text("name")?, text("email")?, text("topic")?);
    let words = text("text")?;
    let day = store::today(call.db)?;
    let id = call
        .db
        .prepare_cached(
            "insert into messages (name, email, topic, text, day) values (?1, ?2, ?3, ?4, ?5)",
        )?
        .insert(params![name, email, topic, words, day])?;
    Ok((StatusCode::CREATED, json!({ "message": id, "day": day })))
}
