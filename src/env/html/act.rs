//! Carrying out one action on a state.

use url::Url;

use super::document::{Document, Id};
use super::environment::TextBrowser;
use super::fetch::{Dealings, Gate, Ledger, Request};
use super::fields::{clean, option_disabled};
use super::form::{self, Submit};
use super::load::{Loaded, Loader};
use super::state::{Found, Frame, FramePath, Page, Reading, SCREEN, State};
use super::walk::Look;
use crate::context::{Cx, Interrupted};
use crate::env::page::actions::{Direction, Performed, Ref, Verb};
use crate::env::page::keys::{self, Key};
use crate::env::page::line;
use crate::types::{Notice, NoticeKind, Rejection};

/// How an action can fail to be carried out.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The agent's fault, or how the world is: nothing changed.
    Rejected(Rejection),
    /// A write was stopped; the ledger knows it.
    Held,
    /// Cancelled.
    Interrupted(Interrupted),
    /// The site failed.
    Fault(String),
    /// The site failed under a write: its state is not known.
    Lost(String),
}

pub(super) fn reject<T>(reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Rejected(Rejection::new(reason)))
}

/// An element on the page, found by its reference.
struct Target {
    path: FramePath,
    id: Id,
    what: String,
}

impl TextBrowser {
    /// Carries `verb` out on `state`.
    pub(super) async fn perform(
        &mut self,
        state: &mut State,
        verb: &Verb,
        ledger: &mut Ledger,
        cx: &Cx,
    ) -> Result<Performed, Refusal> {
        let mut done = Performed::default();
        match verb {
            Verb::Click(on) => {
                let target = self.target(state, on.target)?;
                if look(state, &target).refuses_clicks(target.id) {
                    return reject(format!("{} is disabled", target.what));
                }
                self.click(state, &target, ledger, &mut done, cx).await?;
            }
            Verb::Hover(on) => {
                self.target(state, on.target)?;
            }
            Verb::Fill(fill) => {
                let target = self.target(state, fill.target)?;
                self::fill(state, &target, &fill.text)?;
                if fill.submit {
                    let key = Key::plain("Enter");
                    self.press(state, &key, ledger, &mut done, cx).await?;
                }
            }
            Verb::Select(select) => {
                let target = self.target(state, select.target)?;
                choose(state, &target, &select.option)?;
            }
            Verb::Check(check) => {
                let target = self.target(state, check.target)?;
                self.check(state, &target, check.on, ledger, &mut done, cx)
                    .await?;
            }
            Verb::Press(press) => {
                let key = Key::parse(&press.key).map_err(refused)?;
                if let Some(target) = press.target {
                    let target = self.target(state, target)?;
                    state.page_mut().focus(&target.path, Some(target.id));
                }
                self.press(state, &key, ledger, &mut done, cx).await?;
            }
            Verb::Scroll(scroll) => {
                if let Some(target) = scroll.target {
                    self.target(state, target)?;
                }
                self::scroll(state, scroll.direction)?;
            }
            Verb::Drag(drag) => {
                self.target(state, drag.from)?;
                self.target(state, drag.to)?;
                return reject("dragging works by scripts, which do not run here");
            }
            Verb::Goto(goto) => {
                let url = self.address(&goto.url)?;
                let request = Request::get(url);
                self.navigate(state, &[], request, None, ledger, &mut done, cx)
                    .await?;
            }
            Verb::Back => self.history(state, false, ledger, &mut done, cx).await?,
            Verb::Forward => self.history(state, true, ledger, &mut done, cx).await?,
            Verb::TabSwitch(to) => state.active = tab(state, to.index)?,
            Verb::TabOpen(open) => {
                let url = self.address(&open.url)?;
                let request = Request::get(url);
                self.navigate(state, &[], request, Some("_blank"), ledger, &mut done, cx)
                    .await?;
                // It was asked for: that is no news.
                done.notices.retain(|n| n.kind != NoticeKind::Tab);
            }
            Verb::TabClose(close) => {
                let index = match close.index {
                    Some(index) => tab(state, index)?,
                    None => state.active,
                };
                if state.tabs.len() == 1 {
                    return reject("the last tab cannot be closed");
                }
                state.close_tab(index);
            }
            Verb::Wait => {
                if let Some((_, url)) = state.page().top.doc.refresh.clone() {
                    let request = Request {
                        referrer: Some(state.page().top.doc.url.clone()),
                        ..Request::get(self.network().logical(&url))
                    };
                    self.navigate(state, &[], request, None, ledger, &mut done, cx)
                        .await?;
                }
            }
            Verb::Find(find) => done.notices.push(self::find(state, &find.text)?),
            Verb::Stop(stop) => {
                done.terminal = true;
                done.answer.clone_from(&stop.answer);
            }
        }
        Ok(done)
    }

