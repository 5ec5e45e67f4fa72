//! A server for as long as a test wants it.

use std::net::SocketAddr;

use axum::Router;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Serves `app` on `listener` until the guard is dropped.
pub(crate) fn serve_on(listener: TcpListener, app: Router) -> DropGuard {
    let cancel = CancellationToken::new();
    let stopped = cancel.clone().cancelled_owned();
    tokio::spawn(async move {
        axum::serve(listener, app)
            .with_graceful_shutdown(stopped)
            .await
            .unwrap();
    });
    cancel.drop_guard()
}

/// A free port of this machine.
pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Serves `app` on a free port: its origin, and what stops it.
pub(crate) async fn serve(app: Router) -> (String, DropGuard) {
    let (listener, address) = listen().await;
    (format!("http://{address}"), serve_on(listener, app))
}

/// A server that greets on a `WebSocket`; its address.
pub(crate) async fn greeter() -> String {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else {
                    return;
                };
                socket.send(Message::text("hello")).await.ok();
                while socket.next().await.is_some() {}
            });
        }
    });
    format!("ws://{address}")
}
