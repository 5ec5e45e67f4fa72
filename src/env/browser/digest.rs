//! The digest of a state: all that an agent can see and use, and nothing that changes by itself.
//!
//! In it: which tab is active, and of every open tab its URL, title, scroll positions of pages and
//! panes, every item's role, name, value, states, options, whether it can be acted upon and whether it is in
//! view, the attributes that describe it, where it leads and what it sends; hidden fields, because a
//! form sends them. Not in it: what nobody can see or use (comments, scripts, `data-` attributes,
//! markup without meaning, tokens in hidden fields, meta tags and URLs), cookies and storage (an
//! agent sees only what the page makes of them; a restore puts them back by value), what clocks
//! show, and what the site was seen to show differently with every load ([`super::volatile`]).
//!
//! Names, values and texts count whole, also where the observation shows only their beginning. A
//! password counts by 16 bits of a hash, so that a digest in a log gives nobody's password away.

use super::observe::{Hidden, Page};
use crate::env::page::{is_token, mask_clocks, mask_url};
use crate::types::Digest;

/// What is fed to the hash: parts, ended by a NUL each, which no page's text can hold.
struct State(Vec<u8>);

impl State {
    fn put(&mut self, part: &str) {
        self.0.extend_from_slice(part.as_bytes());
        self.0.push(0);
    }

    fn put_some(&mut self, part: Option<&str>) {
        self.put(part.unwrap_or("\u{1}"));
    }
}

impl Page {
    /// Digest of all that an agent can see and use, clocks and nonces masked.
    pub(super) fn digest(&self, answer: Option<&str>) -> Digest {
        let mask =
            (!self.mask.is_empty() && self.mask.applies_to(&self.url)).then_some(&*self.mask);
        let keys = mask.map(|_| self.keys()).unwrap_or_default();
        let mut state = State(Vec::with_capacity(self.found.len() * 64 + 256));
        state.put(&mask_url(&self.url));
        state.put(&match mask {
            Some(mask) => mask.title(&self.title),
            None => mask_clocks(&self.title),
        });
        state.put_some(answer);
        state.put(if self.truncated { "cut" } else { "whole" });
        let scrolled: Vec<(i64, i64)> = self.scroll.iter().map(|s| (s[0], s[1])).collect();
        state.put(&format!("{scrolled:?}{:?}", self.inner));
        let mut others = self.others.iter();
        for tab in &self.tabs {
            state.put(&mask_url(&tab.url));
            let other = if tab.active { None } else { others.next() };
            state.put_some(other.map(|page| page.digest(None).to_string()).as_deref());
        }
        let mut group = 0;
        for (index, found) in self.found.iter().enumerate() {
            let (element, facts) = (&found.element, &found.facts);
            let seen = mask.map(|mask| mask.of(&keys[index], found));
            state.put(&element.role);
            let name = facts.name.as_deref().unwrap_or(&element.name);
            match seen.as_ref().and_then(|seen| seen.name.as_deref()) {
                Some(masked) => state.put(masked),
                None => state.put(&mask_clocks(name)),
            }
            if seen.as_ref().is_some_and(|seen| seen.value) {
                state.put("▒");
            } else {
                state.put_some(facts.value.as_deref().or(element.value.as_deref()));
            }
            let joined = found.group != 0 && found.group == group;
            group = found.group;
            state.put(&format!(
                "{:?}{}{:?}{}{}{joined}",
                element.states, found.address, found.place, element.interactive, element.level
            ));
            for option in &element.options {
                state.put(option);
            }
            state.put_some(facts.options.as_deref());
            state.put_some(facts.secret.as_deref());
            state.put_some(facts.caret.as_deref());
            if seen.as_ref().is_some_and(|seen| seen.marks) {
                state.put("▒");
            } else {
                state.put_some(facts.marks.as_deref().map(mask_clocks).as_deref());
            }
            match seen.and_then(|seen| seen.to) {
                Some(masked) => state.put(&masked),
                None => state.put_some(facts.to.as_deref().map(mask_url).as_deref()),
            }
            match &facts.sends {
                Some((name, value)) if !is_token(name, value) => {
                    state.put(name);
                    state.put(value);
                }
                _ => state.put("\u{1}"),
            }
        }
        for (frame, field) in &self.hidden {
            let Hidden(name, value, _) = field;
            let chain = &self.frames[*frame].chain;
            if is_token(name, value) || mask.is_some_and(|mask| mask.hides(chain, field)) {
                continue;
            }
            state.put(name);
            state.put(value);
        }
        Digest::of(state.0)
    }
}
