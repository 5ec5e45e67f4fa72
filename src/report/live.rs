//! The tree as it grows, drawn in place.

use std::fmt::Write;
use std::time::Duration;

use super::summary::{money, of_limit, outcome_word, reason_words};
use super::text::{Line, Tone, clock, short};
use super::tree;
use super::words::Words;
use crate::runtime::Progress;
use crate::search::Search;

/// What a frame shows beside the tree.
#[derive(Debug, Clone, Default)]
pub(super) struct Scene {
    /// The task, and its place among all.
    pub(super) task: Option<(String, usize, usize)>,
    /// The goal.
    pub(super) goal: String,
    /// What goes on after the search.
    pub(super) phase: Option<(Tone, String)>,
    /// The limit on wall time.
    pub(super) wall: Option<Duration>,
}

impl Scene {
    /// Takes in what the tree does not show.
    pub(super) fn follow(&mut self, progress: &Progress, search: &Search, words: &Words) {
        match progress {
            Progress::Opened { goal, .. } => self.goal.clone_from(goal),
            Progress::SearchEnded { reason, .. } => {
                let text = format!("search ended: {}", reason_words(*reason));
                self.phase = Some((Tone::Plain, text));
            }
            Progress::Committing { step, of, action } => {
                let what = words
                    .committed(search, *step)
                    .unwrap_or_else(|| action.clone());
                self.phase = Some((Tone::Warn, format!("committing {step}/{of}  {what}")));
            }
            Progress::Verdict(verdict) => {
                self.phase = Some((
                    Tone::Strong,
                    format!("verdict: {}", outcome_word(verdict.outcome)),
                ));
            }
            Progress::Round { .. } => self.phase = None,
            Progress::Started { .. } | Progress::Landed { .. } | Progress::Warning(_) => {}
        }
    }

    /// A frame of at most `rows` lines and `cols` columns.
    pub(super) fn frame(
        &self,
        search: &Search,
        words: &Words,
        (rows, cols): (usize, usize),
        elapsed: Duration,
    ) -> Vec<Line> {
        let mut lines = vec![self.title()];
        // Little room is the tree's.
        let most = if rows < 10 { 1 } else { 2 };
        lines.extend(self.figures(search, elapsed, cols).into_iter().take(most));
        let phase = self
            .phase
            .as_ref()
            .map(|(tone, text)| Line::of(*tone, text));
        let room = rows.saturating_sub(lines.len() + usize::from(phase.is_some()));
        lines.extend(tree::lines(search, words, cols, room));
        lines.extend(phase);
        lines.truncate(rows);
        for line in &mut lines {
            line.clip(cols);
        }
        lines
    }

    fn title(&self) -> Line {
        let mut line = Line::default();
        if let Some((id, index, of)) = &self.task {
            if *of > 1 {
                line.push(Tone::Dim, &format!("{index}/{of}  "));
            }
            line.push(Tone::Strong, &format!("{id}  "));
        }
        line.push(Tone::Plain, &self.goal);
        line
    }

    /// Strategy, counts, cost, time: on as many lines as it takes.
    fn figures(&self, search: &Search, elapsed: Duration, cols: usize) -> Vec<Line> {
        let (spent, budget) = (search.spent(), search.config().budget);
        let mut lines = vec![Line::of(Tone::Strong, search.strategy_name())];
        let mut put = |name: &str, text: &str| {
            let mut item = Line::of(Tone::Dim, &format!("  {name}"));
            item.push(Tone::Plain, text);
            match lines.last_mut() {
                Some(line) if line.width() + item.width() <= cols => line.append(item),
                Some(_) | None => lines.push(item),
            }
        };
        let limited = |text: String, limit: Option<String>| match limit {
            Some(limit) => format!("{text}/{limit}"),
            None => text,
        };
        put(
            "step ",
            &of_limit(spent.steps.into(), budget.steps.map(u64::from)),
        );
        put(
            "nodes ",
            &of_limit(spent.nodes.into(), budget.nodes.map(u64::from)),
        );
        put("calls ", &short(spent.cost.model_calls.into()));
        if let Some(limit) = budget.model_calls {
            put(
                "orders ",
                &of_limit(spent.orders.into(), Some(limit.into())),
            );
        }
        let tokens = short(spent.cost.tokens());
        put("tokens ", &limited(tokens, budget.tokens.map(short)));
        let limit = budget.money.map(|limit| limit.to_string());
        put("", &limited(money(&spent.cost), limit));
        let left = self.wall.map_or_else(String::new, |wall| {
            format!(", {} left", clock(wall.saturating_sub(elapsed)))
        });
        put("", &format!("{}{left}", clock(elapsed)));
        lines
    }
}

