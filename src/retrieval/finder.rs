//! Finding tools for a goal: lexical, dense if there are vectors, several queries.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::dense::Vectors;
use super::entry::Entry;
use super::lexical::{Hit, Index, IndexError, Weights};
use crate::context::Cx;
use crate::llm::{ChatError, EmbeddingModel};

/// The constant of reciprocal-rank fusion (Cormack, Clarke and Büttcher 2009).
const RRF: f32 = 60.0;
/// Ranks of each list that fusion looks at.
const DEPTH: usize = 100;

/// Why nothing could be looked for.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The embeddings endpoint failed.
    #[error("the embeddings endpoint failed: {0}")]
    Embed(#[from] ChatError),
}

/// Finds tools.
pub struct Finder {
    index: Index,
    dense: Option<(Vectors, Arc<dyn EmbeddingModel>)>,
}

impl std::fmt::Debug for Finder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Finder")
            .field("index", &self.index)
            .field(
                "dense",
                &self.dense.as_ref().map(|(vectors, _)| vectors.len()),
            )
            .finish()
    }
}

impl Finder {
    /// A finder by words alone.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn lexical(entries: &[Entry]) -> Result<Self, IndexError> {
        Ok(Self {
            index: Index::new(entries, Weights::default())?,
            dense: None,
        })
    }

    /// Adds vectors of the same entries.
    ///
    /// # Errors
    /// [`FindError::Embed`].
    pub async fn with_vectors(
        mut self,
        entries: &[Entry],
        model: Arc<dyn EmbeddingModel>,
        cx: &Cx,
    ) -> Result<Self, FindError> {
        let vectors = Vectors::embed(entries, &*model, cx).await?;
        self.dense = Some((vectors, model));
        Ok(self)
    }

    /// How many tools it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether it knows none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The `most` best tools for one query.
    ///
    /// # Errors
    /// [`FindError`].
    pub async fn find(&self, query: &str, most: usize, cx: &Cx) -> Result<Vec<Hit>, FindError> {
        let Some((vectors, model)) = &self.dense else {
            return Ok(self.index.search(query, most)?);
        };
        let words = self.index.search(query, DEPTH.max(most))?;
        let embedded = model.embed(&[query.to_owned()], cx).await?.pop();
        let near = embedded.map_or_else(Vec::new, |v| vectors.nearest(v, DEPTH.max(most)));
        let mut fused = fuse(&[words, near]);
        fused.truncate(most);
        Ok(fused)
    }

    /// The `most` best tools for several queries: each query's list, interleaved.
    ///
    /// # Errors
    /// [`FindError`].
    pub async fn find_all(
        &self,
        queries: &[String],
        most: usize,
        cx: &Cx,
    ) -> Result<Vec<Hit>, FindError> {
        let mut lists = Vec::with_capacity(queries.len());
        for query in queries {
            lists.push(self.find(query, most, cx).await?);
        }
        Ok(interleave(&lists, most))
    }
}

/// Reciprocal-rank fusion: every list votes with 1 / (60 + rank).
#[must_use]
pub fn fuse(lists: &[Vec<Hit>]) -> Vec<Hit> {
    let mut scores: BTreeMap<usize, f32> = BTreeMap::new();
    for list in lists {
        for (rank, hit) in (1_u16..).zip(list) {
            *scores.entry(hit.tool).or_default() += 1.0 / (RRF + f32::from(rank));
        }
    }
    let mut hits: Vec<Hit> = scores
        .into_iter()
        .map(|(tool, score)| Hit { tool, score })
        .collect();
    hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.tool.cmp(&b.tool)));
    hits
}

/// The firsts of all lists, then the seconds, and so on; each tool once.
#[must_use]
pub fn interleave(lists: &[Vec<Hit>], most: usize) -> Vec<Hit> {
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    let mut out: Vec<Hit> = Vec::new();
    for rank in 0..longest {
        for list in lists {
            if let Some(hit) = list.get(rank)
                && out.len() < most
                && !out.iter().any(|known| known.tool == hit.tool)
            {
                out.push(*hit);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(tools: &[usize]) -> Vec<Hit> {
        tools.iter().map(|&tool| Hit { tool, score: 1.0 }).collect()
    }

    fn tools(hits: &[Hit]) -> Vec<usize> {
        hits.iter().map(|hit| hit.tool).collect()
    }

    #[test]
    fn fusion_prefers_what_both_lists_have() {
        assert_eq!(
            tools(&fuse(&[list(&[1, 2, 3]), list(&[3, 4])])),
            [3, 1, 2, 4]
        );
    }

    #[test]
    fn interleaving_takes_turns_and_repeats_nothing() {
        let lists = [list(&[1, 2, 3]), list(&[2, 4]), list(&[])];
        assert_eq!(tools(&interleave(&lists, 4)), [1, 2, 4, 3]);
        assert_eq!(tools(&interleave(&lists, 2)), [1, 2]);
    }
}
