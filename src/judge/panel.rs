//! Asks the judge for the votes that are missing, and writes each down before it counts.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;

use super::question::{Question, request};
use super::subject::{Subject, pairs};
use super::tally::{Coins, Rule, Tally};
use super::votes::{Key, Pair, Place, Sitting, Vote, VoteFile, VotesError};
use crate::context::Cx;
use crate::llm::{ChatError, ChatModel, ChatRequest};
use crate::types::{Cost, Digest, Seed};

/// So many faults in a row, and the judge is not asked any more.
const FAULTS: u32 = 3;

/// How votes are asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PanelConfig {
    /// Ballots of each question, at least 1.
    pub votes: u32,
    /// Sampling temperature.
    pub temperature: f32,
    /// Seed of the ballots' sampling and of a rule's coins.
    pub seed: Seed,
    /// The rule, which decides what comparisons are needed.
    pub rule: Rule,
    /// Most requests under way at a time, at least 1.
    pub workers: usize,
}

/// Why the asking stopped early. The votes until then are in the file.
#[derive(Debug, thiserror::Error)]
pub enum PanelError {
    /// Cancelled.
    #[error("interrupted; the votes so far are kept, and the same command goes on from them")]
    Interrupted,
    /// The judge failed several times in a row.
    #[error(
        "the judge failed {FAULTS} times in a row: {0}; the votes so far are kept, and the same command goes on from them"
    )]
    Provider(ChatError),
    /// Votes could not be kept.
    #[error(transparent)]
    Votes(#[from] VotesError),
}

/// How far the asking is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Votes asked for in this sitting.
    pub asked: u32,
    /// The one that just came.
    pub vote: &'a Vote,
}

/// A judge and the runs before it.
pub struct Panel {
    model: Arc<dyn ChatModel>,
    config: PanelConfig,
    subjects: Vec<Subject>,
    sitting: Sitting,
}

impl std::fmt::Debug for Panel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Panel")
            .field("model", &self.model.name())
            .field("config", &self.config)
            .field("subjects", &self.subjects.len())
            .finish_non_exhaustive()
    }
}

impl Panel {
    /// A panel on `runs`, held against `against` where there are some.
    #[must_use]
    pub fn new(
        model: Arc<dyn ChatModel>,
        config: PanelConfig,
        runs: Vec<Subject>,
        against: Vec<Subject>,
    ) -> Self {
        let (matched, alone) = pairs(&runs, &against);
        let matched = matched.into_iter().map(|(one, other)| Pair {
            run: runs[one].run.clone(),
            against: against[other].run.clone(),
            same: runs[one].steps == against[other].steps && runs[one].end == against[other].end,
        });
        let place = |reference: bool| {
            move |subject: &Subject| Place {
                run: subject.run.clone(),
                task: subject.task.clone(),
                reference,
                end: subject.end.clone(),
                fault: subject.fault.clone(),
            }
        };
        let sitting = Sitting {
            v: Sitting::V,
            model: model.name().to_owned(),
            panel: digest(model.name(), &config),
            votes: config.votes,
            seed: config.seed,
            pairs: matched.collect(),
            places: runs
                .iter()
                .map(place(false))
                .chain(against.iter().map(place(true)))
                .collect(),
            alone: if against.is_empty() {
                0
            } else {
                u32::try_from(alone).unwrap_or(u32::MAX)
            },
        };
        let subjects = runs.into_iter().chain(against).collect();
        Self {
            model,
            config,
            subjects,
            sitting,
        }
    }

