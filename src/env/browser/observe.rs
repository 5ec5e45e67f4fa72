//! From a page to an [`Observation`]: the walk's items of all frames, the digest, the text.

use serde::Deserialize;
use serde_json::Value;

use super::lane::{Lane, TargetKind, WORLD};
use super::settle::{SCRIPT_LIMIT, ScriptError};
use crate::context::Cx;
use crate::types::{Digest, Element, ElementState, Notice, NoticeKind, Observation, Omitted, Tab};

/// Frames nested deeper than this are not read.
const MAX_FRAME_DEPTH: usize = 5;
/// Options listed with a select; the rest is counted.
const SHOWN_OPTIONS: usize = 12;
/// A text line of the rendering is cut here.
const MAX_LINE: usize = 400;

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
);

#[derive(Debug, Deserialize)]
struct Walk {
    next: u32,
    url: String,
    title: String,
    items: Vec<Item>,
    truncated: bool,
    scroll: [i64; 4],
    inner: Vec<[i64; 2]>,
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
    place: Place,
    group: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    In,
    Above,
    Below,
    Aside,
}

/// A page as it was read.
#[derive(Debug)]
pub(super) struct Page {
    pub url: String,
    pub title: String,
    pub found: Vec<Found>,
    pub frames: Vec<FrameAddress>,
    pub tabs: Vec<Tab>,
    pub next: u32,
    pub truncated: bool,
    scroll: Vec<[i64; 4]>,
    inner: Vec<[i64; 2]>,
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
            self.evaluate(
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
        Some(FrameAddress {
            session: id.to_owned(),
            frame: session.target.clone(),
            chain: Vec::new(),
        })
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

    /// Reads the active tab, frames included. New elements get references from `next` on.
    pub(super) async fn read(&self, next: u32, cx: &Cx) -> Result<Page, ScriptError> {
        let mut page = Page {
            url: String::new(),
            title: String::new(),
            found: Vec::new(),
            frames: Vec::new(),
            tabs: Vec::new(),
            next,
            truncated: false,
            scroll: Vec::new(),
            inner: Vec::new(),
        };
        if let Some(main) = self.main_frame() {
            self.read_frame(&mut page, main, cx).await?;
        }
        page.tabs = self.read_tabs(&page, cx).await?;
        Ok(page)
    }

    async fn read_frame(
        &self,
        page: &mut Page,
        address: FrameAddress,
        cx: &Cx,
    ) -> Result<(), ScriptError> {
        let value = match self
            .in_frame(&address, &format!("walk({})", page.next), cx)
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
            page.title = walk.title;
        }
        let at = page.frames.len();
        let depth = address.chain.len();
        page.frames.push(address.clone());
        for (index, item) in walk.items.into_iter().enumerate() {
            let child =
                (item.0 == "iframe").then(|| item.2.as_deref().and_then(|v| v.parse().ok()));
            page.found.push(found(item, at, index, depth));
            if let Some(Some(child)) = child
                && depth < MAX_FRAME_DEPTH
                && let Some(inside) = self.child(&address, child)
            {
                Box::pin(self.read_frame(page, inside, cx)).await?;
            }
        }
        Ok(())
    }

    async fn read_tabs(&self, page: &Page, cx: &Cx) -> Result<Vec<Tab>, ScriptError> {
        let (ids, active) = {
            let state = self.lock();
            let ids: Vec<(String, String)> = state
                .tabs
                .iter()
                .filter_map(|id| Some((id.clone(), state.sessions.get(id)?.url.clone())))
                .collect();
            (ids, state.active.clone())
        };
        let mut tabs = Vec::new();
        for (id, url) in ids {
            let active = Some(&id) == active.as_ref();
            let title = if active {
                page.title.clone()
            } else {
                match self
                    .evaluate(&id, None, "document.title".to_owned(), SCRIPT_LIMIT, cx)
                    .await
                {
                    Ok(Value::String(title)) => title,
                    Ok(_) => String::new(),
                    Err(error) if error.is_context_gone() => String::new(),
                    Err(error) => return Err(error),
                }
            };
            tabs.push(Tab {
                title,
                url: self.setup.logical(&url),
                active,
            });
        }
        Ok(tabs)
    }
}

