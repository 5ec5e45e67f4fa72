//! Names of tools and arguments: short, unique, and the same at every load.
//!
//! A name depends on what it names and on nothing else: where two would be equal, **each** gets a
//! short hash of its identity, so that neither order nor a third one changes it.

use std::collections::{BTreeMap, BTreeSet};

/// Longest name of a tool or argument that every provider of models takes.
pub const MAX_NAME: usize = 64;

/// `listPets`, `list-pets` and `List Pets` are `list_pets`; what is no letter or digit of ASCII
/// separates words. Empty if nothing is left.
#[must_use]
pub fn snake(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len() + 8);
    for (at, c) in chars.iter().copied().enumerate() {
        if !c.is_ascii_alphanumeric() {
            if !out.is_empty() && !out.ends_with('_') {
                out.push('_');
            }
            continue;
        }
        let before = at.checked_sub(1).and_then(|at| chars.get(at)).copied();
        let after = chars.get(at + 1).copied();
        // A new word: `tP`, and the `S` of `HTTPServer`.
        let starts = c.is_ascii_uppercase()
            && before.is_some_and(|before| {
                before.is_ascii_lowercase()
                    || before.is_ascii_digit()
                    || (before.is_ascii_uppercase()
                        && after.is_some_and(|after| after.is_ascii_lowercase()))
            });
        if starts && !out.ends_with('_') {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out.truncate(out.trim_end_matches('_').len());
    out
}

/// `name` within `most` characters: the words in its middle give way to a hash of `identity`.
#[must_use]
pub fn fit(name: &str, identity: &str, most: usize) -> String {
    if name.len() <= most {
        return name.to_owned();
    }
    let hash = hash(identity);
    let room = most.saturating_sub(hash.len() + 1);
    let words: Vec<&str> = name.split('_').collect();
    // The first words say what is done, the last to what.
    let (mut head, mut tail, mut used) = (0, words.len(), 0);
    while head < tail {
        let front = head <= words.len() - tail;
        let word = if front { words[head] } else { words[tail - 1] };
        if used + word.len() + 1 > room {
            break;
        }
        used += word.len() + 1;
        if front {
            head += 1;
        } else {
            tail -= 1;
        }
    }
    if head == 0 {
        // One long word.
        let cut: String = name.chars().take(room).collect();
        return format!("{cut}_{hash}");
    }
    let mut kept: Vec<&str> = words[..head].to_vec();
    kept.extend(&words[tail..]);
    kept.push(&hash);
    kept.join("_")
}

/// Unique names for `(wish, identity)` pairs, in their order. Identities must differ.
#[must_use]
pub fn unique(wishes: &[(String, String)]) -> Vec<String> {
    let fitted: Vec<String> = wishes
        .iter()
        .map(|(wish, identity)| fit(wish, identity, MAX_NAME))
        .collect();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for name in &fitted {
        *counts.entry(name).or_default() += 1;
    }
    let mut taken: BTreeSet<String> = fitted
        .iter()
        .filter(|name| counts[name.as_str()] == 1)
        .cloned()
        .collect();
    let mut out = Vec::with_capacity(wishes.len());
    for ((wish, identity), name) in wishes.iter().zip(&fitted) {
        if counts[name.as_str()] == 1 {
            out.push(name.clone());
            continue;
        }
        let hash = hash(identity);
        let short = fit(wish, identity, MAX_NAME - hash.len() - 1);
        let mut made = format!("{short}_{hash}");
        let mut round = 2;
        while taken.contains(&made) {
            made = format!("{}_{round}", fit(wish, identity, MAX_NAME - 12));
            round += 1;
        }
        taken.insert(made.clone());
        out.push(made);
    }
    out
}

/// Six hexadecimal digits.
fn hash(identity: &str) -> String {
    let mut hex = blake3::hash(identity.as_bytes()).to_hex().to_string();
    hex.truncate(6);
    hex
}

/// An argument's name within what providers take for keys: `[A-Za-z0-9_.-]`, 1 to 64 characters.
#[must_use]
pub fn argument(wire: &str) -> String {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let mut name = String::with_capacity(wire.len());
    for c in wire.chars() {
        if fine(c) {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
    }
    let name = name.trim_end_matches('_');
    if name.is_empty() {
        return format!("arg_{}", hash(wire));
    }
    fit(name, wire, MAX_NAME)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_found() {
        for (text, name) in [
            ("listPets", "list_pets"),
            ("HTTPServer", "http_server"),
            ("get /pets/{petId}", "get_pets_pet_id"),
            ("v2Users", "v2_users"),
            ("__a--b  c__", "a_b_c"),
            ("日本", ""),
            ("S3Bucket", "s3_bucket"),
            ("ABC", "abc"),
        ] {
            assert_eq!(snake(text), name, "{text}");
        }
    }

    #[test]
    fn long_names_keep_both_ends() {
        let name = "repos_create_or_update_environment_protection_rule_for_an_organization_secret";
        let short = fit(name, "PUT /x", MAX_NAME);
        insta::assert_snapshot!(short, @"repos_create_or_update_for_an_organization_secret_89e285");
        assert_eq!(fit(&"x".repeat(80), "a", 64).len(), 64);
        assert_ne!(fit(&"x".repeat(80), "a", 64), fit(&"x".repeat(80), "b", 64));
    }

    #[test]
    fn equal_wishes_are_told_apart_whatever_the_order() {
        let wish = |identity: &str| ("list".to_owned(), identity.to_owned());
        let two = unique(&[wish("GET /a"), wish("GET /b")]);
        let three = unique(&[wish("GET /c"), wish("GET /b"), wish("GET /a")]);
        assert_eq!(two, [three[2].clone(), three[1].clone()]);
        assert!(two[0].starts_with("list_") && two[0] != two[1]);
    }

    #[test]
    fn arguments_keep_what_providers_take() {
        for (wire, name) in [
            ("X-Api-Version", "X-Api-Version"),
            ("filter[name]", "filter_name"),
            ("$top", "top"),
            ("ids[]", "ids"),
        ] {
            assert_eq!(argument(wire), name);
        }
        assert!(argument("名").starts_with("arg_"));
    }

    proptest! {
        #[test]
        fn names_are_valid_unique_and_stable(
            wishes in proptest::collection::btree_map("[A-Za-z /_{}é-]{0,90}", "[a-c_]{0,3}[A-Z]{0,70}", 1..30)
        ) {
            // Identities differ (the keys); wishes often do not.
            let pairs: Vec<(String, String)> =
                wishes.iter().map(|(identity, wish)| (snake(wish), identity.clone())).collect();
            let names = unique(&pairs);
            let distinct: BTreeSet<&String> = names.iter().collect();
            prop_assert_eq!(distinct.len(), names.len());
            for name in &names {
                prop_assert!(name.len() <= MAX_NAME);
                prop_assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
            }
            let mut turned = pairs.clone();
            turned.reverse();
            let mut again = unique(&turned);
            again.reverse();
            prop_assert_eq!(names, again);
        }

        #[test]
        fn arguments_are_valid(wire in "\\PC{0,100}") {
            let name = argument(&wire);
            prop_assert!(!name.is_empty() && name.len() <= MAX_NAME);
            prop_assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)));
        }
    }
}
