//! The import law, the purity of the search, and no forgotten test file: from the sources' text.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails the test it serves"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Who may use whom, among the top modules. `*` is everything. Tests inside a module are free.
const LAW: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("context", &[]),
    ("located", &[]),
    ("http", &[]),
    ("search", &["types"]),
    ("env", &["types", "context", "located", "http"]),
    ("llm", &["types", "context", "http"]),
    ("policy", &["types", "context", "llm"]),
    ("critic", &["types", "context", "llm"]),
    ("record", &["types", "search"]),
    (
        "judge",
        &["types", "context", "search", "llm", "record", "eval"],
    ),
    ("retrieval", &["types", "context", "env", "llm"]),
    ("eval", &["types", "context", "env", "llm"]),
    (
        "task",
        &["types", "context", "located", "search", "eval", "env"],
    ),
    (
        "runtime",
        &[
            "types", "context", "search", "env", "llm", "policy", "critic", "record", "task",
            "eval",
        ],
    ),
    ("demo", &["types", "context", "env"]),
    (
        "report",
        &["types", "search", "record", "runtime", "eval", "task"],
    ),
    ("cli", &["*"]),
    ("main", &["cli"]),
    ("lib", &[]),
];

/// What a pure, repeatable search cannot name.
const IMPURE: &[&str] = &[
    "async",
    "await",
    "tokio",
    "std::time",
    "Instant",
    "SystemTime",
    "std::fs",
    "std::net",
    "std::thread",
    "std::process",
    "std::env",
    "std::io",
    "static mut",
    "thread_local",
    "HashMap",
    "HashSet",
    "RandomState",
];

// ---------------------------------------------------------------- reading sources

/// The text without comments and without the contents of string literals.
fn code(source: &str) -> String {
    let mut out = String::new();
    let mut rest = source;
    while let Some(next) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if rest.starts_with("/*") {
            rest = &rest[block_comment(rest)..];
        } else if let Some(end) = raw_string(rest, &out) {
            out.push_str("\"\"");
            rest = &rest[end..];
        } else if next == '"' {
            out.push_str("\"\"");
            rest = &rest[string(rest)..];
        } else if let Some(end) = character(rest) {
            out.push_str("' '");
            rest = &rest[end..];
        } else {
            out.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    out
}

/// Length of the (nested) block comment that `text` starts with.
fn block_comment(text: &str) -> usize {
    let (mut level, mut at) = (0, 0);
    loop {
        if text[at..].starts_with("/*") {
            (level, at) = (level + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (level, at) = (level - 1, at + 2);
        } else {
            match text[at..].chars().next() {
                Some(c) => at += c.len_utf8(),
                None => return at,
            }
        }
        if level == 0 {
            return at;
        }
    }
}

/// Length of the string literal that `text` starts with.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of the raw string literal that `text` starts with, if it does.
fn raw_string(text: &str, before: &str) -> Option<usize> {
    if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') && !before.ends_with('b') {
        return None;
    }
    let hashes = text
        .strip_prefix('r')?
        .bytes()
        .take_while(|b| *b == b'#')
        .count();
    let body = text[1 + hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = body.find(&close).map_or(body.len(), |at| at + close.len());
    Some(2 + hashes + end)
}

/// Length of the character literal that `text` starts with, if it does (it may be a lifetime).
fn character(text: &str) -> Option<usize> {
    let mut chars = text.strip_prefix('\'')?.char_indices();
    let (_, first) = chars.next()?;
    if first == '\\' {
        chars.next();
        return chars.find(|(_, c)| *c == '\'').map(|(at, _)| at + 2);
    }
    chars
        .next()
        .filter(|(_, c)| *c == '\'')
        .map(|(at, _)| at + 2)
}

/// The text without `#[cfg(test)] mod … { … }` and other items only tests see.
fn production(code: &str) -> String {
    let mut out = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..at]);
        let item = &rest[at..];
        let end = item.find(['{', ';']).unwrap_or(item.len());
        rest = if item[end..].starts_with('{') {
            &item[end + block(&item[end..])..]
        } else {
            &item[(end + 1).min(item.len())..]
        };
    }
    out + rest
}

