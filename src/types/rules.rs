//! Which requests write, where the method does not tell.

use serde::{Deserialize, Serialize};

/// What a request is to the guard that holds writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestClass {
    /// It changes nothing: it passes.
    Read,
    /// It may change a server.
    Write,
    /// It writes, but nothing that matters to anybody (analytics): it is not sent, and is no reason
    /// to hold an action.
    Ignored,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestUse {
    /// A page to go to, or a script's own request.
    Main,
    /// A picture, script, style or font that a page is made of.
    Part,
}

/// A task's own word on what its requests do. The first kind that matches decides, in the order of
/// the fields; then the method: GET, HEAD and OPTIONS read, unless the URL names a sign-out; anything
/// else writes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EffectRules {
    /// Requests that write whatever their method.
    #[serde(rename = "unsafe", skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<RequestPattern>,
    /// Requests that only read whatever their method.
    #[serde(rename = "safe", skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<RequestPattern>,
    /// Writes that matter to nobody.
    #[serde(rename = "ignore", skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<RequestPattern>,
    /// Whether a GET whose URL names a removal (`/item/7/delete`, `?action=remove`) writes, too.
    pub strict: bool,
}

/// A sign-out ends the session that other branches may share: held unless a rule says otherwise.
const SIGN_OUT: [&str; 3] = ["logout", "signout", "logoff"];
/// What `strict` adds.
const REMOVAL: [&str; 6] = [
    "delete",
    "remove",
    "destroy",
    "unsubscribe",
    "deactivate",
    "cancel",
];
/// Query parameters that name an action.
const VERBS: [&str; 6] = ["action", "do", "op", "cmd", "method", "task"];

impl EffectRules {
    /// What a request is. `url` is absolute, by logical origin; `own` is the site's logical origin,
    /// which patterns that start with a slash are about.
    #[must_use]
    pub fn class(&self, method: &str, url: &str, own: &str, r#use: RequestUse) -> RequestClass {
        let any =
            |patterns: &[RequestPattern]| patterns.iter().any(|p| p.matches(method, url, own));
        if any(&self.writes) {
            return RequestClass::Write;
        }
        if any(&self.reads) {
            return RequestClass::Read;
        }
        if any(&self.ignored) {
            return RequestClass::Ignored;
        }
        if !matches!(method, "GET" | "HEAD" | "OPTIONS") {
            return RequestClass::Write;
        }
        let named = |word: &str| SIGN_OUT.contains(&word) || self.strict && REMOVAL.contains(&word);
        if r#use == RequestUse::Main && names_a_deed(url, named) {
            RequestClass::Write
        } else {
            RequestClass::Read
        }
    }
}

/// Whether a segment of the URL's path, or a parameter that names an action, is such a word: alone
/// (`/logout.php`, `/log-out`), or before one more (`/delete-account`).
fn names_a_deed(url: &str, named: impl Fn(&str) -> bool) -> bool {
    let (_, path, query) = parts(url);
    let is = |text: &str| {
        let text = text.to_ascii_lowercase();
        let stem = text.split_once('.').map_or(text.as_str(), |(stem, _)| stem);
        let words: Vec<&str> = stem.split(['-', '_']).collect();
        match words.as_slice() {
            [one] => named(one),
            [first, second] => named(first) || named(&format!("{first}{second}")),
            _ => false,
        }
    };
    path.split('/').any(is)
        || query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .any(|(key, value)| VERBS.contains(&key.to_ascii_lowercase().as_str()) && is(value))
}

/// Origin, path and query of an absolute URL, the fragment left out.
fn parts(url: &str) -> (&str, &str, &str) {
    let url = url.split_once('#').map_or(url, |(url, _)| url);
    let host = url.find("://").map_or(0, |at| at + 3);
    let path = url[host..]
        .find(['/', '?'])
        .map_or(url.len(), |at| host + at);
    let (origin, rest) = url.split_at(path);
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    (origin, if path.is_empty() { "/" } else { path }, query)
}

/// `[METHOD ]/path` of the site itself, or `[METHOD ]http://host/path` of any. `*` stands for any
/// run of characters, slashes included. A pattern without `?` is about the path whatever the query.
/// `WS` is the method of a `WebSocket` frame, whose URL counts as `http` here.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequestPattern {
    method: Option<String>,
    url: String,
}

