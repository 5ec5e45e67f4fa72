//! Customers: signing in and out, their data.

use axum::http::StatusCode;
use rusqlite::{OptionalExtension, params};

use crate::demo::html::{Html, html};
use crate::demo::layout::{alert, csrf, done, field};
use crate::demo::seed::{HINTS, hash_password};
use crate::demo::visit::{Answer, Refusal, Reply, User, Visit, local_path};

/// `GET /login`
pub(in crate::demo) fn login(visit: &mut Visit<'_>) -> Answer {
    form(visit, StatusCode::OK, None)
}

fn form(visit: &Visit<'_>, status: StatusCode, why: Option<&str>) -> Answer {
    let body = html!(
        "<section class=\"narrow\"><h1>Sign in</h1>{why}<form class=\"panel\" method=\"post\" action=\"/login\">{csrf}\
         <input type=\"hidden\" name=\"next\" value=\"{next}\">{username}{password}\
         <button>Sign in</button></form>\
         <p class=\"hint\">This shop is a demonstration. Its customers: {hints}.</p></section>",
        why = why.map(alert),
        csrf = csrf(visit),
        next = visit.field("next"),
        username = field(
            "Username",
            "username",
            "text",
            visit.field("username"),
            "autocomplete=\"username\" maxlength=\"80\""
        ),
        password = field(
            "Password",
            "password",
            "password",
            "",
            "autocomplete=\"current-password\" maxlength=\"80\""
        ),
        hints = HINTS,
    );
    Reply::page_with(status, "Sign in", body)
}

/// `POST /login`
pub(in crate::demo) fn post_login(visit: &mut Visit<'_>) -> Answer {
    let username = visit.field("username").to_lowercase();
    let password = hash_password(&username, visit.field("password"));
    let user = visit
        .db
        .prepare_cached("select id, name from users where username = ?1 and password = ?2")?
        .query_row([&username, &password], user)
        .optional()?;
    let Some(user) = user else {
        let why = "Username and password do not fit together.";
        return form(visit, StatusCode::UNPROCESSABLE_ENTITY, Some(why));
    };
    let next = local_path(visit.field("next"))
        .unwrap_or("/account")
        .to_owned();
    visit.sign_in(user)?;
    Reply::see_other(next)
}

fn user(row: &rusqlite::Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: row.get(0)?,
        name: row.get(1)?,
    })
}

/// `GET /signin/{token}`: the link in a customer's mail. Signs in by GET, as such links do.
pub(in crate::demo) fn signin_link(visit: &mut Visit<'_>) -> Answer {
    let user = visit
        .db
        .prepare_cached("select id, name from users where signin = ?1")?
        .query_row([visit.param("token")], user)
        .optional()?
        .ok_or(Refusal::NotFound("This sign-in link is not valid."))?;
    let next = local_path(visit.field("next"))
        .unwrap_or("/account")
        .to_owned();
    visit.sign_in(user)?;
    Reply::see_other(next)
}

/// `POST /logout`
pub(in crate::demo) fn post_logout(visit: &mut Visit<'_>) -> Answer {
    visit.end_session()?;
    Reply::see_other("/")
}

/// A customer's data.
struct Profile {
    username: String,
    name: String,
    email: String,
    street: String,
    postcode: String,
    city: String,
    country: String,
}

fn profile(visit: &Visit<'_>, user: &User) -> rusqlite::Result<Profile> {
    visit
        .db
        .prepare_cached(
            "select username, name, email, street, postcode, city, country from users where id = ?1",
        )?
        .query_row([user.id], |row| {
            Ok(Profile {
                username: row.get(0)?,
                name: row.get(1)?,
                email: row.get(2)?,
                street: row.get(3)?,
                postcode: row.get(4)?,
                city: row.get(5)?,
                country: row.get(6)?,
            })
        })
}

/// `GET /account`
pub(in crate::demo) fn account(visit: &mut Visit<'_>) -> Answer {
    let user = visit.customer("/account")?;
    let profile = profile(visit, &user)?;
    let said = (visit.field("saved") == "1").then(|| done("Saved."));
    show_account(visit, StatusCode::OK, &profile, said.as_ref())
}

