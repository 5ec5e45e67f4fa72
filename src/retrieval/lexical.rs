//! BM25 over tools and over their groups, in one pass over the postings of a query's terms.

use std::collections::BTreeMap;

use tantivy::collector::sort_key::NaturalComparator;
use tantivy::collector::{ComparableDoc, TopNComputer};
use tantivy::indexer::NoMergePolicy;
use tantivy::query::{EnableScoring, Query, TermQuery};
use tantivy::schema::{FAST, Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::TextAnalyzer;
use tantivy::{ReloadPolicy, Searcher, TantivyDocument, Term};

use super::entry::Entry;
use super::queries::parts;
use super::text::{ANALYZER, analyzer, terms};

/// Memory of the one indexing thread, in bytes: the least that the engine accepts is 15 MB.
const ARENA: usize = 48 << 20;
/// Groups that count for a query.
const GROUPS: usize = 50;
/// Most terms of a query: a goal of pages would cost more than it finds.
const MOST_TERMS: usize = 128;
/// Fewest letters of each half of a compound.
const HALF: usize = 4;

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
    searcher: Searcher,
    text: Field,
    name: Field,
    /// By segment: the place of each document among those given.
    places: Vec<Vec<usize>>,
}

/// An index of tools, in memory.
pub struct Index {
    tools: Part,
    groups: Part,
    /// By tool: its group.
    group_of: Vec<usize>,
    analyzer: TextAnalyzer,
    weights: Weights,
}

