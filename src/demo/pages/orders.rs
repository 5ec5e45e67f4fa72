//! What a customer bought.

use rusqlite::OptionalExtension;

use crate::demo::html::{Html, html};
use crate::demo::layout::{crumbs, sum_row};
use crate::demo::store::line_name;
use crate::demo::store::{Cents, long_day};
use crate::demo::visit::{Answer, Refusal, Reply, Visit, number};

/// `GET /orders`
pub(in crate::demo) fn orders(visit: &mut Visit<'_>) -> Answer {
    let user = visit.customer("/orders")?;
    let rows: Vec<Html> = visit
        .db
        .prepare_cached(
            "select id, day, status, total from orders where user_id = ?1 order by id desc",
        )?
        .query_map([user.id], |row| {
            let (id, day): (i64, String) = (row.get(0)?, row.get(1)?);
            Ok(html!(
                "<tr><td><a href=\"/orders/{id}\">Order {id}</a></td><td>{day}</td><td>{status}</td><td>{total}</td></tr>",
                id = id,
                day = long_day(&day),
                status = row.get::<_, String>(2)?,
                total = Cents(row.get(3)?),
            ))
        })?
        .collect::<Result<_, _>>()?;
    let inside = if rows.is_empty() {
        html!("<p>You have not ordered anything yet.</p>")
    } else {
        html!(
            "<table><thead><tr><th>Order</th><th>Date</th><th>Status</th><th>Total</th></tr></thead><tbody>{}</tbody></table>",
            rows.into_iter().collect::<Html>(),
        )
    };
    Reply::page("Your orders", html!("<h1>Your orders</h1>{}", inside))
}

/// `GET /orders/{id}`
pub(in crate::demo) fn order(visit: &mut Visit<'_>) -> Answer {
    let user = visit.customer(&visit.path)?;
    let id = number(visit.param("id"), 1, i64::MAX);
    let head = match id {
        None => None,
        Some(id) => visit
            .db
            .prepare_cached(
                "select o.day, o.status, o.name, o.street, o.postcode, o.city, o.country,
                        s.name, o.coupon, o.subtotal, o.discount, o.postage, o.total
                 from orders o join shipping s on s.code = o.shipping
                 where o.id = ?1 and o.user_id = ?2",
            )?
            .query_row([id, user.id], |row| {
                let (day, coupon): (String, String) = (row.get(0)?, row.get(8)?);
                let discount: i64 = row.get(10)?;
                Ok(html!(
                    "<p>{day}. {status}.</p><div class=\"columns\"><section><h2>Delivery</h2>\
                     <address>{name}<br>{street}<br>{postcode} {city}<br>{country}</address><p>{way}</p></section>\
                     <section><h2>Costs</h2><dl class=\"sums\">{subtotal}{discount}{postage}{total}</dl></section></div>",
                    day = long_day(&day),
                    status = row.get::<_, String>(1)?,
                    name = row.get::<_, String>(2)?,
                    street = row.get::<_, String>(3)?,
                    postcode = row.get::<_, String>(4)?,
                    city = row.get::<_, String>(5)?,
                    country = row.get::<_, String>(6)?,
                    way = row.get::<_, String>(7)?,
                    subtotal = sum_row("Subtotal", Cents(row.get(9)?)),
                    discount = (discount > 0)
                        .then(|| sum_row(&format!("Voucher {coupon}"), Cents(-discount))),
                    postage = sum_row("Shipping", Cents(row.get(11)?)),
                    total = sum_row("Total", Cents(row.get(12)?)),
                ))
            })
            .optional()?,
    };
    let (Some(id), Some(head)) = (id, head) else {
        return Err(Refusal::NotFound("There is no such order on your account."));
    };
    let lines: Html = visit
        .db
        .prepare_cached(
            "select p.name, l.variant, l.note, l.qty, l.cents
             from order_lines l join products p on p.id = l.product_id
             where l.order_id = ?1 order by l.id",
        )?
        .query_map([id], |row| {
            let (name, variant, note): (String, String, String) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            let (qty, cents): (i64, i64) = (row.get(3)?, row.get(4)?);
            Ok(html!(
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                line_name(&name, &variant, &note),
                qty,
                Cents(cents),
                Cents(qty * cents),
            ))
        })?
        .collect::<Result<_, _>>()?;
    let title = format!("Order {id}");
    let body = html!(
        "{crumbs}<h1>{title}</h1><table><thead><tr><th>Product</th><th>Quantity</th><th>Price</th><th>Sum</th></tr></thead>\
         <tbody>{lines}</tbody></table>{head}",
        crumbs = crumbs(&[("/account", "Account"), ("/orders", "Orders")], &title),
        title = title,
        lines = lines,
        head = head,
    );
    Reply::page(&title, body)
}
