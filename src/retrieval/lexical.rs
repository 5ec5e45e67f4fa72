//! BM25 over tools and over their groups.

use std::collections::BTreeMap;

use tantivy::collector::TopDocs;
use tantivy::query::{BooleanQuery, Occur, Query, TermQuery};
use tantivy::schema::{FAST, Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::{IndexReader, ReloadPolicy, TantivyDocument, Term};

use super::entry::Entry;
use super::queries::sentences;
use super::text::{ANALYZER, analyzer, terms};

/// Memory of the one indexing thread, in bytes: the least that the engine accepts is 15 MB.
const ARENA: usize = 48 << 20;
/// Candidates taken for each part of a query before the parts are added up.
const CANDIDATES: usize = 200;
/// Groups that count for a query.
const GROUPS: usize = 50;
/// Most terms of one part: a goal of pages would cost more than it finds.
const MOST_TERMS: usize = 64;
/// Most parts of a query beside the whole.
const MOST_PARTS: usize = 8;

/// How much each part of a score counts.
///
/// The defaults were set on the 163 queries of `ToolBench`'s `G1_instruction` by trying a dozen
/// round values on the whole set (no query was looked at alone); `G2_category` and `G2_instruction`
/// only confirmed them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// Of names, on top of their being part of the text.
    pub name: f32,
    /// Of the best sentence of the query, beside the whole query.
    pub sentence: f32,
    /// Of the group that a tool belongs to.
    pub group: f32,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            name: 0.3,
            sentence: 2.0,
            group: 0.3,
        }
    }
}

/// A tool that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Which, by its place among the indexed ones.
    pub tool: usize,
    /// How well it fits: comparable within one answer only.
    pub score: f32,
}

/// Why there is no index, or no answer from it. The engine's own words.
#[derive(Debug, thiserror::Error)]
#[error("the index of tools failed: {0}")]
pub struct IndexError(#[from] tantivy::TantivyError);

/// Documents with their field names.
struct Part {
    reader: IndexReader,
    text: Field,
    name: Field,
}

/// An index of tools, in memory.
pub struct Index {
    tools: Part,
    groups: Part,
    /// By tool: its group.
    group_of: Vec<u64>,
    weights: Weights,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index")
            .field("tools", &self.group_of.len())
            .field("weights", &self.weights)
            .finish_non_exhaustive()
    }
}

impl Index {
    /// Indexes tools in their order.
    ///
    /// # Errors
    /// [`IndexError`] if the engine fails, as it may for want of memory.
    pub fn new(entries: &[Entry], weights: Weights) -> Result<Self, IndexError> {
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, entry) in entries.iter().enumerate() {
            groups.entry(&entry.group).or_default().push(at);
        }
        let mut group_of = vec![0; entries.len()];
        let mut texts = Vec::with_capacity(groups.len());
        for (group, (name, members)) in groups.iter().enumerate() {
            let mut text = String::new();
            for &member in members {
                group_of[member] = group as u64;
                text.push_str(&entries[member].name);
                text.push('\n');
                text.push_str(&entries[member].text);
                text.push('\n');
            }
            texts.push((*name, text));
        }
        let tools = entries.iter().map(|entry| {
            let text = format!("{}\n{}", entry.name, entry.text);
            (entry.name.as_str(), text)
        });
        Ok(Self {
            tools: Part::new(tools)?,
            groups: Part::new(texts.into_iter())?,
            group_of,
            weights,
        })
    }

    /// How many tools it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.group_of.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.group_of.is_empty()
    }

    /// The `most` best tools for a query, best first. Tools that share no word with it are not found.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn search(&self, query: &str, most: usize) -> Result<Vec<Hit>, IndexError> {
        let Weights {
            name,
            sentence,
            group,
        } = self.weights;
        let whole = self.tools.search(query, name, CANDIDATES.max(most))?;
        let mut scores: BTreeMap<u64, (f32, f32)> = whole
            .into_iter()
            .map(|(id, score)| (id, (score, 0.0)))
            .collect();
        let parts = sentences(query);
        for part in parts.iter().take(MOST_PARTS) {
            // A query of one sentence is its own best part.
            if parts.len() == 1 {
                for (score, best) in scores.values_mut() {
                    *best = *score;
                }
                break;
            }
            for (id, score) in self.tools.search(part, name, CANDIDATES.max(most))? {
                let entry = scores.entry(id).or_default();
                entry.1 = entry.1.max(score);
            }
        }
        let near = self.groups.search(query, name, GROUPS)?;
        let mut hits: Vec<Hit> = scores
            .into_iter()
            .map(|(id, (whole, best))| {
                // Ids are places in the list of tools.
                let tool = usize::try_from(id).unwrap_or(usize::MAX);
                let near = self.group_of.get(tool).and_then(|of| near.get(of)).copied();
                let score = whole + sentence * best + group * near.unwrap_or(0.0);
                Hit { tool, score }
            })
            .collect();
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.tool.cmp(&b.tool)));
        hits.truncate(most);
        Ok(hits)
    }
}

