//! Taking goals and pages apart without a model: words, quoted parts, `key: value` parts, what a
//! goal is about, what kind of answer a question wants, which superlative it asks for; and, of a
//! page with the way to it, what of the goal is evidently done. English only; no word here belongs
//! to a particular site.

use std::collections::BTreeSet;

use crate::types::{Action, Element, ElementState, Observation, PathStep, UnitF32, View};

/// A count as a number.
pub(crate) fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

/// A number as a value within 0..=1.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a value needs no more precision"
)]
pub(crate) fn unit(value: f64) -> UnitF32 {
    UnitF32::saturating(value as f32)
}

/// Words that say nothing about what is wanted.
const STOP: &[&str] = &[
    "a", "an", "the", "and", "or", "of", "to", "in", "on", "at", "for", "from", "with", "by", "is",
    "are", "was", "were", "be", "it", "its", "this", "that", "these", "those", "as", "into",
    "your", "my", "you", "i", "we", "me", "us", "please", "can", "could", "then", "than", "there",
    "do", "does", "did", "have", "has", "had", "not", "so", "if", "all", "any", "some", "one",
    "which", "what", "who", "where", "when", "how", "much", "many", "using", "use", "s", "t",
    "don", "must", "should", "will", "would", "their", "them", "they", "no", "up", "out", "about",
    "tell", "page", "website", "site",
];

/// Words for doing something on a page, whatever the page is about.
const DOING: &[&str] = &[
    "click",
    "press",
    "tap",
    "hit",
    "push",
    "select",
    "choose",
    "pick",
    "check",
    "tick",
    "uncheck",
    "untick",
    "enter",
    "type",
    "write",
    "fill",
    "input",
    "put",
    "set",
    "find",
    "search",
    "look",
    "go",
    "open",
    "navigate",
    "visit",
    "show",
    "see",
    "get",
    "give",
    "make",
    "submit",
    "button",
    "link",
    "field",
    "box",
    "textbox",
    "text",
    "checkbox",
    "option",
    "menu",
    "dropdown",
    "list",
    "tab",
    "following",
    "answer",
    "report",
    "scroll",
    "expand",
    "item",
    "name",
    "value",
];

/// Lower-case words in order, plurals folded. Digits stay together with their decimal point.
pub(crate) fn words(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let digit = |i: Option<usize>| {
        i.and_then(|i| chars.get(i))
            .is_some_and(char::is_ascii_digit)
    };
    let mut out = Vec::new();
    let mut word = String::new();
    for (i, &c) in chars.iter().enumerate() {
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        } else if matches!(c, '.' | ',') && digit(i.checked_sub(1)) && digit(Some(i + 1)) {
            // 1,234.50 is one word, 1234.50.
            if c == '.' {
                word.push('.');
            }
        } else if matches!(c, '\'' | '’') && !word.is_empty() {
            // An apostrophe ends a word; a following "s" is a stop word.
            out.push(fold(&std::mem::take(&mut word)));
        } else if !word.is_empty() {
            out.push(fold(&std::mem::take(&mut word)));
        }
    }
    if !word.is_empty() {
        out.push(fold(&word));
    }
    out
}

/// Folds a plural into its singular, roughly but the same way everywhere.
fn fold(word: &str) -> String {
    let n = word.len();
    if n > 4 && word.ends_with("ies") {
        return format!("{}y", &word[..n - 3]);
    }
    let es = ["ses", "xes", "zes", "ches", "shes"];
    if n > 4 && es.iter().any(|end| word.ends_with(end)) && !word.ends_with("uses") {
        return word[..n - 2].to_owned();
    }
    let keep = ["ss", "us", "is"];
    if n > 3 && word.ends_with('s') && !keep.iter().any(|end| word.ends_with(end)) {
        return word[..n - 1].to_owned();
    }
    word.to_owned()
}

/// The distinct words that say something, in order.
pub(crate) fn terms(text: &str) -> Vec<String> {
    let mut seen = BTreeSet::new();
    words(text)
        .into_iter()
        .filter(|w| !STOP.contains(&w.as_str()))
        .filter(|w| seen.insert(w.clone()))
        .collect()
}

/// Whether a term is only about handling a page.
pub(crate) fn is_doing(term: &str) -> bool {
    DOING.contains(&term)
}

/// Words between blanks at both ends, so that a phrase can be looked up as a substring.
pub(crate) fn padded(words: &[String]) -> String {
    format!(" {} ", words.join(" "))
}

/// What a quoted part of a goal is there for, by the verb before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// To be typed.
    Type,
    /// To be clicked, chosen or opened.
    Press,
    /// Nothing says.
    Either,
}

/// A text that the goal gives literally.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Literal {
    /// The text itself.
    pub(crate) text: String,
    /// Words that tell which field it belongs to.
    pub(crate) keys: Vec<String>,
    /// What it is there for.
    pub(crate) purpose: Use,
    /// The goal names its field right before a colon (`city: Bergen`): it goes nowhere else.
    pub(crate) keyed: bool,
}

/// What kind of answer a question wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// An amount of money.
    Money,
    /// A number.
    Number,
    /// A date or a time.
    Date,
    /// A code: capital letters and digits.
    Code,
    /// Words.
    Words,
}

/// What a superlative is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// An amount of money.
    Money,
    /// Days; today is 0, tomorrow 1.
    Days,
    /// A number out of a fixed one, as ratings are given (`4.5 of 5`).
    Rating,
    /// The first number.
    Number,
}

/// A superlative: the smallest or the largest of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extreme {
    /// Of what.
    pub(crate) measure: Measure,
    /// Whether the largest is wanted.
    pub(crate) largest: bool,
}

