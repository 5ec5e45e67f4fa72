//! The rules by which evaluators compare. Pure, total functions: no input makes them panic.

/// Text for comparison:
///
/// 1. white space at both ends is dropped;
/// 2. one pair of matching quotes round the whole is dropped (`"…"`, `'…'`, `“…”`, `‘…’`);
/// 3. letters are lower-cased by Unicode;
/// 4. every run of white space, no-break spaces and line ends included, becomes one space.
///
/// Punctuation, accents and Unicode forms stay as they are.
#[must_use]
pub fn text(raw: &str) -> String {
    collapse(&unquote(raw.trim()).to_lowercase())
}

/// White space trimmed, and every run of it one space.
#[must_use]
pub fn collapse(raw: &str) -> String {
    raw.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn unquote(trimmed: &str) -> &str {
    const PAIRS: [(char, char); 4] = [('"', '"'), ('\'', '\''), ('“', '”'), ('‘', '’')];
    PAIRS
        .iter()
        .find_map(|&(open, close)| trimmed.strip_prefix(open)?.strip_suffix(close))
        .unwrap_or(trimmed)
}

/// Why a text gives no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoNumber {
    /// There is none in it.
    #[error("no number")]
    None,
    /// There are several, and choosing one would be guessing.
    #[error("more than one number")]
    Several,
}

/// The only number in a text, such as -1234.5 in `about -$1,234.50 in total`:
///
/// * digits, with commas between groups of exactly three if there are commas at all, and an
///   optional fraction after a point (`12,50` is therefore two numbers: a comma is no decimal mark);
/// * a sign (`-`, `+`, `−`) directly before the digits, or before the currency mark before them,
///   unless a letter or digit stands before the sign (`2024-01-05` is three numbers);
/// * digits directly after a letter are part of a word (`usb3`), not a number; what follows the
///   number does not matter (`5kg`, `40%`, `2nd`).
///
/// # Errors
/// [`NoNumber`] unless there is exactly one.
pub fn number(raw: &str) -> Result<f64, NoNumber> {
    let chars: Vec<char> = raw.chars().collect();
    let mut found = None;
    let mut at = 0;
    while at < chars.len() {
        let starts = chars[at].is_ascii_digit()
            || (chars[at] == '.' && chars.get(at + 1).is_some_and(char::is_ascii_digit));
        if !starts {
            at += 1;
            continue;
        }
        let in_word = at > 0 && (chars[at - 1].is_alphabetic() || chars[at - 1] == '_');
        let (digits, end) = digits(&chars, at);
        if !in_word {
            let value: f64 = digits.parse().map_err(|_| NoNumber::None)?;
            if !value.is_finite() {
                return Err(NoNumber::None);
            }
            let value = if negative(&chars, at) { -value } else { value };
            if found.replace(value).is_some() {
                return Err(NoNumber::Several);
            }
        }
        at = end;
    }
    found.ok_or(NoNumber::None)
}

/// The digits of the number that starts at `at`, without commas, and where it ends.
fn digits(chars: &[char], mut at: usize) -> (String, usize) {
    let run = |from: usize| {
        chars[from..]
            .iter()
            .take_while(|c| c.is_ascii_digit())
            .count()
    };
    let mut out = String::new();
    let first = run(at);
    out.extend(&chars[at..at + first]);
    at += first;
    if (1..=3).contains(&first) {
        while chars.get(at) == Some(&',') && run(at + 1) == 3 {
            out.extend(&chars[at + 1..at + 4]);
            at += 4;
        }
    }
    if chars.get(at) == Some(&'.') {
        let fraction = run(at + 1);
        if fraction > 0 {
            out.push('.');
            out.extend(&chars[at + 1..=at + fraction]);
            at += 1 + fraction;
        }
    }
    (out, at)
}

/// Whether a minus stands before the number at `at`, a currency mark between them allowed.
fn negative(chars: &[char], at: usize) -> bool {
    let before = |mut i: usize| {
        while i > 0 && matches!(chars[i - 1], '$' | '€' | '£' | '¥' | '₹') {
            i -= 1;
        }
        i
    };
    let sign = before(at);
    if sign == 0 || !matches!(chars[sign - 1], '-' | '−') {
        return false;
    }
    let ahead = before(sign - 1);
    ahead == 0 || !chars[ahead - 1].is_alphanumeric()
}

/// Whether two numbers are equal within `tolerance`, rounding errors of the last bits forgiven.
#[must_use]
pub fn close(got: f64, want: f64, tolerance: f64) -> bool {
    (got - want).abs() <= tolerance + 1e-9 * want.abs().max(1.0)
}

