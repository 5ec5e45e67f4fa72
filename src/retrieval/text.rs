//! From text to terms, the same for tools and for queries.
//!
//! Words are runs of letters and digits; `camelCase` is two words, accents are folded, English endings
//! cut, English stop words dropped. Scripts without spaces (Chinese, Japanese, Thai) become pairs of
//! neighbouring characters.

use tantivy::tokenizer::{
    AsciiFoldingFilter, Language, LowerCaser, Stemmer, StopWordFilter, TextAnalyzer, Token,
    TokenStream, Tokenizer,
};

/// The analyzer's name in the index.
pub(super) const ANALYZER: &str = "tools";

/// The analyzer.
pub(super) fn analyzer() -> TextAnalyzer {
    let stop_words =
        StopWordFilter::new(Language::English).expect("tantivy has English stop words");
    TextAnalyzer::builder(Words)
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .filter(stop_words)
        .filter(Stemmer::new(Language::English))
        .build()
}

/// The distinct terms of `text`, in order. The analyzer is [`analyzer`]'s: it costs more to make
/// than to use.
pub(super) fn terms(analyzer: &mut TextAnalyzer, text: &str) -> Vec<String> {
    let mut stream = analyzer.token_stream(text);
    let mut terms = Vec::new();
    while stream.advance() {
        let term = &stream.token().text;
        if !terms.contains(term) {
            terms.push(term.clone());
        }
    }
    terms
}

/// Splits into words.
#[derive(Clone)]
struct Words;

/// The words of one text.
struct Split<'a> {
    text: &'a str,
    /// Byte ranges.
    spans: std::vec::IntoIter<(usize, usize)>,
    token: Token,
}

impl Tokenizer for Words {
    type TokenStream<'a> = Split<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Split<'a> {
        Split {
            text,
            spans: spans(text).into_iter(),
            token: Token::default(),
        }
    }
}

impl TokenStream for Split<'_> {
    fn advance(&mut self) -> bool {
        let Some((from, to)) = self.spans.next() else {
            return false;
        };
        self.token.position = self.token.position.wrapping_add(1);
        self.token.offset_from = from;
        self.token.offset_to = to;
        self.token.text.clear();
        self.token.text.push_str(&self.text[from..to]);
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

fn spans(text: &str) -> Vec<(usize, usize)> {
    let mut out = Vec::new();
    let mut start: Option<usize> = None;
    let mut before: Option<(usize, char)> = None;
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        let cut = match before {
            Some((_, b)) => spaceless(b) || (b.is_lowercase() && c.is_uppercase()),
            None => false,
        };
        if cut || !c.is_alphanumeric() || spaceless(c) {
            out.extend(start.take().map(|from| (from, at)));
        }
        if spaceless(c) {
            // A pair with the neighbour before it; a lone character stands for itself.
            match before {
                Some((from, b)) if spaceless(b) => {
                    if out.last() == Some(&(from, at)) {
                        out.pop();
                    }
                    out.push((from, end));
                }
                Some(_) | None => out.push((at, end)),
            }
        } else if c.is_alphanumeric() && start.is_none() {
            start = Some(at);
        }
        before = c.is_alphanumeric().then_some((at, c));
    }
    out.extend(start.map(|from| (from, text.len())));
    out
}

/// Letters of scripts that put no space between words.
fn spaceless(c: char) -> bool {
    matches!(c, '\u{0e00}'..='\u{0e7f}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_folded_and_cut() {
        assert_eq!(
            terms(
                &mut analyzer(),
                "getUserRepos: lists the Repositories of a user, v3.1"
            ),
            ["get", "user", "repo", "list", "repositori", "v3", "1"]
        );
        assert_eq!(
            terms(&mut analyzer(), "Zürich São_Paulo"),
            ["zurich", "sao", "paulo"]
        );
    }

    #[test]
    fn scripts_without_spaces_become_pairs() {
        assert_eq!(
            terms(&mut analyzer(), "天气预报 API"),
            ["天气", "气预", "预报", "api"]
        );
        assert_eq!(terms(&mut analyzer(), "雨 today"), ["雨", "today"]);
    }
}