/// A goal, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Goal {
    /// Distinct terms, those about handling a page included.
    pub(crate) terms: Vec<String>,
    /// Distinct terms about the matter itself.
    pub(crate) content: Vec<String>,
    /// All words between blanks.
    pub(crate) phrase: String,
    /// Literal texts, in order.
    pub(crate) literals: Vec<Literal>,
    /// What is asked, if anything is.
    pub(crate) asked: Option<Asked>,
    /// Terms of the sentence that asks; `content` if none does.
    pub(crate) question: Vec<String>,
    /// What to search for, as written, the fullest phrase first: the name in quotes, or the object
    /// of the verb.
    pub(crate) queries: Vec<String>,
    /// Terms of where something is to go ("to the cart").
    pub(crate) destination: Vec<String>,
    /// The superlative, if there is one.
    pub(crate) extreme: Option<Extreme>,
    /// The goal is to be somewhere ("open", "find", "go to"), not to do something there.
    pub(crate) arriving: bool,
}

impl Goal {
    /// Takes a goal apart.
    pub(crate) fn of(text: &str) -> Self {
        let all = words(text);
        let terms = terms(text);
        let mut literals = quoted(text);
        literals.extend(pairs(text, &literals));
        literals.extend(shouted(text, &literals));
        if literals.iter().all(|l| l.purpose == Use::Press) {
            let said = spoken(text);
            literals.extend(said.into_iter().filter(|l| !quotes(&l.text)));
        }
        let content: Vec<String> = terms.iter().filter(|t| !is_doing(t)).cloned().collect();
        // Marks inside a quoted part are not the goal's.
        let text = &literals.iter().fold(text.to_owned(), |text, l| {
            text.replace(&l.text, &l.text.replace(['?', '.', '!', ':'], " "))
        });
        let asked = asked(text, &all);
        let first = all.iter().find(|w| *w != "please").map(String::as_str);
        Self {
            question: asking(text).unwrap_or_else(|| content.clone()),
            queries: queries(text, &literals),
            destination: destination(&all),
            extreme: extreme(&all),
            arriving: asked.is_none()
                && first.is_some_and(|w| {
                    matches!(
                        w,
                        "open"
                            | "find"
                            | "go"
                            | "navigate"
                            | "visit"
                            | "show"
                            | "see"
                            | "list"
                            | "sort"
                    )
                }),
            asked,
            phrase: padded(&all),
            terms,
            content,
            literals,
        }
    }

    /// Whether these words stand together in the goal.
    pub(crate) fn says(&self, words: &[String]) -> bool {
        !words.is_empty() && self.phrase.contains(&padded(words))
    }
}

fn quotes(text: &str) -> bool {
    text.contains(['"', '“', '”', '`'])
}

/// The sentences of a text, without their ends.
fn sentences(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut from = 0;
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        let over = text[end..].chars().next().is_none_or(char::is_whitespace);
        if c == '\n' || (matches!(c, '.' | '?' | '!') && over) {
            out.push(text[from..end].trim());
            from = end;
        }
    }
    out.push(text[from..].trim());
    out.retain(|s| !s.is_empty());
    out
}

/// The content of the sentence that asks.
fn asking(text: &str) -> Option<Vec<String>> {
    let all = sentences(text);
    let found = all
        .iter()
        .find(|s| s.ends_with('?') && !s.contains(": "))
        .or_else(|| all.iter().find(|s| s.ends_with('?')))?;
    let content = terms(found).into_iter().filter(|t| !is_doing(t));
    Some(content.collect())
}

/// Terms after "to the", "to my", "into the" at the end of a clause: where something goes.
fn destination(all: &[String]) -> Vec<String> {
    let verbs = ["add", "move", "put", "save", "drag", "copy"];
    if !all.iter().any(|w| verbs.contains(&w.as_str())) {
        return Vec::new();
    }
    all.windows(3)
        .filter(|w| {
            matches!(w[0].as_str(), "to" | "into") && matches!(w[1].as_str(), "the" | "my" | "your")
        })
        .map(|w| w[2].clone())
        .collect()
}

fn extreme(all: &[String]) -> Option<Extreme> {
    let says = |w: &str| all.iter().any(|x| x == w);
    let pair = |a: &[&str], b: &[&str]| {
        all.windows(2)
            .any(|w| a.contains(&w[0].as_str()) && b.contains(&w[1].as_str()))
    };
    let cost = ["price", "priced", "cost", "expensive", "fare"];
    let rate = ["rating", "rated", "score", "review", "reviewed"];
    let high = ["highest", "best", "top", "most"];
    let low = ["lowest", "worst", "least"];
    let of = |measure, largest| Some(Extreme { measure, largest });
    if says("cheapest") || pair(&low, &cost) {
        of(Measure::Money, false)
    } else if pair(&["most", "highest"], &cost) || says("priciest") {
        of(Measure::Money, true)
    } else if says("fastest") || says("quickest") {
        of(Measure::Days, false)
    } else if says("slowest") {
        of(Measure::Days, true)
    } else if pair(&high, &rate) {
        of(Measure::Rating, true)
    } else if pair(&low, &rate) {
        of(Measure::Rating, false)
    } else if ["smallest", "lowest", "fewest", "shortest", "lightest"]
        .iter()
        .any(|w| says(w))
    {
        of(Measure::Number, false)
    } else if [
        "largest", "biggest", "highest", "greatest", "longest", "heaviest",
    ]
    .iter()
    .any(|w| says(w))
    {
        of(Measure::Number, true)
    } else {
        None
    }
}