/// The path of a URL (or of a path itself) for comparison: without origin, query and fragment,
/// percent-decoded, without a trailing slash except in `/`. Case counts.
#[must_use]
pub fn path(url: &str) -> String {
    let path = split(url).0;
    let path = decode(path, false);
    let path = path.trim_end_matches('/');
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    }
}

/// The query parameters of a URL, in order: percent-decoded, `+` as a space, the fragment left out.
#[must_use]
pub fn query(url: &str) -> Vec<(String, String)> {
    let query = split(url).1;
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key, true), decode(value, true))
        })
        .collect()
}

/// Percent-decoded text; bytes that are no UTF-8 become U+FFFD, broken escapes stay.
#[must_use]
pub fn decode(raw: &str, plus_is_space: bool) -> String {
    let hex = |byte: Option<&u8>| match *byte? {
        digit @ b'0'..=b'9' => Some(digit - b'0'),
        letter @ b'a'..=b'f' => Some(letter - b'a' + 10),
        letter @ b'A'..=b'F' => Some(letter - b'A' + 10),
        _ => None,
    };
    let bytes = raw.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push(high * 16 + low);
                at += 3;
            }
            (b'+', _, _) if plus_is_space => {
                out.push(b' ');
                at += 1;
            }
            (byte, _, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Path and query of a URL, both raw.
fn split(url: &str) -> (&str, &str) {
    let url = url.split('#').next().unwrap_or_default();
    let (place, query) = url.split_once('?').unwrap_or((url, ""));
    let path = match place.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => place,
    };
    (path, query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_drops_what_does_not_count() {
        assert_eq!(text("  \"Hello\u{a0}\n  World\" "), "hello world");
        assert_eq!(text("“ÉTÉ”"), "été");
        assert_eq!(text("''quoted twice''"), "'quoted twice'");
        assert_eq!(text("\""), "\"");
        assert_eq!(text("don't"), "don't");
        assert_eq!(text(""), "");
    }

    #[test]
    fn number_reads_the_only_one() {
        let cases: [(&str, Result<f64, NoNumber>); 22] = [
            ("$1,234.50", Ok(1234.5)),
            ("-$5", Ok(-5.0)),
            ("$-5.25", Ok(-5.25)),
            ("−3", Ok(-3.0)),
            ("+7", Ok(7.0)),
            (".5", Ok(0.5)),
            ("It costs 1299 in total.", Ok(1299.0)),
            ("40%", Ok(40.0)),
            ("5kg", Ok(5.0)),
            ("usb3 hub, 19.99 €", Ok(19.99)),
            ("1,234,567", Ok(1_234_567.0)),
            ("well - 5", Ok(5.0)),
            ("a-5", Ok(5.0)),
            ("none", Err(NoNumber::None)),
            ("", Err(NoNumber::None)),
            ("usb3", Err(NoNumber::None)),
            ("12,50", Err(NoNumber::Several)),
            ("1234,567", Err(NoNumber::Several)),
            ("3.5.1", Err(NoNumber::Several)),
            ("2024-01-05", Err(NoNumber::Several)),
            ("5 or 6", Err(NoNumber::Several)),
            ("1,2345", Err(NoNumber::Several)),
        ];
        for (raw, want) in cases {
            assert_eq!(number(raw), want, "{raw}");
        }
    }

    #[test]
    fn closeness_forgives_rounding_only() {
        assert!(close(0.1 + 0.2, 0.3, 0.0));
        assert!(!close(0.3001, 0.3, 0.0));
        assert!(close(10.5, 10.0, 0.5));
        assert!(!close(f64::NAN, 1.0, 5.0));
    }

    #[test]
    fn url_parts() {
        assert_eq!(path("http://shop.demo/a%20b/?q=1#top"), "/a b");
        assert_eq!(path("http://shop.demo"), "/");
        assert_eq!(path("http://shop.demo?next=http://x/y"), "/");
        assert_eq!(path("/cart/"), "/cart");
        assert_eq!(path("cart"), "/cart");
        assert_eq!(
            query("http://shop.demo/s?q=red+mug&sort=%C3%A9%zz&flag&q=2#x?y=1"),
            [("q", "red mug"), ("sort", "é%zz"), ("flag", ""), ("q", "2")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
        );
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(raw: String) {
            let once = collapse(&raw);
            assert_eq!(collapse(&once), once);
            assert!(number(&raw).map_or(true, f64::is_finite));
            assert!(path(&raw).starts_with('/'));
            assert!(raw.contains('?') || query(&raw).is_empty());
            assert!(!text(&raw).ends_with(' '));
        }
    }
}
