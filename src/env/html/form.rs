//! Sending a form: what is in it, how it is encoded, and what is wrong with it.
//!
//! After the HTML standard, "form submission": the entry list, the three encodings, GET and POST,
//! the submitter's own `formaction`, `formmethod`, `formenctype` and `formtarget`.

use std::borrow::Cow;

use encoding_rs::Encoding;
use url::Url;
use url::form_urlencoded::Serializer;

use super::document::{Document, Id};
use super::fetch::{Body, Request};
use super::fields::{option_disabled, option_value};
use super::walk::Look;

/// One entry of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub name: String,
    pub value: String,
    /// No file was chosen: agents cannot choose any.
    pub file: bool,
}

/// Where a form goes.
#[derive(Debug)]
pub(super) struct Submission {
    pub request: Request,
    pub target: Option<String>,
}

/// What becomes of a form that is sent.
#[derive(Debug)]
pub(super) enum Submit {
    Send(Box<Submission>),
    /// Controls whose values it does not take, with the reason; nothing is sent.
    Invalid(Vec<(Id, String)>),
    /// `method=dialog`: the dialog closes, nothing is sent.
    Dialog,
    /// Its address is not one we load.
    Nowhere(String),
}

/// The controls of a form, in document order.
pub(super) fn controls(doc: &Document, form: Id) -> impl Iterator<Item = Id> + '_ {
    (0..doc.len()).filter(move |id| {
        matches!(doc.tag(*id), "button" | "input" | "select" | "textarea")
            && doc.form_of(*id) == Some(form)
    })
}

/// Whether a click on it sends its form.
pub(super) fn submits(look: &Look<'_>, id: Id) -> bool {
    match look.doc.tag(id) {
        "input" => matches!(look.input_type(id), "submit" | "image"),
        "button" => !look.doc.is(id, "type", "reset") && !look.doc.is(id, "type", "button"),
        _ => false,
    }
}

/// Disabled for sending: itself or by a fieldset, whose first legend is exempt.
fn barred(doc: &Document, id: Id) -> bool {
    if doc.has(id, "disabled") {
        return true;
    }
    let mut inner = id;
    for around in doc.ancestors(id) {
        if doc.tag(around) == "fieldset" && doc.has(around, "disabled") {
            let first = doc.children(around).find(|c| doc.tag(*c) == "legend");
            if first != Some(inner) {
                return true;
            }
        }
        if doc.tag(around) == "datalist" {
            return true;
        }
        inner = around;
    }
    false
}

/// What is in the form, in document order.
pub(super) fn entries(
    look: &Look<'_>,
    form: Id,
    submitter: Option<Id>,
    encoding: &'static Encoding,
) -> Vec<Entry> {
    let doc = look.doc;
    let mut entries = Vec::new();
    let mut push = |name: &str, value: String, file: bool| {
        entries.push(Entry {
            name: name.to_owned(),
            value,
            file,
        });
    };
    for id in controls(doc, form) {
        if barred(doc, id) {
            continue;
        }
        let name = doc.attr(id, "name").unwrap_or_default();
        let kind = match doc.tag(id) {
            "input" => look.input_type(id),
            tag => tag,
        };
        let is_button = matches!(kind, "button" | "submit" | "reset" | "image");
        if is_button && Some(id) != submitter {
            continue;
        }
        if kind == "image" {
            // The middle of the picture, as far as the markup tells its size.
            let middle = |size: &str| {
                let size = doc
                    .attr(id, size)
                    .and_then(|s| s.trim().parse::<u32>().ok());
                (size.unwrap_or_default() / 2).to_string()
            };
            let prefix = if name.is_empty() {
                String::new()
            } else {
                format!("{name}.")
            };
            push(&format!("{prefix}x"), middle("width"), false);
            push(&format!("{prefix}y"), middle("height"), false);
            continue;
        }
        if name.is_empty() {
            continue;
        }
        match kind {
            "select" => {
                for option in look.fields.chosen(look, id) {
                    if !option_disabled(doc, option) {
                        push(name, option_value(doc, option), false);
                    }
                }
            }
            "checkbox" | "radio" => {
                if look.fields.is_checked(doc, id) {
                    push(name, look.fields.value(look, id), false);
                }
            }
            "file" => push(name, String::new(), true),
            "hidden" if name.eq_ignore_ascii_case("_charset_") && !doc.has(id, "value") => {
                push(name, encoding.name().to_owned(), false);
            }
            "button" => {
                let value = doc.attr(id, "value").unwrap_or_default();
                push(name, value.to_owned(), false);
            }
            _ => push(name, look.fields.value(look, id), false),
        }
        if let Some(direction) = doc.attr(id, "dirname").filter(|d| !d.is_empty())
            && matches!(kind, "text" | "search" | "textarea")
        {
            push(direction, "ltr".to_owned(), false);
        }
    }
    entries
}

