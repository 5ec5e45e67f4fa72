//! `branchline tools`: what a registry offers, and single calls by hand.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::app::{print, say};
use super::run_tools::SiteArgs;
use super::{CliError, Exit};
use crate::context::Cx;
use crate::env::tools::http::BodyShape;
use crate::env::tools::openapi::{Census, Document, Options, Version, census, convert};
use crate::env::tools::registry::{Loaded, Registry, RegistryError, is_built_in, is_registry};
use crate::env::tools::{
    Access, Binding, CallError, Reply, Session, Suspicion, Tool, cut, strict, suspicions,
};
use crate::types::unseen;

/// Lines of a description that `show` prints.
const DESCRIBED: usize = 20;

/// Largest reply that `call` prints whole, in bytes of JSON.
const PRINTED: usize = 16_384;

/// Tools of OpenAPI documents, MCP servers and ToolBench files: list them, look at one, call it.
///
/// REGISTRY is a registry file (tools/NAME.toml), a directory of them, or simply an OpenAPI
/// document (file or URL, JSON or YAML, 2.0 to 3.1).
///
///   branchline tools list petstore.yaml
///   branchline tools show petstore.yaml get_pet_by_id
///   branchline tools search petstore.yaml "find animals that are for sale"
///   branchline tools call petstore.yaml get_pet_by_id '{"petId": 7}' --dry-run
///   branchline tools call tools/pets.toml add_pet --arg name=Rex --write
///   branchline tools check tools/ documents/
///
/// A registry says on what terms tools may be called:
///
///   [[source]]
///   name = "pets"
///   kind = "openapi"                      # or "mcp", "toolbench"
///   document = "pets.yaml"
///   base_url = "http://127.0.0.1:8080/v1"
///   auth = { kind = "bearer", token = "env:PETS_TOKEN" }
///   allow = { private = true }            # loopback is refused otherwise
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
#[expect(clippy::doc_markdown, reason = "the help text, shown as it is")]
pub(super) struct ToolsArgs {
    #[command(subcommand)]
    command: ToolsCommand,
}

#[derive(Debug, Subcommand)]
enum ToolsCommand {
    /// List the tools: name, what a call does, one line about it.
    List(ListArgs),
    /// Show one tool: its arguments, where each goes, what was changed.
    Show(ShowArgs),
    /// Find tools by what they do, in any words.
    Search(super::tools_find::SearchArgs),
    /// Build the index of tools and measure it: time, memory and, with known answers, quality.
    Index(super::tools_find::IndexArgs),
    /// Call a tool once, or show the exact request with --dry-run.
    Call(CallArgs),
    /// Load everything and report faults, notes and what became of every parameter.
    Check(CheckArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Registry file, directory of registries, or OpenAPI document (file or URL).
    registry: String,
    /// Only this source.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    site: SiteArgs,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// Registry file, directory of registries, or OpenAPI document (file or URL).
    registry: String,
    /// The tool's name, as `tools list` shows it.
    tool: String,
    /// Everything, as JSON.
    #[arg(long)]
    json: bool,
    /// The arguments' schema in its strict variant: all required, the optional may be null.
    #[arg(long, conflicts_with = "json")]
    strict: bool,
    #[command(flatten)]
    site: SiteArgs,
}

#[derive(Debug, Args)]
struct CallArgs {
    /// Registry file, directory of registries, or OpenAPI document (file or URL).
    registry: String,
    /// The tool's name, as `tools list` shows it.
    tool: String,
    /// The arguments as a JSON object.
    #[arg(default_value = "{}")]
    arguments: String,
    /// One more argument; the value is JSON where the tool does not take text.
    #[arg(long = "arg", value_name = "NAME=VALUE")]
    args: Vec<String>,
    /// Validate and show the request; send nothing.
    #[arg(long)]
    dry_run: bool,
    /// Send it although it may change something.
    #[arg(long)]
    write: bool,
    /// Most bytes of the reply that are printed.
    #[arg(long, value_name = "BYTES", default_value_t = PRINTED)]
    budget: usize,
    /// Where to go on reading in the reply: a JSON pointer, and from which item or character.
    #[arg(long, value_name = "POINTER")]
    at: Option<String>,
    /// First item or character under --at.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "at")]
    offset: usize,
    /// The reply with status and notes, as one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    site: SiteArgs,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// Registries, OpenAPI documents, or directories of either.
    #[arg(required = true)]
    targets: Vec<PathBuf>,
    /// Every document with its counts, faults and notes, and the totals, as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    site: SiteArgs,
}

/// Runs `branchline tools …`.
pub(super) async fn tools(args: ToolsArgs, cx: &Cx) -> Result<Exit, CliError> {
    match args.command {
        ToolsCommand::List(args) => list(&args, cx).await,
        ToolsCommand::Show(args) => show(&args, cx).await,
        ToolsCommand::Search(args) => super::tools_find::search(&args, cx).await,
        ToolsCommand::Index(args) => super::tools_find::index(&args, cx).await,
        ToolsCommand::Call(args) => call(&args, cx).await,
        ToolsCommand::Check(args) => check(&args, cx).await,
    }
}

impl From<RegistryError> for CliError {
    fn from(error: RegistryError) -> Self {
        let exit = match &error {
            RegistryError::Interrupted(_) => Exit::Interrupted,
            RegistryError::Read { .. }
            | RegistryError::Empty(_)
            | RegistryError::Format(_)
            | RegistryError::Secret { .. }
            | RegistryError::Document { .. }
            | RegistryError::Duplicate { .. } => Exit::Usage,
            RegistryError::Fetch { .. } | RegistryError::Source(_) => Exit::Environment,
        };
        let hint = match &error {
            RegistryError::Secret { .. } => Some(
                "values come from the environment or the registry's secrets file, never from the registry itself",
            ),
            RegistryError::Format(_) => Some("the format is described in docs/tools.md"),
            RegistryError::Empty(_) => Some("name a registry file or an OpenAPI document"),
            _ => None,
        };
        let made = Self::new(exit, error);
        match hint {
            Some(hint) => made.hint(hint),
            None => made,
        }
    }
}

/// The tool of that name, or an error with the nearest names.
fn find<'r>(
    registry: &'r Registry,
    name: &str,
) -> Result<(&'r Loaded, std::sync::Arc<Tool>), CliError> {
    registry.find(name).ok_or_else(|| {
        let error = CliError::new(Exit::Usage, format!("there is no tool `{name}`"));
        match registry.nearest(name) {
            near if near.is_empty() => error.hint("`branchline tools list REGISTRY` lists them"),
            near => error.hint(format!("nearest: {}", near.join(", "))),
        }
    })
}

