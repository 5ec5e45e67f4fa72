//! What restores need beyond their snapshots, kept beside the log for as long as a world lives: the
//! states themselves within a bound on memory, and what was learned about the ways back.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chromiumoxide_cdp::cdp::browser_protocol::network::Cookie;
use serde_json::Value;

use super::netlog::{Bodies, NetLog};
use super::stores::Stores;
use crate::env::SiteState;
use crate::types::{MissReason, Rung};

/// How much of a world's pages is kept for restores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreLimits {
    /// The largest response that is kept, in bytes.
    pub response: usize,
    /// Most bytes of one lane's responses, as the protocol carries them.
    pub record: usize,
    /// Most bytes of all kept states together, each response counted once. The states that were not
    /// used for longest make room; they are restored by replay from then on.
    pub kept: usize,
    /// Most bytes, as JSON, of what a page keeps in `IndexedDB` and Cache Storage. A page that keeps
    /// more is restored by replay.
    pub stores: usize,
}

impl Default for RestoreLimits {
    fn default() -> Self {
        Self {
            response: 8 << 20,
            record: 128 << 20,
            kept: 256 << 20,
            stores: 4 << 20,
        }
    }
}

/// Counts the writes to one server, or to one session of it where writes belong to sessions.
#[derive(Debug, Clone, Default)]
pub(super) struct Lineage(Arc<AtomicU64>);

impl Lineage {
    /// Writes that were sent so far.
    pub(super) fn writes(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// A write was sent.
    pub(super) fn wrote(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether both stand for the same server and session.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The document that a page is in, and those before it.
#[derive(Debug, Clone, Default)]
pub(super) struct Entered {
    pub(super) loader: String,
    /// Its URL, by logical origin.
    pub(super) url: String,
    /// How many actions of the path came before it.
    pub(super) before: usize,
    /// The first reference that was free when it was entered.
    pub(super) first: u32,
    /// The storage it found, where a restore put it there.
    pub(super) storage: Option<Value>,
    /// The databases and caches it found.
    pub(super) stores: Stores,
    /// Position of its entry in the tab's history.
    pub(super) entry: i64,
    /// Whether the browser went back or forward to it.
    pub(super) traversed: bool,
    /// The document that was left for it.
    pub(super) previous: Option<Arc<Entered>>,
}

impl Entered {
    /// The documents of the path, the last one first.
    pub(super) fn documents(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |document| document.previous.as_deref())
    }

    /// The last document from which the path can be repeated so that this one is as it was and the
    /// history reaches down to `entry`: it made its entry anew, and nothing since went behind that.
    /// Every entry above is then one that was made since. `None` if the history never reached so far.
    pub(super) fn begin(&self, entry: i64) -> Option<&Self> {
        let mut lowest = entry;
        self.documents().find(|document| {
            lowest = lowest.min(document.entry);
            let found = document.storage.is_some() || document.before == 0;
            document.entry == lowest && !document.traversed && found
        })
    }
}

/// A tab by its number, with the document at which to begin again.
pub(super) type Begin<'k> = (u32, &'k Entered);

/// What restoring a tab needs.
#[derive(Debug)]
pub(super) struct KeptTab {
    pub(super) document: Entered,
    /// Its storage, as the state has it.
    pub(super) stored: Value,
    /// Whether its scripts can talk to the tab that opened it.
    pub(super) reaches_opener: bool,
}

impl KeptTab {
    fn weight(&self) -> usize {
        let Entered {
            storage, stores, ..
        } = &self.document;
        let found = storage.as_ref().map_or(0, size_of_json) + stores.weight();
        size_of::<Self>() + found + size_of_json(&self.stored)
    }
}

/// What restoring a state needs beside its snapshot.
#[derive(Debug)]
pub(super) struct Kept {
    /// The lane's responses until here.
    pub(super) log: NetLog,
    /// The open tabs by number, the active one among them.
    pub(super) tabs: BTreeMap<u32, KeptTab>,
    pub(super) active: u32,
    /// How many tabs were ever opened.
    pub(super) opened: u32,
    pub(super) cookies: Vec<Cookie>,
    /// The server's state, where the site can save it.
    pub(super) server: Option<SiteState>,
    /// Whose writes count, and how many there were.
    pub(super) lineage: Lineage,
    pub(super) writes: u64,
    /// Real origin of the instance that the state was reached on.
    pub(super) origin: String,
    /// Databases and caches of the state itself.
    pub(super) stores: Stores,
    /// Focus and scroll position of the active tab: what going back has to put right.
    pub(super) focus: Option<u32>,
    pub(super) scroll: [i64; 2],
}

impl Kept {
    /// The active tab.
    pub(super) fn tab(&self) -> &KeptTab {
        &self.tabs[&self.active]
    }

