//! What the tests share: a small server of hand-written pages.

pub(crate) mod site;