    /// The element a reference means, on the page as it is now.
    fn target(&self, state: &mut State, target: Ref) -> Result<Target, Refusal> {
        let reading = state.read();
        let found = reading.found.iter().find(|f| f.number == target.0);
        match found.filter(|found| found.number > 0) {
            Some(found) => Ok(Target {
                path: reading.frames[found.frame].clone(),
                id: found.node,
                what: line(&found.element),
            }),
            None => Err(self.unknown(&reading, target)),
        }
    }

    /// A reference that is not on the page, with what was probably meant.
    fn unknown(&self, reading: &Reading, target: Ref) -> Refusal {
        let Some((role, name)) = self.known(target.0) else {
            return refused(format!("there is no element [{}] on this page", target.0));
        };
        let score = |found: &Found| {
            let same = f64::from(u8::from(found.element.role == *role));
            strsim::jaro_winkler(name, &found.element.name) + same
        };
        let mut near: Vec<&Found> = reading.found.iter().filter(|f| f.number > 0).collect();
        near.sort_by(|a, b| score(b).total_cmp(&score(a)));
        Refusal::Rejected(Rejection {
            reason: format!(
                "element [{}] ({role} \"{name}\") is no longer on the page",
                target.0
            ),
            nearest: near.iter().take(3).map(|f| line(&f.element)).collect(),
        })
    }

    /// A URL an agent may load: http(s), by the site's logical or real name, or a path.
    fn address(&self, url: &str) -> Result<Url, Refusal> {
        let url = url.trim();
        let parsed = if url.starts_with('/') && !url.starts_with("//") {
            Url::parse(&format!("{}{url}", self.logical_origin()))
        } else {
            Url::parse(url)
        };
        match parsed {
            Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => {
                Ok(self.network().logical(&parsed))
            }
            _ => reject(format!("`{url}` is no http or https URL and no path")),
        }
    }

