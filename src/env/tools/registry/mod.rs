//! Registries: which tools there are, and on what terms they may be called.
//!
//! ```toml
//! secrets = "secrets.toml"          # optional; NAME = "value", for references secret:NAME
//!
//! [[source]]
//! name = "pets"
//! kind = "openapi"                  # openapi | mcp | toolbench
//! document = "pets.yaml"            # file (relative to this one) or URL; 2.0, 3.0 or 3.1
//! base_url = "http://127.0.0.1:8080/v1"
//! auth = { kind = "bearer", token = "env:PETS_TOKEN" }
//! allow = { private = true }        # loopback and private addresses are refused otherwise
//! access = [{ tools = "search_*", access = "read" }]
//! ```
//!
//! Invariants:
//!
//! * Every fault of a file names file, line and column, and the nearest valid word.
//! * A secret is only ever named: `env:NAME` or `secret:NAME`. Its value is in no spec, message or
//!   log; [`Registry::secrets`] lists the values for the record's redactor.
//! * Names of tools are unique within a registry and do not depend on the order of anything.

mod format;
mod load;
mod rules;
mod spec;
mod text;
mod toolbench;

pub use format::parse;
pub use load::{Loaded, OnSite, Registry, RegistryError, is_built_in, is_registry, read_specs};
pub use spec::{
    Allow, Auth, CallLimits, Location, McpSpec, McpTransport, Memo, OpenApiSpec, Override, Rate,
    ReadCall, RegistrySpec, SourceKind, SourceSpec, Template, UndoCheck, UndoProof, UndoRule,
};
pub use text::{Glob, SecretError, Secrets, Text};
