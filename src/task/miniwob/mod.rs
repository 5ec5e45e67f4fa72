//! `MiniWoB`++ (Liu et al. 2018; Farama's wheel 1.1.0, MIT): small web pages, each an episode with
//! a goal and a reward.
//!
//! The wheel holds 130 pages in `html/miniwob` and three flight-booking sites in `html/flight`.
//! `miniwob` names the 130; the three are named as the wheel names them: `flight.AA`,
//! `flight.Alaska`, `flight.Alaska-auto`.
//!
//! How an episode is run, and why so:
//!
//! * The seed goes to `Math.seedrandom` as a number, as the wheel's own harness does: the same seed
//!   gives the same episode there. Data mode is `train`, its default.
//! * Success is the **raw** reward reaching 1: the other one shrinks with the time taken, and
//!   models think slower than clocks. For the same reason the time limit (7 to 60 s) is raised to
//!   23 days, below the largest delay that `setTimeout` takes (2^31 - 1 ms), and the countdown on
//!   the page is stopped, which would be both untrue and in the way of recognising equal states.
//! * When an episode ends, the page puts its START cover back, and a click on it would begin
//!   another, unseeded one. `begin` takes the cover's handler away, and `done` and `reward` answer
//!   only for the episode that `begin` started: reloading the page to draw an easier one gains
//!   nothing.
//! * Some pages state their goal as an object: its utterance is taken. The flight sites state theirs
//!   as a table of fields only: it is rendered as `field: value` pairs after one sentence of ours
//!   that says what to do with them.
//!
//! State lives in the page alone (variables, timers), so going back means loading the page, running
//! `begin` with the same seed, and replaying the actions.

mod catalogue;
mod episode;
#[cfg(feature = "demo")]
mod site;

pub use catalogue::{PAGES, VERSION, html_dir, is_fetched, tasks};
pub use episode::episode;
#[cfg(feature = "demo")]
pub use site::{LOGICAL_ORIGIN, MiniwobSite};