/// The part of the screen that is drawn over.
#[derive(Debug, Default)]
pub(super) struct Canvas {
    /// Lines of the last frame: the cursor is below them.
    drawn: usize,
    hidden_cursor: bool,
}

impl Canvas {
    /// What puts `above` for good over the frame and `frame` in the place of the last one.
    pub(super) fn paint(&mut self, above: &[Line], frame: &[Line], colour: bool) -> String {
        let mut out = String::new();
        if !self.hidden_cursor {
            self.hidden_cursor = true;
            out.push_str("\x1b[?25l");
        }
        // A String takes everything.
        if self.drawn > 0 {
            _ = write!(out, "\x1b[{}A", self.drawn);
        }
        out.push('\r');
        for line in above.iter().chain(frame) {
            out.push_str(&line.render(colour));
            out.push_str("\x1b[K\n");
        }
        out.push_str("\x1b[J");
        self.drawn = frame.len();
        out
    }

    /// What leaves the frame where it is and gives the terminal back.
    pub(super) fn leave(&mut self) -> &'static str {
        self.drawn = 0;
        if std::mem::take(&mut self.hidden_cursor) {
            "\x1b[?25h"
        } else {
            ""
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{HOSTILE, grown};
    use crate::search::StopReason;

    fn scene() -> Scene {
        Scene {
            task: Some(("shop/mug".to_owned(), 2, 5)),
            goal: format!("buy the red mug {HOSTILE}"),
            phase: None,
            wall: Some(Duration::from_mins(2)),
        }
    }

    fn text(lines: &[Line]) -> String {
        lines.iter().map(|line| line.render(false) + "\n").collect()
    }

    #[test]
    fn a_frame_shows_the_search_and_fits() {
        let (search, words) = grown(14);
        let frame = scene().frame(&search, &words, (22, 79), Duration::from_secs(14));
        insta::assert_snapshot!(text(&frame), @r#"
        2/5  shop/mug  buy the red mug [2J]0;ownedBuy now31m
        best-first  step 7/20  nodes 6  calls 7  tokens 8.6k  $0.0087  0:14, 1:46 left
        n0 start
        ├─★ n1 click link "Mug"  ▰▰▰▱▱ 0.62  → http://shop.test/mug
        │  ├─★ ✓ n4 stop "4"  ▰▰▰▰▰ 0.95  → http://shop.test/mug
        │  └─ n5 hover [1]  judging…  → http://shop.test/mug#hover
        ├─ ✗ fill [3] "mug"  rejected: no element 3
        ├─ n2 click link "Cart"  ▰▰▱▱▱ 0.31  · 2 queued  → http://shop.test/cart
        ├─ ↺ back  back to n0  → start
        ├─ ⏸ n3 click button "Buy"  held  no value: it writes
        ├─ ◌ goto "http://shop.test/down"
        └─ ◌ scroll 400
        "#);
        let mut ended = scene();
        let end = Progress::SearchEnded {
            reason: StopReason::Time,
            best: search.best(),
        };
        ended.follow(&end, &search, &words);
        let small = ended.frame(&search, &words, (7, 50), Duration::from_secs(130));
        insta::assert_snapshot!(text(&small), @r#"
        2/5  shop/mug  buy the red mug [2J]0;ownedBuy now…
        best-first  step 7/20  nodes 6  calls 7
        n0 start  +7 hidden
        ├─⋯★ ✓ n4 stop "4"  ▰▰▰▰▰ 0.95  → http://shop.tes…
        └─⋯ n5 hover [1]  judging…  → http://shop.test/mu…
        … 7 lines hidden
        search ended: the time is spent
        "#);
        for rows in 0..20 {
            for cols in [0, 1, 7, 30, 80] {
                let frame = ended.frame(&search, &words, (rows, cols), Duration::ZERO);
                assert!(frame.len() <= rows);
                assert!(frame.iter().all(|line| line.width() <= cols));
            }
        }
    }

    #[test]
    fn a_frame_is_painted_over_the_last_one() {
        let line = |text: &str| Line::of(Tone::Plain, text);
        let mut canvas = Canvas::default();
        assert_eq!(canvas.leave(), "");
        let first = canvas.paint(&[], &[line("a"), line("b")], false);
        assert_eq!(first, "\x1b[?25l\ra\x1b[K\nb\x1b[K\n\x1b[J");
        let second = canvas.paint(&[line("warning")], &[line("c")], false);
        assert_eq!(second, "\x1b[2A\rwarning\x1b[K\nc\x1b[K\n\x1b[J");
        assert_eq!(canvas.leave(), "\x1b[?25h");
        let third = canvas.paint(&[], &[line("d")], false);
        assert_eq!(third, "\x1b[?25l\rd\x1b[K\n\x1b[J");
    }
}
