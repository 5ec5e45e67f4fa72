//! The runtime: one driver owns the search, workers carry its orders out, a commit proves the
//! result.
//!
//! ```text
//! run ─► driver ──ask──► Search            (pure; never leaves the driver)
//!          │  ◄─tell──
//!          ├─ order ──► worker task ── a lane: restore · act · observe · snapshot
//!          │  ◄─ done ─     or ──────── the policy, the critic
//!          ├─ every event ─► Recorder      (before anything depends on it)
//!          └─ best path ──► commit: once, in a fresh environment ─► evaluate ─► verdict
//! ```
//!
//! Invariants:
//! * No shared mutable state: a lane belongs to the pool or to one worker; results are moved.
//! * Every external call has a limit and ends with the run's [`Cx`](crate::context::Cx).
//! * A fault of the environment or of a provider becomes `Failed`: never a node, never a score.
//! * Every asked ticket is told, whatever happens, unless the record itself fails; lanes are
//!   closed on every way out.
//! * The log is complete enough to rebuild the tree ([`crate::record::replay`]).

mod commit;
mod driver;
mod ending;
mod job;
mod landing;
mod lane;
mod order;
mod view;

pub use driver::run;
pub use job::{
    Failure, FailurePart, Job, Limits, Progress, RestoreFigures, RunError, RunLimits, RunReport,
    StepFigures,
};
