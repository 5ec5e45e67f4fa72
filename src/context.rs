//! What every external call is given: a way to be cancelled and a moment to give up.
//!
//! Invariant: no code path waits on a socket, a process or a page without a [`Cx`]. Clocks live
//! here and in the runtime, never in [`crate::search`].

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Why a bounded wait ended without its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Interrupted {
    /// The run is being stopped (Ctrl-C, budget of time spent).
    #[error("the run was cancelled")]
    Cancelled,
    /// The call had its time.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
}

/// The context of one external call: cheap to clone, passed last.
#[derive(Debug, Clone)]
pub struct Cx {
    cancel: CancellationToken,
    deadline: Option<Instant>,
}

impl Default for Cx {
    fn default() -> Self {
        Self::new(CancellationToken::new())
    }
}

impl Cx {
    /// A context that ends when `cancel` does, with no deadline of its own.
    #[must_use]
    pub fn new(cancel: CancellationToken) -> Self {
        Self {
            cancel,
            deadline: None,
        }
    }

    /// The same context, ending `limit` from now at the latest. A deadline only ever shrinks.
    #[must_use]
    pub fn within(&self, limit: Duration) -> Self {
        let mine = Instant::now() + limit;
        let deadline = Some(self.deadline.map_or(mine, |theirs| theirs.min(mine)));
        Self {
            cancel: self.cancel.clone(),
            deadline,
        }
    }

    /// The same context under a token of its own: it ends with this one, and can be ended alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            cancel: self.cancel.child_token(),
            deadline: self.deadline,
        }
    }

    /// Whether the run is being stopped.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Waits until the run is being stopped.
    pub async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    /// The token itself, for tasks that outlive a call.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Awaits `work` for at most `limit`, and never past the deadline or a cancellation.
    ///
    /// # Errors
    /// [`Interrupted`] when it did not finish; `work` is dropped then.
    pub async fn bounded<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, Interrupted> {
        let now = Instant::now();
        let end = self.deadline.map_or(now + limit, |d| d.min(now + limit));
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Interrupted::Cancelled),
            done = tokio::time::timeout_at(end, work) => {
                done.map_err(|_| Interrupted::Timeout(end.saturating_duration_since(now)))
            }
        }
    }

    /// Sleeps, unless the context ends first. For back-off, never for synchronising.
    ///
    /// # Errors
    /// [`Interrupted::Cancelled`] if the run stops meanwhile, [`Interrupted::Timeout`] if the
    /// deadline would pass first (it is then reported at once).
    pub async fn pause(&self, time: Duration) -> Result<(), Interrupted> {
        if self.deadline.is_some_and(|d| d < Instant::now() + time) {
            return Err(Interrupted::Timeout(time));
        }
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Interrupted::Cancelled),
            () = tokio::time::sleep(time) => Ok(()),
        }
    }
}