    /// Loads a document into the frame at `path` of the active page, or where `target` says.
    #[expect(
        clippy::too_many_arguments,
        reason = "one navigation, from four places"
    )]
    async fn navigate(
        &mut self,
        state: &mut State,
        path: &[Id],
        request: Request,
        target: Option<&str>,
        ledger: &mut Ledger,
        done: &mut Performed,
        cx: &Cx,
    ) -> Result<(), Refusal> {
        let page = std::sync::Arc::clone(state.page());
        let place = place(&page, path, target);
        let fragment = request.url.fragment().map(str::to_owned);
        // Loading the same address again is no new entry.
        let replace = request.body.is_none() && request.url == page.url();
        let loaded = self
            .load(state, request, ledger, &mut done.notices, cx)
            .await?;
        let frame = match loaded {
            Loaded::Frame(frame) => *frame,
            Loaded::Nothing(notice) => {
                done.notices.extend(notice);
                return Ok(());
            }
        };
        match place {
            Place::Tab => {
                done.notices.push(Notice {
                    kind: NoticeKind::Tab,
                    text: format!("a new tab opened: {}", frame.doc.url),
                });
                state.open_tab(Page::new(frame, fragment));
            }
            Place::Frame(path) if path.is_empty() => {
                state.enter(Page::new(frame, fragment), replace);
            }
            Place::Frame(path) => {
                let mut page = Page::clone(&page);
                if let Some((last, above)) = path.split_last()
                    && let Some(parent) = page.top.at_mut(above)
                {
                    parent.frames.insert(*last, frame);
                }
                state.enter(page, false);
                // What was read of the page before is no reading of this one.
                state.page_mut();
            }
        }
        Self::to_fragment(state);
        Ok(())
    }

    /// Brings what the address points at into view.
    fn to_fragment(state: &mut State) {
        let page = std::sync::Arc::clone(state.page());
        let Some(fragment) = page.fragment.as_deref().filter(|f| !f.is_empty()) else {
            return;
        };
        let doc = &page.top.doc;
        let name = percent_encoding::percent_decode_str(fragment).decode_utf8_lossy();
        let node = doc.by_id(&name).or_else(|| {
            (0..doc.len()).find(|id| doc.tag(*id) == "a" && doc.attr(*id, "name") == Some(&*name))
        });
        let Some(node) = node else { return };
        let reading = state.read();
        let index = reading
            .found
            .iter()
            .position(|f| reading.frames[f.frame].is_empty() && f.node >= node);
        if let Some(index) = index {
            state.scroll_to(index.min(reading.lowest()));
        }
    }

    async fn load(
        &mut self,
        state: &mut State,
        request: Request,
        ledger: &mut Ledger,
        notices: &mut Vec<Notice>,
        cx: &Cx,
    ) -> Result<Loaded, Refusal> {
        let (network, world, archive) = self.parts();
        let mut loader = Loader {
            network,
            library: &world.library,
            dealings: Dealings {
                cookies: &mut state.cookies,
                ledger,
                rules: &world.rules,
                archive,
            },
            notices,
            cx,
        };
        loader.load(request).await
    }

    /// Loads the first page of a state that has none.
    pub(super) async fn enter_first(
        &mut self,
        state: &mut State,
        url: Url,
        notices: &mut Vec<Notice>,
        cx: &Cx,
    ) -> Result<(), Refusal> {
        let fragment = url.fragment().map(str::to_owned);
        // Loading a page writes nothing, whatever the regime.
        let mut ledger = Ledger::new(Gate::Shut);
        let request = Request::get(url);
        let loaded = self.load(state, request, &mut ledger, notices, cx).await?;
        match loaded {
            Loaded::Frame(frame) => {
                let status = frame.doc.facts.status;
                if status >= 400 {
                    return reject(format!("the server answered {status}"));
                }
                state.open_tab(Page::new(*frame, fragment));
                Self::to_fragment(state);
                Ok(())
            }
            Loaded::Nothing(notice) => reject(notice.map_or_else(
                || "it gave no document (an empty answer)".to_owned(),
                |notice| notice.text,
            )),
        }
    }

    async fn history(
        &mut self,
        state: &mut State,
        forward: bool,
        ledger: &mut Ledger,
        done: &mut Performed,
        cx: &Cx,
    ) -> Result<(), Refusal> {
        let tab = state.tab();
        let to = if forward {
            (tab.at + 1 < tab.history.len()).then_some(tab.at + 1)
        } else {
            tab.at.checked_sub(1)
        };
        let Some(to) = to else {
            return reject(if forward {
                "there is no later page"
            } else {
                "there is no earlier page"
            });
        };
        let page = std::sync::Arc::clone(&tab.history[to]);
        let active = state.active;
        state.tabs[active].at = to;
        // A page that must not be kept is asked for again, if asking changes nothing.
        if page.top.doc.facts.no_store && page.top.doc.facts.by_get {
            let request = Request::get(page.url());
            let loaded = self
                .load(state, request, ledger, &mut done.notices, cx)
                .await?;
            if let Loaded::Frame(frame) = loaded {
                let page = Page::new(*frame, page.fragment.clone());
                state.tabs[active].history[to] = std::sync::Arc::new(page);
            }
        }
        Ok(())
    }

    async fn click(
        &mut self,
        state: &mut State,
        target: &Target,
        ledger: &mut Ledger,
        done: &mut Performed,
        cx: &Cx,
    ) -> Result<(), Refusal> {
        let page = std::sync::Arc::clone(state.page());
        let frame = frame(&page, &target.path);
        let look = frame.look();
        let doc = &frame.doc;
        let id = target.id;
        let takes_focus = takes_focus(&look, id);
        state
            .page_mut()
            .focus(&target.path, takes_focus.then_some(id));
        if form::submits(&look, id) {
            return match doc.form_of(id) {
                Some(form) => {
                    self.submit(state, &target.path, form, Some(id), ledger, done, cx)
                        .await
                }
                None => Ok(()),
            };
        }
        let kind = if doc.tag(id) == "input" {
            look.input_type(id)
        } else {
            doc.tag(id)
        };
        match kind {
            "checkbox" => {
                let on = !frame.fields.is_checked(doc, id);
                fields(state, &target.path)?.set_checked(doc, id, on);
            }
            "radio" => fields(state, &target.path)?.set_checked(doc, id, true),
            "reset" => self::reset(state, &target.path, doc, id)?,
            "button" if doc.is(id, "type", "reset") => self::reset(state, &target.path, doc, id)?,
            "summary" => {
                if let Some(details) = doc.parent(id).filter(|p| doc.tag(*p) == "details") {
                    fields(state, &target.path)?.toggle(doc, details);
                }
            }
            "text" | "search" | "tel" | "url" | "email" | "password" | "number" | "textarea"
            | "select" | "range" | "color" | "file" | "date" | "time" | "month" | "week"
            | "datetime-local" => {}
            _ if look.is_editable(id) => {}
            _ => {
                let link = std::iter::once(id)
                    .chain(doc.ancestors(id))
                    .find(|a| doc.tag(*a) == "a" && doc.has(*a, "href"));
                if let Some(link) = link {
                    return self
                        .follow(state, &target.path, link, ledger, done, cx)
                        .await;
                }
                done.notices.push(Notice {
                    kind: NoticeKind::Other,
                    text: format!(
                        "nothing happened: {} works by a script, if at all",
                        target.what
                    ),
                });
            }
        }
        Ok(())
    }

    async fn follow(
        &mut self,
        state: &mut State,
        path: &[Id],
        link: Id,
        ledger: &mut Ledger,
        done: &mut Performed,
        cx: &Cx,
    ) -> Result<(), Refusal> {
        let page = std::sync::Arc::clone(state.page());
        let frame = frame(&page, path);
        let doc = &frame.doc;
        let href = doc.attr(link, "href").unwrap_or_default().trim();
        let Some(url) = doc.resolve(href) else {
            let scheme = href.split(':').next().unwrap_or_default();
            return reject(if scheme.eq_ignore_ascii_case("javascript") {
                "this link runs a script, and none runs here".to_owned()
            } else {
                format!("this link leads to `{href}`, which is no page")
            });
        };
        let url = self.network().logical(&url);
        if doc.has(link, "download") {
            done.notices.push(Notice {
                kind: NoticeKind::Download,
                text: format!("the download ({url}) was refused"),
            });
            return Ok(());
        }
        let target = doc.attr(link, "target").or(doc.base_target.as_deref());
        let stays = target.is_none_or(|t| t.is_empty() || t.eq_ignore_ascii_case("_self"));
        if stays && url.fragment().is_some() && form::same_document(&url, &doc.url) {
            if path.is_empty() {
                let mut page = Page::clone(&page);
                page.fragment = url.fragment().map(str::to_owned);
                let replace = page.fragment == state.page().fragment;
                state.enter(page, replace);
                if url.fragment() == Some("") {
                    state.scroll_to(0);
                }
                Self::to_fragment(state);
            }
            return Ok(());
        }
        let request = Request {
            referrer: Some(doc.url.clone()),
            ..Request::get(url)
        };
        let target = target.map(str::to_owned);
        self.navigate(state, path, request, target.as_deref(), ledger, done, cx)
            .await
    }

    #[expect(clippy::too_many_arguments, reason = "one submission, from two places")]
    async fn submit(
        &mut self,
        state: &mut State,
        path: &[Id],
        form: Id,
        submitter: Option<Id>,
        ledger: &mut Ledger,
        done: &mut Performed,
        cx: &Cx,
    ) -> Result<(), Refusal> {
        let page = std::sync::Arc::clone(state.page());
        let frame = frame(&page, path);
        match form::submit(&frame.look(), form, submitter) {
            Submit::Send(submission) => {
                let mut request = submission.request;
                request.url = self.network().logical(&request.url);
                let target = submission.target;
                self.navigate(state, path, request, target.as_deref(), ledger, done, cx)
                    .await
            }
            Submit::Invalid(wrong) => {
                let look = frame.look();
                let reasons: Vec<String> = wrong
                    .iter()
                    .map(|(id, why)| {
                        format!(
                            "{} \"{}\" {why}",
                            look.shown_role(*id),
                            look.shown_name(*id)
                        )
                    })
                    .collect();
                fields(state, path)?.refuse(wrong.iter().map(|(id, _)| *id));
                let first = wrong.first().map(|(id, _)| *id);
                state.page_mut().focus(path, first);
                done.notices.push(Notice {
                    kind: NoticeKind::Other,
                    text: format!("the form was not sent: {}", reasons.join("; ")),
                });
                Ok(())
            }
            Submit::Dialog => {
                done.notices.push(Notice {
                    kind: NoticeKind::Other,
                    text: "nothing happened: dialogs work by scripts, which do not run here"
                        .to_owned(),
                });
                Ok(())
            }
            Submit::Nowhere(action) => {
                reject(format!("this form goes to `{action}`, which is no page"))
            }
        }
    }

    async fn check(
        &mut self,
        state: &mut State,
        target: &Target,
        on: bool,
        ledger: &mut Ledger,
        done: &mut Performed,
        cx: &Cx,
    ) -> Result<(), Refusal> {
        let look = look(state, target);
        let (doc, id) = (look.doc, target.id);
        let kind = look.input_type(id);
        let is_box = doc.tag(id) == "input" && matches!(kind, "checkbox" | "radio");
        let aria = doc.attr(id, "aria-checked");
        if !is_box && aria.is_none() {
            return reject(format!("{} is no checkbox, radio or switch", target.what));
        }
        let now = if is_box {
            look.fields.is_checked(doc, id)
        } else {
            aria == Some("true")
        };
        if now == on {
            return Ok(());
        }
        if !on && (is_box && kind == "radio" || look.role(id) == "radio") {
            return reject("a radio button cannot be unticked: choose another one of its group");
        }
        if look.refuses_clicks(id) {
            return reject(format!("{} is disabled", target.what));
        }
        self.click(state, target, ledger, done, cx).await
    }

    /// A key press on what holds the keyboard.
    async fn press(
        &mut self,
        state: &mut State,
        key: &Key,
        ledger: &mut Ledger,
        done: &mut Performed,
        cx: &Cx,
    ) -> Result<(), Refusal> {
        if key.commands() {
            // Shortcuts belong to scripts and to the clipboard: nothing here.
            return Ok(());
        }
        match key.name.as_str() {
            "Tab" => {
                tab_on(state, key.modifiers & keys::SHIFT != 0);
                return Ok(());
            }
            "PageDown" => return self::scroll(state, Direction::Down).or(Ok(())),
            "PageUp" => return self::scroll(state, Direction::Up).or(Ok(())),
            _ => {}
        }
        let page = std::sync::Arc::clone(state.page());
        let Some((path, id)) = page.focused() else {
            return Ok(());
        };
        let frame = frame(&page, &path);
        let look = frame.look();
        let doc = &frame.doc;
        let kind = if doc.tag(id) == "input" {
            look.input_type(id)
        } else {
            doc.tag(id)
        };
        let textual = matches!(
            kind,
            "text" | "search" | "tel" | "url" | "email" | "password" | "number" | "textarea"
        );
        let target = Target {
            path: path.clone(),
            id,
            what: format!("{} \"{}\"", look.shown_role(id), look.shown_name(id)),
        };
        match (key.name.as_str(), kind) {
            ("Enter", "textarea") => type_text(state, &target, "\n"),
            ("Enter", "a")
            | ("Enter" | " ", "button" | "summary" | "submit" | "image" | "reset")
            | (" ", "checkbox" | "radio") => {
                Box::pin(self.click(state, &target, ledger, done, cx)).await
            }
            ("Enter", _) if doc.tag(id) == "input" => {
                self.implied(state, &target, ledger, done, cx).await
            }
            ("Backspace", _) if textual => {
                let mut text = frame.fields.value(&look, id);
                if text.pop().is_some() && !doc.has(id, "readonly") {
                    fields(state, &path)?.set_value(id, text);
                }
                Ok(())
            }
            ("ArrowDown" | "ArrowUp", "select") if !doc.has(id, "multiple") => {
                let all: Vec<Id> = look
                    .options(id)
                    .filter(|o| !option_disabled(doc, *o))
                    .collect();
                let chosen = frame.fields.chosen(&look, id).first().copied();
                let at = chosen.and_then(|c| all.iter().position(|o| *o == c));
                let next = match (at, key.name == "ArrowDown") {
                    (Some(at), true) => all.get(at + 1),
                    (Some(at), false) => at.checked_sub(1).and_then(|at| all.get(at)),
                    (None, _) => all.first(),
                };
                if let Some(next) = next.copied() {
                    fields(state, &path)?.choose(&look, id, next);
                }
                Ok(())
            }
            _ => match key.text() {
                Some(text) if textual && !look.is_disabled(id) && !doc.has(id, "readonly") => {
                    type_text(state, &target, text)
                }
                _ => Ok(()),
            },
        }
    }

    /// Enter in a field: the form's default button is pressed, or the form is sent without one.
    async fn implied(
        &mut self,
        state: &mut State,
        target: &Target,
        ledger: &mut Ledger,
        done: &mut Performed,
        cx: &Cx,
    ) -> Result<(), Refusal> {
        let page = std::sync::Arc::clone(state.page());
        let frame = frame(&page, &target.path);
        let look = frame.look();
        let Some(form) = frame.doc.form_of(target.id) else {
            return Ok(());
        };
        let button = form::controls(&frame.doc, form).find(|id| form::submits(&look, *id));
        if let Some(button) = button {
            if look.is_disabled(button) {
                return Ok(());
            }
        } else {
            let fields = form::controls(&frame.doc, form).filter(|id| {
                frame.doc.tag(*id) == "input"
                    && !matches!(
                        look.input_type(*id),
                        "hidden"
                            | "checkbox"
                            | "radio"
                            | "file"
                            | "button"
                            | "reset"
                            | "range"
                            | "color"
                    )
            });
            // Several fields and no button: Enter means nothing.
            if fields.count() > 1 {
                return Ok(());
            }
        }
        self.submit(state, &target.path, form, button, ledger, done, cx)
            .await
    }
}

