//! The site: gives out its servers, each to one environment where writes are sent.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::site::{Site, SiteError, SiteInstance, SiteState};
use super::one::Server;
use super::saved::{Saved, Store};
use super::spec::{ServerSpec, Servers};
use crate::context::{Cx, Interrupted};
use crate::types::Writes;

/// How long an environment waits for a server that others have.
const LEASE_LIMIT: Duration = Duration::from_secs(30);

/// Servers that somebody else runs, or that are started for the run.
///
/// Where writes are sent and undone ([`Writes::Checkpoint`]) every lease has a server of its own,
/// in the state in which it was found or started; a lease that is closed leaves it in that state.
/// Otherwise all leases share the first server.
pub struct ServerSite {
    logical: String,
    exclusive: bool,
    shared: tokio::sync::Mutex<Option<Arc<Server>>>,
    inner: Arc<Inner>,
}

struct Inner {
    spec: ServerSpec,
    client: reqwest::Client,
    store: Arc<Store>,
    free: Arc<Semaphore>,
    capacity: NonZeroUsize,
    /// Running servers that nobody has, lowest index last.
    idle: Mutex<Vec<Slot>>,
}

/// One of the servers that run already.
struct Slot {
    index: usize,
    /// Connected at its first lease.
    server: Option<Server>,
    /// The state that a lease begins with.
    start: Option<Arc<Saved>>,
    /// Whether it may have left that state.
    moved: bool,
}

impl ServerSite {
    /// The site that `spec` describes, for a task with these `writes`.
    ///
    /// # Errors
    /// [`SiteError::Start`] if there is no room for its checkpoints.
    pub fn new(spec: ServerSpec, writes: Writes) -> Result<Self, SiteError> {
        let exclusive = writes == Writes::Checkpoint;
        let (logical, most) = match &spec.servers {
            Servers::Running(origins) => {
                let first = origins.first().cloned();
                let first = first.ok_or_else(|| SiteError::Start("it has no origin".to_owned()))?;
                (first, origins.len())
            }
            Servers::Started(launch) => ("http://site.test".to_owned(), launch.most.get()),
        };
        let idle = match &spec.servers {
            Servers::Running(origins) => (0..origins.len()).rev().map(Slot::new).collect(),
            Servers::Started(_) => Vec::new(),
        };
        let megabytes = spec.checkpoint.as_ref().map_or(1, |c| c.megabytes.get());
        let store = Store::new(u64::from(megabytes) << 20).map_err(SiteError::Start)?;
        let inner = Inner {
            client: client()?,
            spec,
            store: Arc::new(store),
            free: Arc::new(Semaphore::new(most)),
            capacity: NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MIN),
            idle: Mutex::new(idle),
        };
        Ok(Self {
            logical,
            exclusive,
            shared: tokio::sync::Mutex::new(None),
            inner: Arc::new(inner),
        })
    }

    async fn shared(&self, cx: &Cx) -> Result<Arc<Server>, SiteError> {
        let mut shared = self.shared.lock().await;
        if let Some(server) = &*shared {
            return Ok(Arc::clone(server));
        }
        let server = Arc::new(self.inner.server(0, cx).await?);
        *shared = Some(Arc::clone(&server));
        Ok(server)
    }

    async fn permit(&self, cx: &Cx) -> Result<OwnedSemaphorePermit, SiteError> {
        let waiting = Arc::clone(&self.inner.free).acquire_owned();
        match cx.bounded(LEASE_LIMIT, waiting).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(closed)) => Err(SiteError::Start(closed.to_string())),
            Err(Interrupted::Cancelled) => Err(Interrupted::Cancelled.into()),
            Err(Interrupted::Timeout(limit)) => Err(SiteError::Busy {
                servers: self.inner.capacity.get(),
                seconds: limit.as_secs(),
            }),
        }
    }
}

impl Slot {
    fn new(index: usize) -> Self {
        Self {
            index,
            server: None,
            start: None,
            moved: false,
        }
    }
}

impl Inner {
    /// Connects to the running server with this index, or starts one.
    async fn server(&self, index: usize, cx: &Cx) -> Result<Server, SiteError> {
        match &self.spec.servers {
            Servers::Running(origins) => {
                Server::at(&self.spec, &origins[index], &self.client).await
            }
            Servers::Started(launch) => Server::start(&self.spec, launch, &self.client, cx).await,
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Slot>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, slot: Slot) {
        let mut idle = self.idle();
        idle.push(slot);
        idle.sort_by_key(|slot| std::cmp::Reverse(slot.index));
    }

    /// Brings the server of a slot into the state with which a lease begins.
    async fn prepare(&self, slot: &mut Slot, cx: &Cx) -> Result<(), SiteError> {
        if slot.server.is_none() {
            slot.server = Some(self.server(slot.index, cx).await?);
        }
        let server = slot.server.as_ref().expect("it was put there above");
        match &slot.start {
            Some(start) if slot.moved => {
                server.load(start, cx).await?;
                slot.moved = false;
            }
            None if server.can_save() => slot.start = Some(server.save(&self.store, cx).await?),
            Some(_) | None => {}
        }
        Ok(())
    }
}

#[async_trait]
impl Site for ServerSite {
    fn logical_origin(&self) -> &str {
        &self.logical
    }

