//! Carrying out one action on the active tab.
//!
//! Every action on an element first resolves its reference in the page and compares role and name
//! with what was observed; a click also needs a point where a hit test finds the element. Anything
//! else is a [`Rejection`] that says what is there instead.

use std::time::Duration;

use chromiumoxide_cdp::cdp::browser_protocol::input::{
    DispatchDragEventParams, DispatchDragEventType, DispatchMouseEventParams,
    DispatchMouseEventType, DragData, InsertTextParams, MouseButton, SetInterceptDragsParams,
};
use chromiumoxide_cdp::cdp::browser_protocol::page::NavigateParams;
use chromiumoxide_cdp::cdp::browser_protocol::target::CloseTargetParams;
use serde_json::Value;

use super::connection::CdpError;
use super::environment::Browser;
use super::keys;
use super::lane::Lane;
use super::ledger;
use super::observe::FrameAddress;
use super::settle::{SCRIPT_LIMIT, ScriptError};
use crate::context::Cx;
use crate::env::page::actions::{Direction, Performed, Ref, Verb};
use crate::env::page::keys::Key;
use crate::env::page::line;
use crate::types::{Notice, NoticeKind, Rejection};

/// How long the announcement of an HTML5 drag may take.
const DRAG_LIMIT: Duration = Duration::from_secs(1);

/// How an action can fail to be carried out.
pub(super) enum Refusal {
    /// The agent's fault: nothing changed.
    Rejected(Rejection),
    /// The environment's fault.
    Script(ScriptError),
}

impl From<ScriptError> for Refusal {
    fn from(error: ScriptError) -> Self {
        Self::Script(error)
    }
}

impl From<CdpError> for Refusal {
    fn from(error: CdpError) -> Self {
        Self::Script(error.into())
    }
}

pub(super) fn reject<T>(reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Rejected(Rejection::new(reason)))
}

/// A point in the main frame's viewport.
#[derive(Clone, Copy)]
struct Point {
    x: f64,
    y: f64,
    /// Whether a drag from here is an HTML5 one, which the browser announces.
    announces_drag: bool,
}

impl Browser {
    /// Carries `verb` out. The page is not settled yet afterwards.
    pub(super) async fn perform(&mut self, verb: &Verb, cx: &Cx) -> Result<Performed, Refusal> {
        let mut done = Performed::default();
        match verb {
            Verb::Click(on) => {
                let at = self.aim(on.target, true, cx).await?;
                self.click_at(at, cx).await?;
            }
            Verb::Hover(on) => {
                let at = self.aim(on.target, false, cx).await?;
                self.mouse(&[(DispatchMouseEventType::MouseMoved, at, false)], cx)
                    .await?;
            }
            Verb::Fill(fill) => self.fill(fill.target, &fill.text, fill.submit, cx).await?,
            Verb::Select(select) => {
                let option = serde_json::to_string(&select.option).expect("a string is JSON");
                self.on_element(select.target, &format!("choose(#, {option})"), cx)
                    .await?;
            }
            Verb::Check(check) => self.check(check.target, check.on, cx).await?,
            Verb::Press(press) => {
                let key = match Key::parse(&press.key) {
                    Ok(key) => key,
                    Err(reason) => return reject(reason),
                };
                if let Some(target) = press.target {
                    self.on_element(target, "focus(#)", cx).await?;
                }
                self.key(&key, cx).await?;
            }
            Verb::Scroll(scroll) => {
                let direction = match scroll.direction {
                    Direction::Up => "up",
                    Direction::Down => "down",
                };
                let value = match scroll.target {
                    Some(target) => {
                        self.on_element(target, &format!("scroll(#, '{direction}')"), cx)
                            .await?
                    }
                    None => {
                        self.on_page(&format!("scroll(0, '{direction}')"), cx)
                            .await?
                    }
                };
                if value["moved"] == Value::Bool(false) {
                    return reject(format!("nothing further to scroll {direction}"));
                }
            }
            Verb::Drag(drag) => self.drag(drag.from, drag.to, cx).await?,
            Verb::Goto(goto) => {
                let url = self.address(&goto.url)?;
                self.navigate(&url, cx).await?;
            }
            Verb::Back => self.history(-1, cx).await?,
            Verb::Forward => self.history(1, cx).await?,
            Verb::TabSwitch(to) => {
                let session = self.tab(to.index)?;
                self.lane.activate(&session, cx).await?;
            }
            Verb::TabOpen(open) => {
                let url = self.address(&open.url)?;
                self.lane.open_tab("about:blank", cx).await?;
                self.navigate(&url, cx).await?;
            }
            Verb::TabClose(close) => self.close_tab(close.index, cx).await?,
            Verb::Wait => self.wait_for_change(cx).await?,
            Verb::Find(find) => done.notices = self.find(&find.text, cx).await?,
            Verb::Stop(stop) => {
                done.terminal = true;
                done.answer.clone_from(&stop.answer);
            }
        }
        Ok(done)
    }

