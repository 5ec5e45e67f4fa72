//! Questions to the shop's database that more than one page asks.

use std::fmt;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::html::Render;

/// Money, in euro cents. Shown as `€12.50`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cents(pub(super) i64);

impl fmt::Display for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "−" } else { "" };
        let whole = self.0.unsigned_abs();
        write!(f, "{sign}€{}.{:02}", whole / 100, whole % 100)
    }
}

impl Render for Cents {
    fn render(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A category that is shown.
#[derive(Debug, Clone)]
pub(super) struct Category {
    pub(super) slug: String,
    pub(super) name: String,
    pub(super) blurb: String,
}

/// The categories, in order.
pub(super) fn categories(db: &Connection) -> rusqlite::Result<Vec<Category>> {
    db.prepare_cached("select slug, name, blurb from categories where not hidden order by id")?
        .query_map([], |row| {
            Ok(Category {
                slug: row.get(0)?,
                name: row.get(1)?,
                blurb: row.get(2)?,
            })
        })?
        .collect()
}

/// A product as listed.
#[derive(Debug, Clone)]
pub(super) struct Product {
    pub(super) id: i64,
    pub(super) slug: String,
    pub(super) name: String,
    pub(super) text: String,
    pub(super) art: String,
    pub(super) category: String,
    pub(super) category_name: String,
    /// The names of its choices, without empty ones.
    pub(super) axes: Vec<String>,
    /// The cheapest variant.
    pub(super) cents: Cents,
    /// The dearest variant.
    pub(super) cents_to: Cents,
    pub(super) stock: i64,
    /// Mean rating in tenths of a star.
    pub(super) tenths: i64,
    pub(super) reviews: i64,
}

const PRODUCT: &str = "select id, slug, name, text, art, category, category_name, axis1, axis2,
    cents, cents_to, stock, tenths, reviews from listing";

fn product(row: &Row<'_>) -> rusqlite::Result<Product> {
    let axes: [String; 2] = [row.get(7)?, row.get(8)?];
    Ok(Product {
        id: row.get(0)?,
        slug: row.get(1)?,
        name: row.get(2)?,
        text: row.get(3)?,
        art: row.get(4)?,
        category: row.get(5)?,
        category_name: row.get(6)?,
        axes: axes.into_iter().filter(|axis| !axis.is_empty()).collect(),
        cents: Cents(row.get(9)?),
        cents_to: Cents(row.get(10)?),
        stock: row.get(11)?,
        tenths: row.get::<_, f64>(12).map(rounded)?,
        reviews: row.get(13)?,
    })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "an average of stars times ten lies between 0 and 50"
)]
fn rounded(tenths: f64) -> i64 {
    tenths.round() as i64
}

/// All products, in the order of ids.
pub(super) fn products(db: &Connection) -> rusqlite::Result<Vec<Product>> {
    db.prepare_cached(&format!("{PRODUCT} order by id"))?
        .query_map([], product)?
        .collect()
}

/// The products of one category, in the order of ids.
pub(super) fn products_of(db: &Connection, category: &str) -> rusqlite::Result<Vec<Product>> {
    db.prepare_cached(&format!("{PRODUCT} where category = ?1 order by id"))?
        .query_map([category], product)?
        .collect()
}

/// One product.
pub(super) fn product_by_slug(db: &Connection, slug: &str) -> rusqlite::Result<Option<Product>> {
    db.prepare_cached(&format!("{PRODUCT} where slug = ?1"))?
        .query_row([slug], product)
        .optional()
}

/// One thing to buy: a product with its choices made.
#[derive(Debug, Clone)]
pub(super) struct Variant {
    pub(super) id: i64,
    pub(super) options: [String; 2],
    pub(super) label: String,
    pub(super) cents: Cents,
    pub(super) stock: i64,
}

/// The variants of a product, in the order offered.
pub(super) fn variants(db: &Connection, product: i64) -> rusqlite::Result<Vec<Variant>> {
    db.prepare_cached(
        "select id, option1, option2, label, cents, stock from variants
         where product_id = ?1 order by id",
    )?
    .query_map([product], |row| {
        Ok(Variant {
            id: row.get(0)?,
            options: [row.get(1)?, row.get(2)?],
            label: row.get(3)?,
            cents: Cents(row.get(4)?),
            stock: row.get(5)?,
        })
    })?
    .collect()
}

/// A line of a cart.
#[derive(Debug, Clone)]
pub(super) struct CartLine {
    pub(super) id: i64,
    pub(super) variant: i64,
    pub(super) product: i64,
    pub(super) slug: String,
    pub(super) name: String,
    pub(super) art: String,
    pub(super) label: String,
    pub(super) note: String,
    pub(super) qty: i64,
    pub(super) cents: Cents,
    pub(super) stock: i64,
    pub(super) grams: i64,
    pub(super) bulky: bool,
}

/// What is in somebody's cart, first added first.
pub(super) fn cart(db: &Connection, owner: &str) -> rusqlite::Result<Vec<CartLine>> {
    db.prepare_cached(
        "select l.id, v.id, p.id, p.slug, p.name, p.art, v.label, l.note, l.qty, l.cents, v.stock,
                p.grams, p.bulky
         from cart_lines l join variants v on v.id = l.variant_id
         join products p on p.id = v.product_id where l.owner = ?1 order by l.id",
    )?
    .query_map([owner], |row| {
        Ok(CartLine {
            id: row.get(0)?,
            variant: row.get(1)?,
            product: row.get(2)?,
            slug: row.get(3)?,
            name: row.get(4)?,
            art: row.get(5)?,
            label: row.get(6)?,
            note: row.get(7)?,
            qty: row.get(8)?,
            cents: Cents(row.get(9)?),
            stock: row.get(10)?,
            grams: row.get(11)?,
            bulky: row.get(12)?,
        })
    })?
    .collect()
}

/// What a cart costs before postage.
pub(super) fn subtotal(lines: &[CartLine]) -> Cents {
    Cents(lines.iter().map(|line| line.cents.0 * line.qty).sum())
}

/// What a line is called, with its choices.
pub(super) fn line_name(name: &str, label: &str, note: &str) -> String {
    [name, label, note]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(", ")
}

/// The most of one thing that a cart takes.
pub(super) const MOST: i64 = 99;

/// Puts some of a variant into a cart; more of the same joins the line. The caller has checked
/// that there are so many.
pub(super) fn put_in_cart(
    db: &Connection,
    owner: &str,
    variant: i64,
    qty: i64,
    cents: Cents,
    note: &str,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "insert into cart_lines (owner, variant_id, qty, cents, note) values (?1, ?2, ?3, ?4, ?5)
         on conflict (owner, variant_id, note) do update set qty = min(?6, qty + excluded.qty)",
    )?
    .execute(params![owner, variant, qty, cents.0, note, MOST])
    .map(drop)
}