fn refused(reason: impl Into<String>) -> Refusal {
    Refusal::Rejected(Rejection::new(reason.into()))
}

/// Where a document goes.
enum Place {
    Frame(FramePath),
    Tab,
}

/// The frame of this name inside a frame, as a path.
fn named(frame: &Frame, name: &str, path: &mut FramePath) -> bool {
    for (id, inside) in &frame.frames {
        path.push(*id);
        if frame.doc.attr(*id, "name") == Some(name) || named(inside, name, path) {
            return true;
        }
        path.pop();
    }
    false
}

/// Where a link or form in the frame at `path` leads by its target.
fn place(page: &Page, path: &[Id], target: Option<&str>) -> Place {
    let target = target.unwrap_or_default();
    let lower = target.to_ascii_lowercase();
    match lower.as_str() {
        "" | "_self" => return Place::Frame(path.to_vec()),
        "_top" => return Place::Frame(Vec::new()),
        "_parent" => {
            let above = path.split_last().map(|(_, above)| above.to_vec());
            return Place::Frame(above.unwrap_or_default());
        }
        _ => {}
    }
    let mut found = Vec::new();
    if !target.starts_with('_') && named(&page.top, target, &mut found) {
        return Place::Frame(found);
    }
    Place::Tab
}

/// The frame at a path that a reading gave: it is there.
fn frame<'a>(page: &'a Page, path: &[Id]) -> &'a Frame {
    page.top.at(path).unwrap_or(&page.top)
}

