//! An observation's text: what an agent reads of a page.

use crate::types::{Element, ElementState, Observation, Omitted};

/// Options listed with a select; the rest is counted.
const SHOWN_OPTIONS: usize = 12;
/// A text line of the rendering is cut here.
const MAX_LINE: usize = 400;

/// Where an element is, as far as the viewport goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::env) enum Place {
    In,
    Above,
    Below,
    /// Only a layout knows of it.
    #[cfg_attr(not(feature = "browser"), expect(dead_code, reason = "a browser's"))]
    Aside,
}

/// What the rendering needs to know of an element beside the element.
#[derive(Debug, Clone, Copy)]
pub(in crate::env) struct Row {
    pub place: Place,
    /// Elements of one table row or list entry share a group; 0 is none.
    pub group: u32,
}

/// Renders `observation.text` from its elements, at most `budget` tokens (4 bytes each).
///
/// The viewport comes first and whole; what is left of the budget goes to what follows it. The
/// rest is counted in [`Omitted`] and named, with the way to reach it.
pub fn render(observation: &mut Observation, budget: u32) {
    let rows: Vec<Row> = observation
        .elements
        .iter()
        .map(|e| Row {
            place: if e.visible { Place::In } else { Place::Below },
            group: 0,
        })
        .collect();
    render_rows(observation, &rows, budget);
}