/// A query, taken apart.
struct Terms {
    /// Its distinct terms, each with the sentences that it stands in.
    terms: Vec<(String, Vec<usize>)>,
    /// How many sentences there are; none if the query is a single one.
    sentences: usize,
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
                group_of[member] = group;
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
            analyzer: analyzer(),
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
        let query = self.taken_apart(query)?;
        let name = self.weights.name;
        let mut whole = vec![0.0_f32; self.len()];
        let mut sentences = vec![vec![0.0_f32; self.len()]; query.sentences];
        for (term, within) in &query.terms {
            self.tools.each(term, name, &mut |tool, score| {
                whole[tool] += score;
                for &sentence in within {
                    sentences[sentence][tool] += score;
                }
            })?;
        }
        let near = self.near(&query)?;
        let mut best = TopNComputer::new_with_comparator(most, NaturalComparator);
        for (tool, &score) in whole.iter().enumerate().filter(|(_, score)| **score > 0.0) {
            // A query of one sentence is its own best part.
            let part = sentences.iter().map(|scores| scores[tool]);
            let part = part.reduce(f32::max).unwrap_or(score);
            let group = near[self.group_of[tool]];
            let score = score + self.weights.sentence * part + self.weights.group * group;
            best.push(score, tool);
        }
        Ok(hits(best))
    }

    /// How much of a query the tools can answer: the share, within 0..=1, of its distinct terms that
    /// at least one tool holds. A query in another language than the tools' has a low one.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn known(&self, query: &str) -> Result<f32, IndexError> {
        let terms = self.terms(query)?;
        let mut known = 0.0;
        for term in &terms {
            if self.tools.holds(term)? {
                known += 1.0;
            }
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "terms of a text, far fewer than 2^23"
        )]
        let all = terms.len().max(1) as f32;
        Ok(known / all)
    }

    /// The terms of a query and where they stand.
    fn taken_apart(&self, query: &str) -> Result<Terms, IndexError> {
        let mut distinct = self.terms(query)?;
        distinct.truncate(MOST_TERMS);
        let parts = parts(query)
            .into_iter()
            .map(|part| self.terms(part))
            .collect::<Result<Vec<_>, _>>()?;
        let within = |term: &String| {
            let holds = |at: &usize| parts[*at].contains(term);
            (0..parts.len()).filter(holds).collect()
        };
        Ok(Terms {
            sentences: parts.len(),
            terms: distinct
                .into_iter()
                .map(|term| {
                    let within = within(&term);
                    (term, within)
                })
                .collect(),
        })
    }

    /// The distinct terms of a text, compounds that no tool holds taken apart where both halves are
    /// known.
    fn terms(&self, text: &str) -> Result<Vec<String>, IndexError> {
        let mut out = Vec::new();
        for term in terms(&mut self.analyzer.clone(), text) {
            match self.halves(&term)? {
                Some((first, second)) => out.extend([first.to_owned(), second.to_owned()]),
                None => out.push(term),
            }
        }
        Ok(out)
    }

    /// The halves of a compound: the longest first one of which both are known, as `wetter` and
    /// `vorhersage` of `wettervorhersage`.
    fn halves<'a>(&self, term: &'a str) -> Result<Option<(&'a str, &'a str)>, IndexError> {
        // Analysed text is ASCII but for scripts that have no such compounds.
        if !term.is_ascii() || term.len() < 2 * HALF || self.tools.holds(term)? {
            return Ok(None);
        }
        for at in (HALF..=term.len() - HALF).rev() {
            let (first, second) = term.split_at(at);
            if self.tools.holds(second)? && self.tools.holds(first)? {
                return Ok(Some((first, second)));
            }
        }
        Ok(None)
    }

    /// By group: how near it is to the query; 0 for all but the nearest.
    fn near(&self, query: &Terms) -> Result<Vec<f32>, IndexError> {
        let mut scores = vec![0.0; self.groups.len()];
        for (term, _) in &query.terms {
            let add = &mut |group: usize, score| scores[group] += score;
            self.groups.each(term, self.weights.name, add)?;
        }
        let mut best = TopNComputer::new_with_comparator(GROUPS, NaturalComparator);
        for (group, &score) in scores.iter().enumerate() {
            best.push(score, group);
        }
        let mut near = vec![0.0; scores.len()];
        for hit in hits(best) {
            near[hit.tool] = hit.score;
        }
        Ok(near)
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
        // One thread, no merging: the segments, and with them every score, are the same each time.
        let mut writer = index.writer_with_num_threads::<TantivyDocument>(1, ARENA)?;
        writer.set_merge_policy(Box::new(NoMergePolicy));
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
        let searcher = reader.searcher();
        let places = searcher
            .segment_readers()
            .iter()
            .map(|segment| {
                let ids = segment.fast_fields().u64("id")?;
                let place = |document| ids.first(document).unwrap_or_default();
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "ids are places in a list in memory"
                )]
                let places = segment
                    .doc_ids_alive()
                    .map(|document| place(document) as usize);
                Ok(places.collect())
            })
            .collect::<Result<_, tantivy::TantivyError>>()?;
        Ok(Self {
            searcher,
            text,
            name,
            places,
        })
    }

    fn len(&self) -> usize {
        self.places.iter().map(Vec::len).sum()
    }

    /// Whether any document's text holds `term`.
    fn holds(&self, term: &str) -> Result<bool, IndexError> {
        let term = Term::from_field_text(self.text, term);
        Ok(self.searcher.doc_freq(&term)? > 0)
    }

    /// Calls `add` with the place and the score of every document that holds `term`: by its text, and
    /// again by its name.
    fn each(
        &self,
        term: &str,
        name: f32,
        add: &mut dyn FnMut(usize, f32),
    ) -> Result<(), IndexError> {
        let scoring = EnableScoring::enabled_from_searcher(&self.searcher);
        for (field, weight) in [(self.text, 1.0), (self.name, name)] {
            let term = Term::from_field_text(field, term);
            let term = TermQuery::new(term, IndexRecordOption::WithFreqs).weight(scoring)?;
            for (segment, places) in self.searcher.segment_readers().iter().zip(&self.places) {
                term.for_each(segment, &mut |document, score| {
                    add(places[document as usize], weight * score);
                })?;
            }
        }
        Ok(())
    }
}

/// The best, best first; of equals the first.
fn hits(best: TopNComputer<f32, usize, NaturalComparator>) -> Vec<Hit> {
    best.into_sorted_vec()
        .into_iter()
        .map(|ComparableDoc { sort_key, doc }| Hit {
            tool: doc,
            score: sort_key,
        })
        .collect()
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
        assert_eq!(best("STÜNDLICHE Vorhersage")[0], 4);
        assert_eq!(best("Stadtwettervorhersage")[0], 4);
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
