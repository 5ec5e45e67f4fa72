//! What the shop says about itself, its offers, and the way to write to it.

use axum::http::StatusCode;
use rusqlite::params;

use super::customer::is_email;
use super::product::wanted;
use crate::demo::html::{Html, html};
use crate::demo::layout::{alert, crumbs, csrf, done, field, price, select};
use crate::demo::picture::picture;
use crate::demo::store;
use crate::demo::visit::{Answer, Refusal, Reply, Visit};

/// `GET /about`
pub(in crate::demo) fn about(_: &mut Visit<'_>) -> Answer {
    let body = html!(
        "<section class=\"narrow\"><h1>About us</h1>\
         <p>Hearth &amp; Harbour opened in 1987 in a former net loft. We sell what we use ourselves: lamps, pots, \
         blankets, tools. If a thing breaks within ten years, we mend it.</p>\
         <p>The shop is run by Marit and Joost. The dog is called Kelp.</p>\
         <p><a href=\"/help\">Help</a> and <a href=\"/contact\">contact</a>.</p></section>"
    );
    Reply::page("About us", body)
}

/// A topic of the help pages: slug, title, and its text.
const TOPICS: [(&str, &str, &str); 4] = [
    (
        "delivery",
        "Delivery",
        "<p>We send by letter mail up to 1 kg, as a standard parcel up to 20 kg, by express courier, and by freight. \
         Oversize pieces, such as benches and floor lamps, travel by freight only.</p>",
    ),
    (
        "returns",
        "Returns and repairs",
        "<p>You can return anything within 45 days, used or not. Lamps built in the configurator are \
         made for you; those we mend but do not take back.</p>",
    ),
    (
        "vouchers",
        "Vouchers and codes",
        "<p>This year's voucher code is <strong>HARBOUR10</strong>: 10 % off everything until the end of the year. \
         The winter code has ended. Voucher codes cannot be combined with express courier.</p>",
    ),
    (
        "payment",
        "Payment",
        "<p>By invoice, after you have unpacked. There is nothing to pay here, since nothing is real.</p>",
    ),
];

/// `GET /help`
pub(in crate::demo) fn help(_: &mut Visit<'_>) -> Answer {
    let links: Html = TOPICS
        .iter()
        .map(|(slug, title, _)| html!("<li><a href=\"/help/{}\">{}</a></li>", slug, title))
        .collect();
    let body = html!(
        "<section class=\"narrow\"><h1>Help</h1><p>What would you like to know?</p><ul>{}</ul>\
         <p>Not there? <a href=\"/contact\">Write to us</a>.</p></section>",
        links
    );
    Reply::page("Help", body)
}

/// `GET /help/{topic}`
pub(in crate::demo) fn help_topic(visit: &mut Visit<'_>) -> Answer {
    let (_, title, text) = TOPICS
        .iter()
        .find(|(slug, _, _)| *slug == visit.param("topic"))
        .ok_or(Refusal::NotFound("There is no help on this."))?;
    let body = html!(
        "{}<section class=\"narrow\"><h1>{}</h1>{}</section>",
        crumbs(&[("/help", "Help")], title),
        title,
        Html::fixed(text)
    );
    Reply::page(title, body)
}

/// `GET /deals`
pub(in crate::demo) fn deals(visit: &mut Visit<'_>) -> Answer {
    let list: Html = visit
        .db
        .prepare_cached(
            "select d.slug, p.name, p.art, d.percent from deals d
             join products p on p.id = d.product_id order by d.position",
        )?
        .query_map([], |row| {
            let (slug, name, art): (String, String, String) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            let percent: i64 = row.get(3)?;
            Ok(html!(
                "<li class=\"card\"><a href=\"/deals/{slug}\">{picture}<h3>{name}{off}</h3></a></li>",
                slug = slug,
                picture = picture(&art, &slug, None),
                name = name,
                off = (percent > 0).then(|| html!(", {} % off", percent)),
            ))
        })?
        .collect::<Result<_, _>>()?;
    let body = html!("<h1>Deals</h1><ul class=\"grid\">{}</ul>", list);
    Reply::page("Deals", body)
}

