//! Follows a run and says what happens.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use super::json;
use super::live::{Canvas, Scene};
use super::summary::{note_words, of_limit, outcome_word, plural, reason_words};
use super::text::{Line, Tone, printable};
use super::throttle::Throttle;
use super::words::{EdgeWords, Words};
use crate::runtime::Progress;
use crate::search::{EdgeStatus, Order, Request, Search};
use crate::types::{NodeId, Ticket};

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The tree, drawn in place (ANSI).
    Live,
    /// A line for each order that landed.
    Plain,
    /// A JSON object on a line for each event.
    Json,
    /// Nothing.
    Quiet,
}

impl Mode {
    /// JSON where it was asked for; else nothing where that was; else by whether a terminal
    /// listens.
    #[must_use]
    pub fn choose(json: bool, quiet: bool, is_terminal: bool) -> Self {
        if json {
            Self::Json
        } else if quiet {
            Self::Quiet
        } else if is_terminal {
            Self::Live
        } else {
            Self::Plain
        }
    }
}

/// The limits that a reporter cannot read from the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunBudget {
    /// On the wall time of a search.
    pub wall: Option<Duration>,
}

/// What is known of an order that was told.
struct Told {
    request: Request,
    words: EdgeWords,
}

/// Shows a run, or one after the other, as they go on. Give [`update`](Self::update) to
/// [`run`](crate::runtime::run) and call [`finish`](Self::finish) when it is over.
///
/// Live frames are drawn when something happens, not by a clock, and at most about 20 times a
/// second. Once the writer fails (nobody listens any more) nothing more is written to it.
pub struct Reporter {
    mode: Mode,
    out: Box<dyn Write + Send>,
    /// The writer failed: nobody listens any more.
    broken: bool,
    size: Option<(u16, u16)>,
    colour: bool,
    budget: RunBudget,
    begun: Instant,
    scene: Scene,
    words: Words,
    canvas: Canvas,
    throttle: Throttle,
    /// Orders that were told and have not landed.
    told: BTreeMap<Ticket, Told>,
    /// Steps that were shown.
    steps: u32,
    /// Actions known under a state when it was last shown.
    known: BTreeMap<NodeId, usize>,
}

impl std::fmt::Debug for Reporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reporter")
            .field("mode", &self.mode)
            .field("size", &self.size)
            .field("colour", &self.colour)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

impl Reporter {
    /// A reporter that writes to `out`: standard error for [`Mode::Live`] and [`Mode::Plain`],
    /// standard output for [`Mode::Json`].
    ///
    /// `size` is the terminal's, rows and columns; without it the terminal on standard error is
    /// asked before each frame, and 24 by 80 assumed if it does not say. Colour is used in
    /// [`Mode::Live`] only.
    #[must_use]
    pub fn new(
        mode: Mode,
        out: Box<dyn Write + Send>,
        size: Option<(u16, u16)>,
        colour: bool,
        budget: RunBudget,
    ) -> Self {
        let now = Instant::now();
        let mut reporter = Self {
            mode,
            out,
            broken: false,
            size,
            colour,
            budget,
            begun: now,
            scene: Scene::default(),
            words: Words::default(),
            canvas: Canvas::default(),
            throttle: Throttle::new(now),
            told: BTreeMap::new(),
            steps: 0,
            known: BTreeMap::new(),
        };
        reporter.reset();
        reporter
    }

    /// A task begins, the `index`th (from 1) of `of`. Its clock starts now.
    pub fn task(&mut self, id: &str, index: usize, of: usize) {
        self.finish();
        self.reset();
        self.scene.task = Some((id.to_owned(), index, of));
        match self.mode {
            Mode::Plain => self.say(&format!("task {index}/{of}  {id}")),
            Mode::Json => {
                let event = serde_json::json!({
                    "event": "task", "id": id, "index": index, "of": of,
                });
                self.write(&(json::line(&event) + "\n"));
            }
            Mode::Live | Mode::Quiet => {}
        }
    }