fn show_account(
    visit: &Visit<'_>,
    status: StatusCode,
    profile: &Profile,
    said: Option<&Html>,
) -> Answer {
    let body = html!(
        "<h1>Your account</h1>{said}<div class=\"columns\"><section class=\"panel\"><h2>Hello, {name}</h2>\
         <ul><li><a href=\"/orders\">Your orders</a></li><li><a href=\"/wishlist\">Your wishlist</a></li>\
         <li><a href=\"/account/address\">Change your address</a></li></ul>\
         <address>{street}<br>{postcode} {city}<br>{country}</address></section>\
         <form class=\"panel\" method=\"post\" action=\"/account\"><h2>Your data</h2>{csrf}\
         <p>Username {username}</p>{name_field}{email}<button>Save</button></form></div>",
        said = said,
        name = profile.name,
        street = profile.street,
        postcode = profile.postcode,
        city = profile.city,
        country = profile.country,
        csrf = csrf(visit),
        username = profile.username,
        name_field = field("Name", "name", "text", &profile.name, "maxlength=\"120\""),
        email = field(
            "Email",
            "email",
            "email",
            &profile.email,
            "maxlength=\"120\""
        ),
    );
    Reply::page_with(status, "Your account", body)
}

/// `POST /account`
pub(in crate::demo) fn post_account(visit: &mut Visit<'_>) -> Answer {
    let user = visit.customer("/account")?;
    let (name, email) = (visit.field("name"), visit.field("email"));
    if name.is_empty() || name.chars().count() > 120 || !is_email(email) {
        let profile = profile(visit, &user)?;
        let why = &alert("Please give a name and an email address.");
        return show_account(visit, StatusCode::UNPROCESSABLE_ENTITY, &profile, Some(why));
    }
    visit
        .db
        .prepare_cached("update users set name = ?1, email = ?2 where id = ?3")?
        .execute(params![name, email, user.id])?;
    Reply::see_other("/account?saved=1")
}

/// Good enough for a shop that sends no mail.
pub(super) fn is_email(text: &str) -> bool {
    text.chars().count() <= 120
        && text
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
}

/// `GET /account/address`
pub(in crate::demo) fn address(visit: &mut Visit<'_>) -> Answer {
    let user = visit.customer("/account/address")?;
    let profile = profile(visit, &user)?;
    show_address(visit, StatusCode::OK, &profile, None)
}

fn show_address(
    visit: &Visit<'_>,
    status: StatusCode,
    profile: &Profile,
    why: Option<&str>,
) -> Answer {
    let text = |label: &str, name: &str, value: &str| {
        field(label, name, "text", value, "maxlength=\"120\"")
    };
    let body = html!(
        "<section class=\"narrow\"><h1>Your address</h1>{why}<form class=\"panel\" method=\"post\" action=\"/account/address\">\
         {csrf}{street}{postcode}{city}{country}<button>Save address</button></form></section>",
        why = why.map(alert),
        csrf = csrf(visit),
        street = text("Street", "street", &profile.street),
        postcode = text("Postcode", "postcode", &profile.postcode),
        city = text("City", "city", &profile.city),
        country = text("Country", "country", &profile.country),
    );
    Reply::page_with(status, "Your address", body)
}

/// `POST /account/address`
pub(in crate::demo) fn post_address(visit: &mut Visit<'_>) -> Answer {
    let user = visit.customer("/account/address")?;
    let fields = ["street", "postcode", "city", "country"].map(|name| visit.field(name));
    if fields
        .iter()
        .any(|value| value.is_empty() || value.chars().count() > 120)
    {
        let profile = profile(visit, &user)?;
        let why = "Please fill in all four lines of the address.";
        return show_address(visit, StatusCode::UNPROCESSABLE_ENTITY, &profile, Some(why));
    }
    let [street, postcode, city, country] = fields;
    visit
        .db
        .prepare_cached(
            "update users set street = ?1, postcode = ?2, city = ?3, country = ?4 where id = ?5",
        )?
        .execute(params![street, postcode, city, country, user.id])?;
    Reply::see_other("/account?saved=1")
}