fn look<'a>(state: &'a State, target: &Target) -> Look<'a> {
    frame(state.page(), &target.path).look()
}

fn fields<'a>(state: &'a mut State, path: &[Id]) -> Result<&'a mut super::fields::Fields, Refusal> {
    match state.page_mut().top.at_mut(path) {
        Some(frame) => Ok(&mut frame.fields),
        None => reject("its frame is gone"),
    }
}

fn takes_focus(look: &Look<'_>, id: Id) -> bool {
    let doc = look.doc;
    match doc.tag(id) {
        "a" => doc.has(id, "href"),
        "input" | "button" | "select" | "textarea" => !look.is_disabled(id),
        "summary" => true,
        _ => doc.has(id, "tabindex") || look.is_editable(id),
    }
}

fn reset(state: &mut State, path: &[Id], doc: &Document, button: Id) -> Result<(), Refusal> {
    if let Some(form) = doc.form_of(button) {
        fields(state, path)?.reset(doc, form);
    }
    Ok(())
}

fn fill(state: &mut State, target: &Target, text: &str) -> Result<(), Refusal> {
    let look = look(state, target);
    let (doc, id) = (look.doc, target.id);
    let what = &target.what;
    if doc.has(id, "disabled") && doc.tag(id) != "a" || look.is_disabled(id) {
        return reject(format!("{what} is disabled"));
    }
    if matches!(doc.tag(id), "input" | "textarea") && doc.has(id, "readonly") {
        return reject(format!("{what} cannot be edited"));
    }
    let value = match doc.tag(id) {
        "input" => match look.input_type(id) {
            "checkbox" | "radio" | "button" | "submit" | "reset" | "image" | "file" | "hidden" => {
                return reject(format!("{what} is no text field"));
            }
            kind => match clean(kind, text) {
                Some(value) => value,
                None if text.is_empty() => String::new(),
                None => {
                    return reject(format!(
                        "{what} does not take that text (a field of type {kind})"
                    ));
                }
            },
        },
        "textarea" => text.replace("\r\n", "\n").replace('\r', "\n"),
        _ if look.is_editable(id) => text.to_owned(),
        _ => return reject(format!("{what} is no text field")),
    };
    let value = shortened(doc, id, value);
    let page = state.page_mut();
    page.focus(&target.path, Some(id));
    fields(state, &target.path)?.set_value(id, value);
    Ok(())
}