    /// Takes an event in: the callback of [`run`](crate::runtime::run).
    pub fn update(&mut self, progress: &Progress, search: &Search) {
        self.learn(progress, search);
        match self.mode {
            Mode::Live => self.redraw(progress, search),
            Mode::Plain => {
                for line in self.plain_lines(progress, search) {
                    self.say(&line);
                }
            }
            Mode::Json => {
                let event = json::event(progress);
                let landed: Vec<_> = self
                    .landed(progress, search)
                    .into_iter()
                    .map(|(ticket, told)| json::landed(ticket, told.request, &told.words, search))
                    .collect();
                let lines: String = landed
                    .iter()
                    .chain(&event)
                    .map(|event| json::line(event) + "\n")
                    .collect();
                self.write(&lines);
            }
            Mode::Quiet => {}
        }
    }

    /// The run is over: leaves the last frame where it is and shows the cursor again.
    pub fn finish(&mut self) {
        let leave = self.canvas.leave();
        self.write(leave);
    }

    /// Forgets the last run.
    fn reset(&mut self) {
        self.begun = Instant::now();
        self.scene = Scene {
            wall: self.budget.wall,
            ..Scene::default()
        };
        self.forget_tree();
    }

    /// Another tree begins.
    fn forget_tree(&mut self) {
        self.words = Words::default();
        self.told.clear();
        self.steps = 0;
        self.known.clear();
    }

    fn learn(&mut self, progress: &Progress, search: &Search) {
        if matches!(progress, Progress::Round { .. }) {
            self.forget_tree();
        }
        self.scene.follow(progress, search, &self.words);
        if let Progress::Landed {
            ticket,
            request,
            target,
            url,
            note,
            ..
        } = progress
        {
            let words = EdgeWords {
                target: target.clone(),
                url: url.clone(),
                note: note.clone(),
            };
            if let Request::Step { edge } = *request {
                self.words.insert(edge, words.clone());
            }
            if matches!(self.mode, Mode::Plain | Mode::Json) {
                let request = *request;
                self.told.insert(*ticket, Told { request, words });
            }
        }
    }

    /// Takes out the orders that landed by now, in ticket order: under [`Order::Ticket`] those
    /// before which none is outstanding.
    fn landed(&mut self, progress: &Progress, search: &Search) -> BTreeMap<Ticket, Told> {
        let ended = matches!(progress, Progress::SearchEnded { .. });
        let first = match search.config().order {
            Order::Ticket if !ended => search.outstanding().map(|(ticket, _)| ticket).min(),
            Order::Ticket | Order::Arrival => None,
        };
        let waiting = first.map_or_else(BTreeMap::new, |first| self.told.split_off(&first));
        std::mem::replace(&mut self.told, waiting)
    }

    // ------------------------------------------------------------ live

    fn redraw(&mut self, progress: &Progress, search: &Search) {
        let mut above = Vec::new();
        match progress {
            Progress::Warning(text) => {
                let mut line = Line::of(Tone::Warn, &format!("warning: {text}"));
                line.clip(self.room().1);
                above.push(line);
            }
            Progress::Started { .. } | Progress::Landed { .. } => {
                if !self.throttle.allow(Instant::now()) {
                    return;
                }
            }
            Progress::Opened { .. }
            | Progress::Round { .. }
            | Progress::SearchEnded { .. }
            | Progress::Committing { .. }
            | Progress::Verdict(_) => {}
        }
        let frame = self
            .scene
            .frame(search, &self.words, self.room(), self.begun.elapsed());
        let text = self.canvas.paint(&above, &frame, self.colour);
        self.write(&text);
    }

    /// Lines and columns that a frame may fill. Two lines stay free; so does the last column,
    /// where some terminals break the line.
    fn room(&self) -> (usize, usize) {
        let (rows, cols) = self
            .size
            .or_else(|| console::Term::stderr().size_checked())
            .unwrap_or((24, 80));
        (
            usize::from(rows).saturating_sub(2).max(1),
            usize::from(cols).saturating_sub(1),
        )
    }

