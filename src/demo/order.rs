//! From a cart to an order: what is in the way, what it costs, and the order itself. For the pages and
//! for the API.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::store::{self, CartLine, Cents, line_name, long_day};

/// Where it goes, how, and with which voucher.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) street: String,
    pub(super) postcode: String,
    pub(super) city: String,
    pub(super) country: String,
    pub(super) shipping: String,
    pub(super) coupon: String,
}

impl Draft {
    pub(super) fn of_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            name: row.get(0)?,
            street: row.get(1)?,
            postcode: row.get(2)?,
            city: row.get(3)?,
            country: row.get(4)?,
            shipping: row.get(5)?,
            coupon: row.get(6)?,
        })
    }
}

/// A way to send things.
pub(super) struct Shipping {
    pub(super) code: String,
    pub(super) name: String,
    pub(super) promise: String,
    pub(super) cents: Cents,
    pub(super) max_grams: i64,
    pub(super) bulky: bool,
    pub(super) coupons: bool,
}

pub(super) fn shippings(db: &Connection) -> rusqlite::Result<Vec<Shipping>> {
    db.prepare_cached(
        "select code, name, promise, cents, max_grams, bulky, coupons from shipping
             order by position",
    )?
    .query_map([], |row| {
        Ok(Shipping {
            code: row.get(0)?,
            name: row.get(1)?,
            promise: row.get(2)?,
            cents: Cents(row.get(3)?),
            max_grams: row.get(4)?,
            bulky: row.get(5)?,
            coupons: row.get(6)?,
        })
    })?
    .collect()
}

/// A draft that can become an order, with its sums.
pub(super) struct Offer {
    pub(super) shipping: Shipping,
    pub(super) subtotal: Cents,
    pub(super) discount: Cents,
    pub(super) total: Cents,
}

/// Checks a draft against the cart: what it would cost, or what is in the way.
pub(super) fn offer(
    db: &Connection,
    draft: &Draft,
    lines: &[CartLine],
) -> rusqlite::Result<Result<Offer, String>> {
    let address = [
        ("name", &draft.name),
        ("street", &draft.street),
        ("postcode", &draft.postcode),
        ("city", &draft.city),
        ("country", &draft.country),
    ];
    if let Some((missing, _)) = address.iter().find(|(_, value)| value.is_empty()) {
        return Ok(Err(format!("Please complete the address: {missing}.")));
    }
    let Some(shipping) = shippings(db)?
        .into_iter()
        .find(|shipping| shipping.code == draft.shipping)
    else {
        return Ok(Err("Please choose how we shall send it.".to_owned()));
    };
    if let Some(line) = lines.iter().find(|line| line.bulky && !shipping.bulky) {
        return Ok(Err(format!(
            "{} does not take oversize pieces ({}). Please choose another way.",
            shipping.name, line.name
        )));
    }
    let grams: i64 = lines.iter().map(|line| line.grams * line.qty).sum();
    if grams > shipping.max_grams {
        return Ok(Err(format!(
            "{} takes at most {} kg, and your cart weighs {}.{} kg. Please choose another way.",
            shipping.name,
            shipping.max_grams / 1000,
            grams / 1000,
            grams % 1000 / 100,
        )));
    }
    if let Some(line) = lines.iter().find(|line| line.qty > line.stock) {
        return Ok(Err(format!(
            "We have only {} of {} left.",
            line.stock,
            line_name(&line.name, &line.label, &line.note)
        )));
    }
    let percent = match coupon(db, draft, &shipping)? {
        Ok(percent) => percent,
        Err(why) => return Ok(Err(why)),
    };
    let subtotal = store::subtotal(lines);
    let discount = Cents(subtotal.0 * percent / 100);
    Ok(Ok(Offer {
        total: Cents(subtotal.0 - discount.0 + shipping.cents.0),
        shipping,
        subtotal,
        discount,
    }))
}

/// What a voucher takes off, in percent.
fn coupon(
    db: &Connection,
    draft: &Draft,
    shipping: &Shipping,
) -> rusqlite::Result<Result<i64, String>> {
    if draft.coupon.is_empty() {
        return Ok(Ok(0));
    }
    let known: Option<(i64, String)> = db
        .prepare_cached("select percent, valid_until from coupons where code = ?1")?
        .query_row([&draft.coupon], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((percent, until)) = known else {
        return Ok(Err(format!("There is no voucher code {}.", draft.coupon)));
    };
    if until < store::today(db)? {
        return Ok(Err(format!(
            "The voucher code {} ended on {}.",
            draft.coupon,
            long_day(&until)
        )));
    }
    if !shipping.coupons {
        return Ok(Err(format!(
            "Voucher codes cannot be combined with {}. Please choose another way or leave the code out.",
            shipping.name
        )));
    }
    Ok(Ok(percent))
}

/// Turns a cart into an order: the order's number. The caller has made the offer.
pub(super) fn place(
    db: &Connection,
    user: i64,
    owner: &str,
    draft: &Draft,
    offer: &Offer,
    lines: &[CartLine],
) -> rusqlite::Result<i64> {
    let id = db
        .prepare_cached(
            "insert into orders (user_id, day, status, name, street, postcode, city, country,
                                 shipping, coupon, subtotal, discount, postage, total)
             values (?1, ?2, 'Received', ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .insert(params![
            user,
            store::today(db)?,
            draft.name,
            draft.street,
            draft.postcode,
            draft.city,
            draft.country,
            draft.shipping,
            draft.coupon,
            offer.subtotal.0,
            offer.discount.0,
            offer.shipping.cents.0,
            offer.total.0,
        ])?;
    for line in lines {
        db.prepare_cached(
            "insert into order_lines (order_id, product_id, variant, note, qty, cents)
                 values (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            id,
            line.product,
            line.label,
            line.note,
            line.qty,
            line.cents.0
        ])?;
        db.prepare_cached("update variants set stock = max(0, stock - ?1) where id = ?2")?
            .execute(params![line.qty, line.variant])?;
    }
    db.prepare_cached("delete from cart_lines where owner = ?1")?
        .execute([owner])?;
    Ok(id)
}
