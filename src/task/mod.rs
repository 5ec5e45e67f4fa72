//! Tasks: what to achieve, where it starts, and how success is checked.
//!
//! # The file format
//!
//! One task is one TOML file. Unknown keys are errors; every error names file, line and column,
//! quotes the line, and gives the nearest valid word.
//!
//! ```toml
//! goal = "Find the cheapest mug and tell its price."   # required: the task in the user's words
//! env = "browser"           # the default; html | auto (below); "tools" for a registry's tools
//! writes = "checkpoint"     # hold (default) | session | checkpoint | allow
//!
//! [start]
//! site = "demo"             # "demo", an origin ("https://shop.example:8443"), several, a site file
//! path = "/"                # default "/"; may carry a query
//!
//! [limits]                  # all optional, all at least 1
//! steps = 60                # executed actions of the search
//! depth = 6                 # actions from the start to a state
//! nodes = 100               # states
//! tokens = 200000           # prompt and completion tokens
//! seconds = 300             # wall time
//!
//! [[check]]                 # at least one; every one must pass
//! kind = "answer"
//! number = 12.5             # exactly one of: exact, contains, number (+ tolerance), any_of
//! ```
//!
//! `env = "html"` reads the same pages without a browser: no scripts run, and a state is restored in
//! microseconds. `env = "auto"` loads the start page once with and once without a browser and goes
//! without where nothing is lost by it.
//!
//! | `kind` | Keys |
//! |---|---|
//! | `answer` | exactly one of `exact`, `contains`, `number` (with `tolerance`, default 0), `any_of = ["…", …]` |
//! | `url` | at least one of `path`, `contains`, `query = { key = "value" }` |
//! | `page` | optional `selector` (CSS); exactly one of `contains`, `equals`, `absent` |
//! | `sql` | `statement`, `equals = [[…], …]`: all rows, in order |
//! | `reward` | `at_least` |
//!
//! How text, numbers and URLs are compared: [`crate::eval::normalise`].
//!
//! # What [`load`] takes
//!
//! | Spec | Tasks |
//! |---|---|
//! | `some/file.toml` | that one |
//! | `some/directory` | all its `*.toml`, by name (not its subdirectories) |
//! | `demo`, `demo/NAME` | the tasks built into the program, unless such a path exists |
//! | `demo-api` | those of the demo shop's API, which are called `demo/api-NAME` |
//! | `bfcl/multi_turn_base/7` | one task of BFCL's multi-turn suites; also `…?n=0..9`, or all of a suite |
//! | `miniwob/NAME?seed=7` | one `MiniWoB` page; seed 0 where none is given |
//! | `miniwob?seeds=0,1&tasks=a,b` | tasks × seeds; all 130 pages where none is named |

pub mod bfcl;
mod data;
mod format;
mod load;
pub mod miniwob;
mod site;
mod spec;

pub use data::data_dir;
pub use format::parse;
pub use load::{TaskError, load, load_in};
pub use spec::{EnvKind, Limits, StartSite, StartSpec, Task, ToolsSpec};
