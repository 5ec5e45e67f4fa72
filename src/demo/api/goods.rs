//! What the shop sells.

use serde_json::{Value, json};

use super::{Answer, Call, Problem, ok};
use crate::demo::store::{self, Product};

/// Products on a page of results.
const PAGE: i64 = 20;

/// `listCategories`
pub(super) fn categories(call: &Call<'_>) -> Answer {
    let categories: Vec<Value> = store::categories(call.db)?
        .into_iter()
        .map(|c| json!({ "slug": c.slug, "name": c.name, "about": c.blurb }))
        .collect();
    ok(json!({ "categories": categories }))
}

fn listed(product: &Product) -> Value {
    json!({
        "slug": product.slug,
        "name": product.name,
        "category": product.category,
        "from_cents": product.cents.0,
        "to_cents": product.cents_to.0,
        "stock": product.stock,
        "rating": stars(product.tenths),
        "reviews": product.reviews,
    })
}

/// Stars, with one decimal.
fn stars(tenths: i64) -> Value {
    let tenths = u32::try_from(tenths).unwrap_or(0);
    json!(f64::from(tenths) / 10.0)
}

/// `searchProducts`
pub(super) fn search(call: &Call<'_>) -> Answer {
    let most = call.number("max_cents", 0, i64::MAX)?;
    let rating = match call.query("min_rating") {
        None => 0.0,
        Some(text) => text
            .parse::<f64>()
            .ok()
            .filter(|stars| (0.0..=5.0).contains(stars))
            .ok_or_else(|| {
                Problem::Bad(format!(
                    "`min_rating` must be a number from 0 to 5, not `{text}`"
                ))
            })?,
    };
    let limit = call.number("limit", 1, 100)?.unwrap_or(PAGE);
    let offset = call.number("offset", 0, i64::MAX)?.unwrap_or(0);
    let wanted: Vec<String> = call
        .query("q")
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_lowercase)
        .collect();
    let mut products = match call.query("category") {
        None => store::products(call.db)?,
        Some(category) => {
            let known = store::categories(call.db)?;
            if !known.iter().any(|c| c.slug == category) {
                let slugs: Vec<String> = known.into_iter().map(|c| c.slug).collect();
                let why = format!(
                    "there is no category `{category}`; there are {}",
                    slugs.join(", ")
                );
                return Err(Problem::Missing(why));
            }
            store::products_of(call.db, category)?
        }
    };
    products.retain(|product| {
        let text = format!(
            "{} {} {}",
            product.name, product.text, product.category_name
        );
        let text = text.to_lowercase();
        let tenths = f64::from(u32::try_from(product.tenths).unwrap_or(0));
        wanted.iter().all(|word| text.contains(word))
            && most.is_none_or(|most| product.cents.0 <= most)
            && tenths >= rating * 10.0
    });
    match call.query("sort") {
        None | Some("id") => {}
        Some("price") => products.sort_by_key(|p| p.cents),
        Some("-price") => products.sort_by_key(|p| std::cmp::Reverse(p.cents)),
        Some("-rating") => products.sort_by_key(|p| std::cmp::Reverse(p.tenths)),
        Some("name") => products.sort_by(|a, b| a.name.cmp(&b.name)),
        Some(other) => {
            let why = format!("`sort` must be id, price, -price, -rating or name, not `{other}`");
            return Err(Problem::Bad(why));
        }
    }
    let total = products.len();
    let skip = usize::try_from(offset).unwrap_or(usize::MAX);
    let take = usize::try_from(limit).unwrap_or(usize::MAX);
    let page: Vec<Value> = products.iter().skip(skip).take(take).map(listed).collect();
    ok(json!({ "total": total, "products": page }))
}

/// The product that the path names.
pub(super) fn named(call: &Call<'_>) -> Result<Product, Problem> {
    let slug = call.param("slug");
    store::product_by_slug(call.db, slug)?
        .ok_or_else(|| Problem::Missing(format!("there is no product `{slug}`")))
}

/// `getProduct`
pub(super) fn product(call: &Call<'_>) -> Answer {
    let product = named(call)?;
    let variants: Vec<Value> = store::variants(call.db, product.id)?
        .into_iter()
        .map(|variant| {
            let options: serde_json::Map<String, Value> = product
                .axes
                .iter()
                .cloned()
                .zip(variant.options.into_iter().map(Value::from))
                .collect();
            json!({
                "id": variant.id,
                "label": variant.label,
                "options": options,
                "cents": variant.cents.0,
                "stock": variant.stock,
            })
        })
        .collect();
    let mut value = listed(&product);
    value["text"] = json!(product.text);
    value["variants"] = json!(variants);
    ok(value)
}

/// `listReviews`
pub(super) fn reviews(call: &Call<'_>) -> Answer {
    let product = named(call)?;
    let stars = call.number("stars", 1, 5)?;
    let reviews: Vec<Value> = call
        .db
        .prepare_cached(
            "select author, stars, title, text, day from reviews
             where product_id = ?1 and (?2 is null or stars = ?2) order by id",
        )?
        .query_map(rusqlite::params![product.id, stars], |row| {
            Ok(json!({
                "author": row.get::<_, String>(0)?,
                "stars": row.get::<_, i64>(1)?,
                "title": row.get::<_, String>(2)?,
                "text": row.get::<_, String>(3)?,
                "day": row.get::<_, String>(4)?,
            }))
        })?
        .collect::<rusqlite::Result<_>>()?;
    ok(json!({ "product": product.slug, "reviews": reviews }))
}
