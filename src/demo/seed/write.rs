//! Puts the seed into a database.

use std::sync::{Mutex, OnceLock};

use rusqlite::{Connection, params};

use super::catalogue::{CATEGORIES, Item, items};
use super::people::{
    AUTHORS, COUPONS, DEALS, OPINIONS, PAST, PEOPLE, Past, SHIPPING, hash_password,
};

/// The shop's today.
const TODAY: &str = "2031-03-14";

/// The database every instance is copied from, seeded at the first call.
///
/// # Errors
/// What `SQLite` said when it could not be seeded (no memory, for one).
pub(in crate::demo) fn pristine() -> Result<&'static Mutex<Connection>, String> {
    static PRISTINE: OnceLock<Result<Mutex<Connection>, String>> = OnceLock::new();
    PRISTINE
        .get_or_init(|| seeded().map(Mutex::new).map_err(|error| error.to_string()))
        .as_ref()
        .map_err(Clone::clone)
}

fn seeded() -> rusqlite::Result<Connection> {
    let mut db = Connection::open_in_memory()?;
    db.execute_batch(include_str!("schema.sql"))?;
    let tx = db.transaction()?;
    tx.execute(
        "insert into meta values ('today', ?1), ('sessions', '0')",
        [TODAY],
    )?;
    catalogue(&tx)?;
    people(&tx)?;
    trade(&tx)?;
    tx.commit()?;
    Ok(db)
}

