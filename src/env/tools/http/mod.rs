//! Calls over HTTP: plans, requests, sessions.

mod credentials;
mod fetch;
mod guard;
mod plan;
mod reply;
mod request;
mod session;
mod under_way;

pub(in crate::env::tools) use credentials::Proof;
pub use credentials::{ClientCredentials, Credentials, basic};
pub use fetch::{FetchError, fetch};
pub use guard::is_private;
pub use plan::{Body, BodyEncoding, BodyShape, Field, Part, Place, Plan, Slot, Style};
pub use request::{FormPart, Payload, Request, build};
pub(in crate::env::tools) use session::client;
pub use session::{HttpConfig, HttpSource};
