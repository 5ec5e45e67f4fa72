//! Large replies made small by their structure: never in the middle of a token, and honest about
//! what is missing.
//!
//! * [`cut`]: keys stay, arrays are sampled from their start, long texts end at a word; every
//!   omission is counted, and named by the JSON pointer under which [`page`] gives the rest.
//! * [`shape`]: only keys, kinds and counts.
//! * [`repair`]: the value of a JSON text that broke off.
//!
//! Sizes are bytes of compact JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Smallest budget: less cannot hold a mark.
pub const LEAST: usize = 64;

/// A value within a budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cut {
    /// The value; marks of what is missing begin with `…`.
    pub value: Value,
    /// What is missing, in the order of the document.
    pub omitted: Vec<Omission>,
}

/// Something that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Omission {
    /// JSON pointer to the array, text or object in the whole value.
    pub path: String,
    /// What is missing there.
    pub what: Omitted,
    /// How many are shown.
    pub shown: usize,
    /// How many there are.
    pub total: usize,
}

/// Kinds of things left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Omitted {
    /// Items of an array.
    Items,
    /// Characters of a text.
    Characters,
    /// Members of an object.
    Members,
}

impl std::fmt::Display for Omission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            path, shown, total, ..
        } = self;
        let what = match self.what {
            Omitted::Items => "items",
            Omitted::Characters => "characters",
            Omitted::Members => "members",
        };
        let path = if path.is_empty() { "the whole" } else { path };
        write!(f, "{path}: {shown} of {total} {what} shown")
    }
}

/// How much of each thing is shown.
#[derive(Debug, Clone, Copy)]
struct Measure {
    items: usize,
    characters: usize,
    members: usize,
    depth: usize,
}

/// From generous to bare: texts and arrays give way before keys do.
const MEASURES: [Measure; 14] = {
    const fn measure(items: usize, characters: usize, members: usize, depth: usize) -> Measure {
        Measure {
            items,
            characters,
            members,
            depth,
        }
    }
    const ALL: usize = usize::MAX;
    [
        measure(ALL, 4000, ALL, ALL),
        measure(100, 1000, ALL, ALL),
        measure(50, 500, ALL, ALL),
        measure(25, 300, ALL, ALL),
        measure(10, 200, ALL, ALL),
        measure(5, 120, ALL, ALL),
        measure(3, 80, ALL, ALL),
        measure(2, 60, ALL, ALL),
        measure(1, 40, ALL, ALL),
        measure(1, 30, 60, 6),
        measure(1, 24, 30, 4),
        measure(1, 20, 15, 3),
        measure(1, 16, 8, 2),
        measure(0, 12, 0, 0),
    ]
};

/// `value` within `budget` bytes (at least [`LEAST`]).
#[must_use]
pub fn cut(value: &Value, budget: usize) -> Cut {
    cut_at(value, "", budget)
}

fn cut_at(value: &Value, path: &str, budget: usize) -> Cut {
    let budget = budget.max(LEAST);
    if size(value) <= budget {
        return Cut {
            value: value.clone(),
            omitted: Vec::new(),
        };
    }
    let mut path = path.to_owned();
    for measure in MEASURES {
        let mut omitted = Vec::new();
        let small = shrink(value, measure, 0, &mut path, &mut omitted);
        if size(&small) <= budget {
            return Cut {
                value: small,
                omitted,
            };
        }
    }
    // A text alone is within the last measure; this is an object or array as one mark.
    let (what, total) = match value {
        Value::Array(items) => (Omitted::Items, items.len()),
        Value::Object(map) => (Omitted::Members, map.len()),
        Value::String(text) => (Omitted::Characters, text.chars().count()),
        Value::Null | Value::Bool(_) | Value::Number(_) => (Omitted::Characters, 0),
    };
    Cut {
        value: Value::from("…"),
        omitted: vec![Omission {
            path,
            what,
            shown: 0,
            total,
        }],
    }
}

/// Bytes of `value` as compact JSON.
#[must_use]
pub fn size(value: &Value) -> usize {
    struct Counter(usize);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    // A value is always JSON, and counting cannot fail; a size too large would be the safe answer.
    match serde_json::to_writer(&mut counter, value) {
        Ok(()) => counter.0,
        Err(_) => usize::MAX,
    }
}

