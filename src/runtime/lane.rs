//! Lanes: the environments of a run, and who has them.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::context::Cx;
use crate::env::{Environment, Fault, OpenError, World};
use crate::types::{Seed, Snapshot};

use super::job::Limits;

/// An environment.
pub(super) type Lane = Box<dyn Environment>;

/// What a worker gets for a step: a place for one environment, with or without one in it.
pub(super) struct Slot(pub(super) Option<Lane>);

/// The lanes that are idle, and how many may exist.
pub(super) struct Pool {
    most: usize,
    /// Slots that are out with workers.
    leased: usize,
    /// Least recently used first: its state is the least likely to be wanted next.
    idle: VecDeque<Lane>,
}

impl Pool {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            leased: 0,
            idle: VecDeque::new(),
        }
    }

    /// A slot for a step from `parent`, if one is free: the lane that is live there, else an idle
    /// one, else room for a new one.
    pub(super) fn lease(&mut self, parent: &Snapshot) -> Option<Slot> {
        let live = self.idle.iter().position(|lane| lane.is_at(parent));
        let lane = match live {
            Some(at) => self.idle.remove(at),
            None => self.idle.pop_front(),
        };
        if lane.is_none() && self.leased >= self.most {
            return None;
        }
        self.leased += 1;
        Some(Slot(lane))
    }

    /// Takes a slot back; an empty one makes room for a new lane.
    pub(super) fn give_back(&mut self, slot: Slot) {
        self.leased -= 1;
        self.idle.extend(slot.0);
    }

    /// Adds a lane that was opened outside.
    pub(super) fn add(&mut self, lane: Lane) {
        self.idle.push_back(lane);
    }

    /// Closes every idle lane, all at a time; returns what went wrong.
    pub(super) async fn close(&mut self, limits: &Limits) -> Vec<String> {
        let limits = *limits;
        let mut closing = tokio::task::JoinSet::new();
        for lane in self.idle.drain(..) {
            closing.spawn(async move { close(lane, &limits).await });
        }
        let mut troubles = Vec::new();
        while let Some(done) = closing.join_next().await {
            match done {
                Ok(Ok(())) => {}
                Ok(Err(reason)) => troubles.push(reason),
                Err(_) => troubles.push("closing an environment panicked".to_owned()),
            }
        }
        troubles
    }
}

/// Closes a lane, even when the run is being cancelled: its processes must not survive it.
pub(super) async fn close(lane: Lane, limits: &Limits) -> Result<(), String> {
    let cx = Cx::default();
    let within = cx.within(limits.close);
    match cx.bounded(limits.close, lane.close(&within)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("an environment did not close cleanly: {error}")),
        Err(interrupted) => Err(format!("an environment did not close: {interrupted}")),
    }
}

/// What an environment is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Search,
    Commit,
}

/// Opens an environment, trying again where that may help.
pub(super) async fn open(
    world: &Arc<dyn World>,
    purpose: Purpose,
    seed: Seed,
    retries: u8,
    limits: &Limits,
    cx: &Cx,
) -> Result<Lane, OpenError> {
    let mut left = retries;
    loop {
        let within = cx.within(limits.open);
        let opening = match purpose {
            Purpose::Search => world.open(seed, &within),
            Purpose::Commit => world.open_for_commit(seed, &within),
        };
        let opened = cx
            .bounded(limits.open, opening)
            .await
            .unwrap_or_else(|interrupted| Err(interrupted.into()));
        match opened {
            Ok(lane) => return Ok(lane),
            Err(error) if left == 0 || error.fault() == Fault::Fatal => return Err(error),
            Err(error) => tracing::warn!(%error, "opening an environment failed; trying again"),
        }
        left -= 1;
    }
}
