//! A document: bytes to text to a tree, with the relations between its parts that forms need.
//!
//! The tree is a flat list in document order, so that a subtree is a range and a document can be
//! shared between threads and states. It never changes after parsing: what an agent does to a page
//! is kept beside it.

use std::borrow::Cow;
use std::cell::{Cell, Ref, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use encoding_rs::Encoding;
use html5ever::interface::{ElementFlags, NodeOrText, QuirksMode};
use html5ever::tendril::{StrTendril, TendrilSink};
use html5ever::tree_builder::{TreeBuilderOpts, TreeSink};
use html5ever::{Attribute, LocalName, ParseOpts, QualName};
use scraper::{ElementRef, Html, HtmlTreeSink, Selector};
use url::Url;

/// An index into a document's nodes.
pub(super) type Id = usize;

/// The document node itself.
pub(super) const ROOT: Id = 0;

#[derive(Debug)]
enum Kind {
    Root,
    Text(Box<str>),
    Element {
        tag: LocalName,
        attrs: Vec<(LocalName, Box<str>)>,
    },
}

#[derive(Debug)]
struct Node {
    parent: Id,
    /// One past the last node of the subtree.
    end: Id,
    kind: Kind,
}

/// What a response says beside its text.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct Facts {
    /// Status; 200 for a document that came by no response.
    pub status: u16,
    /// It answers a request that changes nothing, which can be sent again.
    pub by_get: bool,
    /// `Cache-Control: no-store`: going back loads it again.
    pub no_store: bool,
    /// It was larger than what is read of a page.
    pub cut: bool,
    /// The `Refresh` header.
    pub refresh: Option<String>,
    /// It does not want to be in a frame of another site.
    pub unframed: bool,
}

/// A parsed document.
#[derive(Debug)]
pub(super) struct Document {
    /// Where it came from, by logical origin, without fragment.
    pub url: Url,
    /// What relative addresses are relative to.
    pub base: Url,
    /// The target that links and forms of this document have by default.
    pub base_target: Option<String>,
    pub source: Arc<str>,
    pub encoding: &'static Encoding,
    pub title: String,
    pub facts: Facts,
    /// Where it wants to go by itself, and after how many seconds.
    pub refresh: Option<(f64, Url)>,
    /// Whether it has scripts, which do not run here.
    pub scripts: bool,
    nodes: Vec<Node>,
    ids: HashMap<Box<str>, Id>,
    /// Labels of a control, in document order.
    labels: HashMap<Id, Vec<Id>>,
    /// The control of a label.
    controls: HashMap<Id, Id>,
    /// The form that the parser gave a control to.
    owners: HashMap<Id, Id>,
}

/// Collapses white space as a reader would.
pub(super) fn squash(text: &str) -> String {
    let blank = |c: char| c.is_whitespace() || matches!(c, '\u{200b}' | '\u{ad}' | '\u{feff}');
    let mut out = String::with_capacity(text.len());
    for part in text.split(blank).filter(|part| !part.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(part);
    }
    out
}

/// The encoding of a page: its byte order mark, else the header's, else what its head declares,
/// else what browsers fall back to.
pub(super) fn encoding_of(bytes: &[u8], header: Option<&str>) -> &'static Encoding {
    /// Browsers look this far for a declaration.
    const PRESCAN: usize = 1024;
    if let Some((encoding, _)) = Encoding::for_bom(bytes) {
        return encoding;
    }
    let named = |label: &str| Encoding::for_label(label.trim().as_bytes());
    if let Some(encoding) = header.and_then(named) {
        return encoding;
    }
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(PRESCAN)]).to_ascii_lowercase();
    let mut rest = head.as_str();
    while let Some(at) = rest.find("<meta") {
        rest = &rest[at + 5..];
        let tag = &rest[..rest.find('>').unwrap_or(rest.len())];
        let label = tag.find("charset").and_then(|at| {
            let value = tag[at + 7..].trim_start().strip_prefix('=')?;
            let value = value.trim_start().trim_start_matches(['"', '\'']);
            let end = value.find(['"', '\'', ' ', ';', '/']);
            named(&value[..end.unwrap_or(value.len())])
        });
        match label {
            // What could be read as ASCII so far is no UTF-16, whatever it says.
            Some(encoding) if encoding.is_ascii_compatible() => return encoding,
            Some(_) => return encoding_rs::UTF_8,
            None => {}
        }
    }
    encoding_rs::WINDOWS_1252
}

