//! Pages without a browser: the same task, actions and observations over `reqwest` and `scraper`.
//!
//! ```text
//! HtmlWorld ─ Network (client, bounds) ─ open() ► TextBrowser ─ State, a value:
//!                                                  cookies · tabs ► history ► page ► frames
//! ```
//!
//! No script runs: a page shows what its markup says. In exchange a state is a plain value: a
//! snapshot shares it and a restore copies it, in microseconds.
//!
//! Invariants:
//!
//! * An action works on a copy of the state, which takes the state's place only when the action is
//!   done: what was refused, held or cut off changed nothing here.
//! * URLs in a state are by the site's logical origin, so that it means the same on every instance.
//! * A state is restored by copy only where the server is known to follow: nothing was written since
//!   (`hold`, `allow`), the session is the lane's own and did not write (`session`), or the server's
//!   own saved state is put back with it (`checkpoint`). Otherwise the path is walked again and
//!   the digest compared.
//! * Every wait and every body is bounded.
//!
//! What differs from the browser: no scripts, no stylesheets (only inline `display` and
//! `visibility` hide), no layout (a screen is a number of elements), no drag, no `pattern`
//! constraint. Going back shows the page as it was kept, unless it said `no-store`.

mod act;
mod compare;
mod document;
mod environment;
mod fetch;
mod fields;
mod form;
mod load;
mod state;
mod walk;
mod world;

pub use compare::{Fit, compare};
pub use environment::TextBrowser;
pub use world::{HtmlConfig, HtmlWorld};
