//! Taking goals and pages apart without a model: words, quoted parts, `key: value` parts, and what
//! kind of answer a question wants. English only; no word here belongs to a particular site.

use std::collections::BTreeSet;

use crate::types::UnitF32;

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
    /// Words.
    Words,
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
}

impl Goal {
    /// Takes a goal apart.
    pub(crate) fn of(text: &str) -> Self {
        let all = words(text);
        let terms = terms(text);
        let mut literals = quoted(text);
        literals.extend(pairs(text, &literals));
        if literals.is_empty() {
            literals.extend(spoken(text));
        }
        let content = terms.iter().filter(|t| !is_doing(t)).cloned().collect();
        Self {
            asked: asked(text, &all),
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
        let lead = &own_before[own_before.len().saturating_sub(4)..];
        let trail: &[String] = if own_after
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
        let purpose = purpose(&before, own_after, out.last());
        out.push(Literal {
            text: inner.clone(),
            keys,
            purpose,
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

/// `key: value` parts, as far as no quoted part says the same.
fn pairs(text: &str, known: &[Literal]) -> Vec<Literal> {
    let mut out = Vec::new();
    for part in text.split(['\n', ';', ',']) {
        let Some((key, value)) = part.split_once(": ").or_else(|| part.split_once('=')) else {
            continue;
        };
        let keys = words(key);
        let last = &keys[keys.len().saturating_sub(3)..];
        let mut keys: Vec<String> = last
            .iter()
            .filter(|w| !STOP.contains(&w.as_str()))
            .cloned()
            .collect();
        if keys.is_empty() {
            // A field may be called "To".
            keys = last.to_vec();
        }
        let value = value.trim().trim_end_matches('.').trim();
        let quote = |c: char| matches!(c, '"' | '“' | '”' | '`' | '\'' | '‘' | '’');
        if keys.is_empty() || value.is_empty() || value.chars().count() > 120 {
            continue;
        }
        if value.contains(quote) || known.iter().any(|l| value.contains(&l.text)) {
            continue;
        }
        out.push(Literal {
            text: value.to_owned(),
            keys,
            purpose: Use::Type,
        });
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
        }
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
            [
                literal("Hello there", &["message", "subject"], Use::Type),
                literal("Ann", &["to"], Use::Type),
            ]
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