    /// The document of each tab from which the path is to be repeated, in the order of the path; with
    /// `entry`, the active tab's history is to reach down to that position.
    pub(super) fn begins(&self, entry: Option<i64>) -> Vec<Begin<'_>> {
        let begins = self.tabs.iter().map(|(number, KeptTab { document, .. })| {
            let entry = entry.filter(|_| *number == self.active);
            let begin = document.begin(entry.unwrap_or(document.entry));
            (*number, begin.unwrap_or(document))
        });
        let mut begins: Vec<_> = begins.collect();
        begins.sort_by_key(|(_, begin)| begin.before);
        begins
    }

    /// Bytes it costs, bodies left out: roughly.
    fn weight(&self) -> usize {
        let cookies: usize = self
            .cookies
            .iter()
            .map(|c| 200 + c.name.len() + c.value.len())
            .sum();
        let tabs = self.tabs.values().map(KeptTab::weight).sum::<usize>();
        size_of::<Self>() + self.log.overhead() + cookies + self.stores.weight() + tabs
    }
}

fn size_of_json(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 16,
        Value::String(text) => 32 + text.len(),
        Value::Array(items) => items.iter().map(size_of_json).sum(),
        Value::Object(map) => map
            .iter()
            .map(|(k, v)| 48 + k.len() + size_of_json(v))
            .sum(),
    }
}

/// Why nothing is kept of a state, with more about it.
pub(super) type Without = (MissReason, String);

enum Place {
    Kept {
        kept: Arc<Kept>,
        weight: usize,
        used: u64,
    },
    Without(Without),
}

#[derive(Default)]
struct States {
    places: HashMap<u64, Place>,
    /// Kept states by last use.
    by_use: BTreeMap<u64, u64>,
    uses: u64,
    /// Of all that is kept, bodies left out.
    weight: usize,
}

/// The kept states of a world.
pub(super) struct Shelf {
    states: Mutex<States>,
    bodies: Arc<Bodies>,
    most: usize,
}

impl Shelf {
    pub(super) fn new(bodies: Arc<Bodies>, most: usize) -> Self {
        Self {
            states: Mutex::default(),
            bodies,
            most,
        }
    }

    fn lock(&self) -> MutexGuard<'_, States> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is settled what is kept of a state.
    pub(super) fn knows(&self, state: u64) -> bool {
        self.lock().places.contains_key(&state)
    }

    /// Keeps what a state's restore needs, or why it cannot be. Others make room.
    pub(super) fn put(&self, state: u64, kept: Result<Kept, Without>) {
        let mut guard = self.lock();
        let states = &mut *guard;
        let place = match kept {
            Err(without) => Place::Without(without),
            Ok(kept) => {
                let weight = kept.weight();
                let kept = Arc::new(kept);
                states.weight += weight;
                states.uses += 1;
                let used = states.uses;
                states.by_use.insert(used, state);
                Place::Kept { kept, weight, used }
            }
        };
        states.places.insert(state, place);
        while states.weight + self.bodies.bytes() > self.most
            && let Some((_, oldest)) = states.by_use.pop_first()
        {
            let gone = Place::Without((MissReason::Evicted, String::new()));
            if let Some(Place::Kept { weight, .. }) = states.places.insert(oldest, gone) {
                states.weight -= weight;
            }
        }
    }

    /// What was kept of a state, or why nothing is.
    pub(super) fn get(&self, state: u64) -> Result<Arc<Kept>, Without> {
        let mut guard = self.lock();
        let states = &mut *guard;
        match states.places.get_mut(&state) {
            None => {
                let detail = "it was reached in another run".to_owned();
                Err((MissReason::Evicted, detail))
            }
            Some(Place::Without(without)) => Err(without.clone()),
            Some(Place::Kept { kept, used, .. }) => {
                states.uses += 1;
                states.by_use.remove(used);
                *used = states.uses;
                states.by_use.insert(states.uses, state);
                Ok(Arc::clone(kept))
            }
        }
    }
}

