//! What a world has found out about its site.
//!
//! Invariants: a note is said once, however many lanes meet it; of one kind so many are told apart,
//! the rest are summed up.

use std::sync::{Mutex, PoisonError};

use crate::types::{SiteNote, SiteNoteKind};

/// Notes of one kind that are told apart.
const PER_KIND: usize = 6;

/// The notes of one world, in the order in which they were met.
#[derive(Debug, Default)]
pub(crate) struct SiteNotes(Mutex<Vec<SiteNote>>);

impl SiteNotes {
    /// Notes something, unless it is known. Whether it is new.
    pub(crate) fn add(&self, kind: SiteNoteKind, text: String) -> bool {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut note = SiteNote { kind, text };
        if notes.iter().filter(|known| known.kind == kind).count() >= PER_KIND {
            "and more of this kind".clone_into(&mut note.text);
        }
        let new = !notes.contains(&note);
        if new {
            notes.push(note);
        }
        new
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<SiteNote> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_said_once_and_many_of_a_kind_are_summed_up() {
        let notes = SiteNotes::default();
        for _ in 0..2 {
            for n in 0..10 {
                notes.add(SiteNoteKind::TooLarge, format!("/{n}"));
            }
            notes.add(SiteNoteKind::Stream, "/0".to_owned());
        }
        let all = notes.all();
        let texts: Vec<&str> = all.iter().map(|note| note.text.as_str()).collect();
        let more = "and more of this kind";
        assert_eq!(texts, ["/0", "/1", "/2", "/3", "/4", "/5", more, "/0"]);
    }
}
