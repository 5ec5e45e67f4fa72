//! The state of a lane: a value.

use std::collections::BTreeMap;
use std::sync::Arc;

use cookie_store::CookieStore;
use serde::{Deserialize, Serialize};
use url::Url;

use super::document::{Document, Id};
use super::fields::Fields;
use super::walk::Look;
use crate::env::page::{Place, Row, mask_clocks, mask_url, render_rows};
use crate::types::{Action, Digest, Element, Notice, NoticeKind, Observation, Omitted, Tab};

/// Elements that count as one screen.
pub(super) const SCREEN: usize = 40;

/// An action that was carried out, with what repeating it needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Trodden {
    pub action: Action,
    /// Role and name of its target: a replay that finds another element there stops.
    pub target: Option<(String, String)>,
    /// Whether it sent a write.
    pub wrote: bool,
}

/// All there is of a lane, the server aside.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub cookies: Arc<CookieStore>,
    pub tabs: Vec<Window>,
    /// Index of the active tab.
    pub active: usize,
    /// The first reference that is free.
    pub next: u32,
    next_tab: u32,
    pub answer: Option<String>,
    pub terminal: bool,
    /// What led here.
    pub path: Arc<Vec<Trodden>>,
}

/// A tab.
#[derive(Debug, Clone)]
pub(super) struct Window {
    id: u32,
    opener: Option<u32>,
    pub history: Vec<Arc<Page>>,
    /// Index of the present entry.
    pub at: usize,
}

/// An entry of a tab's history: a document with its frames and what was done to them.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub top: Frame,
    pub fragment: Option<String>,
    /// Elements above the screen.
    pub scroll: usize,
    reading: Option<Arc<Reading>>,
}

/// A document in its frame.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub doc: Arc<Document>,
    pub fields: Fields,
    /// By their element.
    pub frames: BTreeMap<Id, Frame>,
    refs: BTreeMap<Id, u32>,
}

/// Where a frame is: the frame elements on the way from the top.
pub(super) type FramePath = Vec<Id>;

/// One element of a reading.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub element: Element,
    /// 0 if it cannot be acted upon.
    pub number: u32,
    /// Index into [`Reading::frames`].
    pub frame: usize,
    pub node: Id,
    /// The whole name and value, where they are cut.
    whole: Option<String>,
    group: u32,
}

/// A page as it was read.
#[derive(Debug)]
pub(super) struct Reading {
    pub found: Vec<Found>,
    pub frames: Vec<FramePath>,
    pub truncated: bool,
    /// What of it counts for the digest.
    essence: Vec<u8>,
}

impl Frame {
    pub(super) fn new(doc: Arc<Document>) -> Self {
        let mut frame = Self {
            doc,
            fields: Fields::default(),
            frames: BTreeMap::new(),
            refs: BTreeMap::new(),
        };
        frame.fields.focus = (0..frame.doc.len())
            .find(|id| frame.doc.has(*id, "autofocus") && frame.look().is_shown(*id));
        frame
    }

    pub(super) fn look(&self) -> Look<'_> {
        Look {
            doc: &self.doc,
            fields: &self.fields,
        }
    }

    pub(super) fn at(&self, path: &[Id]) -> Option<&Self> {
        path.iter().try_fold(self, |frame, id| frame.frames.get(id))
    }

    pub(super) fn at_mut(&mut self, path: &[Id]) -> Option<&mut Self> {
        path.iter()
            .try_fold(self, |frame, id| frame.frames.get_mut(id))
    }

    /// Takes the focus from wherever it is, in this frame and those inside.
    fn blur(&mut self) {
        self.fields.focus = None;
        self.frames.values_mut().for_each(Self::blur);
    }

    /// Reads this frame and those inside, in document order.
    fn read(&mut self, reading: &mut Reading, path: &FramePath, next: &mut u32) {
        let (items, truncated) = self.look().items();
        reading.truncated |= truncated;
        let frame = reading.frames.len();
        reading.frames.push(path.clone());
        // Groups of different frames are different groups.
        let base = reading.found.iter().map(|f| f.group).max().unwrap_or(0);
        for item in items {
            let mut element = item.element;
            let mut number = 0;
            if element.interactive {
                number = *self.refs.entry(item.node).or_insert_with(|| {
                    *next += 1;
                    *next - 1
                });
                element.r#ref = number.to_string();
            }
            let depth = u8::try_from(path.len()).unwrap_or(u8::MAX);
            element.level = element.level.saturating_add(depth.saturating_mul(10));
            reading.found.push(Found {
                element,
                number,
                frame,
                node: item.node,
                whole: item.whole,
                group: if item.group == 0 {
                    0
                } else {
                    base + item.group
                },
            });
            if let Some(inside) = self.frames.get_mut(&item.node) {
                let mut path = path.clone();
                path.push(item.node);
                inside.read(reading, &path, next);
            }
        }
    }
}

