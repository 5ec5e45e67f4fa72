//! A product and its reviews.

use axum::http::StatusCode;
use rusqlite::params;

use crate::demo::html::{Html, html};
use crate::demo::layout::{alert, crumbs, csrf, done, field, price, rating, select, stars};
use crate::demo::picture::picture;
use crate::demo::store::{self, Cents, Product, Variant};
use crate::demo::visit::{Answer, Refusal, Reply, Visit, number};

const REVIEW_SORTS: [(&str, &str); 3] = [
    ("newest", "Newest first"),
    ("highest", "Highest rating first"),
    ("lowest", "Lowest rating first"),
];

const RATINGS: [(&str, &str); 6] = [
    ("", "Choose…"),
    ("5", "5 stars"),
    ("4", "4 stars"),
    ("3", "3 stars"),
    ("2", "2 stars"),
    ("1", "1 star"),
];

/// `GET /product/{slug}`
pub(in crate::demo) fn product(visit: &mut Visit<'_>) -> Answer {
    let product = wanted(visit, visit.param("slug"))?;
    let said = (visit.field("reviewed") == "1").then(|| done("Thank you for your review."));
    show(visit, &product, StatusCode::OK, said.as_ref())
}

/// The product of this slug.
pub(super) fn wanted(visit: &Visit<'_>, slug: &str) -> Result<Product, Refusal> {
    store::product_by_slug(visit.db, slug)?.ok_or(Refusal::NotFound("We do not have this product."))
}

/// The page of a product, with something said on top.
pub(super) fn show(
    visit: &Visit<'_>,
    product: &Product,
    status: StatusCode,
    said: Option<&Html>,
) -> Answer {
    let variants = store::variants(visit.db, product.id)?;
    let shelf = format!("/category/{}", product.category);
    let stock = match product.stock {
        0 => html!("<p class=\"gone\">Sold out</p>"),
        1..=5 => html!("<p class=\"stock\">Only {} left</p>", product.stock),
        _ => html!("<p class=\"stock\">In stock</p>"),
    };
    let body = html!(
        "{crumbs}{said}<article class=\"product\">{picture}<div><h1>{name}</h1>{rating}{price}\
         <p>{text}</p>{stock}{buy}{wish}</div></article>{table}{reviews}",
        crumbs = crumbs(
            &[("/", "Home"), (&shelf, &product.category_name)],
            &product.name
        ),
        said = said,
        picture = picture(&product.art, &product.slug, Some(&product.name)),
        name = product.name,
        rating = rating(product),
        price = price(product),
        text = product.text,
        stock = stock,
        buy = (product.stock > 0).then(|| buy(visit, product, &variants)),
        wish = wish(visit, product),
        table = (product.axes.len() == 2).then(|| table(product, &variants)),
        reviews = reviews(visit, product)?,
    );
    Reply::page_with(status, &product.name, body)
}

fn buy(visit: &Visit<'_>, product: &Product, variants: &[Variant]) -> Html {
    let choices: Html = product
        .axes
        .iter()
        .enumerate()
        .map(|(at, axis)| {
            let mut options = vec![(String::new(), "Choose…".to_owned())];
            for variant in variants {
                let value = &variant.options[at];
                if !options.iter().any(|(known, _)| known == value) {
                    let more = if product.axes.len() == 1 {
                        remark(variant, product.cents)
                    } else {
                        String::new()
                    };
                    options.push((value.clone(), format!("{value}{more}")));
                }
            }
            let name = ["option1", "option2"][at];
            select(axis, name, &options, visit.field(name))
        })
        .collect();
    let qty = match visit.field("qty") {
        "" => "1",
        typed => typed,
    };
    html!(
        "<form class=\"buy\" method=\"post\" action=\"/cart/add\">{csrf}\
         <input type=\"hidden\" name=\"product\" value=\"{slug}\">{choices}{qty}\
         <button>Add to cart</button></form>",
        csrf = csrf(visit),
        slug = product.slug,
        choices = choices,
        qty = field("Quantity", "qty", "number", qty, "min=\"1\" max=\"99\""),
    )
}

/// What is special about a variant, in brackets.
fn remark(variant: &Variant, cheapest: Cents) -> String {
    if variant.stock == 0 {
        " (sold out)".to_owned()
    } else if variant.cents > cheapest {
        format!(" (+{})", Cents(variant.cents.0 - cheapest.0))
    } else {
        String::new()
    }
}

fn wish(visit: &Visit<'_>, product: &Product) -> Html {
    html!(
        "<form method=\"post\" action=\"/wishlist/add\">{csrf}\
         <input type=\"hidden\" name=\"product\" value=\"{slug}\">\
         <button class=\"second\">Add to wishlist</button></form>",
        csrf = csrf(visit),
        slug = product.slug,
    )
}