/// The figure in `text` that a measure is about.
pub(crate) fn figure(text: &str, measure: Measure) -> Option<f64> {
    let number = |t: &str| {
        let digits: String = t
            .chars()
            .filter(|c| c.is_ascii_digit() || *c == '.')
            .collect();
        digits.trim_matches('.').parse::<f64>().ok()
    };
    match measure {
        Measure::Money => money(text).and_then(|m| number(&m)),
        Measure::Number => tokens(text).find(|t| is_number(t)).and_then(number),
        Measure::Rating => {
            let all: Vec<&str> = tokens(text).collect();
            let at = all
                .iter()
                .position(|t| matches!(*t, "of" | "out" | "stars" | "star"))?;
            all.get(at.checked_sub(1)?)
                .filter(|t| is_number(t))
                .and_then(|t| number(t))
        }
        Measure::Days => {
            let all = words(text);
            if all.iter().any(|w| w == "today") {
                return Some(0.0);
            }
            if all.iter().any(|w| w == "tomorrow" || w == "overnight") {
                return Some(1.0);
            }
            let unit = all
                .iter()
                .position(|w| w == "day" || w == "week" || w == "hour")?;
            let scale = match all[unit].as_str() {
                "week" => 7.0,
                "hour" => 1.0 / 24.0,
                _ => 1.0,
            };
            let before: Vec<f64> = all[..unit]
                .iter()
                .rev()
                .take(3)
                .filter_map(|w| w.parse().ok())
                .collect();
            before.last().map(|n: &f64| n * scale)
        }
    }
}

/// What to search for: names in quotes that are to be found; otherwise the object of the first
/// sentence, whole, then up to its first preposition.
fn queries(text: &str, literals: &[Literal]) -> Vec<String> {
    let mut out: Vec<String> = literals
        .iter()
        .filter(|l| {
            let sought = l.keys.iter().any(|k| k == "search" || k == "find");
            !l.keyed && (l.purpose == Use::Either || sought)
        })
        .map(|l| l.text.clone())
        .take(1)
        .collect();
    let all = sentences(text);
    let Some(first) = all.iter().find(|s| s.ends_with('?')).or(all.first()) else {
        return out;
    };
    let mut full: Vec<String> = Vec::new();
    let mut short = 0;
    let tokens: Vec<&str> = first.split_whitespace().collect();
    for (i, token) in tokens.iter().enumerate() {
        if token.ends_with(':') || token.contains('=') {
            // The word before a colon names a field.
            break;
        }
        let bare = token.trim_matches(|c: char| !c.is_alphanumeric());
        let word = words(bare).first().cloned().unwrap_or_default();
        let next = tokens
            .get(i + 1)
            .map(|t| t.to_lowercase())
            .unwrap_or_default();
        let away = matches!(word.as_str(), "to" | "into")
            && matches!(next.as_str(), "the" | "my" | "your");
        if !full.is_empty() && (away || matches!(word.as_str(), "and" | "that" | "which" | "then"))
        {
            break;
        }
        if !full.is_empty()
            && short == 0
            && matches!(
                word.as_str(),
                "with" | "for" | "in" | "from" | "by" | "on" | "at"
            )
        {
            short = full.len();
        }
        // "the page of X", "the reviews of X": X is the object.
        if word == "of" {
            full.clear();
            short = 0;
        }
        // "a book" is no verb.
        let thing = i > 0 && matches!(tokens[i - 1], "a" | "an" | "the" | "my" | "The" | "A");
        let empty = terms(bare).is_empty() || is_doing(&word) || (is_verb(&word) && !thing);
        if !empty && !is_superlative(&word) {
            full.push(bare.to_owned());
        }
        if token.ends_with([',', ';']) && !full.is_empty() {
            break;
        }
    }
    let mut offer = |words: &[String]| {
        let query = words.join(" ");
        if !query.is_empty() && query.chars().count() <= 80 && !out.contains(&query) {
            out.push(query);
        }
    };
    if literals.iter().all(|l| l.keyed || l.purpose != Use::Either) {
        offer(&full);
        offer(&full[..short]);
        if let Some(last) = (short > 0)
            .then(|| full.get(short - 1))
            .flatten()
            .or(full.last())
        {
            offer(std::slice::from_ref(last));
        }
    }
    out
}

/// Verbs of what a person does on pages, beyond [`DOING`].
pub(crate) fn is_verb(word: &str) -> bool {
    matches!(
        word,
        "add"
            | "buy"
            | "order"
            | "place"
            | "build"
            | "book"
            | "sort"
            | "change"
            | "contact"
            | "post"
            | "send"
            | "sign"
            | "log"
            | "login"
            | "list"
            | "save"
            | "remove"
            | "delete"
            | "reply"
            | "forward"
            | "return"
            | "cost"
    )
}

fn is_superlative(word: &str) -> bool {
    word.ends_with("est") && word.len() > 5 || matches!(word, "most" | "least" | "best" | "worst")
}

