//! Reads task files and says precisely what is wrong with them.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;

use super::site;
use super::spec::{EnvKind, Limits, StartSite, StartSpec, Task, ToolsSpec};
use crate::env::server::Servers;
use crate::eval::{
    AnswerTest, CallTest, Cell, Check, JsonTest, PageTest, TraceTest, ValueTest, normalise,
};
use crate::located::{Fault, FormatError, nearest, one_of};
use crate::types::{EffectRules, RequestPattern, Writes};

/// Registries that are part of the program.
const BUILT_IN: [&str; 2] = ["demo", "bfcl"];

/// Reads one task file, and the site file that it names. `file` is its path, `id` becomes
/// [`Task::id`].
///
/// # Errors
/// [`FormatError`] with the first thing that is wrong.
pub fn parse(text: &str, file: &str, id: &str) -> Result<Task, FormatError> {
    let folder = Path::new(file).parent().unwrap_or(Path::new(""));
    read(text, id, folder).map_err(|wrong| match wrong {
        Wrong::Here(fault) => fault.locate(text, file),
        Wrong::InSite(error) => error,
    })
}

/// What is wrong, and in which file.
enum Wrong {
    Here(Fault),
    InSite(FormatError),
}

impl<F: Into<Fault>> From<F> for Wrong {
    fn from(fault: F) -> Self {
        Self::Here(fault.into())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTask {
    goal: Spanned<String>,
    #[serde(default)]
    env: EnvKind,
    #[serde(default)]
    writes: Writes,
    #[serde(default)]
    effects: RawEffects,
    start: Option<Spanned<RawStart>>,
    tools: Option<Spanned<RawTools>>,
    site: Option<Spanned<site::RawSite>>,
    checkpoint: Option<Spanned<site::RawCheckpoint>>,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    check: Vec<Spanned<RawCheck>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawEffects {
    r#unsafe: Vec<Spanned<String>>,
    safe: Vec<Spanned<String>>,
    ignore: Vec<Spanned<String>>,
    strict: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTools {
    registry: Spanned<String>,
    #[serde(default)]
    only: Vec<Spanned<String>>,
    top_k: Option<NonZeroUsize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStart {
    site: Option<Spanned<toml::Value>>,
    path: Option<Spanned<String>>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Answer,
    Url,
    Page,
    Sql,
    Call,
    Trace,
    Reward,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Url => "url",
            Self::Page => "page",
            Self::Sql => "sql",
            Self::Call => "call",
            Self::Trace => "trace",
            Self::Reward => "reward",
        }
    }

    /// The keys it takes, beside `kind`.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Answer => &[
                "exact",
                "contains",
                "number",
                "tolerance",
                "any_of",
                "pointer",
                "equals",
            ],
            Self::Url => &["path", "contains", "query"],
            Self::Page => &["selector", "contains", "equals", "absent"],
            Self::Sql => &["statement", "equals"],
            Self::Call => &[
                "tool",
                "arguments",
                "pointer",
                "equals",
                "number",
                "tolerance",
                "contains",
                "refused",
            ],
            Self::Trace => &["must", "must_not", "order", "at_most"],
            Self::Reward => &["at_least"],
        }
    }
}

/// The keys of every kind in one struct: a tagged enum would lose the spans.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCheck {
    kind: Spanned<Kind>,
    exact: Option<Spanned<String>>,
    contains: Option<Spanned<String>>,
    number: Option<Spanned<f64>>,
    tolerance: Option<Spanned<f64>>,
    any_of: Option<Spanned<Vec<Spanned<String>>>>,
    path: Option<Spanned<String>>,
    query: Option<Spanned<BTreeMap<String, String>>>,
    selector: Option<Spanned<String>>,
    equals: Option<Spanned<toml::Value>>,
    absent: Option<Spanned<String>>,
    statement: Option<Spanned<String>>,
    at_least: Option<Spanned<f64>>,
    pointer: Option<Spanned<String>>,
    tool: Option<Spanned<String>>,
    arguments: Option<Spanned<toml::Table>>,
    refused: Option<Spanned<bool>>,
    must: Option<Spanned<Vec<Spanned<String>>>>,
    must_not: Option<Spanned<Vec<Spanned<String>>>>,
    order: Option<Spanned<Vec<Spanned<String>>>>,
    at_most: Option<Spanned<u32>>,
}

fn read(text: &str, id: &str, folder: &Path) -> Result<Task, Wrong> {
    let raw: RawTask = toml::from_str(text)?;
    let goal = filled("goal", &raw.goal)?;
    let tools = tools(raw.env, raw.tools, folder)?;
    let start = match (raw.start, &tools) {
        (Some(given), _) => start(given, raw.site, raw.checkpoint, folder)?,
        (None, None) => return Err(Fault::new(0..0, "missing key `start`").into()),
        (None, Some(_)) => toolserver(raw.site, raw.checkpoint, folder)?,
    };
    if raw.check.is_empty() {
        return Err(Fault::new(
            0..0,
            "a task needs at least one [[check]]: without one nothing says when it is solved",
        )
        .into());
    }
    let checks = raw.check.into_iter().map(check);
    Ok(Task {
        id: id.to_owned(),
        goal: Some(goal),
        env: raw.env,
        writes: raw.writes,
        effects: effects(&raw.effects)?,
        start,
        limits: raw.limits,
        checks: checks.collect::<Result<_, _>>()?,
        episode: None,
        tools,
    })
}

/// The tools of a task, which has some exactly if its environment is made of them.
fn tools(
    env: EnvKind,
    raw: Option<Spanned<RawTools>>,
    folder: &Path,
) -> Result<Option<ToolsSpec>, Fault> {
    let raw = match (env, raw) {
        (EnvKind::Tools, Some(raw)) => raw.into_inner(),
        (EnvKind::Tools, None) => {
            return Err(Fault::new(
                0..0,
                "env = \"tools\" needs [tools] with `registry`, a file or the URL of an OpenAPI \
                 document",
            ));
        }
        (_, Some(raw)) => {
            return Err(Fault::new(raw.span(), "[tools] goes with env = \"tools\""));
        }
        (_, None) => return Ok(None),
    };
    let registry = filled("registry", &raw.registry)?;
    let is_url = registry.starts_with("http://") || registry.starts_with("https://");
    let registry = if is_url || BUILT_IN.contains(&registry.as_str()) {
        registry
    } else {
        folder.join(&registry).display().to_string()
    };
    let only = raw.only.iter().map(|name| filled("only", name));
    Ok(Some(ToolsSpec {
        registry,
        only: only.collect::<Result<_, _>>()?,
        top_k: raw.top_k,
    }))
}