    fn capacity(&self) -> Option<NonZeroUsize> {
        self.exclusive.then_some(self.inner.capacity)
    }

    async fn lease(&self, cx: &Cx) -> Result<Box<dyn SiteInstance>, SiteError> {
        if !self.exclusive {
            return Ok(Box::new(Shared(self.shared(cx).await?)));
        }
        let permit = self.permit(cx).await?;
        let running = matches!(self.inner.spec.servers, Servers::Running(_));
        let slot = if running {
            self.inner.idle().pop()
        } else {
            None
        };
        let slot = slot.unwrap_or_else(|| Slot::new(0));
        // From here on the slot finds its way back, however the call ends.
        let mut lease = Own {
            inner: Arc::clone(&self.inner),
            running,
            slot: Some(slot),
            origin: String::new(),
            _permit: permit,
        };
        let slot = lease.slot.as_mut().expect("it was put there above");
        self.inner.prepare(slot, cx).await?;
        let server = slot.server.as_ref().expect("a prepared slot has a server");
        lease.origin = server.origin().to_owned();
        Ok(Box::new(lease))
    }
}

/// A server that all leases share.
struct Shared(Arc<Server>);

#[async_trait]
impl SiteInstance for Shared {
    fn origin(&self) -> &str {
        self.0.origin()
    }

    fn resets(&self) -> bool {
        false
    }

    async fn reset(&self, _cx: &Cx) -> Result<(), SiteError> {
        Err(SiteError::Unsupported("reset a server that others use"))
    }

    async fn sql(&self, statement: &str, cx: &Cx) -> Result<Value, SiteError> {
        self.0.sql(statement, cx).await
    }
}

/// A server that one lease has to itself.
struct Own {
    inner: Arc<Inner>,
    /// Whether the server outlives the lease.
    running: bool,
    /// Taken out only when the lease ends.
    slot: Option<Slot>,
    origin: String,
    _permit: OwnedSemaphorePermit,
}

impl Own {
    fn slot(&self) -> &Slot {
        self.slot
            .as_ref()
            .expect("a lease has its slot until it ends")
    }

    fn server(&self) -> &Server {
        let server = self.slot().server.as_ref();
        server.expect("a lease has a server")
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(mut slot) = self.slot.take().filter(|_| self.running) {
            slot.moved = true;
            self.inner.give_back(slot);
        }
    }
}

#[async_trait]
impl SiteInstance for Own {
    fn origin(&self) -> &str {
        &self.origin
    }

    fn resets(&self) -> bool {
        self.slot().start.is_some()
    }

    async fn reset(&self, cx: &Cx) -> Result<(), SiteError> {
        match &self.slot().start {
            Some(start) => self.server().load(start, cx).await,
            None => Err(SiteError::Unsupported("reset its server")),
        }
    }

    async fn save(&self, cx: &Cx) -> Result<Option<SiteState>, SiteError> {
        if !self.server().can_save() {
            return Ok(None);
        }
        let saved = self.server().save(&self.inner.store, cx).await?;
        Ok(Some(SiteState(saved)))
    }

    async fn load(&self, state: &SiteState, cx: &Cx) -> Result<(), SiteError> {
        let saved = Arc::clone(&state.0).downcast::<Saved>();
        let saved = saved.map_err(|_| SiteError::Failed {
            verb: "put its state back",
            reason: "the state is another site's".to_owned(),
        })?;
        self.server().load(&saved, cx).await
    }

    async fn sql(&self, statement: &str, cx: &Cx) -> Result<Value, SiteError> {
        self.server().sql(statement, cx).await
    }

    async fn close(mut self: Box<Self>, keep: bool, cx: &Cx) -> Result<(), SiteError> {
        if !self.running {
            return Ok(());
        }
        if keep {
            // What was committed is where the next lease begins.
            let now = match self.slot().start {
                Some(_) => Some(self.server().save(&self.inner.store, cx).await?),
                None => None,
            };
            let mut slot = self
                .slot
                .take()
                .expect("a lease has its slot until it ends");
            (slot.start, slot.moved) = (now, false);
            self.inner.give_back(slot);
            return Ok(());
        }
        if self.resets() {
            self.reset(cx).await?;
            let mut slot = self
                .slot
                .take()
                .expect("a lease has its slot until it ends");
            slot.moved = false;
            self.inner.give_back(slot);
        }
        Ok(())
    }
}

/// A client for hooks: no proxy, no redirects.
pub(crate) fn client() -> Result<reqwest::Client, SiteError> {
    // Once a process is enough; an earlier provider serves as well.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| SiteError::Start(format!("no HTTP client: {error}")))
}

impl std::fmt::Debug for ServerSite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerSite")
            .field("logical", &self.logical)
            .field("exclusive", &self.exclusive)
            .finish_non_exhaustive()
    }
}
