//! A search with one of everything, and a writer to look into. For unit tests.

use std::io::{self, Write};
use std::num::NonZeroU8;
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::{EdgeWords, Words};
use crate::search::{
    Ask, Budget, Order, Outcome, Proposed, Request, Scored, Search, SearchConfig, Start, Stepped,
};
use crate::types::{Action, Candidate, Cost, Digest, MicroUsd, Rejection, Ticket, UnitF32};

/// Text of a page that would like to own the terminal.
pub(super) const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}Buy\nnow\u{202e}\u{9b}31m";

/// A writer whose text can be read.
#[derive(Clone, Default)]
pub(super) struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn new_search(order: Order) -> Search {
    let config = SearchConfig {
        branching: NonZeroU8::new(9).unwrap(),
        depth: 6,
        budget: Budget {
            steps: Some(20),
            ..Budget::default()
        },
        in_flight: NonZeroU8::new(3).unwrap(),
        order,
        ..SearchConfig::default()
    };
    let start = Start {
        digest: Digest::of("start"),
        terminal: false,
    };
    Search::new(config, start)
}

/// The shop's actions under a state: name, arguments, prior.
fn actions(state: &str) -> Vec<Action> {
    let action = Action::new;
    match state {
        "start" => vec![
            action("click", json!({"ref": "1"})),
            action("fill", json!({"ref": "3", "text": "mug"})),
            action("click", json!({"ref": "2"})),
            action("back", json!({})),
            action("click", json!({"ref": "9"})),
            action("goto", json!({"url": "http://shop.test/down"})),
            action("scroll", json!({"by": 400})),
        ],
        "http://shop.test/mug" => vec![
            action("stop", json!({"answer": "4"})),
            action("hover", json!({"ref": "1"})),
        ],
        _ => vec![
            action("press", json!({"key": "Enter"})),
            action("wait", json!({})),
        ],
    }
}

/// Where an action leads, and what was acted on.
fn world(from: &str, action: &Action) -> (Outcome, EdgeWords) {
    let cost = Cost::default();
    let words = |target: Option<&str>, url: Option<&str>, note: Option<&str>| EdgeWords {
        target: target.map(str::to_owned),
        url: url.map(str::to_owned),
        note: note.map(str::to_owned),
    };
    let state = |target: Option<&str>, url: &str, terminal| {
        let digest = Digest::of(if terminal { "the end" } else { url });
        let outcome = Outcome::Stepped(Stepped::State {
            digest,
            terminal,
            cost,
        });
        (outcome, words(target, Some(url), None))
    };
    match (action.name.as_str(), action.target()) {
        ("click", Some("1")) => state(Some("link \"Mug\""), "http://shop.test/mug", false),
        ("click", Some("2")) => state(Some("link \"Cart\""), "http://shop.test/cart", false),
        ("click", _) => (
            Outcome::Stepped(Stepped::Held {
                digest: Digest::of("held"),
                effects: Vec::new(),
                cost,
            }),
            words(Some("button \"Buy\""), None, Some("it writes")),
        ),
        ("fill", _) => {
            let rejection = Rejection::new("no element 3".to_owned());
            let note = rejection.to_string();
            (
                Outcome::Stepped(Stepped::Rejected { rejection, cost }),
                words(None, None, Some(&note)),
            )
        }
        ("back", _) => state(None, "start", false),
        ("stop", _) => state(None, from, true),
        ("goto", _) => (
            Outcome::Failed {
                reason: "the page crashed".to_owned(),
                cost,
            },
            words(None, None, Some("the page crashed")),
        ),
        (name, _) => state(None, &format!("{from}#{name}"), false),
    }
}

/// Carries a request out.
pub(super) fn answer(search: &Search, states: &[String], request: Request) -> (Outcome, EdgeWords) {
    let cost = Cost {
        model_calls: 1,
        input_tokens: 1200,
        cached_tokens: 200,
        output_tokens: 34,
        money: MicroUsd(1_250),
        ..Cost::default()
    };
    let tree = search.tree();
    // The URL of every state, by node id.
    let url = |states: &[String], node: crate::types::NodeId| states[node.0 as usize].clone();
    match request {
        Request::Propose { node, .. } => {
            let candidate = |(at, action): (usize, Action)| Candidate {
                action,
                prior: UnitF32::saturating(0.5 - 0.05 * f32::from(u8::try_from(at).unwrap())),
                thought: None,
            };
            let candidates = actions(&url(states, node)).into_iter().enumerate();
            let candidates = candidates.map(candidate).collect();
            (
                Outcome::Proposed(Proposed { candidates, cost }),
                EdgeWords::default(),
            )
        }
        Request::Judge { node } => {
            let value = match (tree.node(node).terminal(), url(states, node).as_str()) {
                (true, _) => Some(0.95),
                (false, "http://shop.test/mug") => Some(0.62),
                (false, "http://shop.test/cart") => Some(0.31),
                (false, "start") => Some(0.4),
                (false, _) => None,
            };
            let value = value.map(UnitF32::saturating);
            (
                Outcome::Scored(Scored { value, cost }),
                EdgeWords::default(),
            )
        }
        Request::Compare { .. } => unreachable!("best-first compares nothing"),
        Request::Step { edge } => {
            let edge = tree.edge(edge);
            world(&url(states, edge.parent()), &edge.action())
        }
    }
}

/// Lets a search go on until `tells` orders were told, and reports each of them.
pub(super) fn drive(
    search: &mut Search,
    tells: usize,
    mut each: impl FnMut(Ticket, Request, &EdgeWords, &Search),
) -> Words {
    let (mut words, mut states) = (Words::default(), vec!["start".to_owned()]);
    let mut queue = std::collections::VecDeque::new();
    for _ in 0..tells {
        while let Ask::Start { ticket, request } = search.ask() {
            queue.push_back((ticket, request));
        }
        let Some((ticket, request)) = queue.pop_front() else {
            break;
        };
        let (outcome, said) = answer(search, &states, request);
        search.tell(ticket, outcome).unwrap();
        if search.tree().len() > states.len() {
            // A held action leads nowhere yet.
            states.push(said.url.clone().unwrap_or_default());
        }
        if let Request::Step { edge } = request {
            words.insert(edge, said.clone());
        }
        each(ticket, request, &said, search);
    }
    while let Ask::Start { .. } = search.ask() {}
    words
}

/// A search after `tells` orders, and its words.
pub(super) fn grown(tells: usize) -> (Search, Words) {
    let mut search = new_search(Order::Ticket);
    let words = drive(&mut search, tells, |_, _, _, _| {});
    (search, words)
}
