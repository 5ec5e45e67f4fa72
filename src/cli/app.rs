//! Parsing, logging, dispatch, exit code.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::{
    CliError, Exit, bench, demo, doctor, export, fetch, import, judge, replay, run, tools,
};
use crate::context::Cx;

/// Tree search for web agents, in a real browser: act, take it back, prove it.
///
/// A strategy explores a task as a tree of states. To try another branch, the state is restored
/// and verified; the best path is then executed once, cleanly, and judged. Everything is recorded
/// and can be replayed.
///
/// First steps:
///   branchline demo                                   a search in the built-in shop, no key needed
///   branchline run demo --strategy greedy             all demo tasks, one way only
///   branchline fetch miniwob                          130 pages that nobody here wrote
///   branchline run 'miniwob/click-tab?seed=1'         search on one of them
///   branchline run TASK --model NAME --base-url URL   with a language model
///
/// Exit codes: 0 solved or done, 1 not solved, 2 usage, 3 environment, 4 model provider,
/// 5 record, 130 interrupted.
#[derive(Debug, Parser)]
#[command(
    name = "branchline",
    version,
    verbatim_doc_comment,
    propagate_version = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Log what happens inside to stderr; repeat for more (or set `RUST_LOG`).
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Search for a path that solves a task, or every task of a suite.
    Run(run::RunArgs),
    /// Watch a search work in the built-in shop; installs a browser if there is none.
    Demo(demo::DemoArgs),
    /// Make runs of other programs' search trees: they replay and report like ours.
    Import(import::ImportArgs),
    /// Print the file that an imported run came from, rebuilt from its log alone.
    Export(export::ExportArgs),
    Judge(judge::JudgeArgs),
    /// Rebuild a run's tree from its log alone; fails if it differs from the recorded one.
    Replay(replay::ReplayArgs),
    /// Get benchmarks that are not part of the program.
    Fetch(FetchArgs),
    /// Look at the browser, the model endpoint and the disk, and say what to do.
    Doctor(doctor::DoctorArgs),
    /// Tools of OpenAPI documents and MCP servers: list, show, call, check.
    Tools(tools::ToolsArgs),
    /// Measure this machine: restores, whole rounds, the search core, single pages.
    Bench(bench::BenchArgs),
}

#[derive(Debug, clap::Args)]
struct FetchArgs {
    /// What to get.
    #[arg(value_enum)]
    what: Fetchable,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Fetchable {
    /// MiniWoB++ 1.1.0: 130 small task pages (MIT), by pip, checksum pinned.
    Miniwob,
    /// BFCL's multi-turn backends and tasks (bfcl-eval 2026.3.23, Apache-2.0), by pip into a virtual
    /// environment of their own, checksums pinned.
    Bfcl,
}

/// The program: parses the arguments, runs the command, gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; clap knows which stream each belongs to.
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            error.print().ok();
            return exit.into();
        }
    };
    log(cli.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&CliError::new(Exit::Environment, format!("no threads: {error}")).to_string());
            return Exit::Environment.into();
        }
    };
    let result = runtime.block_on(async {
        let cx = interruptible();
        match cli.command {
            Command::Run(args) => Box::pin(run::run(args, &cx)).await,
            Command::Demo(args) => demo::demo(args, &cx).await,
            Command::Import(args) => import::import(&args),
            Command::Export(args) => export::export(&args),
            Command::Judge(args) => judge::judge(args, &cx).await,
            Command::Replay(args) => replay::replay(&args),
            Command::Fetch(FetchArgs { what }) => match what {
                Fetchable::Miniwob => miniwob(),
                Fetchable::Bfcl => bfcl(),
            },
            Command::Doctor(args) => doctor::doctor(args, &cx).await,
            Command::Tools(args) => tools::tools(args, &cx).await,
            Command::Bench(args) => bench::bench(args, &cx).await,
        }
    });
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            say(&error.to_string());
            error.exit.into()
        }
    }
}

fn miniwob() -> Result<Exit, CliError> {
    let path = fetch::fetch_miniwob(&mut |line| say(line)).map_err(|error| {
        let hint = error.hint();
        CliError::new(Exit::Environment, error).hint(hint)
    })?;
    say(&format!("MiniWoB is in {}", path.display()));
    say("try: branchline run 'miniwob/click-tab?seed=1'");
    Ok(Exit::Done)
}

fn bfcl() -> Result<Exit, CliError> {
    let path = fetch::fetch_bfcl(&mut |line| say(line)).map_err(|error| {
        let hint = error.hint();
        CliError::new(Exit::Environment, error).hint(hint)
    })?;
    say(&format!("BFCL is in {}", path.display()));
    say("try: branchline run 'bfcl/multi_turn_base?n=0..9'");
    Ok(Exit::Done)
}

/// A context that Ctrl-C cancels. The second Ctrl-C does not wait for a clean stop; no browser is
/// left behind all the same.
fn interruptible() -> Cx {
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        asked_to_stop().await;
        say("\nstopping: the log is being completed (Ctrl-C again to stop at once)");
        cancel.cancel();
        asked_to_stop().await;
        std::process::exit(i32::from(Exit::Interrupted.code()));
    });
    Cx::new(token)
}

/// Waits for Ctrl-C, a termination request or the end of the terminal.
async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let one = |kind: SignalKind| async move {
        match signal(kind) {
            Ok(mut stream) => stream.recv().await,
            // A signal that cannot be watched keeps its default.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = one(SignalKind::interrupt()) => {}
        _ = one(SignalKind::terminate()) => {}
        _ = one(SignalKind::hangup()) => {}
    }
}

fn log(verbose: u8) {
    let level = match verbose {
        0 => "error",
        1 => "branchline=info",
        2 => "branchline=debug",
        _ => "branchline=trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

/// A line for people, on stderr.
#[expect(clippy::print_stderr, reason = "the command line's own voice")]
pub(super) fn say(line: &str) {
    eprintln!("{line}");
}

/// A result, on stdout.
pub(super) fn print(text: &str) {
    use std::io::Write;
    // A closed pipe (`| head`) is the reader's choice, not an error.
    writeln!(std::io::stdout(), "{text}").ok();
}