/// The server behind a task's tools, where the task says how it is started or put back.
fn toolserver(
    table: Option<Spanned<site::RawSite>>,
    checkpoint: Option<Spanned<site::RawCheckpoint>>,
    folder: &Path,
) -> Result<StartSpec, Wrong> {
    let site = match (table, checkpoint) {
        (None, None) => StartSite::None,
        (Some(table), checkpoint) => {
            StartSite::Server(Box::new(site::spec(table, checkpoint, folder)?))
        }
        (None, Some(checkpoint)) => {
            return Err(Fault::new(
                checkpoint.span(),
                "a [checkpoint] needs a server: name it in [site] or in `start.site`",
            )
            .into());
        }
    };
    Ok(StartSpec {
        site,
        path: "/".to_owned(),
    })
}

fn effects(raw: &RawEffects) -> Result<EffectRules, Fault> {
    let patterns = |texts: &[Spanned<String>]| -> Result<Vec<RequestPattern>, Fault> {
        let parse = |text: &Spanned<String>| {
            text.get_ref()
                .parse()
                .map_err(|error| Fault::new(text.span(), format!("{error}")))
        };
        texts.iter().map(parse).collect()
    };
    Ok(EffectRules {
        writes: patterns(&raw.r#unsafe)?,
        reads: patterns(&raw.safe)?,
        ignored: patterns(&raw.ignore)?,
        strict: raw.strict,
    })
}

fn start(
    raw: Spanned<RawStart>,
    table: Option<Spanned<site::RawSite>>,
    checkpoint: Option<Spanned<site::RawCheckpoint>>,
    folder: &Path,
) -> Result<StartSpec, Wrong> {
    let whole = raw.span();
    let raw = raw.into_inner();
    let path = match raw.path {
        None => "/".to_owned(),
        Some(path) => {
            let bad = |c: char| c.is_whitespace() || c.is_control();
            let text = path.get_ref();
            if !text.starts_with('/') || text.starts_with("//") || text.contains(bad) {
                return Err(Fault::new(
                    path.span(),
                    "expected a path that starts with one slash and has no white space, such as \
                     \"/search?q=mug\"",
                )
                .into());
            }
            path.into_inner()
        }
    };
    let site = match (raw.site, table) {
        (Some(named), None) => named_site(&named, checkpoint, folder)?,
        (None, Some(table)) => StartSite::Server(Box::new(site::spec(table, checkpoint, folder)?)),
        (None, None) => return Err(Fault::new(whole, "missing key `site`").into()),
        (Some(named), Some(_)) => {
            return Err(Fault::new(
                named.span(),
                "the task has a [site] already: give one of the two",
            )
            .into());
        }
    };
    Ok(StartSpec { site, path })
}

/// The site that `start.site` names.
fn named_site(
    named: &Spanned<toml::Value>,
    checkpoint: Option<Spanned<site::RawCheckpoint>>,
    folder: &Path,
) -> Result<StartSite, Wrong> {
    let misplaced = |checkpoint: &Spanned<site::RawCheckpoint>, why: &str| {
        Wrong::from(Fault::new(checkpoint.span(), why))
    };
    let text = match named.get_ref() {
        toml::Value::String(text) => text,
        toml::Value::Array(list) => {
            let texts = list.iter().map(|item| match item {
                toml::Value::String(text) => Ok(Spanned::new(named.span(), text.clone())),
                other => Err(Fault::new(
                    named.span(),
                    format!("a site's origins are text, not {}", other.type_str()),
                )),
            });
            let texts = Spanned::new(named.span(), texts.collect::<Result<_, _>>()?);
            let servers = Servers::Running(site::origins(&texts)?);
            let spec = site::with_checkpoint(servers, checkpoint, folder)?;
            return Ok(StartSite::Server(Box::new(spec)));
        }
        other => {
            let kind = other.type_str();
            let message = format!("a site is text or a list of origins, not {kind}");
            return Err(Fault::new(named.span(), message).into());
        }
    };
    if text == "demo" {
        return match &checkpoint {
            None => Ok(StartSite::Demo),
            Some(table) => Err(misplaced(
                table,
                "the demo shop is saved and put back by itself: it needs no [checkpoint]",
            )),
        };
    }
    let is_file = Path::new(text).extension().is_some_and(|e| e == "toml");
    if is_file && !text.contains("://") {
        if let Some(table) = &checkpoint {
            return Err(misplaced(table, "the site's own file has the [checkpoint]"));
        }
        let read = site::load(&folder.join(text));
        let spec = read.map_err(|reason| Fault::new(named.span(), reason))?;
        return Ok(StartSite::Server(Box::new(spec.map_err(Wrong::InSite)?)));
    }
    if !text.contains("://") {
        let mut fault = Fault::new(
            named.span(),
            "expected \"demo\", an origin such as \"https://shop.example\", a list of them, or a \
             site file such as \"shop.toml\"",
        );
        fault.nearest = nearest(text, ["demo"]).into_iter().next();
        return Err(fault.into());
    }
    let servers = Servers::Running(vec![site::origin(text, named.span())?]);
    let spec = site::with_checkpoint(servers, checkpoint, folder)?;
    Ok(StartSite::Server(Box::new(spec)))
}

fn check(raw: Spanned<RawCheck>) -> Result<Check, Fault> {
    let whole = raw.span();
    let raw = raw.into_inner();
    let kind = *raw.kind.get_ref();
    foreign_keys(&raw, kind)?;
    let need = Need {
        kind,
        at: raw.kind.span(),
        whole,
    };
    match kind {
        Kind::Answer => answer(raw, &need),
        Kind::Url => {
            if raw.path.is_none() && raw.contains.is_none() && raw.query.is_none() {
                return Err(need.fault("at least one of `path`, `contains` and `query`"));
            }
            let query = match raw.query {
                None => BTreeMap::new(),
                Some(query) if query.get_ref().is_empty() => {
                    return Err(Fault::new(query.span(), "`query` names no parameter"));
                }
                Some(query) => query.into_inner(),
            };
            let path = raw.path.as_ref();
            if let Some(path) = path
                && (!path.get_ref().starts_with('/') || path.get_ref().contains(['?', '#']))
            {
                return Err(Fault::new(
                    path.span(),
                    "expected a path that starts with a slash, without query or fragment",
                ));
            }
            Ok(Check::Url {
                path: path.map(|p| p.get_ref().clone()),
                contains: raw.contains.map(|c| filled("contains", &c)).transpose()?,
                query,
            })
        }
        Kind::Page => {
            let equals = raw.equals.map(|value| {
                let span = value.span();
                match value.into_inner() {
                    toml::Value::String(text) => Ok(text),
                    other => Err(Fault::new(
                        span,
                        format!("`equals` of a page is text, not {}", other.type_str()),
                    )),
                }
            });
            let given = [
                raw.contains.is_some(),
                equals.is_some(),
                raw.absent.is_some(),
            ];
            let test = match (raw.contains, equals, raw.absent) {
                (Some(text), None, None) => PageTest::Contains(filled("contains", &text)?),
                (None, Some(text), None) => PageTest::Equals(text?),
                (None, None, Some(text)) => PageTest::Absent(filled("absent", &text)?),
                _ => return Err(need.one_of(&["contains", "equals", "absent"], &given)),
            };
            Ok(Check::Page {
                selector: raw.selector.map(|s| filled("selector", &s)).transpose()?,
                test,
            })
        }
        Kind::Sql => {
            let statement = raw
                .statement
                .as_ref()
                .ok_or_else(|| need.fault("`statement`"))?;
            let equals = raw
                .equals
                .as_ref()
                .ok_or_else(|| need.fault("`equals`, the rows that the statement must give"))?;
            Ok(Check::Sql {
                statement: filled("statement", statement)?,
                equals: rows(equals)?,
            })
        }
        Kind::Call => call(&raw, &need),
        Kind::Trace => trace(&raw, &need),
        Kind::Reward => {
            let least = raw.at_least.ok_or_else(|| need.fault("`at_least`"))?;
            Ok(Check::Reward {
                at_least: finite("at_least", &least)?,
            })
        }
    }
}

fn answer(raw: RawCheck, need: &Need) -> Result<Check, Fault> {
    if let (Some(tolerance), None) = (&raw.tolerance, &raw.number) {
        return Err(Fault::new(
            tolerance.span(),
            "`tolerance` goes with `number`, which is missing",
        ));
    }
    if raw.pointer.is_some() {
        for (key, span) in [
            ("exact", raw.exact.as_ref().map(Spanned::span)),
            ("any_of", raw.any_of.as_ref().map(Spanned::span)),
        ] {
            if let Some(span) = span {
                return Err(Fault::new(
                    span,
                    format!("`{key}` does not go with `pointer`: use `equals`"),
                ));
            }
        }
        return Ok(Check::AnswerJson(json_test(&raw, need)?));
    }
    if let Some(equals) = &raw.equals {
        return Err(Fault::new(
            equals.span(),
            "`equals` of an answer goes with `pointer`, the place in an answer that is JSON \
             (\"\" for the whole); for text use `exact`",
        ));
    }
    let given = [
        raw.exact.is_some(),
        raw.contains.is_some(),
        raw.number.is_some(),
        raw.any_of.is_some(),
    ];
    let test = match (raw.exact, raw.contains, raw.number, raw.any_of) {
        (Some(text), None, None, None) => AnswerTest::Exact(filled("exact", &text)?),
        (None, Some(text), None, None) => AnswerTest::Contains(filled("contains", &text)?),
        (None, None, Some(number), None) => AnswerTest::Number {
            value: finite("number", &number)?,
            tolerance: tolerance(raw.tolerance.as_ref())?,
        },
        (None, None, None, Some(texts)) => {
            if texts.get_ref().is_empty() {
                return Err(Fault::new(texts.span(), "`any_of` lists no answer"));
            }
            let texts = texts.get_ref().iter();
            AnswerTest::AnyOf(
                texts
                    .map(|t| filled("any_of", t))
                    .collect::<Result<_, _>>()?,
            )
        }
        _ => return Err(need.one_of(&["exact", "contains", "number", "any_of"], &given)),
    };
    Ok(Check::Answer(test))
}

fn tolerance(raw: Option<&Spanned<f64>>) -> Result<f64, Fault> {
    match raw {
        None => Ok(0.0),
        Some(tolerance) if *tolerance.get_ref() < 0.0 => Err(Fault::new(
            tolerance.span(),
            "`tolerance` must not be negative",
        )),
        Some(tolerance) => finite("tolerance", tolerance),
    }
}

/// `pointer` (the whole document without it), and exactly one of `equals`, `number`, `contains`.
fn json_test(raw: &RawCheck, need: &Need) -> Result<JsonTest, Fault> {
    let pointer = match &raw.pointer {
        None => String::new(),
        Some(pointer) => {
            let text = pointer.get_ref();
            let escapes = text.split('~').skip(1);
            let valid = (text.is_empty() || text.starts_with('/'))
                && escapes.into_iter().all(|rest| rest.starts_with(['0', '1']));
            if !valid {
                return Err(Fault::new(
                    pointer.span(),
                    "expected a JSON Pointer, such as \"/order/lines/0/price\" (`~1` stands for a \
                     slash in a key, `~0` for `~`; \"\" is the whole document)",
                ));
            }
            text.clone()
        }
    };
    let given = [
        raw.equals.is_some(),
        raw.number.is_some(),
        raw.contains.is_some(),
    ];
    let value = match (&raw.equals, &raw.number, &raw.contains) {
        (Some(value), None, None) => ValueTest::Equals(json(value, value.get_ref())?),
        (None, Some(number), None) => ValueTest::Number {
            value: finite("number", number)?,
            tolerance: tolerance(raw.tolerance.as_ref())?,
        },
        (None, None, Some(text)) => ValueTest::Contains(filled("contains", text)?),
        _ => return Err(need.one_of(&["equals", "number", "contains"], &given)),
    };
    Ok(JsonTest { pointer, value })
}

/// A TOML value as JSON, which has neither dates nor infinite numbers.
fn json(whole: &Spanned<toml::Value>, value: &toml::Value) -> Result<Value, Fault> {
    let fault = || {
        let kind = value.type_str();
        Fault::new(
            whole.span(),
            format!("JSON has no {kind} `{value}`: write it as text"),
        )
    };
    Ok(match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => serde_json::Number::from_f64(*number)
            .ok_or_else(fault)?
            .into(),
        toml::Value::Boolean(truth) => (*truth).into(),
        toml::Value::Datetime(_) => return Err(fault()),
        toml::Value::Array(items) => {
            let items = items.iter().map(|item| json(whole, item));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        toml::Value::Table(table) => Value::Object(object(whole, table)?),
    })
}

fn object(
    whole: &Spanned<toml::Value>,
    table: &toml::Table,
) -> Result<serde_json::Map<String, Value>, Fault> {
    let entries = table.iter();
    entries
        .map(|(key, value)| Ok((key.clone(), json(whole, value)?)))
        .collect()
}

fn call(raw: &RawCheck, need: &Need) -> Result<Check, Fault> {
    let tool = raw.tool.as_ref().ok_or_else(|| need.fault("`tool`"))?;
    let tool = filled("tool", tool)?;
    let arguments = match &raw.arguments {
        None => serde_json::Map::new(),
        Some(table) => {
            let whole = toml::Value::Table(table.get_ref().clone());
            object(&Spanned::new(table.span(), whole), table.get_ref())?
        }
    };
    if let (Some(tolerance), None) = (&raw.tolerance, &raw.number) {
        return Err(Fault::new(
            tolerance.span(),
            "`tolerance` goes with `number`, which is missing",
        ));
    }
    let test = match &raw.refused {
        None => {
            if raw.equals.is_none() && raw.number.is_none() && raw.contains.is_none() {
                return Err(need.fault("exactly one of `equals`, `number`, `contains`, `refused`"));
            }
            CallTest::Value(json_test(raw, need)?)
        }
        Some(refused) => {
            let others = [
                ("pointer", raw.pointer.is_some()),
                ("equals", raw.equals.is_some()),
                ("number", raw.number.is_some()),
                ("contains", raw.contains.is_some()),
            ];
            if let Some((other, _)) = others.iter().find(|(_, given)| *given) {
                return Err(Fault::new(
                    refused.span(),
                    format!(
                        "`refused` does not go with `{other}`: an error has no value to compare"
                    ),
                ));
            }
            if !refused.get_ref() {
                return Err(Fault::new(
                    refused.span(),
                    "`refused` is `true` or left out: every other test is on a reply that is no error",
                ));
            }
            CallTest::Refused
        }
    };
    Ok(Check::Call {
        tool,
        arguments,
        test,
    })
}

fn trace(raw: &RawCheck, need: &Need) -> Result<Check, Fault> {
    let names = |key: &str, list: Option<&Spanned<Vec<Spanned<String>>>>| match list {
        None => Ok(Vec::new()),
        Some(list) if list.get_ref().is_empty() => {
            Err(Fault::new(list.span(), format!("`{key}` names no tool")))
        }
        Some(list) => list
            .get_ref()
            .iter()
            .map(|name| filled(key, name))
            .collect(),
    };
    let test = TraceTest {
        must: names("must", raw.must.as_ref())?,
        must_not: names("must_not", raw.must_not.as_ref())?,
        order: names("order", raw.order.as_ref())?,
        at_most: raw.at_most.as_ref().map(|most| *most.get_ref()),
    };
    if test == TraceTest::default() {
        return Err(need.fault("at least one of `must`, `must_not`, `order` and `at_most`"));
    }
    Ok(Check::Trace(test))
}

/// What a check lacks, said at its `kind`.
struct Need {
    kind: Kind,
    at: Range<usize>,
    whole: Range<usize>,
}

impl Need {
    fn fault(&self, what: &str) -> Fault {
        let name = self.kind.name();
        Fault::new(
            self.at.clone(),
            format!("a check of kind `{name}` needs {what}"),
        )
    }

    fn one_of(&self, keys: &[&str], given: &[bool]) -> Fault {
        let keys_text = one_of(keys);
        let given: Vec<&str> = keys
            .iter()
            .zip(given)
            .filter_map(|(key, given)| given.then_some(*key))
            .collect();
        let mut fault = self.fault(&format!("exactly {keys_text}"));
        if !given.is_empty() {
            let given: Vec<String> = given.iter().map(|key| format!("`{key}`")).collect();
            fault.message = format!("{}; it has {}", fault.message, given.join(" and "));
            fault.span = Some(self.whole.clone());
        }
        fault
    }
}

/// Keys that are known, but not to this kind.
fn foreign_keys(raw: &RawCheck, kind: Kind) -> Result<(), Fault> {
    fn span<T>(value: Option<&Spanned<T>>) -> Option<Range<usize>> {
        value.map(Spanned::span)
    }
    let given = [
        ("exact", span(raw.exact.as_ref())),
        ("contains", span(raw.contains.as_ref())),
        ("number", span(raw.number.as_ref())),
        ("tolerance", span(raw.tolerance.as_ref())),
        ("any_of", span(raw.any_of.as_ref())),
        ("path", span(raw.path.as_ref())),
        ("query", span(raw.query.as_ref())),
        ("selector", span(raw.selector.as_ref())),
        ("equals", span(raw.equals.as_ref())),
        ("absent", span(raw.absent.as_ref())),
        ("statement", span(raw.statement.as_ref())),
        ("at_least", span(raw.at_least.as_ref())),
        ("pointer", span(raw.pointer.as_ref())),
        ("tool", span(raw.tool.as_ref())),
        ("arguments", span(raw.arguments.as_ref())),
        ("refused", span(raw.refused.as_ref())),
        ("must", span(raw.must.as_ref())),
        ("must_not", span(raw.must_not.as_ref())),
        ("order", span(raw.order.as_ref())),
        ("at_most", span(raw.at_most.as_ref())),
    ];
    for (key, span) in given {
        if let Some(span) = span
            && !kind.keys().contains(&key)
        {
            let name = kind.name();
            let keys = one_of(kind.keys());
            return Err(Fault::new(
                span,
                format!("a check of kind `{name}` has no key `{key}`, expected {keys}"),
            ));
        }
    }
    Ok(())
}

/// Text that says something: an empty one would hold of anything.
fn filled(key: &str, text: &Spanned<String>) -> Result<String, Fault> {
    if normalise::text(text.get_ref()).is_empty() {
        return Err(Fault::new(text.span(), format!("`{key}` is empty")));
    }
    Ok(text.get_ref().clone())
}

fn finite(key: &str, number: &Spanned<f64>) -> Result<f64, Fault> {
    if number.get_ref().is_finite() {
        Ok(*number.get_ref())
    } else {
        Err(Fault::new(
            number.span(),
            format!("`{key}` must be a finite number"),
        ))
    }
}

fn rows(value: &Spanned<toml::Value>) -> Result<Vec<Vec<Cell>>, Fault> {
    let fault = |message: String| Fault::new(value.span(), message);
    let shape = || fault("`equals` of SQL is a list of rows, such as [[\"mug\", 2]]".to_owned());
    let rows = value.get_ref().as_array().ok_or_else(shape)?;
    let mut out = Vec::with_capacity(rows.len());
    for row in rows {
        let cells = row.as_array().ok_or_else(shape)?.iter().map(|cell| {
            Ok(match cell {
                toml::Value::String(text) => Cell::Text(text.clone()),
                toml::Value::Integer(number) => Cell::Integer(*number),
                toml::Value::Float(number) if number.is_finite() => Cell::Float(*number),
                toml::Value::Boolean(truth) => Cell::Bool(*truth),
                toml::Value::Float(_)
                | toml::Value::Datetime(_)
                | toml::Value::Array(_)
                | toml::Value::Table(_) => {
                    let kind = cell.type_str();
                    return Err(fault(format!(
                        "a row holds text, numbers and truth values, not {kind} `{cell}`"
                    )));
                }
            })
        });
        out.push(cells.collect::<Result<_, _>>()?);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::server::ServerSpec;

    const HEAD: &str = "goal = \"g\"\n[start]\nsite = \"demo\"\n";

    fn fail(text: &str) -> String {
        parse(text, "t.toml", "t").unwrap_err().to_string()
    }

    fn fail_check(check: &str) -> String {
        fail(&format!("{HEAD}[[check]]\n{check}\n"))
    }

    #[test]
    fn reads_every_key() {
        let text = r#"
            goal = "Buy it."
            env = "browser"
            writes = "checkpoint"
            start = { site = "HTTPS://Shop.Example:8443/", path = "/a?b=c" }
            limits = { steps = 1, depth = 2, nodes = 3, tokens = 4, seconds = 5 }
            [effects]
            unsafe = ["/logout*", "GET /item/*/delete"]
            safe = ["POST /search"]
            ignore = ["POST https://stats.example/*"]
            strict = true
            [[check]]
            kind = "answer"
            exact = "yes"
            [[check]]
            kind = "answer"
            contains = "y"
            [[check]]
            kind = "answer"
            number = 3
            tolerance = 0.5
            [[check]]
            kind = "answer"
            any_of = ["a", "b"]
            [[check]]
            kind = "url"
            path = "/cart"
            contains = "shop"
            query = { q = "mug" }
            [[check]]
            kind = "page"
            selector = "h1"
            equals = "Cart"
            [[check]]
            kind = "page"
            absent = "Error"
            [[check]]
            kind = "sql"
            statement = "select 1"
            equals = [["a", 1, 1.5, true], []]
            [[check]]
            kind = "reward"
            at_least = 1
        "#;
        let n = |n| std::num::NonZeroU32::new(n);
        let want = Task {
            id: "t".into(),
            goal: Some("Buy it.".into()),
            env: EnvKind::Browser,
            writes: Writes::Checkpoint,
            effects: EffectRules {
                writes: vec![
                    "/logout*".parse().unwrap(),
                    "GET /item/*/delete".parse().unwrap(),
                ],
                reads: vec!["POST /search".parse().unwrap()],
                ignored: vec!["POST https://stats.example/*".parse().unwrap()],
                strict: true,
            },
            start: StartSpec {
                site: StartSite::Server(Box::new(ServerSpec::at("https://shop.example:8443"))),
                path: "/a?b=c".into(),
            },
            limits: Limits {
                steps: n(1),
                depth: n(2),
                nodes: n(3),
                tokens: std::num::NonZeroU64::new(4),
                seconds: std::num::NonZeroU64::new(5),
            },
            checks: vec![
                Check::Answer(AnswerTest::Exact("yes".into())),
                Check::Answer(AnswerTest::Contains("y".into())),
                Check::Answer(AnswerTest::Number {
                    value: 3.0,
                    tolerance: 0.5,
                }),
                Check::Answer(AnswerTest::AnyOf(vec!["a".into(), "b".into()])),
                Check::Url {
                    path: Some("/cart".into()),
                    contains: Some("shop".into()),
                    query: BTreeMap::from([("q".into(), "mug".into())]),
                },
                Check::Page {
                    selector: Some("h1".into()),
                    test: PageTest::Equals("Cart".into()),
                },
                Check::Page {
                    selector: None,
                    test: PageTest::Absent("Error".into()),
                },
                Check::Sql {
                    statement: "select 1".into(),
                    equals: vec![
                        vec![
                            Cell::Text("a".into()),
                            Cell::Integer(1),
                            Cell::Float(1.5),
                            Cell::Bool(true),
                        ],
                        vec![],
                    ],
                },
                Check::Reward { at_least: 1.0 },
            ],
            episode: None,
            tools: None,
        };
        assert_eq!(parse(text, "t.toml", "t"), Ok(want));
    }

    #[test]
    fn defaults() {
        let text = format!("{HEAD}[[check]]\nkind = \"reward\"\nat_least = 1.0\n");
        let task = parse(&text, "t.toml", "t").unwrap();
        assert_eq!(
            (task.env, task.writes, task.limits, task.start),
            (
                EnvKind::Browser,
                Writes::Hold,
                Limits::default(),
                StartSpec {
                    site: StartSite::Demo,
                    path: "/".into()
                }
            )
        );
    }

    #[test]
    fn a_task_survives_the_record() {
        let text =
            format!("{HEAD}[[check]]\nkind = \"sql\"\nstatement = \"s\"\nequals = [[1, 1.0]]");
        let task = parse(&text, "t.toml", "t").unwrap();
        let json = serde_json::to_string(&task).unwrap();
        assert_eq!(serde_json::from_str::<Task>(&json).unwrap(), task);
    }

    #[test]
    fn unknown_words() {
        insta::assert_snapshot!(fail("gaol = \"x\"\n"), @r#"
            t.toml:1:1: unknown key `gaol`, expected one of `goal`, `env`, `writes`, `effects`, `start`, `tools`, `site`, `checkpoint`, `limits`, `check`; did you mean `goal`?
             1 | gaol = "x"
               | ^^^^
        "#);
        insta::assert_snapshot!(fail("goal = \"x\"\nwrites = \"chekpoint\"\n"), @r#"
            t.toml:2:10: unknown value `chekpoint`, expected one of `hold`, `session`, `checkpoint`, `allow`; did you mean `checkpoint`?
             2 | writes = "chekpoint"
               |          ^^^^^^^^^^^
        "#);
        insta::assert_snapshot!(fail("env = \"zebra\"\n"), @r#"
            t.toml:1:7: unknown value `zebra`, expected one of `browser`, `html`, `auto`, `tools`
             1 | env = "zebra"
               |       ^^^^^^^
        "#);
        insta::assert_snapshot!(fail("goal = \"x\"\n[start]\nsite = \"demo\"\npth = \"/\"\n"), @r#"
            t.toml:4:1: unknown key `pth`, expected one of `site`, `path`; did you mean `path`?
             4 | pth = "/"
               | ^^^
        "#);
        insta::assert_snapshot!(fail(&format!("{HEAD}[effects]\nunsave = []\n")), @r#"
            t.toml:5:1: unknown key `unsave`, expected one of `unsafe`, `safe`, `ignore`, `strict`; did you mean `unsafe`?
             5 | unsave = []
               | ^^^^^^
        "#);
        insta::assert_snapshot!(fail(&format!("{HEAD}[limits]\nstep = 3\n")), @r#"
            t.toml:5:1: unknown key `step`, expected one of `steps`, `depth`, `nodes`, `tokens`, `seconds`; did you mean `steps`?
             5 | step = 3
               | ^^^^
        "#);
        insta::assert_snapshot!(fail_check("kind = \"anwser\"\nexact = \"x\""), @r#"
            t.toml:5:8: unknown value `anwser`, expected one of `answer`, `url`, `page`, `sql`, `call`, `trace`, `reward`; did you mean `answer`?
             5 | kind = "anwser"
               |        ^^^^^^^^
        "#);
        insta::assert_snapshot!(fail_check("kind = \"answer\"\nexakt = \"x\""), @r#"
            t.toml:6:1: unknown key `exakt`, expected one of `kind`, `exact`, `contains`, `number`, `tolerance`, `any_of`, `path`, `query`, `selector`, `equals`, `absent`, `statement`, `at_least`, `pointer`, `tool`, `arguments`, `refused`, `must`, `must_not`, `order`, `at_most`; did you mean `exact`?
             6 | exakt = "x"
               | ^^^^^
        "#);
        insta::assert_snapshot!(fail_check("kind = \"url\"\nselector = \"h1\"\npath = \"/\""), @r#"
            t.toml:6:12: a check of kind `url` has no key `selector`, expected one of `path`, `contains`, `query`
             6 | selector = "h1"
               |            ^^^^
        "#);
    }

    #[test]
    fn missing_parts() {
        insta::assert_snapshot!(fail(""), @"t.toml:1:1: missing key `goal`");
        insta::assert_snapshot!(fail("goal = \"x\"\n"), @r#"
            t.toml:1:1: missing key `start`
             1 | goal = "x"
               | ^
        "#);
        insta::assert_snapshot!(fail("goal = \"x\"\n[start]\npath = \"/\"\n"), @r#"
            t.toml:2:1: missing key `site`
             2 | [start]
               | ^^^^^^^
        "#);
        insta::assert_snapshot!(fail(HEAD), @r#"
            t.toml:1:1: a task needs at least one [[check]]: without one nothing says when it is solved
             1 | goal = "g"
               | ^
        "#);
        insta::assert_snapshot!(fail_check("exact = \"x\""), @r#"
            t.toml:4:1: missing key `kind`
             4 | [[check]]
               | ^^^^^^^^^
        "#);
        insta::assert_snapshot!(fail_check("kind = \"answer\""), @r#"
            t.toml:5:8: a check of kind `answer` needs exactly one of `exact`, `contains`, `number`, `any_of`
             5 | kind = "answer"
               |        ^^^^^^^^
        "#);
        insta::assert_snapshot!(fail_check("kind = \"answer\"\nexact = \"x\"\nnumber = 3"), @r#"
            t.toml:4:1: a check of kind `answer` needs exactly one of `exact`, `contains`, `number`, `any_of`; it has `exact` and `number`
             4 | [[check]]
               | ^^^^^^^^^
        "#);
        insta::assert_snapshot!(fail_check("kind = \"answer\"\nexact = \"x\"\ntolerance = 3"), @r#"
            t.toml:7:13: `tolerance` goes with `number`, which is missing
             7 | tolerance = 3
               |             ^
        "#);
        insta::assert_snapshot!(fail_check("kind = \"url\""), @r#"
            t.toml:5:8: a check of kind `url` needs at least one of `path`, `contains` and `query`
             5 | kind = "url"
               |        ^^^^^
        "#);
        insta::assert_snapshot!(fail_check("kind = \"page\"\nselector = \"h1\""), @r#"
            t.toml:5:8: a check of kind `page` needs exactly one of `contains`, `equals`, `absent`
             5 | kind = "page"
               |        ^^^^^^
        "#);
        insta::assert_snapshot!(fail_check("kind = \"sql\"\nstatement = \"select 1\""), @r#"
            t.toml:5:8: a check of kind `sql` needs `equals`, the rows that the statement must give
             5 | kind = "sql"
               |        ^^^^^
        "#);
        insta::assert_snapshot!(fail_check("kind = \"reward\""), @r#"
            t.toml:5:8: a check of kind `reward` needs `at_least`
             5 | kind = "reward"
               |        ^^^^^^^^
        "#);
    }

    fn check_of(check: &str) -> Check {
        let task = parse(&format!("{HEAD}[[check]]\n{check}\n"), "t.toml", "t").unwrap();
        task.checks.into_iter().next().unwrap()
    }

    #[test]
    fn checks_of_tools() {
        let test = |pointer: &str, value: ValueTest| JsonTest {
            pointer: pointer.to_owned(),
            value,
        };
        assert_eq!(
            check_of("kind = \"answer\"\npointer = \"/total\"\nnumber = 4\ntolerance = 0.5"),
            Check::AnswerJson(test(
                "/total",
                ValueTest::Number {
                    value: 4.0,
                    tolerance: 0.5
                }
            ))
        );
        let call = check_of(
            "kind = \"call\"\ntool = \"get_order\"\narguments = { id = 7, deep = { a = [1.5, true] } }\n\
             pointer = \"/lines/0\"\nequals = { sku = \"mug\", count = 2 }",
        );
        let Check::Call {
            tool,
            arguments,
            test: CallTest::Value(of),
        } = &call
        else {
            panic!("{call:?}");
        };
        assert_eq!(
            (tool.as_str(), Value::Object(arguments.clone()), of),
            (
                "get_order",
                serde_json::json!({"id": 7, "deep": {"a": [1.5, true]}}),
                &test(
                    "/lines/0",
                    ValueTest::Equals(serde_json::json!({"sku": "mug", "count": 2}))
                )
            )
        );
        assert_eq!(
            check_of("kind = \"call\"\ntool = \"t\"\nrefused = true"),
            Check::Call {
                tool: "t".into(),
                arguments: serde_json::Map::new(),
                test: CallTest::Refused
            }
        );
        assert_eq!(
            check_of(
                "kind = \"trace\"\nmust = [\"a\"]\nmust_not = [\"b*\"]\norder = [\"a\", \"c\"]\nat_most = 3"
            ),
            Check::Trace(TraceTest {
                must: vec!["a".into()],
                must_not: vec!["b*".into()],
                order: vec!["a".into(), "c".into()],
                at_most: Some(3),
            })
        );
    }

    #[test]
    fn wrong_checks_of_tools() {
        insta::assert_snapshot!(fail_check("kind = \"answer\"\nequals = 3"), @r#"
        t.toml:6:10: `equals` of an answer goes with `pointer`, the place in an answer that is JSON ("" for the whole); for text use `exact`
         6 | equals = 3
           |          ^
        "#);
        insta::assert_snapshot!(fail_check("kind = \"answer\"\npointer = \"/a\"\nexact = \"x\""), @r#"
        t.toml:7:9: `exact` does not go with `pointer`: use `equals`
         7 | exact = "x"
           |         ^^^
        "#);
        insta::assert_snapshot!(fail_check("kind = \"answer\"\npointer = \"a.b\"\nequals = 1"), @r#"
        t.toml:6:11: expected a JSON Pointer, such as "/order/lines/0/price" (`~1` stands for a slash in a key, `~0` for `~`; "" is the whole document)
         6 | pointer = "a.b"
           |           ^^^^^
        "#);
        insta::assert_snapshot!(fail_check("kind = \"answer\"\npointer = \"/a\""), @r#"
        t.toml:5:8: a check of kind `answer` needs exactly one of `equals`, `number`, `contains`
         5 | kind = "answer"
           |        ^^^^^^^^
        "#);
        insta::assert_snapshot!(fail_check("kind = \"call\"\nequals = 1"), @r#"
        t.toml:5:8: a check of kind `call` needs `tool`
         5 | kind = "call"
           |        ^^^^^^
        "#);
        insta::assert_snapshot!(fail_check("kind = \"call\"\ntool = \"t\""), @r#"
        t.toml:5:8: a check of kind `call` needs exactly one of `equals`, `number`, `contains`, `refused`
         5 | kind = "call"
           |        ^^^^^^
        "#);
        insta::assert_snapshot!(fail_check("kind = \"call\"\ntool = \"t\"\nequals = 1\ncontains = \"x\""), @"
        t.toml:4:1: a check of kind `call` needs exactly one of `equals`, `number`, `contains`; it has `equals` and `contains`
         4 | [[check]]
           | ^^^^^^^^^
        ");
        insta::assert_snapshot!(fail_check("kind = \"call\"\ntool = \"t\"\nequals = 2024-01-05"), @"
        t.toml:7:10: JSON has no datetime `2024-01-05`: write it as text
         7 | equals = 2024-01-05
           |          ^^^^^^^^^^
        ");
        insta::assert_snapshot!(fail_check("kind = \"call\"\ntool = \"t\"\nequals = 1\nrefused = true"), @"
        t.toml:8:11: `refused` does not go with `equals`: an error has no value to compare
         8 | refused = true
           |           ^^^^
        ");
        insta::assert_snapshot!(fail_check("kind = \"call\"\ntool = \"t\"\narguments = 1\nequals = 1"), @"
        t.toml:7:13: invalid type: integer `1`, expected a map
         7 | arguments = 1
           |             ^
        ");
        insta::assert_snapshot!(fail_check("kind = \"trace\""), @r#"
        t.toml:5:8: a check of kind `trace` needs at least one of `must`, `must_not`, `order` and `at_most`
         5 | kind = "trace"
           |        ^^^^^^^
        "#);
        insta::assert_snapshot!(fail_check("kind = \"trace\"\nmust = []"), @"
        t.toml:6:8: `must` names no tool
         6 | must = []
           |        ^^
        ");
        insta::assert_snapshot!(fail_check("kind = \"trace\"\nat_most = -1"), @"
        t.toml:6:11: invalid value: integer `-1`, expected u32
         6 | at_most = -1
           |           ^^
        ");
    }

    #[test]
    fn wrong_values() {
        insta::assert_snapshot!(fail("goal = 3\n"), @r#"
            t.toml:1:8: invalid type: integer `3`, expected a string
             1 | goal = 3
               |        ^
        "#);
        insta::assert_snapshot!(fail("goal = \"é\"  x\n"), @r#"
            t.toml:1:13: unexpected key or value, expected newline, `#`
             1 | goal = "é"  x
               |             ^
        "#);
        insta::assert_snapshot!(fail("goal = \"x\"\ngoal = \"y\"\n"), @r#"
            t.toml:2:1: duplicate key
             2 | goal = "y"
               | ^^^^
        "#);
        insta::assert_snapshot!(fail("goal = \" \"\nstart = { site = \"demo\" }"), @r#"
            t.toml:1:8: `goal` is empty
             1 | goal = " "
               |        ^^^
        "#);
        insta::assert_snapshot!(fail("goal = \"x\"\nstart = { site = \"dmo\" }"), @r#"
            t.toml:2:18: expected "demo", an origin such as "https://shop.example", a list of them, or a site file such as "shop.toml"; did you mean `demo`?
             2 | start = { site = "dmo" }
               |                  ^^^^^
        "#);
        insta::assert_snapshot!(fail("goal = \"x\"\nstart = { site = \"http://a/b\" }"), @r#"
            t.toml:2:18: an origin ends with the host or port; the rest belongs in `path`
             2 | start = { site = "http://a/b" }
               |                  ^^^^^^^^^^^^
        "#);
        insta::assert_snapshot!(fail("goal = \"x\"\nstart = { site = \"http://a:99999\" }"), @r#"
            t.toml:2:18: expected a host and, if any, a port up to 65535, such as "http://127.0.0.1:8080"
             2 | start = { site = "http://a:99999" }
               |                  ^^^^^^^^^^^^^^^^
        "#);
        insta::assert_snapshot!(fail("goal = \"x\"\nstart = { site = \"demo\", path = \"a\" }"), @r#"
            t.toml:2:33: expected a path that starts with one slash and has no white space, such as "/search?q=mug"
             2 | start = { site = "demo", path = "a" }
               |                                 ^^^
        "#);
        insta::assert_snapshot!(fail(&format!("{HEAD}[limits]\ndepth = 0\n")), @r#"
            t.toml:5:9: invalid value: integer `0`, expected a whole number from 1 to 2^32 - 1
             5 | depth = 0
               |         ^
        "#);
        insta::assert_snapshot!(fail(&format!("{HEAD}[limits]\nseconds = -1\n")), @r#"
            t.toml:5:11: invalid value: integer `-1`, expected a whole number from 1
             5 | seconds = -1
               |           ^^
        "#);
        insta::assert_snapshot!(fail(&format!("{HEAD}[effects]\nunsafe = [\"/a\", \"get /b\"]\n[[check]]\nkind = \"reward\"\nat_least = 1\n")), @r#"
            t.toml:5:17: a method is in upper case, such as "POST /search"
             5 | unsafe = ["/a", "get /b"]
               |                 ^^^^^^^^
        "#);
        insta::assert_snapshot!(fail_check("kind = \"answer\"\nexact = \"\""), @r#"
            t.toml:6:9: `exact` is empty
             6 | exact = ""
               |         ^^
        "#);
        insta::assert_snapshot!(fail_check("kind = \"answer\"\nany_of = []"), @r#"
            t.toml:6:10: `any_of` lists no answer
             6 | any_of = []
               |          ^^
        "#);
        insta::assert_snapshot!(fail_check("kind = \"answer\"\nany_of = [\"a\", 3]"), @r#"
            t.toml:6:16: invalid type: integer `3`, expected a string
             6 | any_of = ["a", 3]
               |                ^
        "#);
        insta::assert_snapshot!(fail_check("kind = \"answer\"\nnumber = nan"), @r#"
            t.toml:6:10: `number` must be a finite number
             6 | number = nan
               |          ^^^
        "#);
        insta::assert_snapshot!(fail_check("kind = \"answer\"\nnumber = 1\ntolerance = -0.5"), @r#"
            t.toml:7:13: `tolerance` must not be negative
             7 | tolerance = -0.5
               |             ^^^^
        "#);
        insta::assert_snapshot!(fail_check("kind = \"url\"\npath = \"cart\""), @r#"
            t.toml:6:8: expected a path that starts with a slash, without query or fragment
             6 | path = "cart"
               |        ^^^^^^
        "#);
        insta::assert_snapshot!(fail_check("kind = \"url\"\nquery = { page = 2 }"), @r#"
            t.toml:6:18: invalid type: integer `2`, expected a string
             6 | query = { page = 2 }
               |                  ^
        "#);
        insta::assert_snapshot!(fail_check("kind = \"page\"\nequals = [[1]]"), @r#"
            t.toml:6:10: `equals` of a page is text, not array
             6 | equals = [[1]]
               |          ^^^^^
        "#);
        insta::assert_snapshot!(fail_check("kind = \"sql\"\nstatement = \"s\"\nequals = \"1\""), @r#"
            t.toml:7:10: `equals` of SQL is a list of rows, such as [["mug", 2]]
             7 | equals = "1"
               |          ^^^
        "#);
        insta::assert_snapshot!(
            fail_check("kind = \"sql\"\nstatement = \"s\"\nequals = [[2024-01-05]]"), @r#"
            t.toml:7:10: a row holds text, numbers and truth values, not datetime `2024-01-05`
             7 | equals = [[2024-01-05]]
               |          ^^^^^^^^^^^^^^
        "#);
    }

    #[test]
    fn origins() {
        let origin = |text: &str| site::origin(text, 0..0).ok();
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(origin("http://[::1]:80"), is("http://[::1]:80"));
        assert_eq!(origin("http://[::1]/"), is("http://[::1]"));
        assert_eq!(origin("http://127.0.0.1:8080"), is("http://127.0.0.1:8080"));
        for bad in [
            "http://",
            "http://:80",
            "http://u:p@h",
            "ftp://h",
            "http://a b",
            "http://a:b:1",
        ] {
            assert_eq!(origin(bad), None, "{bad}");
        }
    }

    /// The site of a task in `folder`, or what is wrong, its first line.
    fn site_of(folder: &Path, tables: &str) -> Result<StartSite, String> {
        let text = format!("goal = \"g\"\n{tables}\n[[check]]\nkind = \"url\"\npath = \"/\"\n");
        let file = folder.join("t.toml");
        match parse(&text, file.to_str().unwrap(), "t") {
            Ok(task) => Ok(task.start.site),
            Err(error) => Err(error.to_string().lines().next().unwrap().to_owned()),
        }
    }

    #[test]
    fn a_site_may_be_a_list_a_table_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let tables = "[site]\norigins = [\"http://a:1\", \"http://a:2\"]\n[checkpoint]\nsqlite = \
                      [\"{port}.db\"]\n";
        std::fs::create_dir(folder.join("sites")).unwrap();
        std::fs::write(folder.join("sites/s.toml"), tables).unwrap();
        let listed = site_of(
            folder,
            "[start]\nsite = [\"http://a:1\", \"http://a:2\"]\n[checkpoint]\nsqlite = [\"{port}.db\"]",
        )
        .unwrap();
        let table = site_of(folder, &format!("[start]\n{tables}")).unwrap();
        assert_eq!(listed, table);
        let StartSite::Server(listed) = listed else {
            panic!("{listed:?}");
        };
        assert_eq!(listed.folder, folder);
        let named = site_of(folder, "[start]\nsite = \"sites/s.toml\"").unwrap();
        let StartSite::Server(named) = named else {
            panic!("{named:?}");
        };
        assert_eq!(named.folder, folder.join("sites"));
        assert_eq!(
            (&named.servers, &named.checkpoint),
            (&listed.servers, &listed.checkpoint)
        );

        let wrong = |tables: &str| site_of(folder, tables).unwrap_err();
        let missing = wrong("[start]\nsite = \"no.toml\"");
        assert!(missing.contains("t.toml:3:8: cannot read"), "{missing}");
        std::fs::write(folder.join("bad.toml"), "[site]\norigin = 1\n").unwrap();
        let bad = wrong("[start]\nsite = \"bad.toml\"");
        assert!(bad.contains("bad.toml:2:1: unknown key `origin`"), "{bad}");
        let both = wrong(&format!("[start]\nsite = \"demo\"\n{tables}"));
        assert!(both.contains("has a [site] already"), "{both}");
        let demo = wrong("[start]\nsite = \"demo\"\n[checkpoint]\nsqlite = [\"a\"]");
        assert!(demo.contains("needs no [checkpoint]"), "{demo}");
        let number = wrong("[start]\nsite = 7");
        assert!(number.contains("not integer"), "{number}");
    }

    proptest::proptest! {
        #[test]
        fn no_input_panics(text: String) {
            if let Err(error) = parse(&text, "t", "t") {
                assert!(error.line >= 1 && error.column >= 1 && error.width >= 1);
                assert!(!error.to_string().is_empty());
            }
        }
    }
}