impl Document {
    /// Parses markup. Nothing in it is refused: the parser repairs as browsers do.
    pub(super) fn parse(
        url: &Url,
        source: Arc<str>,
        encoding: &'static Encoding,
        facts: Facts,
    ) -> Self {
        let (html, owners, deep) = tree(&source);
        let mut facts = facts;
        facts.cut |= deep;
        let mut plain = url.clone();
        plain.set_fragment(None);
        let mut document = Self {
            base: plain.clone(),
            url: plain,
            base_target: None,
            source,
            encoding,
            title: String::new(),
            facts,
            refresh: None,
            scripts: false,
            nodes: Vec::new(),
            ids: HashMap::new(),
            labels: HashMap::new(),
            controls: HashMap::new(),
            owners: HashMap::new(),
        };
        document.flatten(&html, &owners);
        document.relate();
        document
    }

    /// A document that is text and nothing else, as a browser shows one.
    pub(super) fn plain(url: &Url, text: &str, encoding: &'static Encoding, facts: Facts) -> Self {
        let escaped = text.replace('&', "&amp;").replace('<', "&lt;");
        Self::parse(url, format!("<pre>{escaped}</pre>").into(), encoding, facts)
    }

    fn flatten(&mut self, html: &Html, owners: &Owners) {
        use ego_tree::iter::Edge;
        self.nodes.push(Node {
            parent: ROOT,
            end: 0,
            kind: Kind::Root,
        });
        let mut new = HashMap::new();
        let mut open = vec![ROOT];
        // Inside a template: its content is no part of the document.
        let mut inert = 0_usize;
        for edge in html.tree.root().traverse().skip(1) {
            match edge {
                Edge::Open(node) => {
                    let kind = match node.value() {
                        scraper::Node::Fragment => {
                            inert += 1;
                            continue;
                        }
                        _ if inert > 0 => continue,
                        scraper::Node::Text(text) => Kind::Text((&**text).into()),
                        scraper::Node::Element(element) => Kind::Element {
                            tag: element.name.local.clone(),
                            attrs: element
                                .attrs
                                .iter()
                                .map(|(name, value)| (name.local.clone(), (&**value).into()))
                                .collect(),
                        },
                        _ => continue,
                    };
                    let id = self.nodes.len();
                    let element = matches!(kind, Kind::Element { .. });
                    let parent = open.last().copied().unwrap_or(ROOT);
                    self.nodes.push(Node {
                        parent,
                        end: id + 1,
                        kind,
                    });
                    if element {
                        new.insert(node.id(), id);
                        open.push(id);
                    }
                }
                Edge::Close(node) => match node.value() {
                    scraper::Node::Fragment => inert = inert.saturating_sub(1),
                    scraper::Node::Element(_) if inert == 0 => {
                        let end = self.nodes.len();
                        if let Some(id) = open.pop() {
                            self.nodes[id].end = end;
                        }
                    }
                    _ => {}
                },
            }
        }
        self.nodes[ROOT].end = self.nodes.len();
        self.owners = owners
            .iter()
            .filter_map(|(control, form)| Some((*new.get(control)?, *new.get(form)?)))
            .collect();
    }

