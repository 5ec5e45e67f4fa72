//! Random walks on real pages: a snapshot at every step, then restores in random order while another
//! lane goes on writing.

use branchline::context::Cx;
use branchline::env::{Environment, World};
use branchline::types::{Action, Element, Observation, Query, Rung, Seed, Snapshot, Step};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

/// What to walk on.
pub(crate) struct Walk<'a> {
    pub(crate) world: &'a dyn World,
    /// Actions that come first, on both lanes: element name, action, text.
    pub(crate) first: &'a [(&'a str, &'a str, &'a str)],
    /// Elements that are left alone: parts of names, lower case.
    pub(crate) shunned: &'a [&'a str],
    /// Tables whose rows say nothing (access logs, counters).
    pub(crate) ignored: &'a [&'a str],
    pub(crate) steps: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    pub(crate) writes: usize,
    pub(crate) restores: Vec<(Rung, u64)>,
    /// States that were not reached again, with the reason. Never a wrong state.
    pub(crate) lost: Vec<String>,
}

struct Lane<'a> {
    env: Box<dyn Environment>,
    walk: &'a Walk<'a>,
    cx: Cx,
}

struct Mark {
    snapshot: Snapshot,
    seen: Observation,
    server: String,
}

impl Lane<'_> {
    async fn look(&mut self) -> Observation {
        self.env.observe(&self.cx).await.unwrap()
    }

    async fn named(&mut self, (name, action, text): (&str, &str, &str)) {
        let seen = self.look().await;
        // A header's link may be called like the form's button.
        let named = seen
            .elements
            .iter()
            .filter(|e| e.interactive && e.name == name);
        let found = named.min_by_key(|e| e.role == "link");
        let found = found.unwrap_or_else(|| panic!("no {name:?} in:\n{}", seen.text));
        let mut arguments = json!({"ref": found.r#ref});
        if !text.is_empty() {
            arguments["text"] = json!(text);
        }
        let action = Action::new(action, arguments);
        let step = self.env.act(&action, &self.cx).await.unwrap();
        assert!(matches!(step, Step::Done { .. }), "{name}: {step:?}");
    }

    /// Every row of the server's database.
    async fn server(&mut self) -> String {
        let ask = async |env: &mut dyn Environment, statement: String, cx: &Cx| {
            let query = Query::Sql { statement };
            env.query(&query, cx).await.unwrap()
        };
        let tables = "select name from sqlite_master where type = 'table' order by name";
        let tables = ask(&mut *self.env, tables.to_owned(), &self.cx).await;
        let mut all = String::new();
        for table in tables.as_array().unwrap() {
            let name = table[0].as_str().unwrap();
            if self.walk.ignored.contains(&name) || name.starts_with("sqlite_") {
                continue;
            }
            // Rows of full-text tables need their module: their content is in shadow tables.
            let statement = format!("select * from \"{name}\" limit 9000");
            let query = Query::Sql { statement };
            if let Ok(rows) = self.env.query(&query, &self.cx).await {
                all.push_str(&format!("{name}: {rows}\n"));
            }
        }
        all
    }

    /// One random action that was carried out; the writes it sent.
    async fn wander(&mut self, rng: &mut ChaCha8Rng) -> usize {
        for _ in 0..20 {
            let seen = self.look().await;
            let walk = self.walk;
            let usable = |element: &&Element| {
                let name = element.name.to_lowercase();
                element.interactive && !walk.shunned.iter().any(|word| name.contains(word))
            };
            let usable: Vec<&Element> = seen.elements.iter().filter(usable).collect();
            let Some(element) = usable.choose(rng) else {
                self.env
                    .act(&Action::new("back", json!({})), &self.cx)
                    .await
                    .unwrap();
                continue;
            };
            // What changes something is rare on most pages, and what this is about.
            let fields: Vec<&&Element> = usable.iter().filter(|e| e.role != "link").collect();
            let element = if rng.random_bool(0.6) {
                fields.choose(rng).map_or(element, |found| *found)
            } else {
                element
            };
            let target = json!({"ref": element.r#ref});
            let action = match element.role.as_str() {
                "textbox" | "searchbox" => {
                    let word = ["Moss", "Fern", "Ivy"].choose(rng).unwrap();
                    let text = format!("{word} {}", rng.random_range(0..100));
                    Action::new("fill", json!({"ref": element.r#ref, "text": text}))
                }
                "combobox" => match element.options.choose(rng) {
                    Some(option) => {
                        Action::new("select", json!({"ref": element.r#ref, "option": option}))
                    }
                    None => Action::new("click", target),
                },
                _ => Action::new("click", target),
            };
            match self.env.act(&action, &self.cx).await.unwrap() {
                Step::Done { effects, .. } => return effects.len(),
                Step::Rejected(_) | Step::Held { .. } => {}
            }
        }
        0
    }

    async fn mark(&mut self) -> Mark {
        let seen = self.look().await;
        let snapshot = self.env.snapshot(&self.cx).await.unwrap();
        let server = self.server().await;
        Mark {
            snapshot,
            seen,
            server,
        }
    }
}

/// Walks, and restores every state twice, on either lane.
pub(crate) async fn walk(walk: &Walk<'_>, seed: u64) -> Walked {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut out = Walked::default();
    let mut lanes = Vec::new();
    for _ in 0..2 {
        let cx = Cx::default();
        let env = walk.world.open(Seed(seed), &cx).await.unwrap();
        let mut lane = Lane { env, walk, cx };
        for first in walk.first {
            lane.named(*first).await;
        }
        lanes.push(lane);
    }
    let mut marks = vec![lanes[0].mark().await];
    for _ in 0..walk.steps {
        out.writes += lanes[0].wander(&mut rng).await;
        marks.push(lanes[0].mark().await);
        lanes[1].wander(&mut rng).await;
    }
    let mut order: Vec<usize> = (0..marks.len()).collect();
    rand::seq::SliceRandom::shuffle(order.as_mut_slice(), &mut rng);
    for index in order {
        let mark = &marks[index];
        // Mostly where it was, sometimes on the other server.
        let on = usize::from(rng.random_bool(0.25));
        let restored = {
            let lane = &mut lanes[on];
            lane.env.restore(&mark.snapshot, &lane.cx).await
        };
        match restored {
            Ok(restored) => {
                out.restores.push((restored.rung, restored.ms));
                let lane = &mut lanes[on];
                if restored.rung != Rung::Replay {
                    assert_eq!(
                        lane.server().await,
                        mark.server,
                        "the server of state {index}"
                    );
                }
                let now = lane.look().await;
                assert_eq!(now.digest, mark.snapshot.digest, "state {index}");
                // A replayed page was made anew: the time that took is no part of the state.
                if restored.rung != Rung::Replay {
                    assert_eq!(now.elements, mark.seen.elements, "state {index}");
                }
                assert_eq!(now.url, mark.seen.url);
            }
            Err(error) => out
                .lost
                .push(format!("state {index} on lane {on}: {error}")),
        }
        // The other branch goes on, and so does this one.
        for lane in &mut lanes {
            lane.wander(&mut rng).await;
        }
    }
    for lane in lanes {
        lane.env.close(&lane.cx).await.unwrap();
    }
    out
}
