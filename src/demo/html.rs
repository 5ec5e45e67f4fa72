//! HTML that cannot forget to escape.
//!
//! [`html!`] is `format!` with every argument passed through [`Render`]: text is escaped, only
//! [`Html`] goes in as it is. Variables captured inside the template (`{name}` without an
//! argument of that name) do not compile, so nothing slips past.

use std::fmt;

/// A piece of markup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Html(String);

impl Html {
    /// For [`html!`] alone: text whose every foreign part is escaped already.
    pub(super) fn assembled(markup: String) -> Self {
        Self(markup)
    }

    /// Markup that is part of the program.
    pub(super) fn fixed(markup: &'static str) -> Self {
        Self(markup.to_owned())
    }

    /// The markup as a string.
    pub(super) fn into_string(self) -> String {
        self.0
    }
}

impl FromIterator<Html> for Html {
    fn from_iter<I: IntoIterator<Item = Html>>(parts: I) -> Self {
        Self(parts.into_iter().map(|part| part.0).collect())
    }
}

/// How a value appears in a page.
pub(super) trait Render {
    /// Writes it, escaped as its type needs.
    fn render(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

impl Render for str {
    fn render(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
            f.write_str(&rest[..at])?;
            f.write_str(match rest.as_bytes()[at] {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'"' => "&quot;",
                _ => "&#39;",
            })?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

impl Render for String {
    fn render(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().render(f)
    }
}

impl Render for Html {
    fn render(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<T: Render + ?Sized> Render for &T {
    fn render(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (*self).render(f)
    }
}

impl<T: Render> Render for Option<T> {
    fn render(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().map_or(Ok(()), |inner| inner.render(f))
    }
}

macro_rules! render_plainly {
    ($($kind:ty),*) => {$(
        impl Render for $kind {
            fn render(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}
render_plainly!(i64, usize);

/// The bridge from [`Render`] to `format!`.
pub(super) struct Slot<'a, T: ?Sized>(pub(super) &'a T);

impl<T: Render + ?Sized> fmt::Display for Slot<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.render(f)
    }
}

/// A template and what goes into its holes; see the module.
macro_rules! html {
    ($template:literal $(, $key:ident = $value:expr)+ $(,)?) => {
        $crate::demo::html::Html::assembled(format!(
            concat!($template), $($key = $crate::demo::html::Slot(&$value)),+
        ))
    };
    ($template:literal $(, $value:expr)+ $(,)?) => {
        $crate::demo::html::Html::assembled(format!(
            concat!($template), $($crate::demo::html::Slot(&$value)),+
        ))
    };
    ($template:literal) => {
        $crate::demo::html::Html::fixed($template)
    };
}
pub(super) use html;

/// Percent-encodes everything but unreserved characters and `/`: for a value in a query.
pub(super) fn encode(text: &str) -> String {
    use fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_markup_is_not() {
        let inner = html!("<b>{}</b>", "a<b>&\"c\"'");
        let outer = html!("<p title=\"{t}\">{inner}</p>", t = "x\"y", inner = inner);
        assert_eq!(
            outer.into_string(),
            "<p title=\"x&quot;y\"><b>a&lt;b&gt;&amp;&quot;c&quot;&#39;</b></p>"
        );
    }

    #[test]
    fn query_values_are_encoded() {
        assert_eq!(encode("/a b?c=d&é"), "/a%20b%3Fc%3Dd%26%C3%A9");
    }
}
