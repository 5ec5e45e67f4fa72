//! Finding products: categories, search, filters.

use crate::demo::html::{Html, encode, html};
use crate::demo::layout::{alert, crumbs, field, grid, select};
use crate::demo::store::{self, Category, Product};
use crate::demo::visit::{Answer, Refusal, Reply, Visit, number};

/// Products on a page of results.
const PAGE: usize = 12;

const SORTS: [(&str, &str); 4] = [
    ("", "Best match"),
    ("price-asc", "Price, low to high"),
    ("price-desc", "Price, high to low"),
    ("rating", "Best rated"),
];

/// What else a word may mean. The shop believes in these more than in the word itself, which is
/// one of its dead ends.
const SYNONYMS: [(&str, &str); 6] = [
    ("throw", "pillow"),
    ("lantern", "paper"),
    ("light", "lamp"),
    ("cup", "mug"),
    ("rug", "mat"),
    ("pot", "teapot"),
];

/// `GET /category/{slug}`
pub(in crate::demo) fn category(visit: &mut Visit<'_>) -> Answer {
    let categories = store::categories(visit.db)?;
    let category = categories
        .iter()
        .find(|category| category.slug == visit.param("slug"))
        .ok_or(Refusal::NotFound("We have no such category."))?;
    let products = store::products_of(visit.db, &category.slug)?;
    let wanted = Wanted {
        category: category.slug.clone(),
        ..Wanted::default()
    };
    let body = html!(
        "{crumbs}<h1>{name}</h1><p class=\"lead\">{blurb}</p><div class=\"browse\">{filters}\
         <section aria-label=\"Products\"><p class=\"count\">{count} products</p>{grid}</section></div>",
        crumbs = crumbs(&[("/", "Home")], &category.name),
        name = category.name,
        blurb = category.blurb,
        filters = filters(&wanted, &categories),
        count = products.len(),
        grid = grid(&products),
    );
    Reply::page(&category.name, body)
}

/// What a search asks for.
#[derive(Debug, Default)]
struct Wanted {
    q: String,
    category: String,
    min: String,
    max: String,
    sort: String,
}

/// `GET /search`
pub(in crate::demo) fn search(visit: &mut Visit<'_>) -> Answer {
    let wanted = Wanted {
        q: visit.field("q").chars().take(80).collect(),
        category: visit.field("category").to_owned(),
        min: visit.field("min").to_owned(),
        max: visit.field("max").to_owned(),
        sort: visit.field("sort").to_owned(),
    };
    let categories = store::categories(visit.db)?;
    let mut complaints = Vec::new();
    let mut bound = |name: &str, text: &str| {
        let cents = amount(text);
        if cents.is_none() && !text.is_empty() {
            complaints.push(alert(&format!("{name}: “{text}” is not an amount.")));
        }
        cents
    };
    let min = bound("Minimum price", &wanted.min);
    let max = bound("Maximum price", &wanted.max);
    if !wanted.category.is_empty() && !categories.iter().any(|c| c.slug == wanted.category) {
        complaints.push(alert("We have no such category."));
    }
    let (mut found, exact) = ranked(store::products(visit.db)?, &wanted.q);
    found.retain(|product| {
        (wanted.category.is_empty() || product.category == wanted.category)
            && min.is_none_or(|min| product.cents.0 >= min)
            && max.is_none_or(|max| product.cents.0 <= max)
    });
    match wanted.sort.as_str() {
        "price-asc" => found.sort_by_key(|product| product.cents),
        "price-desc" => found.sort_by_key(|product| std::cmp::Reverse(product.cents)),
        "rating" => {
            found.sort_by_key(|product| std::cmp::Reverse((product.tenths, product.reviews)));
        }
        _ => {}
    }
    let pages = found.len().div_ceil(PAGE).max(1);
    let last = i64::try_from(pages).unwrap_or(i64::MAX);
    let page = number(visit.field("page"), 1, last).unwrap_or(1);
    let from = usize::try_from(page - 1).unwrap_or(0) * PAGE;
    let shown = &found[from..found.len().min(from + PAGE)];
    let title = if wanted.q.is_empty() {
        "All products".to_owned()
    } else {
        format!("Search results for “{}”", wanted.q)
    };
    let said = if found.is_empty() {
        html!("<p class=\"count\">Nothing fits. Try fewer words or wider limits.</p>")
    } else if exact {
        html!("<p class=\"count\">{} products</p>", found.len())
    } else {
        html!(
            "<p class=\"count\">Nothing fits all of these words; {} products fit some.</p>",
            found.len()
        )
    };
    let body = html!(
        "{crumbs}<h1>{title}</h1><div class=\"browse\">{filters}<section aria-label=\"Products\">\
         {complaints}{said}{grid}{pager}</section></div>",
        crumbs = crumbs(&[("/", "Home")], "Search"),
        title = title,
        filters = filters(&wanted, &categories),
        complaints = complaints.into_iter().collect::<Html>(),
        said = said,
        grid = grid(shown),
        pager = pager(&wanted, page, last),
    );
    Reply::page(&title, body)
}