/// What a field keeps of a text: browsers stop typing at `maxlength`.
fn shortened(doc: &Document, id: Id, text: String) -> String {
    let most = doc
        .attr(id, "maxlength")
        .and_then(|m| m.trim().parse::<usize>().ok());
    let Some(most) = most.filter(|most| text.encode_utf16().count() > *most) else {
        return text;
    };
    let mut units = 0;
    text.chars()
        .take_while(|c| {
            units += c.len_utf16();
            units <= most
        })
        .collect()
}

/// Types at the end of a field.
fn type_text(state: &mut State, target: &Target, text: &str) -> Result<(), Refusal> {
    let look = look(state, target);
    let value = look.fields.value(&look, target.id) + text;
    let value = shortened(look.doc, target.id, value);
    fields(state, &target.path)?.set_value(target.id, value);
    Ok(())
}

fn choose(state: &mut State, target: &Target, wanted: &str) -> Result<(), Refusal> {
    let page = std::sync::Arc::clone(state.page());
    let look = frame(&page, &target.path).look();
    let (doc, id) = (look.doc, target.id);
    let what = &target.what;
    if doc.tag(id) != "select" {
        return reject(format!("{what} is no list of options"));
    }
    if look.is_disabled(id) {
        return reject(format!("{what} is disabled"));
    }
    let all: Vec<(Id, String)> = look
        .options(id)
        .map(|option| (option, look.option_label(option)))
        .collect();
    let label = super::document::squash(wanted);
    let same = |text: &str| text.to_lowercase() == label.to_lowercase();
    let found = all
        .iter()
        .find(|(_, text)| *text == label)
        .or_else(|| {
            all.iter()
                .find(|(option, _)| super::fields::option_value(doc, *option) == wanted)
        })
        .or_else(|| all.iter().find(|(_, text)| same(text)));
    let Some((option, _)) = found else {
        return Err(Refusal::Rejected(Rejection {
            reason: format!("{what} has no such option"),
            nearest: all.into_iter().take(30).map(|(_, text)| text).collect(),
        }));
    };
    if option_disabled(doc, *option) {
        return reject(format!("that option of {what} is disabled"));
    }
    state.page_mut().focus(&target.path, Some(id));
    fields(state, &target.path)?.choose(&look, id, *option);
    Ok(())
}