fn shrink(
    value: &Value,
    measure: Measure,
    depth: usize,
    path: &mut String,
    omitted: &mut Vec<Omission>,
) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        Value::String(text) => {
            let total = text.chars().count();
            if total <= measure.characters {
                return value.clone();
            }
            let kept = head(text, measure.characters);
            let shown = kept.chars().count();
            omitted.push(Omission {
                path: path.clone(),
                what: Omitted::Characters,
                shown,
                total,
            });
            Value::from(format!("{kept}…(+{} characters)", total - shown))
        }
        Value::Array(items) => {
            let room = if depth >= measure.depth {
                0
            } else {
                measure.items
            };
            let shown = items.len().min(room);
            if shown < items.len() {
                omitted.push(Omission {
                    path: path.clone(),
                    what: Omitted::Items,
                    shown,
                    total: items.len(),
                });
            }
            let length = path.len();
            let mut out = Vec::with_capacity(shown + 1);
            for (at, item) in items.iter().take(shown).enumerate() {
                path.push_str(&format!("/{at}"));
                out.push(shrink(item, measure, depth + 1, path, omitted));
                path.truncate(length);
            }
            if shown < items.len() {
                out.push(Value::from(format!(
                    "…{} more of {}",
                    items.len() - shown,
                    items.len()
                )));
            }
            Value::Array(out)
        }
        Value::Object(map) => {
            let room = if depth >= measure.depth {
                0
            } else {
                measure.members
            };
            let shown = map.len().min(room);
            if shown < map.len() {
                omitted.push(Omission {
                    path: path.clone(),
                    what: Omitted::Members,
                    shown,
                    total: map.len(),
                });
            }
            let length = path.len();
            let mut out = Map::new();
            for (key, item) in map.iter().take(shown) {
                path.push('/');
                path.push_str(&escape(key));
                out.insert(key.clone(), shrink(item, measure, depth + 1, path, omitted));
                path.truncate(length);
            }
            if shown < map.len() {
                out.insert(
                    "…".to_owned(),
                    Value::from(format!("{} more members", map.len() - shown)),
                );
            }
            Value::Object(out)
        }
    }
}

/// The first at most `most` characters, up to the end of a word where one ends in their second half.
fn head(text: &str, most: usize) -> &str {
    let end = text
        .char_indices()
        .nth(most)
        .map_or(text.len(), |(at, _)| at);
    let head = &text[..end];
    if text[end..].starts_with(char::is_whitespace) {
        return head;
    }
    match head.rfind(char::is_whitespace) {
        Some(space) if space >= end / 2 => head[..space].trim_end(),
        _ => head,
    }
}

/// A key within a JSON pointer.
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// A part of a large value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// Items from `offset` on, or the text from that character on, or members from that one on;
    /// each cut if it alone is too large.
    pub value: Value,
    /// Where it begins.
    pub offset: usize,
    /// Where the next page begins, if there is more.
    pub next: Option<usize>,
    /// How many items, characters or members there are.
    pub total: usize,
    /// What is missing inside the items shown.
    pub omitted: Vec<Omission>,
}

/// Why there is no such page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Nothing is there.
    #[error("there is nothing at `{path}`{}", near.as_ref().map(|near| format!("; `{near}` is the nearest that there is")).unwrap_or_default())]
    NoSuchPath {
        /// What was asked for.
        path: String,
        /// The longest beginning of it that exists.
        near: Option<String>,
    },
    /// Beyond its end.
    #[error("`{path}` has {total}: there is no offset {offset}")]
    PastEnd {
        /// What was asked for.
        path: String,
        /// From where.
        offset: usize,
        /// How many there are.
        total: usize,
    },
}