fn found(item: Item, address: usize, index: usize, depth: usize) -> Found {
    let Item(role, name, value, states, options, flags, number, level, group) = item;
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

fn state_word(state: ElementState) -> &'static str {
    match state {
        ElementState::Checked => "checked",
        ElementState::Mixed => "mixed",
        ElementState::Selected => "selected",
        ElementState::Expanded => "expanded",
        ElementState::Collapsed => "collapsed",
        ElementState::Pressed => "pressed",
        ElementState::Disabled => "disabled",
        ElementState::Readonly => "readonly",
        ElementState::Required => "required",
        ElementState::Focused => "focused",
        ElementState::Invalid => "invalid",
    }
}

impl Page {
    /// Digest of all that an agent can see and use, running clocks masked.
    pub(super) fn digest(&self, answer: Option<&str>) -> Digest {
        let mut state = Vec::with_capacity(self.found.len() * 48 + 256);
        let mut put = |part: &str| {
            state.extend_from_slice(part.as_bytes());
            state.push(0);
        };
        put(&self.url);
        put(&mask_clocks(&self.title));
        put(answer.unwrap_or(""));
        put(&format!(
            "{:?}{:?}",
            self.scroll.iter().map(|s| (s[0], s[1])).collect::<Vec<_>>(),
            self.inner
        ));
        for tab in &self.tabs {
            put(&tab.url);
            put(if tab.active { "1" } else { "0" });
        }
        for Found {
            element,
            address,
            place,
            ..
        } in &self.found
        {
            put(&element.role);
            put(&mask_clocks(&element.name));
            put(element.value.as_deref().unwrap_or("\u{1}"));
            put(&format!(
                "{:?}{address}{place:?}{}",
                element.states, element.interactive
            ));
            for option in &element.options {
                put(option);
            }
        }
        Digest::of(state)
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

#[derive(Debug, Clone, Copy)]
struct Row {
    place: Place,
    group: u32,
}

/// Renders `observation.text` from its elements, at most `budget` tokens (4 bytes each).
///
/// The viewport comes first and whole; what is left of the budget goes to what follows it. The
/// rest is counted in [`Omitted`] and named, with the way to reach it.
pub fn render(observation: &mut Observation, budget: u32) {
    let rows: Vec<Row> = observation
        .elements
        .iter()
        .map(|e| Row {
            place: if e.visible { Place::In } else { Place::Below },
            group: 0,
        })
        .collect();
    render_rows(observation, &rows, budget);
}

fn render_rows(observation: &mut Observation, rows: &[Row], budget: u32) {
    let limit = budget as usize * 4;
    let mut text = format!("\"{}\" {}\n", one_line(&observation.title), observation.url);
    if observation.tabs.len() > 1 {
        text.push_str("tabs:");
        for (i, tab) in observation.tabs.iter().enumerate() {
            let mark = if tab.active { "*" } else { "" };
            text.push_str(&format!(" {}{mark} \"{}\"", i + 1, one_line(&tab.title)));
        }
        text.push('\n');
    }
    for notice in &observation.notices {
        text.push_str(&format!("! {}\n", one_line(&notice.text)));
    }
    let mut omitted = Omitted::default();
    // Room for the closing lines that say what is left out.
    let room = limit.saturating_sub(120);
    let mut full = false;
    let mut previous = 0;
    let mut width = 0;
    for (element, row) in observation.elements.iter().zip(rows) {
        let skip = match row.place {
            Place::Above => {
                omitted.above += 1;
                true
            }
            Place::Aside => {
                omitted.cut += 1;
                true
            }
            Place::In => false,
            Place::Below => full,
        };
        if skip {
            if row.place == Place::Below {
                omitted.below += 1;
            }
            continue;
        }
        let line = line(element);
        if full || text.len() + line.len() + 3 > room {
            full = true;
            match row.place {
                Place::In => omitted.cut += 1,
                Place::Above | Place::Below | Place::Aside => omitted.below += 1,
            }
            continue;
        }
        // Parts of one row or list entry share a line.
        if row.group != 0 && row.group == previous && width + line.len() < 200 {
            text.pop();
            text.push_str(" · ");
            width += line.len() + 4;
        } else {
            width = line.len();
        }
        previous = row.group;
        text.push_str(&line);
        text.push('\n');
    }
    if omitted.above > 0 {
        text.push_str(&format!("… {} more above (scroll up)\n", omitted.above));
    }
    if omitted.cut + omitted.below > 0 {
        let count = omitted.cut + omitted.below;
        text.push_str(&format!("… {count} more below (scroll or find)\n"));
    }
    observation.omitted = omitted;
    observation.tokens = u32::try_from(text.len().div_ceil(4)).unwrap_or(u32::MAX);
    observation.text = text;
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An element as an agent reads it.
pub(super) fn line(element: &Element) -> String {
    let mut out = String::new();
    if !element.r#ref.is_empty() {
        out.push_str(&format!("[{}] ", element.r#ref));
    }
    match element.role.as_str() {
        "text" => out.push_str(&element.name),
        "heading" => {
            let level = usize::from(element.level % 10).clamp(1, 6);
            out.push_str(&format!("{} {}", "#".repeat(level), element.name));
        }
        role => {
            out.push_str(role);
            if !element.name.is_empty() {
                out.push_str(&format!(" \"{}\"", element.name));
            }
        }
    }
    if let Some(value) = &element.value
        && (element.interactive || !value.is_empty())
    {
        out.push_str(&format!(" value=\"{}\"", one_line(value)));
    }
    for state in &element.states {
        out.push(' ');
        out.push_str(state_word(*state));
    }
    if !element.options.is_empty() {
        let shown: Vec<&str> = element
            .options
            .iter()
            .take(SHOWN_OPTIONS)
            .map(String::as_str)
            .collect();
        out.push_str(&format!(" options: {}", shown.join(" | ")));
        if element.options.len() > SHOWN_OPTIONS {
            out.push_str(&format!(
                " | … {} more",
                element.options.len() - SHOWN_OPTIONS
            ));
        }
    }
    super::lane::shorten(&out, MAX_LINE)
}

/// Replaces what a running clock shows, so that the same state has the same digest: `hh:mm:ss`,
/// counts of seconds and milliseconds, and the words for "just now". Times without seconds stay:
/// they are content (a departure at 12:30 matters).
pub(super) fn mask_clocks(text: &str) -> String {
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
    let unit = matches!(
        word.as_slice(),
        b"sec" | b"secs" | b"second" | b"seconds" | b"ms"
    );
    unit.then_some(word_at + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(number: u32, role: &str, name: &str) -> Element {
        Element {
            r#ref: if number > 0 {
                number.to_string()
            } else {
                String::new()
            },
            role: role.to_owned(),
            name: name.to_owned(),
            value: None,
            states: Vec::new(),
            options: Vec::new(),
            interactive: number > 0,
            visible: true,
            level: 1,
        }
    }

    fn observation(elements: Vec<Element>) -> Observation {
        Observation {
            url: "http://shop.demo/cart".to_owned(),
            title: "Cart".to_owned(),
            text: String::new(),
            tokens: 0,
            elements,
            omitted: Omitted::default(),
            tabs: Vec::new(),
            notices: vec![Notice {
                kind: NoticeKind::Dialog,
                text: "alert \"Hi\nyou\"".to_owned(),
            }],
            digest: Digest::of(""),
            terminal: false,
            screenshot: None,
        }
    }

    #[test]
    fn clocks_are_masked_and_content_is_not() {
        assert_eq!(mask_clocks("Time left: 19 / 20sec"), "Time left: ⏱");
        assert_eq!(mask_clocks("at 09:41:07 today"), "at ⏱ today");
        assert_eq!(mask_clocks("generated in 0.034 seconds"), "generated in ⏱");
        for content in [
            "12:30 PM",
            "24.50",
            "page 2 / 3",
            "3 secrets",
            "v1.2",
            "5 items",
            "ünï 4",
        ] {
            assert_eq!(mask_clocks(content), content);
        }
    }

    #[test]
    fn text_reads_like_a_page() {
        let mut sort = element(9, "combobox", "Sort");
        sort.value = Some("Price".to_owned());
        sort.options = vec!["Price".to_owned(), "Rating".to_owned()];
        let mut search = element(7, "textbox", "Search");
        search.value = Some(String::new());
        search.states = vec![ElementState::Focused];
        let mut page = observation(vec![
            element(3, "link", "Home"),
            search,
            sort,
            element(0, "heading", "Your cart"),
            element(0, "text", "Total: $24.00"),
        ]);
        render(&mut page, 2000);
        insta::assert_snapshot!(page.text, @r#"
        "Cart" http://shop.demo/cart
        ! alert "Hi you"
        [3] link "Home"
        [7] textbox "Search" value="" focused
        [9] combobox "Sort" value="Price" options: Price | Rating
        # Your cart
        Total: $24.00
        "#);
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut page = observation((1..=500).map(|i| element(i, "link", "A product")).collect());
        render(&mut page, 500);
        assert!(page.tokens <= 500, "{}", page.tokens);
        let shown = page.text.matches("A product").count();
        assert_eq!(shown + page.omitted.cut as usize, 500);
        assert!(
            page.text
                .contains(&format!("… {} more below", page.omitted.cut))
        );
    }
}