    // ------------------------------------------------------------ plain

    fn plain_lines(&mut self, progress: &Progress, search: &Search) -> Vec<String> {
        let landed = self.landed(progress, search);
        let mut lines: Vec<String> = landed
            .into_values()
            .map(|told| self.landed_line(&told, search))
            .collect();
        match progress {
            Progress::Opened { goal, dir } => {
                lines.push(format!("goal: {goal}"));
                lines.push(format!("record: {}", dir.display()));
            }
            Progress::Round { round } => lines.push(format!(
                "round {}: the commit was not the end; the search goes on from there",
                round + 1
            )),
            Progress::Started { .. } | Progress::Landed { .. } => {}
            Progress::Warning(text) => lines.push(format!("warning: {text}")),
            Progress::SearchEnded { reason, best } => {
                let best = best.map_or_else(|| "no state".to_owned(), |best| best.to_string());
                lines.push(format!(
                    "search ended: {}; best {best}",
                    reason_words(*reason)
                ));
            }
            Progress::Committing { step, of, action } => {
                let what = self.words.committed(search, *step);
                let what = what.unwrap_or_else(|| action.clone());
                lines.push(format!("commit {step}/{of}  {what}"));
            }
            Progress::Verdict(verdict) => {
                lines.push(format!("verdict: {}", outcome_word(verdict.outcome)));
            }
        }
        lines
    }

    fn landed_line(&mut self, told: &Told, search: &Search) -> String {
        let tree = search.tree();
        let reason = told.words.note.as_deref().map(note_words);
        match told.request {
            Request::Propose { node, .. } => {
                let count = tree.edges(node).count();
                let before = self.known.insert(node, count).unwrap_or(0);
                match reason {
                    Some(reason) => format!("propose {node}  failed: {reason}"),
                    None => format!(
                        "propose {node}  {}",
                        plural((count - before) as u64, "new action")
                    ),
                }
            }
            Request::Judge { node } => {
                let place = tree.node(node).parent().map_or_else(
                    || "start".to_owned(),
                    |edge| self.words.phrase(search, edge),
                );
                match (reason, tree.node(node).value()) {
                    (Some(reason), _) => format!("value {node}  {place}  failed: {reason}"),
                    (None, Some(value)) => format!("value {node}  {place}  {value}"),
                    (None, None) => format!("value {node}  {place}  none"),
                }
            }
            Request::Compare { first, second } => match reason {
                Some(reason) => format!("compare {first} {second}  failed: {reason}"),
                None => format!("compare {first} {second}"),
            },
            Request::Step { edge } => {
                self.steps += 1;
                let limit = search.config().budget.steps.map(u64::from);
                let count = of_limit(self.steps.into(), limit);
                let what = self.words.phrase(search, edge);
                let edge = tree.edge(edge);
                let why = reason.map_or_else(String::new, |reason| format!(": {reason}"));
                let to = told.words.url.as_deref().unwrap_or_default();
                let end = match edge.status() {
                    EdgeStatus::Done(node) if tree.node(node).terminal() => {
                        format!("-> {node} {to} (end)")
                    }
                    EdgeStatus::Done(node) => format!("-> {node} {to}"),
                    EdgeStatus::Loop(node) => format!("-> back to {node} {to}"),
                    EdgeStatus::Rejected => format!("rejected{why}"),
                    EdgeStatus::Held(node) => format!("-> {node} held{why}"),
                    EdgeStatus::Failed => format!("failed{why}"),
                    EdgeStatus::Lost => format!("lost{why}"),
                    EdgeStatus::Queued | EdgeStatus::InFlight => format!("-> {to}"),
                };
                format!("step {count}  {}  {what}  {end}", edge.parent())
            }
        }
    }

