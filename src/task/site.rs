//! Reads what a task or site file says about a site's servers.
//!
//! The tables `[site]` and `[checkpoint]` may stand in the task itself or in a file of their own
//! that several tasks name in `start.site`.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::env::server::{Checkpoint, Hook, Launch, ServerSpec, Servers};
use crate::located::{self, Fault, FormatError};

/// No site file is larger than this, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// Servers started at a time, where nothing is said.
const MOST: NonZeroUsize = NonZeroUsize::new(4).expect("4 is not 0");
/// Seconds that starting, saving and putting back may take, where nothing is said.
const SECONDS: NonZeroU64 = NonZeroU64::new(30).expect("30 is not 0");
/// Megabytes that a site's checkpoints may take, where nothing is said.
const MEGABYTES: NonZeroU32 = NonZeroU32::new(1024).expect("1024 is not 0");

/// The `[site]` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSite {
    origins: Option<Spanned<Vec<Spanned<String>>>>,
    command: Option<Spanned<Vec<String>>>,
    copy: Option<Spanned<Vec<PathBuf>>>,
    env: Option<Spanned<BTreeMap<String, String>>>,
    ready: Option<Spanned<String>>,
    seconds: Option<Spanned<NonZeroU64>>,
    most: Option<Spanned<NonZeroUsize>>,
}

/// The `[checkpoint]` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCheckpoint {
    sqlite: Option<Spanned<Vec<Spanned<String>>>>,
    save: Option<Spanned<Vec<String>>>,
    restore: Option<Spanned<Vec<String>>>,
    save_url: Option<Spanned<String>>,
    restore_url: Option<Spanned<String>>,
    headers: Option<Spanned<BTreeMap<String, String>>>,
    seconds: Option<NonZeroU64>,
    megabytes: Option<NonZeroU32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    site: Spanned<RawSite>,
    checkpoint: Option<Spanned<RawCheckpoint>>,
}

/// Reads a site file. `name` is how the task calls it.
///
/// # Errors
/// Why it could not be read, in words.
pub(super) fn load(path: &Path) -> Result<Result<ServerSpec, FormatError>, String> {
    let words = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    if std::fs::metadata(path).map_err(words)?.len() > MAX_FILE {
        return Err(format!("{} is larger than 1 MiB", path.display()));
    }
    let text = std::fs::read_to_string(path).map_err(words)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.display().to_string();
    Ok(parse(&text, folder).map_err(|fault| fault.locate(&text, &name)))
}

fn parse(text: &str, folder: &Path) -> Result<ServerSpec, Fault> {
    let raw: RawFile = toml::from_str(text)?;
    spec(raw.site, raw.checkpoint, folder)
}

/// The servers of a `[site]` table.
pub(super) fn spec(
    site: Spanned<RawSite>,
    checkpoint: Option<Spanned<RawCheckpoint>>,
    folder: &Path,
) -> Result<ServerSpec, Fault> {
    let whole = site.span();
    let site = site.into_inner();
    let servers = match (site.origins, site.command) {
        (Some(origins), None) => {
            let misplaced = [
                ("copy", site.copy.map(|v| v.span())),
                ("env", site.env.map(|v| v.span())),
                ("ready", site.ready.map(|v| v.span())),
                ("seconds", site.seconds.map(|v| v.span())),
                ("most", site.most.map(|v| v.span())),
            ];
            if let Some((key, span)) = misplaced
                .into_iter()
                .find_map(|(key, span)| Some((key, span?)))
            {
                return Err(Fault::new(
                    span,
                    format!("`{key}` goes with `command`: servers at `origins` run already"),
                ));
            }
            Servers::Running(self::origins(&origins)?)
        }
        (None, Some(command)) => {
            let ready = site.ready.as_ref();
            if let Some(ready) = ready.filter(|path| !path.get_ref().starts_with('/')) {
                return Err(Fault::new(
                    ready.span(),
                    "expected a path of the server that starts with a slash",
                ));
            }
            let command = argv("command", command)?;
            if !command.iter().any(|word| word.contains("{port}"))
                && !site.env.as_ref().is_some_and(|env| {
                    let mut values = env.get_ref().values();
                    values.any(|value| value.contains("{port}"))
                })
            {
                return Err(Fault::new(
                    whole,
                    "`command` says nowhere on which port to listen: write `{port}` there",
                ));
            }
            Servers::Started(Launch {
                command,
                copy: site.copy.map(Spanned::into_inner).unwrap_or_default(),
                env: site.env.map(Spanned::into_inner).unwrap_or_default(),
                ready: site
                    .ready
                    .map_or_else(|| "/".to_owned(), Spanned::into_inner),
                seconds: site.seconds.map_or(SECONDS, Spanned::into_inner),
                most: site.most.map_or(MOST, Spanned::into_inner),
            })
        }
        _ => {
            return Err(Fault::new(
                whole,
                "a [site] needs exactly one of `origins`, servers that run already, and `command`, \
                 which starts one",
            ));
        }
    };
    with_checkpoint(servers, checkpoint, folder)
}

