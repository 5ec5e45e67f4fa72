//! What a site shows differently with every load: learned from two loads of one state.
//!
//! A restore proves itself by the digest. A visitor counter, a rendering time or a token that no
//! rule knows makes every load another state, so two loads are compared once per site, and the
//! *places* that differ are left out of the digest from then on.
//!
//! Invariants, so that the mask hides nothing that matters: a place is one item of one path in the
//! document; of its text only the words that differed are masked, the rest still counts; what can
//! be acted upon is never masked (its name, its value, its states, the page's own URL), except for
//! single parameters of a link's target. A site that differs in more than a few places, or in places
//! that may not be masked, is said to answer differently each time: nothing is hidden then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::observe::{Found, Hidden, Page};
use crate::env::page::{MASKED, is_token, mask_clocks, mask_url, mask_url_but, shorten};

/// So many places may differ, whatever the size of the page …
const FEW: usize = 6;
/// … or one in so many items.
const ONE_IN: usize = 20;
/// Differences named in a notice.
const NAMED: usize = 3;

/// Where an item is: its frame, its path in that frame's document, and which of several there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    frame: Vec<usize>,
    path: String,
    role: String,
    nth: u32,
}

/// What is masked at a place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Place {
    name: Option<Pattern>,
    value: bool,
    marks: bool,
    /// A picture's source.
    source: bool,
    /// Parameters of a link's target.
    parameters: BTreeSet<String>,
}

/// The places that a site shows differently with every load.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mask {
    origin: String,
    title: Option<Pattern>,
    places: BTreeMap<Key, Place>,
    /// Frame, path and name.
    hidden: BTreeSet<(Vec<usize>, String, String)>,
}

/// An item as the digest is to see it; what is `None` or false is not masked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub name: Option<String>,
    pub value: bool,
    pub marks: bool,
    pub to: Option<String>,
}

/// A text of which some words change.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    /// So many words; these of them change.
    Words {
        count: usize,
        holes: BTreeSet<usize>,
    },
    /// These words, anything, these words.
    Gap {
        front: Vec<String>,
        back: Vec<String>,
    },
}

impl Pattern {
    /// What two texts do not share.
    fn of(first: &str, second: &str) -> Self {
        let a: Vec<&str> = first.split_whitespace().collect();
        let b: Vec<&str> = second.split_whitespace().collect();
        if a.len() == b.len() {
            let holes = (0..a.len()).filter(|&i| a[i] != b[i]).collect();
            return Self::Words {
                count: a.len(),
                holes,
            };
        }
        let shared = |mut pairs: Box<dyn Iterator<Item = (&str, &str)> + '_>, most: usize| {
            let mut n = 0;
            while n < most && pairs.next().is_some_and(|(x, y)| x == y) {
                n += 1;
            }
            n
        };
        let least = a.len().min(b.len());
        let front = shared(Box::new(a.iter().copied().zip(b.iter().copied())), least);
        let back = shared(
            Box::new(a.iter().rev().copied().zip(b.iter().rev().copied())),
            least - front,
        );
        let own = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Self::Gap {
            front: own(&a[..front]),
            back: own(&a[a.len() - back..]),
        }
    }

    /// The text with what changes masked; `None` if it is not a text of this kind.
    fn mask(&self, text: &str) -> Option<String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match self {
            Self::Words { count, holes } => (words.len() == *count).then(|| {
                let shown = words.iter().enumerate();
                let shown: Vec<&str> = shown
                    .map(|(i, word)| if holes.contains(&i) { MASKED } else { word })
                    .collect();
                shown.join(" ")
            }),
            Self::Gap { front, back } => {
                let fits = words.len() >= front.len() + back.len()
                    && words.iter().zip(front).all(|(word, want)| word == want)
                    && words
                        .iter()
                        .rev()
                        .zip(back.iter().rev())
                        .all(|(word, want)| word == want);
                fits.then(|| {
                    let front = front.iter().map(String::as_str);
                    let all = front.chain([MASKED]).chain(back.iter().map(String::as_str));
                    all.collect::<Vec<_>>().join(" ")
                })
            }
        }
    }
}

impl Mask {
    /// Whether nothing is masked.
    pub(super) fn is_empty(&self) -> bool {
        self.title.is_none() && self.places.is_empty() && self.hidden.is_empty()
    }

    /// Whether it was learned on the origin of this URL.
    pub(super) fn applies_to(&self, url: &str) -> bool {
        origin(url) == self.origin
    }

    /// A page's title as the digest sees it.
    pub(super) fn title(&self, title: &str) -> String {
        let clocks = mask_clocks(title);
        let masked = self
            .title
            .as_ref()
            .and_then(|pattern| pattern.mask(&clocks));
        masked.unwrap_or(clocks)
    }