impl Part {
    fn new<'a>(documents: impl Iterator<Item = (&'a str, String)>) -> Result<Self, IndexError> {
        let mut schema = Schema::builder();
        let indexing = TextFieldIndexing::default()
            .set_tokenizer(ANALYZER)
            .set_index_option(IndexRecordOption::WithFreqs);
        let options = TextOptions::default().set_indexing_options(indexing);
        let text = schema.add_text_field("text", options.clone());
        let name = schema.add_text_field("name", options);
        let id = schema.add_u64_field("id", FAST);
        let index = tantivy::Index::create_in_ram(schema.build());
        index.tokenizers().register(ANALYZER, analyzer());
        // One thread: the order of documents, and with it every tie, is the same each time.
        let mut writer = index.writer_with_num_threads::<TantivyDocument>(1, ARENA)?;
        for (at, (title, body)) in documents.enumerate() {
            let mut document = TantivyDocument::new();
            document.add_text(text, &body);
            document.add_text(name, title);
            document.add_u64(id, at as u64);
            writer.add_document(document)?;
        }
        writer.commit()?;
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()?;
        Ok(Self { reader, text, name })
    }

    /// Documents for `query` with their scores: the best by text and the best by name.
    fn search(
        &self,
        query: &str,
        name: f32,
        most: usize,
    ) -> Result<BTreeMap<u64, f32>, IndexError> {
        let mut terms = terms(query);
        terms.truncate(MOST_TERMS);
        let mut scores = BTreeMap::new();
        // One field at a time: the engine then skips what cannot be among the best.
        for (field, weight) in [(self.text, 1.0), (self.name, name)] {
            if weight > 0.0 {
                for (id, score) in self.best(field, &terms, most)? {
                    *scores.entry(id).or_default() += weight * score;
                }
            }
        }
        Ok(scores)
    }

    fn best(
        &self,
        field: Field,
        terms: &[String],
        most: usize,
    ) -> Result<Vec<(u64, f32)>, IndexError> {
        if terms.is_empty() {
            return Ok(Vec::new());
        }
        let clause = |term: &String| -> (Occur, Box<dyn Query>) {
            let term = Term::from_field_text(field, term);
            let query = TermQuery::new(term, IndexRecordOption::WithFreqs);
            (Occur::Should, Box::new(query))
        };
        let query = BooleanQuery::new(terms.iter().map(clause).collect());
        let searcher = self.reader.searcher();
        let found = searcher.search(&query, &TopDocs::with_limit(most).order_by_score())?;
        let mut out = Vec::with_capacity(found.len());
        for (score, address) in found {
            let segment = searcher.segment_reader(address.segment_ord);
            let ids = segment.fast_fields().u64("id")?;
            out.extend(ids.first(address.doc_id).map(|id| (id, score)));
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(group: &str, name: &str, text: &str) -> Entry {
        Entry {
            group: group.to_owned(),
            name: format!("{group} {name}"),
            text: text.to_owned(),
        }
    }

    fn index() -> Index {
        let entries = [
            entry(
                "weather",
                "forecast",
                "Forecast of rain and wind for a city by days",
            ),
            entry("weather", "stations", "Lists stations near a place"),
            entry("music", "lyrics", "Words of a song by title and artist"),
            entry(
                "music",
                "charts",
                "The most played songs of a week in a country",
            ),
            entry(
                "wetter",
                "vorhersage",
                "Wettervorhersage für eine Stadt, stündlich",
            ),
            entry("tianqi", "yubao", "查询城市的天气预报"),
        ];
        Index::new(&entries, Weights::default()).unwrap()
    }

    fn best(query: &str) -> Vec<usize> {
        let hits = index().search(query, 3).unwrap();
        hits.into_iter().map(|hit| hit.tool).collect()
    }

    #[test]
    fn finds_by_words_and_by_the_group_they_are_in() {
        assert_eq!(best("will it rain in the city tomorrow?")[0], 0);
        // The second says nothing of rain: it is near the first.
        assert_eq!(best("weather stations with rain")[..2], [1, 0]);
    }

    #[test]
    fn a_goal_of_two_sentences_finds_both() {
        let found = best("Give me the lyrics of the song. Also the forecast for the city.");
        assert!(
            found[..2].contains(&2) && found[..2].contains(&0),
            "{found:?}"
        );
    }

    #[test]
    fn other_languages_find_their_own() {
        assert_eq!(best("Wettervorhersage für Zürich")[0], 4);
        assert_eq!(best("北京的天气预报")[0], 5);
    }

    #[test]
    fn nothing_in_common_finds_nothing() {
        assert_eq!(best("xylophone"), Vec::<usize>::new());
        assert_eq!(best("the of and"), Vec::<usize>::new());
        assert_eq!(best(""), Vec::<usize>::new());
    }

    #[test]
    fn an_empty_index_answers() {
        let index = Index::new(&[], Weights::default()).unwrap();
        assert!(index.is_empty());
        assert_eq!(index.search("anything", 5).unwrap(), []);
    }
}
