//! What a server was told.

use std::sync::Arc;

use super::state::Write;
use crate::env::tools::Reply;

/// What is known of a server's state: the writes since the start.
#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) writes: Vec<Told>,
    /// How many of them a commit sent: the first ones. They stay.
    pub(super) kept: usize,
    /// Set when it is not known whether a write arrived: why.
    pub(super) unsure: Option<String>,
}

/// A write as the server was last told it.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) write: Arc<Write>,
    /// What it gave then: equal to the write's own reply but for what changes by itself.
    pub(super) reply: Arc<Reply>,
}

impl Server {
    /// Whether it was told these writes, the very same and not equal ones, and nothing else.
    pub(super) fn is_at(&self, writes: &[Arc<Write>]) -> bool {
        self.unsure.is_none()
            && self.writes.len() == writes.len()
            && self.common(writes) == writes.len()
    }

    /// How many of these writes it was told, from the start.
    pub(super) fn common(&self, writes: &[Arc<Write>]) -> usize {
        let pairs = self.writes.iter().zip(writes);
        pairs
            .take_while(|(told, write)| Arc::ptr_eq(&told.write, write))
            .count()
    }

    /// It holds what these writes led to, as they were first sent.
    pub(super) fn put(&mut self, writes: &[Arc<Write>]) {
        let told = |write: &Arc<Write>| Told {
            reply: Arc::clone(&write.reply),
            write: Arc::clone(write),
        };
        self.writes = writes.iter().map(told).collect();
    }

    /// In words, what is there that no commit sent: the latest first. `None` where there is nothing.
    pub(super) fn leftovers(&self) -> Option<String> {
        let left = self.writes[self.kept..].iter().rev();
        let left = left.map(|told| {
            let arguments = serde_json::Value::Object(told.write.arguments.clone());
            let (arguments, reply) = (shown(&arguments), shown(&told.reply.content));
            format!("`{}` {arguments}, answered {reply}", told.write.tool.name)
        });
        let mut left: Vec<String> = left.collect();
        left.extend(self.unsure.clone());
        (!left.is_empty()).then(|| left.join("; "))
    }
}

/// The beginning of a value's text.
pub(super) fn shown(value: &serde_json::Value) -> String {
    value.to_string().chars().take(200).collect()
}
