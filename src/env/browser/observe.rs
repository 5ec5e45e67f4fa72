//! From a page to an [`Observation`]: the walk's items of all frames, and the text.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::lane::{Lane, Session, TargetKind, WORLD};
use super::settle::{SCRIPT_LIMIT, ScriptError};
use super::volatile::Mask;
use crate::context::Cx;
use crate::env::page::{Place, Row, render_rows};
use crate::types::{Element, ElementState, Notice, NoticeKind, Observation, Omitted, Tab};

/// Frames nested deeper than this are not read.
const MAX_FRAME_DEPTH: usize = 5;

/// Where a frame's walk runs: enough to come back to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FrameAddress {
    pub session: String,
    pub frame: String,
    /// Indices of child frames from the main frame down, for coordinates.
    pub chain: Vec<usize>,
}

/// One item of a walk, as the script sends it.
#[derive(Debug, Deserialize)]
struct Item(
    String,
    String,
    Option<String>,
    String,
    Option<Vec<String>>,
    u8,
    u32,
    u8,
    u32,
    Facts,
    String,
);

/// What of an element is in the digest, but not shown: what was cut for reading, where it leads,
/// what it sends, and attributes that describe it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Facts {
    /// The whole name, where the item's was cut.
    pub name: Option<String>,
    /// The whole value, where the item's was cut.
    pub value: Option<String>,
    /// Attributes, a line each.
    pub marks: Option<String>,
    /// A link's target, a form's action, a picture's source.
    pub to: Option<String>,
    /// Labels, values and states of all options, hashed.
    pub options: Option<String>,
    /// A few bits of a password.
    pub secret: Option<String>,
    /// Name and value that a checked box or a pressed button sends.
    pub sends: Option<(String, String)>,
    /// The selection of the focused field.
    pub caret: Option<String>,
}

/// A hidden field: its name, its value, its path.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Hidden(pub String, pub String, pub String);

#[derive(Debug, Deserialize)]
struct Walk {
    next: u32,
    url: String,
    title: String,
    items: Vec<Item>,
    truncated: bool,
    scroll: [i64; 4],
    inner: Vec<[i64; 3]>,
    hidden: Vec<Hidden>,
}

/// An element with what the environment needs to act on it.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub element: Element,
    /// 0 if it cannot be acted upon.
    pub number: u32,
    pub address: usize,
    /// Index within its frame's walk.
    pub index: usize,
    pub place: Place,
    pub group: u32,
    pub facts: Facts,
    /// Its place in the document, if the walk was asked for it.
    pub path: String,
}

/// A page as it was read.
#[derive(Debug)]
pub(super) struct Page {
    pub url: String,
    pub title: String,
    pub found: Vec<Found>,
    pub frames: Vec<FrameAddress>,
    pub tabs: Vec<Tab>,
    /// The tabs that are not active, in their order, each without tabs of its own.
    pub others: Vec<Page>,
    pub next: u32,
    pub truncated: bool,
    /// Of every frame: left, top, height of the page, height of the view.
    pub scroll: Vec<[i64; 4]>,
    /// Of every pane that is scrolled: the item it begins at, left, top.
    pub inner: Vec<[i64; 3]>,
    /// Hidden fields with the frame they are in.
    pub hidden: Vec<(usize, Hidden)>,
    /// What the site shows differently with every load.
    pub mask: Arc<Mask>,
}

