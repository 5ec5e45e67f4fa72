//! The same law on real pages: what a script holds, what the page's storage and cookies hold, and
//! what the server holds come back together; where writes are held, the server never hears of one.
//!
//! A case costs a browser, so there are few of them, always the same ones.

use branchline::env::browser::{BrowserConfig, BrowserWorld};
use proptest::test_runner::RngSeed;

use super::*;

/// A page that counts in its script, and keeps the count when told to.
const SCRIPTED: &str = "<title>Home</title><p id=out></p><form method=post action=/send>\
    <input name=text aria-label=Text><button>Send</button></form>\
    <button id=more>More</button><button id=keep>Keep</button><a href=/list>List</a><script>\
    let n = Number(localStorage.kept || 0); const show = () => { out.textContent = `count ${n}.`; }; show();\
    more.onclick = () => { n += 1; show(); }; keep.onclick = () => { localStorage.kept = n; };</script>";

/// A lane on the notebook. With `HOLD` its writes are held.
#[derive(Debug, Clone, PartialEq)]
struct PageModel<const HOLD: bool> {
    page: NotePage,
    /// What stands in the field, and what the script counts: gone with the page.
    text: String,
    count: u32,
    /// What the list showed when it was loaded.
    shown: String,
    /// In the page's storage, in a cookie, and on the server.
    kept: u32,
    visits: u32,
    notes: Vec<String>,
}

#[derive(Debug, Clone)]
enum PageAct {
    Type(&'static str),
    More,
    Keep,
    Send,
    List,
    Home,
}

impl<const HOLD: bool> PageModel<HOLD> {
    fn enter(&mut self, page: NotePage) {
        self.page = page;
        self.visits += 1;
        self.text.clear();
        self.count = self.kept;
        self.shown = counted(self.notes.len(), self.visits);
    }
}

impl<const HOLD: bool> Model for PageModel<HOLD> {
    type Act = PageAct;

    fn start() -> Self {
        Self {
            page: NotePage::Home,
            text: String::new(),
            count: 0,
            shown: String::new(),
            kept: 0,
            visits: 1,
            notes: Vec::new(),
        }
    }

    fn acts(&self) -> BoxedStrategy<PageAct> {
        if self.page != NotePage::Home {
            return Just(PageAct::Home).boxed();
        }
        prop_oneof![
            2 => prop::sample::select(vec!["milk", "tea"]).prop_map(PageAct::Type),
            3 => Just(PageAct::More),
            2 => Just(PageAct::Keep),
            3 => Just(PageAct::Send),
            2 => Just(PageAct::List),
        ]
        .boxed()
    }

    fn possible(&self, act: &PageAct) -> bool {
        let home = self.page == NotePage::Home;
        match act {
            PageAct::Type(_) | PageAct::More | PageAct::Keep | PageAct::List => home,
            PageAct::Send => home && !HOLD,
            PageAct::Home => !home,
        }
    }

    fn act(&mut self, act: &PageAct) {
        match act {
            PageAct::Type(text) => (*text).clone_into(&mut self.text),
            PageAct::More => self.count += 1,
            PageAct::Keep => self.kept = self.count,
            PageAct::Send => {
                self.notes.push(self.text.clone());
                self.enter(NotePage::Sent);
            }
            PageAct::List => self.enter(NotePage::List),
            PageAct::Home => self.enter(NotePage::Home),
        }
    }
}

struct Pages<const HOLD: bool>(BrowserWorld);

impl<const HOLD: bool> Subject for Pages<HOLD> {
    type Model = PageModel<HOLD>;
    const ALL_IS_SEEN: bool = false;

    fn world() -> Self {
        let config = BrowserConfig {
            screenshots: false,
            ..BrowserConfig::default()
        };
        let writes = if HOLD {
            Writes::Hold
        } else {
            Writes::Checkpoint
        };
        let site = Arc::new(Notebook::with_home(SCRIPTED));
        Self(BrowserWorld::new(config, site, "/", writes, None))
    }

    fn as_world(&self) -> &dyn World {
        &self.0
    }

    fn action(seen: &Observation, act: &PageAct) -> Option<Action> {
        Some(match act {
            PageAct::Type(text) => {
                let mut arguments = on(seen, "Text")?;
                arguments["text"] = json!(text);
                Action::new("fill", arguments)
            }
            PageAct::More => Action::new("click", on(seen, "More")?),
            PageAct::Keep => Action::new("click", on(seen, "Keep")?),
            PageAct::Send => Action::new("click", on(seen, "Send")?),
            PageAct::List => Action::new("click", on(seen, "List")?),
            PageAct::Home => Action::new("click", on(seen, "Home")?),
        })
    }

    fn check(model: &PageModel<HOLD>, seen: &Observation, server: &Value) {
        assert_eq!(*server, json!(model.notes));
        assert_eq!(seen.title, format!("{:?}", model.page));
        match model.page {
            NotePage::Home => {
                let field = seen.elements.iter().find(|e| e.name == "Text").unwrap();
                assert_eq!(field.value.as_deref().unwrap_or_default(), model.text);
                let count = format!("count {}.", model.count);
                assert!(seen.text.contains(&count), "{count} in {}", seen.text);
            }
            NotePage::List | NotePage::Sent => {
                let shown = &model.shown;
                assert!(seen.text.contains(shown), "{shown} in {}", seen.text);
            }
        }
    }
}

type CheckpointRun = Run<Pages<false>>;
type HoldRun = Run<Pages<true>>;

prop_state_machine! {
    #![proptest_config(ProptestConfig {
        cases: 3,
        max_shrink_iters: 20,
        rng_seed: RngSeed::Fixed(14),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn states_come_back_with_their_server(sequential 16..24 => CheckpointRun);

    #[test]
    fn states_come_back_and_nothing_is_sent(sequential 16..24 => HoldRun);
}
