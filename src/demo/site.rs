//! The shop as a site that environments lease, and as a server of its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::shop::{Shop, router};
use crate::context::Cx;
use crate::env::sql::rows;
use crate::env::{Site, SiteError, SiteInstance, SiteState};

/// How long an evaluator's statement may take.
const SQL_LIMIT: Duration = Duration::from_secs(5);

/// Why the shop could not be served. Completes "failed to serve the demo shop: …".
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Something else listens there.
    #[error("port {} of {} is taken; choose another one, or 0 for any free port", .0.port(), .0.ip())]
    PortTaken(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The database could not be made.
    #[error("its database could not be seeded: {0}")]
    Seed(String),
    /// The file for the database is there already.
    #[error("{} is there already; name a file that is not", .0.display())]
    FileThere(PathBuf),
    /// It stopped by itself.
    #[error("the server stopped: {0}")]
    Stopped(#[source] io::Error),
}

/// The embedded shop. Every lease is a fresh shop on a port of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct DemoSite;

impl DemoSite {
    /// The shop.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl Site for DemoSite {
    fn logical_origin(&self) -> &'static str {
        "http://shop.demo"
    }

    async fn lease(&self, _cx: &Cx) -> Result<Box<dyn SiteInstance>, SiteError> {
        let start = |error: DemoError| SiteError::Start(error.to_string());
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (listener, address) = listen(any).await.map_err(start)?;
        let shop = Arc::new(Shop::open().map_err(DemoError::Seed).map_err(start)?);
        let cancel = CancellationToken::new();
        let serving = run(listener, Arc::clone(&shop), cancel.clone());
        drop(tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, %address, "a demo shop stopped by itself");
            }
        }));
        Ok(Box::new(DemoInstance {
            origin: format!("http://{address}"),
            shop,
            _stop: cancel.drop_guard(),
        }))
    }
}

/// One running shop. Dropping it closes its port and stops its server.
struct DemoInstance {
    origin: String,
    shop: Arc<Shop>,
    _stop: DropGuard,
}

#[async_trait]
impl SiteInstance for DemoInstance {
    fn origin(&self) -> &str {
        &self.origin
    }

    fn resets(&self) -> bool {
        true
    }

    async fn reset(&self, _cx: &Cx) -> Result<(), SiteError> {
        self.shop.reset().map_err(|reason| SiteError::Failed {
            verb: "reset",
            reason,
        })
    }

    async fn save(&self, _cx: &Cx) -> Result<Option<SiteState>, SiteError> {
        let saved = self.shop.save();
        let failed = |reason| SiteError::Failed {
            verb: "save its state",
            reason,
        };
        Ok(Some(SiteState(Arc::new(saved.map_err(failed)?))))
    }

    async fn load(&self, state: &SiteState, _cx: &Cx) -> Result<(), SiteError> {
        let failed = |reason: String| SiteError::Failed {
            verb: "load a saved state",
            reason,
        };
        let kept = state
            .0
            .downcast_ref::<Mutex<Connection>>()
            .ok_or_else(|| failed("it is another site's".to_owned()))?;
        self.shop.load(kept).map_err(failed)
    }

    async fn sql(&self, statement: &str, cx: &Cx) -> Result<Value, SiteError> {
        let failed = |reason: String| SiteError::Failed {
            verb: "answer SQL",
            reason,
        };
        let cancel = CancellationToken::new();
        let asking = tokio::spawn(watched(
            Arc::clone(&self.shop),
            statement.to_owned(),
            cancel.clone(),
        ));
        // However this call ends, also by being dropped, the statement ends too.
        let _guard = cancel.drop_guard();
        match cx.bounded(SQL_LIMIT, asking).await {
            Ok(Ok(answer)) => answer.map_err(failed),
            Ok(Err(died)) => Err(failed(died.to_string())),
            Err(interrupted) => Err(failed(interrupted.to_string())),
        }
    }
}

