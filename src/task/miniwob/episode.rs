//! The JavaScript of an episode.

use crate::env::episode::Episode;

/// How to run an episode with this seed. Seeds above 2^53 - 1 are not numbers in JavaScript and
/// would fall together; [`super::tasks`] refuses them.
#[must_use]
pub fn episode(seed: u64) -> Episode {
    let text = |source: &str| source.trim_end().to_owned();
    Episode {
        seed,
        ready: text(include_str!("ready.js")),
        begin: text(include_str!("begin.js")).replace("SEED", &seed.to_string()),
        goal: text(include_str!("goal.js")),
        done: text(include_str!("done.js")),
        reward: text(include_str!("reward.js")),
        // The timer, the reward of the last episode (ground truth) and the pointer trail.
        hide: "#reward-display, #click-canvas, #sync-task-cover".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_is_in_it() {
        let episode = episode(17);
        assert!(episode.begin.contains("Math.seedrandom(17);"));
        assert_eq!(episode.begin.matches("SEED").count(), 0);
        assert_eq!(episode.seed, 17);
    }
}
