//! Finding tools for a goal: by words, by vectors if there are some, in English if a model says it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::dense::Vectors;
use super::entry::Entry;
use super::lexical::{Hit, Index, IndexError, Weights};
use super::queries::{Wording, parts};
use crate::context::Cx;
use crate::llm::{ChatError, EmbeddingModel};

/// The constant of reciprocal-rank fusion (Cormack, Clarke and Büttcher 2009).
const RRF: f32 = 60.0;
/// Ranks of each list that fusion looks at.
const DEPTH: usize = 100;
/// Share of a query's terms that the tools must hold to be said to speak its language. On the
/// translated goals in `fixtures/queries/tune` the others reach 0.51, the English ones pass it.
const SPOKEN: f32 = 0.7;

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

    /// The `most` best tools for a query.
    ///
    /// # Errors
    /// [`FindError`].
    pub async fn find(&self, query: &str, most: usize, cx: &Cx) -> Result<Vec<Hit>, FindError> {
        let Some((vectors, model)) = &self.dense else {
            return Ok(self.index.search(query, most)?);
        };
        let mut texts = vec![query.to_owned()];
        texts.extend(parts(query).into_iter().map(str::to_owned));
        let mut found = vectors.nearest(model.embed(&texts, cx).await?, DEPTH.max(most));
        // Words of another language hit by chance: their votes would only do harm.
        if self.index.known(query)? >= SPOKEN {
            found = fuse(&[self.index.search(query, DEPTH.max(most))?, found]);
        }
        found.truncate(most);
        Ok(found)
    }

    /// The query for a goal: the goal itself if the tools speak its language, else what a model says
    /// it is in English; and the model's own queries, a line each, which count as sentences of it.
    /// Without a wording: the goal.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn query(&self, goal: &str, wording: Option<&Wording>) -> Result<String, IndexError> {
        let Some(wording) = wording else {
            return Ok(goal.to_owned());
        };
        let spoken = wording.english.is_empty() || self.index.known(goal)? >= SPOKEN;
        let mut lines = vec![if spoken { goal } else { &wording.english }];
        lines.extend(wording.queries.iter().map(String::as_str));
        Ok(lines.join("\n"))
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

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use tokio_util::sync::CancellationToken;

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

    fn entries() -> Vec<Entry> {
        let entry = |name: &str, text: &str| Entry {
            group: "all".to_owned(),
            name: name.to_owned(),
            text: text.to_owned(),
        };
        vec![
            entry("forecast", "Get the weather forecast of a city"),
            entry("send", "Send an email to a person"),
            entry("dish", "Die Suppe: get a soup by its number"),
        ]
    }

    /// Three directions: of weather, of mail, of neither.
    struct ByTopic;

    #[async_trait]
    impl EmbeddingModel for ByTopic {
        fn name(&self) -> &'static str {
            "by topic"
        }

        async fn embed(&self, texts: &[String], _: &Cx) -> Result<Vec<Vec<f32>>, ChatError> {
            let about = |text: &str, words: &[&str]| {
                let text = text.to_lowercase();
                f32::from(u8::from(words.iter().any(|word| text.contains(word))))
            };
            let vector = |text: &String| {
                let (weather, mail) = (about(text, &["weather", "wetter"]), about(text, &["mail"]));
                vec![weather, mail, 1.0 - weather.max(mail)]
            };
            Ok(texts.iter().map(vector).collect())
        }
    }

    #[tokio::test]
    async fn words_of_another_language_do_not_vote_beside_vectors() {
        let cx = Cx::new(CancellationToken::new());
        let entries = entries();
        let words = Finder::lexical(&entries).unwrap();
        let goal = "Wie wird die Suppe beim Wetter von morgen?";
        assert_eq!(tools(&words.find(goal, 1, &cx).await.unwrap()), [2]);
        let both = words.with_vectors(&entries, Arc::new(ByTopic), &cx);
        let both = both.await.unwrap();
        assert_eq!(tools(&both.find(goal, 1, &cx).await.unwrap()), [0]);
        // In the language of the tools they do.
        let spoken = "get a soup by its number";
        assert_eq!(tools(&both.find(spoken, 1, &cx).await.unwrap()), [2]);
    }

    #[tokio::test]
    async fn each_sentence_is_near_to_something() {
        let cx = Cx::new(CancellationToken::new());
        let entries = entries();
        let finder = Finder::lexical(&entries).unwrap();
        let finder = finder.with_vectors(&entries, Arc::new(ByTopic), &cx);
        let goal = "Das Wetter interessiert mich sehr. Dann eine Mail an Eva.";
        let found = finder.await.unwrap().find(goal, 2, &cx).await.unwrap();
        assert_eq!(tools(&found), [0, 1]);
    }

    #[test]
    fn a_goal_is_kept_where_the_tools_speak_its_language() {
        let finder = Finder::lexical(&entries()).unwrap();
        let wording = |english: &str| Wording {
            english: english.to_owned(),
            queries: vec!["get weather".to_owned(), "send email".to_owned()],
        };
        let query = |goal: &str, wording: Option<&Wording>| finder.query(goal, wording).unwrap();
        let goal = "Wie wird das Wetter?";
        assert_eq!(query(goal, None), goal);
        assert_eq!(
            query(goal, Some(&wording("How is the weather?"))),
            "How is the weather?\nget weather\nsend email"
        );
        assert_eq!(
            query(goal, Some(&wording(""))),
            "Wie wird das Wetter?\nget weather\nsend email"
        );
        assert_eq!(
            query("email the forecast", Some(&wording("Send it"))),
            "email the forecast\nget weather\nsend email"
        );
    }
}
