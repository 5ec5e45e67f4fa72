//! The tree as text: one line a state or an action that led to none.

use std::collections::BTreeSet;

use super::text::{Line, Tone, clip, grouped};
use super::words::Words;
use crate::search::{EdgeStatus, NodeView, Search};
use crate::types::{EdgeId, NodeId, UnitF32};

/// How a tree is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeStyle {
    /// Most columns of a line.
    pub width: u16,
    /// Most lines, the one that says how many are hidden included. Kept are the start, the best
    /// path, what is under way and the newest states.
    pub max_lines: usize,
    /// Whether to use colour (ANSI).
    pub colour: bool,
}

/// The tree of `search`, elements by their references.
///
/// `★` best path · `✓` terminal · `✗` rejected · `⏸` held · `↺` led back · `!` failed · `◌` under
/// way · `⋯` states between are hidden. Values are the critic's. Ends with a line break, unless no
/// lines were asked for.
#[must_use]
pub fn tree(search: &Search, style: TreeStyle) -> String {
    tree_with(search, &Words::default(), style)
}

/// [`tree()`] with elements in words, URLs, and why actions were refused.
#[must_use]
pub fn tree_with(search: &Search, words: &Words, style: TreeStyle) -> String {
    lines(search, words, usize::from(style.width), style.max_lines)
        .iter()
        .map(|line| line.render(style.colour) + "\n")
        .collect()
}

/// The lines of the tree, each at most `width` columns wide.
pub(super) fn lines(search: &Search, words: &Words, width: usize, max: usize) -> Vec<Line> {
    let rows = rows(search);
    let shown = choose(search, &rows, max);
    let hidden = rows.len() - shown.iter().filter(|shown| **shown).count();
    let mut lines = draw(search, words, width, &rows, &shown);
    if hidden > 0 && max > 0 {
        let mut line = Line::of(Tone::Dim, &format!("… {} hidden", plural(hidden, "line")));
        line.clip(width);
        lines.push(line);
    }
    lines
}