/// How many of a variant are in a cart already, whatever their notes.
pub(super) fn in_cart(db: &Connection, owner: &str, variant: i64) -> rusqlite::Result<i64> {
    db.prepare_cached(
        "select coalesce(sum(qty), 0) from cart_lines where owner = ?1 and variant_id = ?2",
    )?
    .query_row(params![owner, variant], |row| row.get(0))
}

/// The shop's today, as an ISO date.
pub(super) fn today(db: &Connection) -> rusqlite::Result<String> {
    db.prepare_cached("select value from meta where key = 'today'")?
        .query_row([], |row| row.get(0))
}

/// `2031-03-14` as `14 March 2031`; anything else unchanged.
pub(super) fn long_day(iso: &str) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let mut parts = iso.splitn(3, '-');
    let (Some(year), Some(month), Some(day)) = (parts.next(), parts.next(), parts.next()) else {
        return iso.to_owned();
    };
    let name = month
        .parse::<usize>()
        .ok()
        .and_then(|month| MONTHS.get(month.checked_sub(1)?));
    match name {
        Some(name) => format!("{} {name} {year}", day.trim_start_matches('0')),
        None => iso.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_and_days_read_like_a_shop() {
        assert_eq!(Cents(7905).to_string(), "€79.05");
        assert_eq!(Cents(-890).to_string(), "−€8.90");
        assert_eq!(long_day("2031-03-04"), "4 March 2031");
        assert_eq!(long_day("soon"), "soon");
        assert_eq!(long_day("2031-99-01"), "2031-99-01");
    }
}
