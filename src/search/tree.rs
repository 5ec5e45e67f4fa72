//! The tree: a node is a state, an edge an action, executed or only queued.
//!
//! Invariants: nodes and edges are only ever added; ids are given in landing order; every node but
//! the root is the child of exactly one executed edge. Kept compact (60 bytes a node, 24 an edge,
//! each distinct action once), since a queued edge is the bulk of a search.

use std::fmt::Write;
use std::num::NonZeroU8;

use serde::{Deserialize, Serialize};

use super::actions::Actions;
use super::protocol::Start;
use super::table::IdTable;
use crate::types::{Action, Candidate, Digest, EdgeId, NodeId, UnitF32};

const NONE: u32 = u32::MAX;

const TERMINAL: u8 = 1;
const PROPOSING: u8 = 1 << 1;
const JUDGING: u8 = 1 << 2;
const JUDGED: u8 = 1 << 3;
const CLOSED: u8 = 1 << 4;
const DRY: u8 = 1 << 5;
const HELD: u8 = 1 << 6;
const LOST: u8 = 1 << 7;

/// What became of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeStatus {
    /// Not executed.
    Queued,
    /// Being executed.
    InFlight,
    /// Executed; it led to this new state.
    Done(NodeId),
    /// Executed; it led back to this known, non-terminal state: an ancestor, or (where the strategy
    /// merges equal states) any other. No node was made.
    Loop(NodeId),
    /// The environment refused it.
    Rejected,
    /// It would have written and was stopped. The new state stands for "there, with this write
    /// waiting": it can be judged and committed, not expanded.
    Held(NodeId),
    /// The environment failed under it.
    Failed,
    /// The state it starts from cannot be reached again: it never will be executed.
    Lost,
}

#[derive(Debug, Clone)]
struct Node {
    digest: Digest,
    value: Option<UnitF32>,
    parent: u32,
    first: u32,
    last: u32,
    twin: u32,
    depth: u16,
    proposals: u8,
    flags: u8,
}

#[derive(Debug, Clone)]
struct Edge {
    parent: u32,
    next: u32,
    prior: UnitF32,
    action: u32,
    status: EdgeStatus,
}

/// The tree.
#[derive(Debug, Clone)]
pub struct Tree {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    actions: Actions,
    /// Non-terminal states by digest; of equal ones the first that may be expanded.
    states: IdTable,
}

impl Tree {
    /// A tree of the start state alone.
    #[must_use]
    pub(super) fn new(start: &Start) -> Self {
        let mut tree = Self {
            nodes: Vec::new(),
            edges: Vec::new(),
            actions: Actions::default(),
            states: IdTable::default(),
        };
        let flags = if start.terminal { TERMINAL } else { 0 };
        tree.add_node(NONE, 0, start.digest, flags, None);
        tree
    }

    /// Number of nodes, the root included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never: there is always a root.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Number of edges, queued ones included.
    #[must_use]
    pub fn edge_count(&self) -> usize {
        self.edges.len()
    }

    /// Whether the tree has this node.
    #[must_use]
    pub fn has_node(&self, node: NodeId) -> bool {
        (node.0 as usize) < self.nodes.len()
    }

    /// Whether the tree has this edge.
    #[must_use]
    pub fn has_edge(&self, edge: EdgeId) -> bool {
        (edge.0 as usize) < self.edges.len()
    }

