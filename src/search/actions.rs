//! Every distinct action once, as compact JSON in one string.

use std::hash::Hasher;

use serde_json::Value;

use super::table::IdTable;
use crate::types::Action;

/// Arguments nested deeper than this could not be read back from a log line.
const MAX_NESTING: u8 = 64;

/// The store. Ids are given in the order of first appearance.
#[derive(Debug, Clone, Default)]
pub(super) struct Actions {
    text: String,
    ends: Vec<usize>,
    table: IdTable,
}

impl Actions {
    /// The id of an action, new or known; `None` if it is nested too deep to be kept.
    pub(super) fn intern(&mut self, action: &Action) -> Option<u32> {
        if action.arguments.values().any(|v| deeper(v, MAX_NESTING)) {
            return None;
        }
        let json = serde_json::to_string(action).expect("text keys and finite numbers only");
        let hash = hash(&json);
        if let Some(id) = self.table.find(hash, |id| self.json(id) == json) {
            return Some(id);
        }
        let id = u32::try_from(self.ends.len()).expect("2^32 actions do not fit in memory");
        self.text.push_str(&json);
        self.ends.push(self.text.len());
        let (text, ends) = (&self.text, &self.ends);
        self.table
            .insert(hash, id, |id| self::hash(slice(text, ends, id)));
        Some(id)
    }

    /// The JSON of an action.
    pub(super) fn json(&self, id: u32) -> &str {
        slice(&self.text, &self.ends, id)
    }

    /// The action itself.
    pub(super) fn get(&self, id: u32) -> Action {
        serde_json::from_str(self.json(id)).expect("written by intern, nesting bounded")
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * size_of::<usize>() + self.table.heap_bytes()
    }
}

fn slice<'a>(text: &'a str, ends: &[usize], id: u32) -> &'a str {
    let id = id as usize;
    let start = if id == 0 { 0 } else { ends[id - 1] };
    &text[start..ends[id]]
}

/// Only places entries in the table; no result depends on it.
fn hash(text: &str) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

fn deeper(value: &Value, levels: u8) -> bool {
    let inside = |v: &Value| levels == 0 || deeper(v, levels - 1);
    match value {
        Value::Array(items) => items.iter().any(inside),
        Value::Object(map) => map.values().any(inside),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_action_comes_back_and_is_kept_once() {
        let mut actions = Actions::default();
        let click = Action::new("click", json!({"ref": "12", "button": "left"}));
        let fill = Action::new("fill", json!({"ref": "é\n", "text": [1, null, 2.5]}));
        assert_eq!(actions.intern(&click), Some(0));
        assert_eq!(actions.intern(&fill), Some(1));
        let spelt_otherwise = Action::new("click", json!({"button": "left", "ref": "12"}));
        assert_eq!(actions.intern(&spelt_otherwise), Some(0));
        assert_eq!((actions.get(0), actions.get(1)), (click, fill));
    }

    #[test]
    fn many_actions_survive_the_growth_of_the_table() {
        let mut actions = Actions::default();
        let action = |i: u32| Action::new("click", json!({ "ref": i }));
        for i in 0..500 {
            assert_eq!(actions.intern(&action(i)), Some(i));
        }
        for i in 0..500 {
            assert_eq!(actions.intern(&action(i)), Some(i));
            assert_eq!(actions.get(i), action(i));
        }
    }

    #[test]
    fn arguments_too_deep_to_read_back_are_refused() {
        let nest = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
        let mut actions = Actions::default();
        let deep = Action::new("x", json!({ "a": nest(200) }));
        assert_eq!(actions.intern(&deep), None);
        let fine = Action::new("x", json!({ "a": nest(60) }));
        let id = actions.intern(&fine).unwrap();
        assert_eq!(actions.get(id), fine);
    }
}
