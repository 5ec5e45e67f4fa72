//! The shop's frame and the parts that pages share.

use super::html::{Html, html};
use super::picture::picture;
use super::shop::sign_in_path;
use super::store::{self, Cents, Product};
use super::visit::Visit;

/// A whole document around a page's body.
pub(super) fn frame(visit: &Visit<'_>, title: &str, body: &Html) -> rusqlite::Result<Html> {
    let categories: Html = store::categories(visit.db)?
        .iter()
        .map(|category| {
            let path = format!("/category/{}", category.slug);
            let here = visit.path == path;
            html!(
                "<li><a href=\"{path}\"{here}>{name}</a></li>",
                path = path,
                here = Html::fixed(if here { " aria-current=\"page\"" } else { "" }),
                name = category.name,
            )
        })
        .collect();
    let pieces: i64 = store::cart(visit.db, &visit.owner())?
        .iter()
        .map(|line| line.qty)
        .sum();
    let person = match &visit.session.user {
        Some(user) => html!(
            "<li><a href=\"/account\">Account</a></li><li><a href=\"/orders\">Orders</a></li>\
             <li><form class=\"inline\" method=\"post\" action=\"/logout\">{csrf}\
             <button class=\"link\">Sign out {name}</button></form></li>",
            csrf = csrf(visit),
            name = user.name,
        ),
        None => html!(
            "<li><a href=\"{}\">Sign in</a></li>",
            if visit.path.starts_with("/login") || visit.path == "/" {
                "/login".to_owned()
            } else {
                sign_in_path(&visit.path)
            },
        ),
    };
    Ok(html!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title} · Hearth &amp; Harbour</title>\
         <link rel=\"icon\" href=\"/favicon.ico\" type=\"image/svg+xml\">\
         <link rel=\"stylesheet\" href=\"/assets/shop.css\"></head><body>\
         <header class=\"top\"><div class=\"bar\">\
         <a class=\"logo\" href=\"/\">Hearth <i>&amp;</i> Harbour</a>\
         <form class=\"find\" role=\"search\" action=\"/search\">\
         <label class=\"quiet\" for=\"find\">Search the shop</label>\
         <input id=\"find\" name=\"q\" type=\"search\" placeholder=\"Search the shop\" maxlength=\"80\">\
         <button>Search</button></form>\
         <ul class=\"mine\">{person}<li><a href=\"/wishlist\">Wishlist</a></li>\
         <li><a class=\"cart\" id=\"cart-link\" href=\"/cart\">Cart ({pieces})</a></li></ul></div>\
         <nav class=\"shelves\" aria-label=\"Categories\"><ul>{categories}\
         <li><a class=\"deals\" href=\"/deals\">Deals</a></li></ul></nav></header>\
         <main>{body}</main>\
         <footer><nav aria-label=\"Footer\"><ul><li><a href=\"/about\">About us</a></li>\
         <li><a href=\"/help\">Help</a></li><li><a href=\"/contact\">Contact</a></li>\
         <li><a href=\"/configurator\">Build your own lamp</a></li></ul></nav>\
         <p>Hearth &amp; Harbour, Quayside 7. A shop that does not exist.</p></footer>\
         </body></html>\n",
        title = title,
        person = person,
        pieces = pieces,
        categories = categories,
        body = body,
    ))
}

/// The hidden token that every form by POST carries.
pub(super) fn csrf(visit: &Visit<'_>) -> Html {
    html!(
        "<input type=\"hidden\" name=\"csrf\" value=\"{}\">",
        visit.session.csrf
    )
}

/// The way back up.
pub(super) fn crumbs(steps: &[(&str, &str)], here: &str) -> Html {
    let links: Html = steps
        .iter()
        .map(|(path, name)| html!("<li><a href=\"{}\">{}</a></li>", path, name))
        .collect();
    html!(
        "<nav class=\"crumbs\" aria-label=\"Breadcrumb\"><ol>{}<li aria-current=\"page\">{}</li></ol></nav>",
        links,
        here
    )
}