impl Lane {
    /// The walk context of a frame, created if the frame has none yet.
    async fn walk_context(
        &self,
        address: &FrameAddress,
        cx: &Cx,
    ) -> Result<Option<String>, ScriptError> {
        let look = || {
            let state = self.lock();
            let session = state.sessions.get(&address.session)?;
            session
                .frames
                .iter()
                .find(|f| f.id == address.frame)?
                .walk
                .clone()
        };
        if let Some(context) = look() {
            return Ok(Some(context));
        }
        let params = chromiumoxide_cdp::cdp::browser_protocol::page::CreateIsolatedWorldParams {
            world_name: Some(WORLD.to_owned()),
            ..chromiumoxide_cdp::cdp::browser_protocol::page::CreateIsolatedWorldParams::new(
                address.frame.clone(),
            )
        };
        match self
            .connection
            .call(Some(&address.session), params, cx)
            .await
        {
            Ok(_) => Ok(look()),
            Err(error) if error.is_context_gone() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Runs a function of the walk (`call` is an expression on `branchline`) in a frame; its JSON
    /// string is parsed. `None` if the frame is gone.
    pub(super) async fn in_frame(
        &self,
        address: &FrameAddress,
        call: &str,
        cx: &Cx,
    ) -> Result<Option<Value>, ScriptError> {
        let Some(context) = self.walk_context(address, cx).await? else {
            return Ok(None);
        };
        let run = |expression: String| {
            self.connection.evaluate(
                &address.session,
                Some(&context),
                expression,
                SCRIPT_LIMIT,
                cx,
            )
        };
        let value = match run(format!("branchline.{call}")).await {
            Err(ScriptError::Threw(reason)) if reason.contains("branchline is not defined") => {
                run(self.setup.walk.clone()).await?;
                run(format!("branchline.{call}")).await?
            }
            other => other?,
        };
        match value {
            Value::String(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|e| ScriptError::Threw(format!("unreadable walk: {e}"))),
            other => Ok(Some(other)),
        }
    }

    /// Where the active tab's main frame is.
    pub(super) fn main_frame(&self) -> Option<FrameAddress> {
        let state = self.lock();
        let (id, session) = state.active()?;
        Some(main_frame(id, session))
    }

    /// The address of the `index`-th child frame.
    fn child(&self, parent: &FrameAddress, index: usize) -> Option<FrameAddress> {
        let state = self.lock();
        let session = state.sessions.get(&parent.session)?;
        let frame = session
            .frames
            .iter()
            .filter(|f| f.parent.as_ref() == Some(&parent.frame))
            .nth(index)?
            .id
            .clone();
        let own = state
            .sessions
            .iter()
            .find(|(_, s)| s.kind == TargetKind::Frame && s.target == frame)
            .map(|(id, _)| id.clone());
        let mut chain = parent.chain.clone();
        chain.push(index);
        Some(FrameAddress {
            session: own.unwrap_or_else(|| parent.session.clone()),
            frame,
            chain,
        })
    }

    /// Reads all tabs, frames included, the active one first. New elements get references from `next`
    /// on.
    pub(super) async fn read(&self, next: u32, cx: &Cx) -> Result<Page, ScriptError> {
        let mask = self.setup.mask();
        let placed = !mask.is_empty();
        self.read_page(next, placed, mask, cx).await
    }

    /// The same with the paths of all items, for comparing two loads; nothing is masked.
    pub(super) async fn read_placed(&self, next: u32, cx: &Cx) -> Result<Page, ScriptError> {
        self.read_page(next, true, Arc::default(), cx).await
    }

    async fn read_page(
        &self,
        next: u32,
        placed: bool,
        mask: Arc<Mask>,
        cx: &Cx,
    ) -> Result<Page, ScriptError> {
        let (tabs, active) = {
            let state = self.lock();
            let tab = |id: &String| {
                let session = state.sessions.get(id)?;
                let url = self.setup.logical(&session.url);
                let active = state.active.as_ref() == Some(id);
                Some((main_frame(id, session), url, active))
            };
            let tabs: Vec<_> = state.tabs.iter().filter_map(tab).collect();
            let active = state.active().map(|(id, session)| main_frame(id, session));
            (tabs, active)
        };
        let mut page = Page::new(next, Arc::clone(&mask));
        if let Some(main) = active {
            self.read_frame(&mut page, main, placed, cx).await?;
        }
        for (main, url, active) in tabs {
            let mut title = page.title.clone();
            if !active {
                let mut other = Page::new(page.next, Arc::clone(&mask));
                match self.read_frame(&mut other, main, placed, cx).await {
                    // What shows nothing now is seen to show nothing.
                    Err(error) if !error.is_context_gone() => return Err(error),
                    Ok(()) | Err(_) => {}
                }
                page.next = other.next;
                title.clone_from(&other.title);
                page.others.push(other);
            }
            page.tabs.push(Tab { title, url, active });
        }
        Ok(page)
    }

    async fn read_frame(
        &self,
        page: &mut Page,
        address: FrameAddress,
        placed: bool,
        cx: &Cx,
    ) -> Result<(), ScriptError> {
        let value = match self
            .in_frame(&address, &format!("walk({}, {placed})", page.next), cx)
            .await
        {
            Ok(Some(value)) => value,
            Ok(None) => return Ok(()),
            // A child frame that went away under the walk is simply not there.
            Err(error) if error.is_context_gone() && !address.chain.is_empty() => return Ok(()),
            Err(error) => return Err(error),
        };
        let walk: Walk = serde_json::from_value(value)
            .map_err(|e| ScriptError::Threw(format!("unreadable walk: {e}")))?;
        page.next = walk.next;
        page.truncated |= walk.truncated;
        page.scroll.push(walk.scroll);
        page.inner.extend(walk.inner);
        if address.chain.is_empty() {
            page.url = self.setup.logical(&walk.url);
            page.title = self.setup.shown(walk.title);
        }
        let at = page.frames.len();
        let hidden = walk.hidden.into_iter();
        page.hidden.extend(hidden.map(|field| (at, field)));
        let depth = address.chain.len();
        page.frames.push(address.clone());
        for (index, item) in walk.items.into_iter().enumerate() {
            let child =
                (item.0 == "iframe").then(|| item.2.as_deref().and_then(|v| v.parse().ok()));
            let mut found = found(item, at, index, depth);
            found.element.name = self.setup.shown(found.element.name);
            found.facts.name = found.facts.name.map(|name| self.setup.shown(name));
            let to = found.facts.to.map(|to| self.setup.logical(&to));
            found.facts.to = to.map(|to| self.setup.shown(to));
            page.found.push(found);
            if let Some(Some(child)) = child
                && depth < MAX_FRAME_DEPTH
                && let Some(inside) = self.child(&address, child)
            {
                Box::pin(self.read_frame(page, inside, placed, cx)).await?;
            }
        }
        Ok(())
    }
}

/// Where the main frame of a tab is.
fn main_frame(id: &str, session: &Session) -> FrameAddress {
    FrameAddress {
        session: id.to_owned(),
        frame: session.target.clone(),
        chain: Vec::new(),
    }
}

fn found(item: Item, address: usize, index: usize, depth: usize) -> Found {
    let Item(role, name, value, states, options, flags, number, level, group, facts, path) = item;
    let place = match flags & !1 {
        4 => Place::Above,
        8 => Place::Below,
        16 => Place::Aside,
        _ => Place::In,
    };
    let interactive = flags & 1 == 1;
    // The value of an iframe item is its index, which is nothing to see.
    let value = value.filter(|_| role != "iframe");
    let element = Element {
        r#ref: if number > 0 {
            number.to_string()
        } else {
            String::new()
        },
        role,
        name,
        value,
        states: states.chars().filter_map(state).collect(),
        options: options.unwrap_or_default(),
        interactive,
        visible: place == Place::In,
        level: level.saturating_add(u8::try_from(depth).unwrap_or(u8::MAX) * 10),
    };
    Found {
        element,
        number,
        address,
        index,
        place,
        group,
        facts,
        path,
    }
}

fn state(letter: char) -> Option<ElementState> {
    Some(match letter {
        'c' => ElementState::Checked,
        'm' => ElementState::Mixed,
        's' => ElementState::Selected,
        'e' => ElementState::Expanded,
        'o' => ElementState::Collapsed,
        'p' => ElementState::Pressed,
        'd' => ElementState::Disabled,
        'r' => ElementState::Readonly,
        'q' => ElementState::Required,
        'f' => ElementState::Focused,
        'i' => ElementState::Invalid,
        _ => return None,
    })
}

impl Page {
    fn new(next: u32, mask: Arc<Mask>) -> Self {
        Self {
            url: String::new(),
            title: String::new(),
            found: Vec::new(),
            frames: Vec::new(),
            tabs: Vec::new(),
            others: Vec::new(),
            next,
            truncated: false,
            scroll: Vec::new(),
            inner: Vec::new(),
            hidden: Vec::new(),
            mask,
        }
    }