/// The methods that patterns are mostly about.
const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WS",
];

/// Text that is no [`RequestPattern`]: what is wrong with it, a lowercase sentence fragment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParsePatternError(pub String);

impl RequestPattern {
    /// Whether a request is meant.
    #[must_use]
    pub fn matches(&self, method: &str, url: &str, own: &str) -> bool {
        if self.method.as_ref().is_some_and(|m| m != method) {
            return false;
        }
        let http = url.strip_prefix("ws").map(|rest| format!("http{rest}"));
        let (origin, path, query) = parts(http.as_deref().unwrap_or(url));
        let mut subject = match self.url.starts_with('/') {
            true if origin != own => return false,
            true => String::new(),
            false => origin.to_owned(),
        };
        subject.push_str(path);
        if self.url.contains('?') && !query.is_empty() {
            subject.push('?');
            subject.push_str(query);
        }
        glob(&self.url, &subject)
    }
}

/// Whether `text` is `pattern` with every `*` replaced by something.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else {
        return rest.is_empty();
    };
    for piece in pieces {
        // The leftmost match leaves the most for what follows.
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

impl std::str::FromStr for RequestPattern {
    type Err = ParsePatternError;

    fn from_str(text: &str) -> Result<Self, ParsePatternError> {
        let bad = |what: &str| Err(ParsePatternError(what.to_owned()));
        let (method, url) = match text.trim().split_once(char::is_whitespace) {
            None => (None, text.trim()),
            Some((method, url)) => (Some(method), url.trim()),
        };
        if method.is_some_and(|m| m.is_empty() || !m.bytes().all(|b| b.is_ascii_uppercase())) {
            return bad("a method is in upper case, such as \"POST /search\"");
        }
        // Methods of the site's own are possible; a slip of the pen would protect nothing.
        let meant = |m: &&str| {
            METHODS
                .into_iter()
                .find(|known| strsim::osa_distance(m, known) == 1)
        };
        if let Some(method) = method.filter(|m| !METHODS.contains(m))
            && let Some(meant) = meant(&method)
        {
            return bad(&format!("`{method}` is no method; did you mean `{meant}`?"));
        }
        if url.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#') {
            return bad("a pattern has no white space and no fragment");
        }
        let absolute = ["http://", "https://"].iter().any(|scheme| {
            url.strip_prefix(scheme)
                .is_some_and(|rest| rest.contains('/'))
        });
        if !absolute && (!url.starts_with('/') || url.starts_with("//")) {
            return bad(
                "expected a path such as \"/logout*\" or \"GET /item/*/delete\", or a URL with one such as \
                 \"POST https://stats.example/*\"",
            );
        }
        Ok(Self {
            method: method.map(str::to_owned),
            url: url.to_owned(),
        })
    }
}

impl TryFrom<String> for RequestPattern {
    type Error = ParsePatternError;

    fn try_from(text: String) -> Result<Self, ParsePatternError> {
        text.parse()
    }
}

impl From<RequestPattern> for String {
    fn from(pattern: RequestPattern) -> Self {
        pattern.to_string()
    }
}

