//! Success over several runs, with its uncertainty.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Outcome;

/// Counts of outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Runs that fulfilled their task.
    pub solved: u32,
    /// Runs that were scored and did not.
    pub not_solved: u32,
    /// Runs that could not be scored. They count in no rate.
    pub unscored: u32,
}

/// A 95% confidence interval of a rate, both ends within 0..=1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Summary {
    /// Counts one more run.
    pub fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Solved => self.solved += 1,
            Outcome::NotSolved => self.not_solved += 1,
            Outcome::Unscored => self.unscored += 1,
        }
    }

    /// Runs that were scored: the denominator of every rate.
    #[must_use]
    pub fn scored(&self) -> u32 {
        self.solved + self.not_solved
    }

    /// Solved runs over scored runs; `None` when none was scored.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        (self.scored() > 0).then(|| f64::from(self.solved) / f64::from(self.scored()))
    }

    /// The Wilson score interval of the rate at 95% (Wilson 1927; z = 1.96), which stays sound for
    /// few runs and rates near 0 or 1. Assumes independent runs: several seeds of one task are
    /// less than that, so read it as a lower bound of the uncertainty.
    #[must_use]
    pub fn interval(&self) -> Option<Interval> {
        const Z: f64 = 1.959_963_984_540_054;
        let n = f64::from(self.scored());
        let p = self.rate()?;
        let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        let middle = p + Z * Z / (2.0 * n);
        let scale = 1.0 + Z * Z / n;
        Some(Interval {
            low: ((middle - spread) / scale).max(0.0),
            high: ((middle + spread) / scale).min(1.0),
        })
    }
}

impl FromIterator<Outcome> for Summary {
    fn from_iter<I: IntoIterator<Item = Outcome>>(outcomes: I) -> Self {
        let mut summary = Self::default();
        for outcome in outcomes {
            summary.add(outcome);
        }
        summary
    }
}

/// Summaries side by side, in the order in which their labels first came.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Table {
    /// One row per label.
    pub rows: Vec<Row>,
}

/// A line of a [`Table`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// What was run: a strategy, a task.
    pub label: String,
    /// How it went.
    pub summary: Summary,
}

impl Table {
    /// Counts one more run under `label`.
    pub fn add(&mut self, label: &str, outcome: Outcome) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.label == label) {
            row.summary.add(outcome);
        } else {
            self.rows.push(Row {
                label: label.to_owned(),
                summary: Summary::from_iter([outcome]),
            });
        }
    }

    /// All rows together.
    #[must_use]
    pub fn total(&self) -> Summary {
        self.rows
            .iter()
            .fold(Summary::default(), |sum, row| Summary {
                solved: sum.solved + row.summary.solved,
                not_solved: sum.not_solved + row.summary.not_solved,
                unscored: sum.unscored + row.summary.unscored,
            })
    }
}

impl fmt::Display for Table {
    /// A Markdown table, aligned for reading as plain text too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines =
            vec![["", "solved", "not solved", "unscored", "rate", "95%"].map(String::from)];
        for row in &self.rows {
            let Summary {
                solved,
                not_solved,
                unscored,
            } = row.summary;
            let percent = |x: f64| format!("{:.0}%", x * 100.0);
            let rate = row.summary.rate().map_or_else(|| "–".to_owned(), percent);
            let interval = row.summary.interval().map_or_else(
                || "–".to_owned(),
                |i| format!("{}–{}", percent(i.low), percent(i.high)),
            );
            lines.push([
                row.label.replace('|', "\\|"),
                solved.to_string(),
                not_solved.to_string(),
                unscored.to_string(),
                rate,
                interval,
            ]);
        }
        let widths: [usize; 6] = std::array::from_fn(|column| {
            let width = |line: &[String; 6]| line[column].chars().count();
            lines.iter().map(width).max().unwrap_or_default().max(3)
        });
        for (number, line) in lines.iter().enumerate() {
            for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
                if column == 0 {
                    write!(f, "| {cell:<width$} |")?;
                } else {
                    write!(f, " {cell:>width$} |")?;
                }
            }
            writeln!(f)?;
            if number == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let dashes = "-".repeat(width - 1);
                    if column == 0 {
                        write!(f, "| {dashes}- |")?;
                    } else {
                        write!(f, " {dashes}: |")?;
                    }
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_matches_published_values() {
        let of = |solved, not_solved| {
            let summary = Summary {
                solved,
                not_solved,
                unscored: 9,
            };
            summary.interval().unwrap()
        };
        // 8 of 10: 0.4902 to 0.9433 (Newcombe's worked method); 0 of 10: 0 to 0.2775.
        assert!((of(8, 2).low - 0.4902).abs() < 5e-4 && (of(8, 2).high - 0.9433).abs() < 5e-4);
        assert!(of(0, 10).low.abs() < 1e-12 && (of(0, 10).high - 0.2775).abs() < 5e-4);
        assert!((of(10, 0).high - 1.0).abs() < 1e-12);
    }

    #[test]
    fn unscored_runs_count_in_no_rate() {
        let summary: Summary = [Outcome::Unscored, Outcome::Unscored].into_iter().collect();
        assert_eq!((summary.rate(), summary.interval()), (None, None));
        let summary: Summary = [Outcome::Solved, Outcome::Unscored].into_iter().collect();
        assert_eq!(summary.rate(), Some(1.0));
    }

    #[test]
    fn prints_a_table() {
        let mut table = Table::default();
        for outcome in [Outcome::Solved, Outcome::NotSolved, Outcome::Solved] {
            table.add("best-first", outcome);
        }
        table.add("greedy", Outcome::Unscored);
        assert_eq!(
            table.total(),
            Summary {
                solved: 2,
                not_solved: 1,
                unscored: 1
            }
        );
        insta::assert_snapshot!(table, @r#"
            |            | solved | not solved | unscored | rate |     95% |
            | ---------- | -----: | ---------: | -------: | ---: | ------: |
            | best-first |      2 |          1 |        0 |  67% | 21%–94% |
            | greedy     |      0 |          0 |        1 |    – |       – |
        "#);
    }
}
