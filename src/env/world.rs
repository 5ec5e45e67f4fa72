//! The two traits and their errors, one enum per verb.

use std::num::NonZeroUsize;

use async_trait::async_trait;
use serde_json::Value;

use crate::context::{Cx, Interrupted};
use crate::types::{
    Action, ActionSpec, Digest, Effect, Miss, Observation, Query, Restored, Seed, SiteNote,
    Snapshot, Step,
};

/// One live instance of a world, leased by one worker at a time.
#[async_trait]
pub trait Environment: Send {
    /// What can be done in the state it is in. In one world a name always means the same action.
    fn actions(&self) -> &[ActionSpec];

    /// The goal, where the environment itself states it (`MiniWoB` utterances). A task file's own
    /// goal comes first.
    fn goal(&self) -> Option<&str> {
        None
    }

    /// The present state. Repeated without an `act` between, it gives the same digest.
    async fn observe(&mut self, cx: &Cx) -> Result<Observation, ObserveError>;

    /// Carries out one action and waits until the environment is at rest.
    async fn act(&mut self, action: &Action, cx: &Cx) -> Result<Step, ActError>;

    /// Carries out one action for good: writes that are held in [`Environment::act`] leave, but only
    /// those in `allowed`. Only a commit calls it. Any other write is held and the step is
    /// [`Step::Held`](crate::types::Step::Held), with nothing of it sent.
    async fn release(
        &mut self,
        action: &Action,
        allowed: &[Effect],
        cx: &Cx,
    ) -> Result<Step, ActError> {
        // Without a guard there is nothing to open.
        let _ = allowed;
        self.act(action, cx).await
    }

    /// The HTTP exchanges since the instance was opened for a commit, as an HTTP Archive 1.2 with
    /// secrets redacted. `None` where there are none to speak of, or none were kept.
    fn archive(&self) -> Option<har::v1_2::Log> {
        None
    }

    /// A point to come back to: the state that was last observed.
    async fn snapshot(&mut self, cx: &Cx) -> Result<Snapshot, SnapshotError>;

    /// Goes back to a snapshot, by the cheapest sound way, and proves it by the digest. After it,
    /// references of the snapshot's observation work again.
    async fn restore(&mut self, to: &Snapshot, cx: &Cx) -> Result<Restored, RestoreError>;

    /// Answers an evaluator. May disturb the state: ask at the end.
    async fn query(&mut self, query: &Query, cx: &Cx) -> Result<Value, QueryError>;

    /// Whether the instance is live at this snapshot, so that restoring it costs nothing.
    fn is_at(&self, snapshot: &Snapshot) -> bool;

    /// In words, what makes the present state differ from a snapshot, where it can tell.
    fn difference(&self, from: &Snapshot) -> Option<String> {
        let _ = from;
        None
    }

    /// Releases everything it holds.
    async fn close(self: Box<Self>, cx: &Cx) -> Result<(), CloseError>;
}

/// A factory of environments that all start in the same state for the same seed.
#[async_trait]
pub trait World: Send + Sync {
    /// How many instances it handles well at a time.
    fn concurrency(&self) -> NonZeroUsize;

    /// Opens an instance at the task's start state.
    async fn open(&self, seed: Seed, cx: &Cx) -> Result<Box<dyn Environment>, OpenError>;

    /// Opens the instance of a commit: as [`World::open`] does, and its exchanges are kept for
    /// [`Environment::archive`] from the first on.
    async fn open_for_commit(
        &self,
        seed: Seed,
        cx: &Cx,
    ) -> Result<Box<dyn Environment>, OpenError> {
        self.open(seed, cx).await
    }

    /// What its instances have found out about the site until now: each once, only ever more.
    fn notes(&self) -> Vec<SiteNote> {
        Vec::new()
    }
}

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The same call may succeed.
    Retryable,
    /// This instance is gone; another may serve.
    InstanceLost,
    /// No instance will do better.
    Fatal,
}

macro_rules! verb_error {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident $body:tt => $fault:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, thiserror::Error)]
        pub enum $name {
            /// Cancelled or out of time.
            #[error(transparent)]
            Interrupted(#[from] Interrupted),
            /// The instance died (browser or renderer crash, lost connection).
            #[error("the environment died: {0}")]
            Lost(String),
            /// Anything else, with its cause in words.
            #[error("{0}")]
            Other(String),
            $($(#[$vdoc])* $variant $body,)*
        }

        impl $name {
            /// What a caller can do about it.
            #[must_use]
            pub fn fault(&self) -> Fault {
                match self {
                    Self::Interrupted(Interrupted::Cancelled) => Fault::Fatal,
                    Self::Interrupted(Interrupted::Timeout(_)) | Self::Lost(_) => Fault::InstanceLost,
                    Self::Other(_) => Fault::Retryable,
                    $(Self::$variant { .. } => Fault::$fault,)*
                }
            }
        }
    };
}

verb_error!(
    /// Why no instance could be opened. Completes "failed to open the environment: …".
    OpenError {
        /// Something the machine lacks, and what to do about it.
        #[error("{what}")]
        Missing {
            /// What is missing.
            what: String,
            /// What the user can do.
            hint: String,
        } => Fatal,
        /// The start page did not answer in time. Trying again would take as long again.
        #[error("the start page {url} did not load: no answer within {seconds} s")]
        Slow {
            /// Where.
            url: String,
            /// How long it was waited for.
            seconds: u64,
        } => Fatal,
        /// The start state could not be reached.
        #[error("the start page {url} did not load: {reason}")]
        Start {
            /// Where.
            url: String,
            /// Why.
            reason: String,
        } => Retryable,
    }
);
verb_error!(
    /// Why a state could not be observed.
    ObserveError {
        /// The page is larger than any agent could use.
        #[error("the page is too large to observe: {0}")]
        TooLarge(String) => Fatal,
    }
);
verb_error!(
    /// Why an action could not be tried at all. A refused action is not an error.
    ActError {}
);
verb_error!(
    /// Why no snapshot could be taken.
    SnapshotError {}
);
verb_error!(
    /// Why a snapshot was not reached.
    RestoreError {
        /// Every rung ended in another state.
        #[error("restored to {got:?} instead of {want:?} ({detail})")]
        Diverged {
            /// The snapshot's digest.
            want: Digest,
            /// What the last rung reached.
            got: Digest,
            /// The first difference, in words.
            detail: String,
        } => InstanceLost,
        /// The path holds something that cannot be repeated.
        #[error("cannot be restored: {0}")]
        Unrestorable(String) => Fatal,
        /// There are several ways back, and each of them failed.
        #[error("no way leads back: {}", listed(misses))]
        Exhausted {
            /// Every way, and why it failed.
            misses: Vec<Miss>,
        } => Retryable,
    }
);
impl RestoreError {
    /// Whether it says that the state itself cannot be reached again, by this instance or another:
    /// not that the instance failed.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        match self {
            Self::Diverged { .. } | Self::Unrestorable(_) | Self::Exhausted { .. } => true,
            Self::Interrupted(_) | Self::Lost(_) | Self::Other(_) => false,
        }
    }
}

fn listed(misses: &[Miss]) -> String {
    let each: Vec<String> = misses.iter().map(Miss::to_string).collect();
    each.join("; ")
}

verb_error!(
    /// Why an evaluator's question has no answer.
    QueryError {
        /// This environment knows no such query.
        #[error("this environment cannot answer `{0}`")]
        Unsupported(String) => Fatal,
    }
);
verb_error!(
    /// Why an instance did not close cleanly.
    CloseError {}
);
