//! The state every instance starts from: catalogue, people, reviews, past orders.

mod catalogue;
mod people;
mod write;

pub(super) use catalogue::CUSTOM_LAMP;
#[cfg(test)]
pub(super) use catalogue::items;
pub(super) use people::{HINTS, hash_password};
pub(super) use write::pristine;