fn table(product: &Product, variants: &[Variant]) -> Html {
    let heads: Html = product
        .axes
        .iter()
        .map(|axis| html!("<th>{}</th>", axis))
        .collect();
    let rows: Html = variants
        .iter()
        .map(|variant| {
            html!(
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                variant.options[0],
                variant.options[1],
                variant.cents,
                if variant.stock == 0 {
                    "Sold out"
                } else {
                    "In stock"
                },
            )
        })
        .collect();
    html!(
        "<section><h2>Prices and stock</h2><table><thead><tr>{}<th>Price</th><th>Stock</th></tr></thead>\
         <tbody>{}</tbody></table></section>",
        heads,
        rows
    )
}

fn reviews(visit: &Visit<'_>, product: &Product) -> rusqlite::Result<Html> {
    let sort = match visit.field("reviews") {
        known @ ("highest" | "lowest") => known,
        _ => "newest",
    };
    let order = match sort {
        "highest" => "stars desc, day desc, id desc",
        "lowest" => "stars, day desc, id desc",
        _ => "day desc, id desc",
    };
    let list: Html = visit
        .db
        .prepare_cached(&format!(
            "select author, stars, title, text, day from reviews where product_id = ?1 order by {order}"
        ))?
        .query_map([product.id], |row| {
            let count: i64 = row.get(1)?;
            let day: String = row.get(4)?;
            Ok(html!(
                "<li><h3>{title}</h3><p class=\"by\">{stars} {count} of 5 by {author}, {day}</p><p>{text}</p></li>",
                title = row.get::<_, String>(2)?,
                stars = stars(count),
                count = count,
                author = row.get::<_, String>(0)?,
                day = store::long_day(&day),
                text = row.get::<_, String>(3)?,
            ))
        })?
        .collect::<Result<_, _>>()?;
    let write = if visit.session.user.is_some() {
        html!(
            "<form class=\"panel\" method=\"post\" action=\"/product/{slug}/reviews\"><h3>Write a review</h3>\
             {csrf}{rating}{title}\
             <p class=\"field\"><label for=\"f-text\">Your review</label>\
             <textarea id=\"f-text\" name=\"text\" rows=\"4\" maxlength=\"2000\">{text}</textarea></p>\
             <button>Post review</button></form>",
            slug = product.slug,
            csrf = csrf(visit),
            rating = select("Rating", "stars", &RATINGS, visit.field("stars")),
            title = field(
                "Headline",
                "title",
                "text",
                visit.field("title"),
                "maxlength=\"80\""
            ),
            text = visit.field("text"),
        )
    } else {
        html!(
            "<p><a href=\"/login?next=/product/{}\">Sign in to write a review</a></p>",
            product.slug
        )
    };
    Ok(html!(
        "<section class=\"reviews\" id=\"reviews\"><h2>Reviews</h2>\
         <form class=\"row\" action=\"/product/{slug}\">{sort}<button class=\"second\">Sort reviews</button></form>\
         <ol>{list}</ol>{write}</section>",
        slug = product.slug,
        sort = select("Sort reviews by", "reviews", &REVIEW_SORTS, sort),
        list = list,
        write = write,
    ))
}

/// `POST /product/{slug}/reviews`
pub(in crate::demo) fn post_review(visit: &mut Visit<'_>) -> Answer {
    let product = wanted(visit, visit.param("slug"))?;
    let user = visit.customer(&format!("/product/{}", product.slug))?;
    let Some(stars) = number(visit.field("stars"), 1, 5) else {
        return unfit(visit, &product, "Please choose a rating from 1 to 5 stars.");
    };
    let (title, text) = (visit.field("title"), visit.field("text"));
    if title.is_empty() || title.chars().count() > 80 {
        return unfit(
            visit,
            &product,
            "Please give a headline of at most 80 letters.",
        );
    }
    if text.is_empty() || text.chars().count() > 2000 {
        return unfit(visit, &product, "Please write between 1 and 2000 letters.");
    }
    visit.db.prepare_cached(
        "insert into reviews (product_id, author, stars, title, text, day) values (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![product.id, user.name, stars, title, text, store::today(visit.db)?])?;
    Reply::see_other(format!("/product/{}?reviewed=1", product.slug))
}

/// The product's page again, with what is wrong.
pub(super) fn unfit(visit: &Visit<'_>, product: &Product, why: &str) -> Answer {
    show(
        visit,
        product,
        StatusCode::UNPROCESSABLE_ENTITY,
        Some(&alert(why)),
    )
}
