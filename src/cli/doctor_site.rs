//! `branchline doctor --site URL`: what a page is to a search, for people.

use crate::env::browser::SiteReport;
use crate::types::SiteNoteKind;

/// Longest text of a place or a reading in one line.
const WIDTH: usize = 60;

/// The report as text, one topic a paragraph.
pub(super) fn site_text(report: &SiteReport) -> String {
    let mut out = format!("\"{}\" {}\n", cut(&report.title), cut(&report.url));
    let covered = &report.covered;
    let mut section = |good: bool, what: &str, lines: Vec<String>| {
        let mark = if good { "ok  " } else { "FAIL" };
        let mut lines = lines.into_iter();
        let first = lines.next().unwrap_or_default();
        out.push_str(&format!("{mark} {what}: {first}\n"));
        for line in lines {
            out.push_str(&format!("       {line}\n"));
        }
    };
    let count =
        |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    section(
        !covered.cut,
        "digest",
        vec![format!(
            "{} covers {}, {} of them usable, {}, {}, {}; focus, scroll, tabs",
            report.digest.short(),
            count(covered.items, "item", "items"),
            covered.usable,
            count(covered.fields, "field", "fields"),
            count(covered.frames, "frame", "frames"),
            count(covered.hidden, "hidden field", "hidden fields"),
        )]
        .into_iter()
        .chain(covered.cut.then(|| {
            "-> the page is too large to read whole: what is at its end does not count".to_owned()
        }))
        .collect(),
    );
    let open = report
        .differences
        .iter()
        .filter(|d| d.masked.is_none())
        .count();
    let mut lines = vec![
        match (&report.not_compared, report.differences.len(), open) {
            (Some(reason), _, _) => format!("could not be compared: {reason}"),
            (None, 0, _) => "are the same state; nothing has to be left out".to_owned(),
            (None, all, 0) => format!(
                "are the same state but for {}, left out of the digest (▒)",
                count(all, "place", "places")
            ),
            (None, all, _) if report.too_many => format!(
                "differ in {all} places, too many to leave out: this site answers differently each time"
            ),
            (None, all, open) => format!(
                "differ in {}, {open} of which may not be left out: this site answers differently each time",
                count(all, "place", "places")
            ),
        },
    ];
    for difference in &report.differences {
        let mark = if difference.masked.is_some() {
            "▒"
        } else {
            "!"
        };
        lines.push(format!("{mark} {}", cut(&difference.place)));
        lines.push(format!(
            "    \"{}\", then \"{}\"",
            cut(&difference.first),
            cut(&difference.second)
        ));
        if let Some(masked) = &difference.masked {
            lines.push(format!("    counts as \"{}\"", cut(masked)));
        }
    }
    if open > 0 {
        lines.push(
            "-> states with these places may not be found again; a search says so where it happens"
                .to_owned(),
        );
    }
    section(
        open == 0 && report.not_compared.is_none(),
        "two loads",
        lines,
    );
    let lines = report
        .restores
        .iter()
        .map(|back| match (&back.restored, &back.failed) {
            (Some(restored), _) => {
                let missed = match restored.misses.len() {
                    0 => String::new(),
                    n => format!(", after {}", count(n, "missed rung", "missed rungs")),
                };
                format!(
                    "{}: equal again, {:?} in {} ms{missed}",
                    cut(&back.state),
                    restored.rung,
                    restored.ms
                )
            }
            (None, reason) => format!(
                "{}: not found again: {}",
                cut(&back.state),
                reason.as_deref().unwrap_or("no reason given")
            ),
        });
    let good = report.restores.iter().all(|back| back.restored.is_some());
    section(good, "going back", lines.collect());
    let list = |items: &[String]| match items {
        [] => "none".to_owned(),
        items => items
            .iter()
            .map(|item| cut(item))
            .collect::<Vec<_>>()
            .join(", "),
    };
    let mut fact = |what: &str, text: String| out.push_str(&format!("--   {what}: {text}\n"));
    fact("cookies", list(&report.cookies));
    let workers = match report.service_workers.as_slice() {
        [] => "none".to_owned(),
        some => format!("{}, bypassed: {}", some.len(), list(some)),
    };
    fact("service workers", workers);
    for note in &report.notes {
        match note.kind {
            // They have a line of their own.
            SiteNoteKind::Differs | SiteNoteKind::ServiceWorker => {}
            SiteNoteKind::Socket
            | SiteNoteKind::Refused
            | SiteNoteKind::Stream
            | SiteNoteKind::TooLarge
            | SiteNoteKind::PopupBlocked
            | SiteNoteKind::SessionEnded
            | SiteNoteKind::SessionReplaced
            | SiteNoteKind::Unauthorised
            | SiteNoteKind::LeftBehind => fact("hinders", plain(&note.text)),
        }
    }
    if !report.held.is_empty() {
        fact("writes held", list(&report.held));
    }
    for notice in &report.notices {
        fact("noticed", cut(notice));
    }
    out
}