    /// Ids, labels, title, base, refresh: what is looked up again and again.
    fn relate(&mut self) {
        let mut title = None;
        let (mut base, mut target, mut refresh) = (None, None, self.facts.refresh.clone());
        for id in 0..self.nodes.len() {
            if let Some(name) = self.attr(id, "id").filter(|name| !name.is_empty())
                && !self.ids.contains_key(name)
            {
                self.ids.insert(name.into(), id);
            }
            match self.tag(id) {
                "title" if title.is_none() && !self.within(id, "svg") => {
                    title = Some(squash(&self.raw_text(id)));
                }
                "base" => {
                    base = base.or_else(|| self.attr(id, "href").map(str::to_owned));
                    target = target.or_else(|| self.attr(id, "target").map(str::to_owned));
                }
                "meta"
                    if refresh.is_none()
                        && self
                            .attr(id, "http-equiv")
                            .is_some_and(|e| e.eq_ignore_ascii_case("refresh")) =>
                {
                    refresh = self.attr(id, "content").map(str::to_owned);
                }
                "script" => {
                    let kind = self.attr(id, "type").unwrap_or_default();
                    self.scripts |= kind.is_empty()
                        || kind.contains("javascript")
                        || kind.contains("ecmascript")
                        || kind == "module";
                }
                _ => {}
            }
        }
        self.title = title.unwrap_or_default();
        self.base_target = target.filter(|target| !target.is_empty());
        if let Some(base) = base.and_then(|base| self.url.join(base.trim()).ok())
            && matches!(base.scheme(), "http" | "https")
        {
            self.base = base;
        }
        self.refresh = refresh.and_then(|text| self.parse_refresh(&text));
        for label in 0..self.nodes.len() {
            if self.tag(label) != "label" {
                continue;
            }
            let control = match self.attr(label, "for") {
                Some(name) => self.by_id(name).filter(|id| self.is_labelable(*id)),
                None => self.descendants(label).find(|id| self.is_labelable(*id)),
            };
            if let Some(control) = control {
                self.labels.entry(control).or_default().push(label);
                self.controls.insert(label, control);
            }
        }
    }