/// Quoted parts. A single quote counts only where it cannot be an apostrophe.
fn quoted(text: &str) -> Vec<Literal> {
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let letter = |i: usize| chars.get(i).is_some_and(|(_, c)| c.is_alphanumeric());
    let mut spans: Vec<(usize, usize, String)> = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        let close = match chars[i].1 {
            '"' => '"',
            '“' => '”',
            '‘' => '’',
            '`' => '`',
            '\'' if i == 0 || !letter(i - 1) => '\'',
            _ => {
                i += 1;
                continue;
            }
        };
        let end = (i + 1..chars.len())
            .find(|&j| chars[j].1 == close && !(matches!(close, '\'' | '’') && letter(j + 1)));
        match end {
            Some(end) if end > i + 1 => {
                let inner: String = chars[i + 1..end].iter().map(|(_, c)| c).collect();
                let stop = chars.get(end + 1).map_or(text.len(), |(at, _)| *at);
                if !inner.trim().is_empty() {
                    spans.push((chars[i].0, stop, inner.trim().to_owned()));
                }
                i = end + 1;
            }
            Some(end) => i = end + 1,
            None => i += 1,
        }
    }
    let mut out = Vec::new();
    for (n, (start, end, inner)) in spans.iter().enumerate() {
        let from = n.checked_sub(1).map_or(0, |p| spans[p].1);
        let to = spans.get(n + 1).map_or(text.len(), |s| s.0);
        let before = words(&text[from..*start]);
        let after = words(&text[*end..to]);
        // "… into the name field and …": what stands before the conjunction belongs to the literal
        // before it, what follows to the next one.
        let is_join = |w: &String| matches!(w.as_str(), "and" | "then");
        let own_before = before
            .iter()
            .rposition(is_join)
            .map_or(if n == 0 { before.as_slice() } else { &[] }, |at| {
                &before[at + 1..]
            });
        let own_after = &after[..after.iter().position(is_join).unwrap_or(after.len())];
        // With no conjunction between two literals, the words belong to the second ("user "a",
        // password "b"").
        let own_before = if own_before.is_empty() && n > 0 && !before.iter().any(is_join) {
            before.as_slice()
        } else {
            own_before
        };
        let stood = text[from..*start].trim_end();
        let clause = if stood.ends_with([':', '=']) {
            last_clause(stood)
        } else {
            Vec::new()
        };
        // "sort it by: …" names no field.
        let keyed = clause.iter().any(|w| !STOP.contains(&w.as_str()));
        let lead = if keyed {
            clause.as_slice()
        } else {
            &own_before[own_before.len().saturating_sub(4)..]
        };
        let trail: &[String] = if !keyed
            && own_after
                .first()
                .is_some_and(|w| is_towards(w) || is_widget(w))
        {
            &own_after[..own_after.len().min(7)]
        } else {
            &[]
        };
        let keys = lead
            .iter()
            .chain(trail)
            .filter(|w| !STOP.contains(&w.as_str()))
            .cloned()
            .collect();
        let purpose = if keyed {
            Use::Type
        } else {
            purpose(&before, own_after, out.last())
        };
        out.push(Literal {
            text: inner.clone(),
            keys,
            purpose,
            keyed,
        });
    }
    out
}

fn is_towards(word: &str) -> bool {
    matches!(word, "in" | "into" | "to" | "as" | "for" | "on" | "under")
}

fn is_widget(word: &str) -> bool {
    matches!(
        word,
        "button" | "link" | "tab" | "checkbox" | "menu" | "option" | "icon" | "section"
    )
}

fn purpose(before: &[String], after: &[String], previous: Option<&Literal>) -> Use {
    if after.first().is_some_and(|w| is_widget(w)) {
        return Use::Press;
    }
    for word in before.iter().rev() {
        match word.as_str() {
            "enter" | "type" | "write" | "fill" | "input" | "put" | "search" | "set"
            | "username" | "user" | "password" | "email" | "query" => return Use::Type,
            "click" | "press" | "tap" | "hit" | "push" | "select" | "choose" | "pick" | "check"
            | "tick" | "open" | "expand" | "toggle" | "uncheck" | "link" | "button" => {
                return Use::Press;
            }
            _ => {}
        }
    }
    // "type "a" and "b"" continues the verb.
    previous.map_or(Use::Either, |p| p.purpose)
}

/// The words of the last clause of what stands before a colon: the name of a field.
fn last_clause(before: &str) -> Vec<String> {
    let before = before.trim_end().trim_end_matches([':', '=']);
    let mut tokens: Vec<&str> = Vec::new();
    for token in before.split_whitespace().rev() {
        let joins = matches!(
            token.to_lowercase().as_str(),
            "and" | "with" | "then" | "to" | "in" | "by" | "as" | "for"
        );
        // "sort by: …" is the name of a field, "with username: …" is not.
        if token.ends_with([',', ';', '.', '?', '!', ':', '"', '”', '\''])
            || (joins && !tokens.is_empty())
        {
            break;
        }
        tokens.push(token);
        if tokens.len() == 3 {
            break;
        }
    }
    tokens.iter().rev().flat_map(|t| words(t)).collect()
}

/// `key: value` parts, as far as no quoted part says the same. A value that is not quoted ends at
/// " and ", a comma, a semicolon, a quotation mark or the end of the sentence; marks inside a word
/// (an address, a date, a price) end nothing.
fn pairs(text: &str, known: &[Literal]) -> Vec<Literal> {
    let mut out: Vec<Literal> = Vec::new();
    let mut from = 0;
    let marks = text.char_indices().filter(|(at, c)| {
        let next = text[at + c.len_utf8()..].chars().next();
        (*c == ':' && next.is_some_and(char::is_whitespace))
            || (*c == '=' && next.is_some_and(char::is_alphanumeric))
    });
    for (at, mark) in marks {
        if at < from {
            continue;
        }
        let start = at + mark.len_utf8();
        let rest = &text[start..];
        let value = value_of(rest);
        let inside = known
            .iter()
            .any(|l| l.text.contains(value) || value.contains(l.text.as_str()));
        let quoted = rest.trim_start().starts_with(['"', '“', '‘', '`', '\'']);
        if value.is_empty()
            || quoted
            || (inside && known.iter().any(|l| l.text.contains(mark)))
            || value.chars().count() > 120
        {
            continue;
        }
        let clause = last_clause(&text[..at]);
        let mut keys: Vec<String> = clause
            .iter()
            .filter(|w| !STOP.contains(&w.as_str()))
            .cloned()
            .collect();
        if keys.is_empty() {
            // A field may be called "To".
            keys = clause;
        }
        if keys.is_empty() {
            continue;
        }
        from = start;
        out.push(Literal {
            text: value.to_owned(),
            keys,
            purpose: Use::Type,
            keyed: true,
        });
    }
    out
}

