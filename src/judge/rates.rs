//! The rates, from decisions.

use serde::{Deserialize, Serialize};

use super::question::Ruling;
use super::tally::{Coins, Decision, Pairing, Rule, Tally};
use super::votes::{Pair, Place};
use crate::eval::{Interval, Summary};
use crate::types::Cost;

/// Every figure of one sitting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// The rule that was applied.
    pub rule: Rule,
    /// The judge.
    pub model: String,
    /// Ballots of each question.
    pub votes: u32,
    /// Each run.
    pub runs: Vec<RunResult>,
    /// Pass rate of the runs.
    pub pass: PassCounts,
    /// Solvable pass rate of the runs.
    pub solve: SolveRate,
    /// Pass rate of those that they are held against.
    pub against_pass: Option<PassCounts>,
    /// Solvable pass rate of those.
    pub against_solve: Option<SolveRate>,
    /// Each pair.
    pub pairs: Vec<PairResult>,
    /// Win rate of the runs, where there are pairs.
    pub win: Option<WinCounts>,
    /// Runs of either side without a partner.
    pub alone: u32,
    /// Coins that the rule tossed.
    pub coins: u32,
    /// Votes that the judge replied to.
    pub replies: u32,
    /// Of these, replies that hold no ruling.
    pub unreadable: u32,
    /// Votes that a provider's fault prevented.
    pub faults: u32,
    /// What the votes cost, all sittings of the panel together.
    pub cost: Cost,
}

/// What became of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunResult {
    /// Its id.
    pub run: String,
    /// Its task.
    pub task: String,
    /// Whether others are held against it.
    pub reference: bool,
    /// The decision.
    pub decision: Decision,
    /// Why it was not judged, if it was not.
    pub fault: Option<String>,
}

/// What became of one pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairResult {
    /// The two.
    pub pair: Pair,
    /// How the run stands.
    pub result: Pairing,
}

/// Decisions, counted.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct PassCounts {
    /// Runs.
    pub n: u32,
    /// Passed.
    pub pass: u32,
    /// Failed.
    pub fail: u32,
    /// Most ballots were unsure.
    pub unsure: u32,
    /// No majority.
    pub tie: u32,
    /// Not decided, for want of votes or because of a fault.
    pub missing: u32,
    /// Passed among passed and failed; with [`Rule::Toolbench`] ties pass, as in its printed rate.
    pub rate: Option<f64>,
    /// 95% interval of it (Wilson).
    pub interval: Option<Interval>,
}

/// Solvable pass rate: solved counts 1, unsure a half, by ballot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SolveRate {
    /// Runs that count.
    pub n: u32,
    /// Runs of which a ballot is missing; with [`Rule::Toolbench`] they count as unsolved.
    pub missing: u32,
    /// Mean over the ballots.
    pub mean: Option<f64>,
    /// Standard deviation over the ballots (of a population, as published).
    pub deviation: Option<f64>,
}

/// Pairs, counted from the run's side.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct WinCounts {
    /// Pairs.
    pub n: u32,
    /// Better.
    pub win: u32,
    /// Worse.
    pub loss: u32,
    /// Neither.
    pub tie: u32,
    /// Not decided.
    pub missing: u32,
    /// Wins among wins and losses; with [`Rule::Toolbench`] among all pairs, as published.
    pub rate: Option<f64>,
    /// 95% interval of it (Wilson).
    pub interval: Option<Interval>,
}