/// Mismatches in a row after which a rung is tried last.
const BEHIND: u32 = 2;
/// A rung that is tried last gets another try in its place at every so many-th restore.
const PROBE: u32 = 8;

/// The rungs that may be put behind replay, in their natural order.
const EARLY: [Rung; 3] = [Rung::History, Rung::Document, Rung::DocumentSettled];

/// What was learned, by origin, about which rungs lead back.
#[derive(Debug, Default)]
pub(super) struct Habits(BTreeMap<(String, Rung), Habit>);

#[derive(Debug, Default)]
struct Habit {
    /// Mismatches since the last success.
    missed: u32,
    /// Restores since it was put behind.
    passed: u32,
}

impl Habits {
    /// The rungs to try, first one first. Replay is the last but those that kept missing.
    pub(super) fn order(&mut self, origin: &str) -> Vec<Rung> {
        let (mut order, mut behind) = (Vec::new(), Vec::new());
        for rung in EARLY {
            match self.0.get_mut(&(origin.to_owned(), rung)) {
                Some(habit) if habit.missed >= BEHIND => {
                    habit.passed += 1;
                    if habit.passed.is_multiple_of(PROBE) {
                        order.push(rung);
                    } else {
                        behind.push(rung);
                    }
                }
                _ => order.push(rung),
            }
        }
        order.push(Rung::Replay);
        order.append(&mut behind);
        order
    }

    /// A rung missed. Says what follows from it, if something new does.
    pub(super) fn missed(
        &mut self,
        origin: &str,
        rung: Rung,
        reason: MissReason,
    ) -> Option<String> {
        let telling = reason.is_mismatch() || reason == MissReason::NotCached;
        if !telling || !EARLY.contains(&rung) {
            return None;
        }
        let habit = self.0.entry((origin.to_owned(), rung)).or_default();
        habit.missed += 1;
        (habit.missed == BEHIND).then(|| {
            habit.passed = 0;
            format!(
                "{origin}: \"{}\" is tried after replay now: {BEHIND} misses in a row, the last because {}",
                rung.word(),
                reason.phrase()
            )
        })
    }

