//! `branchline doctor`: what this machine has, and what to do about what it lacks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::app::{print, say};
use super::doctor_site::site_text;
use super::install::install_browser;
use super::models::EndpointArgs;
use super::{CliError, Exit};
use crate::context::Cx;
use crate::env::OpenError;
use crate::env::browser::{
    BrowserBinary, BrowserConfig, Chromium, browser_version, find_browser, inspect,
};
use crate::llm::{ChatModel, ChatRequest, Message, OpenAi, ResponseFormat, Role};
use crate::task::data_dir;
use crate::task::miniwob;

/// Less free disk than this is worth a warning: a long run with screenshots takes some.
const LOW_DISK_MIB: u64 = 500;

/// Options of `branchline doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Install a browser if there is none (Debian and Ubuntu, with apt).
    #[arg(long)]
    install: bool,
    /// Where records will be kept.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    out: PathBuf,
    /// The browser to look at [default: looked for on PATH].
    #[arg(long, value_name = "FILE", env = "BRANCHLINE_BROWSER")]
    browser: Option<PathBuf>,
    /// Look at this page instead: load it twice, try an action or two, go back; nothing is written.
    #[arg(long, value_name = "URL")]
    site: Option<String>,
    #[command(flatten)]
    models: EndpointArgs,
}

/// `branchline doctor`.
pub(super) async fn doctor(args: DoctorArgs, cx: &Cx) -> Result<Exit, CliError> {
    if let Some(url) = &args.site {
        return site(&args, url, cx).await;
    }
    let mut exit = Exit::Done;
    let mut report = |good: bool, what: &str, detail: &str, otherwise: Exit| {
        print(&format!(
            "{} {what}: {detail}",
            if good { "ok  " } else { "FAIL" }
        ));
        if !good {
            exit = exit.max(otherwise);
        }
    };
    match browser(&args, cx).await {
        Ok(detail) => report(true, "browser", &detail, Exit::Environment),
        Err(error) => report(false, "browser", &indented(&error), Exit::Environment),
    }
    match model(&args.models, cx).await {
        Ok(Some(detail)) => report(true, "model", &detail, Exit::Provider),
        Ok(None) => print(
            "--   model: none chosen (--model NAME --base-url URL); the lexical policy needs none",
        ),
        Err(error) => report(false, "model", &indented(&error), Exit::Provider),
    }
    match free_mib(&args.out) {
        Some(mib) if mib >= LOW_DISK_MIB => {
            report(
                true,
                "disk",
                &format!("{mib} MiB free for {}", args.out.display()),
                Exit::Record,
            );
        }
        Some(mib) => report(
            false,
            "disk",
            &format!(
                "{mib} MiB free for {}: free some, or use --out",
                args.out.display()
            ),
            Exit::Record,
        ),
        None => print("--   disk: `df` does not tell"),
    }
    match data_dir() {
        Some(data) if miniwob::is_fetched(&data) => {
            print(&format!(
                "ok   miniwob: in {}",
                miniwob::html_dir(&data).display()
            ));
        }
        _ => print("--   miniwob: not fetched (`branchline fetch miniwob`)"),
    }
    Ok(exit)
}

/// Looks at a page of a site.
async fn site(args: &DoctorArgs, url: &str, cx: &Cx) -> Result<Exit, CliError> {
    let config = BrowserConfig {
        binary: args.browser.clone().map(BrowserBinary::at),
        ..BrowserConfig::default()
    };
    let report = inspect(config, url, cx).await.map_err(|error| {
        let hint = match &error {
            OpenError::Missing { hint, .. } => hint.clone(),
            _ => "check the URL, and that the server is running".to_owned(),
        };
        CliError::new(Exit::Environment, error).hint(hint)
    })?;
    print(site_text(&report).trim_end());
    Ok(if report.is_good() {
        Exit::Done
    } else {
        Exit::Environment
    })
}

fn indented(error: &CliError) -> String {
    let mut text = error.message.clone();
    for hint in &error.hints {
        text.push_str("\n       -> ");
        text.push_str(hint);
    }
    text
}

/// Finds the browser, installs it if asked to, starts it once.
async fn browser(args: &DoctorArgs, cx: &Cx) -> Result<String, CliError> {
    let mut found = args
        .browser
        .clone()
        .map(BrowserBinary::at)
        .or_else(find_browser);
    if found.is_none() && args.install {
        let installed = install_browser(&mut |line| say(line)).map_err(|error| {
            let hint = error.hint();
            CliError::new(Exit::Environment, error).hint(hint)
        })?;
        found = Some(installed);
    }
    let binary = found.ok_or_else(|| {
        CliError::new(Exit::Environment, "no Chromium was found")
            .hint("`branchline doctor --install` installs one with apt (Debian, Ubuntu)")
            .hint("or put Chromium or Chrome on PATH, or name one in BRANCHLINE_BROWSER")
    })?;
    let fail = |error: &dyn std::fmt::Display| {
        CliError::new(Exit::Environment, error).hint(format!(
            "try it by hand: {} --version",
            binary.path.display()
        ))
    };
    let version = browser_version(&binary.path).map_err(|error| fail(&error))?;
    let begun = std::time::Instant::now();
    let chromium = Chromium::launch(&binary, cx)
        .await
        .map_err(|error| fail(&error))?;
    let started = begun.elapsed();
    chromium.close().await;
    Ok(format!(
        "{version}, {} (starts in {} ms)",
        binary.path.display(),
        started.as_millis()
    ))
}

/// Asks the endpoint for one token.
async fn model(args: &EndpointArgs, cx: &Cx) -> Result<Option<String>, CliError> {
    let Some(config) = args.config()? else {
        return Ok(None);
    };
    let url = config.base_url.clone();
    let model = OpenAi::new(config).map_err(|error| CliError::new(Exit::Provider, error))?;
    let request = ChatRequest {
        messages: vec![Message::new(Role::User, "Reply with the word ok.")],
        tools: Vec::new(),
        format: ResponseFormat::Text,
        n: 1,
        temperature: 0.0,
        top_p: None,
        seed: Some(0),
        max_tokens: 4,
        top_logprobs: Some(2),
    };
    let limited = cx.within(Duration::from_mins(1));
    let reply = model.chat(&request, &limited).await.map_err(|error| {
        CliError::new(Exit::Provider, error)
            .hint(format!("is {url} right, and the key in ${}?", args.key_env))
    })?;
    let logprobs = reply
        .choices
        .first()
        .is_some_and(|choice| choice.logprobs.is_some());
    Ok(Some(format!(
        "{} at {url} answers in {} ms; log-probabilities {}; {}",
        reply.model,
        reply.cost.wall_ms,
        if logprobs {
            "yes"
        } else {
            "no (use --critic rubric)"
        },
        if model.priced() {
            "its price is known"
        } else {
            "its price is not known: money stays 0"
        },
    )))
}

/// Free disk where `dir` is or would be made.
fn free_mib(dir: &Path) -> Option<u64> {
    let dir = std::path::absolute(dir).ok()?;
    let there = dir.ancestors().find(|path| path.exists())?;
    let output = std::process::Command::new("df")
        .args(["-Pm"])
        .arg(there)
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}