    /// `5; url=/next`, with or without quotes; without an address the page itself is meant.
    fn parse_refresh(&self, text: &str) -> Option<(f64, Url)> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (seconds, rest) = text.split_at(end.unwrap_or(text.len()));
        let seconds: f64 = seconds.split('.').next()?.parse().ok()?;
        let rest = rest.trim_start_matches([';', ',', ' ', '\t', '\n']);
        let address = match rest.get(..3) {
            Some(word) if word.eq_ignore_ascii_case("url") => rest[3..]
                .trim_start()
                .strip_prefix('=')
                .map_or(rest, str::trim_start),
            _ => rest,
        };
        let address = address.trim_matches(['"', '\'', ' ']);
        let url = if address.is_empty() {
            self.url.clone()
        } else {
            self.base.join(address).ok()?
        };
        matches!(url.scheme(), "http" | "https").then_some((seconds, url))
    }

    /// How many nodes it has.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Bytes that keeping it costs, roughly.
    pub(super) fn weight(&self) -> usize {
        self.source.len() * 3 + self.nodes.len() * size_of::<Node>()
    }

    /// The tag in lower case; empty for what is no element.
    pub(super) fn tag(&self, id: Id) -> &str {
        match &self.nodes[id].kind {
            Kind::Element { tag, .. } => tag,
            Kind::Root | Kind::Text(_) => "",
        }
    }

    pub(super) fn is_element(&self, id: Id) -> bool {
        matches!(self.nodes[id].kind, Kind::Element { .. })
    }

    /// The data of a text node.
    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match &self.nodes[id].kind {
            Kind::Text(text) => Some(text),
            Kind::Root | Kind::Element { .. } => None,
        }
    }

    pub(super) fn attr(&self, id: Id, name: &str) -> Option<&str> {
        match &self.nodes[id].kind {
            Kind::Element { attrs, .. } => attrs
                .iter()
                .find(|(attr, _)| &**attr == name)
                .map(|(_, value)| &**value),
            Kind::Root | Kind::Text(_) => None,
        }
    }

    pub(super) fn has(&self, id: Id, name: &str) -> bool {
        self.attr(id, name).is_some()
    }

    /// Whether an attribute has this value, case aside.
    pub(super) fn is(&self, id: Id, name: &str, value: &str) -> bool {
        self.attr(id, name)
            .is_some_and(|v| v.trim().eq_ignore_ascii_case(value))
    }

    pub(super) fn parent(&self, id: Id) -> Option<Id> {
        (id != ROOT).then(|| self.nodes[id].parent)
    }

    pub(super) fn children(&self, id: Id) -> impl Iterator<Item = Id> + '_ {
        let (mut next, end) = (id + 1, self.nodes[id].end);
        std::iter::from_fn(move || {
            let child = (next < end).then_some(next)?;
            next = self.nodes[child].end;
            Some(child)
        })
    }

    pub(super) fn descendants(&self, id: Id) -> std::ops::Range<Id> {
        id + 1..self.nodes[id].end
    }

    /// Elements around this one, nearest first.
    pub(super) fn ancestors(&self, id: Id) -> impl Iterator<Item = Id> + '_ {
        std::iter::successors(self.parent(id), |id| self.parent(*id))
    }

    /// Whether an element of this tag is around it.
    pub(super) fn within(&self, id: Id, tag: &str) -> bool {
        self.ancestors(id).any(|a| self.tag(a) == tag)
    }

    pub(super) fn by_id(&self, name: &str) -> Option<Id> {
        self.ids.get(name).copied()
    }

    /// All text of a subtree as it stands.
    pub(super) fn raw_text(&self, id: Id) -> String {
        self.descendants(id).filter_map(|n| self.text(n)).collect()
    }

    pub(super) fn labels(&self, control: Id) -> &[Id] {
        self.labels.get(&control).map_or(&[], Vec::as_slice)
    }

    pub(super) fn control(&self, label: Id) -> Option<Id> {
        self.controls.get(&label).copied()
    }

    fn is_labelable(&self, id: Id) -> bool {
        match self.tag(id) {
            "button" | "meter" | "output" | "progress" | "select" | "textarea" => true,
            "input" => !self.is(id, "type", "hidden"),
            _ => false,
        }
    }

    /// The form a control belongs to: by its `form` attribute, else as the parser gave it.
    pub(super) fn form_of(&self, control: Id) -> Option<Id> {
        if let Some(name) = self.attr(control, "form") {
            return self.by_id(name).filter(|id| self.tag(*id) == "form");
        }
        let parsed = self.owners.get(&control).copied();
        parsed.or_else(|| self.ancestors(control).find(|a| self.tag(*a) == "form"))
    }

    /// An address as this document means it; only http and https.
    pub(super) fn resolve(&self, address: &str) -> Option<Url> {
        let url = self.base.join(address.trim()).ok()?;
        matches!(url.scheme(), "http" | "https").then_some(url)
    }

    /// The inner text of the first element a selector finds, as a reader would see it: `None` if
    /// there is none.
    pub(super) fn select(&self, selector: &Selector) -> Option<Id> {
        // The parser's own tree is not kept: a question of an evaluator is rare.
        let (html, ..) = tree(&self.source);
        let found = html.select(selector).next()?;
        // The place among elements in document order, templates aside, is the same in both trees.
        let outside = |node: &ego_tree::NodeRef<'_, scraper::Node>| {
            !node.ancestors().any(|a| a.value().is_fragment())
        };
        let index = html
            .tree
            .root()
            .descendants()
            .filter(|node| ElementRef::wrap(*node).is_some() && outside(node))
            .position(|node| node.id() == found.id())?;
        (0..self.len()).filter(|id| self.is_element(*id)).nth(index)
    }
}

/// Parses markup, up to the place where it nests deeper than any page: the parser's time grows with
/// the square of the depth. Browsers stop at 512.
fn tree(source: &str) -> (Html, Owners, bool) {
    const CHUNK: usize = 4096;
    const DEEPEST: usize = 1000;
    let options = ParseOpts {
        tree_builder: TreeBuilderOpts {
            // Nothing runs here: what a page says to those without scripts is for us.
            scripting_enabled: false,
            ..TreeBuilderOpts::default()
        },
        ..ParseOpts::default()
    };
    let depth = Rc::new(Cell::new(0));
    let sink = Sink {
        inner: HtmlTreeSink::new(Html::new_document()),
        owners: RefCell::default(),
        appended: Cell::new(0),
        depth: Rc::clone(&depth),
    };
    let mut parser = html5ever::parse_document(sink, options);
    let mut rest = source;
    while !rest.is_empty() && depth.get() < DEEPEST {
        let mut at = rest.len().min(CHUNK);
        while !rest.is_char_boundary(at) {
            at += 1;
        }
        let (chunk, more) = rest.split_at(at);
        parser.process(StrTendril::from(chunk));
        rest = more;
    }
    let (html, owners) = parser.finish();
    (html, owners, !rest.is_empty())
}