    /// References of what can be acted upon, in document order.
    pub(super) fn refs(&self) -> Vec<u32> {
        let numbers = self.found.iter().map(|found| found.number);
        numbers.filter(|number| *number > 0).collect()
    }

    /// The reference of the element that has the keyboard, if it can be acted upon.
    pub(super) fn focus(&self) -> Option<u32> {
        let focused = |found: &&Found| found.element.states.contains(&ElementState::Focused);
        let found = self.found.iter().filter(|found| found.address == 0);
        found.filter(focused).map(|f| f.number).find(|n| *n > 0)
    }

    /// How far the page is scrolled, in CSS pixels.
    pub(super) fn scrolled(&self) -> [i64; 2] {
        self.scroll.first().map_or([0, 0], |at| [at[0], at[1]])
    }

    /// The observation.
    pub(super) fn observation(
        &self,
        notices: Vec<Notice>,
        answer: Option<&str>,
        terminal: bool,
        budget: u32,
    ) -> Observation {
        let elements: Vec<Element> = self.found.iter().map(|f| f.element.clone()).collect();
        let mut notices = notices;
        if self.truncated {
            notices.push(Notice {
                kind: NoticeKind::Other,
                text: "the page is too large to read whole; its end is left out".to_owned(),
            });
        }
        let mut observation = Observation {
            url: self.url.clone(),
            title: self.title.clone(),
            text: String::new(),
            tokens: 0,
            elements,
            omitted: Omitted::default(),
            tabs: self.tabs.clone(),
            notices,
            digest: self.digest(answer),
            terminal,
            screenshot: None,
        };
        let rows: Vec<Row> = self
            .found
            .iter()
            .map(|f| Row {
                place: f.place,
                group: f.group,
            })
            .collect();
        render_rows(&mut observation, &rows, budget);
        observation
    }
}
