//! The start page.

use crate::demo::html::{Html, html};
use crate::demo::layout::grid;
use crate::demo::picture::picture;
use crate::demo::store;
use crate::demo::visit::{Answer, Reply, Visit};

/// What the start page shows first.
const FEATURED: [&str; 8] = [
    "fjord-gooseneck-kettle",
    "patchwork-quilt",
    "roll-top-backpack",
    "dune-bedside-lamp",
    "enamel-casserole",
    "puffin-split-keyboard",
    "copper-watering-can",
    "harbour-mug",
];

/// `GET /`
pub(in crate::demo) fn home(visit: &mut Visit<'_>) -> Answer {
    let products = store::products(visit.db)?;
    let featured: Vec<_> = FEATURED
        .iter()
        .filter_map(|slug| products.iter().find(|product| product.slug == *slug))
        .cloned()
        .collect();
    let shelves: Html = store::categories(visit.db)?
        .iter()
        .filter_map(|category| {
            let first = products
                .iter()
                .find(|product| product.category == category.slug)?;
            Some(html!(
                "<li><a href=\"/category/{slug}\">{picture}<span><strong>{name}</strong> {blurb}</span></a></li>",
                slug = category.slug,
                picture = picture(&first.art, &first.slug, None),
                name = category.name,
                blurb = category.blurb,
            ))
        })
        .collect();
    let body = html!(
        "<section class=\"hero\"><div><h1>Things that stay</h1>\
         <p>Lamps, pots, blankets and tools for a home by the sea, or for one that would like to be.</p>\
         <p class=\"actions\"><a class=\"button\" href=\"/search\">See all products</a> \
         <a class=\"button second\" href=\"/configurator\">Build your own lamp</a></p></div>\
         <div class=\"scene\">{lamp}{pot}{blanket}</div></section>\
         <section class=\"offers\"><article><h2>Deal of the day</h2>\
         <p>Brass desk lamp, 40 % off while it lasts.</p>\
         <p><a href=\"/deals/brass-desk-lamp\">Brass desk lamp deal</a></p></article>\
         <article><h2>Spring voucher</h2><p>A voucher code for everybody who likes to click.</p>\
         <p><a href=\"/promo/1\">Get your voucher code</a></p></article>\
         <article><h2>Rather by mail?</h2><p>We answer within a day, on paper if you like.</p>\
         <p><a href=\"/contact\">Write to us</a></p></article></section>\
         <section><h2>Shop by category</h2><ul class=\"tiles\">{shelves}</ul></section>\
         <section><h2>Favourites of the house</h2>{featured}</section>",
        lamp = picture("table-lamp", "hero-c", None),
        pot = picture("pot", "hero-f", None),
        blanket = picture("blanket", "hero-h", None),
        shelves = shelves,
        featured = grid(&featured),
    );
    Reply::page("Things that stay", body)
}
