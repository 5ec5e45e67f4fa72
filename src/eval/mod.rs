//! Verdicts: does the committed run fulfil the task?
//!
//! A verdict has three outcomes, and the third matters most: a check whose question could not be
//! asked is [`Outcome::Unscored`], never a failure. Failures of the environment are no evidence
//! about an agent.
//!
//! The rules of comparison (what counts as the same answer, URL or number) are those of
//! [`normalise`], documented one by one there; string rules follow `WebArena`'s (Zhou et al. 2023:
//! trim, one pair of quotes, lower case), with collapsed white space added.

mod check;
mod evaluate;
mod metrics;
pub mod normalise;
mod values;

pub use check::{AnswerTest, CallTest, Cell, Check, JsonTest, PageTest, TraceTest, ValueTest};
pub use evaluate::{CheckOutcome, CheckResult, Evidence, Outcome, Verdict, evaluate};
pub use metrics::{Interval, Row, Summary, Table};