    /// Calls a function of the walk on an element (`#` stands for its reference) and turns what it
    /// says into a rejection.
    async fn on_element(&self, target: Ref, call: &str, cx: &Cx) -> Result<Value, Refusal> {
        let Some(known) = self.table.get(&target.0) else {
            return Err(self.unknown(target));
        };
        let call = call.replace('#', &known.number.to_string());
        let address = &self.frames[known.address];
        let value = match self.lane.in_frame(address, &call, cx).await {
            Ok(Some(value)) => value,
            Ok(None) => return Err(self.unknown(target)),
            Err(error) if error.is_context_gone() => return Err(self.unknown(target)),
            Err(error) => return Err(error.into()),
        };
        let what = line(&known.element);
        let role = value["role"].as_str();
        let name = value["name"].as_str();
        let name = name.map(|name| self.lane.setup.shown(name.to_owned()));
        if role.is_some_and(|r| r != known.element.role && known.element.role != "clickable")
            || name.as_ref().is_some_and(|n| *n != known.element.name)
        {
            let now = format!(
                "{} \"{}\"",
                role.unwrap_or_default(),
                name.unwrap_or_default()
            );
            return reject(format!("{what} has changed into {now}"));
        }
        if value["ok"] == Value::Bool(true) {
            return Ok(value);
        }
        let reason = match value["why"].as_str().unwrap_or_default() {
            "gone" => return Err(self.unknown(target)),
            "disabled" => format!("{what} is disabled"),
            "disabled option" => format!("that option of {what} is disabled"),
            "readonly" => format!("{what} cannot be edited"),
            "invisible" => format!("{what} is not visible"),
            "option" => format!("{what} is an option: use select on its list"),
            "covered" => {
                let by = value["by"].as_str().unwrap_or("something");
                format!("{what} is covered by {by}")
            }
            "no select" => format!("{what} is no list of options"),
            "no field" => format!("{what} is no text field"),
            "no checkbox" => format!("{what} is no checkbox, radio or switch"),
            "no focus" => format!("{what} does not take the keyboard"),
            "format" => {
                let kind = value["type"].as_str().unwrap_or_default();
                format!("{what} does not take that text (a field of type {kind})")
            }
            "no option" => {
                let nearest = value["options"].as_array().into_iter().flatten();
                let nearest = nearest
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect();
                return Err(Refusal::Rejected(Rejection {
                    reason: format!("{what} has no such option"),
                    nearest,
                }));
            }
            other => format!("{what}: {other}"),
        };
        reject(reason)
    }

    async fn on_page(&self, call: &str, cx: &Cx) -> Result<Value, Refusal> {
        let Some(main) = self.lane.main_frame() else {
            return reject("no tab is open");
        };
        let value = self.lane.in_frame(&main, call, cx).await?;
        Ok(value.unwrap_or(Value::Null))
    }

    /// A reference that is not on the page, with what was probably meant.
    fn unknown(&self, target: Ref) -> Refusal {
        let lost = self.seen.get(&target.0);
        let mut nearest: Vec<(f64, String)> = self
            .table
            .values()
            .map(|known| {
                let text = line(&known.element);
                let score = lost.map_or(0.0, |lost| {
                    let same_role = f64::from(u8::from(lost.0 == known.element.role));
                    strsim::jaro_winkler(&lost.1, &known.element.name) + same_role
                });
                (score, text)
            })
            .collect();
        nearest.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        let reason = match lost {
            Some((role, name)) => {
                format!(
                    "element [{}] ({role} \"{name}\") is no longer on the page",
                    target.0
                )
            }
            None => format!("there is no element [{}] on this page", target.0),
        };
        let keep = if lost.is_some() { 3 } else { 0 };
        let nearest = nearest
            .into_iter()
            .take(keep)
            .map(|(_, text)| text)
            .collect();
        Refusal::Rejected(Rejection { reason, nearest })
    }