fn catalogue(db: &Connection) -> rusqlite::Result<()> {
    for (slug, name, blurb, hidden) in CATEGORIES {
        db.execute(
            "insert into categories (slug, name, blurb, hidden) values (?1, ?2, ?3, ?4)",
            params![slug, name, blurb, hidden],
        )?;
    }
    let mut product = db.prepare(
        "insert into products (category_id, slug, name, text, art, grams, bulky, axis1, axis2)
         values ((select id from categories where slug = ?1), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    for item in items() {
        let id = product.insert(params![
            item.category,
            item.slug,
            item.name,
            item.text,
            item.art,
            item.grams,
            item.bulky,
            item.axes[0].name,
            item.axes[1].name,
        ])?;
        variants(db, id, &item)?;
        reviews(db, id, item.slug)?;
    }
    Ok(())
}

fn variants(db: &Connection, product: i64, item: &Item) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached(
        "insert into variants (product_id, option1, option2, label, cents, stock)
         values (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for (first, first_extra) in item.axes[0].values {
        for (second, second_extra) in item.axes[1].values {
            let label = if second.is_empty() {
                (*first).to_owned()
            } else {
                format!("{first} / {second}")
            };
            let stock = if item.sold_out.contains(&label.as_str()) {
                0
            } else {
                item.stock + die(item.slug, &label, 3)
            };
            insert.execute(params![
                product,
                first,
                second,
                label,
                item.cents + first_extra + second_extra,
                stock,
            ])?;
        }
    }
    Ok(())
}

fn reviews(db: &Connection, product: i64, slug: &str) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached(
        "insert into reviews (product_id, author, stars, title, text, day)
         values (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    // The better half of the products hardly gets bad words, the other half now and then.
    let leniency = die(slug, "quality", 4);
    let first_author = die(slug, "author", AUTHORS.len());
    for nth in 0..3 + die(slug, "count", 5) {
        let roll = die(slug, &format!("stars {nth}"), 10) + leniency;
        let stars = match roll {
            0 => 1,
            1 | 2 => 2,
            3 | 4 => 3,
            5..=7 => 4,
            _ => 5_i64,
        };
        let opinions = OPINIONS[index(stars - 1)];
        let (title, text) = opinions[index(first_author + nth) % opinions.len()];
        let author = AUTHORS[index(first_author + nth * 4) % AUTHORS.len()];
        let day = format!(
            "2030-{:02}-{:02}",
            12 - nth,
            1 + die(slug, &format!("day {nth}"), 28)
        );
        insert.execute(params![product, author, stars, title, text, day])?;
    }
    Ok(())
}

/// A number below `sides`, always the same for the same words.
fn die(slug: &str, word: &str, sides: usize) -> i64 {
    let hash = blake3::hash(format!("{slug} {word}").as_bytes());
    i64::from(hash.as_bytes()[0]) % i64::try_from(sides).unwrap_or(1).max(1)
}

fn index(small: i64) -> usize {
    usize::try_from(small).unwrap_or(0)
}

fn people(db: &Connection) -> rusqlite::Result<()> {
    for person in PEOPLE {
        let id = db.prepare_cached(
            "insert into users (username, password, name, email, street, postcode, city, country, signin)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .insert(params![
            person.username,
            hash_password(person.username, person.password),
            person.name,
            person.email,
            person.street,
            person.postcode,
            person.city,
            person.country,
            person.signin,
        ])?;
        for (product, variant, qty) in person.cart {
            db.execute(
                "insert into cart_lines (owner, variant_id, qty, cents)
                 select 'user:' || ?1, v.id, ?4, v.cents
                 from variants v join products p on p.id = v.product_id
                 where p.slug = ?2 and v.label = ?3",
                params![id, product, variant, qty],
            )?;
        }
    }
    Ok(())
}

fn trade(db: &Connection) -> rusqlite::Result<()> {
    for (nth, (code, name, promise, cents, grams, bulky, coupons)) in (1_i64..).zip(SHIPPING) {
        db.execute(
            "insert into shipping values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![code, nth, name, promise, cents, grams, bulky, coupons],
        )?;
    }
    for (code, percent, until) in COUPONS {
        db.execute(
            "insert into coupons values (?1, ?2, ?3)",
            params![code, percent, until],
        )?;
    }
    for (nth, (slug, product, percent, ended)) in (1_i64..).zip(DEALS) {
        db.execute(
            "insert into deals select ?1, ?2, id, ?4, ?5 from products where slug = ?3",
            params![slug, nth, product, percent, ended],
        )?;
    }
    PAST.iter().try_for_each(|order| past(db, order))
}

fn past(db: &Connection, order: &Past) -> rusqlite::Result<()> {
    db.execute(
        "insert into orders (id, user_id, day, status, name, street, postcode, city, country,
                             shipping, coupon, subtotal, discount, postage, total)
         select ?1, u.id, ?3, ?4, u.name, u.street, u.postcode, u.city, u.country, s.code, ?6,
                0, 0, s.cents, 0
         from users u, shipping s where u.username = ?2 and s.code = ?5",
        params![
            order.id,
            order.username,
            order.day,
            order.status,
            order.shipping,
            order.coupon
        ],
    )?;
    for (product, variant, qty) in order.lines {
        db.execute(
            "insert into order_lines (order_id, product_id, variant, note, qty, cents)
             select ?1, p.id, v.label, '', ?4, v.cents
             from variants v join products p on p.id = v.product_id
             where p.slug = ?2 and v.label = ?3",
            params![order.id, product, variant, qty],
        )?;
    }
    db.execute_batch(
        "update orders set subtotal =
           (select sum(l.qty * l.cents) from order_lines l where l.order_id = orders.id);
         update orders set discount = coalesce(
           (select orders.subtotal * c.percent / 100 from coupons c where c.code = orders.coupon), 0);
         update orders set total = subtotal - discount + postage;",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(db: &Connection, what: &str) -> i64 {
        db.query_row(&format!("select count(*) from {what}"), [], |row| {
            row.get(0)
        })
        .unwrap()
    }

    #[test]
    fn the_seed_is_complete_and_the_same_every_time() {
        let (a, b) = (seeded().unwrap(), seeded().unwrap());
        let dump = |db: &Connection| -> Vec<String> {
            db.prepare(
                "select p.slug || v.label || v.cents || '/' || v.stock from products p
                 join variants v on v.product_id = p.id
                 union all select author || stars || title || day from reviews
                 union all select id || total from orders",
            )
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
        };
        assert_eq!(dump(&a), dump(&b));
        assert!(count(&a, "listing") >= 60);
        assert!(count(&a, "categories where hidden = 0") >= 8);
        let lines: usize = PAST.iter().map(|order| order.lines.len()).sum();
        assert_eq!(count(&a, "order_lines"), i64::try_from(lines).unwrap());
        assert_eq!(count(&a, "orders where total <= 0 or subtotal is null"), 0);
        let saved: usize = PEOPLE.iter().map(|person| person.cart.len()).sum();
        assert_eq!(count(&a, "cart_lines"), i64::try_from(saved).unwrap());
        assert_eq!(count(&a, "deals"), i64::try_from(DEALS.len()).unwrap());
        assert_eq!(count(&a, "listing where reviews < 3 or cents <= 0"), 0);
        assert_eq!(count(&a, "writes"), 0);
    }
}