    /// What is masked of an item.
    pub(super) fn of(&self, key: &Key, found: &Found) -> Seen {
        let Some(place) = self.places.get(key) else {
            return Seen::default();
        };
        let name = mask_clocks(found.facts.name.as_deref().unwrap_or(&found.element.name));
        let may = !found.element.interactive;
        let to = found.facts.to.as_deref().and_then(|to| {
            if place.source && may {
                Some(MASKED.to_owned())
            } else {
                let other = |name: &str| place.parameters.contains(name);
                (!place.parameters.is_empty()).then(|| mask_url_but(to, other))
            }
        });
        Seen {
            name: place
                .name
                .as_ref()
                .filter(|_| may)
                .and_then(|pattern| pattern.mask(&name)),
            value: place.value && may,
            marks: place.marks && may,
            to,
        }
    }

    /// Whether a hidden field is masked.
    pub(super) fn hides(&self, frame: &[usize], field: &Hidden) -> bool {
        let Hidden(name, _, path) = field;
        self.hidden
            .contains(&(frame.to_vec(), path.clone(), name.clone()))
    }
}

fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']);
    end.map_or(url, |end| &url[..host + end])
}

impl Page {
    /// The place of every item, in order.
    pub(super) fn keys(&self) -> Vec<Key> {
        let mut counts: BTreeMap<(usize, &str, &str), u32> = BTreeMap::new();
        let key = |found: &Found, nth| Key {
            frame: self.frames[found.address].chain.clone(),
            path: found.path.clone(),
            role: found.element.role.clone(),
            nth,
        };
        let found = self.found.iter();
        found
            .map(|found| {
                let at = (
                    found.address,
                    found.path.as_str(),
                    found.element.role.as_str(),
                );
                let nth = counts.entry(at).or_default();
                *nth += 1;
                key(found, *nth)
            })
            .collect()
    }
}

/// One thing that two loads of a page show differently.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// Where: role and path in the document.
    pub place: String,
    /// What the first load showed.
    pub first: String,
    /// What the second one showed.
    pub second: String,
    /// What of it the digest sees, if it is masked.
    pub masked: Option<String>,
}

/// What two loads of a site's start page taught.
#[derive(Debug, Clone, Default)]
pub(super) struct Learned {
    pub mask: Arc<Mask>,
    /// All that differed, in document order.
    pub differences: Vec<Difference>,
    /// Whether so much differed that nothing is masked.
    pub too_many: bool,
    /// Why the loads could not be compared, where that is so.
    pub failed: Option<String>,
}

impl Learned {
    /// What a search on this site has to know: that a restore may not find the same state again.
    pub(super) fn warning(&self) -> Option<String> {
        if let Some(reason) = &self.failed {
            return Some(format!(
                "the start page could not be loaded twice for comparison: {reason}"
            ));
        }
        let open: Vec<&Difference> = self
            .differences
            .iter()
            .filter(|difference| difference.masked.is_none())
            .collect();
        if open.is_empty() {
            return None;
        }
        let named = open.iter().take(NAMED).map(|difference| {
            format!(
                "{} was \"{}\", then \"{}\"",
                difference.place,
                shorten(&difference.first, 40),
                shorten(&difference.second, 40)
            )
        });
        let named = named.collect::<Vec<_>>().join("; ");
        let more = match open.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        Some(format!(
            "this site answers differently each time, so states of it may not be found again: {named}{more}"
        ))
    }
}

/// Compares two loads of one state.
pub(super) fn learn(first: &Page, second: &Page) -> Learned {
    let mut learner = Learner::default();
    learner.pages(first, second);
    let Learner {
        mut mask,
        mut differences,
    } = learner;
    let limit = FEW.max(first.found.len().max(second.found.len()) / ONE_IN);
    let too_many = differences.len() > limit;
    if too_many {
        mask = Mask::default();
        for difference in &mut differences {
            difference.masked = None;
        }
    }
    origin(&first.url).clone_into(&mut mask.origin);
    Learned {
        mask: Arc::new(mask),
        differences,
        too_many,
        failed: None,
    }
}

#[derive(Default)]
struct Learner {
    mask: Mask,
    differences: Vec<Difference>,
}

impl Learner {
    fn differ(&mut self, place: String, first: &str, second: &str, masked: Option<String>) {
        self.differences.push(Difference {
            place,
            first: shorten(first, 200),
            second: shorten(second, 200),
            masked: masked.map(|masked| shorten(&masked, 200)),
        });
    }