    /// A rung led to the state. Says what follows from it, if something new does.
    pub(super) fn reached(&mut self, origin: &str, rung: Rung) -> Option<String> {
        let habit = self.0.remove(&(origin.to_owned(), rung))?;
        (habit.missed >= BEHIND)
            .then(|| format!("{origin}: \"{}\" is tried in its place again", rung.word()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::netlog::Answer;
    use super::*;

    fn tab(document: Entered) -> KeptTab {
        KeptTab {
            document,
            stored: Value::Null,
            reaches_opener: false,
        }
    }

    fn kept(bodies: &Bodies, body: &str) -> Kept {
        let mut log = NetLog::default();
        log.asked(1, "d", "GET", "/");
        let answer = Answer {
            status: 200,
            headers: Vec::new(),
            body: bodies.intern(body.to_owned()),
        };
        log.answered("d", "/", answer, usize::MAX);
        Kept {
            log,
            tabs: [(1, tab(Entered::default()))].into(),
            active: 1,
            opened: 1,
            cookies: Vec::new(),
            server: None,
            lineage: Lineage::default(),
            writes: 0,
            origin: String::new(),
            stores: Stores::Empty,
            focus: None,
            scroll: [0, 0],
        }
    }

    #[test]
    fn the_states_that_were_not_used_for_longest_make_room() {
        let bodies = Arc::new(Bodies::default());
        let weight = kept(&bodies, "").weight();
        let shelf = Shelf::new(Arc::clone(&bodies), 2 * (1000 + weight) + 500);
        let body = |fill: &str| fill.repeat(1000);
        shelf.put(1, Ok(kept(&bodies, &body("a"))));
        shelf.put(2, Ok(kept(&bodies, &body("b"))));
        assert!(shelf.get(1).is_ok());
        shelf.put(3, Ok(kept(&bodies, &body("c"))));
        assert!(shelf.get(1).is_ok() && shelf.get(3).is_ok());
        assert_eq!(shelf.get(2).unwrap_err().0, MissReason::Evicted);
        // Equal bodies cost nothing more.
        shelf.put(4, Ok(kept(&bodies, &body("c"))));
        assert!(shelf.get(4).is_ok());
        assert!(bodies.bytes() <= 2000);
        shelf.put(5, Err((MissReason::Socket, "ws://a".to_owned())));
        assert_eq!(shelf.get(5).unwrap_err().0, MissReason::Socket);
        assert_eq!(shelf.get(9).unwrap_err().0, MissReason::Evicted);
    }

    /// A path of documents by entry; `-` before one says that the browser went back or forward to it.
    fn path(entries: &[i64]) -> Entered {
        let mut last: Option<Entered> = None;
        for (before, entry) in entries.iter().enumerate() {
            last = Some(Entered {
                before,
                storage: Some(Value::Null),
                entry: entry.abs(),
                traversed: *entry < 0,
                previous: last.map(Arc::new),
                ..Entered::default()
            });
        }
        last.unwrap()
    }

    #[test]
    fn tabs_are_brought_back_in_the_order_of_the_path() {
        let mut kept = kept(&Bodies::default(), "");
        // The first tab went on after the second was opened, which went back once.
        let (first, second) = (path(&[1, 2, 3, 4]), path(&[1, 2, -1]));
        kept.tabs = [(1, tab(first)), (2, tab(second))].into();
        let begins = |entry| {
            let begins = kept.begins(entry).into_iter();
            begins.map(|(tab, d)| (tab, d.before)).collect::<Vec<_>>()
        };
        assert_eq!(begins(None), [(2, 0), (1, 3)]);
        assert_eq!(begins(Some(2)), [(2, 0), (1, 1)], "of the active tab alone");
    }

    #[test]
    fn repeating_begins_where_the_history_that_matters_does() {
        let begin = |entries: &[i64], entry| path(entries).begin(entry).map(|d| d.before);
        // By links alone: at the document itself, or one before it for each entry below.
        assert_eq!(begin(&[1, 2, 3], 3), Some(2));
        assert_eq!(begin(&[1, 2, 3], 2), Some(1));
        assert_eq!(begin(&[1, 2, 3], 1), Some(0));
        assert_eq!(
            begin(&[1, 2, 3], 0),
            None,
            "nothing was there before the root"
        );
        // Back, once and again: at the document that made the entry.
        assert_eq!(begin(&[1, 2, 3, -2], 2), Some(1));
        assert_eq!(begin(&[1, 2, 3, -2, -1], 1), Some(0));
        assert_eq!(begin(&[1, 2, -1, 2, -1], 1), Some(0));
        // Forward: before the document from which it went back.
        assert_eq!(begin(&[1, 2, 3, -2, -3], 3), Some(1));
        // A link after going back is a new entry.
        assert_eq!(begin(&[1, 2, -1, 2], 2), Some(3));
        // Entries that a document made itself lie between two documents.
        assert_eq!(begin(&[1, 4, -3], 3), Some(0));
        assert_eq!(begin(&[1, 4], 3), Some(0));
        // One whose storage nobody saw is no beginning.
        let mut unseen = path(&[1, 2]);
        unseen.storage = None;
        assert_eq!(unseen.begin(2).map(|d| d.before), Some(0));
    }

    #[test]
    fn a_rung_that_keeps_missing_moves_behind_replay_and_comes_back_when_it_succeeds() {
        use Rung::{Document, DocumentSettled, History, Replay};
        let mut habits = Habits::default();
        let natural = [History, Document, DocumentSettled, Replay];
        let behind = [History, DocumentSettled, Replay, Document];
        let miss = |habits: &mut Habits| habits.missed("a", Document, MissReason::OtherState);
        assert_eq!(habits.order("a"), natural);
        assert_eq!(miss(&mut habits), None);
        // A reason that lies in the state, not in the site, counts for nothing.
        assert_eq!(habits.missed("a", Document, MissReason::TooLarge), None);
        assert_eq!(habits.order("a"), natural);
        let learned = miss(&mut habits).unwrap();
        assert!(learned.starts_with("a: \"document\" is tried after replay"));
        for _ in 1..PROBE {
            assert_eq!(habits.order("a"), behind);
        }
        assert_eq!(habits.order("a"), natural, "another try");
        assert_eq!(miss(&mut habits), None, "said once");
        assert_eq!(habits.order("a"), behind);
        assert_eq!(habits.order("b"), natural, "another origin");
        assert!(habits.reached("a", Document).is_some());
        assert_eq!(habits.order("a"), natural);
        assert_eq!(habits.reached("a", Replay), None);
    }
}