    /// A node.
    ///
    /// # Panics
    /// If the id is not of this tree; see [`Tree::has_node`].
    #[must_use]
    pub fn node(&self, id: NodeId) -> NodeView<'_> {
        NodeView {
            id,
            node: &self.nodes[id.0 as usize],
        }
    }

    /// An edge.
    ///
    /// # Panics
    /// If the id is not of this tree; see [`Tree::has_edge`].
    #[must_use]
    pub fn edge(&self, id: EdgeId) -> EdgeView<'_> {
        EdgeView {
            tree: self,
            id,
            edge: &self.edges[id.0 as usize],
        }
    }

    /// All nodes, in landing order.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..index(self.nodes.len())).map(NodeId)
    }

    /// The edges under a node, queued and executed, in proposal order.
    pub fn edges(&self, node: NodeId) -> impl Iterator<Item = EdgeId> + '_ {
        let some = |id: u32| (id != NONE).then_some(EdgeId(id));
        std::iter::successors(some(self.nodes[node.0 as usize].first), move |edge| {
            some(self.edges[edge.0 as usize].next)
        })
    }

    /// The edges from the root to a node.
    #[must_use]
    pub fn path(&self, node: NodeId) -> Vec<EdgeId> {
        let up = |node: NodeId| self.node(node).parent();
        let mut path: Vec<EdgeId> =
            std::iter::successors(up(node), |edge| up(self.edge(*edge).parent())).collect();
        path.reverse();
        path
    }

    /// Whether `above` is on the way from the root to `node`, or is `node`.
    #[must_use]
    pub fn is_ancestor(&self, above: NodeId, node: NodeId) -> bool {
        let (top, mut at) = (self.node(above).depth(), node);
        while self.node(at).depth() > top {
            let Some(edge) = self.node(at).parent() else {
                break;
            };
            at = self.edge(edge).parent();
        }
        at == above
    }

    /// The canonical digest of the whole tree: structure, actions, priors, values, statuses and
    /// state digests, in id order. Costs and times are not part of it: a replay compares it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        const CHUNK: usize = 1 << 20;
        let mut so_far = Digest::of("branchline tree 1");
        let mut text = String::new();
        let mut put = |line: std::fmt::Arguments<'_>| {
            // A String takes everything.
            _ = text.write_fmt(line);
            if text.len() > CHUNK {
                so_far = Digest::of(format!("{so_far}\n{text}"));
                text.clear();
            }
        };
        for node in &self.nodes {
            let Node {
                digest,
                value,
                parent,
                first: _,
                last: _,
                twin,
                depth,
                proposals,
                flags,
            } = node;
            // The id of the parent edge and of the twin, +1 so that none is 0.
            let (parent, twin) = (parent.wrapping_add(1), twin.wrapping_add(1));
            let value = value.map_or(NONE, |v| v.get().to_bits());
            put(format_args!(
                "n {parent} {twin} {depth} {value:x} {proposals} {flags:x} {digest}\n"
            ));
        }
        for edge in &self.edges {
            let Edge {
                parent,
                next: _,
                prior,
                action,
                status,
            } = edge;
            let (status, target) = match status {
                EdgeStatus::Queued => ("queued", NONE),
                EdgeStatus::InFlight => ("in_flight", NONE),
                EdgeStatus::Done(node) => ("done", node.0),
                EdgeStatus::Loop(node) => ("loop", node.0),
                EdgeStatus::Rejected => ("rejected", NONE),
                EdgeStatus::Held(node) => ("held", node.0),
                EdgeStatus::Failed => ("failed", NONE),
                EdgeStatus::Lost => ("lost", NONE),
            };
            let (prior, target) = (prior.get().to_bits(), target.wrapping_add(1));
            let action = self.actions.json(*action);
            put(format_args!(
                "e {parent} {prior:x} {status} {target} {action}\n"
            ));
        }
        Digest::of(format!("{so_far}\n{text}"))
    }

    /// Bytes on the heap: what was allocated, not only what is used.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>()
            + self.edges.capacity() * size_of::<Edge>()
            + self.actions.heap_bytes()
            + self.states.heap_bytes()
    }

    /// Queues the first `width` candidates that are new under the node (all count as new where
    /// `repeats` is set). Gives the first new edge and how many there are.
    pub(super) fn add_proposal(
        &mut self,
        node: NodeId,
        width: NonZeroU8,
        candidates: &[Candidate],
        repeats: bool,
    ) -> (EdgeId, u32) {
        let at = node.0 as usize;
        let first_new = index(self.edges.len());
        let status = if self.nodes[at].flags & LOST == 0 {
            EdgeStatus::Queued
        } else {
            EdgeStatus::Lost
        };
        let mut count = 0;
        for candidate in candidates {
            if count == u32::from(width.get()) {
                break;
            }
            let Some(action) = self.actions.intern(&candidate.action) else {
                continue;
            };
            let known = |edge: EdgeId| self.edges[edge.0 as usize].action == action;
            if !repeats && self.edges(node).any(known) {
                continue;
            }
            let id = index(self.edges.len());
            self.edges.push(Edge {
                parent: node.0,
                next: NONE,
                prior: candidate.prior,
                action,
                status,
            });
            let last = std::mem::replace(&mut self.nodes[at].last, id);
            if last == NONE {
                self.nodes[at].first = id;
            } else {
                self.edges[last as usize].next = id;
            }
            count += 1;
        }
        let node = &mut self.nodes[at];
        node.proposals = node.proposals.saturating_add(1);
        node.flags &= !(PROPOSING | DRY);
        if candidates.is_empty() {
            node.flags |= DRY;
        }
        (EdgeId(first_new), count)
    }

    /// Lands a step. With `merge_below`, a known non-terminal state makes no node, unless that one
    /// is lost, or lies too deep to be expanded (depth at or over the limit given) and this one does
    /// not.
    pub(super) fn add_state(
        &mut self,
        edge: EdgeId,
        digest: Digest,
        terminal: bool,
        merge_below: Option<u16>,
    ) {
        let parent = self.edges[edge.0 as usize].parent;
        let depth = self.nodes[parent as usize].depth.saturating_add(1);
        let known = if terminal { None } else { self.known(&digest) };
        let status = match (known, merge_below) {
            (Some(twin), Some(limit))
                if self.nodes[twin as usize].flags & LOST == 0
                    && (self.nodes[twin as usize].depth < limit || depth >= limit) =>
            {
                EdgeStatus::Loop(NodeId(twin))
            }
            _ => {
                let flags = if terminal { TERMINAL } else { 0 };
                let id = self.add_node(edge.0, depth, digest, flags, known);
                if let (Some(twin), Some(_)) = (known, merge_below) {
                    self.states.replace(digest.prefix(), twin, id);
                }
                EdgeStatus::Done(NodeId(id))
            }
        };
        self.edges[edge.0 as usize].status = status;
    }

    /// Closes a state that cannot be reached again, and all that was reached from it: queued edges
    /// there will not be executed. What is known of these states stays.
    pub(super) fn lose(&mut self, node: NodeId) {
        let mut open = vec![node.0];
        while let Some(node) = open.pop() {
            let flags = &mut self.nodes[node as usize].flags;
            *flags |= LOST | CLOSED;
            let mut next = self.nodes[node as usize].first;
            while next != NONE {
                let edge = &mut self.edges[next as usize];
                next = edge.next;
                match edge.status {
                    EdgeStatus::Queued => edge.status = EdgeStatus::Lost,
                    EdgeStatus::Done(child) | EdgeStatus::Held(child) => open.push(child.0),
                    EdgeStatus::InFlight
                    | EdgeStatus::Loop(_)
                    | EdgeStatus::Rejected
                    | EdgeStatus::Failed
                    | EdgeStatus::Lost => {}
                }
            }
        }
    }

    /// Lands a step that was stopped before it wrote. Never merged: the write is what it is about.
    pub(super) fn add_held(&mut self, edge: EdgeId, digest: Digest) {
        let parent = self.edges[edge.0 as usize].parent;
        let depth = self.nodes[parent as usize].depth.saturating_add(1);
        let id = self.add_node(edge.0, depth, digest, HELD, None);
        self.edges[edge.0 as usize].status = EdgeStatus::Held(NodeId(id));
    }

    /// Sets an edge's status where it leads nowhere, or is not settled.
    pub(super) fn set_status(&mut self, edge: EdgeId, status: EdgeStatus) {
        self.edges[edge.0 as usize].status = status;
    }

    /// A judgement landed.
    pub(super) fn add_value(&mut self, node: NodeId, value: Option<UnitF32>) {
        let node = &mut self.nodes[node.0 as usize];
        node.value = value;
        node.flags = node.flags & !JUDGING | JUDGED;
    }

    /// A proposal failed.
    pub(super) fn fail_proposal(&mut self, node: NodeId) {
        let node = &mut self.nodes[node.0 as usize];
        node.flags = node.flags & !PROPOSING | CLOSED;
    }

    /// A judgement failed.
    pub(super) fn fail_judgement(&mut self, node: NodeId) {
        let node = &mut self.nodes[node.0 as usize];
        node.flags = node.flags & !JUDGING | JUDGED | CLOSED;
    }

    /// Marks a proposal as under way, or not.
    pub(super) fn set_proposing(&mut self, node: NodeId, on: bool) {
        self.set_flag(node, PROPOSING, on);
    }

    /// Marks a judgement as under way, or not.
    pub(super) fn set_judging(&mut self, node: NodeId, on: bool) {
        self.set_flag(node, JUDGING, on);
    }

    /// Whether nothing is marked as under way anywhere.
    #[cfg(test)]
    pub(super) fn is_settled(&self) -> bool {
        self.nodes
            .iter()
            .all(|node| node.flags & (PROPOSING | JUDGING) == 0)
            && self.edges.iter().all(|e| e.status != EdgeStatus::InFlight)
    }

    fn set_flag(&mut self, node: NodeId, flag: u8, on: bool) {
        let flags = &mut self.nodes[node.0 as usize].flags;
        *flags = if on { *flags | flag } else { *flags & !flag };
    }

    fn known(&self, digest: &Digest) -> Option<u32> {
        self.states.find(digest.prefix(), |id| {
            self.nodes[id as usize].digest == *digest
        })
    }

    fn add_node(
        &mut self,
        parent: u32,
        depth: u16,
        digest: Digest,
        flags: u8,
        twin: Option<u32>,
    ) -> u32 {
        let id = index(self.nodes.len());
        self.nodes.push(Node {
            digest,
            value: None,
            parent,
            first: NONE,
            last: NONE,
            twin: twin.unwrap_or(NONE),
            depth,
            proposals: 0,
            flags,
        });
        let lost = parent != NONE && {
            let from = self.edges[parent as usize].parent;
            self.nodes[from as usize].flags & LOST != 0
        };
        if lost {
            self.nodes[id as usize].flags |= LOST | CLOSED;
        }
        if flags & (TERMINAL | HELD) == 0 && twin.is_none() {
            let nodes = &self.nodes;
            self.states
                .insert(digest.prefix(), id, |id| nodes[id as usize].digest.prefix());
        }
        id
    }
}

