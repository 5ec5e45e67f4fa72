//! Sites: the servers behind web environments, and how to get one to oneself.

use std::any::Any;
use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::context::{Cx, Interrupted};

/// A site: gives out instances, each with a base URL of its own.
#[async_trait]
pub trait Site: Send + Sync {
    /// The origin that stands for every instance in observations, logs and digests, for example
    /// `http://shop.demo`. No trailing slash.
    fn logical_origin(&self) -> &str;

    /// How many leases it can give at a time; `None` if as many as are asked for.
    fn capacity(&self) -> Option<NonZeroUsize> {
        None
    }

    /// An instance for one environment.
    async fn lease(&self, cx: &Cx) -> Result<Box<dyn SiteInstance>, SiteError>;
}

/// One running server. Dropping it gives it back or stops it.
#[async_trait]
pub trait SiteInstance: Send + Sync {
    /// The real origin, for example `http://127.0.0.1:41234`. No trailing slash. Constant. Of a
    /// site for tools only it may go on with a path, where one server serves several leases.
    fn origin(&self) -> &str;

    /// Whether [`SiteInstance::reset`] puts the server's state back: only then may a path that
    /// wrote be replayed.
    fn resets(&self) -> bool;

    /// Puts the server back to the state in which it was leased.
    async fn reset(&self, cx: &Cx) -> Result<(), SiteError>;

    /// The server's present state, to be put back by [`SiteInstance::load`] on any instance of the
    /// site; `None` if it cannot be saved.
    async fn save(&self, _cx: &Cx) -> Result<Option<SiteState>, SiteError> {
        Ok(None)
    }

    /// Puts the server into a saved state.
    async fn load(&self, _state: &SiteState, _cx: &Cx) -> Result<(), SiteError> {
        Err(SiteError::Unsupported("load a saved state"))
    }

    /// The benchmark's own reward for what was done through this lease; `None` where there is no
    /// such thing.
    async fn reward(&self, _cx: &Cx) -> Result<Option<f64>, SiteError> {
        Ok(None)
    }

    /// One read-only SQL statement on the server's own database; rows as arrays.
    async fn sql(&self, statement: &str, cx: &Cx) -> Result<Value, SiteError>;

    /// Gives the instance back. What was written through it is undone, where the site can put its
    /// server back and somebody else will see it; with `keep` it stays: a commit wrote it.
    #[must_use]
    async fn close(self: Box<Self>, keep: bool, cx: &Cx) -> Result<(), SiteError> {
        let _ = (keep, cx);
        Ok(())
    }
}

/// A saved state of a site's server; cheap to clone. What is inside is the site's own.
#[derive(Clone)]
pub struct SiteState(pub Arc<dyn Any + Send + Sync>);

impl std::fmt::Debug for SiteState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SiteState")
    }
}

/// Why a site could not serve.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// It did not start, or is not there.
    #[error("the site did not start: {0}")]
    Start(String),
    /// All its servers are in use.
    #[error(
        "no server was free within {seconds} s: the site has {servers} and others use them; ask \
         for fewer workers, or give it more"
    )]
    Busy {
        /// How many it has.
        servers: usize,
        /// How long one was waited for.
        seconds: u64,
    },
    /// Cancelled or out of time.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// It cannot do this.
    #[error("this site cannot {0}")]
    Unsupported(&'static str),
    /// It failed.
    #[error("the site failed to {verb}: {reason}")]
    Failed {
        /// What it was doing.
        verb: &'static str,
        /// Why.
        reason: String,
    },
}

/// A server that somebody else runs: shared by all environments, never reset.
#[derive(Debug, Clone)]
pub struct FixedSite {
    origin: String,
}

impl FixedSite {
    /// A site at `origin` (`http://host:port`, trailing slashes dropped).
    #[must_use]
    pub fn new(origin: &str) -> Self {
        Self {
            origin: origin.trim_end_matches('/').to_owned(),
        }
    }
}

#[async_trait]
impl Site for FixedSite {
    fn logical_origin(&self) -> &str {
        &self.origin
    }

    async fn lease(&self, _cx: &Cx) -> Result<Box<dyn SiteInstance>, SiteError> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl SiteInstance for FixedSite {
    fn origin(&self) -> &str {
        &self.origin
    }

    fn resets(&self) -> bool {
        false
    }

    async fn reset(&self, _cx: &Cx) -> Result<(), SiteError> {
        Err(SiteError::Unsupported("reset its server"))
    }

    async fn sql(&self, _statement: &str, _cx: &Cx) -> Result<Value, SiteError> {
        Err(SiteError::Unsupported("answer SQL"))
    }
}