/// The unquoted value at the start of `rest`.
fn value_of(rest: &str) -> &str {
    let lead = rest.len() - rest.trim_start().len();
    let body = &rest[lead..];
    let mut end = body.len();
    for (at, c) in body.char_indices() {
        let after = &body[at + c.len_utf8()..];
        let over = after.chars().next().is_none_or(char::is_whitespace);
        let stops = match c {
            ';' | '"' | '“' | '”' | '\n' => true,
            ',' | '.' | '?' | '!' => over,
            ' ' => after.starts_with("and ") || after.starts_with("then "),
            _ => false,
        };
        if stops {
            end = at;
            break;
        }
    }
    body[..end].trim()
}

/// Names in capitals that are to be pressed ("click button ONE").
fn shouted(text: &str, known: &[Literal]) -> Vec<Literal> {
    let mut out: Vec<Literal> = Vec::new();
    let mut before: Vec<String> = Vec::new();
    for token in text.split_whitespace() {
        let bare = token.trim_matches(|c: char| !c.is_alphanumeric());
        let loud = bare.chars().count() > 1 && bare.chars().all(char::is_uppercase);
        let new = !known.iter().any(|l| l.text.contains(bare));
        if loud && new && purpose(&before, &[], None) == Use::Press {
            out.push(Literal {
                text: bare.to_owned(),
                keys: Vec::new(),
                purpose: Use::Press,
                keyed: false,
            });
        }
        before.extend(words(token));
    }
    out
}

/// "enter VALUE into the FIELD": a value that is not quoted.
fn spoken(text: &str) -> Vec<Literal> {
    let tokens: Vec<&str> = text.split_whitespace().collect();
    let plain = |t: &str| {
        t.trim_matches(|c: char| !c.is_alphanumeric())
            .to_lowercase()
    };
    let Some(verb) = tokens.iter().position(|t| {
        matches!(
            plain(t).as_str(),
            "enter" | "type" | "write" | "input" | "put"
        )
    }) else {
        return Vec::new();
    };
    let rest = &tokens[verb + 1..];
    let Some(end) = rest
        .iter()
        .position(|t| matches!(plain(t).as_str(), "in" | "into" | "as" | "for" | "to"))
    else {
        return Vec::new();
    };
    let value = rest[..end].join(" ");
    let value = value
        .trim_matches(|c: char| matches!(c, ',' | '.' | ':'))
        .to_owned();
    let generic = terms(&value).iter().all(|t| is_doing(t));
    if value.is_empty() || generic || value.starts_with("the ") {
        return Vec::new();
    }
    let keys = rest[end + 1..]
        .iter()
        .take(5)
        .flat_map(|t| words(t))
        .filter(|w| !STOP.contains(&w.as_str()))
        .collect();
    vec![Literal {
        text: value,
        keys,
        purpose: Use::Type,
        keyed: false,
    }]
}

fn asked(text: &str, words: &[String]) -> Option<Asked> {
    let has = |w: &str| words.iter().any(|x| x == w);
    let after = |a: &str, b: &str| words.windows(2).any(|w| w[0] == a && w[1] == b);
    let first = words.first().map(String::as_str).unwrap_or_default();
    let question = text.contains('?')
        || matches!(
            first,
            "what" | "which" | "who" | "when" | "where" | "how" | "tell" | "report"
        )
        || after("tell", "me")
        || after("find", "out")
        || has("answer");
    if !question {
        return None;
    }
    let money = ["price", "cost", "fee", "amount"];
    Some(if after("how", "much") || money.iter().any(|w| has(w)) {
        Asked::Money
    } else if after("how", "many") || has("number") || has("count") {
        Asked::Number
    } else if has("when") || has("date") || after("what", "time") {
        Asked::Date
    } else if has("code") {
        Asked::Code
    } else {
        Asked::Words
    })
}

/// The first piece of `text` that answers this kind of question; for words, what follows a colon,
/// or the whole short text.
pub(crate) fn extract(text: &str, asked: Asked) -> Option<String> {
    match asked {
        Asked::Money => money(text),
        Asked::Number => tokens(text).find(|t| is_number(t)).map(str::to_owned),
        Asked::Date => date(text),
        Asked::Code => tokens(text)
            .find(|t| {
                t.chars().count() > 3
                    && t.chars()
                        .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-')
                    && t.chars().any(|c| c.is_ascii_uppercase())
                    && t.chars().any(|c| c.is_ascii_digit())
            })
            .map(str::to_owned),
        Asked::Words => {
            let text = text.trim();
            let value = text.split_once(':').map_or(text, |(_, v)| v).trim();
            (!value.is_empty() && value.chars().count() <= 80).then(|| value.to_owned())
        }
    }
}

fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | ';' | '|'))
        .map(|t| t.trim_matches([',', '.', ':', '!', '?']))
        .filter(|t| !t.is_empty())
}

fn is_number(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_digit())
        && token
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '.' | ','))
}

