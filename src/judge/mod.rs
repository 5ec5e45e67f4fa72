//! Judging finished runs with a language model: pass rate, win rate and solvable pass rate, as
//! `ToolEval` (Qin et al. 2023) and `StableToolBench` (Guo et al. 2024) define them.
//!
//! A [`Subject`] is what a record says about one run. A [`Panel`] asks a model about it, several
//! times (ballots), and writes every [`Vote`] to a [`VoteFile`] before it counts. [`Rates`] are
//! computed from that file alone, so that every figure can be recomputed without a model.
//!
//! Invariants:
//! * A vote that could not be had (a provider's fault, an unreadable reply) is missing, and said to
//!   be; it is never a verdict. A run that a fault ended is not judged.
//! * Without a strict majority there is no verdict. Only [`Rule::Toolbench`] tosses coins, because
//!   the published rule does; they are seeded and counted.
//! * What a run saw and said is data: fenced and cut in every prompt.

mod panel;
mod question;
mod rates;
mod subject;
mod tally;
mod votes;

pub use panel::{Panel, PanelConfig, PanelError, Progress};
pub use question::{Question, Ruling, request};
pub use rates::{PairResult, PassCounts, Rates, RunResult, SolveRate, WinCounts};
pub use subject::{End, Subject, SubjectError, Taken, pairs};
pub use tally::{Decision, Label, Pairing, Rule, Tally};
pub use votes::{Line, Pair, Place, Sitting, Vote, VoteFile, VotesError};