/// [`render`], with places and groups known.
pub(in crate::env) fn render_rows(observation: &mut Observation, rows: &[Row], budget: u32) {
    let limit = budget as usize * 4;
    let mut text = format!("\"{}\" {}\n", one_line(&observation.title), observation.url);
    if observation.tabs.len() > 1 {
        text.push_str("tabs:");
        for (i, tab) in observation.tabs.iter().enumerate() {
            let mark = if tab.active { "*" } else { "" };
            text.push_str(&format!(" {}{mark} \"{}\"", i + 1, one_line(&tab.title)));
        }
        text.push('\n');
    }
    for notice in &observation.notices {
        text.push_str(&format!("! {}\n", one_line(&notice.text)));
    }
    let mut omitted = Omitted::default();
    // Room for the closing lines that say what is left out.
    let room = limit.saturating_sub(120);
    let mut full = false;
    let mut previous = 0;
    let mut width = 0;
    for (element, row) in observation.elements.iter().zip(rows) {
        let skip = match row.place {
            Place::Above => {
                omitted.above += 1;
                true
            }
            Place::Aside => {
                omitted.cut += 1;
                true
            }
            Place::In => false,
            Place::Below => full,
        };
        if skip {
            if row.place == Place::Below {
                omitted.below += 1;
            }
            continue;
        }
        let line = line(element);
        if full || text.len() + line.len() + 3 > room {
            full = true;
            match row.place {
                Place::In => omitted.cut += 1,
                Place::Above | Place::Below | Place::Aside => omitted.below += 1,
            }
            continue;
        }
        // Parts of one row or list entry share a line.
        if row.group != 0 && row.group == previous && width + line.len() < 200 {
            text.pop();
            text.push_str(" · ");
            width += line.len() + 4;
        } else {
            width = line.len();
        }
        previous = row.group;
        text.push_str(&line);
        text.push('\n');
    }
    if omitted.above > 0 {
        text.push_str(&format!("… {} more above (scroll up)\n", omitted.above));
    }
    if omitted.cut + omitted.below > 0 {
        let count = omitted.cut + omitted.below;
        text.push_str(&format!("… {count} more below (scroll or find)\n"));
    }
    observation.omitted = omitted;
    observation.tokens = u32::try_from(text.len().div_ceil(4)).unwrap_or(u32::MAX);
    observation.text = text;
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An element as an agent reads it.
pub(in crate::env) fn line(element: &Element) -> String {
    let mut out = String::new();
    if !element.r#ref.is_empty() {
        out.push_str(&format!("[{}] ", element.r#ref));
    }
    match element.role.as_str() {
        "text" => out.push_str(&element.name),
        "heading" => {
            let level = usize::from(element.level % 10).clamp(1, 6);
            out.push_str(&format!("{} {}", "#".repeat(level), element.name));
        }
        role => {
            out.push_str(role);
            if !element.name.is_empty() {
                out.push_str(&format!(" \"{}\"", element.name));
            }
        }
    }
    if let Some(value) = &element.value
        && (element.interactive || !value.is_empty())
    {
        out.push_str(&format!(" value=\"{}\"", one_line(value)));
    }
    for state in &element.states {
        out.push(' ');
        out.push_str(state_word(*state));
    }
    if !element.options.is_empty() {
        let shown: Vec<&str> = element
            .options
            .iter()
            .take(SHOWN_OPTIONS)
            .map(String::as_str)
            .collect();
        out.push_str(&format!(" options: {}", shown.join(" | ")));
        if element.options.len() > SHOWN_OPTIONS {
            out.push_str(&format!(
                " | … {} more",
                element.options.len() - SHOWN_OPTIONS
            ));
        }
    }
    shorten(&out, MAX_LINE)
}

fn state_word(state: ElementState) -> &'static str {
    match state {
        ElementState::Checked => "checked",
        ElementState::Mixed => "mixed",
        ElementState::Selected => "selected",
        ElementState::Expanded => "expanded",
        ElementState::Collapsed => "collapsed",
        ElementState::Pressed => "pressed",
        ElementState::Disabled => "disabled",
        ElementState::Readonly => "readonly",
        ElementState::Required => "required",
        ElementState::Focused => "focused",
        ElementState::Invalid => "invalid",
    }
}

/// At most `max` bytes of `text`, characters kept whole, with a mark where it was cut.
pub(in crate::env) fn shorten(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max)
        .rev()
        .find(|i| text.is_char_boundary(*i))
        .unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Digest, Notice, NoticeKind};

    fn element(number: u32, role: &str, name: &str) -> Element {
        Element {
            r#ref: if number > 0 {
                number.to_string()
            } else {
                String::new()
            },
            role: role.to_owned(),
            name: name.to_owned(),
            value: None,
            states: Vec::new(),
            options: Vec::new(),
            interactive: number > 0,
            visible: true,
            level: 1,
        }
    }

    fn observation(elements: Vec<Element>) -> Observation {
        Observation {
            url: "http://shop.demo/cart".to_owned(),
            title: "Cart".to_owned(),
            text: String::new(),
            tokens: 0,
            elements,
            omitted: Omitted::default(),
            tabs: Vec::new(),
            notices: vec![Notice {
                kind: NoticeKind::Dialog,
                text: "alert \"Hi\nyou\"".to_owned(),
            }],
            digest: Digest::of(""),
            terminal: false,
            screenshot: None,
        }
    }

    #[test]
    fn text_reads_like_a_page() {
        let mut sort = element(9, "combobox", "Sort");
        sort.value = Some("Price".to_owned());
        sort.options = vec!["Price".to_owned(), "Rating".to_owned()];
        let mut search = element(7, "textbox", "Search");
        search.value = Some(String::new());
        search.states = vec![ElementState::Focused];
        let mut page = observation(vec![
            element(3, "link", "Home"),
            search,
            sort,
            element(0, "heading", "Your cart"),
            element(0, "text", "Total: $24.00"),
        ]);
        render(&mut page, 2000);
        insta::assert_snapshot!(page.text, @r#"
        "Cart" http://shop.demo/cart
        ! alert "Hi you"
        [3] link "Home"
        [7] textbox "Search" value="" focused
        [9] combobox "Sort" value="Price" options: Price | Rating
        # Your cart
        Total: $24.00
        "#);
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut page = observation((1..=500).map(|i| element(i, "link", "A product")).collect());
        render(&mut page, 500);
        assert!(page.tokens <= 500, "{}", page.tokens);
        let shown = page.text.matches("A product").count();
        assert_eq!(shown + page.omitted.cut as usize, 500);
        assert!(
            page.text
                .contains(&format!("… {} more below", page.omitted.cut))
        );
    }

    #[test]
    fn shortening_keeps_characters_whole() {
        assert_eq!(shorten("héllo", 2), "h…");
        assert_eq!(shorten("ok", 2), "ok");
    }
}