    /// Scrolls an element into view and finds a point, in the main frame's viewport, that hits it.
    async fn aim(&self, target: Ref, usable: bool, cx: &Cx) -> Result<Point, Refusal> {
        let value = self
            .on_element(target, &format!("aim(#, {usable})"), cx)
            .await?;
        let (Some(x), Some(y)) = (value["x"].as_f64(), value["y"].as_f64()) else {
            return reject(format!("element [{}] has no place on the screen", target.0));
        };
        let address = &self.frames[self.table[&target.0].address];
        let (dx, dy) = frame_offset(&self.lane, &self.frames, address, cx).await?;
        let announces_drag = value["draggable"] == Value::Bool(true);
        Ok(Point {
            x: x + dx,
            y: y + dy,
            announces_drag,
        })
    }

    /// Dispatches mouse events in order. A page that goes away under them took them.
    async fn mouse(
        &self,
        events: &[(DispatchMouseEventType, Point, bool)],
        cx: &Cx,
    ) -> Result<(), Refusal> {
        let session = self.lane.session()?;
        let calls: Vec<_> = events
            .iter()
            .map(|(kind, at, pressed)| {
                let mut params = DispatchMouseEventParams::new(kind.clone(), at.x, at.y);
                if *pressed {
                    params.button = Some(MouseButton::Left);
                    params.click_count = Some(1);
                }
                let down = *kind == DispatchMouseEventType::MousePressed
                    || (*kind == DispatchMouseEventType::MouseMoved && *pressed);
                params.buttons = Some(i64::from(down));
                self.lane.connection.send(Some(&session), params)
            })
            .collect();
        for call in calls {
            self.tolerate(call.reply(SCRIPT_LIMIT, cx).await.map(drop))?;
        }
        Ok(())
    }

    /// Input that makes its own page go away was taken by it.
    fn tolerate(&self, result: Result<(), CdpError>) -> Result<(), Refusal> {
        match result {
            Err(CdpError::Gone {
                what: "the page", ..
            }) if self.lane.lock().dead.is_none() => Ok(()),
            Err(error) if error.is_context_gone() => Ok(()),
            other => other.map_err(Refusal::from),
        }
    }

    async fn click_at(&self, at: Point, cx: &Cx) -> Result<(), Refusal> {
        self.mouse(
            &[
                (DispatchMouseEventType::MouseMoved, at, false),
                (DispatchMouseEventType::MousePressed, at, true),
                (DispatchMouseEventType::MouseReleased, at, true),
            ],
            cx,
        )
        .await
    }

    async fn key(&self, key: &Key, cx: &Cx) -> Result<(), Refusal> {
        let session = self.lane.session()?;
        let calls = keys::events(key).map(|event| self.lane.connection.send(Some(&session), event));
        for call in calls {
            self.tolerate(call.reply(SCRIPT_LIMIT, cx).await.map(drop))?;
        }
        Ok(())
    }

    async fn fill(&self, target: Ref, text: &str, submit: bool, cx: &Cx) -> Result<(), Refusal> {
        let quoted = serde_json::to_string(text).expect("a string is JSON");
        let value = self
            .on_element(target, &format!("edit(#, {quoted})"), cx)
            .await?;
        if value["set"] == Value::Bool(false) {
            if text.is_empty() {
                self.key(&Key::plain("Delete"), cx).await?;
            } else {
                let session = self.lane.session()?;
                let insert = self
                    .lane
                    .connection
                    .send(Some(&session), InsertTextParams::new(text));
                self.tolerate(insert.reply(SCRIPT_LIMIT, cx).await.map(drop))?;
            }
        }
        if submit {
            self.key(&Key::plain("Enter"), cx).await?;
        }
        Ok(())
    }

    async fn check(&self, target: Ref, on: bool, cx: &Cx) -> Result<(), Refusal> {
        let value = self.on_element(target, "checked(#)", cx).await?;
        if value["on"] == Value::Bool(on) {
            return Ok(());
        }
        if !on && value["radio"] == Value::Bool(true) {
            return reject("a radio button cannot be unticked: choose another one of its group");
        }
        let at = self.aim(target, true, cx).await?;
        self.click_at(at, cx).await
    }