type Owners = HashMap<ego_tree::NodeId, ego_tree::NodeId>;

/// Scraper's tree, and beside it which control the parser gave to which form: with markup such as
/// `<table><form><tr>` no tree tells.
struct Sink {
    inner: HtmlTreeSink,
    owners: RefCell<Owners>,
    appended: Cell<usize>,
    /// How deep the tree was when it was last measured.
    depth: Rc<Cell<usize>>,
}

impl TreeSink for Sink {
    type Output = (Html, Owners);
    type Handle = ego_tree::NodeId;
    type ElemName<'a> = Ref<'a, QualName>;

    fn finish(self) -> Self::Output {
        (self.inner.finish(), self.owners.into_inner())
    }
    // A page can hold a million errors; nobody reads them.
    fn parse_error(&self, _message: Cow<'static, str>) {}
    fn get_document(&self) -> Self::Handle {
        self.inner.get_document()
    }
    fn elem_name<'a>(&'a self, target: &'a Self::Handle) -> Self::ElemName<'a> {
        self.inner.elem_name(target)
    }
    fn create_element(
        &self,
        name: QualName,
        attrs: Vec<Attribute>,
        flags: ElementFlags,
    ) -> Self::Handle {
        self.inner.create_element(name, attrs, flags)
    }
    fn create_comment(&self, text: StrTendril) -> Self::Handle {
        self.inner.create_comment(text)
    }
    fn create_pi(&self, target: StrTendril, data: StrTendril) -> Self::Handle {
        self.inner.create_pi(target, data)
    }
    fn append(&self, parent: &Self::Handle, child: NodeOrText<Self::Handle>) {
        let appended = self.appended.get() + 1;
        self.appended.set(appended);
        if appended.is_multiple_of(64)
            && let Some(node) = self.inner.0.borrow().tree.get(*parent)
        {
            self.depth.set(node.ancestors().count());
        }
        self.inner.append(parent, child);
    }
    fn append_based_on_parent_node(
        &self,
        element: &Self::Handle,
        previous: &Self::Handle,
        child: NodeOrText<Self::Handle>,
    ) {
        self.inner
            .append_based_on_parent_node(element, previous, child);
    }
    fn append_doctype_to_document(&self, name: StrTendril, public: StrTendril, system: StrTendril) {
        self.inner.append_doctype_to_document(name, public, system);
    }
    fn get_template_contents(&self, target: &Self::Handle) -> Self::Handle {
        self.inner.get_template_contents(target)
    }
    fn same_node(&self, x: &Self::Handle, y: &Self::Handle) -> bool {
        x == y
    }
    fn set_quirks_mode(&self, mode: QuirksMode) {
        self.inner.set_quirks_mode(mode);
    }
    fn append_before_sibling(&self, sibling: &Self::Handle, new: NodeOrText<Self::Handle>) {
        self.inner.append_before_sibling(sibling, new);
    }
    fn add_attrs_if_missing(&self, target: &Self::Handle, attrs: Vec<Attribute>) {
        self.inner.add_attrs_if_missing(target, attrs);
    }
    fn associate_with_form(
        &self,
        target: &Self::Handle,
        form: &Self::Handle,
        _nodes: (&Self::Handle, Option<&Self::Handle>),
    ) {
        self.owners.borrow_mut().insert(*target, *form);
    }
    fn remove_from_parent(&self, target: &Self::Handle) {
        self.inner.remove_from_parent(target);
    }
    fn reparent_children(&self, node: &Self::Handle, parent: &Self::Handle) {
        self.inner.reparent_children(node, parent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(markup: &str) -> Document {
        let url = Url::parse("http://a.test/dir/page?q=1#f").unwrap();
        Document::parse(&url, markup.into(), encoding_rs::UTF_8, Facts::default())
    }

    fn find(document: &Document, tag: &str) -> Id {
        (0..document.len())
            .find(|id| document.tag(*id) == tag)
            .unwrap()
    }

    #[test]
    fn encodings_are_found_where_browsers_look() {
        let name = |bytes: &[u8], header| encoding_of(bytes, header).name();
        assert_eq!(name(b"\xef\xbb\xbfx", Some("latin1")), "UTF-8");
        assert_eq!(name(b"<meta charset=utf-8>", Some("koi8-r")), "KOI8-R");
        assert_eq!(name(b"<meta charset='shift_jis'>", None), "Shift_JIS");
        let long = b"<META http-equiv=Content-Type content='text/html; charset=ISO-8859-2'>";
        assert_eq!(name(long, Some("no such thing")), "ISO-8859-2");
        assert_eq!(name(b"<meta charset=utf-16>", None), "UTF-8");
        assert_eq!(name(b"plain", None), "windows-1252");
    }

    #[test]
    fn relations() {
        let d = document(
            "<title> A\n b </title><base href=/other/ target=_blank><label for=x>L</label><input id=x>\
             <template><input></template><form id=f></form><button form=f>B</button>",
        );
        assert_eq!(d.title, "A b");
        assert_eq!(d.url.as_str(), "http://a.test/dir/page?q=1");
        assert_eq!(d.resolve("y").unwrap().as_str(), "http://a.test/other/y");
        assert_eq!(d.resolve("mailto:a@b.c"), None);
        assert_eq!(d.base_target.as_deref(), Some("_blank"));
        let input = find(&d, "input");
        assert_eq!(d.labels(input), [find(&d, "label")]);
        assert_eq!(d.control(find(&d, "label")), Some(input));
        assert_eq!(d.form_of(find(&d, "button")), Some(find(&d, "form")));
        let inputs = (0..d.len()).filter(|id| d.tag(*id) == "input").count();
        assert_eq!(inputs, 1, "a template is no content");
    }

    #[test]
    fn a_form_in_a_table_owns_its_controls() {
        let d =
            document("<table><form><tr><td><input name=a></td></tr></form></table><input name=b>");
        let inputs: Vec<Id> = (0..d.len()).filter(|id| d.tag(*id) == "input").collect();
        assert_eq!(d.form_of(inputs[0]), Some(find(&d, "form")));
        assert_eq!(d.form_of(inputs[1]), None);
    }

    #[test]
    fn what_is_for_those_without_scripts_is_read() {
        let d = document("<body><noscript><a href=/plain>Plain</a></noscript><script>x</script>");
        assert_eq!(d.tag(find(&d, "a")), "a");
        assert!(d.scripts);
        assert!(!document("<script type=application/ld+json>{}</script>").scripts);
    }

    #[test]
    fn refreshes() {
        let refresh = |content: &str| {
            document(&format!("<meta http-equiv=Refresh content=\"{content}\">"))
                .refresh
                .map(|(seconds, url)| (seconds, url.to_string()))
        };
        assert_eq!(
            refresh("0; URL='/next'"),
            Some((0.0, "http://a.test/next".to_owned()))
        );
        assert_eq!(
            refresh("5"),
            Some((5.0, "http://a.test/dir/page?q=1".to_owned()))
        );
        assert_eq!(refresh("soon; url=/x"), None);
        assert_eq!(refresh("0;url=javascript:alert(1)"), None);
    }

    #[test]
    fn selectors_find_the_same_element() {
        let d = document(
            "<div><template><p>no</p></template><p class=a>one</p><p class=a>two</p></div>",
        );
        let found = d.select(&Selector::parse("p.a + p").unwrap()).unwrap();
        assert_eq!(d.raw_text(found), "two");
        assert_eq!(d.select(&Selector::parse("h1").unwrap()), None);
    }

    #[test]
    fn deep_nesting_and_broken_markup_are_survived() {
        let d = document(&"<div>".repeat(200_000));
        assert!(d.facts.cut && d.len() < 5_000, "{}", d.len());
        for broken in [
            "",
            "<",
            "<a href=",
            "</p></p>",
            "<!--",
            "\0<b\u{ffff}",
            "<table><td><select><b>",
        ] {
            document(broken);
        }
    }
}