/// Runs a statement on a thread of its own until it is done or `cancel` is cancelled.
async fn watched(
    shop: Arc<Shop>,
    statement: String,
    cancel: CancellationToken,
) -> Result<Value, String> {
    let running = Arc::new(AtomicBool::new(false));
    let mut asking = tokio::task::spawn_blocking({
        let (shop, cancel, running) = (Arc::clone(&shop), cancel.clone(), Arc::clone(&running));
        move || {
            let db = shop.lock();
            running.store(true, Ordering::SeqCst);
            if cancel.is_cancelled() {
                return Err("the question was withdrawn".to_owned());
            }
            rows(&db, &statement)
        }
    });
    tokio::select! {
        done = &mut asking => return done.unwrap_or_else(|died| Err(died.to_string())),
        () = cancel.cancelled() => {}
    }
    // An interrupt before the statement's first step has no effect: repeat it until it had one.
    loop {
        if running.load(Ordering::SeqCst) {
            shop.interrupt();
        }
        if let Ok(done) = tokio::time::timeout(Duration::from_millis(2), &mut asking).await {
            return done.unwrap_or_else(|died| Err(died.to_string()));
        }
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), DemoError> {
    let refused = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => DemoError::PortTaken(address),
        _ => DemoError::Listen { address, source },
    };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    Ok((listener, bound))
}

async fn run(
    listener: TcpListener,
    shop: Arc<Shop>,
    cancel: CancellationToken,
) -> Result<(), DemoError> {
    axum::serve(listener, router(shop))
        .with_graceful_shutdown(cancel.cancelled_owned())
        .await
        .map_err(DemoError::Stopped)
}

/// Serves one shop at `address` until cancelled, its state in a file where one is named, else in
/// memory. `ready` is told the address once it is listened on.
///
/// # Errors
/// [`DemoError`]: the port is taken or cannot be listened on, the file is there already or cannot be
/// made, or the server failed.
pub async fn serve(
    address: SocketAddr,
    database: Option<&Path>,
    ready: impl FnOnce(SocketAddr),
    cancel: CancellationToken,
) -> Result<(), DemoError> {
    let (listener, bound) = listen(address).await?;
    let shop = match database {
        // Somebody's file is not ours to overwrite.
        Some(file) if file.exists() => return Err(DemoError::FileThere(file.to_owned())),
        Some(file) => Shop::open_at(file),
        None => Shop::open(),
    };
    let shop = Arc::new(shop.map_err(DemoError::Seed)?);
    ready(bound);
    run(listener, shop, cancel).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> Shop {
        Shop::open().unwrap()
    }

    #[test]
    fn rows_come_as_arrays_of_plain_values() {
        let got = rows(&shop().lock(), "select 1, 2.5, 'x', null").unwrap();
        assert_eq!(got, serde_json::json!([[1, 2.5, "x", null]]));
    }

    #[test]
    fn only_reading_statements_pass() {
        let shop = shop();
        for bad in [
            "delete from orders",
            "update meta set value = '' returning value",
            "select 1; delete from orders",
            "begin",
            "attach ':memory:' as other",
            "pragma journal_mode = off",
            "/* x */ pragma foreign_keys = off",
            "selec 1",
            "",
        ] {
            assert!(rows(&shop.lock(), bad).is_err(), "{bad}");
        }
        let orders = rows(&shop.lock(), "select count(*) from orders").unwrap();
        assert_eq!(orders, serde_json::json!([[5]]));
    }

    #[test]
    fn a_flood_of_rows_is_refused() {
        let endless =
            "with recursive n(i) as (select 1 union all select i + 1 from n) select i from n";
        let error = rows(&shop().lock(), endless).unwrap_err();
        assert!(error.contains("10000 rows"), "{error}");
    }

    #[test]
    fn reset_puts_everything_back() {
        let shop = shop();
        let dump = || rows(&shop.lock(), "select * from meta").unwrap();
        let before = dump();
        shop.lock()
            .execute_batch(
                "delete from order_lines; delete from orders; update meta set value = 'x'",
            )
            .unwrap();
        assert_ne!(dump(), before);
        shop.reset().unwrap();
        assert_eq!(dump(), before);
        let orders = rows(&shop.lock(), "select count(*) from orders").unwrap();
        assert_eq!(orders, serde_json::json!([[5]]));
    }
}