    async fn drag(&mut self, from: Ref, to: Ref, cx: &Cx) -> Result<(), Refusal> {
        let start = self.aim(from, true, cx).await?;
        let end = self.aim(to, false, cx).await?;
        // Bringing the second into view may have moved the first.
        let start = match self.aim(from, true, cx).await {
            Ok(point) => point,
            Err(Refusal::Rejected(_)) => start,
            Err(error) => return Err(error),
        };
        let session = self.lane.session()?;
        let intercept = |on: bool| {
            self.lane
                .connection
                .send(Some(&session), SetInterceptDragsParams::new(on))
        };
        intercept(true).reply(SCRIPT_LIMIT, cx).await?;
        let between = |part: f64| Point {
            x: start.x + (end.x - start.x) * part,
            y: start.y + (end.y - start.y) * part,
            ..start
        };
        let moved = DispatchMouseEventType::MouseMoved;
        self.mouse(
            &[
                (moved.clone(), start, false),
                (DispatchMouseEventType::MousePressed, start, true),
                (moved.clone(), between(0.1), true),
                (moved.clone(), between(0.5), true),
                (moved, end, true),
            ],
            cx,
        )
        .await?;
        let mut data = self.lane.lock().drag.take();
        if data.is_none() && start.announces_drag {
            // The announcement comes from another process than the replies: give it a moment. A
            // page that cancelled the drag never sends one.
            let wait = self.lane.wait(DRAG_LIMIT, cx, |state| state.drag.take());
            data = wait.await.ok().flatten();
        }
        if let Some(data) = data {
            // The browser handed an HTML5 drag over: finish it as one.
            let data: DragData = serde_json::from_value(data)
                .map_err(|e| ScriptError::Threw(format!("unreadable drag data: {e}")))?;
            for kind in [
                DispatchDragEventType::DragEnter,
                DispatchDragEventType::DragOver,
                DispatchDragEventType::Drop,
            ] {
                let params = DispatchDragEventParams::new(kind, end.x, end.y, data.clone());
                let call = self.lane.connection.send(Some(&session), params);
                self.tolerate(call.reply(SCRIPT_LIMIT, cx).await.map(drop))?;
            }
        }
        self.mouse(&[(DispatchMouseEventType::MouseReleased, end, true)], cx)
            .await?;
        self.tolerate(intercept(false).reply(SCRIPT_LIMIT, cx).await.map(drop))
    }

    /// A URL an agent may load: http(s), by the site's logical or real name, or a path.
    fn address(&self, url: &str) -> Result<String, Refusal> {
        let url = url.trim();
        if url.starts_with('/') && !url.starts_with("//") {
            return Ok(format!("{}{url}", self.lane.setup.origin.0));
        }
        if url.starts_with("http://") || url.starts_with("https://") {
            return Ok(self.lane.setup.real(url));
        }
        reject(format!("`{url}` is no http or https URL and no path"))
    }

    /// Loads a URL in the active tab and waits for the browser's first answer.
    pub(super) async fn navigate(&self, url: &str, cx: &Cx) -> Result<(), Refusal> {
        let session = self.lane.session()?;
        let call = self
            .lane
            .connection
            .send(Some(&session), NavigateParams::new(url));
        let reply = call.reply(SCRIPT_LIMIT * 3, cx).await?;
        if let Some(text) = reply.error_text
            && text != "net::ERR_ABORTED"
        {
            return Err(self.not_loaded(url, text));
        }
        Ok(())
    }

    /// What it means that a page could not be loaded: the environment's fault where the site itself
    /// cannot be connected to, and a dead end everywhere else.
    pub(super) fn not_loaded(&self, url: &str, error: String) -> Refusal {
        const DOWN: [&str; 4] = ["CONNECTION", "EMPTY_RESPONSE", "TIMED_OUT", "ADDRESS"];
        let setup = &self.lane.setup;
        let own = ledger::origin(url) == setup.origin.0;
        let down = error.strip_prefix("net::ERR_");
        let url = setup.logical(url);
        if own && down.is_some_and(|what| DOWN.iter().any(|down| what.starts_with(down))) {
            return Refusal::Script(ScriptError::Unanswered { url, error });
        }
        Refusal::Rejected(Rejection::new(format!(
            "{url} could not be loaded: {error}"
        )))
    }

    /// The number of the tab that an action is for: the active one, or the one that it names; 0 for
    /// one that it opens itself.
    pub(super) fn tab_of(&self, verb: &Verb) -> u32 {
        let named = match verb {
            Verb::TabOpen(_) => return 0,
            Verb::TabSwitch(to) => Some(to.index),
            Verb::TabClose(close) => close.index,
            _ => None,
        };
        let state = self.lane.lock();
        let named = named.and_then(|index| state.tabs.get((index as usize).checked_sub(1)?));
        let session = named.and_then(|id| state.sessions.get(id));
        session.map_or_else(|| state.tab().unwrap_or(0), |session| session.tab)
    }

    fn tab(&self, index: u32) -> Result<String, Refusal> {
        let state = self.lane.lock();
        let at = (index as usize).checked_sub(1);
        match at.and_then(|at| state.tabs.get(at)) {
            Some(session) => Ok(session.clone()),
            None => reject(format!(
                "there is no tab {index}; {} are open",
                state.tabs.len()
            )),
        }
    }