fn index(len: usize) -> u32 {
    u32::try_from(len)
        .ok()
        .filter(|id| *id != NONE)
        .expect("2^32 nodes or edges take over 100 GB")
}

/// A node, to read.
#[derive(Debug, Clone, Copy)]
pub struct NodeView<'a> {
    id: NodeId,
    node: &'a Node,
}

impl NodeView<'_> {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The edge that led to it; none for the root.
    #[must_use]
    pub fn parent(&self) -> Option<EdgeId> {
        (self.node.parent != NONE).then_some(EdgeId(self.node.parent))
    }

    /// Actions from the root.
    #[must_use]
    pub fn depth(&self) -> u16 {
        self.node.depth
    }

    /// The critic's value; none if it was not judged, or the critic abstained or failed.
    #[must_use]
    pub fn value(&self) -> Option<UnitF32> {
        self.node.value
    }

    /// Whether the episode ended there.
    #[must_use]
    pub fn terminal(&self) -> bool {
        self.has(TERMINAL)
    }

    /// Whether a write waits there: only a commit leads on.
    #[must_use]
    pub fn held(&self) -> bool {
        self.has(HELD)
    }

    /// Whether no action can be tried there: the episode ended, or a write waits.
    #[must_use]
    pub fn leaf(&self) -> bool {
        self.has(TERMINAL | HELD)
    }

    /// The state's digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.node.digest
    }

    /// An earlier node with the same state, if there was one (the strategy does not merge, or that
    /// node lies too deep to be expanded).
    #[must_use]
    pub fn repeats(&self) -> Option<NodeId> {
        (self.node.twin != NONE).then_some(NodeId(self.node.twin))
    }

    /// How many proposals landed under it (255 stands for more).
    #[must_use]
    pub fn proposals(&self) -> u8 {
        self.node.proposals
    }

    /// Whether a proposal landed under it, even an empty one.
    #[must_use]
    pub fn proposed(&self) -> bool {
        self.node.proposals > 0
    }

    /// Whether the last proposal held no action at all: the proposer sees nothing to try.
    #[must_use]
    pub fn dry(&self) -> bool {
        self.has(DRY)
    }

    /// Whether a judgement landed, an abstention or a failure included.
    #[must_use]
    pub fn judged(&self) -> bool {
        self.has(JUDGED)
    }

    /// Whether a proposal or judgement failed there, or it is lost: it is not expanded (further).
    #[must_use]
    pub fn closed(&self) -> bool {
        self.has(CLOSED)
    }

    /// Whether it, or a state on the way to it, cannot be reached again.
    #[must_use]
    pub fn lost(&self) -> bool {
        self.has(LOST)
    }

    /// Whether a proposal is under way.
    #[must_use]
    pub fn proposing(&self) -> bool {
        self.has(PROPOSING)
    }

    /// Whether a judgement is under way.
    #[must_use]
    pub fn judging(&self) -> bool {
        self.has(JUDGING)
    }

    fn has(&self, flag: u8) -> bool {
        self.node.flags & flag != 0
    }
}

