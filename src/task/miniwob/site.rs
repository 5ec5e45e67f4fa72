//! The static server of the pages.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tower_http::services::ServeDir;

use super::{html_dir, is_fetched};
use crate::context::Cx;
use crate::env::{Site, SiteError, SiteInstance};
use crate::task::TaskError;

/// The name of the server in observations, logs and digests.
pub const LOGICAL_ORIGIN: &str = "http://miniwob.local";

/// The `MiniWoB` pages on a port of 127.0.0.1 that the system chooses. One server, started by the
/// first lease, serves all of them: it keeps no state. It stops with the last of site and leases.
#[derive(Debug)]
pub struct MiniwobSite {
    html: PathBuf,
    server: OnceCell<Arc<Server>>,
}

impl MiniwobSite {
    /// The site of the pages under this data directory.
    ///
    /// # Errors
    /// [`TaskError::NotFetched`] unless all pages are there.
    pub fn new(data: &Path) -> Result<Self, TaskError> {
        let html = html_dir(data);
        if !is_fetched(data) {
            return Err(TaskError::NotFetched(html));
        }
        Ok(Self::serving(html))
    }

    fn serving(html: PathBuf) -> Self {
        Self {
            html,
            server: OnceCell::new(),
        }
    }
}

#[async_trait]
impl Site for MiniwobSite {
    fn logical_origin(&self) -> &str {
        LOGICAL_ORIGIN
    }

    async fn lease(&self, _cx: &Cx) -> Result<Box<dyn SiteInstance>, SiteError> {
        let start = || async { Server::start(&self.html).await.map(Arc::new) };
        let server = self.server.get_or_try_init(start).await;
        let server = server.map_err(|error| SiteError::Start(error.to_string()))?;
        Ok(Box::new(Lease {
            server: Arc::clone(server),
        }))
    }
}

#[derive(Debug)]
struct Server {
    origin: String,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(html: &Path) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let router = axum::Router::new().fallback_service(ServeDir::new(html));
        let task = tokio::spawn(async move {
            // Serving ends only when the task is aborted: axum retries failed accepts itself.
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the MiniWoB server stopped");
            }
        });
        Ok(Self { origin, task })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Lease {
    server: Arc<Server>,
}

#[async_trait]
impl SiteInstance for Lease {
    fn origin(&self) -> &str {
        &self.server.origin
    }

    /// True: the server only hands out files, so it is always in the state of the lease.
    fn resets(&self) -> bool {
        true
    }

    /// Nothing to do: see [`SiteInstance::resets`] above.
    async fn reset(&self, _cx: &Cx) -> Result<(), SiteError> {
        Ok(())
    }

    async fn sql(&self, _statement: &str, _cx: &Cx) -> Result<Value, SiteError> {
        Err(SiteError::Unsupported("answer SQL"))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// The whole HTTP response to a GET, sent as it stands.
    async fn get(origin: &str, path: &str) -> String {
        let address = origin.strip_prefix("http://").unwrap();
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    }

    #[tokio::test]
    async fn serves_the_pages_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let html = dir.path().join("html");
        std::fs::create_dir_all(html.join("miniwob")).unwrap();
        std::fs::write(html.join("miniwob/a.html"), "<p>page</p>").unwrap();
        std::fs::write(dir.path().join("secret"), "outside").unwrap();

        let cx = Cx::default();
        let site = MiniwobSite::serving(html);
        let one = site.lease(&cx).await.unwrap();
        let two = site.lease(&cx).await.unwrap();
        assert_eq!(one.origin(), two.origin());
        assert!(one.resets());
        one.reset(&cx).await.unwrap();

        let page = get(one.origin(), "/miniwob/a.html").await;
        assert!(page.starts_with("HTTP/1.1 200"), "{page}");
        assert!(page.contains("content-type: text/html") && page.ends_with("<p>page</p>"));
        for path in ["/../secret", "/%2e%2e/secret", "/miniwob/none.html"] {
            let response = get(one.origin(), path).await;
            assert!(
                !response.contains("outside") && response.contains(" 404 "),
                "{response}"
            );
        }
        assert!(matches!(
            one.sql("select 1", &cx).await,
            Err(SiteError::Unsupported(_))
        ));
    }

    #[test]
    fn needs_the_pages() {
        let data = tempfile::tempdir().unwrap();
        assert!(matches!(
            MiniwobSite::new(data.path()),
            Err(TaskError::NotFetched(_))
        ));
    }
}
