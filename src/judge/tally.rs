//! From votes to decisions: pure, so that a file of votes gives the same decisions every time.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::question::{Question, Ruling};
use super::subject::End;
use super::votes::{Key, Pair, Place, Sitting, Vote, VoteFile};
use crate::types::Seed;

/// How ballots become decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// A strict majority decides; ties, doubts and missing votes stay what they are. Comparisons
    /// are asked in both orders.
    Majority,
    /// `ToolEval` as published: doubts become a coin, comparisons are asked in one order by a coin.
    Toolbench,
}

/// What one ballot says of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// Solved, or unsolvable.
    Pass,
    /// Unsolved though solvable.
    Fail,
    /// Neither can be said.
    Unsure,
}

/// What all ballots together say of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// More than half of the ballots pass it.
    Pass,
    /// More than half fail it.
    Fail,
    /// More than half are unsure.
    Unsure,
    /// No side has more than half.
    Tie,
    /// Votes are missing, and could change the decision; or a fault ended the run.
    Missing,
}

/// How a run stands against its partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pairing {
    /// It is better.
    Win,
    /// Its partner is.
    Loss,
    /// Neither is.
    Tie,
    /// Votes are missing, and could change it; or a fault ended one of the two.
    Missing,
}

/// One ballot on one run, as far as its votes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ballot {
    /// Whether the goal is solved.
    pub(super) status: Option<Ruling>,
    /// What follows.
    pub(super) label: Option<Label>,
    /// What has to be asked next.
    pub(super) next: Option<Question>,
}

/// Coins that are tossed once for each name, and give the same sides for the same seed.
#[derive(Debug)]
pub(super) struct Coins {
    seed: Seed,
    tossed: BTreeSet<String>,
}

impl Coins {
    pub(super) fn new(seed: Seed) -> Self {
        Self {
            seed,
            tossed: BTreeSet::new(),
        }
    }

    /// How many were tossed.
    pub(super) fn tossed(&self) -> usize {
        self.tossed.len()
    }

    fn toss(&mut self, name: &str) -> bool {
        self.tossed.insert(name.to_owned());
        self.seed.derive(&format!("coin/{name}")).0 & 1 == 1
    }
}

/// The votes of one sitting.
#[derive(Debug)]
pub struct Tally {
    sitting: Sitting,
    votes: BTreeMap<Key, Vote>,
}

/// The option that holds more than half of all ballots, missing ones included.
fn majority<T: Copy + PartialEq>(ballots: &[Option<T>]) -> Option<T> {
    ballots.iter().flatten().copied().find(|wanted| {
        let for_it = ballots.iter().filter(|b| **b == Some(*wanted)).count();
        for_it * 2 > ballots.len()
    })
}

/// What the majority of labels decides.
fn decide(labels: &[Option<Label>]) -> Decision {
    match majority(labels) {
        Some(Label::Pass) => Decision::Pass,
        Some(Label::Fail) => Decision::Fail,
        Some(Label::Unsure) => Decision::Unsure,
        None if labels.contains(&None) => Decision::Missing,
        None => Decision::Tie,
    }
}

impl Tally {
    /// The votes that `file` holds for its last sitting.
    ///
    /// # Errors
    /// [`super::VotesError::Nothing`] if it holds no sitting.
    pub fn of(file: &VoteFile) -> Result<Self, super::VotesError> {
        let sitting = file.sitting()?.clone();
        let mut tally = Self {
            votes: BTreeMap::new(),
            sitting,
        };
        for vote in file.of(tally.sitting.panel) {
            tally.add(vote.clone());
        }
        Ok(tally)
    }

    /// What the votes are about.
    #[must_use]
    pub fn sitting(&self) -> &Sitting {
        &self.sitting
    }

    /// Every vote.
    pub(super) fn votes(&self) -> impl Iterator<Item = &Vote> {
        self.votes.values()
    }

    /// Counts a vote.
    pub(super) fn add(&mut self, vote: Vote) {
        self.votes.insert(vote.key(), vote);
    }