/// Prepares a form to be sent.
pub(super) fn submit(look: &Look<'_>, form: Id, submitter: Option<Id>) -> Submit {
    let doc = look.doc;
    // What a submitter says goes before what the form says.
    let own = |name: &str, of_form: &str| {
        let by_button = submitter.and_then(|s| doc.attr(s, name));
        by_button.or_else(|| doc.attr(form, of_form))
    };
    let method = own("formmethod", "method").unwrap_or("get").trim();
    if method.eq_ignore_ascii_case("dialog") {
        return Submit::Dialog;
    }
    let unchecked =
        doc.has(form, "novalidate") || submitter.is_some_and(|s| doc.has(s, "formnovalidate"));
    if !unchecked {
        let wrong: Vec<(Id, String)> = controls(doc, form)
            .filter(|id| !barred(doc, *id))
            .filter_map(|id| Some((id, look.fields.fault(look, id)?)))
            .collect();
        if !wrong.is_empty() {
            return Submit::Invalid(wrong);
        }
    }
    let accepted = doc.attr(form, "accept-charset").unwrap_or_default();
    let encoding = accepted
        .split([' ', ','])
        .find_map(|label| Encoding::for_label(label.as_bytes()))
        .unwrap_or(doc.encoding)
        .output_encoding();
    let entries = entries(look, form, submitter, encoding);
    let action = own("formaction", "action").unwrap_or_default().trim();
    let address = if action.is_empty() {
        Some(doc.url.clone())
    } else {
        doc.resolve(action)
    };
    let Some(mut url) = address else {
        return Submit::Nowhere(action.to_owned());
    };
    let target = own("formtarget", "target")
        .map(str::to_owned)
        .or_else(|| doc.base_target.clone());
    let mut request = if method.eq_ignore_ascii_case("post") {
        let kind = own("formenctype", "enctype").unwrap_or_default().trim();
        let body = if kind.eq_ignore_ascii_case("multipart/form-data") {
            multipart(&entries, encoding)
        } else if kind.eq_ignore_ascii_case("text/plain") {
            plain(&entries, encoding)
        } else {
            let text = urlencoded(&entries, encoding);
            Body {
                kind: "application/x-www-form-urlencoded".to_owned(),
                bytes: text.into_bytes(),
            }
        };
        Request {
            body: Some(body),
            method: "POST".to_owned(),
            ..Request::get(url)
        }
    } else {
        url.set_query(Some(&urlencoded(&entries, encoding)));
        Request::get(url)
    };
    request.referrer = Some(doc.url.clone());
    Submit::Send(Box::new(Submission { request, target }))
}

/// Line breaks as forms send them.
fn crlf(text: &str) -> String {
    text.replace("\r\n", "\n")
        .replace('\r', "\n")
        .replace('\n', "\r\n")
}

fn urlencoded(entries: &[Entry], encoding: &'static Encoding) -> String {
    let encode: &dyn Fn(&str) -> Cow<'_, [u8]> =
        &|text| Cow::Owned(encoding.encode(text).0.into_owned());
    let mut out = Serializer::new(String::new());
    if encoding != encoding_rs::UTF_8 {
        out.encoding_override(Some(encode));
    }
    for entry in entries {
        out.append_pair(&crlf(&entry.name), &crlf(&entry.value));
    }
    out.finish()
}

fn plain(entries: &[Entry], encoding: &'static Encoding) -> Body {
    let mut text = String::new();
    for entry in entries {
        text.push_str(&format!("{}={}\r\n", entry.name, crlf(&entry.value)));
    }
    let (bytes, _, _) = encoding.encode(&text);
    Body {
        kind: "text/plain".to_owned(),
        bytes: bytes.into_owned(),
    }
}

fn multipart(entries: &[Entry], encoding: &'static Encoding) -> Body {
    let quoted = |text: &str| {
        text.replace("\r\n", "%0D%0A")
            .replace(['\r', '\n'], "%0A")
            .replace('"', "%22")
    };
    // The same form gives the same bytes: the boundary depends on what it must not occur in.
    let mut boundary = "----branchline0".to_owned();
    while entries
        .iter()
        .any(|e| e.value.contains(&boundary) || e.name.contains(&boundary))
    {
        boundary.push('0');
    }
    let mut bytes = Vec::new();
    for entry in entries {
        let mut part = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"",
            quoted(&crlf(&entry.name))
        );
        if entry.file {
            part.push_str("; filename=\"\"\r\nContent-Type: application/octet-stream");
        }
        part.push_str(&format!("\r\n\r\n{}\r\n", crlf(&entry.value)));
        bytes.extend_from_slice(&encoding.encode(&part).0);
    }
    let end = format!("--{boundary}--\r\n");
    bytes.extend_from_slice(end.as_bytes());
    Body {
        kind: format!("multipart/form-data; boundary={boundary}"),
        bytes,
    }
}