fn scroll(state: &mut State, direction: Direction) -> Result<(), Refusal> {
    const STEP: usize = SCREEN * 4 / 5;
    let lowest = state.read().lowest();
    let top = state.page().scroll;
    let (to, word) = match direction {
        Direction::Down => ((top + STEP).min(lowest), "down"),
        Direction::Up => (top.saturating_sub(STEP), "up"),
    };
    if to == top {
        return reject(format!("nothing further to scroll {word}"));
    }
    state.scroll_to(to);
    Ok(())
}

fn tab(state: &State, index: u32) -> Result<usize, Refusal> {
    let at = (index as usize).checked_sub(1);
    match at.filter(|at| *at < state.tabs.len()) {
        Some(at) => Ok(at),
        None => reject(format!(
            "there is no tab {index}; {} are open",
            state.tabs.len()
        )),
    }
}

/// Moves the keyboard to the next control, or the one before.
fn tab_on(state: &mut State, backwards: bool) {
    let reading = state.read();
    let page = std::sync::Arc::clone(state.page());
    let mut stops: Vec<(&FramePath, Id)> = reading
        .found
        .iter()
        .filter(|f| f.number > 0)
        .map(|f| (&reading.frames[f.frame], f.node))
        .filter(|(path, id)| takes_focus(&frame(&page, path).look(), *id))
        .collect();
    if backwards {
        stops.reverse();
    }
    let now = page.focused();
    let at = now.and_then(|(path, id)| stops.iter().position(|s| *s.0 == path && s.1 == id));
    let next = at.map_or(0, |at| at + 1);
    let next = stops.get(next).map(|(path, id)| ((*path).clone(), *id));
    match next {
        Some((path, id)) => state.page_mut().focus(&path, Some(id)),
        None => state.page_mut().focus(&[], None),
    }
}

