//! Text that is safe to print, lines of known width, numbers in few characters.

use std::borrow::Cow;
use std::time::Duration;

use console::{Style, measure_text_width, truncate_str};

/// `text` on one line, without anything that could steer a terminal or mislead its reader: line
/// breaks and tabs become spaces; other control characters (escapes among them), bidirectional
/// marks and overrides, and characters without a shape of their own (zero-width ones, variation
/// selectors, tags, interlinear marks) are left out.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| keep(c) == Some(c)) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.chars().filter_map(keep).collect())
    }
}

fn keep(c: char) -> Option<char> {
    match c {
        '\n' | '\r' | '\t' | '\u{85}' | '\u{2028}' | '\u{2029}' => Some(' '),
        _ if unprintable(c) => None,
        _ => Some(c),
    }
}

/// Whether a terminal could act on the character, or show nothing for it.
pub(super) fn unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Printable text of at most `width` columns; what was cut off is an ellipsis.
pub(super) fn clip(text: &str, width: usize) -> String {
    let text = printable(text);
    if width == 0 {
        String::new()
    } else {
        truncate_str(&text, width, "…").into_owned()
    }
}

/// How many bytes of `text` fit into `width` columns.
fn columns(text: &str, width: usize) -> usize {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += measure_text_width(c.encode_utf8(&mut [0; 4]));
        if used > width {
            return at;
        }
    }
    text.len()
}

/// How a piece of a line looks where there is colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Dim,
    Strong,
    Good,
    Bad,
    Warn,
}

impl Tone {
    fn paint(self, text: &str) -> String {
        let style = Style::new().force_styling(true);
        let style = match self {
            Self::Plain => return text.to_owned(),
            Self::Dim => style.dim(),
            Self::Strong => style.bold(),
            Self::Good => style.green(),
            Self::Bad => style.red(),
            Self::Warn => style.yellow(),
        };
        style.apply_to(text).to_string()
    }
}

/// One line. Everything in it is printable: [`Line::push`] sees to that.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Line(Vec<(Tone, String)>);

impl Line {
    /// A line of one piece.
    pub(super) fn of(tone: Tone, text: &str) -> Self {
        let mut line = Self::default();
        line.push(tone, text);
        line
    }

    pub(super) fn push(&mut self, tone: Tone, text: &str) {
        self.0.push((tone, printable(text).into_owned()));
    }

    pub(super) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(super) fn width(&self) -> usize {
        self.0
            .iter()
            .map(|(_, text)| measure_text_width(text))
            .sum()
    }

    /// Cuts the line to `width` columns.
    pub(super) fn clip(&mut self, width: usize) {
        if self.width() <= width {
            return;
        }
        let mut left = width;
        for (_, text) in &mut self.0 {
            let wide = measure_text_width(text);
            // The piece that fits exactly must end in the ellipsis too, since another follows.
            if wide < left {
                left -= wide;
            } else {
                let longer = format!("{text}\u{20}");
                *text = if left == 0 {
                    String::new()
                } else {
                    truncate_str(&longer, left, "…").into_owned()
                };
                left = 0;
            }
        }
        self.0.retain(|(_, text)| !text.is_empty());
    }

    /// The line, or where it is too wide several: those after the first are indented by `indent`
    /// and hold the rest of the last piece, broken at spaces if possible. After `most` lines the
    /// rest is cut off.
    pub(super) fn wrap(mut self, width: usize, indent: usize, most: usize) -> Vec<Self> {
        let mut lines = Vec::new();
        while self.width() > width && lines.len() + 1 < most {
            let Some((tone, text)) = self.0.pop() else {
                break;
            };
            let room = width.saturating_sub(self.width());
            let end = columns(&text, room);
            // A word is kept whole, unless little would be left of the line.
            let at = text[..end].rfind(' ').filter(|at| *at > end / 2);
            let (first, rest) = text.split_at(at.unwrap_or(end));
            if first.is_empty() || indent + 2 > width {
                self.0.push((tone, text));
                break;
            }
            self.push(tone, first);
            let mut next = Self::of(Tone::Plain, &" ".repeat(indent));
            next.push(tone, rest.trim_start());
            lines.push(std::mem::replace(&mut self, next));
        }
        self.clip(width);
        lines.push(self);
        lines
    }