/// Length of the braced block that `text` starts with.
fn block(text: &str) -> usize {
    let mut level = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => level += 1,
            '}' => level -= 1,
            _ => {}
        }
        if level == 0 {
            return at + 1;
        }
    }
    text.len()
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// The first names after a path prefix: `a` of `a::b`, `a` and `c` of `{a::b, c}`.
fn heads(text: &str) -> Vec<String> {
    let text = text.trim_start();
    if !text.starts_with('{') {
        return vec![identifier(text).to_owned()];
    }
    let inside = &text[1..block(text).saturating_sub(1).max(1)];
    let (mut level, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in inside.char_indices() {
        match c {
            '{' => level += 1,
            '}' => level -= 1,
            ',' if level == 0 => {
                parts.push(&inside[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inside[start..]);
    let named = parts
        .iter()
        .map(|part| identifier(part.trim_start()).to_owned());
    named.filter(|name| !name.is_empty()).collect()
}

/// The top modules that `code` names: by `crate::`, by `branchline::` (in the binary) or by enough
/// `super::`. `depth` is the number of modules the file lies under the crate's root.
fn imports(code: &str, depth: usize) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for root in ["crate::", "branchline::"] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            if !before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                found.extend(heads(&code[at + root.len()..]));
            }
        }
    }
    let mut rest = code;
    while let Some(at) = rest.find("super::") {
        let (mut ups, mut tail) = (0, &rest[at..]);
        while let Some(further) = tail.strip_prefix("super::") {
            (ups, tail) = (ups + 1, further);
        }
        if ups >= depth {
            found.extend(heads(tail));
        }
        rest = tail;
    }
    found
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The top module a file belongs to, and how many modules deep the file is.
fn place(relative: &Path) -> (String, usize) {
    let parts: Vec<_> = relative
        .with_extension("")
        .iter()
        .map(|part| part.to_str().unwrap().to_owned())
        .collect();
    let own = usize::from(parts.last().is_some_and(|last| last != "mod"));
    (parts[0].clone(), parts.len() - 1 + own)
}

// ---------------------------------------------------------------- the law

#[test]
fn modules_import_only_what_the_law_allows() {
    let src = root().join("src");
    let mut broken = Vec::new();
    let top: BTreeSet<&str> = LAW.iter().map(|(name, _)| *name).collect();
    for file in rust_files(&src) {
        let relative = file.strip_prefix(&src).unwrap();
        let (module, depth) = place(relative);
        let Some((_, allowed)) = LAW.iter().find(|(name, _)| *name == module) else {
            broken.push(format!("{}: `{module}` is not in LAW", relative.display()));
            continue;
        };
        let text = std::fs::read_to_string(&file).unwrap();
        for used in imports(&production(&code(&text)), depth) {
            let ours = top.contains(used.as_str()) && used != module;
            let fine = allowed.contains(&"*") || allowed.contains(&used.as_str());
            if ours && !fine {
                broken.push(format!("{}: uses `{used}`", relative.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_law_has_no_cycle_and_nothing_imports_the_cli() {
    // Repeatedly take away what depends on nothing left; a cycle would remain.
    let mut left: Vec<_> = LAW.iter().filter(|(name, _)| *name != "cli").collect();
    left.retain(|(name, _)| *name != "main");
    assert!(left.iter().all(|(_, uses)| !uses.contains(&"cli")));
    while !left.is_empty() {
        let names: BTreeSet<&str> = left.iter().map(|(name, _)| *name).collect();
        let before = left.len();
        left.retain(|(_, uses)| uses.iter().any(|used| names.contains(used)));
        assert!(left.len() < before, "a cycle among {names:?}");
    }
}

#[test]
fn the_search_is_pure() {
    let mut broken = Vec::new();
    for file in rust_files(&root().join("src/search")) {
        let text = code(&std::fs::read_to_string(&file).unwrap());
        for word in words(&text, IMPURE) {
            broken.push(format!("{}: names `{word}`", file.display()));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Which of `wanted` occur as whole words.
fn words<'a>(text: &str, wanted: &[&'a str]) -> Vec<&'a str> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let whole = |word: &str| {
        text.match_indices(word).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let after = text[at + word.len()..].chars().next();
            !before.is_some_and(part) && !after.is_some_and(part)
        })
    };
    wanted.iter().copied().filter(|word| whole(word)).collect()
}

#[test]
fn every_test_file_is_part_of_the_binary() {
    let dir = root().join("tests/it");
    let main = code(&std::fs::read_to_string(dir.join("main.rs")).unwrap());
    let mut forgotten = Vec::new();
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let is_module = path.extension().is_some_and(|e| e == "rs") || path.join("mod.rs").exists();
        if is_module && name != "main" && !main.contains(&format!("mod {name};")) {
            forgotten.push(name);
        }
    }
    assert!(forgotten.is_empty(), "not in main.rs: {forgotten:?}");
    for file in rust_files(&root().join("tests")) {
        assert!(
            file.starts_with(&dir),
            "{} is a second binary",
            file.display()
        );
    }
}

// ---------------------------------------------------------------- the scanner itself

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn the_scanner_sees_every_way_to_import() {
    let source = r##"
        //! crate::cli in a comment
        /* crate::cli /* nested */ crate::cli */
        use crate::{types::{Action, Cost}, context::Cx};
        use crate::llm;
        fn f<'a>(x: &'a str) -> char { let s = "crate::cli \" crate::cli"; '"' }
        const R: &str = r#"crate::cli " crate::cli"#;
        fn g() { crate::env::open(); super::super::record::x(); super::sibling(); }
        #[cfg(test)]
        mod tests { use crate::report::x; fn f() { if true {} } }
        #[cfg(test)]
        use crate::demo::y;
        fn h() { crate::critic::z() }
    "##;
    let all = imports(&production(&code(source)), 2);
    assert_eq!(
        all,
        set(&["types", "context", "llm", "env", "record", "critic"])
    );
    assert_eq!(
        imports("use super::eval::x; use mycrate::cli;", 1),
        set(&["eval"])
    );
    assert_eq!(imports("use super::eval::x;", 2), set(&[]));
}

#[test]
fn a_file_knows_its_place() {
    assert_eq!(place(Path::new("search/mod.rs")), ("search".to_owned(), 1));
    assert_eq!(place(Path::new("search/tree.rs")), ("search".to_owned(), 2));
    assert_eq!(
        place(Path::new("env/browser/mod.rs")),
        ("env".to_owned(), 2)
    );
    assert_eq!(place(Path::new("context.rs")), ("context".to_owned(), 1));
}

#[test]
fn impure_words_are_found_whole() {
    let text = "use std::time::Duration; async fn f() {} let asynchronous = 1;";
    assert_eq!(words(text, IMPURE), ["async", "std::time"]);
    assert_eq!(words("fn asynchronous() {}", IMPURE), [""; 0]);
}