    /// Asks for every vote that `file` lacks, until the rates are complete or nothing more can be
    /// had.
    ///
    /// # Errors
    /// [`PanelError`]; what came before it is in the file.
    pub async fn sit(
        &self,
        file: &mut VoteFile,
        watch: &mut (dyn FnMut(Progress<'_>) + Send),
        cx: &Cx,
    ) -> Result<Tally, PanelError> {
        file.sit(self.sitting.clone())?;
        let mut tally = Tally::of(file)?;
        let mut asked = BTreeSet::new();
        loop {
            let mut due = self.due(&tally);
            due.retain(|key| asked.insert(key.clone()));
            if due.is_empty() {
                return Ok(tally);
            }
            let before = u32::try_from(asked.len() - due.len()).unwrap_or(u32::MAX);
            self.ask_all(due, before, file, &mut tally, watch, cx)
                .await?;
        }
    }

    /// The votes that can be asked for now; others depend on them.
    fn due(&self, tally: &Tally) -> Vec<Key> {
        let mut due = Vec::new();
        for place in &self.sitting.places {
            for ballot in 0..self.sitting.votes {
                if let Some(question) = tally.ballot(place, ballot).next {
                    due.push((place.run.clone(), None, question, ballot, false));
                }
            }
        }
        if !due.is_empty() {
            return due;
        }
        let mut coins = Coins::new(self.sitting.seed);
        for pair in &self.sitting.pairs {
            let (_, wanted) = tally.pair(pair, self.config.rule, &mut coins);
            due.extend(wanted.into_iter().map(|(ballot, swapped)| {
                let against = Some(pair.against.clone());
                (pair.run.clone(), against, Question::Better, ballot, swapped)
            }));
        }
        due
    }

    async fn ask_all(
        &self,
        due: Vec<Key>,
        mut asked: u32,
        file: &mut VoteFile,
        tally: &mut Tally,
        watch: &mut (dyn FnMut(Progress<'_>) + Send),
        cx: &Cx,
    ) -> Result<(), PanelError> {
        let mut due = due.into_iter();
        let mut under_way = JoinSet::new();
        let mut faults = 0;
        // Once it is set, what is under way is still waited for: its replies are paid.
        let mut stop = None;
        loop {
            while stop.is_none()
                && under_way.len() < self.config.workers.max(1)
                && let Some(key) = due.next()
            {
                let request = self.request(&key);
                let (model, cx) = (Arc::clone(&self.model), cx.clone());
                under_way.spawn(async move {
                    let reply = model.chat(&request, &cx).await;
                    (key, Digest::of(json!(request).to_string()), reply)
                });
            }
            let Some(joined) = under_way.join_next().await else {
                return stop.map_or(Ok(()), Err);
            };
            let (key, prompt, reply) = match joined {
                Ok(answered) => answered,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            };
            let mut vote = Vote {
                run: key.0,
                against: key.1,
                question: key.2,
                ballot: key.3,
                swapped: key.4,
                panel: self.sitting.panel,
                prompt,
                ruling: None,
                reply: None,
                fault: None,
                answered_by: None,
                cost: Cost::default(),
            };
            let mut failure = None;
            match reply {
                Ok(reply) => {
                    faults = 0;
                    let text = reply.choices.into_iter().next().map(|choice| choice.text);
                    vote.ruling = text.as_deref().and_then(|text| vote.question.read(text));
                    vote.reply = text;
                    vote.answered_by = Some(reply.model);
                    vote.cost = reply.cost;
                }
                Err(ChatError::Interrupted(_)) => {
                    stop = Some(PanelError::Interrupted);
                    continue;
                }
                Err(error) => {
                    faults += 1;
                    vote.fault = Some(error.to_string());
                    failure = Some(error);
                }
            }
            asked += 1;
            file.add(&vote)?;
            watch(Progress { asked, vote: &vote });
            tally.add(vote);
            if let Some(error) = failure
                && faults >= FAULTS
            {
                stop.get_or_insert(PanelError::Provider(error));
            }
        }
    }

    fn request(&self, key: &Key) -> ChatRequest {
        let find = |run: &str| {
            let found = self.subjects.iter().find(|subject| subject.run == run);
            found.expect("keys are made from the subjects")
        };
        let (run, against, question, ballot, swapped) = key;
        let (mut first, mut second) = (find(run), against.as_deref().map(find));
        if let (true, Some(other)) = (*swapped, second) {
            (first, second) = (other, Some(first));
        }
        // Each ballot samples anew; the two orders of a comparison sample alike.
        let seed = self.config.seed.derive(&format!("ballot/{ballot}"));
        request(*question, first, second, self.config.temperature, seed)
    }
}

/// What makes votes comparable: the model, the prompts and the sampling.
fn digest(model: &str, config: &PanelConfig) -> Digest {
    let nobody = Subject {
        run: String::new(),
        task: String::new(),
        goal: String::new(),
        tools: Vec::new(),
        steps: Vec::new(),
        end: super::End::Open,
        fault: None,
    };
    let prompts = [
        Question::Answer,
        Question::Attempt,
        Question::Task,
        Question::Better,
    ]
    .map(|question| request(question, &nobody, None, config.temperature, config.seed));
    Digest::of(json!([model, prompts]).to_string())
}
