//! From a request to a frame: documents, the frames inside them, pages that send on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use url::Url;

use super::act::Refusal;
use super::document::{Document, Facts, Id, encoding_of};
use super::fetch::{Dealings, FetchError, Network, Reply, Request};
use super::state::Frame;
use crate::context::Cx;
use crate::types::{Digest, Notice, NoticeKind, Rejection};

/// Frames nested deeper than this are not read.
const MAX_FRAME_DEPTH: usize = 5;
/// Frames of one page.
const MAX_FRAMES: usize = 24;
/// Pages that send on at once, one after the other.
const MAX_REFRESHES: usize = 10;

/// What a response is.
pub(super) enum Loaded {
    Frame(Box<Frame>),
    /// No document: the page stays.
    Nothing(Option<Notice>),
}

/// Documents that are in use, by content: the same response is parsed once.
#[derive(Debug, Default)]
pub(super) struct Library {
    shelves: Mutex<HashMap<Digest, Weak<Document>>>,
}

impl Library {
    fn document(&self, key: Digest, parse: impl FnOnce() -> Document) -> Arc<Document> {
        let lock = || self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&key).and_then(Weak::upgrade) {
            return known;
        }
        // Parsed outside the lock: two lanes may do the same work, neither waits.
        let document = Arc::new(parse());
        let mut shelves = lock();
        if shelves.len() % 64 == 63 {
            shelves.retain(|_, known| known.strong_count() > 0);
        }
        shelves.insert(key, Arc::downgrade(&document));
        document
    }
}

/// What loading needs.
pub(super) struct Loader<'a> {
    pub network: &'a Network,
    pub library: &'a Library,
    pub dealings: Dealings<'a>,
    pub notices: &'a mut Vec<Notice>,
    pub cx: &'a Cx,
}

impl Loader<'_> {
    fn notice(&mut self, kind: NoticeKind, text: String) {
        self.notices.push(Notice { kind, text });
    }

    /// Loads a document with its frames, and what it sends on to at once.
    pub(super) async fn load(&mut self, request: Request) -> Result<Loaded, Refusal> {
        let mut request = request;
        for _ in 0..=MAX_REFRESHES {
            let loaded = self.one(&request).await?;
            let Loaded::Frame(mut frame) = loaded else {
                return Ok(loaded);
            };
            let next = frame.doc.refresh.clone();
            if let Some((0.0, url)) = next.filter(|(_, url)| *url != frame.doc.url) {
                request = Request {
                    referrer: Some(frame.doc.url.clone()),
                    ..Request::get(self.network.logical(&url))
                };
                continue;
            }
            let mut left = MAX_FRAMES;
            self.frames(&mut frame, &mut vec![request.url.clone()], &mut left)
                .await?;
            self.remark(&frame);
            return Ok(Loaded::Frame(frame));
        }
        Err(Refusal::Rejected(Rejection::new(format!(
            "{} sends on to another page more than {MAX_REFRESHES} times",
            request.url
        ))))
    }

    /// Says what an agent would otherwise wonder about.
    fn remark(&mut self, frame: &Frame) {
        let doc = &frame.doc;
        if doc.facts.cut {
            let text = "the document is larger than what is read of one; its end is left out";
            self.notice(NoticeKind::Other, text.to_owned());
        }
        if doc.scripts {
            let text = "this page has scripts, which do not run here: parts of it may be missing";
            self.notice(NoticeKind::Other, text.to_owned());
        }
        if let Some((seconds, url)) = &doc.refresh {
            let text = if *url == doc.url {
                format!("the page reloads itself every {seconds} s (wait does it)")
            } else {
                format!("the page goes to {url} after {seconds} s (wait does it)")
            };
            self.notice(NoticeKind::Other, text);
        }
    }

    async fn one(&mut self, request: &Request) -> Result<Loaded, Refusal> {
        let reply = self
            .network
            .fetch(request.clone(), &mut self.dealings, self.cx)
            .await?;
        Ok(interpret(&reply, self.library))
    }

    async fn frames(
        &mut self,
        frame: &mut Frame,
        around: &mut Vec<Url>,
        left: &mut usize,
    ) -> Result<(), Refusal> {
        if around.len() > MAX_FRAME_DEPTH {
            return Ok(());
        }
        let doc = Arc::clone(&frame.doc);
        let elements: Vec<Id> = (0..doc.len())
            .filter(|id| matches!(doc.tag(*id), "iframe" | "frame"))
            .filter(|id| frame.look().is_shown(*id))
            .collect();
        for id in elements {
            if *left == 0 {
                let text = format!("the page has more than {MAX_FRAMES} frames; not all are read");
                self.notice(NoticeKind::Other, text);
                return Ok(());
            }
            let Some(mut inside) = self.frame(&doc, id, around).await? else {
                continue;
            };
            *left -= 1;
            around.push(inside.doc.url.clone());
            Box::pin(self.frames(&mut inside, around, left)).await?;
            around.pop();
            frame.frames.insert(id, inside);
        }
        Ok(())
    }

    /// The document of one frame element, if it has one.
    async fn frame(
        &mut self,
        doc: &Document,
        id: Id,
        around: &[Url],
    ) -> Result<Option<Frame>, Refusal> {
        if let Some(source) = doc.attr(id, "srcdoc") {
            let facts = Facts {
                status: 200,
                ..Facts::default()
            };
            let mut inside = Document::parse(&doc.url, source.into(), encoding_rs::UTF_8, facts);
            inside.base = doc.base.clone();
            return Ok(Some(Frame::new(Arc::new(inside))));
        }
        let Some(url) = doc.attr(id, "src").and_then(|src| doc.resolve(src)) else {
            return Ok(None);
        };
        let url = self.network.logical(&url);
        if around.iter().any(|a| super::form::same_document(a, &url)) {
            return Ok(None);
        }
        let request = Request {
            referrer: Some(doc.url.clone()),
            ..Request::get(url)
        };
        match self.one(&request).await {
            Ok(Loaded::Frame(frame)) => {
                if frame.doc.facts.unframed && frame.doc.url.origin() != doc.url.origin() {
                    let text = format!("the frame {} refuses to be in a frame", frame.doc.url);
                    self.notice(NoticeKind::Network, text);
                    return Ok(None);
                }
                Ok(Some(*frame))
            }
            Ok(Loaded::Nothing(notice)) => {
                self.notices.extend(notice);
                Ok(None)
            }
            // A foreign frame that does not load is part of how the page is.
            Err(Refusal::Rejected(rejection)) => {
                self.notice(
                    NoticeKind::Network,
                    format!("a frame: {}", rejection.reason),
                );
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }
}

impl From<FetchError> for Refusal {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Interrupted(why) => Self::Interrupted(why),
            FetchError::Held => Self::Held,
            FetchError::Failed {
                uncertain: true, ..
            } => Self::Lost(format!("{error}; it writes, and may have arrived")),
            // The task's own site must work; that a foreign address leads nowhere is how it is.
            FetchError::Failed { own: true, .. } => Self::Fault(error.to_string()),
            FetchError::Failed { .. } => Self::Rejected(Rejection::new(error.to_string())),
        }
    }
}