/// Servers with their `[checkpoint]` table.
pub(super) fn with_checkpoint(
    servers: Servers,
    checkpoint: Option<Spanned<RawCheckpoint>>,
    folder: &Path,
) -> Result<ServerSpec, Fault> {
    let checkpoint = checkpoint.map(|raw| self::checkpoint(raw, &servers));
    let checkpoint = checkpoint.transpose()?;
    // A plain origin knows no paths, and its record should not hold this machine's.
    let folder = match (&servers, &checkpoint) {
        (Servers::Running(_), None) => PathBuf::new(),
        _ => located::absolute(folder),
    };
    Ok(ServerSpec {
        servers,
        checkpoint,
        folder,
    })
}

fn checkpoint(raw: Spanned<RawCheckpoint>, servers: &Servers) -> Result<Checkpoint, Fault> {
    let several = match servers {
        Servers::Running(origins) => origins.len() > 1,
        Servers::Started(launch) => launch.most.get() > 1,
    };
    let running = matches!(servers, Servers::Running(_));
    let whole = raw.span();
    let raw = raw.into_inner();
    let mut sqlite = Vec::new();
    if let Some(paths) = raw.sqlite {
        if paths.get_ref().is_empty() {
            return Err(Fault::new(paths.span(), "`sqlite` names no file"));
        }
        for path in paths.into_inner() {
            no_secret(path.get_ref(), path.span())?;
            let text = path.get_ref();
            let in_own_folder = !running && !Path::new(text).is_absolute();
            let own = text.contains("{port}") || !running && text.contains("{dir}");
            if several && !own && !in_own_folder {
                return Err(Fault::new(
                    path.span(),
                    "several servers cannot have one file: write `{port}` in its path",
                ));
            }
            if path.get_ref().trim().is_empty() {
                return Err(Fault::new(path.span(), "the path is empty"));
            }
            sqlite.push(path.into_inner());
        }
    }
    let url_span = raw.save_url.as_ref().map(Spanned::span);
    let save = hook("save", raw.save, raw.save_url)?;
    let restore = hook("restore", raw.restore, raw.restore_url)?;
    match (&save, &restore) {
        (Some(_), None) => {
            return Err(Fault::new(
                whole,
                "what `save` saves nothing puts back: give `restore` or `restore_url` too",
            ));
        }
        (None, Some(_)) if sqlite.is_empty() => {
            return Err(Fault::new(
                whole,
                "there is nothing to restore: give `save`, `save_url` or `sqlite` too",
            ));
        }
        (None, None) if sqlite.is_empty() => {
            return Err(Fault::new(
                whole,
                "a [checkpoint] needs at least one of `sqlite`, `save` and `save_url`",
            ));
        }
        _ => {}
    }
    if let Some(span) = url_span.filter(|_| several) {
        return Err(Fault::new(
            span,
            "what one server saved by `save_url` another does not know: give the site one server",
        ));
    }
    let http = [&save, &restore]
        .iter()
        .any(|hook| matches!(hook, Some(Hook::Http { .. })));
    if let Some(headers) = raw.headers.as_ref().filter(|_| !http) {
        return Err(Fault::new(
            headers.span(),
            "`headers` go with `save_url` and `restore_url`",
        ));
    }
    Ok(Checkpoint {
        sqlite,
        save,
        restore,
        headers: raw.headers.map(Spanned::into_inner).unwrap_or_default(),
        seconds: raw.seconds.unwrap_or(SECONDS),
        megabytes: raw.megabytes.unwrap_or(MEGABYTES),
    })
}

fn hook(
    key: &str,
    command: Option<Spanned<Vec<String>>>,
    url: Option<Spanned<String>>,
) -> Result<Option<Hook>, Fault> {
    match (command, url) {
        (None, None) => Ok(None),
        (Some(command), None) => Ok(Some(Hook::Command(argv(key, command)?))),
        (None, Some(url)) => http(&url).map(Some),
        (Some(_), Some(url)) => Err(Fault::new(
            url.span(),
            format!("either `{key}` or `{key}_url`, not both"),
        )),
    }
}