fn access(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::Idempotent => "idempotent",
        Access::Write => "write",
    }
}

async fn list(args: &ListArgs, cx: &Cx) -> Result<Exit, CliError> {
    let registry = args.site.registry(&args.registry, cx).await?;
    let names: Vec<&str> = registry
        .sources()
        .iter()
        .map(|one| one.spec.name.as_str())
        .collect();
    if let Some(source) = &args.source
        && !names.contains(&source.as_str())
    {
        return Err(
            CliError::new(Exit::Usage, format!("there is no source `{source}`"))
                .hint(format!("the sources are: {}", names.join(", "))),
        );
    }
    let wanted = |one: &&Loaded| {
        args.source
            .as_ref()
            .is_none_or(|name| *name == one.spec.name)
    };
    let mut count = 0;
    for one in registry.sources().iter().filter(wanted) {
        let tools = one.source.tools();
        count += tools.len();
        for found in tools.iter().flat_map(|tool| suspicions(tool)) {
            say(&format!("warning: {}", line(&found.to_string(), 300)));
        }
        if args.json {
            for tool in &tools {
                print(&json!(tool).to_string());
            }
            continue;
        }
        let width = tools
            .iter()
            .map(|tool| tool.name.len())
            .max()
            .unwrap_or(0)
            .min(48);
        for tool in &tools {
            let kind = access(tool.access);
            print(&format!(
                "{:width$}  {kind:10}  {}",
                tool.name,
                line(&tool.summary, 90)
            ));
        }
        for note in &one.notes {
            say(&format!("note: {}: {note}", one.spec.name));
        }
    }
    if !args.json {
        say(&format!("{count} tools"));
    }
    Ok(Exit::Done)
}

/// One line of text from outside: without control characters and what nobody sees, cut.
pub(super) fn line(text: &str, most: usize) -> String {
    let clean: String = text
        .chars()
        .filter(|c| !unseen(*c))
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    match clean.char_indices().nth(most) {
        None => clean,
        Some((end, _)) => format!("{}…", clean[..end].trim_end()),
    }
}

