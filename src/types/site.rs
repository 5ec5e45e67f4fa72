//! What is peculiar about a site, for the people who search on it.

use serde::{Deserialize, Serialize};

/// Something about a site that a search passes by, or that stands in the way of its restores. It
/// belongs to the site, not to a state: it is said once a run, to people and not to models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteNote {
    /// What kind of thing.
    pub kind: SiteNoteKind,
    /// One line; text from the site inside it is data.
    pub text: String,
}

/// The kinds of [`SiteNote`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SiteNoteKind {
    /// Two loads of the start page differ in what counts, or could not be compared.
    Differs,
    /// A service worker, which is bypassed.
    ServiceWorker,
    /// A page talks by `WebSocket`.
    Socket,
    /// A transport was refused, because what it sends could not be held.
    Refused,
    /// A response without end, or with none in sight.
    Stream,
    /// A response that is too large to be kept.
    TooLarge,
    /// A tab that the browser did not let the page open.
    PopupBlocked,
    /// The server deleted the cookie of a session.
    SessionEnded,
    /// The server put another session in place of the one it was asked in.
    SessionReplaced,
    /// A source of tools does not take the credentials that it is given.
    Unauthorised,
    /// Writes of a search could not be taken back, or nobody knows whether they were.
    LeftBehind,
}