impl Rates {
    /// All rates of a tally.
    #[must_use]
    pub fn of(tally: &Tally, rule: Rule) -> Self {
        let sitting = tally.sitting();
        let mut coins = Coins::new(sitting.seed);
        let result = |place: &Place, coins: &mut Coins| RunResult {
            run: place.run.clone(),
            task: place.task.clone(),
            reference: place.reference,
            decision: tally.decision(place, rule, coins),
            fault: place.fault.clone(),
        };
        let runs: Vec<RunResult> = sitting
            .places
            .iter()
            .map(|place| result(place, &mut coins))
            .collect();
        let pairs: Vec<PairResult> = sitting
            .pairs
            .iter()
            .map(|pair| PairResult {
                result: tally.pair(pair, rule, &mut coins).0,
                pair: pair.clone(),
            })
            .collect();
        let referred = sitting.places.iter().any(|place| place.reference);
        let side = |reference| runs.iter().filter(move |r| r.reference == reference);
        let mut cost = Cost::default();
        let (mut replies, mut unreadable, mut faults) = (0, 0, 0);
        for vote in tally.votes() {
            cost += vote.cost;
            match (&vote.fault, vote.ruling) {
                (Some(_), _) => faults += 1,
                (None, ruling) => {
                    replies += 1;
                    unreadable += u32::from(ruling.is_none());
                }
            }
        }
        Self {
            rule,
            model: sitting.model.clone(),
            votes: sitting.votes,
            pass: PassCounts::of(side(false), rule),
            solve: SolveRate::of(tally, false, rule),
            against_pass: referred.then(|| PassCounts::of(side(true), rule)),
            against_solve: referred.then(|| SolveRate::of(tally, true, rule)),
            win: (!pairs.is_empty()).then(|| WinCounts::of(&pairs, rule)),
            alone: sitting.alone,
            coins: number(coins.tossed()),
            runs,
            pairs,
            replies,
            unreadable,
            faults,
            cost,
        }
    }
}

/// A rate with its interval.
fn share(yes: u32, no: u32) -> (Option<f64>, Option<Interval>) {
    let summary = Summary {
        solved: yes,
        not_solved: no,
        unscored: 0,
    };
    (summary.rate(), summary.interval())
}

impl PassCounts {
    fn of<'a>(runs: impl Iterator<Item = &'a RunResult>, rule: Rule) -> Self {
        let mut counts = Self::default();
        for run in runs {
            counts.n += 1;
            let count = match run.decision {
                Decision::Pass => &mut counts.pass,
                Decision::Fail => &mut counts.fail,
                Decision::Unsure => &mut counts.unsure,
                Decision::Tie => &mut counts.tie,
                Decision::Missing => &mut counts.missing,
            };
            *count += 1;
        }
        let passed = match rule {
            Rule::Majority => counts.pass,
            Rule::Toolbench => counts.pass + counts.tie,
        };
        (counts.rate, counts.interval) = share(passed, counts.fail);
        counts
    }
}

impl SolveRate {
    fn of(tally: &Tally, reference: bool, rule: Rule) -> Self {
        let sitting = tally.sitting();
        let places = sitting.places.iter().filter(|p| p.reference == reference);
        let statuses: Vec<Vec<Option<Ruling>>> = places.map(|p| tally.statuses(p)).collect();
        let whole = |ballots: &&Vec<Option<Ruling>>| !ballots.contains(&None);
        let counted: Vec<_> = match rule {
            Rule::Majority => statuses.iter().filter(whole).collect(),
            Rule::Toolbench => statuses.iter().collect(),
        };
        let missing = statuses.iter().filter(|s| !whole(s)).count();
        let score = |ballot: usize| -> f64 {
            let points = counted.iter().map(|ballots| match ballots[ballot] {
                Some(Ruling::Yes) => 1.0,
                Some(Ruling::Unsure) => 0.5,
                _ => 0.0,
            });
            points.sum::<f64>() / f64::from(number(counted.len()))
        };
        let scores: Vec<f64> = (0..sitting.votes as usize).map(score).collect();
        let over = f64::from(sitting.votes);
        let mean = scores.iter().sum::<f64>() / over;
        let spread = scores.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / over;
        let any = !counted.is_empty() && sitting.votes > 0;
        Self {
            n: number(counted.len()),
            missing: number(missing),
            mean: any.then_some(mean),
            deviation: any.then(|| spread.sqrt()),
        }
    }
}

impl WinCounts {
    fn of(pairs: &[PairResult], rule: Rule) -> Self {
        let mut counts = Self {
            n: number(pairs.len()),
            ..Self::default()
        };
        for pair in pairs {
            let count = match pair.result {
                Pairing::Win => &mut counts.win,
                Pairing::Loss => &mut counts.loss,
                Pairing::Tie => &mut counts.tie,
                Pairing::Missing => &mut counts.missing,
            };
            *count += 1;
        }
        let others = match rule {
            Rule::Majority => counts.loss,
            Rule::Toolbench => counts.loss + counts.tie,
        };
        (counts.rate, counts.interval) = share(counts.win, others);
        counts
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