async fn show(args: &ShowArgs, cx: &Cx) -> Result<Exit, CliError> {
    let registry = args.site.registry(&args.registry, cx).await?;
    let (_, tool) = find(&registry, &args.tool)?;
    if args.json {
        print(&pretty(&json!(*tool)));
        return Ok(Exit::Done);
    }
    if args.strict {
        let schema = strict(&tool.parameters).map_err(|error| {
            CliError::new(
                Exit::NotSolved,
                format!("`{}` has no strict variant: {error}", tool.name),
            )
            .hint("without --strict, the schema is used as it is")
        })?;
        print(&pretty(&schema));
        return Ok(Exit::Done);
    }
    print(&format!("{}  ({})", tool.name, access(tool.access)));
    print(&format!("  {}", line(&tool.summary, 200)));
    // Descriptions often begin with the summary, or are no more than it.
    let rest = tool.description.strip_prefix(&*tool.summary);
    let rest = rest
        .unwrap_or(&tool.description)
        .trim_start_matches(['.', ' ', '\n']);
    for text in rest
        .lines()
        .filter(|text| !text.trim().is_empty())
        .take(DESCRIBED)
    {
        print(&format!("  {}", line(text, 400)));
    }
    match &tool.binding {
        Binding::Http(plan) => {
            let base = if plan.base.is_empty() {
                "(no server)"
            } else {
                &plan.base
            };
            print(&format!("  {} {base}{}", plan.method, plan.path));
            if let Some(body) = &plan.body {
                print(&format!("  body: {}", body.media));
            }
        }
        Binding::Mcp { tool } => print(&format!("  MCP tool {tool}")),
        Binding::Described => print("  described only: it can be found, not called"),
    }
    if tool.original != tool.name {
        print(&format!(
            "  called `{}` by its provider",
            line(&tool.original, 120)
        ));
    }
    let required = tool.parameters["required"].as_array();
    let required = |name: &str| required.is_some_and(|all| all.iter().any(|known| known == name));
    let properties = tool.parameters["properties"].as_object();
    if properties.is_some_and(|all| !all.is_empty()) {
        print("\narguments (* required):");
    }
    for (name, schema) in properties.into_iter().flatten() {
        let star = if required(name) { "*" } else { " " };
        let words = schema["description"].as_str().unwrap_or_default();
        let place = place(&tool, name);
        let text = format!(
            "  {star} {name}: {}  [{place}]  {}",
            kind(schema),
            line(words, 100)
        );
        print(text.trim_end());
    }
    for note in &tool.notes {
        print(&format!("\nnote: {note}"));
    }
    for found in suspicions(&tool) {
        print(&format!("\nwarning: {}", line(&found.to_string(), 300)));
    }
    Ok(Exit::Done)
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

/// A schema in a word or two.
fn kind(schema: &Value) -> String {
    let one = |schema: &Value| match &schema["type"] {
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => {
            let kinds: Vec<&str> = kinds.iter().filter_map(Value::as_str).collect();
            kinds.join(" or ")
        }
        _ if schema.get("anyOf").is_some() || schema.get("oneOf").is_some() => {
            "one of several".to_owned()
        }
        _ => "anything".to_owned(),
    };
    let mut text = one(schema);
    if text == "array" {
        text = format!("array of {}", one(&schema["items"]));
    }
    if let Some(words) = schema["enum"].as_array() {
        let shown: Vec<String> = words.iter().take(6).map(ToString::to_string).collect();
        let more = if words.len() > 6 { ", …" } else { "" };
        text = format!("{text} ({}{more})", shown.join(", "));
    }
    text
}

/// Where an argument goes.
fn place(tool: &Tool, argument: &str) -> String {
    let Binding::Http(plan) = &tool.binding else {
        return "argument".to_owned();
    };
    for slot in &plan.slots {
        if slot.argument == argument {
            let place = json!(slot.place);
            let place = place.as_str().unwrap_or_default().to_owned();
            return if slot.name == argument {
                place
            } else {
                format!("{place} {}", line(&slot.name, 60))
            };
        }
    }
    let shape = plan.body.as_ref().map(|body| &body.shape);
    if let Some(BodyShape::Properties { fields, .. }) = shape
        && let Some(field) = fields.iter().find(|field| field.argument == argument)
        && field.name != argument
    {
        return format!("body {}", line(&field.name, 60));
    }
    "body".to_owned()
}

async fn call(args: &CallArgs, cx: &Cx) -> Result<Exit, CliError> {
    let registry = args.site.registry(&args.registry, cx).await?;
    let (loaded, tool) = find(&registry, &args.tool)?;
    let arguments = arguments(args, &tool)?;
    let (session, lease) = args.site.session(&args.registry, loaded, cx).await?;
    let ended = send(args, &tool, &arguments, &*session, cx).await;
    // Whatever came of it: a program that ends gives back what it borrowed.
    session.close().await;
    let closed = match lease {
        Some(lease) => lease.close(false, cx).await,
        None => Ok(()),
    };
    let exit = ended?;
    closed.map_err(|error| CliError::new(Exit::Environment, error))?;
    Ok(exit)
}

/// Sends a call, or shows it where it is not to be sent.
async fn send(
    args: &CallArgs,
    tool: &Tool,
    arguments: &Map<String, Value>,
    session: &dyn Session,
    cx: &Cx,
) -> Result<Exit, CliError> {
    let prepared = session.prepare(tool, arguments).map_err(|rejection| {
        CliError::new(Exit::Usage, &rejection).hint(format!(
            "`branchline tools show {} {}` lists the arguments",
            args.registry, tool.name
        ))
    })?;
    let held = tool.access != Access::Read && !args.write;
    if args.dry_run || held {
        if args.json {
            print(&pretty(&json!(prepared.effect)));
        } else {
            let effect = &prepared.effect;
            print(&format!("{} {}", effect.method, effect.url));
            for (name, value) in &effect.headers {
                print(&format!("{name}: {value}"));
            }
            if let Some(body) = &effect.body {
                print(&format!("\n{body}"));
            }
        }
        if args.dry_run {
            return Ok(Exit::Done);
        }
        say(&format!(
            "held: a call of `{}` may change something; --write sends it",
            tool.name
        ));
        return Ok(Exit::NotSolved);
    }
    let reply = session.call(tool, &prepared, cx).await.map_err(|error| {
        let exit = match &error {
            CallError::Interrupted(crate::context::Interrupted::Cancelled) => Exit::Interrupted,
            CallError::Interrupted(_)
            | CallError::Unreachable { .. }
            | CallError::Forbidden { .. }
            | CallError::SessionLost { .. } => Exit::Environment,
        };
        let named = match &error {
            CallError::Interrupted(_) => format!("`{}`: {error}", tool.name),
            _ => error.to_string(),
        };
        CliError::new(exit, named)
    })?;
    show_reply(args, &reply)?;
    Ok(if reply.error {
        Exit::NotSolved
    } else {
        Exit::Done
    })
}

fn show_reply(args: &CallArgs, reply: &Reply) -> Result<(), CliError> {
    if args.json {
        print(&pretty(&json!(reply)));
        return Ok(());
    }
    let value = match &args.at {
        None => {
            let cut = cut::cut(&reply.content, args.budget);
            for omission in &cut.omitted {
                say(&format!("note: {omission}"));
            }
            if let Some(first) = cut.omitted.first() {
                say(&format!(
                    "note: --at '{}' --offset {} shows more",
                    first.path, first.shown
                ));
            }
            cut.value
        }
        Some(at) => {
            let page = cut::page(&reply.content, at, args.offset, args.budget)
                .map_err(|error| CliError::new(Exit::Usage, error))?;
            if let Some(next) = page.next {
                say(&format!(
                    "note: --at '{at}' --offset {next} goes on, of {}",
                    page.total
                ));
            }
            page.value
        }
    };
    match value {
        Value::String(text) => print(&text),
        value => print(&pretty(&value)),
    }
    for note in &reply.notes {
        say(&format!("note: {note}"));
    }
    if let Some(status) = reply.status {
        say(&format!("status {status}, {} bytes", reply.bytes));
    }
    Ok(())
}

/// The arguments of the command line.
fn arguments(args: &CallArgs, tool: &Tool) -> Result<Map<String, Value>, CliError> {
    let usage = |message: String| {
        CliError::new(Exit::Usage, message)
            .hint("write the arguments as a JSON object: '{\"id\": 7}', or as --arg id=7")
    };
    let mut arguments = match serde_json::from_str(&args.arguments) {
        Ok(Value::Object(map)) => map,
        Ok(_) => return Err(usage("the arguments are no JSON object".to_owned())),
        Err(error) => return Err(usage(format!("the arguments are no JSON: {error}"))),
    };
    for pair in &args.args {
        let Some((name, text)) = pair.split_once('=') else {
            return Err(usage(format!("--arg {pair} has no `=`")));
        };
        let is_text = tool.parameters["properties"][name]["type"] == "string";
        let json = if is_text {
            None
        } else {
            serde_json::from_str(text).ok()
        };
        arguments.insert(name.to_owned(), json.unwrap_or_else(|| Value::from(text)));
    }
    Ok(arguments)
}

/// What became of one document or registry.
#[derive(Debug, Serialize)]
struct Checked {
    file: String,
    version: Option<&'static str>,
    fault: Option<String>,
    panicked: bool,
    ms: u64,
    census: Census,
    notes: Vec<String>,
    /// Undo rules of a registry that can never work.
    broken_rules: Vec<String>,
    suspicions: Vec<Suspicion>,
}

impl Checked {
    /// Whether something is wrong with it that is its own.
    fn faulty(&self) -> bool {
        self.fault.is_some() || !self.broken_rules.is_empty()
    }
}

/// The totals over all documents.
#[derive(Debug, Default, Serialize)]
struct Totals {
    documents: usize,
    loaded: usize,
    faults: usize,
    panics: usize,
    operations: usize,
    tools: usize,
    parameters: usize,
    placeless: usize,
    lost: usize,
    invalid_names: usize,
    colliding_names: usize,
    invalid_schemas: usize,
    noted_tools: usize,
    suspicious_tools: usize,
    slowest_ms: u64,
    slowest: String,
}

impl Totals {
    fn add(&mut self, one: &Checked) {
        self.documents += 1;
        self.faults += usize::from(one.faulty());
        self.loaded += usize::from(one.fault.is_none());
        self.panics += usize::from(one.panicked);
        self.operations += one.census.operations;
        self.tools += one.census.tools;
        self.parameters += one.census.parameters;
        self.placeless += one.census.placeless;
        self.lost += one.census.lost.len();
        self.invalid_names += one.census.invalid_names.len();
        self.colliding_names += one.census.colliding_names.len();
        self.invalid_schemas += one.census.invalid_schemas.len();
        self.noted_tools += one.census.noted;
        let mut suspicious: Vec<&str> = one.suspicions.iter().map(|s| &*s.tool).collect();
        suspicious.dedup();
        self.suspicious_tools += suspicious.len();
        if one.ms >= self.slowest_ms {
            self.slowest_ms = one.ms;
            self.slowest.clone_from(&one.file);
        }
    }

    /// Whether nothing went wrong that is ours: a document's own fault is named, not ours.
    fn clean(&self) -> bool {
        self.panics + self.lost + self.invalid_names + self.colliding_names + self.invalid_schemas
            == 0
    }
}

async fn check(args: &CheckArgs, cx: &Cx) -> Result<Exit, CliError> {
    let mut files = Vec::new();
    for target in &args.targets {
        collect(target, &mut files).map_err(|error| {
            CliError::new(
                Exit::Usage,
                format!("cannot read {}: {error}", target.display()),
            )
        })?;
    }
    if files.is_empty() {
        return Err(CliError::new(Exit::Usage, "there is nothing to check there")
            .hint("name registries (*.toml), OpenAPI documents (*.json, *.yaml, *.yml), or directories of them"));
    }
    let mut totals = Totals::default();
    let mut all = Vec::new();
    for file in &files {
        if cx.is_cancelled() {
            return Ok(Exit::Interrupted);
        }
        let checked = if is_registry(file) {
            check_registry(file, &args.site, cx).await
        } else {
            check_document(file)
        };
        totals.add(&checked);
        if args.json {
            all.push(checked);
        } else {
            report(&checked, files.len() > 20);
        }
    }
    if args.json {
        print(&pretty(&json!({ "totals": totals, "documents": all })));
    } else {
        print(&format!(
            "{} of {} loaded, {} with a fault of their own, {} panics",
            totals.loaded, totals.documents, totals.faults, totals.panics
        ));
        print(&format!(
            "{} operations, {} tools, {} parameters: {} lost ({} have no place by the standard)",
            totals.operations, totals.tools, totals.parameters, totals.lost, totals.placeless
        ));
        print(&format!(
            "{} invalid names, {} colliding, {} invalid schemas; slowest: {} ms ({})",
            totals.invalid_names,
            totals.colliding_names,
            totals.invalid_schemas,
            totals.slowest_ms,
            totals.slowest
        ));
        if totals.suspicious_tools > 0 {
            print(&format!(
                "{} tools with texts that somebody should look at before a model reads them",
                totals.suspicious_tools
            ));
        }
    }
    Ok(if totals.clean() && totals.faults == 0 {
        Exit::Done
    } else {
        Exit::NotSolved
    })
}

/// One line per document, and what is wrong with it; of many, only those with something wrong.
fn report(checked: &Checked, brief: bool) {
    let census = &checked.census;
    let wrong = [
        ("lost", &census.lost),
        ("invalid name", &census.invalid_names),
        ("colliding name", &census.colliding_names),
        ("invalid schema", &census.invalid_schemas),
    ];
    let any = wrong.iter().any(|(_, list)| !list.is_empty());
    if brief && !any && !checked.faulty() && checked.suspicions.is_empty() {
        return;
    }
    let version = checked.version.unwrap_or("-");
    match &checked.fault {
        Some(fault) => print(&format!("{}: {}", checked.file, line(fault, 300))),
        None => print(&format!(
            "{}: {version}, {} tools, {} parameters, {} tools with notes, {} ms",
            checked.file, census.tools, census.parameters, census.noted, checked.ms
        )),
    }
    for (what, list) in wrong {
        for item in list.iter().take(10) {
            print(&format!("  {what}: {}", line(item, 160)));
        }
        if list.len() > 10 {
            print(&format!("  … and {} more", list.len() - 10));
        }
    }
    for rule in &checked.broken_rules {
        print(&format!("  can never work: {}", line(rule, 300)));
    }
    for found in &checked.suspicions {
        print(&format!("  warning: {}", line(&found.to_string(), 300)));
    }
    for note in checked.notes.iter().filter(|_| !brief) {
        print(&format!("  note: {}", line(note, 200)));
    }
}

pub(super) fn collect(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !path.is_dir() {
        if !is_built_in(path) {
            std::fs::metadata(path)?;
        }
        files.push(path.to_owned());
        return Ok(());
    }
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path)? {
        entries.push(entry?.path());
    }
    entries.sort();
    for entry in entries {
        let end = entry
            .extension()
            .and_then(|end| end.to_str())
            .unwrap_or_default();
        if entry.is_dir() || ["json", "yaml", "yml", "toml"].contains(&end) {
            collect(&entry, files)?;
        }
    }
    Ok(())
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn check_document(file: &Path) -> Checked {
    let mut checked = Checked {
        file: file.display().to_string(),
        version: None,
        fault: None,
        panicked: false,
        ms: 0,
        census: Census::default(),
        notes: Vec::new(),
        broken_rules: Vec::new(),
        suspicions: Vec::new(),
    };
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) => {
            checked.fault = Some(format!("cannot be read: {error}"));
            return checked;
        }
    };
    let start = Instant::now();
    // A panic would be a fault of ours: it is counted, and the rest is checked all the same.
    let work = catch_unwind(AssertUnwindSafe(|| {
        Document::parse(&bytes).map(|document| {
            let converted = convert(&document, &Options::default());
            let ms = millis(start);
            let found = converted.tools.iter().flat_map(suspicions);
            (
                census(&document.root, &converted),
                found.collect::<Vec<_>>(),
                converted.notes,
                document.version,
                ms,
            )
        })
    }));
    match work {
        Ok(Ok((census, found, notes, version, ms))) => {
            checked.suspicions = found;
            checked.version = Some(match version {
                Version::V2 => "2.0",
                Version::V3 => "3.0",
                Version::V31 => "3.1",
            });
            (checked.census, checked.notes, checked.ms) = (census, notes, ms);
        }
        Ok(Err(error)) => checked.fault = Some(format!("the document {error}")),
        Err(_) => {
            checked.panicked = true;
            checked.fault = Some("the conversion panicked: please report this document".to_owned());
        }
    }
    checked
}

async fn check_registry(file: &Path, site: &SiteArgs, cx: &Cx) -> Checked {
    let start = Instant::now();
    let mut checked = Checked {
        file: file.display().to_string(),
        version: Some("registry"),
        fault: None,
        panicked: false,
        ms: 0,
        census: Census::default(),
        notes: Vec::new(),
        broken_rules: Vec::new(),
        suspicions: Vec::new(),
    };
    match site.registry(&checked.file, cx).await {
        Ok(registry) => {
            checked.census.tools = registry.tools().len();
            for tool in registry.tools() {
                checked.census.noted += usize::from(!tool.notes.is_empty());
                checked.suspicions.extend(suspicions(&tool));
            }
            for one in registry.sources() {
                let name = &one.spec.name;
                checked
                    .notes
                    .extend(one.notes.iter().map(|note| format!("{name}: {note}")));
                let broken = one.faults.iter().map(|fault| format!("{name}: {fault}"));
                checked.broken_rules.extend(broken);
            }
        }
        Err(error) => checked.fault = Some(error.message),
    }
    checked.ms = millis(start);
    checked
}