impl std::fmt::Display for RequestPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.method {
            Some(method) => write!(f, "{method} {}", self.url),
            None => f.write_str(&self.url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "http://shop.demo";

    fn matches(pattern: &str, method: &str, url: &str) -> bool {
        pattern
            .parse::<RequestPattern>()
            .unwrap()
            .matches(method, url, OWN)
    }

    #[test]
    fn patterns() {
        assert!(matches("/logout*", "GET", "http://shop.demo/logout"));
        assert!(matches(
            "/logout*",
            "POST",
            "http://shop.demo/logout/all?x=1"
        ));
        assert!(!matches("/logout", "GET", "http://shop.demo/logout/all"));
        assert!(matches(
            "GET /item/*/delete",
            "GET",
            "http://shop.demo/item/7/delete?sure=1"
        ));
        assert!(!matches(
            "GET /item/*/delete",
            "POST",
            "http://shop.demo/item/7/delete"
        ));
        assert!(!matches(
            "/item/*/delete",
            "GET",
            "http://shop.demo/item/delete"
        ));
        assert!(matches(
            "/do?op=kill*",
            "GET",
            "http://shop.demo/do?op=kill&id=3"
        ));
        assert!(!matches(
            "/do?op=kill*",
            "GET",
            "http://shop.demo/do?id=3&op=kill"
        ));
        assert!(
            !matches("/logout", "GET", "http://other.example/logout"),
            "another site"
        );
        assert!(matches(
            "POST https://stats.example/*",
            "POST",
            "https://stats.example/g?v=2"
        ));
        assert!(
            matches("http://shop.demo/*", "PUT", "http://shop.demo"),
            "an empty path is a slash"
        );
        assert!(matches("WS /live", "WS", "ws://shop.demo/live"));
        assert!(matches(
            "*".replace('*', "/*").as_str(),
            "GET",
            "http://shop.demo/a#b"
        ));
    }

    #[test]
    fn globs_need_every_piece_in_order() {
        assert!(glob("a*b*c", "a--b--c") && glob("a*b*c", "abc") && glob("*", ""));
        assert!(!glob("a*b*c", "acb") && !glob("ab", "abc") && !glob("a*bc", "ab"));
    }

    #[test]
    fn patterns_that_are_none() {
        for bad in [
            "",
            "logout",
            "post /x",
            "//host/x",
            "POST",
            "PSOT /x",
            "/a b",
            "ftp://h/x",
            "https://h",
            "/a#b",
        ] {
            assert!(bad.parse::<RequestPattern>().is_err(), "{bad}");
        }
        let pattern: RequestPattern = "POST /a*".parse().unwrap();
        assert_eq!(pattern.to_string(), "POST /a*");
        assert!("PROPFIND /a".parse::<RequestPattern>().is_ok());
    }

    fn class(rules: &EffectRules, method: &str, path: &str) -> RequestClass {
        rules.class(method, &format!("{OWN}{path}"), OWN, RequestUse::Main)
    }

    #[test]
    fn methods_and_words_decide_where_no_rule_does() {
        use RequestClass::{Read, Write};
        let plain = EffectRules::default();
        let strict = EffectRules {
            strict: true,
            ..EffectRules::default()
        };
        for (method, path, relaxed, careful) in [
            ("GET", "/", Read, Read),
            ("HEAD", "/x", Read, Read),
            ("POST", "/search", Write, Write),
            ("WS", "/live", Write, Write),
            ("GET", "/logout", Write, Write),
            ("GET", "/user/sign-out", Write, Write),
            ("GET", "/Logout.aspx", Write, Write),
            ("GET", "/index.php?action=logout", Write, Write),
            ("GET", "/search?q=logout", Read, Read),
            ("GET", "/item/7/delete", Read, Write),
            ("GET", "/delete-account", Read, Write),
            ("GET", "/x?do=remove&id=3", Read, Write),
            ("GET", "/how-to-remove-stains", Read, Read),
            ("GET", "/undelete", Read, Read),
        ] {
            assert_eq!(class(&plain, method, path), relaxed, "{method} {path}");
            assert_eq!(
                class(&strict, method, path),
                careful,
                "strict {method} {path}"
            );
        }
        let icon = plain.class("GET", "http://shop.demo/logout.png", OWN, RequestUse::Part);
        assert_eq!(icon, Read, "a picture is no way out");
    }

    #[test]
    fn rules_go_before_words_and_unsafe_goes_first() {
        let list = |patterns: &[&str]| patterns.iter().map(|p| p.parse().unwrap()).collect();
        let rules = EffectRules {
            writes: list(&["/search/save"]),
            reads: list(&["POST /search*", "/logout"]),
            ignored: list(&["POST https://stats.example/*"]),
            strict: false,
        };
        assert_eq!(class(&rules, "POST", "/search"), RequestClass::Read);
        assert_eq!(class(&rules, "GET", "/search/save"), RequestClass::Write);
        assert_eq!(class(&rules, "GET", "/logout"), RequestClass::Read);
        let ping = rules.class("POST", "https://stats.example/g", OWN, RequestUse::Main);
        assert_eq!(ping, RequestClass::Ignored);
        let json = serde_json::to_string(&rules).unwrap();
        assert_eq!(serde_json::from_str::<EffectRules>(&json).unwrap(), rules);
    }
}