    /// Whether a vote need not be asked for: it was answered, readably or not.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.votes.get(key).is_some_and(|vote| vote.fault.is_none())
    }

    fn ruling(&self, key: &Key) -> Option<Ruling> {
        self.votes.get(key)?.ruling
    }

    /// One ballot on a run: answer first, the whole attempt if that is unsure, and whether the task
    /// can be solved at all if it was not.
    pub(super) fn ballot(&self, place: &Place, ballot: u32) -> Ballot {
        let done = |status, label| Ballot {
            status,
            label,
            next: None,
        };
        if place.fault.is_some() {
            return done(None, None);
        }
        let ask = |question| {
            let key = (place.run.clone(), None, question, ballot, false);
            let next = (!self.has(&key)).then_some(question);
            self.ruling(&key).ok_or(next)
        };
        let status = match &place.end {
            End::Open => return done(Some(Ruling::No), Some(Label::Fail)),
            End::GaveUp => Ok(Ruling::No),
            End::Answered(_) => match ask(Question::Answer) {
                Ok(Ruling::Unsure) => ask(Question::Attempt),
                ruled => ruled,
            },
        };
        let status = match status {
            Ok(Ruling::Yes) => return done(Some(Ruling::Yes), Some(Label::Pass)),
            Ok(status) => status,
            Err(next) => {
                return Ballot {
                    status: None,
                    label: None,
                    next,
                };
            }
        };
        let (label, next) = match (status, ask(Question::Task)) {
            (_, Err(next)) => (None, next),
            (_, Ok(Ruling::No)) => (Some(Label::Pass), None),
            (Ruling::No, Ok(Ruling::Yes)) => (Some(Label::Fail), None),
            (_, Ok(_)) => (Some(Label::Unsure), None),
        };
        Ballot {
            status: Some(status),
            label,
            next,
        }
    }

    fn ballots(&self, place: &Place) -> Vec<Ballot> {
        (0..self.sitting.votes)
            .map(|ballot| self.ballot(place, ballot))
            .collect()
    }

    /// Whether the goal is solved, by ballot.
    pub(super) fn statuses(&self, place: &Place) -> Vec<Option<Ruling>> {
        self.ballots(place).iter().map(|b| b.status).collect()
    }

    /// What the ballots decide on a run.
    pub(super) fn decision(&self, place: &Place, rule: Rule, coins: &mut Coins) -> Decision {
        let ballots = self.ballots(place);
        match rule {
            Rule::Majority => decide(&ballots.iter().map(|b| b.label).collect::<Vec<_>>()),
            Rule::Toolbench => {
                let labels = ballots.iter().zip(0_u32..);
                let settled: Vec<Label> = labels
                    .filter_map(|(ballot, i)| match ballot.label? {
                        Label::Unsure if coins.toss(&format!("unsure/{}/{i}", place.run)) => {
                            Some(Label::Pass)
                        }
                        Label::Unsure => Some(Label::Fail),
                        label => Some(label),
                    })
                    .collect();
                let passed = settled.iter().filter(|l| **l == Label::Pass).count();
                let failed = settled.len() - passed;
                match passed.cmp(&failed) {
                    _ if passed + failed == 0 => Decision::Missing,
                    std::cmp::Ordering::Greater => Decision::Pass,
                    std::cmp::Ordering::Less => Decision::Fail,
                    std::cmp::Ordering::Equal => Decision::Tie,
                }
            }
        }
    }

    fn place(&self, run: &str) -> Option<&Place> {
        self.sitting.places.iter().find(|place| place.run == run)
    }

    /// How a pair stands, and the comparisons that have to be asked for it (ballot, swapped).
    pub(super) fn pair(
        &self,
        pair: &Pair,
        rule: Rule,
        coins: &mut Coins,
    ) -> (Pairing, Vec<(u32, bool)>) {
        let sides = (self.place(&pair.run), self.place(&pair.against));
        let (Some(one), Some(other)) = sides else {
            return (Pairing::Missing, Vec::new());
        };
        if one.fault.is_some() || other.fault.is_some() {
            return (Pairing::Missing, Vec::new());
        }
        match rule {
            Rule::Majority => self.majority_pair(pair, one, other, coins),
            Rule::Toolbench => self.toolbench_pair(pair, one, other, coins),
        }
    }

    fn majority_pair(
        &self,
        pair: &Pair,
        one: &Place,
        other: &Place,
        coins: &mut Coins,
    ) -> (Pairing, Vec<(u32, bool)>) {
        let passed = |place, coins: &mut Coins| self.decision(place, Rule::Majority, coins);
        match (passed(one, coins), passed(other, coins)) {
            (Decision::Missing, _) | (_, Decision::Missing) => {
                return (Pairing::Missing, Vec::new());
            }
            (Decision::Pass, Decision::Fail) => return (Pairing::Win, Vec::new()),
            (Decision::Fail, Decision::Pass) => return (Pairing::Loss, Vec::new()),
            _ => {}
        }
        let solved = |place| majority(&self.statuses(place)).map(rank);
        if let (Some(ours), Some(theirs)) = (solved(one), solved(other))
            && ours != theirs
        {
            let better = if ours > theirs {
                Pairing::Win
            } else {
                Pairing::Loss
            };
            return (better, Vec::new());
        }
        if pair.same {
            return (Pairing::Tie, Vec::new());
        }
        let mut wanted = Vec::new();
        let mut results = Vec::new();
        for ballot in 0..self.sitting.votes {
            let mut said = |swapped| {
                let key = better(pair, ballot, swapped);
                if !self.has(&key) {
                    wanted.push((ballot, swapped));
                }
                self.preference(&key)
            };
            results.push(match (said(false), said(true)) {
                (Some(one), Some(other)) if one == other => Some(one),
                // Each order prefers another: that is the order's doing.
                (Some(_), Some(_)) => Some(Pairing::Tie),
                _ => None,
            });
        }
        let pairing = match majority(&results) {
            Some(pairing) => pairing,
            None if results.contains(&None) => Pairing::Missing,
            None => Pairing::Tie,
        };
        (pairing, wanted)
    }

    fn toolbench_pair(
        &self,
        pair: &Pair,
        one: &Place,
        other: &Place,
        coins: &mut Coins,
    ) -> (Pairing, Vec<(u32, bool)>) {
        // Its table of labels breaks ties by a coin, its printed rate does not.
        let mut label = |place: &Place| match self.decision(place, Rule::Toolbench, coins) {
            Decision::Tie if coins.toss(&format!("tie/{}", place.run)) => Decision::Pass,
            Decision::Tie => Decision::Fail,
            decision => decision,
        };
        match (label(one), label(other)) {
            (Decision::Missing, _) | (_, Decision::Missing) => {
                return (Pairing::Missing, Vec::new());
            }
            (Decision::Pass, Decision::Fail) => return (Pairing::Win, Vec::new()),
            (Decision::Fail, Decision::Pass) => return (Pairing::Loss, Vec::new()),
            _ => {}
        }
        let (mut wins, mut losses, mut wanted) = (0, 0, Vec::new());
        let ballots = self.ballots(one).into_iter().zip(self.ballots(other));
        let mut missing = false;
        for (ballot, (ours, theirs)) in (0_u32..).zip(ballots) {
            let (Some(ours), Some(theirs)) = (ours.status, theirs.status) else {
                missing = true;
                continue;
            };
            let name = format!("{}/{}/{ballot}", pair.run, pair.against);
            let said = if rank(ours) != rank(theirs) {
                Some(rank(ours) > rank(theirs))
            } else if pair.same {
                Some(coins.toss(&format!("same/{name}")))
            } else {
                let key = better(pair, ballot, coins.toss(&format!("order/{name}")));
                if !self.has(&key) {
                    wanted.push((ballot, key.4));
                }
                match self.preference(&key) {
                    Some(Pairing::Win) => Some(true),
                    Some(Pairing::Loss) => Some(false),
                    said => {
                        missing |= said.is_none();
                        None
                    }
                }
            };
            match said {
                Some(true) => wins += 1,
                Some(false) => losses += 1,
                None => {}
            }
        }
        let pairing = match wins.cmp(&losses) {
            _ if missing => Pairing::Missing,
            std::cmp::Ordering::Greater => Pairing::Win,
            std::cmp::Ordering::Less => Pairing::Loss,
            std::cmp::Ordering::Equal => Pairing::Tie,
        };
        (pairing, wanted)
    }

    /// What a comparison says from the run's side.
    fn preference(&self, key: &Key) -> Option<Pairing> {
        match (self.ruling(key)?, key.4) {
            (Ruling::First, false) | (Ruling::Second, true) => Some(Pairing::Win),
            (Ruling::Second, false) | (Ruling::First, true) => Some(Pairing::Loss),
            _ => Some(Pairing::Tie),
        }
    }
}

/// Solved before unsure before unsolved.
fn rank(status: Ruling) -> u8 {
    match status {
        Ruling::Yes => 2,
        Ruling::Unsure => 1,
        _ => 0,
    }
}

fn better(pair: &Pair, ballot: u32, swapped: bool) -> Key {
    let against = Some(pair.against.clone());
    (pair.run.clone(), against, Question::Better, ballot, swapped)
}