/// Stars and the number of reviews.
pub(super) fn rating(product: &Product) -> Html {
    if product.reviews == 0 {
        return html!("<p class=\"rating\">No reviews yet</p>");
    }
    html!(
        "<p class=\"rating\">{stars} {whole}.{tenth} out of 5 ({count} reviews)</p>",
        stars = stars((product.tenths + 5) / 10),
        whole = product.tenths / 10,
        tenth = product.tenths % 10,
        count = product.reviews,
    )
}

/// Up to five stars, for the eye only.
pub(super) fn stars(count: i64) -> Html {
    Html::fixed(match count {
        1 => "<span class=\"stars\" aria-hidden=\"true\">★☆☆☆☆</span>",
        2 => "<span class=\"stars\" aria-hidden=\"true\">★★☆☆☆</span>",
        3 => "<span class=\"stars\" aria-hidden=\"true\">★★★☆☆</span>",
        4 => "<span class=\"stars\" aria-hidden=\"true\">★★★★☆</span>",
        5 => "<span class=\"stars\" aria-hidden=\"true\">★★★★★</span>",
        _ => "<span class=\"stars\" aria-hidden=\"true\">☆☆☆☆☆</span>",
    })
}

/// What a product costs, with "from" where its choices differ.
pub(super) fn price(product: &Product) -> Html {
    let from = if product.cents == product.cents_to {
        ""
    } else {
        "from "
    };
    html!("<p class=\"price\">{}{}</p>", from, product.cents)
}

/// Products side by side.
pub(super) fn grid(products: &[Product]) -> Html {
    let cards: Html = products.iter().map(card).collect();
    html!("<ul class=\"grid\">{}</ul>", cards)
}

fn card(product: &Product) -> Html {
    html!(
        "<li class=\"card\"><a href=\"/product/{slug}\">{picture}<h3>{name}</h3></a>\
         {price}{rating}{gone}</li>",
        slug = product.slug,
        picture = picture(&product.art, &product.slug, None),
        name = product.name,
        price = price(product),
        rating = rating(product),
        gone = (product.stock == 0).then(|| html!("<p class=\"gone\">Sold out</p>")),
    )
}

/// A labelled input.
pub(super) fn field(label: &str, name: &str, kind: &str, value: &str, more: &'static str) -> Html {
    html!(
        "<p class=\"field\"><label for=\"f-{name}\">{label}</label>\
         <input id=\"f-{name}\" name=\"{name}\" type=\"{kind}\" value=\"{value}\" {more}></p>",
        name = name,
        label = label,
        kind = kind,
        value = value,
        more = Html::fixed(more),
    )
}

/// A labelled list of values and their texts.
pub(super) fn select<V: AsRef<str>, T: AsRef<str>>(
    label: &str,
    name: &str,
    choices: &[(V, T)],
    chosen: &str,
) -> Html {
    let options: Html = choices
        .iter()
        .map(|(value, text)| {
            html!(
                "<option value=\"{value}\"{chosen}>{text}</option>",
                value = value.as_ref(),
                chosen = Html::fixed(if value.as_ref() == chosen {
                    " selected"
                } else {
                    ""
                }),
                text = text.as_ref(),
            )
        })
        .collect();
    html!(
        "<p class=\"field\"><label for=\"f-{name}\">{label}</label>\
         <select id=\"f-{name}\" name=\"{name}\">{options}</select></p>",
        name = name,
        label = label,
        options = options,
    )
}

/// Something went well.
pub(super) fn done(text: &str) -> Html {
    html!("<p class=\"notice good\" role=\"status\">{}</p>", text)
}

/// Something did not.
pub(super) fn alert(text: &str) -> Html {
    html!("<p class=\"notice bad\" role=\"alert\">{}</p>", text)
}

/// A name and an amount.
pub(super) fn sum_row(name: &str, cents: Cents) -> Html {
    html!("<div><dt>{}</dt><dd>{}</dd></div>", name, cents)
}
