//! Plain data shared by every part: serialisable, without behaviour that touches the world.

mod action;
mod cost;
mod digest;
mod effect;
mod ids;
mod message;
mod observation;
mod rules;
mod site;
mod state;
mod unseen;
mod view;

pub use action::{Action, ActionSpec, Candidate, REFERENCE_PATTERN, Rejection};
pub use cost::{Cost, MicroUsd};
pub use digest::{Digest, ParseDigestError};
pub use effect::{Effect, EffectKind, REDACTED, Writes};
pub use ids::{EdgeId, NodeId, Seed, Ticket, UnitF32, UnitRangeError};
pub use message::{Exchange, Notice, NoticeKind};
pub use observation::{Element, ElementState, Observation, Omitted, TOOLS_SCHEME, Tab};
#[cfg(feature = "tools")]
pub(crate) use rules::glob;
pub use rules::{EffectRules, ParsePatternError, RequestClass, RequestPattern, RequestUse};
pub use site::{SiteNote, SiteNoteKind};
pub use state::{Miss, MissReason, Query, Restored, Rung, Snapshot, Step};
pub(crate) use unseen::unseen;
pub use view::{PathStep, Preference, Sibling, SiblingOutcome, View};