/// An edge, to read.
#[derive(Debug, Clone, Copy)]
pub struct EdgeView<'a> {
    tree: &'a Tree,
    id: EdgeId,
    edge: &'a Edge,
}

impl<'a> EdgeView<'a> {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> EdgeId {
        self.id
    }

    /// The state it starts from.
    #[must_use]
    pub fn parent(&self) -> NodeId {
        NodeId(self.edge.parent)
    }

    /// The action.
    #[must_use]
    pub fn action(&self) -> Action {
        self.tree.actions.get(self.edge.action)
    }

    /// The action as compact JSON, keys sorted.
    #[must_use]
    pub fn action_json(&self) -> &'a str {
        self.tree.actions.json(self.edge.action)
    }

    /// How likely the proposer found it.
    #[must_use]
    pub fn prior(&self) -> UnitF32 {
        self.edge.prior
    }

    /// What became of it.
    #[must_use]
    pub fn status(&self) -> EdgeStatus {
        self.edge.status
    }

    /// The state it made, if it did: one that was reached, or one where a write waits.
    #[must_use]
    pub fn child(&self) -> Option<NodeId> {
        match self.edge.status {
            EdgeStatus::Done(node) | EdgeStatus::Held(node) => Some(node),
            EdgeStatus::Queued
            | EdgeStatus::InFlight
            | EdgeStatus::Loop(_)
            | EdgeStatus::Rejected
            | EdgeStatus::Failed
            | EdgeStatus::Lost => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const FOUR: NonZeroU8 = NonZeroU8::new(4).unwrap();

    fn candidate(name: &str, prior: f32) -> Candidate {
        Candidate {
            action: Action::new(name, Value::Null),
            prior: UnitF32::new(prior).unwrap(),
            thought: None,
        }
    }

    fn start() -> Start {
        Start {
            digest: Digest::of("root"),
            terminal: false,
        }
    }

    /// root -a-> A -c-> C, root -b queued.
    fn small() -> Tree {
        let mut tree = Tree::new(&start());
        tree.add_proposal(
            NodeId::ROOT,
            FOUR,
            &[candidate("a", 0.6), candidate("b", 0.4)],
            false,
        );
        tree.add_state(EdgeId(0), Digest::of("A"), false, None);
        tree.add_proposal(NodeId(1), FOUR, &[candidate("c", 1.0)], false);
        tree.add_state(EdgeId(2), Digest::of("C"), true, None);
        tree
    }

    #[test]
    fn paths_and_edges_are_in_order() {
        let mut tree = small();
        assert_eq!(tree.path(NodeId(2)), [EdgeId(0), EdgeId(2)]);
        assert_eq!(tree.path(NodeId::ROOT), []);
        tree.add_proposal(NodeId::ROOT, FOUR, &[candidate("d", 0.1)], false);
        let edges: Vec<_> = tree.edges(NodeId::ROOT).collect();
        assert_eq!(edges, [EdgeId(0), EdgeId(1), EdgeId(3)]);
        assert_eq!(tree.edge(EdgeId(3)).action().name, "d");
        assert_eq!(tree.edge(EdgeId(0)).child(), Some(NodeId(1)));
        assert_eq!(tree.nodes().count(), 3);
        assert!(tree.is_ancestor(NodeId::ROOT, NodeId(2)));
        assert!(!tree.is_ancestor(NodeId(2), NodeId(1)));
    }

    #[test]
    fn repeats_surplus_and_unreadable_candidates_are_left_out() {
        let mut tree = Tree::new(&start());
        let mut deep = candidate("deep", 0.1);
        let nested = (0..300).fold(json!(1), |inner, _| json!([inner]));
        deep.action.arguments.insert("x".into(), nested);
        let all = [
            candidate("a", 0.5),
            deep,
            candidate("a", 0.2),
            candidate("b", 0.2),
            candidate("c", 0.1),
        ];
        let two = NonZeroU8::new(2).unwrap();
        let added = tree.add_proposal(NodeId::ROOT, two, &all, false);
        assert_eq!(added, (EdgeId(0), 2));
        assert_eq!(
            tree.edge(EdgeId(1)).action_json(),
            r#"{"name":"b","arguments":{}}"#
        );
        let again = tree.add_proposal(NodeId::ROOT, two, &all[..1], false);
        assert_eq!(again, (EdgeId(2), 0));
        assert!(!tree.node(NodeId::ROOT).dry());
        tree.add_proposal(NodeId::ROOT, two, &[], false);
        assert!(tree.node(NodeId::ROOT).dry());
        assert_eq!(tree.node(NodeId::ROOT).proposals(), 3);
    }

    #[test]
    fn equal_states_merge_only_where_asked_and_never_terminal_ones() {
        let mut tree = small();
        let root = Digest::of("root");
        tree.add_state(EdgeId(1), root, false, Some(5));
        assert_eq!(
            tree.edge(EdgeId(1)).status(),
            EdgeStatus::Loop(NodeId::ROOT)
        );
        tree.add_state(EdgeId(1), root, true, Some(5));
        assert_eq!(tree.edge(EdgeId(1)).status(), EdgeStatus::Done(NodeId(3)));
        assert_eq!(tree.node(NodeId(3)).repeats(), None);
        // C was terminal, so a state that looks like it is new.
        tree.add_proposal(NodeId::ROOT, FOUR, &[candidate("d", 0.1)], false);
        tree.add_state(EdgeId(3), Digest::of("C"), false, Some(5));
        assert_eq!(tree.edge(EdgeId(3)).status(), EdgeStatus::Done(NodeId(4)));
        tree.add_proposal(NodeId::ROOT, FOUR, &[candidate("e", 0.1)], false);
        tree.add_state(EdgeId(4), Digest::of("A"), false, None);
        assert_eq!(tree.node(NodeId(5)).repeats(), Some(NodeId(1)));
    }

    #[test]
    fn a_state_known_only_too_deep_gets_a_node_nearer_the_root() {
        let mut tree = small();
        tree.add_proposal(NodeId(1), FOUR, &[candidate("x", 0.5)], false);
        tree.add_state(EdgeId(3), Digest::of("X"), false, Some(2));
        assert_eq!(tree.edge(EdgeId(3)).status(), EdgeStatus::Done(NodeId(3)));
        tree.add_state(EdgeId(1), Digest::of("X"), false, Some(2));
        assert_eq!(tree.edge(EdgeId(1)).status(), EdgeStatus::Done(NodeId(4)));
        // From now on the nearer one stands for the state.
        tree.add_proposal(NodeId(1), FOUR, &[candidate("y", 0.5)], false);
        tree.add_state(EdgeId(4), Digest::of("X"), false, Some(2));
        assert_eq!(tree.edge(EdgeId(4)).status(), EdgeStatus::Loop(NodeId(4)));
    }

    #[test]
    fn a_lost_state_takes_its_subtree_with_it_and_nothing_else() {
        let mut tree = small();
        tree.add_proposal(NodeId(1), FOUR, &[candidate("x", 0.5)], false);
        tree.lose(NodeId(1));
        let lost: Vec<bool> = tree.nodes().map(|n| tree.node(n).lost()).collect();
        assert_eq!(lost, [false, true, true]);
        assert!(tree.node(NodeId(1)).closed());
        assert_eq!(tree.edge(EdgeId(1)).status(), EdgeStatus::Queued);
        assert_eq!(tree.edge(EdgeId(2)).status(), EdgeStatus::Done(NodeId(2)));
        assert_eq!(tree.edge(EdgeId(3)).status(), EdgeStatus::Lost);
        // What lands there late is closed, too.
        tree.add_proposal(NodeId(1), FOUR, &[candidate("y", 0.5)], false);
        assert_eq!(tree.edge(EdgeId(4)).status(), EdgeStatus::Lost);
        tree.add_state(EdgeId(4), Digest::of("Y"), false, None);
        assert!(tree.node(NodeId(3)).lost());
        // The same state, reached another way, is not lost.
        tree.add_state(EdgeId(1), Digest::of("A"), false, Some(5));
        assert_eq!(tree.edge(EdgeId(1)).status(), EdgeStatus::Done(NodeId(4)));
        assert!(!tree.node(NodeId(4)).lost());
    }

    #[test]
    fn the_digest_sees_every_part() {
        let base = small();
        assert_eq!(base.digest(), small().digest());
        let changes: [fn(&mut Tree); 7] = [
            |t| t.add_value(NodeId(1), Some(UnitF32::HALF)),
            |t| t.add_value(NodeId(1), None),
            |t| t.add_held(EdgeId(1), Digest::of("A")),
            |t| t.edges[1].prior = UnitF32::HALF,
            |t| t.edges[1].action = 2,
            |t| t.fail_proposal(NodeId(1)),
            |t| t.lose(NodeId(1)),
        ];
        let mut seen = vec![base.digest()];
        for change in changes {
            let mut tree = base.clone();
            change(&mut tree);
            assert!(!seen.contains(&tree.digest()));
            seen.push(tree.digest());
        }
    }

    #[test]
    fn nodes_and_edges_are_compact() {
        assert_eq!((size_of::<Node>(), size_of::<Edge>()), (60, 24));
    }
}
