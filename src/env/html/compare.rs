//! Whether a page needs a browser: the same page read with and without one, compared once.

use std::collections::BTreeMap;

use crate::types::Observation;

/// Words that may be missing, of a hundred: layout splits and joins text in its own way.
const MISSING_WORDS: usize = 3;

/// How well a page does without a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    /// What can be acted upon in the browser and is not there without one, as `role "name"`.
    pub missing: Vec<String>,
    /// How much can be acted upon in the browser.
    pub controls: usize,
    /// Words of text in the browser.
    pub words: usize,
    /// Words that are not there without one.
    pub missing_words: usize,
}

impl Fit {
    /// Whether nothing of the page is lost without a browser.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        self.missing.is_empty() && self.missing_words * 100 <= self.words * MISSING_WORDS
    }
}

impl std::fmt::Display for Fit {
    /// One sentence fragment: `all 31 controls and 204 words are there without scripts`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            missing,
            controls,
            words,
            missing_words,
        } = self;
        if self.is_enough() {
            return write!(
                f,
                "all {controls} controls and {} of {words} words are there without scripts",
                words - missing_words
            );
        }
        write!(
            f,
            "without scripts {} of {controls} controls and {missing_words} of {words} words are missing",
            missing.len()
        )?;
        if let Some(first) = missing.first() {
            write!(f, ", such as {first}")?;
        }
        Ok(())
    }
}

/// Compares a page as read without a browser to the same page in one.
#[must_use]
pub fn compare(html: &Observation, browser: &Observation) -> Fit {
    let mut there: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut said: BTreeMap<&str, usize> = BTreeMap::new();
    for element in &html.elements {
        if element.interactive {
            *there
                .entry((element.role.as_str(), element.name.as_str()))
                .or_default() += 1;
        }
        for word in element.name.split_whitespace() {
            *said.entry(word).or_default() += 1;
        }
    }
    let mut fit = Fit {
        missing: Vec::new(),
        controls: 0,
        words: 0,
        missing_words: 0,
    };
    for element in &browser.elements {
        if element.interactive {
            fit.controls += 1;
            let key = (element.role.as_str(), element.name.as_str());
            if !take(&mut there, &key) {
                fit.missing
                    .push(format!("{} \"{}\"", element.role, element.name));
            }
        }
        for word in element.name.split_whitespace() {
            fit.words += 1;
            fit.missing_words += usize::from(!take(&mut said, &word));
        }
    }
    fit
}

fn take<K: Ord>(left: &mut BTreeMap<K, usize>, key: &K) -> bool {
    match left.get_mut(key) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Digest, Element, Omitted};

    fn page(elements: &[(&str, &str)]) -> Observation {
        Observation {
            url: String::new(),
            title: String::new(),
            text: String::new(),
            tokens: 0,
            elements: elements
                .iter()
                .map(|(role, name)| Element {
                    r#ref: String::new(),
                    role: (*role).to_owned(),
                    name: (*name).to_owned(),
                    value: None,
                    states: Vec::new(),
                    options: Vec::new(),
                    interactive: *role != "text",
                    visible: true,
                    level: 0,
                })
                .collect(),
            omitted: Omitted::default(),
            tabs: Vec::new(),
            notices: Vec::new(),
            digest: Digest::of(""),
            terminal: false,
            screenshot: None,
        }
    }

    #[test]
    fn what_the_browser_has_must_be_there() {
        let full = page(&[("link", "Home"), ("text", "a b"), ("button", "Buy")]);
        let split = page(&[
            ("text", "b"),
            ("link", "Home"),
            ("text", "a"),
            ("button", "Buy"),
            ("link", "More"),
        ]);
        assert!(compare(&split, &full).is_enough());
        let lacking = compare(&page(&[("link", "Home"), ("text", "a b")]), &full);
        assert!(!lacking.is_enough());
        assert_eq!(
            lacking.to_string(),
            "without scripts 1 of 2 controls and 1 of 4 words are missing, such as button \"Buy\""
        );
        let twice = page(&[
            ("link", "Home"),
            ("link", "Home"),
            ("text", "a b"),
            ("button", "Buy"),
        ]);
        assert!(!compare(&full, &twice).is_enough(), "each counts once");
    }
}
