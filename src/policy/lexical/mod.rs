//! A proposer without a model: word overlap between the goal and the page, and the habits of a
//! careful person who cannot know what the words mean. Over calls of tools: [`tools`].
//!
//! **What it can do.** Open what the goal names and what is not known yet from the way here; type
//! what the goal quotes or gives as `key: value` into the field that is labelled so; choose the
//! option and tick the box whose label stands in the goal; then press the button of that form; press
//! a button that says what the goal says once the page is about the goal's object; take the row
//! with the smallest or largest figure where the goal has a superlative; search, once a query, where
//! nothing else speaks; answer a question whose answer stands beside the question's words; count
//! fields, boxes and buttons by ordinals; stop where the page says it is done.
//!
//! **What it cannot do.** Understand. It knows no synonyms ("purchase" is not "buy"), no negation,
//! no arithmetic, no layout and no pictures; it plans nothing beyond the next action. It exists so
//! that search can be shown, tested and measured without a key.
//!
//! **Score.** With `G` the goal's terms, `E` an element's (without counts and prices), `K` those of
//! `G` that the way here and the page's headline show to be dealt with (see `words::evidence`), and
//! weights `idf` over the page's elements:
//!
//! * overlap: `p · (0.8 + 1.2 r)`, `p` the share of `E` in `G`, `r` the share of `G \ K` in `E`;
//! * +1 if the whole name stands in the goal (+0.3 for a link of one word), +2 if it is a quoted
//!   part that is not to be typed, +0.3 if the goal names its role;
//! * −1 if all it shares is in `K`; −3 if it is a link to what the headline says; −0.5 if it stood
//!   on the previous, other page too (navigation), +0.4 if it appeared on this one; −1 if it names
//!   only where something is to go; −1.5 if it undoes or leaves ("sign out", "cancel") and the goal
//!   does not say so;
//! * buttons all of whose words are in the goal: +0.5 + the share of the rest of the goal in `K`;
//! * the nearest button after the field that was last filled: +2 (+1 if something else was done
//!   since); such buttons stay below fields that are still to be filled;
//! * rows: up to +1.5 (+2 for links) by the share of the open goal in the texts of the row; folded things +2.5 if the
//!   goal says to unfold; help pages +0.9 for questions;
//! * superlatives: +2, +1.3, +0.6 for the first three rows in order;
//! * fields 3 + fit, options and boxes 3 if named, searching 1.2, answers 4.2 · nearness², stopping 3.6
//!   where all is done and the page confirms it.
//!
//! What was done before on this path loses (6 if nothing came of it, links 3, else 1.5). Priors are
//! a softmax of the scores at temperature 0.5. Deterministic.

mod choices;
mod clicks;
mod element;
mod ends;
mod fields;
mod page;
mod proposer;
mod tools;

pub use proposer::LexicalPolicy;