impl Page {
    pub(super) fn new(top: Frame, fragment: Option<String>) -> Self {
        Self {
            top,
            fragment,
            scroll: 0,
            reading: None,
        }
    }

    pub(super) fn url(&self) -> Url {
        let mut url = self.top.doc.url.clone();
        url.set_fragment(self.fragment.as_deref());
        url
    }

    /// Gives the keyboard to an element, or to none.
    pub(super) fn focus(&mut self, path: &[Id], id: Option<Id>) {
        self.top.blur();
        if let Some(frame) = self.top.at_mut(path) {
            frame.fields.focus = id;
        }
    }

    /// Where the keyboard goes.
    pub(super) fn focused(&self) -> Option<(FramePath, Id)> {
        fn search(frame: &Frame, path: &mut FramePath) -> Option<(FramePath, Id)> {
            if let Some(id) = frame.fields.focus {
                return Some((path.clone(), id));
            }
            frame.frames.iter().find_map(|(id, inside)| {
                path.push(*id);
                let found = search(inside, path);
                path.pop();
                found
            })
        }
        search(&self.top, &mut Vec::new())
    }

    /// The last reading, if nothing was done since.
    pub(super) fn reading(&self) -> Option<&Arc<Reading>> {
        self.reading.as_ref()
    }
}