fn money(text: &str) -> Option<String> {
    const SIGNS: [char; 4] = ['$', '€', '£', '¥'];
    let found: Vec<&str> = tokens(text).collect();
    found.iter().enumerate().find_map(|(i, token)| {
        let token = &token.trim_start_matches(['+', '-', '−']);
        let bare = token.trim_matches(SIGNS);
        if !is_number(bare) {
            return None;
        }
        let signed = bare.len() < token.len();
        let unit = found
            .get(i + 1)
            .map(|u| u.to_lowercase())
            .unwrap_or_default();
        let named = matches!(
            unit.as_str(),
            "usd" | "eur" | "gbp" | "dollars" | "euros" | "€" | "$"
        );
        (signed || named).then(|| (*token).to_owned())
    })
}

fn date(text: &str) -> Option<String> {
    const MONTHS: [&str; 12] = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ];
    let found: Vec<&str> = tokens(text).collect();
    let numeric = |t: &str| {
        let parts: Vec<&str> = t.split(['-', '/', ':']).collect();
        (2..=3).contains(&parts.len()) && parts.iter().all(|p| is_number(p))
    };
    if let Some(token) = found.iter().find(|t| numeric(t)) {
        return Some((*token).to_owned());
    }
    let month = found.iter().position(|t| {
        let lower = t.to_lowercase();
        lower.len() >= 3 && MONTHS.iter().any(|m| lower.starts_with(m))
    })?;
    let near = |i: Option<usize>| i.and_then(|i| found.get(i)).filter(|t| is_number(t));
    let mut out: Vec<&str> = Vec::new();
    out.extend(near(month.checked_sub(1)));
    out.push(found[month]);
    out.extend(near(Some(month + 1)));
    out.extend(near(Some(month + 2)));
    (out.len() > 1).then(|| out.join(" "))
}

// --- pages --------------------------------------------------------------------------------------

/// A name without what is only counted or charged: `Cart (2)` is `Cart`, `Oak base +€29.00` is
/// `Oak base`.
pub(crate) fn bare(name: &str) -> String {
    let mut depth = 0_u32;
    let mut out = String::new();
    for c in name.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => out.push(c),
            _ => {}
        }
    }
    let kept: Vec<&str> = out
        .split_whitespace()
        .filter(|t| !(t.contains(['€', '$', '£']) && t.contains(|c: char| c.is_ascii_digit())))
        .collect();
    if kept.is_empty() {
        name.to_owned()
    } else {
        kept.join(" ")
    }
}

/// The headings of a page that say what it is about: those of the highest level there is.
pub(crate) fn headline(page: &Observation) -> Vec<String> {
    let top = page
        .elements
        .iter()
        .filter(|e| e.role == "heading")
        .map(|e| e.level)
        .min();
    let mut out = Vec::new();
    for heading in page
        .elements
        .iter()
        .filter(|e| e.role == "heading" && Some(e.level) == top)
    {
        out.extend(words(&heading.name));
    }
    out
}

/// The words of the path in a page's address, without what was asked of it.
pub(crate) fn address(page: &Observation) -> Vec<String> {
    let url = page.url.split(['?', '#']).next().unwrap_or_default();
    let path = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = path.split_once('/').map_or("", |(_, path)| path);
    // A file is not what it is about.
    if path
        .rsplit('/')
        .next()
        .is_some_and(|file| file.contains('.'))
    {
        return Vec::new();
    }
    words(&path.replace('_', " "))
}

/// Whether a page only lists what was searched for: its headline echoes the query.
pub(crate) fn echoes(page: &Observation) -> bool {
    let says = |w: &String| matches!(w.as_str(), "search" | "result" | "found" | "match");
    headline(page).iter().any(says) || words(&page.title).iter().any(says)
}

/// The name of what a step acted upon: `button "Send"` gives `Send`.
pub(crate) fn target_name(step: &PathStep) -> &str {
    step.target
        .as_deref()
        .and_then(|t| t.split_once(' '))
        .map_or("", |(_, name)| name.trim_matches('"'))
}

/// The role of what a step acted upon.
pub(crate) fn target_role(step: &PathStep) -> &str {
    step.target
        .as_deref()
        .map_or("", |t| t.split_once(' ').map_or(t, |(role, _)| role))
}

/// Whether something was given to the page: typed, chosen or ticked.
pub(crate) fn gives(action: &Action) -> bool {
    matches!(action.name.as_str(), "fill" | "select" | "check")
}

/// Whether a literal was typed, chosen, pressed or ticked on the way here, or a field holds it.
pub(crate) fn literal_done(literal: &Literal, view: &View<'_>) -> bool {
    let wanted = words(&literal.text);
    let is = |text: &str| words(text) == wanted || same(text, &literal.text);
    let held = literal.purpose != Use::Press
        && view.observation.elements.iter().any(|e| {
            let near =
                literal.keys.is_empty() || terms(&e.name).iter().any(|t| literal.keys.contains(t));
            (near && e.value.as_deref().is_some_and(is))
                || (e.states.contains(&ElementState::Checked) && is(&bare(&e.name)))
        });
    held || view.path.iter().any(|step| {
        let given = match step.action.name.as_str() {
            "fill" => step
                .action
                .text("text")
                .is_some_and(|t| same(t, &literal.text)),
            "select" => step
                .action
                .text("option")
                .is_some_and(|o| is(o) || padded(&words(o)).contains(&padded(&wanted))),
            "click" | "check" => is(target_name(step)) || is(&bare(target_name(step))),
            _ => false,
        };
        given && !(step.action.name == "fill" && target_role(step) == "searchbox" && literal.keyed)
    })
}

