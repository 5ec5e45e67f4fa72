//! What a site makes up anew for every load and nobody can see: tokens, nonces, cache busters.
//!
//! Known by their names first. A value alone never makes a token: a product's id looks random, too.

/// Stands for what is masked.
pub(in crate::env) const MASKED: &str = "▒";

/// Parts of names (lower case, letters and digits only) that a token's field or parameter has.
const TOKENS: [&str; 9] = [
    "csrf",
    "xsrf",
    "nonce",
    "authenticitytoken",
    "requestverificationtoken",
    "viewstate",
    "eventvalidation",
    "formbuildid",
    "sesskey",
];
/// Names that are a token's if the value looks random.
const MAYBE: [&str; 12] = [
    "token",
    "formtoken",
    "formkey",
    "sid",
    "sessionid",
    "jsessionid",
    "phpsessid",
    "signature",
    "sig",
    "state",
    "requestid",
    "captchaid",
];
/// Names that defeat caches or tell the time, if the value is a long number.
const TIMES: [&str; 9] = [
    "",
    "cb",
    "cachebust",
    "cachebuster",
    "nocache",
    "rand",
    "t",
    "ts",
    "timestamp",
];

/// Whether a hidden field or a parameter with this name and value is made up anew for every load.
pub(in crate::env) fn is_token(name: &str, value: &str) -> bool {
    let plain: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    if TOKENS.iter().any(|token| plain.contains(token)) {
        return true;
    }
    if MAYBE.contains(&plain.as_str()) && looks_random(value) {
        return true;
    }
    let number = value.strip_prefix("0.").unwrap_or(value);
    TIMES.contains(&plain.as_str())
        && number.len() >= 10
        && number.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// Long, of one piece, letters and digits mixed.
fn looks_random(value: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"+/=_.:-%".contains(&b);
    value.len() >= 16
        && value.bytes().all(plain)
        && value.bytes().filter(u8::is_ascii_digit).count() >= 2
        && value.bytes().any(|b| b.is_ascii_alphabetic())
}

/// A URL with the values of tokens masked: in its query, and session ids in its path. The fragment
/// stays, it is where single-page applications say what they show.
pub(in crate::env) fn mask_url(url: &str) -> String {
    mask_url_but(url, |_| false)
}

/// The same, with the parameters that `other` names masked, too.
pub(in crate::env) fn mask_url_but(url: &str, other: impl Fn(&str) -> bool) -> String {
    let (front, fragment) = match url.split_once('#') {
        Some((front, fragment)) => (front, Some(fragment)),
        None => (url, None),
    };
    let (path, query) = match front.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (front, None),
    };
    let mut out = String::with_capacity(url.len());
    match path.split_once(";jsessionid=") {
        Some((path, _)) => out.push_str(path),
        None => out.push_str(path),
    }
    for (index, pair) in query.into_iter().flat_map(|q| q.split('&')).enumerate() {
        out.push(if index == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, value)) if !value.is_empty() && (is_token(name, value) || other(name)) => {
                out.push_str(name);
                out.push('=');
                out.push_str(MASKED);
            }
            _ => out.push_str(pair),
        }
    }
    if let Some(fragment) = fragment {
        out.push('#');
        out.push_str(fragment);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_known_by_name_and_content_is_left_alone() {
        for (name, value) in [
            ("csrf", "x"),
            ("csrfmiddlewaretoken", "KbyUmhTLMpYj7CD2di7JKP1P3qmLlkPt"),
            ("__RequestVerificationToken", "x"),
            ("_wpnonce", "5a3f"),
            ("_token", "8f14e45fceea167a5a36dedd4bea2543"),
            ("ts", "1732442397123"),
            ("_", "1732442397"),
            ("cb", "0.7281936450127"),
        ] {
            assert!(is_token(name, value), "{name}={value}");
        }
        for (name, value) in [
            ("id", "8f14e45fceea167a5a36dedd4bea2543"),
            ("product_id", "17"),
            ("token", "10"),
            ("state", "california"),
            ("t", "12"),
            ("ts", "2026"),
            ("qty", "1732442397123"),
        ] {
            assert!(!is_token(name, value), "{name}={value}");
        }
    }

    #[test]
    fn urls_keep_all_but_tokens() {
        let same = "http://shop.demo/list?sort=price&page=2#reviews";
        assert_eq!(mask_url(same), same);
        assert_eq!(mask_url("http://shop.demo/?"), "http://shop.demo/?");
        assert_eq!(
            mask_url("/out?csrf_token=ab12&to=/cart&_=1732442397123#end"),
            "/out?csrf_token=▒&to=/cart&_=▒#end"
        );
        assert_eq!(mask_url("/a;jsessionid=5AF1?x=1"), "/a?x=1");
        assert_eq!(
            mask_url_but("/ad?slot=1&id=77", |name| name == "id"),
            "/ad?slot=1&id=▒"
        );
    }
}