impl Reading {
    /// How far down a screen can go.
    pub(super) fn lowest(&self) -> usize {
        self.found.len().saturating_sub(SCREEN)
    }
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            next: 1,
            ..Self::default()
        }
    }

    pub(super) fn tab(&self) -> &Window {
        &self.tabs[self.active]
    }

    pub(super) fn page(&self) -> &Arc<Page> {
        let tab = self.tab();
        &tab.history[tab.at]
    }

    /// The active page, to be changed: its reading is void then.
    pub(super) fn page_mut(&mut self) -> &mut Page {
        let tab = &mut self.tabs[self.active];
        let page = Arc::make_mut(&mut tab.history[tab.at]);
        page.reading = None;
        page
    }

    /// Scrolls, which changes nothing that was read.
    pub(super) fn scroll_to(&mut self, scroll: usize) {
        let tab = &mut self.tabs[self.active];
        Arc::make_mut(&mut tab.history[tab.at]).scroll = scroll;
    }

    /// Opens a tab on a page and makes it the active one.
    pub(super) fn open_tab(&mut self, page: Page) {
        let opener = self.tabs.get(self.active).map(|tab| tab.id);
        self.tabs.push(Window {
            id: self.next_tab,
            opener,
            history: vec![Arc::new(page)],
            at: 0,
        });
        self.next_tab += 1;
        self.active = self.tabs.len() - 1;
    }

    pub(super) fn close_tab(&mut self, index: usize) {
        let closed = self.tabs.remove(index);
        if self.active == index {
            let opener = self
                .tabs
                .iter()
                .position(|tab| Some(tab.id) == closed.opener);
            self.active = opener.unwrap_or(self.tabs.len() - 1);
        } else if self.active > index {
            self.active -= 1;
        }
    }

    /// Goes to a page in the active tab; the way forward is lost.
    pub(super) fn enter(&mut self, page: Page, replace: bool) {
        let tab = &mut self.tabs[self.active];
        tab.history.truncate(tab.at + 1);
        if replace {
            tab.history.pop();
        }
        tab.history.push(Arc::new(page));
        tab.at = tab.history.len() - 1;
    }

    /// Reads the active page; elements that are new get references.
    pub(super) fn read(&mut self) -> Arc<Reading> {
        self.read_tab(self.active)
    }

    fn read_tab(&mut self, index: usize) -> Arc<Reading> {
        let tab = &mut self.tabs[index];
        if let Some(reading) = tab.history[tab.at].reading() {
            return Arc::clone(reading);
        }
        let mut next = self.next;
        let page = Arc::make_mut(&mut tab.history[tab.at]);
        let mut reading = Reading {
            found: Vec::new(),
            frames: Vec::new(),
            truncated: false,
            essence: Vec::new(),
        };
        page.top.read(&mut reading, &Vec::new(), &mut next);
        reading.essence = essence(page, &reading);
        page.scroll = page.scroll.min(reading.lowest());
        let reading = Arc::new(reading);
        page.reading = Some(Arc::clone(&reading));
        self.next = next;
        reading
    }

    /// Gives the elements of the active page the references they had.
    pub(super) fn rebind(&mut self, refs: &[u32]) {
        let reading = self.read();
        let live = reading.found.iter().filter(|found| found.number > 0);
        let pairs: Vec<(&Found, u32)> = live.zip(refs.iter().copied()).collect();
        if pairs.iter().all(|(found, number)| found.number == *number) {
            return;
        }
        let page = self.page_mut();
        for (found, number) in pairs {
            if let Some(frame) = page.top.at_mut(&reading.frames[found.frame]) {
                frame.refs.insert(found.node, number);
            }
        }
        self.read();
    }

    /// Digest of all that an agent can see and use, in the tabs in the background too; running clocks
    /// masked.
    pub(super) fn digest(&mut self) -> Digest {
        let reading = self.read();
        let mut bytes = reading.essence.clone();
        let mut put = |part: &str| {
            bytes.extend_from_slice(part.as_bytes());
            bytes.push(0);
        };
        put(&mask_url(self.page().url().as_str()));
        put(&self.page().scroll.to_string());
        put(self.answer.as_deref().unwrap_or("\u{1}"));
        for index in 0..self.tabs.len() {
            let reading = self.read_tab(index);
            let tab = &self.tabs[index];
            let page = &tab.history[tab.at];
            put(&mask_url(page.url().as_str()));
            if index == self.active {
                put("1");
            } else {
                put(&page.scroll.to_string());
                put(&Digest::of(&reading.essence).to_string());
            }
        }
        Digest::of(bytes)
    }

    /// Bytes that keeping it costs, roughly.
    pub(super) fn weight(&self) -> usize {
        fn frame(of: &Frame) -> usize {
            of.doc.weight() + of.frames.values().map(frame).sum::<usize>()
        }
        let page = self.page();
        // What came before is held by the states before.
        let reading = page
            .reading()
            .map_or(0, |reading| reading.found.len() * 300);
        frame(&page.top) + reading + 1024
    }

    fn tab_list(&self) -> Vec<Tab> {
        let tabs = self.tabs.iter().enumerate();
        tabs.map(|(index, tab)| Tab {
            title: tab.history[tab.at].top.doc.title.clone(),
            url: tab.history[tab.at].url().to_string(),
            active: index == self.active,
        })
        .collect()
    }

    /// The observation.
    pub(super) fn observation(&mut self, mut notices: Vec<Notice>, budget: u32) -> Observation {
        let reading = self.read();
        let digest = self.digest();
        if reading.truncated {
            notices.push(Notice {
                kind: NoticeKind::Other,
                text: "the page is too large to read whole; its end is left out".to_owned(),
            });
        }
        let top = self.page().scroll;
        let place = |index: usize| {
            if index < top {
                Place::Above
            } else if index < top + SCREEN {
                Place::In
            } else {
                Place::Below
            }
        };
        let mut elements = Vec::with_capacity(reading.found.len());
        let mut rows = Vec::with_capacity(reading.found.len());
        for (index, found) in reading.found.iter().enumerate() {
            let place = place(index);
            let mut element = found.element.clone();
            element.visible = place == Place::In;
            elements.push(element);
            rows.push(Row {
                place,
                group: found.group,
            });
        }
        let mut observation = Observation {
            url: self.page().url().to_string(),
            title: self.page().top.doc.title.clone(),
            text: String::new(),
            tokens: 0,
            elements,
            omitted: Omitted::default(),
            tabs: self.tab_list(),
            notices,
            digest,
            terminal: self.terminal,
            screenshot: None,
        };
        render_rows(&mut observation, &rows, budget);
        observation
    }
}

fn essence(page: &Page, reading: &Reading) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(reading.found.len() * 48 + 256);
    let mut put = |part: &str| {
        bytes.extend_from_slice(part.as_bytes());
        bytes.push(0);
    };
    put(&mask_clocks(&page.top.doc.title));
    for found in &reading.found {
        let element = &found.element;
        put(&element.role);
        put(&mask_clocks(&element.name));
        put(element.value.as_deref().unwrap_or("\u{1}"));
        put(&format!(
            "{:?}{}{}{}",
            element.states, found.frame, element.interactive, element.level
        ));
        put(&found.whole.as_deref().map(mask_clocks).unwrap_or_default());
        if element.role != "text"
            && let Some(frame) = page.top.at(&reading.frames[found.frame])
        {
            put(&frame.look().facts(found.node));
        }
        for option in &element.options {
            put(option);
        }
    }
    for path in &reading.frames {
        if let Some(frame) = page.top.at(path) {
            put(&frame.look().hidden());
        }
    }
    put(if reading.truncated { "cut" } else { "whole" });
    bytes
}