    fn pages(&mut self, first: &Page, second: &Page) {
        let (a, b) = (mask_url(&first.url), mask_url(&second.url));
        if a != b {
            self.differ("the page's URL".to_owned(), &a, &b, None);
        }
        let (a, b) = (mask_clocks(&first.title), mask_clocks(&second.title));
        if a != b {
            let pattern = Pattern::of(&a, &b);
            self.differ("the title".to_owned(), &a, &b, pattern.mask(&a));
            self.mask.title = Some(pattern);
        }
        let (keys, others) = (first.keys(), second.keys());
        let there: BTreeMap<&Key, &Found> = others.iter().zip(&second.found).collect();
        let here: BTreeSet<&Key> = keys.iter().collect();
        for (key, found) in keys.iter().zip(&first.found) {
            match there.get(key) {
                Some(other) => self.items(key, found, other),
                None => self.differ(place(key), &shown(found), "(not there)", None),
            }
        }
        for (key, found) in others.iter().zip(&second.found) {
            if !here.contains(key) {
                self.differ(place(key), "(not there)", &shown(found), None);
            }
        }
        let field = |page: &Page, (frame, field): &(usize, Hidden)| {
            let Hidden(name, value, path) = field;
            let at = (
                page.frames[*frame].chain.clone(),
                path.clone(),
                name.clone(),
            );
            (at, value.clone())
        };
        let there: BTreeMap<_, _> = second.hidden.iter().map(|h| field(second, h)).collect();
        for hidden in &first.hidden {
            let (at, value) = field(first, hidden);
            // Nobody sees a hidden field: one that differs by itself is a token, whatever its name.
            if let Some(other) = there.get(&at).filter(|other| **other != value)
                && !is_token(&at.2, &value)
            {
                let place = format!("hidden field \"{}\"", at.2);
                self.differ(place, &value, other, Some(MASKED.to_owned()));
                self.mask.hidden.insert(at);
            }
        }
    }

    fn items(&mut self, key: &Key, first: &Found, second: &Found) {
        let usable = first.element.interactive || second.element.interactive;
        let mut hides = Place::default();
        let name =
            |found: &Found| mask_clocks(found.facts.name.as_deref().unwrap_or(&found.element.name));
        let (a, b) = (name(first), name(second));
        if a != b {
            let pattern = Some(Pattern::of(&a, &b)).filter(|_| !usable);
            let masked = pattern.as_ref().and_then(|pattern| pattern.mask(&a));
            self.differ(place(key), &a, &b, masked);
            hides.name = pattern;
        }
        let value = |found: &Found| {
            let whole = found.facts.value.as_ref().or(found.element.value.as_ref());
            whole.cloned().unwrap_or_default()
        };
        let (a, b) = (value(first), value(second));
        if a != b {
            hides.value = !usable;
            let masked = (!usable).then(|| MASKED.to_owned());
            self.differ(format!("value of {}", place(key)), &a, &b, masked);
        }
        let marks = |found: &Found| mask_clocks(found.facts.marks.as_deref().unwrap_or_default());
        let (a, b) = (marks(first), marks(second));
        if a != b {
            hides.marks = !usable;
            let masked = (!usable).then(|| MASKED.to_owned());
            let (a, b) = (a.trim().replace('\n', ", "), b.trim().replace('\n', ", "));
            self.differ(format!("attributes of {}", place(key)), &a, &b, masked);
        }
        let state = |found: &Found| format!("{:?} {:?}", found.element.states, found.place);
        let (a, b) = (state(first), state(second));
        if a != b {
            self.differ(format!("state of {}", place(key)), &a, &b, None);
        }
        let options = |found: &Found| {
            let labels = found.element.options.join(" | ");
            (found.facts.options.clone(), labels)
        };
        let (a, b) = (options(first), options(second));
        if a != b {
            self.differ(format!("options of {}", place(key)), &a.1, &b.1, None);
        }
        self.targets(key, first, second, usable, &mut hides);
        if hides != Place::default() {
            self.mask.places.insert(key.clone(), hides);
        }
    }

    fn targets(
        &mut self,
        key: &Key,
        first: &Found,
        second: &Found,
        usable: bool,
        masks: &mut Place,
    ) {
        let to = |found: &Found| mask_url(found.facts.to.as_deref().unwrap_or_default());
        let (a, b) = (to(first), to(second));
        if a == b {
            return;
        }
        let masked = if usable {
            masks.parameters = parameters(&a, &b);
            let other = |name: &str| masks.parameters.contains(name);
            let (x, y) = (mask_url_but(&a, other), mask_url_but(&b, other));
            if x != y {
                // More than parameters: another page, which may not be hidden.
                masks.parameters.clear();
            }
            (x == y).then_some(x)
        } else {
            masks.source = true;
            Some(MASKED.to_owned())
        };
        self.differ(format!("target of {}", place(key)), &a, &b, masked);
    }
}

/// Parameters that two URLs give different values.
fn parameters(first: &str, second: &str) -> BTreeSet<String> {
    let of = |url: &str| -> BTreeMap<String, String> {
        let query = url.split('#').next().and_then(|url| url.split_once('?'));
        let pairs = query.map_or("", |(_, query)| query).split('&');
        let pairs = pairs.filter_map(|pair| pair.split_once('='));
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    let other = of(second);
    let differs = |(name, value): (String, String)| {
        other
            .get(&name)
            .is_some_and(|there| *there != value)
            .then_some(name)
    };
    of(first).into_iter().filter_map(differs).collect()
}

/// A place for people.
fn place(key: &Key) -> String {
    let path = match key.path.rsplit_once("body>") {
        Some((_, path)) => path,
        None => &key.path,
    };
    let frame = if key.frame.is_empty() {
        ""
    } else {
        " in a frame"
    };
    format!("{} at {path}{frame}", key.role)
}

fn shown(found: &Found) -> String {
    found.element.name.clone()
}