    async fn close_tab(&self, index: Option<u32>, cx: &Cx) -> Result<(), Refusal> {
        let session = match index {
            Some(index) => self.tab(index)?,
            None => self.lane.session()?,
        };
        let target = {
            let state = self.lane.lock();
            if state.tabs.len() == 1 {
                return reject("the last tab cannot be closed");
            }
            state.sessions[&session].target.clone()
        };
        let connection = &self.lane.connection;
        connection
            .call(None, CloseTargetParams::new(target), cx)
            .await?;
        let gone = self.lane.wait(SCRIPT_LIMIT, cx, |state| {
            (!state.tabs.contains(&session)).then_some(())
        });
        gone.await.map_err(|why| CdpError::Interrupted {
            method: "Target.closeTarget".to_owned(),
            why,
        })?;
        // We closed it: that is no news.
        self.lane
            .lock()
            .notices
            .retain(|notice| notice.kind != NoticeKind::Tab);
        Ok(())
    }

    /// Waits up to two seconds for the page to do something by itself.
    async fn wait_for_change(&self, cx: &Cx) -> Result<(), Refusal> {
        let session = self.lane.session()?;
        let expression = "new Promise((done) => {
            const observer = new MutationObserver(() => { observer.disconnect(); done(true); });
            observer.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
            setTimeout(() => { observer.disconnect(); done(false); }, 2000);
        })";
        match self
            .lane
            .connection
            .evaluate(&session, None, expression.to_owned(), SCRIPT_LIMIT, cx)
            .await
        {
            Err(error) if error.is_context_gone() => Ok(()),
            other => other.map(drop).map_err(Refusal::from),
        }
    }

    /// Lists what holds the words and brings the first of it into view.
    async fn find(&self, text: &str, cx: &Cx) -> Result<Vec<Notice>, Refusal> {
        const SHOWN: usize = 8;
        let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        if words.is_empty() {
            return reject("nothing to find: `text` is empty");
        }
        let holds = |element: &crate::types::Element| {
            let value = element.value.as_deref().unwrap_or_default();
            let all =
                format!("{} {value} {}", element.name, element.options.join(" ")).to_lowercase();
            words.iter().all(|word| all.contains(word.as_str()))
        };
        let hits: Vec<_> = self
            .items
            .iter()
            .filter(|found| holds(&found.element))
            .collect();
        let Some(first) = hits.first() else {
            let mut near: Vec<(f64, &str)> = self
                .items
                .iter()
                .map(|f| {
                    (
                        strsim::jaro_winkler(&f.element.name.to_lowercase(), &text.to_lowercase()),
                        f.element.name.as_str(),
                    )
                })
                .collect();
            near.sort_by(|a, b| b.0.total_cmp(&a.0));
            return Err(Refusal::Rejected(Rejection {
                reason: format!("\"{text}\" is not on this page"),
                nearest: near
                    .into_iter()
                    .take(3)
                    .map(|(_, name)| name.to_owned())
                    .collect(),
            }));
        };
        let call = format!("showItem({})", first.index);
        self.lane
            .in_frame(&self.frames[first.address], &call, cx)
            .await?;
        let mut lines: Vec<String> = hits.iter().take(SHOWN).map(|f| line(&f.element)).collect();
        if hits.len() > SHOWN {
            lines.push(format!("and {} more", hits.len() - SHOWN));
        }
        let text = format!("found {}: {}", hits.len(), lines.join("; "));
        Ok(vec![Notice {
            kind: NoticeKind::Find,
            text,
        }])
    }
}

/// Where a frame's viewport begins in the main frame's, by walking down its chain.
async fn frame_offset(
    lane: &Lane,
    frames: &[FrameAddress],
    address: &FrameAddress,
    cx: &Cx,
) -> Result<(f64, f64), Refusal> {
    let (mut x, mut y) = (0.0, 0.0);
    for depth in 0..address.chain.len() {
        let parent = frames.iter().find(|f| f.chain == address.chain[..depth]);
        let Some(parent) = parent else {
            return reject("its frame is gone");
        };
        let call = format!("frameAt({})", address.chain[depth]);
        let place = lane.in_frame(parent, &call, cx).await?;
        let place: Option<[f64; 2]> = place.and_then(|value| serde_json::from_value(value).ok());
        let Some([dx, dy]) = place else {
            return reject("its frame is gone");
        };
        x += dx;
        y += dy;
    }
    Ok((x, y))
}