/// Lists what holds the words and brings the first of it into view.
fn find(state: &mut State, text: &str) -> Result<Notice, Refusal> {
    const SHOWN: usize = 8;
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    if words.is_empty() {
        return reject("nothing to find: `text` is empty");
    }
    let reading = state.read();
    let holds = |found: &Found| {
        let element = &found.element;
        let value = element.value.as_deref().unwrap_or_default();
        let all = format!("{} {value} {}", element.name, element.options.join(" ")).to_lowercase();
        words.iter().all(|word| all.contains(word.as_str()))
    };
    let hits: Vec<(usize, &Found)> = reading
        .found
        .iter()
        .enumerate()
        .filter(|(_, found)| holds(found))
        .collect();
    let Some((first, _)) = hits.first() else {
        let score = |found: &Found| {
            strsim::jaro_winkler(&found.element.name.to_lowercase(), &text.to_lowercase())
        };
        let mut near: Vec<&Found> = reading.found.iter().collect();
        near.sort_by(|a, b| score(b).total_cmp(&score(a)));
        return Err(Refusal::Rejected(Rejection {
            reason: format!("\"{text}\" is not on this page"),
            nearest: near
                .into_iter()
                .take(3)
                .map(|f| f.element.name.clone())
                .collect(),
        }));
    };
    let top = state.page().scroll;
    if !(top..top + SCREEN).contains(first) {
        let to = first.saturating_sub(SCREEN / 2).min(reading.lowest());
        state.scroll_to(to);
    }
    let mut lines: Vec<String> = hits
        .iter()
        .take(SHOWN)
        .map(|(_, f)| line(&f.element))
        .collect();
    if hits.len() > SHOWN {
        lines.push(format!("and {} more", hits.len() - SHOWN));
    }
    Ok(Notice {
        kind: NoticeKind::Find,
        text: format!("found {}: {}", hits.len(), lines.join("; ")),
    })
}