/// What lies at a JSON pointer, from `offset` on, within `budget` bytes.
///
/// # Errors
/// [`PageError`] for a path that is not there, or an offset beyond its end.
pub fn page(whole: &Value, path: &str, offset: usize, budget: usize) -> Result<Page, PageError> {
    let budget = budget.max(LEAST);
    let path = if path == "/" { "" } else { path };
    let value = whole.pointer(path).ok_or_else(|| {
        let mut near = path;
        while let Some((before, _)) = near.rsplit_once('/') {
            near = before;
            if whole.pointer(near).is_some() {
                break;
            }
        }
        PageError::NoSuchPath {
            path: path.to_owned(),
            near: (!near.is_empty() && near != path).then(|| near.to_owned()),
        }
    })?;
    let total = match value {
        Value::Array(items) => items.len(),
        Value::Object(map) => map.len(),
        Value::String(text) => text.chars().count(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
    };
    if offset > 0 && offset >= total {
        return Err(PageError::PastEnd {
            path: path.to_owned(),
            offset,
            total,
        });
    }
    let mut omitted = Vec::new();
    // Takes items while they fit; the first is cut to fit.
    let mut take = |at: &str, item: &Value, used: usize, first: bool| -> Option<Value> {
        let room = budget.saturating_sub(used);
        if size(item) <= room {
            return Some(item.clone());
        }
        if !first {
            return None;
        }
        let mut cut = cut_at(item, &format!("{path}/{}", escape(at)), room);
        omitted.append(&mut cut.omitted);
        Some(cut.value)
    };
    let (value, shown) = match value {
        Value::Array(items) => {
            let (mut out, mut used) = (Vec::new(), 2);
            for (at, item) in items.iter().enumerate().skip(offset) {
                let Some(item) = take(&at.to_string(), item, used, out.is_empty()) else {
                    break;
                };
                used += size(&item) + 1;
                out.push(item);
            }
            let shown = out.len();
            (Value::Array(out), shown)
        }
        Value::Object(map) => {
            let (mut out, mut used) = (Map::new(), 2);
            for (key, item) in map.iter().skip(offset) {
                let own = key.len() + 6;
                let Some(item) = take(key, item, used + own, out.is_empty()) else {
                    break;
                };
                used += size(&item) + own;
                out.insert(key.clone(), item);
            }
            let shown = out.len();
            (Value::Object(out), shown)
        }
        Value::String(text) => {
            let start = text
                .char_indices()
                .nth(offset)
                .map_or(text.len(), |(at, _)| at);
            let rest = &text[start..];
            let mut most = budget;
            // Escapes make a text longer than its characters: halve until it fits.
            let part = loop {
                let part = head(rest, most);
                if most <= 1 || size(&Value::from(part)) <= budget {
                    break part;
                }
                most /= 2;
            };
            (Value::from(part), part.chars().count())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => (value.clone(), 1),
    };
    let end = offset + shown;
    Ok(Page {
        value,
        offset,
        next: (shown > 0 && end < total).then_some(end),
        total,
        omitted,
    })
}

/// Only keys, kinds and counts: `{"pets": ["array of 120", {"id": "integer", "name": "string"}]}`.
#[must_use]
pub fn shape(value: &Value) -> Value {
    match value {
        Value::Null => Value::from("null"),
        Value::Bool(_) => Value::from("boolean"),
        Value::Number(number) if number.is_f64() => Value::from("number"),
        Value::Number(_) => Value::from("integer"),
        Value::String(_) => Value::from("string"),
        Value::Array(items) => {
            let mut out = vec![Value::from(format!("array of {}", items.len()))];
            out.extend(items.first().map(shape));
            Value::Array(out)
        }
        Value::Object(map) => {
            let shapes = map.iter().map(|(key, item)| (key.clone(), shape(item)));
            Value::Object(shapes.collect())
        }
    }
}

/// The value of a JSON text that broke off: everything that was complete, containers closed. `None`
/// if nothing was.
#[must_use]
pub fn repair(text: &str) -> Option<Value> {
    let (mut stack, mut safe) = (Vec::new(), None);
    let (mut in_string, mut escaped) = (false, false);
    // Positions at which the text could be closed: after an opening bracket, before a comma, after
    // a closing bracket.
    for (at, byte) in text.bytes().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' => {
                stack.push('}');
                safe = Some((at + 1, stack.clone()));
            }
            b'[' => {
                stack.push(']');
                safe = Some((at + 1, stack.clone()));
            }
            b'}' | b']' => {
                stack.pop()?;
                safe = Some((at + 1, stack.clone()));
            }
            b',' => safe = Some((at, stack.clone())),
            _ => {}
        }
    }
    let (end, open) = safe?;
    let mut whole = text[..end].to_owned();
    whole.extend(open.iter().rev());
    serde_json::from_str(&whole).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_fits_stays() {
        let value = json!({ "a": [1, 2, 3], "b": "text" });
        assert_eq!(
            cut(&value, 1000),
            Cut {
                value,
                omitted: vec![]
            }
        );
    }

    #[test]
    fn arrays_are_sampled_and_counted() {
        let pets: Vec<Value> = (0..200)
            .map(|id| json!({ "id": id, "name": "a pet" }))
            .collect();
        let whole = json!({ "total": 200, "pets": pets });
        let cut = cut(&whole, 400);
        assert!(size(&cut.value) <= 400);
        assert_eq!(cut.value["total"], 200);
        assert_eq!(cut.value["pets"][0], json!({ "id": 0, "name": "a pet" }));
        let shown = cut.omitted[0].shown;
        assert_eq!(
            cut.value["pets"][shown],
            Value::from(format!("…{} more of 200", 200 - shown))
        );
        assert_eq!(
            cut.omitted[0].to_string(),
            format!("/pets: {shown} of 200 items shown")
        );
        // The rest is where the omission says.
        let rest = page(&whole, "/pets", shown, 100_000).unwrap();
        assert_eq!((rest.total, rest.next), (200, None));
        assert_eq!(rest.value.as_array().unwrap().len(), 200 - shown);
    }

    #[test]
    fn texts_end_at_a_word() {
        let text = "alpha beta ".repeat(1000);
        let cut = cut(&json!({ "text": text }), 200);
        let shown = cut.value["text"].as_str().unwrap();
        let (kept, mark) = shown.split_once('…').unwrap();
        assert!(kept.ends_with("alpha") || kept.ends_with("beta"), "{kept}");
        assert!(mark.ends_with("characters)"));
    }

    #[test]
    fn pages_follow_each_other() {
        let text: String = ('a'..='z').cycle().take(1000).collect();
        let (mut at, mut read) = (0, String::new());
        loop {
            let page = page(&json!([text]), "/0", at, 128).unwrap();
            read.push_str(page.value.as_str().unwrap());
            match page.next {
                Some(next) => at = next,
                None => break,
            }
        }
        assert_eq!(read, text);
        let object = json!({ "a/b": { "c": 1 } });
        assert_eq!(
            page(&object, "/a~1b", 0, 100).unwrap().value,
            json!({ "c": 1 })
        );
        insta::assert_snapshot!(page(&object, "/a~1b/d", 0, 100).unwrap_err(), @"there is nothing at `/a~1b/d`; `/a~1b` is the nearest that there is");
        insta::assert_snapshot!(page(&object, "", 3, 100).unwrap_err(), @"`` has 1: there is no offset 3");
    }

    #[test]
    fn shapes() {
        assert_eq!(
            shape(&json!({ "a": [{ "id": 1, "x": 1.5 }, {}], "b": null, "c": [] })),
            json!({ "a": ["array of 2", { "id": "integer", "x": "number" }], "b": "null", "c": ["array of 0"] })
        );
    }

    #[test]
    fn broken_json_is_closed() {
        for (text, value) in [
            (r#"{"a": [1, 2, {"b": "x"#, json!({ "a": [1, 2, {}] })),
            (r#"[{"a": 1}, {"b": 2"#, json!([{ "a": 1 }, {}])),
            (r#"{"a": "],}", "b": tr"#, json!({ "a": "],}" })),
            (r#"["\"", "x"#, json!(["\""])),
        ] {
            assert_eq!(repair(text), Some(value), "{text}");
        }
        assert_eq!(repair("12"), None);
        assert_eq!(repair("]"), None);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z \"\\\\é\n]{0,80}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 200, 12, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..12).prop_map(Value::from),
                proptest::collection::btree_map("[a-z/~]{1,12}", inner, 0..12)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_cut_fits_and_tells_what_is_missing(value in any_value(), budget in LEAST..2000_usize) {
            let cut = cut(&value, budget);
            prop_assert!(size(&cut.value) <= budget);
            prop_assert_eq!(cut.omitted.is_empty(), cut.value == value);
            for omission in &cut.omitted {
                let at = value.pointer(&omission.path).expect("the path is there");
                let total = match at {
                    Value::Array(items) => items.len(),
                    Value::Object(map) => map.len(),
                    Value::String(text) => text.chars().count(),
                    _ => 0,
                };
                prop_assert_eq!(total, omission.total);
                prop_assert!(omission.shown < omission.total);
            }
        }

        #[test]
        fn pages_give_everything(items in proptest::collection::vec("[a-z\n]{0,20}", 1..60), budget in LEAST..300_usize) {
            let whole = json!(items);
            let (mut at, mut read) = (0, Vec::new());
            loop {
                let page = page(&whole, "", at, budget).unwrap();
                prop_assert!(size(&page.value) <= budget);
                read.extend(page.value.as_array().unwrap().clone());
                match page.next {
                    Some(next) => at = next,
                    None => break,
                }
            }
            prop_assert_eq!(Value::from(read), whole);
        }

        #[test]
        fn a_repaired_prefix_is_part_of_the_whole(value in any_value(), at in 0.0..1.0_f64) {
            let text = value.to_string();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a position in a short text")]
            let mut end = (text.len() as f64 * at) as usize;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            if let Some(part) = repair(&text[..end]) {
                prop_assert!(is_part(&part, &value), "{part} of {value}");
            }
        }
    }

    fn is_part(part: &Value, whole: &Value) -> bool {
        match (part, whole) {
            (Value::Object(part), Value::Object(whole)) => part
                .iter()
                .all(|(key, item)| whole.get(key).is_some_and(|other| is_part(item, other))),
            (Value::Array(part), Value::Array(whole)) => {
                part.len() <= whole.len() && part.iter().zip(whole).all(|(a, b)| is_part(a, b))
            }
            _ => part == whole,
        }
    }
}