/// `POST /path`, or a URL alone, which is posted to.
fn http(raw: &Spanned<String>) -> Result<Hook, Fault> {
    let text = raw.get_ref().trim();
    no_secret(text, raw.span())?;
    let (method, url) = match text.split_once(char::is_whitespace) {
        Some((method, url)) => (method, url.trim_start()),
        None => ("POST", text),
    };
    let known = ["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&method);
    let whole = url.starts_with("http://") || url.starts_with("https://");
    let bad = |c: char| c.is_whitespace() || c.is_control();
    if !known || !(url.starts_with('/') || whole) || url.contains(bad) {
        return Err(Fault::new(
            raw.span(),
            "expected a method and a path of the server or a URL, such as \"POST /checkpoints/{id}\"",
        ));
    }
    Ok(Hook::Http {
        method: method.to_owned(),
        url: url.to_owned(),
    })
}

fn argv(key: &str, raw: Spanned<Vec<String>>) -> Result<Vec<String>, Fault> {
    let span = raw.span();
    let words = raw.into_inner();
    if words
        .first()
        .is_none_or(|program| program.trim().is_empty())
    {
        let message =
            format!("`{key}` is a program and its arguments, such as [\"./save.sh\", \"{{dir}}\"]");
        return Err(Fault::new(span, message));
    }
    for word in &words {
        no_secret(word, span.clone())?;
    }
    Ok(words)
}

/// Arguments and URLs are shown in errors and in the machine's list of processes.
fn no_secret(text: &str, span: std::ops::Range<usize>) -> Result<(), Fault> {
    if text.contains("{env:") {
        return Err(Fault::new(
            span,
            "`{env:NAME}` may stand in `headers` and `env` only: this would be shown to others",
        ));
    }
    Ok(())
}

/// Origins, at least one.
pub(super) fn origins(raw: &Spanned<Vec<Spanned<String>>>) -> Result<Vec<String>, Fault> {
    let list = raw.get_ref();
    if list.is_empty() {
        return Err(Fault::new(raw.span(), "a site needs at least one origin"));
    }
    let mut found = Vec::new();
    for raw in list {
        let origin = origin(raw.get_ref(), raw.span())?;
        if found.contains(&origin) {
            return Err(Fault::new(
                raw.span(),
                "this server is listed twice: branches would share it",
            ));
        }
        found.push(origin);
    }
    Ok(found)
}

/// An `http` or `https` origin, lower case, without trailing slash.
pub(super) fn origin(text: &str, span: std::ops::Range<usize>) -> Result<String, Fault> {
    let fault = |message: &str| Fault::new(span.clone(), message);
    let lower = text.to_ascii_lowercase();
    let host = ["http://", "https://"]
        .iter()
        .find_map(|scheme| lower.strip_prefix(scheme));
    let Some(host) = host else {
        return Err(fault("expected an origin such as \"https://shop.example\""));
    };
    let host = host.strip_suffix('/').unwrap_or(host);
    if host.contains(['/', '?', '#']) {
        return Err(fault(
            "an origin ends with the host or port; the rest belongs in `path`",
        ));
    }
    if host.contains('@') {
        return Err(fault("an origin holds no user name or password"));
    }
    let (name, port) = match host.rsplit_once(':') {
        // `[::1]`: the last colon is inside the address.
        Some((_, port)) if port.ends_with(']') => (host, None),
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let name_ok = !name.is_empty()
        && !name
            .contains(|c: char| c.is_whitespace() || c.is_control() || "\"<>\\^`{|}%".contains(c))
        && (name.starts_with('[') || !name.contains(':'));
    if !name_ok || port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(fault(
            "expected a host and, if any, a port up to 65535, such as \"http://127.0.0.1:8080\"",
        ));
    }
    Ok(lower.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(text: &str) -> String {
        let Err(fault) = parse(text, Path::new("/sites")) else {
            panic!("it was read: {text}");
        };
        let text = fault.locate(text, "s.toml").to_string();
        text.lines().next().unwrap().to_owned()
    }

    #[test]
    fn a_started_server_with_every_key() {
        let text = r#"
            [site]
            command = ["fossil", "server", "--port", "{port}", "demo.fossil"]
            copy = ["seed/demo.fossil"]
            env = { HOME = "{dir}", KEY = "{env:KEY}" }
            ready = "/home"
            seconds = 9
            most = 2
            [checkpoint]
            sqlite = ["demo.fossil"]
            save = ["./save", "{dir}"]
            restore_url = "PUT /checkpoints/{id}"
            headers = { Authorization = "Bearer {env:TOKEN}" }
            seconds = 3
            megabytes = 7
        "#;
        let got = parse(text, Path::new("/sites")).ok().unwrap();
        let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let want = ServerSpec {
            servers: Servers::Started(Launch {
                command: words(&["fossil", "server", "--port", "{port}", "demo.fossil"]),
                copy: vec!["seed/demo.fossil".into()],
                env: BTreeMap::from([
                    ("HOME".to_owned(), "{dir}".to_owned()),
                    ("KEY".to_owned(), "{env:KEY}".to_owned()),
                ]),
                ready: "/home".into(),
                seconds: NonZeroU64::new(9).unwrap(),
                most: NonZeroUsize::new(2).unwrap(),
            }),
            checkpoint: Some(Checkpoint {
                sqlite: words(&["demo.fossil"]),
                save: Some(Hook::Command(words(&["./save", "{dir}"]))),
                restore: Some(Hook::Http {
                    method: "PUT".into(),
                    url: "/checkpoints/{id}".into(),
                }),
                headers: BTreeMap::from([(
                    "Authorization".to_owned(),
                    "Bearer {env:TOKEN}".to_owned(),
                )]),
                seconds: NonZeroU64::new(3).unwrap(),
                megabytes: NonZeroU32::new(7).unwrap(),
            }),
            folder: "/sites".into(),
        };
        assert_eq!(got, want);
        assert_eq!(got.variables(), ["KEY", "TOKEN"]);
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let run = "[site]\norigins = [\"http://a\", \"http://b\"]\n";
        let start = "[site]\ncommand = [\"x\", \"{port}\"]\n";
        let one = "[site]\norigins = [\"http://a\"]\n";
        let with = |site: &str, rest: &str| fail(&format!("{site}[checkpoint]\n{rest}\n"));
        let all = [
            fail("[site]\n"),
            fail("[site]\norigins = []\n"),
            fail("[site]\norigins = [\"http://a\", \"http://a/\"]\n"),
            fail("[site]\norigins = [\"http://a\"]\nmost = 2\n"),
            fail("[site]\ncommand = [\"server\"]\n"),
            fail("[site]\ncommand = []\n"),
            fail("[site]\ncommand = [\"x\", \"{port}\", \"{env:KEY}\"]\n"),
            with(one, ""),
            with(one, "save = [\"x\"]"),
            with(one, "restore = [\"x\"]"),
            with(one, "sqlite = [\"a\"]\nsave = [\"x\"]\nsave_url = \"/x\""),
            with(one, "save_url = \"FETCH /x\"\nrestore_url = \"/y\""),
            with(one, "sqlite = [\"a\"]\nheaders = { a = \"b\" }"),
            with(one, "sqlite = [\"a\"]\nsqlight = 1"),
            with(run, "sqlite = [\"a.db\"]"),
            with(start, "sqlite = [\"/var/a.db\"]"),
            with(run, "save_url = \"/x\"\nrestore_url = \"/y/{id}\""),
        ];
        insta::assert_snapshot!(all.join("\n"), @r#"
        s.toml:1:1: a [site] needs exactly one of `origins`, servers that run already, and `command`, which starts one
        s.toml:2:11: a site needs at least one origin
        s.toml:2:24: this server is listed twice: branches would share it
        s.toml:3:8: `most` goes with `command`: servers at `origins` run already
        s.toml:1:1: `command` says nowhere on which port to listen: write `{port}` there
        s.toml:2:11: `command` is a program and its arguments, such as ["./save.sh", "{dir}"]
        s.toml:2:11: `{env:NAME}` may stand in `headers` and `env` only: this would be shown to others
        s.toml:3:1: a [checkpoint] needs at least one of `sqlite`, `save` and `save_url`
        s.toml:3:1: what `save` saves nothing puts back: give `restore` or `restore_url` too
        s.toml:3:1: there is nothing to restore: give `save`, `save_url` or `sqlite` too
        s.toml:6:12: either `save` or `save_url`, not both
        s.toml:4:12: expected a method and a path of the server or a URL, such as "POST /checkpoints/{id}"
        s.toml:5:11: `headers` go with `save_url` and `restore_url`
        s.toml:5:1: unknown key `sqlight`, expected one of `sqlite`, `save`, `restore`, `save_url`, `restore_url`, `headers`, `seconds`, `megabytes`; did you mean `sqlite`?
        s.toml:4:11: several servers cannot have one file: write `{port}` in its path
        s.toml:4:11: several servers cannot have one file: write `{port}` in its path
        s.toml:4:12: what one server saved by `save_url` another does not know: give the site one server
        "#);
    }
}
