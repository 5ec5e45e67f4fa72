//! Recorded bodies without a home: a response of one server of a site, answered again on behalf of
//! another, must not lead the page back to the first.
//!
//! When a body is kept, the server's own `host:port` in it gives way to a mark that no text holds;
//! when it is answered again, the mark gives way to the `host:port` of the lane's server. Only text
//! is touched.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chromiumoxide_cdp::cdp::browser_protocol::fetch::HeaderEntry;

/// Stands for `host:port`, and for `host%3Aport`.
const MARKS: [&[u8]; 2] = [b"\0site\0", b"\0site%3A\0"];

/// How a server's `host:port` is written, plainly and in a query.
fn forms(origin: &str) -> [Vec<u8>; 2] {
    let authority = origin.split_once("://").map_or(origin, |(_, rest)| rest);
    let encoded = authority.replace(':', "%3A");
    [authority.to_owned().into_bytes(), encoded.into_bytes()]
}

/// Text of a page with the server's own `host:port` by the site's name, if it shows it: states are equal
/// whichever server they are on.
pub(super) fn shown(text: &str, origin: &str, logical: &str) -> Option<String> {
    let ([from, _], [to, _]) = (forms(origin), forms(logical));
    let shown = replace(text.as_bytes(), &from, &to, true)?;
    String::from_utf8(shown).ok()
}

/// A Base64 body as it is kept.
pub(super) fn keep(body: String, headers: &[HeaderEntry], origin: &str) -> String {
    change(body, headers, |bytes| {
        let forms = forms(origin);
        let kept = replace(bytes, &forms[0], MARKS[0], true);
        // Without a port both forms are the same.
        if forms[0] == forms[1] {
            return kept;
        }
        match kept {
            Some(kept) => Some(replace(&kept, &forms[1], MARKS[1], true).unwrap_or(kept)),
            None => replace(bytes, &forms[1], MARKS[1], true),
        }
    })
}

/// A kept body as the server at `origin` would have sent it.
pub(super) fn answer(body: String, headers: &[HeaderEntry], origin: &str) -> String {
    change(body, headers, |bytes| {
        let forms = forms(origin);
        let plain = replace(bytes, MARKS[0], &forms[0], false);
        match plain {
            Some(plain) => Some(replace(&plain, MARKS[1], &forms[1], false).unwrap_or(plain)),
            None => replace(bytes, MARKS[1], &forms[1], false),
        }
    })
}

fn change(
    body: String,
    headers: &[HeaderEntry],
    by: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
) -> String {
    if !is_text(headers) {
        return body;
    }
    match STANDARD.decode(&body).ok().and_then(|bytes| by(&bytes)) {
        Some(changed) => STANDARD.encode(changed),
        None => body,
    }
}

fn is_text(headers: &[HeaderEntry]) -> bool {
    let kind = headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-type"))
        .map(|header| header.value.to_ascii_lowercase());
    kind.is_some_and(|kind| {
        kind.starts_with("text/")
            || ["json", "javascript", "xml"]
                .iter()
                .any(|part| kind.contains(part))
    })
}

/// `text` with `from` replaced, where it is there; with `whole` only where no host name or port
/// goes on before or behind it.
fn replace(text: &[u8], from: &[u8], to: &[u8], whole: bool) -> Option<Vec<u8>> {
    let first = *from.first()?;
    let name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let mut out: Option<Vec<u8>> = None;
    let mut done = 0;
    let mut at = 0;
    while at + from.len() <= text.len() {
        if text[at] != first || !text[at..].starts_with(from) {
            at += 1;
            continue;
        }
        let end = at + from.len();
        // `%2F` before an encoded one ends in a letter of its own.
        let before = at.checked_sub(1).map(|i| &text[i]);
        let escape = at >= 3 && text[at - 3] == b'%';
        let goes_on = before.is_some_and(name) && !escape
            || text.get(end).is_some_and(u8::is_ascii_digit)
            || text.get(end) == Some(&b':');
        if whole && goes_on {
            at = end;
            continue;
        }
        let out = out.get_or_insert_with(Vec::new);
        out.extend_from_slice(&text[done..at]);
        out.extend_from_slice(to);
        (done, at) = (end, end);
    }
    if let Some(out) = &mut out {
        out.extend_from_slice(&text[done..]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html() -> Vec<HeaderEntry> {
        vec![HeaderEntry::new("Content-Type", "text/html; charset=utf-8")]
    }

    fn moved(text: &[u8], headers: &[HeaderEntry], from: &str, to: &str) -> Vec<u8> {
        let kept = keep(STANDARD.encode(text), headers, from);
        STANDARD.decode(answer(kept, headers, to)).unwrap()
    }

    #[test]
    fn a_page_of_one_server_names_the_other() {
        let (one, two) = ("http://127.0.0.1:8101", "http://127.0.0.1:92");
        let page = b"<base href='http://127.0.0.1:8101/'> \"http:\\/\\/127.0.0.1:8101\\/x\" \
            ?next=http%3A%2F%2F127.0.0.1%3A8101%2F //127.0.0.1:8101 http://127.0.0.1:81011/ \
            http://a.127.0.0.1:8101/ \xff";
        let want: &[u8] = b"<base href='http://127.0.0.1:92/'> \"http:\\/\\/127.0.0.1:92\\/x\" \
            ?next=http%3A%2F%2F127.0.0.1%3A92%2F //127.0.0.1:92 http://127.0.0.1:81011/ \
            http://a.127.0.0.1:8101/ \xff";
        let got = moved(page, &html(), one, two);
        assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(want));
        assert_eq!(moved(page, &html(), one, one), page);
    }

    #[test]
    fn a_page_shows_the_sites_name_for_its_servers_address() {
        let shown = |text| shown(text, "http://127.0.0.1:81", "http://shop.demo");
        let got = shown("Use https://127.0.0.1:81/ instead.");
        assert_eq!(got.as_deref(), Some("Use https://shop.demo/ instead."));
        assert_eq!(shown("127.0.0.1:8181 is another"), None);
    }

    #[test]
    fn what_is_no_text_stays() {
        let picture = vec![HeaderEntry::new("content-type", "image/png")];
        let bytes = b"127.0.0.1:8101";
        let got = moved(
            bytes,
            &picture,
            "http://127.0.0.1:8101",
            "http://127.0.0.1:9",
        );
        assert_eq!(got, bytes);
    }

    proptest::proptest! {
        #[test]
        fn at_home_nothing_changes(text in "[a-z:/.%0-9]{0,40}(127\\.0\\.0\\.1(:|%3A)80)?[a-z:/.%0-9]{0,40}") {
            let home = "http://127.0.0.1:80";
            proptest::prop_assert_eq!(moved(text.as_bytes(), &html(), home, home), text.as_bytes());
        }
    }
}
