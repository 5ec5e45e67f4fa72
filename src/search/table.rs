//! A hash index of ids whose keys live elsewhere: four bytes a slot.
//!
//! The caller gives the hash and says which id has the key it looks for, so equal hashes of
//! different keys are told apart by the keys themselves. Iteration is not offered: order would
//! depend on hashes.

const FREE: u32 = u32::MAX;

/// The index: open addressing, linear probing, at most three quarters full.
#[derive(Debug, Clone, Default)]
pub(super) struct IdTable {
    slots: Vec<u32>,
    len: usize,
}

impl IdTable {
    /// The id under `hash` for which `same` holds.
    pub(super) fn find(&self, hash: u64, same: impl FnMut(u32) -> bool) -> Option<u32> {
        self.probe(hash, same).map(|at| self.slots[at])
    }

    /// Adds an id whose key is not in the table. `hash_of` gives the hash of any id in it.
    pub(super) fn insert(&mut self, hash: u64, id: u32, hash_of: impl Fn(u32) -> u64) {
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            let room = (self.slots.len() * 2).max(16);
            let old = std::mem::replace(&mut self.slots, vec![FREE; room]);
            for kept in old.into_iter().filter(|&slot| slot != FREE) {
                self.place(hash_of(kept), kept);
            }
        }
        self.place(hash, id);
        self.len += 1;
    }

    /// Puts `new` where `old` is.
    pub(super) fn replace(&mut self, hash: u64, old: u32, new: u32) {
        if let Some(at) = self.probe(hash, |id| id == old) {
            self.slots[at] = new;
        }
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u32>()
    }

    fn probe(&self, hash: u64, mut same: impl FnMut(u32) -> bool) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let mut at = self.home(hash);
        while self.slots[at] != FREE {
            if same(self.slots[at]) {
                return Some(at);
            }
            at = (at + 1) % self.slots.len();
        }
        None
    }

    fn place(&mut self, hash: u64, id: u32) {
        let mut at = self.home(hash);
        while self.slots[at] != FREE {
            at = (at + 1) % self.slots.len();
        }
        self.slots[at] = id;
    }

    fn home(&self, hash: u64) -> usize {
        usize::try_from(hash % self.slots.len() as u64).expect("below the length of a Vec")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_one_hash_are_told_apart() {
        let keys: Vec<u32> = (0..1000).map(|i| i * 7).collect();
        let hash = |id: u32| u64::from(keys[id as usize] % 5);
        let mut table = IdTable::default();
        for id in 0..1000 {
            table.insert(hash(id), id, hash);
        }
        for id in 0..1000 {
            let key = keys[id as usize];
            let found = table.find(u64::from(key % 5), |other| keys[other as usize] == key);
            assert_eq!(found, Some(id));
        }
        assert_eq!(table.find(3, |_| false), None);
    }

    #[test]
    fn a_replaced_id_is_found_in_its_place() {
        let mut table = IdTable::default();
        table.insert(9, 1, |_| 9);
        table.insert(9, 2, |_| 9);
        table.replace(9, 1, 5);
        assert_eq!(table.find(9, |id| id == 5), Some(5));
        assert_eq!(table.find(9, |id| id == 1), None);
        assert_eq!(table.find(9, |id| id == 2), Some(2));
    }
}