    pub(super) fn render(&self, colour: bool) -> String {
        self.0
            .iter()
            .map(|(tone, text)| {
                if colour {
                    tone.paint(text)
                } else {
                    text.clone()
                }
            })
            .collect()
    }
}

/// `51,234`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `950`, `51.2k`, `1.2M`.
pub(super) fn short(number: u64) -> String {
    match number {
        0..1_000 => number.to_string(),
        1_000..1_000_000 => format!("{}.{}k", number / 1_000, number % 1_000 / 100),
        _ => format!("{}.{}M", number / 1_000_000, number % 1_000_000 / 100_000),
    }
}

/// `0:14`, `12:05`, `1:02:05`.
pub(super) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// `950 ms`, `12.3 s`, `12:05`.
pub(super) fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => clock(Duration::from_millis(ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_printable_can_steer_a_terminal() {
        let hostile =
            "a\x1b[2Jb\u{9b}31mc\rd\ne\tf\u{202e}g\u{2066}h\u{200d}i\u{feff}j\x07\u{7f}\u{fe0f}k";
        assert_eq!(printable(hostile), "a[2Jb31mc d e fghijk");
        let plain = "naïve 日本 ✓ \"x\"";
        assert!(matches!(printable(plain), Cow::Borrowed(text) if text == plain));
    }

    #[test]
    fn no_line_is_wider_than_asked() {
        let mut line = Line::of(Tone::Strong, "日本語");
        line.push(Tone::Plain, "abc");
        line.push(Tone::Dim, "def");
        assert_eq!(line.width(), 12);
        let cut = |width| {
            let mut line = line.clone();
            line.clip(width);
            assert!(line.width() <= width);
            line.render(false)
        };
        assert_eq!(cut(12), "日本語abcdef");
        assert_eq!(cut(11), "日本語abcd…");
        assert_eq!(cut(9), "日本語ab…");
        assert_eq!(cut(6), "日本…");
        assert_eq!(cut(2), "…");
        assert_eq!(cut(0), "");
        assert_eq!(clip("日本語", 5), "日本…");
        assert_eq!(clip("日本語", 0), "");
    }

    #[test]
    fn long_text_goes_on_below() {
        let wrap = |text: &str, width, most| -> Vec<String> {
            let mut line = Line::of(Tone::Dim, "at ");
            line.push(Tone::Plain, text);
            let lines = line.wrap(width, 3, most);
            assert!(lines.iter().all(|line| line.width() <= width));
            lines.iter().map(|line| line.render(false)).collect()
        };
        assert_eq!(wrap("one", 9, 9), ["at one"]);
        let long = "one two three fourfive";
        assert_eq!(wrap(long, 11, 9), ["at one two", "   three", "   fourfive"]);
        assert_eq!(wrap(long, 11, 2), ["at one two", "   three f…"]);
        assert_eq!(
            wrap("日本語日本語", 8, 9),
            ["at 日本", "   語日", "   本語"]
        );
        assert_eq!(wrap(long, 4, 9), ["at …"]);
    }

    #[test]
    fn colour_wraps_text_and_leaves_it_whole() {
        let mut line = Line::of(Tone::Good, "★");
        line.push(Tone::Plain, " x");
        assert_eq!(line.render(true), "\u{1b}[32m★\u{1b}[0m x");
        assert_eq!(line.render(false), "★ x");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(123), "123");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(
            [short(999), short(51_234), short(1_250_000)],
            ["999", "51.2k", "1.2M"]
        );
        let of = |seconds| clock(Duration::from_secs(seconds));
        assert_eq!([of(14), of(725), of(3725)], ["0:14", "12:05", "1:02:05"]);
        assert_eq!(
            [span(950), span(12_345), span(725_000)],
            ["950 ms", "12.3 s", "12:05"]
        );
    }
}