    fn say(&mut self, line: &str) {
        let line = printable(line).into_owned() + "\n";
        self.write(&line);
    }

    /// What cannot be written is not shown; it is in the record.
    fn write(&mut self, text: &str) {
        if !text.is_empty() && !self.broken {
            let written = self.out.write_all(text.as_bytes());
            self.broken = written.and_then(|()| self.out.flush()).is_err();
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::eval::Verdict;
    use crate::report::testing::{HOSTILE, Sink, drive, new_search};
    use crate::search::StopReason;

    fn reporter(mode: Mode, size: (u16, u16)) -> (Reporter, Sink) {
        let sink = Sink::default();
        let budget = RunBudget {
            wall: Some(Duration::from_hours(1)),
        };
        let reporter = Reporter::new(mode, Box::new(sink.clone()), Some(size), false, budget);
        (reporter, sink)
    }

    /// A whole run as the driver tells it.
    fn follow(reporter: &mut Reporter, goal: &str) {
        let mut search = new_search(Order::Ticket);
        let opened = Progress::Opened {
            goal: goal.to_owned(),
            dir: PathBuf::from("runs/1"),
        };
        reporter.task("shop/mug", 2, 5);
        reporter.update(&opened, &search);
        drive(&mut search, 18, |ticket, request, words, search| {
            let EdgeWords { target, url, note } = words.clone();
            let landed = Progress::Landed {
                ticket,
                request,
                nodes: Vec::new(),
                target,
                url,
                note,
                spent: search.spent(),
            };
            reporter.update(&landed, search);
        });
        let best = search.best();
        for progress in [
            Progress::Warning("the browser did not close".to_owned()),
            Progress::SearchEnded {
                reason: StopReason::Steps,
                best,
            },
            Progress::Committing {
                step: 1,
                of: 2,
                action: "click(ref: \"1\")".to_owned(),
            },
            Progress::Verdict(Verdict::of(Vec::new())),
        ] {
            reporter.update(&progress, &search);
        }
        reporter.finish();
    }

    #[test]
    fn the_mode_follows_who_listens() {
        assert_eq!(Mode::choose(true, true, true), Mode::Json);
        assert_eq!(Mode::choose(false, true, true), Mode::Quiet);
        assert_eq!(Mode::choose(false, false, true), Mode::Live);
        assert_eq!(Mode::choose(false, false, false), Mode::Plain);
    }

    #[test]
    fn plain_lines_say_what_landed() {
        let (mut reporter, sink) = reporter(Mode::Plain, (24, 80));
        follow(&mut reporter, "buy the red mug");
        insta::assert_snapshot!(sink.text(), @r#"
        task 2/5  shop/mug
        goal: buy the red mug
        record: runs/1
        propose n0  7 new actions
        step 1/20  n0  click link "Mug"  -> n1 http://shop.test/mug
        step 2/20  n0  fill [3] "mug"  rejected: no element 3
        step 3/20  n0  click link "Cart"  -> n2 http://shop.test/cart
        value n1  click link "Mug"  0.62
        step 4/20  n0  back  -> back to n0 start
        value n2  click link "Cart"  0.31
        propose n1  2 new actions
        step 5/20  n0  click button "Buy"  -> n3 held: it writes
        propose n2  2 new actions
        step 6/20  n1  stop "4"  -> n4 http://shop.test/mug (end)
        value n3  click button "Buy"  none
        step 7/20  n1  hover [1]  -> n5 http://shop.test/mug#hover
        value n4  stop "4"  0.95
        step 8/20  n0  goto "http://shop.test/down"  failed: the page crashed
        value n5  hover [1]  none
        step 9/20  n0  scroll 400  -> n6 start#scroll
        step 10/20  n2  press "Enter"  -> n7 http://shop.test/cart#press
        warning: the browser did not close
        search ended: the budget of actions is spent; best n4
        commit 1/2  click link "Mug"
        verdict: unscored
        "#);
    }

    #[test]
    fn machines_get_one_object_a_line() {
        let (mut reporter, sink) = reporter(Mode::Json, (24, 80));
        follow(&mut reporter, HOSTILE);
        let text = sink.text();
        assert!(
            !text
                .chars()
                .any(|c| c != '\n' && super::super::text::unprintable(c))
        );
        let events: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(events[1]["goal"], HOSTILE);
        let kinds: Vec<_> = events
            .iter()
            .map(|e| e["event"].as_str().unwrap())
            .collect();
        let mut expected = vec!["task", "opened"];
        expected.extend(["landed"; 18]);
        expected.extend(["warning", "search_ended", "committing", "verdict"]);
        assert_eq!(kinds, expected);
        let step = events.iter().find(|e| e["request"] == "step").unwrap();
        insta::assert_json_snapshot!(step, @r#"
        {
          "action": {
            "arguments": {
              "ref": "1"
            },
            "name": "click"
          },
          "cost": {
            "cached_tokens": 200,
            "env_actions": 0,
            "input_tokens": 1200,
            "model_calls": 1,
            "money_micro_usd": 1250,
            "output_tokens": 34,
            "priced": true
          },
          "edge": 0,
          "event": "landed",
          "node": 1,
          "note": null,
          "parent": 0,
          "request": "step",
          "spent": {
            "nodes": 2,
            "orders": 1,
            "steps": 1
          },
          "status": "done",
          "target": "link \"Mug\"",
          "terminal": false,
          "ticket": 1,
          "url": "http://shop.test/mug"
        }
        "#);
    }

    #[test]
    fn quiet_writes_nothing() {
        let (mut reporter, sink) = reporter(Mode::Quiet, (24, 80));
        follow(&mut reporter, "buy the red mug");
        drop(reporter);
        assert_eq!(sink.text(), "");
    }

    /// What a terminal of so many columns shows after these bytes: lines, and the cursor's row.
    /// Knows only what the canvas uses; anything else fails the test.
    fn screen(text: &str, cols: usize) -> (Vec<String>, bool) {
        let (mut lines, mut row, mut cursor) = (vec![String::new()], 0, true);
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '\x1b' => {
                    let end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                    let (arguments, code) = (&rest[1..end], &rest[end..=end]);
                    match code {
                        "A" => row -= arguments.parse::<usize>().unwrap(),
                        "K" => {}
                        "J" => lines.truncate(row + 1),
                        "h" | "l" => {
                            assert_eq!(arguments, "?25");
                            cursor = code == "h";
                        }
                        other => panic!("unknown escape {other}"),
                    }
                    rest = &rest[end + 1..];
                }
                '\r' => lines[row].clear(),
                '\n' => {
                    row += 1;
                    if row == lines.len() {
                        lines.push(String::new());
                    }
                    lines[row].clear();
                }
                c => {
                    lines[row].push(c);
                    assert!(console::measure_text_width(&lines[row]) < cols);
                }
            }
        }
        (lines, cursor)
    }

    #[test]
    fn live_frames_replace_each_other_and_fit() {
        for (rows, cols) in [(12, 60), (24, 80), (4, 20), (1, 1)] {
            let (mut reporter, sink) = reporter(Mode::Live, (rows, cols));
            follow(&mut reporter, HOSTILE);
            let (lines, cursor) = screen(&sink.text(), cols.into());
            assert!(cursor, "the cursor is shown again");
            let frame = usize::from(rows.saturating_sub(2).max(1));
            let warnings = 1;
            assert!(lines.len() <= frame + warnings + 1, "{lines:#?}");
        }
    }

    #[test]
    fn a_closed_pipe_stops_the_writing_only() {
        struct Closed(u32);
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                self.0 += 1;
                assert_eq!(self.0, 1, "it was written to again");
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let out = Box::new(Closed(0));
        let mut reporter = Reporter::new(Mode::Plain, out, None, false, RunBudget::default());
        follow(&mut reporter, "buy the red mug");
    }
}