/// Where a GET of this URL would lead is not changed by its fragment.
pub(super) fn same_document(a: &Url, b: &Url) -> bool {
    let (mut a, mut b) = (a.clone(), b.clone());
    a.set_fragment(None);
    b.set_fragment(None);
    a == b
}

#[cfg(test)]
mod tests {
    use super::super::document::Facts;
    use super::super::fields::Fields;
    use super::*;

    const FORM: &str = r#"<form id=f action="/send?old=1" method=post accept-charset=utf-8>
        <input name=a value="x y"><input name=b type=checkbox checked><input name=c type=checkbox>
        <input type=radio name=r value=1><input type=radio name=r value=2 checked>
        <select name=s><option value=v1>One<option selected>Two  words</select>
        <select name=m multiple><option selected>p<option selected disabled>q<option selected>r</select>
        <textarea name=t>
line1
line2</textarea>
        <input type=file name=up><input type=hidden name=_charset_><input name="">
        <fieldset disabled><legend><input name=legend value=1></legend><input name=no value=1></fieldset>
        <input type=image name=img width=20 height=10><button name=go value=1>Go</button>
        <button name=other formmethod=get formaction=/get formtarget=_blank>Other</button></form>
        <input name=outside form=f value=o>"#;

    fn sent(markup: &str, button: Option<&str>) -> Submit {
        let url = Url::parse("http://a.test/page").unwrap();
        let doc = Document::parse(&url, markup.into(), encoding_rs::UTF_8, Facts::default());
        let fields = Fields::default();
        let look = Look {
            doc: &doc,
            fields: &fields,
        };
        let form = (0..doc.len()).find(|id| doc.tag(*id) == "form").unwrap();
        let button = button.map(|name| {
            (0..doc.len())
                .find(|id| doc.attr(*id, "name") == Some(name))
                .unwrap()
        });
        submit(&look, form, button)
    }

    fn request(submit: Submit) -> (String, Option<Body>) {
        match submit {
            Submit::Send(s) => (
                format!("{} {}", s.request.method, s.request.url),
                s.request.body,
            ),
            other => panic!("{other:?}"),
        }
    }

    fn text(body: Option<Body>) -> String {
        String::from_utf8(body.unwrap().bytes).unwrap()
    }

    #[test]
    fn entries_are_what_the_standard_says() {
        let (line, body) = request(sent(FORM, Some("go")));
        assert_eq!(line, "POST http://a.test/send?old=1");
        assert_eq!(
            text(body),
            "a=x+y&b=on&r=2&s=Two+words&m=p&m=r&t=line1%0D%0Aline2&up=&_charset_=UTF-8&legend=1&go=1&outside=o"
        );
        let (line, body) = request(sent(FORM, Some("other")));
        assert!(
            line.starts_with("GET http://a.test/get?a=x+y&") && line.contains("&other=&outside=o"),
            "{line}"
        );
        assert!(body.is_none());
        let (_, body) = request(sent(FORM, Some("img")));
        let image = text(body);
        assert!(image.contains("img.x=10&img.y=5"), "{image}");
    }

    #[test]
    fn encodings() {
        let form = |kind: &str| {
            format!(
                "<form method=post enctype='{kind}'><input name='a\"b' value=ü><input type=file name=f></form>"
            )
        };
        let (_, body) = request(sent(&form("multipart/form-data"), None));
        insta::assert_snapshot!(text(body).replace('\r', ""), @r#"
        ------branchline0
        Content-Disposition: form-data; name="a%22b"

        ü
        ------branchline0
        Content-Disposition: form-data; name="f"; filename=""
        Content-Type: application/octet-stream


        ------branchline0--
        "#);
        let (_, body) = request(sent(&form("text/plain"), None));
        assert_eq!(text(body), "a\"b=ü\r\nf=\r\n");
        let latin = "<form accept-charset=latin1><input name=a value=üあ></form>";
        let (line, _) = request(sent(latin, None));
        assert_eq!(line, "GET http://a.test/page?a=%FC%26%2312354%3B");
    }

    #[test]
    fn a_wrong_form_is_not_sent() {
        let form = "<form><input name=a required><input type=number name=n max=5 value=9>\
                    <input type=email name=e value=x><button>Go</button></form>";
        let Submit::Invalid(wrong) = sent(form, None) else {
            panic!("it was sent")
        };
        let reasons: Vec<&str> = wrong.iter().map(|(_, why)| why.as_str()).collect();
        assert_eq!(
            reasons,
            [
                "must be filled in",
                "must be at most 5",
                "is no e-mail address"
            ]
        );
        assert!(matches!(
            sent(&form.replace("<form>", "<form novalidate>"), None),
            Submit::Send(_)
        ));
        assert!(matches!(
            sent("<form method=dialog></form>", None),
            Submit::Dialog
        ));
        assert!(matches!(
            sent("<form action=javascript:x></form>", None),
            Submit::Nowhere(_)
        ));
    }
}
