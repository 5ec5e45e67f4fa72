//! How protocol messages reach Chromium. A WebSocket now; a pipe fits the same trait.

use async_trait::async_trait;
use futures_util::{SinkExt, StreamExt, stream::SplitSink, stream::SplitStream};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Message, protocol::WebSocketConfig};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// The largest message accepted: a page's walk and screenshots are far below it.
const MAX_MESSAGE: usize = 256 << 20;

/// A duplex of whole JSON messages, split so that reading never waits for writing.
pub trait Transport: Send {
    /// The two halves.
    fn split(self: Box<Self>) -> (Box<dyn Sender>, Box<dyn Receiver>);
}

/// The writing half.
#[async_trait]
pub trait Sender: Send {
    /// Writes one message.
    async fn send(&mut self, message: String) -> Result<(), TransportError>;
}

/// The reading half.
#[async_trait]
pub trait Receiver: Send {
    /// The next message; `None` at the end of the connection.
    async fn next(&mut self) -> Option<Result<String, TransportError>>;
}

/// Why the transport failed; the connection is then over.
#[derive(Debug, thiserror::Error)]
#[error("the connection to Chromium failed: {0}")]
pub struct TransportError(String);

/// The `--remote-debugging-port` transport.
pub struct WebSocket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl WebSocket {
    /// Connects to a `ws://127.0.0.1:…/devtools/browser/…` endpoint.
    ///
    /// # Errors
    /// [`TransportError`] if nobody answers there.
    pub async fn connect(url: &str) -> Result<Self, TransportError> {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let (stream, _) = tokio_tungstenite::connect_async_with_config(url, Some(config), true)
            .await
            .map_err(|e| TransportError(e.to_string()))?;
        Ok(Self(stream))
    }
}

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;
struct WriteHalf(SplitSink<Stream, Message>);
struct ReadHalf(SplitStream<Stream>);

impl Transport for WebSocket {
    fn split(self: Box<Self>) -> (Box<dyn Sender>, Box<dyn Receiver>) {
        let (write, read) = self.0.split();
        (Box::new(WriteHalf(write)), Box::new(ReadHalf(read)))
    }
}

#[async_trait]
impl Sender for WriteHalf {
    async fn send(&mut self, message: String) -> Result<(), TransportError> {
        self.0
            .send(Message::text(message))
            .await
            .map_err(|e| TransportError(e.to_string()))
    }
}

#[async_trait]
impl Receiver for ReadHalf {
    async fn next(&mut self) -> Option<Result<String, TransportError>> {
        loop {
            match self.0.next().await? {
                Ok(Message::Text(text)) => return Some(Ok(text.as_str().to_owned())),
                Ok(Message::Close(_)) => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(TransportError(error.to_string()))),
            }
        }
    }
}
