//! Files that people write (tasks, registries): faults with the line they are in.
//!
//! A reader reports a `Fault` by byte range; `Fault::locate` puts it in terms of file, line and
//! column, quotes the line and marks the place. Serde's own faults become ours, in the format's
//! words: keys, not fields; with the nearest valid word.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A file that cannot be read as what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct FormatError {
    /// The file, as the user named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong and what was expected: a lowercase sentence fragment.
    pub message: String,
    /// The nearest valid word, where there is one.
    pub nearest: Option<String>,
    /// The line itself, at most 120 characters of it.
    pub source_line: String,
    /// How many characters of the line are meant: at least 1.
    pub width: usize,
}

impl fmt::Display for FormatError {
    /// `file:line:column: what is wrong`, then the line with a caret under the place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            message,
            ..
        } = self;
        write!(f, "{file}:{line}:{column}: {message}")?;
        if let Some(nearest) = &self.nearest {
            write!(f, "; did you mean `{nearest}`?")?;
        }
        if self.source_line.is_empty() {
            return Ok(());
        }
        let gutter = " ".repeat(line.to_string().len());
        let indent = " ".repeat(column - 1);
        let carets = "^".repeat(self.width);
        let source = &self.source_line;
        write!(f, "\n {line} | {source}\n {gutter} | {indent}{carets}")
    }
}

/// A fault by byte range, before it is put in terms of lines.
pub(crate) struct Fault {
    pub(crate) span: Option<Range<usize>>,
    pub(crate) message: String,
    pub(crate) nearest: Option<String>,
    /// Whether the line may be quoted: not where it may hold a secret.
    pub(crate) quote: bool,
}

impl Fault {
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            span: Some(span),
            message: message.into(),
            nearest: None,
            quote: true,
        }
    }

    /// The same without quoting the line.
    #[cfg(feature = "tools")]
    pub(crate) fn unquoted(mut self) -> Self {
        self.quote = false;
        self
    }

    pub(crate) fn locate(self, text: &str, file: &str) -> FormatError {
        const SHOWN: usize = 120;
        let clamp = |at: usize| {
            let mut at = at.min(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let span = self.span.unwrap_or(0..0);
        let (start, end) = (clamp(span.start), clamp(span.end));
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let column = text[line_start..start].chars().count() + 1;
        let marked = text[start..end.clamp(start, line_end)].trim_end();
        let mut width = marked.chars().count().max(1);
        // Tabs and control characters would move the caret; a space takes the same one column.
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        let line = text[line_start..line_end].trim_end();
        let mut source_line: String = line.chars().take(SHOWN).map(clean).collect();
        if column > SHOWN || !self.quote {
            source_line.clear();
        } else {
            width = width.min(SHOWN + 1 - column);
        }
        FormatError {
            file: file.to_owned(),
            line: text[..line_start].matches('\n').count() + 1,
            column,
            message: self.message,
            nearest: self.nearest,
            source_line,
            width,
        }
    }
}

impl From<toml::de::Error> for Fault {
    /// In the format's own words: keys, not fields; and with the nearest valid word.
    fn from(error: toml::de::Error) -> Self {
        let message = error.message().trim_end().replace('\n', "; ");
        let span = error.span();
        for (serde, ours) in [("unknown field `", "key"), ("unknown variant `", "value")] {
            let Some(rest) = message.strip_prefix(serde) else {
                continue;
            };
            let Some((word, expected)) = rest.split_once("`, ") else {
                continue;
            };
            // Serde lists the valid words in backticks: every second piece is one.
            let valid: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
            return Self {
                span,
                message: format!("unknown {ours} `{word}`, expected {}", one_of(&valid)),
                nearest: nearest(word, valid.iter().copied()).into_iter().next(),
                quote: true,
            };
        }
        let message = match message.strip_prefix("missing field ") {
            Some(key) => format!("missing key {key}"),
            // In words for people, not for Rust.
            None => message
                .replace("a nonzero u32", "a whole number from 1 to 2^32 - 1")
                .replace("a nonzero u64", "a whole number from 1")
                .replace("invalid type: map,", "invalid type: a table,")
                .replace("expected a sequence", "expected a list: `[ ... ]`"),
        };
        Self {
            span,
            message,
            nearest: None,
            quote: true,
        }
    }
}

/// The folder of a file, whatever the working directory is later. That of a bare file name is empty
/// and stands for the working directory.
pub(crate) fn absolute(folder: &Path) -> PathBuf {
    std::path::absolute(Path::new(".").join(folder)).unwrap_or_else(|_| folder.to_owned())
}

/// The at most three candidates that resemble `word`, nearest first.
pub(crate) fn nearest(
    word: &str,
    candidates: impl IntoIterator<Item = impl Into<String>>,
) -> Vec<String> {
    let mut scored: Vec<(f64, String)> = candidates
        .into_iter()
        .map(Into::into)
        .map(|candidate: String| (strsim::jaro_winkler(word, &candidate), candidate))
        .filter(|(score, _)| *score >= 0.8)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    scored.dedup_by(|a, b| a.1 == b.1);
    scored.into_iter().take(3).map(|(_, name)| name).collect()
}

/// "`a`", or "one of `a`, `b` and so on", for messages.
pub(crate) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.as_slice() {
        [only] => only.clone(),
        _ => format!("one of {}", quoted.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_file_name_has_a_folder_too() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(absolute(Path::new("")).join("x"), here.join("x"));
        assert_eq!(absolute(Path::new("a")), here.join("a"));
        assert_eq!(absolute(Path::new("/a")), Path::new("/a"));
    }
}
