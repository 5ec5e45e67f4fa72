//! Running clocks in a page's text.

/// What pages say instead of a small number of seconds.
const JUST_NOW: [&str; 4] = [
    "just now",
    "a moment ago",
    "moments ago",
    "a few seconds ago",
];

/// Replaces what a running clock shows, so that the same state has the same digest: `hh:mm:ss`,
/// counts of seconds and milliseconds, and the words for "just now". Times without seconds stay:
/// they are content (a departure at 12:30 matters).
pub(in crate::env) fn mask_clocks(text: &str) -> String {
    for words in JUST_NOW {
        let Some((front, rest)) = text.split_once(words).or_else(|| {
            // At the beginning of a sentence.
            let at = words[..1].to_ascii_uppercase() + &words[1..];
            text.split_once(at.as_str())
        }) else {
            continue;
        };
        return format!("{}⏱{}", mask_clocks(front), mask_clocks(rest));
    }
    if !text.bytes().any(|b| b.is_ascii_digit()) {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < bytes.len() {
        let fresh = i == 0 || !(bytes[i - 1].is_ascii_alphanumeric() || bytes[i - 1] == b'.');
        if fresh && bytes[i].is_ascii_digit() {
            if let Some(end) = clock(bytes, i) {
                out.push('⏱');
                i = end;
                continue;
            }
            let end = i + bytes[i..].iter().take_while(|b| b.is_ascii_digit()).count();
            out.push_str(&text[i..end]);
            i = end;
            continue;
        }
        let step = text[i..].chars().next().map_or(1, char::len_utf8);
        out.push_str(&text[i..i + step]);
        i += step;
    }
    out
}

/// The end of a clock reading that begins at `at`, if one does.
fn clock(bytes: &[u8], at: usize) -> Option<usize> {
    let digits = |from: usize| {
        bytes[from..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count()
    };
    let n = digits(at);
    // h:mm:ss or hh:mm:ss
    if n <= 2 {
        let minutes = at + n;
        if bytes.get(minutes) == Some(&b':') && digits(minutes + 1) == 2 {
            let seconds = minutes + 3;
            if bytes.get(seconds) == Some(&b':') && digits(seconds + 1) == 2 {
                return Some(seconds + 3);
            }
        }
    }
    // 12s, 12 sec, 0.034 seconds, 19 / 20sec, 30 ms
    let mut end = at + n;
    if bytes.get(end) == Some(&b'.') && digits(end + 1) > 0 {
        end += 1 + digits(end + 1);
    }
    let skip = |from: usize| from + usize::from(bytes.get(from) == Some(&b' '));
    let slash = skip(end);
    if bytes.get(slash) == Some(&b'/') {
        let second = skip(slash + 1);
        if digits(second) > 0 {
            end = second + digits(second);
        }
    }
    let word_at = skip(end);
    let length = bytes[word_at..]
        .iter()
        .take_while(|b| b.is_ascii_alphabetic())
        .count();
    let word = bytes[word_at..word_at + length].to_ascii_lowercase();
    // A bare "s" may be anything (a 5s, 20s music); after a fraction it is a duration.
    let fraction = bytes[at..end].contains(&b'.');
    let unit = matches!(
        word.as_slice(),
        b"sec" | b"secs" | b"second" | b"seconds" | b"ms"
    ) || word == b"s" && fraction;
    // "5 seconds ago" was "just now" a moment before.
    let ago = usize::from(bytes[word_at + length..].starts_with(b" ago")) * 4;
    unit.then_some(word_at + length + ago)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_masked_and_content_is_not() {
        assert_eq!(mask_clocks("Time left: 19 / 20sec"), "Time left: ⏱");
        assert_eq!(mask_clocks("at 09:41:07 today"), "at ⏱ today");
        assert_eq!(mask_clocks("generated in 0.034 seconds"), "generated in ⏱");
        assert_eq!(mask_clocks("generated in 0.034s."), "generated in ⏱.");
        for now in [
            "Just now",
            "a few seconds ago",
            "12 seconds ago",
            "1 second ago",
        ] {
            assert_eq!(mask_clocks(&format!("{now} by Ada")), "⏱ by Ada");
        }
        for content in [
            "12:30 PM",
            "24.50",
            "page 2 / 3",
            "3 secrets",
            "iPhone 5s",
            "v1.2",
            "5 items",
            "ünï 4",
        ] {
            assert_eq!(mask_clocks(content), content);
        }
    }
}