/// Makes a document of a response, or says what it is instead.
fn interpret(reply: &Reply, library: &Library) -> Loaded {
    if matches!(reply.status, 204 | 205) {
        return Loaded::Nothing(None);
    }
    let given = reply.header("content-type").unwrap_or_default();
    let mut parts = given.split(';');
    let kind = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    let charset = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("charset").then_some(value)
    });
    let says = |name: &str, word: &str| {
        reply
            .header(name)
            .is_some_and(|v| v.to_ascii_lowercase().contains(word))
    };
    let download = |what: &str| {
        let name = reply.url.path().rsplit('/').next().unwrap_or_default();
        Loaded::Nothing(Some(Notice {
            kind: NoticeKind::Download,
            text: format!("the download {name} ({}) was refused: {what}", reply.url),
        }))
    };
    if says("content-disposition", "attachment") {
        return download(&kind);
    }
    if let Some(coding) = reply.header("content-encoding")
        && !coding.eq_ignore_ascii_case("identity")
    {
        return download(&format!(
            "it is encoded as {coding}, which was not asked for"
        ));
    }
    let markup = matches!(kind.as_str(), "text/html" | "application/xhtml+xml")
        || kind.is_empty() && looks_like_markup(&reply.body);
    let text = kind.starts_with("text/")
        || kind.is_empty()
        || ["json", "xml", "javascript"]
            .iter()
            .any(|w| kind.ends_with(w));
    let image = kind.starts_with("image/");
    if !(markup || text || image) || kind.is_empty() && reply.body.contains(&0) {
        return download(&kind);
    }
    let facts = Facts {
        status: reply.status,
        by_get: reply.by_get,
        no_store: says("cache-control", "no-store"),
        cut: reply.cut,
        refresh: reply.header("refresh").map(str::to_owned),
        unframed: says("x-frame-options", "deny") || says("x-frame-options", "sameorigin"),
    };
    let mut key = blake3::Hasher::new();
    key.update(format!("{}\n{given}\n{facts:?}\n", reply.url).as_bytes());
    key.update(&reply.body);
    let key = Digest::of(key.finalize().as_bytes());
    let document = library.document(key, || {
        if image {
            let alt = reply.url.path().rsplit('/').next().unwrap_or_default();
            let alt = alt.replace('&', "&amp;").replace('"', "&quot;");
            let source = format!("<img alt=\"{alt}\">");
            return Document::parse(&reply.url, source.into(), encoding_rs::UTF_8, facts);
        }
        let encoding = match charset {
            // What is no markup declares nothing inside.
            None if !markup => encoding_rs::UTF_8,
            charset => encoding_of(&reply.body, charset),
        };
        let (source, encoding, _) = encoding.decode(&reply.body);
        if markup {
            Document::parse(&reply.url, source.into(), encoding, facts)
        } else {
            Document::plain(&reply.url, &source, encoding, facts)
        }
    });
    Loaded::Frame(Box::new(Frame::new(document)))
}

fn looks_like_markup(body: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&body[..body.len().min(512)]).to_ascii_lowercase();
    let head = head.trim_start();
    [
        "<!doctype html",
        "<html",
        "<head",
        "<body",
        "<title",
        "<h1",
        "<p",
        "<div",
        "<a ",
        "<table",
    ]
    .iter()
    .any(|start| head.starts_with(start))
}
