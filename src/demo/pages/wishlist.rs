//! Things to buy later.

use super::product::wanted;
use crate::demo::html::{Html, html};
use crate::demo::layout::{csrf, done};
use crate::demo::picture::picture;
use crate::demo::visit::{Answer, Reply, Visit};

/// `GET /wishlist`
pub(in crate::demo) fn wishlist(visit: &mut Visit<'_>) -> Answer {
    let user = visit.customer("/wishlist")?;
    let rows: Vec<Html> = visit
        .db
        .prepare_cached(
            "select p.slug, p.name, p.art from wishlist w join products p on p.id = w.product_id
             where w.user_id = ?1 order by p.id",
        )?
        .query_map([user.id], |row| {
            let (slug, name, art): (String, String, String) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(html!(
                "<li><a class=\"mini\" href=\"/product/{slug}\">{picture}{name}</a>\
                 <form method=\"post\" action=\"/wishlist/remove\">{csrf}\
                 <input type=\"hidden\" name=\"product\" value=\"{slug}\">\
                 <button class=\"link\" aria-label=\"Remove {name} from wishlist\">Remove</button></form></li>",
                slug = slug,
                picture = picture(&art, &slug, None),
                name = name,
                csrf = csrf(visit),
            ))
        })?
        .collect::<Result<_, _>>()?;
    let inside = if rows.is_empty() {
        html!("<p>Nothing here yet.</p>")
    } else {
        html!(
            "<ul class=\"wishes\">{}</ul>",
            rows.into_iter().collect::<Html>()
        )
    };
    let said = match visit.field("said") {
        "added" => Some(done("Added to your wishlist.")),
        "removed" => Some(done("Removed from your wishlist.")),
        _ => None,
    };
    let body = html!("<h1>Your wishlist</h1>{}{}", said, inside);
    Reply::page("Your wishlist", body)
}

/// `POST /wishlist/add`
pub(in crate::demo) fn wish(visit: &mut Visit<'_>) -> Answer {
    let product = wanted(visit, visit.field("product"))?;
    let user = visit.customer(&format!("/product/{}", product.slug))?;
    visit
        .db
        .prepare_cached("insert or ignore into wishlist values (?1, ?2)")?
        .execute([user.id, product.id])?;
    Reply::see_other("/wishlist?said=added")
}

/// `POST /wishlist/remove`
pub(in crate::demo) fn unwish(visit: &mut Visit<'_>) -> Answer {
    let product = wanted(visit, visit.field("product"))?;
    let user = visit.customer("/wishlist")?;
    visit
        .db
        .prepare_cached("delete from wishlist where user_id = ?1 and product_id = ?2")?
        .execute([user.id, product.id])?;
    Reply::see_other("/wishlist?said=removed")
}