fn filters(wanted: &Wanted, categories: &[Category]) -> Html {
    let mut choices = vec![("", "All categories")];
    choices.extend(
        categories
            .iter()
            .map(|c| (c.slug.as_str(), c.name.as_str())),
    );
    html!(
        "<form class=\"filters\" action=\"/search\" aria-label=\"Filters\"><h2>Filters</h2>\
         {q}{category}{min}{max}{sort}<button>Apply filters</button></form>",
        q = field("Keywords", "q", "text", &wanted.q, "maxlength=\"80\""),
        category = select("Category", "category", &choices, &wanted.category),
        min = field(
            "Minimum price",
            "min",
            "text",
            &wanted.min,
            "inputmode=\"decimal\""
        ),
        max = field(
            "Maximum price",
            "max",
            "text",
            &wanted.max,
            "inputmode=\"decimal\""
        ),
        sort = select("Sort by", "sort", &SORTS, &wanted.sort),
    )
}

fn pager(wanted: &Wanted, page: i64, last: i64) -> Html {
    if last == 1 {
        return Html::default();
    }
    let to = |page: i64, text: &str| {
        html!(
            "<a href=\"/search?q={q}&amp;category={category}&amp;min={min}&amp;max={max}&amp;sort={sort}&amp;page={page}\">{text}</a>",
            q = encode(&wanted.q),
            category = encode(&wanted.category),
            min = encode(&wanted.min),
            max = encode(&wanted.max),
            sort = encode(&wanted.sort),
            page = page,
            text = text,
        )
    };
    html!(
        "<nav class=\"pager\" aria-label=\"Pages\">{back}<span>Page {page} of {last}</span>{on}</nav>",
        back = (page > 1).then(|| to(page - 1, "Previous page")),
        page = page,
        last = last,
        on = (page < last).then(|| to(page + 1, "Next page")),
    )
}

/// An amount of euros as cents: `100`, `99.5`, `€ 19,90`.
fn amount(text: &str) -> Option<i64> {
    let plain = text.trim_start_matches('€').trim().replace(',', ".");
    let (whole, part) = plain.split_once('.').unwrap_or((&plain, ""));
    let whole = number(whole, 0, 1_000_000)?;
    let part = match part.len() {
        0 => 0,
        1 => number(part, 0, 9)? * 10,
        2 => number(part, 0, 99)?,
        _ => return None,
    };
    Some(whole * 100 + part)
}

/// The products that fit the words, best first, and whether they fit all of them.
fn ranked(products: Vec<Product>, q: &str) -> (Vec<Product>, bool) {
    let words = words(q);
    if words.is_empty() {
        return (products, true);
    }
    let scored: Vec<(usize, i64, Product)> = products
        .into_iter()
        .map(|product| {
            let name = self::words(&product.name);
            let shelf = self::words(&product.category_name);
            let text = self::words(&product.text);
            let scores = words.iter().map(|word| score(word, &name, &shelf, &text));
            let hits = scores.clone().filter(|score| *score > 0).count();
            (hits, scores.sum(), product)
        })
        .filter(|(hits, _, _)| *hits > 0)
        .collect();
    let exact = scored.iter().any(|(hits, _, _)| *hits == words.len());
    let mut kept: Vec<_> = scored
        .into_iter()
        .filter(|(hits, _, _)| !exact || *hits == words.len())
        .collect();
    kept.sort_by_key(|(hits, score, _)| std::cmp::Reverse((*hits, *score)));
    (
        kept.into_iter().map(|(_, _, product)| product).collect(),
        exact,
    )
}

fn score(word: &str, name: &[String], shelf: &[String], text: &[String]) -> i64 {
    let has = |words: &[String], word: &str| words.iter().any(|other| other == word);
    let starts =
        |words: &[String]| word.len() > 2 && words.iter().any(|other| other.starts_with(word));
    let favoured = SYNONYMS
        .iter()
        .any(|(said, meant)| *said == word && has(name, meant));
    if favoured {
        12
    } else if has(name, word) {
        10
    } else if starts(name) {
        6
    } else if has(shelf, word) {
        3
    } else if has(text, word) {
        2
    } else {
        0
    }
}

/// The words of a text that count: lower case, without plural endings and small words.
fn words(text: &str) -> Vec<String> {
    text.to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| {
            ![
                "", "a", "an", "the", "of", "for", "in", "with", "and", "to", "s",
            ]
            .contains(word)
        })
        .map(|word| match word.strip_suffix('s') {
            Some(stem) if stem.len() > 2 && !stem.ends_with('s') => stem.to_owned(),
            _ => word.to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        for (text, cents) in [
            ("100", 10_000),
            ("99.5", 9_950),
            ("€ 19,90", 1_990),
            ("0", 0),
        ] {
            assert_eq!(amount(text), Some(cents), "{text}");
        }
        for text in [
            "",
            "-5",
            "1e3",
            "1.234",
            "ten",
            "1.-5",
            "999999999999999999999",
            "+.+1",
        ] {
            assert_eq!(amount(text), None, "{text}");
        }
    }

    #[test]
    fn words_forget_case_plural_and_filler() {
        assert_eq!(
            words("The Lamps of Glass, and a desk"),
            ["lamp", "glass", "desk"]
        );
    }
}