/// One line without control characters: a page's text must not steer a terminal.
fn plain(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let words = words.join(" ");
    words.chars().filter(|c| !c.is_control()).collect()
}

/// The same, of at most [`WIDTH`] characters.
fn cut(text: &str) -> String {
    let plain = plain(text);
    if plain.chars().count() <= WIDTH {
        return plain;
    }
    let short: String = plain.chars().take(WIDTH - 1).collect();
    format!("{short}…")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::browser::{Covered, Difference, TakenBack};
    use crate::types::{Digest, Restored, Rung, SiteNote};

    fn report() -> SiteReport {
        SiteReport {
            url: "http://shop.example/".to_owned(),
            title: "Shop".to_owned(),
            digest: Digest::of("shop"),
            covered: Covered {
                items: 61,
                usable: 40,
                fields: 3,
                frames: 1,
                hidden: 2,
                cut: false,
            },
            differences: vec![Difference {
                place: "text at footer>p1".to_owned(),
                first: "visitor 17 of 20".to_owned(),
                second: "visitor 18 of 20".to_owned(),
                masked: Some("visitor ▒ of 20".to_owned()),
            }],
            too_many: false,
            not_compared: None,
            restores: vec![TakenBack {
                state: "the start".to_owned(),
                restored: Some(Restored {
                    rung: Rung::Document,
                    misses: Vec::new(),
                    learned: None,
                    actions: 0,
                    ms: 81,
                }),
                failed: None,
            }],
            held: Vec::new(),
            cookies: vec!["session (HttpOnly, session)".to_owned()],
            service_workers: Vec::new(),
            notes: Vec::new(),
            notices: Vec::new(),
        }
    }

    #[test]
    fn a_good_site_reads_well() {
        let report = report();
        assert!(report.is_good());
        insta::assert_snapshot!(site_text(&report), @r#"
        "Shop" http://shop.example/
        ok   digest: 842add7b covers 61 items, 40 of them usable, 3 fields, 1 frame, 2 hidden fields; focus, scroll, tabs
        ok   two loads: are the same state but for 1 place, left out of the digest (▒)
               ▒ text at footer>p1
                   "visitor 17 of 20", then "visitor 18 of 20"
                   counts as "visitor ▒ of 20"
        ok   going back: the start: equal again, Document in 81 ms
        --   cookies: session (HttpOnly, session)
        --   service workers: none
        "#);
    }

    #[test]
    fn a_site_that_differs_each_time_is_named() {
        let mut report = report();
        report.differences.push(Difference {
            place: "button at main>button1".to_owned(),
            first: "Buy now".to_owned(),
            second: "Add to\u{1b}[2J cart".to_owned(),
            masked: None,
        });
        report.restores.push(TakenBack {
            state: "click link \"Sale\"".to_owned(),
            restored: None,
            failed: Some("restored to another state".to_owned()),
        });
        report
            .held
            .push("POST http://shop.example/track".to_owned());
        report
            .service_workers
            .push("http://shop.example/".to_owned());
        for (kind, text) in [
            (SiteNoteKind::ServiceWorker, "bypassed"),
            (
                SiteNoteKind::Socket,
                "pages talk by WebSocket (ws://shop.example/live): they are only come back to by replay",
            ),
        ] {
            let text = text.to_owned();
            report.notes.push(SiteNote { kind, text });
        }
        assert!(!report.is_good());
        insta::assert_snapshot!(site_text(&report), @r#"
        "Shop" http://shop.example/
        ok   digest: 842add7b covers 61 items, 40 of them usable, 3 fields, 1 frame, 2 hidden fields; focus, scroll, tabs
        FAIL two loads: differ in 2 places, 1 of which may not be left out: this site answers differently each time
               ▒ text at footer>p1
                   "visitor 17 of 20", then "visitor 18 of 20"
                   counts as "visitor ▒ of 20"
               ! button at main>button1
                   "Buy now", then "Add to[2J cart"
               -> states with these places may not be found again; a search says so where it happens
        FAIL going back: the start: equal again, Document in 81 ms
               click link "Sale": not found again: restored to another state
        --   cookies: session (HttpOnly, session)
        --   service workers: 1, bypassed: http://shop.example/
        --   hinders: pages talk by WebSocket (ws://shop.example/live): they are only come back to by replay
        --   writes held: POST http://shop.example/track
        "#);
    }
}