fn same(a: &str, b: &str) -> bool {
    a.trim().to_lowercase() == b.trim().to_lowercase()
}

/// Terms of the goal that are evidently dealt with, each with how sure that is, 0..=1: in the
/// page's headline (half if the page only echoes a search), in the names of what was pressed or
/// opened on the way, in what was chosen, typed or ticked, and in what the page announces.
pub(crate) fn evidence(goal: &Goal, view: &View<'_>) -> Vec<(String, f64)> {
    let page = view.observation;
    let head = headline(page);
    let sure = if echoes(page) { 0.5 } else { 1.0 };
    let mut known: Vec<(Vec<String>, f64)> = vec![(head, sure), (address(page), 0.8)];
    for step in view.path.iter().filter(|s| s.changed) {
        let (text, weight) = match step.action.name.as_str() {
            "click" => (bare(target_name(step)), 0.8),
            "check" => (bare(target_name(step)), 1.0),
            "select" => (
                step.action.text("option").unwrap_or_default().to_owned(),
                1.0,
            ),
            "fill" if target_role(step) == "searchbox" => {
                (step.action.text("text").unwrap_or_default().to_owned(), 0.4)
            }
            "fill" => (
                format!(
                    "{} {}",
                    target_name(step),
                    step.action.text("text").unwrap_or_default()
                ),
                1.0,
            ),
            _ => continue,
        };
        known.push((words(&text), weight));
    }
    for element in announced(page) {
        known.push((words(&element.name), 1.0));
    }
    for element in &page.elements {
        if element.states.contains(&ElementState::Checked) || !element.options.is_empty() {
            let value = element.value.as_deref().unwrap_or_default();
            let text = if element.options.is_empty() {
                bare(&element.name)
            } else {
                value.to_owned()
            };
            known.push((words(&text), 1.0));
        }
    }
    goal.terms
        .iter()
        .map(|term| {
            let best = known
                .iter()
                .filter(|(words, _)| words.iter().any(|w| alike(w, term)))
                .map(|(_, weight)| *weight)
                .fold(0.0, f64::max);
            (term.clone(), best)
        })
        .collect()
}

/// Whether two words are forms of one: "add" and "added", "sent" is not "send".
pub(crate) fn alike(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    short == long
        || (short.len() > 2
            && long
                .strip_prefix(short)
                .is_some_and(|end| matches!(end, "ed" | "d" | "ing" | "r" | "er")))
}

/// What a page announces: the texts after a status or an alert, up to the next thing that can be
/// acted upon, at most three.
pub(crate) fn announced(page: &Observation) -> Vec<&Element> {
    let mut out = Vec::new();
    for (i, element) in page.elements.iter().enumerate() {
        if matches!(element.role.as_str(), "status" | "alert") {
            out.push(element);
            out.extend(
                page.elements[i + 1..]
                    .iter()
                    .take(3)
                    .take_while(|e| !e.interactive && e.role == "text"),
            );
        }
    }
    out
}

/// Whether the page says that something was done: thanks, or a participle in what it announces or
/// in its headline. With a previous page, only what was not there before counts.
pub(crate) fn confirms(page: &Observation, previous: Option<&Observation>) -> bool {
    const DONE: &[&str] = &[
        "thank",
        "success",
        "successfully",
        "added",
        "saved",
        "sent",
        "placed",
        "updated",
        "posted",
        "received",
        "confirmed",
        "submitted",
        "created",
        "completed",
        "removed",
        "deleted",
        "subscribed",
        "booked",
        "ordered",
        "changed",
    ];
    let says = |text: &str| words(text).iter().any(|w| DONE.contains(&w.as_str()));
    let old = |e: &Element| {
        previous.is_some_and(|p| {
            p.elements
                .iter()
                .any(|o| o.role == e.role && o.name == e.name)
        })
    };
    page.elements
        .iter()
        .filter(|e| e.role == "heading")
        .chain(announced(page))
        .chain(
            page.elements
                .iter()
                .filter(|e| e.role == "text" && e.name.chars().count() < 80),
        )
        .any(|e| says(&e.name) && !old(e))
}

