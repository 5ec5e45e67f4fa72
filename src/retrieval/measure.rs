//! How good a ranking is, on queries whose right tools are known.
//!
//! Reads `ToolBench`'s query files (`[{query, api_list, "relevant APIs": [[tool, api]]}]`). The corpus
//! is the union of all operations that the files given list; the figures are means over queries.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::entry::Entry;

/// Goals of several files and the operations that any of the files lists.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct QuerySet {
    /// The operations, each once, in the order in which the files list them.
    pub entries: Vec<Entry>,
    /// The goals, by file.
    pub files: Vec<Labelled>,
}

/// The goals of one file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Labelled {
    /// Each goal with the places of its right operations.
    pub goals: Vec<(String, BTreeSet<usize>)>,
    /// Goals that are left out, since no file lists any of their right operations.
    pub unlisted: usize,
}

#[derive(Deserialize)]
struct Asked {
    query: String,
    /// A file may ask for the operations of others.
    #[serde(default)]
    api_list: Vec<Value>,
    #[serde(rename = "relevant APIs")]
    relevant: Vec<(String, String)>,
}

impl QuerySet {
    /// Reads files, in their order.
    ///
    /// # Errors
    /// Which file is wrong, by its place among them, and what is wrong with it, with line and column.
    pub fn read(files: &[String]) -> Result<Self, (usize, serde_json::Error)> {
        let mut read: Vec<Vec<Asked>> = Vec::with_capacity(files.len());
        for (at, json) in files.iter().enumerate() {
            read.push(serde_json::from_str(json).map_err(|error| (at, error))?);
        }
        let mut entries = Vec::new();
        let mut known: BTreeMap<(String, String), usize> = BTreeMap::new();
        for api in read.iter().flatten().flat_map(|one| &one.api_list) {
            let word = |key: &str| api[key].as_str().unwrap_or_default().to_owned();
            known
                .entry((word("tool_name"), word("api_name")))
                .or_insert_with(|| {
                    entries.push(Entry::of_toolbench(api));
                    entries.len() - 1
                });
        }
        let labelled = |asked: Vec<Asked>| {
            let mut out = Labelled::default();
            for one in asked {
                let places = one.relevant.iter().filter_map(|key| known.get(key));
                let right: BTreeSet<usize> = places.copied().collect();
                if right.is_empty() {
                    out.unlisted += 1;
                } else {
                    out.goals.push((one.query, right));
                }
            }
            out
        };
        let files = read.into_iter().map(labelled).collect();
        Ok(Self { entries, files })
    }
}

/// Means over queries, each within 0..=1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Quality {
    /// How many queries.
    pub queries: usize,
    /// Normalised discounted cumulative gain at rank 1.
    pub ndcg1: f64,
    /// At rank 5.
    pub ndcg5: f64,
    /// Share of the right operations among the first 10.
    pub recall10: f64,
}

impl Quality {
    /// Takes one ranking in: places of operations, best first.
    pub fn add(&mut self, ranking: &[usize], right: &BTreeSet<usize>) {
        let found = ranking.iter().take(10).filter(|at| right.contains(at));
        let recall = ratio(found.count(), right.len());
        let before = self.queries;
        self.queries += 1;
        let mean = |old: f64, new: f64| old + (new - old) * ratio(1, before + 1);
        self.ndcg1 = mean(self.ndcg1, ndcg(ranking, right, 1));
        self.ndcg5 = mean(self.ndcg5, ndcg(ranking, right, 5));
        self.recall10 = mean(self.recall10, recall);
    }
}

/// Binary relevance; the ideal ranking has all right operations first.
fn ndcg(ranking: &[usize], right: &BTreeSet<usize>, at: usize) -> f64 {
    let gain = |rank: usize| 1.0 / small(rank + 2).log2();
    let got: f64 = ranking
        .iter()
        .take(at)
        .enumerate()
        .filter(|(_, place)| right.contains(place))
        .map(|(rank, _)| gain(rank))
        .sum();
    got / (0..at.min(right.len())).map(gain).sum::<f64>()
}

fn ratio(part: usize, whole: usize) -> f64 {
    small(part) / small(whole.max(1))
}

fn small(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_a_known_ranking() {
        let right = BTreeSet::from([4, 7]);
        let mut quality = Quality::default();
        quality.add(&[4, 1, 7], &right);
        // (1 + 1/log2(4)) / (1 + 1/log2(3))
        assert!((quality.ndcg5 - 1.5 / 1.630_929_753_571_457).abs() < 1e-12);
        assert_eq!((quality.ndcg1, quality.recall10), (1.0, 1.0));
        quality.add(&[1, 2], &right);
        assert_eq!(
            (quality.queries, quality.ndcg1, quality.recall10),
            (2, 0.5, 0.5)
        );
    }

    #[test]
    fn operations_are_counted_once_and_labels_found() {
        let file = r#"[
            {"query": "q1", "query_id": 1, "relevant APIs": [["T", "b"]],
             "api_list": [{"tool_name": "T", "api_name": "a"}, {"tool_name": "T", "api_name": "b"}]},
            {"query": "q2", "query_id": 2, "relevant APIs": [["T", "gone"]],
             "api_list": [{"tool_name": "T", "api_name": "a"}]}
        ]"#;
        let other = r#"[{"query": "again", "relevant APIs": [["T", "a"], ["T", "b"]]}]"#;
        let set = QuerySet::read(&[other.to_owned(), file.to_owned()]).unwrap();
        assert_eq!(set.entries.len(), 2);
        let goals =
            |goal: &str, right: &[usize]| vec![(goal.to_owned(), right.iter().copied().collect())];
        assert_eq!(
            set.files,
            [
                // Its operations are in the other file.
                Labelled {
                    goals: goals("again", &[0, 1]),
                    unlisted: 0
                },
                Labelled {
                    goals: goals("q1", &[1]),
                    unlisted: 1
                },
            ]
        );
        let (at, _) = QuerySet::read(&[file.to_owned(), "[{}]".to_owned()]).unwrap_err();
        assert_eq!(at, 1);
    }
}