fn plural(count: usize, noun: &str) -> String {
    let number = grouped(count as u64);
    if count == 1 {
        format!("{number} {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

/// What gets a line: the root, and every edge that is not merely queued.
struct Row {
    /// The row of the state above; the root's is its own.
    parent: usize,
    edge: Option<EdgeId>,
    node: Option<NodeId>,
    /// Queued edges under the state.
    queued: usize,
}

/// All rows, each before those under it.
fn rows(search: &Search) -> Vec<Row> {
    let tree = search.tree();
    let mut rows: Vec<Row> = Vec::new();
    // No recursion: a tree may be deeper than the stack.
    let mut open = vec![(None, 0)];
    while let Some((edge, parent)) = open.pop() {
        let node = edge.map_or(Some(NodeId::ROOT), |edge| tree.edge(edge).child());
        let at = rows.len();
        let mut queued = 0;
        if let Some(node) = node {
            let under = open.len();
            for edge in tree.edges(node) {
                if tree.edge(edge).status() == EdgeStatus::Queued {
                    queued += 1;
                } else {
                    open.push((Some(edge), at));
                }
            }
            open[under..].reverse();
        }
        rows.push(Row {
            parent,
            edge,
            node,
            queued,
        });
    }
    rows
}

/// Which rows are shown if at most `max` lines may be.
fn choose(search: &Search, rows: &[Row], max: usize) -> Vec<bool> {
    if rows.len() <= max {
        return vec![true; rows.len()];
    }
    let mut shown = vec![false; rows.len()];
    // One line says how many are hidden.
    let mut room = max.saturating_sub(1);
    if room == 0 {
        return shown;
    }
    shown[0] = true;
    room -= 1;
    let best = search.best();
    let rank = |row: &Row| {
        let newest = std::cmp::Reverse((row.node, row.edge));
        let class = match (row.node, row.edge) {
            (Some(node), _) if Some(node) == best => 0,
            (Some(node), _) if busy(search.tree().node(node)) => 1,
            (None, Some(edge)) if search.tree().edge(edge).status() == EdgeStatus::InFlight => 1,
            (Some(_), _) => 2,
            (None, _) => 3,
        };
        (class, newest)
    };
    let mut order: Vec<usize> = (1..rows.len()).collect();
    order.sort_by_key(|&at| rank(&rows[at]));
    // No one path may take all the room.
    let most = room.div_ceil(2);
    for at in order {
        let mut up = at;
        for _ in 0..most {
            if shown[up] || room == 0 {
                break;
            }
            shown[up] = true;
            room -= 1;
            up = rows[up].parent;
        }
        if room == 0 {
            break;
        }
    }
    shown
}

fn busy(node: NodeView<'_>) -> bool {
    node.proposing() || node.judging()
}

/// The branches left of a row.
#[derive(Clone, Default)]
struct Branches {
    /// For each level between the root and the row: whether more follows on it.
    bars: Vec<bool>,
    /// Whether outer levels were left out, for want of width.
    cut: bool,
}

fn draw(search: &Search, words: &Words, width: usize, rows: &[Row], shown: &[bool]) -> Vec<Line> {
    let best: BTreeSet<EdgeId> = search
        .best()
        .map(|node| search.tree().path(node).into_iter().collect())
        .unwrap_or_default();
    let levels = (width / 6).max(1);

    // The nearest shown row above each, and the last shown row under each.
    let (mut above, mut last) = (vec![0; rows.len()], vec![0; rows.len()]);
    let mut hidden_under = vec![0usize; rows.len()];
    for at in 1..rows.len() {
        let parent = rows[at].parent;
        above[at] = if shown[parent] { parent } else { above[parent] };
        if shown[at] {
            last[above[at]] = at;
        } else {
            hidden_under[parent] += 1;
        }
    }

    let mut under: Vec<Branches> = vec![Branches::default(); rows.len()];
    let mut lines = Vec::new();
    for (at, row) in rows.iter().enumerate().filter(|(at, _)| shown[*at]) {
        let mut line = Line::default();
        if let Some(edge) = row.edge {
            let branches = under[above[at]].clone();
            let is_last = last[above[at]] == at;
            let mut lead = String::from(if branches.cut { "┄ " } else { "" });
            for bar in &branches.bars {
                lead.push_str(if *bar { "│  " } else { "   " });
            }
            lead.push_str(if is_last { "└─" } else { "├─" });
            if above[at] != row.parent {
                lead.push('⋯');
            }
            line.push(Tone::Dim, &lead);
            if best.contains(&edge) {
                line.push(Tone::Good, "★ ");
            } else {
                line.push(Tone::Plain, " ");
            }
            let mut below = branches;
            below.bars.push(!is_last);
            if below.bars.len() > levels {
                below.bars.remove(0);
                below.cut = true;
            }
            under[at] = below;
        }
        describe(
            &mut line,
            search,
            words,
            width,
            row,
            hidden_under[at],
            &best,
        );
        line.clip(width);
        lines.push(line);
    }
    lines
}

/// Everything right of the branches.
fn describe(
    line: &mut Line,
    search: &Search,
    words: &Words,
    width: usize,
    row: &Row,
    hidden: usize,
    best: &BTreeSet<EdgeId>,
) {
    let status = row.edge.map(|edge| search.tree().edge(edge).status());
    let mut tail = Line::default();
    let mut further = Line::default();
    if let Some(status) = status {
        mark(line, &mut tail, status);
    }
    if let Some(node) = row.node {
        let node = search.tree().node(node);
        if node.terminal() {
            line.push(Tone::Good, "✓ ");
        }
        line.push(Tone::Dim, &format!("{} ", node.id()));
        figures(&mut tail, node);
        if row.queued > 0 {
            tail.push(Tone::Dim, &format!("  · {} queued", row.queued));
        }
        if hidden > 0 {
            tail.push(Tone::Dim, &format!("  +{hidden} hidden"));
        }
    }
    let what = row.edge.map_or_else(
        || "start".to_owned(),
        |edge| {
            if let Some(note) = words.note(edge) {
                further.push(Tone::Dim, &format!(": {note}"));
            }
            if let Some(url) = words.url(edge) {
                further.push(Tone::Dim, &format!("  → {url}"));
            }
            words.phrase(search, edge)
        },
    );
    let tone = match row.edge {
        Some(edge) if best.contains(&edge) => Tone::Strong,
        Some(_) | None => Tone::Plain,
    };
    let room = width.saturating_sub(line.width() + tail.width()).max(10);
    line.push(tone, &clip(&what, room));
    line.append(tail);
    line.append(further);
}

/// The mark of an edge before its action, and its word behind.
fn mark(line: &mut Line, tail: &mut Line, status: EdgeStatus) {
    match status {
        EdgeStatus::Queued | EdgeStatus::Done(_) => {}
        EdgeStatus::InFlight => line.push(Tone::Warn, "◌ "),
        EdgeStatus::Loop(to) => {
            line.push(Tone::Dim, "↺ ");
            tail.push(Tone::Dim, &format!("  back to {to}"));
        }
        EdgeStatus::Rejected => {
            line.push(Tone::Bad, "✗ ");
            tail.push(Tone::Bad, "  rejected");
        }
        EdgeStatus::Held(_) => {
            line.push(Tone::Warn, "⏸ ");
            tail.push(Tone::Warn, "  held");
        }
        EdgeStatus::Failed => {
            line.push(Tone::Bad, "! ");
            tail.push(Tone::Bad, "  failed");
        }
        EdgeStatus::Lost => {
            line.push(Tone::Bad, "? ");
            tail.push(Tone::Bad, "  lost");
        }
    }
}

/// A state's value, and what goes on there.
fn figures(tail: &mut Line, node: NodeView<'_>) {
    if let Some(value) = node.value() {
        tail.push(tone(value), &format!("  {}", bar(value)));
        tail.push(Tone::Plain, &format!(" {value}"));
    } else if node.judging() {
        tail.push(Tone::Warn, "  judging…");
    } else if node.judged() {
        tail.push(Tone::Dim, "  no value");
    }
    if node.proposing() {
        tail.push(Tone::Warn, "  proposing…");
    }
    if let Some(twin) = node.repeats() {
        tail.push(Tone::Dim, &format!("  same as {twin}"));
    }
    if node.closed() {
        tail.push(Tone::Bad, "  closed");
    }
}

fn tone(value: UnitF32) -> Tone {
    if value >= UnitF32::saturating(0.67) {
        Tone::Good
    } else if value >= UnitF32::saturating(0.33) {
        Tone::Warn
    } else {
        Tone::Dim
    }
}

/// A value in five cells.
fn bar(value: UnitF32) -> String {
    let filled = (1..=5u8)
        .filter(|cell| value.get() * 5.0 + 0.5 >= f32::from(*cell))
        .count();
    "▰".repeat(filled) + &"▱".repeat(5 - filled)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU8;

    use super::*;
    use crate::report::EdgeWords;
    use crate::report::testing::{HOSTILE, grown};
    use crate::search::{
        Ask, Budget, Outcome, Proposed, Request, Scored, SearchConfig, Start, Stepped,
    };
    use crate::types::{Action, Candidate, Cost, Digest};

    const WIDE: TreeStyle = TreeStyle {
        width: 100,
        max_lines: usize::MAX,
        colour: false,
    };

    #[test]
    fn the_tree_shows_every_fate() {
        let (search, words) = grown(18);
        insta::assert_snapshot!(tree_with(&search, &words, WIDE), @r#"
        n0 start
        ├─★ n1 click link "Mug"  ▰▰▰▱▱ 0.62  → http://shop.test/mug
        │  ├─★ ✓ n4 stop "4"  ▰▰▰▰▰ 0.95  → http://shop.test/mug
        │  └─ n5 hover [1]  no value  proposing…  → http://shop.test/mug#hover
        ├─ ✗ fill [3] "mug"  rejected: no element 3
        ├─ n2 click link "Cart"  ▰▰▱▱▱ 0.31  · 1 queued  → http://shop.test/cart
        │  └─ n7 press "Enter"  judging…  → http://shop.test/cart#press
        ├─ ↺ back  back to n0  → start
        ├─ ⏸ n3 click button "Buy"  held  no value: it writes
        ├─ ! goto "http://shop.test/down"  failed: the page crashed
        └─ n6 scroll 400  judging…  → start#scroll
        "#);
    }

    #[test]
    fn without_words_elements_are_references() {
        let (search, _) = grown(6);
        insta::assert_snapshot!(tree(&search, WIDE), @r#"
        n0 start  · 2 queued
        ├─★ n1 click [1]  ▰▰▰▱▱ 0.62  proposing…
        ├─ ✗ fill [3] "mug"  rejected
        ├─ n2 click [2]  judging…
        ├─ ↺ back  back to n0
        └─ ◌ click [9]
        "#);
    }

    #[test]
    fn few_lines_keep_the_best_and_the_newest() {
        let (search, words) = grown(18);
        let style = |max_lines| TreeStyle { max_lines, ..WIDE };
        insta::assert_snapshot!(tree_with(&search, &words, style(6)), @r#"
        n0 start  +5 hidden
        ├─★ n1 click link "Mug"  ▰▰▰▱▱ 0.62  +1 hidden  → http://shop.test/mug
        │  └─★ ✓ n4 stop "4"  ▰▰▰▰▰ 0.95  → http://shop.test/mug
        └─ n2 click link "Cart"  ▰▰▱▱▱ 0.31  · 1 queued  → http://shop.test/cart
           └─ n7 press "Enter"  judging…  → http://shop.test/cart#press
        … 6 lines hidden
        "#);
        for max_lines in 0..12 {
            let text = tree_with(&search, &words, style(max_lines));
            assert!(text.lines().count() <= max_lines, "{max_lines}: {text}");
        }
    }

    #[test]
    fn colour_adds_nothing_but_colour() {
        let (search, words) = grown(18);
        let style = TreeStyle {
            colour: true,
            ..WIDE
        };
        let coloured = tree_with(&search, &words, style);
        let mut plain = String::new();
        for (at, piece) in coloured.split("\x1b[").enumerate() {
            let text = if at == 0 {
                piece
            } else {
                piece.split_once('m').unwrap().1
            };
            plain.push_str(text);
        }
        assert_ne!(coloured, plain);
        assert_eq!(plain, tree_with(&search, &words, WIDE));
    }

    #[test]
    fn hostile_words_stay_on_their_line() {
        let (search, _) = grown(6);
        let mut words = Words::default();
        for edge in search.tree().edges(NodeId::ROOT) {
            let text = || Some(HOSTILE.to_owned());
            words.insert(
                edge,
                EdgeWords {
                    target: text(),
                    url: text(),
                    note: text(),
                },
            );
        }
        let text = tree_with(&search, &words, WIDE);
        assert_eq!(text.lines().count(), tree(&search, WIDE).lines().count());
        assert!(!text.contains(|c: char| c != '\n' && crate::report::text::unprintable(c)));
    }

    /// A chain of `depth` states.
    fn chain(depth: u16) -> Search {
        let config = SearchConfig {
            branching: NonZeroU8::MIN,
            depth,
            budget: Budget {
                steps: None,
                ..Budget::default()
            },
            ..SearchConfig::default()
        };
        let start = Start {
            digest: Digest::of("0"),
            terminal: false,
        };
        let mut search = Search::new(config, start);
        let cost = Cost::default();
        while let Ask::Start { ticket, request } = search.ask() {
            let outcome = match request {
                Request::Propose { .. } => Outcome::Proposed(Proposed {
                    candidates: vec![Candidate {
                        action: Action::new("next", serde_json::Value::Null),
                        prior: UnitF32::HALF,
                        thought: None,
                    }],
                    cost,
                }),
                Request::Step { edge } => Outcome::Stepped(Stepped::State {
                    digest: Digest::of(edge.to_string()),
                    terminal: false,
                    cost,
                }),
                Request::Compare { .. } => unreachable!("best-first compares nothing"),
                Request::Judge { .. } => Outcome::Scored(Scored {
                    value: Some(UnitF32::HALF),
                    cost,
                }),
            };
            search.tell(ticket, outcome).unwrap();
            if search.tree().len() > usize::from(depth) {
                break;
            }
        }
        search
    }

    #[test]
    fn a_deep_tree_stays_readable() {
        let search = chain(8);
        let narrow = TreeStyle {
            width: 30,
            max_lines: 6,
            colour: false,
        };
        insta::assert_snapshot!(tree(&search, narrow), @r#"
        n0 start
        └─★ n1 next  ▰▰▰▱▱ 0.50  +1 h…
           └─⋯ n6 next  ▰▰▰▱▱ 0.50
              └─ n7 next  ▰▰▰▱▱ 0.50
                 └─ n8 next  judging…
        … 4 lines hidden
        "#);
    }
}
