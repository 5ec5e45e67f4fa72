//! Vectors of tools, from an embeddings endpoint.

use super::entry::Entry;
use super::lexical::Hit;
use crate::context::Cx;
use crate::llm::{ChatError, EmbeddingModel};

/// Texts that are sent together.
const BATCH: usize = 64;
/// Most characters of a tool that are embedded: what small models read.
const MOST_CHARS: usize = 1500;

/// The vectors of tools, each of length 1, in the tools' order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Vectors {
    width: usize,
    numbers: Vec<f32>,
}

impl Vectors {
    /// Embeds every tool.
    ///
    /// # Errors
    /// [`ChatError`] of the provider.
    pub async fn embed(
        entries: &[Entry],
        model: &dyn EmbeddingModel,
        cx: &Cx,
    ) -> Result<Self, ChatError> {
        let mut out = Self::default();
        for batch in entries.chunks(BATCH) {
            let texts: Vec<String> = batch
                .iter()
                .map(|entry| {
                    let whole = format!("{}\n{}", entry.name, entry.text);
                    whole.chars().take(MOST_CHARS).collect()
                })
                .collect();
            for vector in model.embed(&texts, cx).await? {
                if out.width == 0 {
                    out.width = vector.len();
                }
                if vector.len() != out.width || vector.is_empty() {
                    return Err(ChatError::Malformed(format!(
                        "a vector of {} numbers among vectors of {}",
                        vector.len(),
                        out.width
                    )));
                }
                out.numbers.extend(unit(vector));
            }
        }
        Ok(out)
    }

    /// How many vectors there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.numbers.len().checked_div(self.width).unwrap_or(0)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The `most` nearest to a query, nearest first: by the cosine of its first vector, the whole's,
    /// and the best cosine of the others, its parts'.
    #[must_use]
    pub fn nearest(&self, query: Vec<Vec<f32>>, most: usize) -> Vec<Hit> {
        if self.width == 0 || query.iter().any(|vector| vector.len() != self.width) {
            return Vec::new();
        }
        let query: Vec<Vec<f32>> = query.into_iter().map(unit).collect();
        let Some((whole, parts)) = query.split_first() else {
            return Vec::new();
        };
        let mut hits: Vec<Hit> = self
            .numbers
            .chunks(self.width)
            .enumerate()
            .map(|(tool, vector)| {
                let near = |to: &Vec<f32>| vector.iter().zip(to).map(|(a, b)| a * b).sum::<f32>();
                let part = parts.iter().map(near).reduce(f32::max);
                Hit {
                    tool,
                    score: near(whole) + part.unwrap_or_default(),
                }
            })
            .collect();
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.tool.cmp(&b.tool)));
        hits.truncate(most);
        hits
    }
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length > 0.0 {
        for x in &mut vector {
            *x /= length;
        }
    }
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_by_angle() {
        let vectors = Vectors {
            width: 2,
            numbers: [[3.0, 0.0], [0.0, 1.0], [0.6, 0.8]]
                .into_iter()
                .flat_map(|v| unit(v.to_vec()))
                .collect(),
        };
        let nearest = |query: &[&[f32]]| -> Vec<usize> {
            let query = query.iter().map(|vector| vector.to_vec()).collect();
            let found = vectors.nearest(query, 2);
            found.into_iter().map(|hit| hit.tool).collect()
        };
        assert_eq!(nearest(&[&[1.0, 1.0]]), [2, 0]);
        // The whole is between them; one part is all for the second.
        assert_eq!(nearest(&[&[1.0, 1.0], &[0.0, 1.0]]), [2, 1]);
        assert_eq!(nearest(&[&[1.0]]), [0; 0]);
        assert_eq!(nearest(&[]), [0; 0]);
    }
}