/// Whether something on the page reads like a failure that the goal does not speak of.
pub(crate) fn fails(page: &Observation, goal: &Goal) -> bool {
    const SIGNS: &[&str] = &[
        "not found",
        "no result",
        "no product",
        "no match",
        "nothing found",
        "nothing match",
        "nothing here",
        "out of stock",
        "sold out",
        "unavailable",
        "not available",
        "error",
        "invalid",
        "incorrect",
        "failed",
        "access denied",
        "forbidden",
        "went wrong",
        "try again",
        "is required",
        "too heavy",
        "not valid",
        "cannot be",
        "can not be",
        "expired",
        "refused",
    ];
    let bad = |text: &str| {
        let text = padded(&words(text));
        SIGNS
            .iter()
            .any(|sign| text.contains(&format!(" {sign} ")) && !goal.phrase.contains(sign))
    };
    bad(&page.title)
        || page.elements.iter().any(|e| {
            e.states.contains(&ElementState::Invalid)
                || (!e.interactive
                    && (e.visible || announced(page).iter().any(|a| std::ptr::eq(*a, e)))
                    && e.name.chars().count() < 160
                    && bad(&e.name))
        })
        || page.notices.iter().any(|n| bad(&n.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_folded_alike() {
        assert_eq!(
            words("Boxes, Berries & class' $1,234.50 status (mugs)"),
            ["box", "berry", "class", "1234.50", "status", "mug"]
        );
        assert_eq!(terms("What is the price of the mugs?"), ["price", "mug"]);
    }

    fn literal(text: &str, keys: &[&str], purpose: Use) -> Literal {
        Literal {
            text: text.to_owned(),
            keys: keys.iter().map(|k| (*k).to_owned()).collect(),
            purpose,
            keyed: false,
        }
    }

    fn keyed(text: &str, keys: &[&str]) -> Literal {
        Literal {
            keyed: true,
            ..literal(text, keys, Use::Type)
        }
    }

    #[test]
    fn values_after_a_colon_end_where_a_reader_ends_them() {
        assert_eq!(
            Goal::of("Sign in with username: ada and password: \"love\". How much is it?").literals,
            [keyed("love", &["password"]), keyed("ada", &["username"])]
        );
        assert_eq!(
            Goal::of("Fill in email: a.b@x.org, day: 3/4/2031, price: 1,234.50. Then send.")
                .literals,
            [
                keyed("a.b@x.org", &["email"]),
                keyed("3/4/2031", &["day"]),
                keyed("1,234.50", &["price"]),
            ]
        );
        assert_eq!(
            Goal::of("Show it with maximum price: 100, sort by: \"Price, low to high\"").literals,
            [
                keyed("Price, low to high", &["sort"]),
                keyed("100", &["maximum", "price"]),
            ]
        );
    }

    #[test]
    fn goals_know_what_to_search_for() {
        let queries = |text: &str| Goal::of(text).queries;
        assert_eq!(
            queries("Open the page of a blue kettle with long spout."),
            ["blue kettle long spout", "blue kettle", "kettle"]
        );
        assert_eq!(queries("Add the \"Red mug\" to the cart"), ["Red mug"]);
        assert_eq!(
            queries("Add a paper boat to the cart."),
            ["paper boat", "boat"]
        );
        assert_eq!(Goal::of("Add a boat to the cart").destination, ["cart"]);
    }

    #[test]
    fn superlatives_and_their_figures() {
        let of = |text: &str| Goal::of(text).extreme.map(|e| (e.measure, e.largest));
        assert_eq!(of("Buy the cheapest mug"), Some((Measure::Money, false)));
        assert_eq!(
            of("Open the highest rated mug"),
            Some((Measure::Rating, true))
        );
        assert_eq!(of("Take the fastest way"), Some((Measure::Days, false)));
        assert_eq!(of("Buy the mug"), None);
        assert_eq!(
            figure("Ship, €2.90, 4 to 6 days", Measure::Money),
            Some(2.9)
        );
        assert_eq!(figure("Ship, €2.90, 4 to 6 days", Measure::Days), Some(4.0));
        assert_eq!(figure("Courier, tomorrow", Measure::Days), Some(1.0));
        assert_eq!(
            figure("4.5 out of 5 (3 reviews)", Measure::Rating),
            Some(4.5)
        );
    }

    #[test]
    fn names_without_counts_and_prices() {
        assert_eq!(bare("Cart (2)"), "Cart");
        assert_eq!(bare("Oak base +€29.00"), "Oak base");
        assert_eq!(bare("(3)"), "(3)");
    }

    #[test]
    fn quoted_parts_know_their_fields() {
        assert_eq!(
            Goal::of("Enter the username \"kara\" and the password \"x y\" and press login")
                .literals,
            [
                literal("kara", &["enter", "username"], Use::Type),
                literal("x y", &["password"], Use::Type),
            ]
        );
        assert_eq!(
            Goal::of("Type 'Bob' in the name field and 'b@x.org' into the email field.").literals,
            [
                literal("Bob", &["type", "name", "field"], Use::Type),
                literal("b@x.org", &["email", "field"], Use::Type),
            ]
        );
        assert_eq!(
            Goal::of("Don't click the \"Cancel\" button").literals,
            [literal("Cancel", &["click", "button"], Use::Press)]
        );
    }

    #[test]
    fn pairs_and_spoken_values() {
        assert_eq!(
            Goal::of("Send a message. Subject: Hello there; To: Ann").literals,
            [keyed("Hello there", &["subject"]), keyed("Ann", &["to"]),]
        );
        assert_eq!(
            Goal::of("Enter Myron in the name field").literals,
            [literal("Myron", &["name", "field"], Use::Type)]
        );
        assert_eq!(Goal::of("Enter the text in the field").literals, []);
    }

    #[test]
    fn questions_and_their_answers() {
        assert_eq!(Goal::of("How much is the mug?").asked, Some(Asked::Money));
        assert_eq!(
            Goal::of("How many reviews are there?").asked,
            Some(Asked::Number)
        );
        assert_eq!(Goal::of("When does it open?").asked, Some(Asked::Date));
        assert_eq!(Goal::of("Buy the mug").asked, None);
        assert_eq!(
            extract("Price: $24.00 each", Asked::Money).as_deref(),
            Some("$24.00")
        );
        assert_eq!(extract("8 reviews", Asked::Money), None);
        assert_eq!(extract("8 reviews", Asked::Number).as_deref(), Some("8"));
        assert_eq!(
            extract("until 3 March 2025.", Asked::Date).as_deref(),
            Some("3 March 2025")
        );
        assert_eq!(
            extract("Colour: blue", Asked::Words).as_deref(),
            Some("blue")
        );
    }

    #[test]
    fn strange_texts_do_no_harm() {
        for text in [
            "", "'", "\"\"", "“", "a: ", "='", "é'é", "enter", "‘x", "\u{0}", "type in",
        ] {
            let _goal = Goal::of(text);
        }
    }
}