/// `GET /deals/{slug}`: a deal that is over is a dead end.
pub(in crate::demo) fn deal(visit: &mut Visit<'_>) -> Answer {
    let known: Option<(String, bool)> = visit
        .db
        .prepare_cached(
            "select p.slug, d.ended from deals d join products p on p.id = d.product_id
             where d.slug = ?1",
        )?
        .query_map([visit.param("slug")], |row| Ok((row.get(0)?, row.get(1)?)))?
        .next()
        .transpose()?;
    let (slug, ended) = known.ok_or(Refusal::NotFound("There is no such deal."))?;
    let product = wanted(visit, &slug)?;
    let inside = if ended {
        html!(
            "<p class=\"gone\">Sold out</p><p>This deal is over: all pieces at this price are gone. \
             The next one starts tomorrow.</p><p><a href=\"/deals\">More deals</a></p>"
        )
    } else {
        html!(
            "{}<p>{}</p><p><a class=\"button\" href=\"/product/{}\">Go to {}</a></p>",
            price(&product),
            product.text,
            product.slug,
            product.name
        )
    };
    let title = format!("Deal: {}", product.name);
    let body = html!(
        "{crumbs}<article class=\"product\">{picture}<div><h1>{title}</h1>{inside}</div></article>",
        crumbs = crumbs(&[("/deals", "Deals")], &product.name),
        picture = picture(&product.art, &product.slug, Some(&product.name)),
        title = title,
        inside = inside,
    );
    Reply::page(&title, body)
}

/// `GET /promo/{step}`: a promotion that leads in circles and never gives anything.
pub(in crate::demo) fn promo(visit: &mut Visit<'_>) -> Answer {
    let (text, next, link) = match visit.param("step") {
        "1" => (
            "A voucher code is waiting for you. It takes three steps.",
            "/promo/2",
            "Continue to your voucher code",
        ),
        "2" => (
            "You are nearly there. Tell your friends, then go on.",
            "/promo/3",
            "Show my voucher code",
        ),
        "3" => (
            "Your turn could not be counted. Please start again.",
            "/promo/1",
            "Try again for your voucher code",
        ),
        _ => return Err(Refusal::NotFound("This promotion is over.")),
    };
    let body = html!(
        "<section class=\"narrow\"><h1>Spring voucher</h1><p>{}</p>\
         <p><a class=\"button\" href=\"{}\">{}</a></p></section>",
        text,
        next,
        link
    );
    Reply::page("Spring voucher", body)
}

const CONTACT_TOPICS: [(&str, &str); 4] = [
    ("question", "A question"),
    ("order", "About an order"),
    ("repair", "A repair"),
    ("praise", "Praise"),
];

/// `GET /contact`
pub(in crate::demo) fn contact(visit: &mut Visit<'_>) -> Answer {
    let said = (visit.field("sent") == "1").then(|| done("Thank you. Your message has been sent."));
    contact_form(visit, StatusCode::OK, said.as_ref())
}

fn contact_form(visit: &Visit<'_>, status: StatusCode, said: Option<&Html>) -> Answer {
    let body = html!(
        "<section class=\"narrow\"><h1>Contact</h1>{said}<form class=\"panel\" method=\"post\" action=\"/contact\">\
         {csrf}{name}{email}{topic}<p class=\"field\"><label for=\"f-message\">Message</label>\
         <textarea id=\"f-message\" name=\"message\" rows=\"6\" maxlength=\"4000\">{message}</textarea></p>\
         <button>Send message</button></form></section>",
        said = said,
        csrf = csrf(visit),
        name = field(
            "Your name",
            "name",
            "text",
            visit.field("name"),
            "maxlength=\"120\""
        ),
        email = field(
            "Email",
            "email",
            "email",
            visit.field("email"),
            "maxlength=\"120\""
        ),
        topic = select("Topic", "topic", &CONTACT_TOPICS, visit.field("topic")),
        message = visit.field("message"),
    );
    Reply::page_with(status, "Contact", body)
}

/// `POST /contact`
pub(in crate::demo) fn post_contact(visit: &mut Visit<'_>) -> Answer {
    let [name, email, topic, text] =
        ["name", "email", "topic", "message"].map(|name| visit.field(name));
    let wrong = if name.is_empty() || name.chars().count() > 120 {
        Some("Please tell us your name.")
    } else if !is_email(email) {
        Some("Please give an email address.")
    } else if !CONTACT_TOPICS.iter().any(|(known, _)| *known == topic) {
        Some("Please choose a topic.")
    } else if text.is_empty() || text.chars().count() > 4000 {
        Some("Please write a message of at most 4000 letters.")
    } else {
        None
    };
    if let Some(why) = wrong {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return contact_form(visit, status, Some(&alert(why)));
    }
    visit
        .db
        .prepare_cached(
            "insert into messages (name, email, topic, text, day) values (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![name, email, topic, text, store::today(visit.db)?])?;
    Reply::see_other("/contact?sent=1")
}
