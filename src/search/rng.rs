//! The search's randomness: seeded, the same on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::types::{Seed, UnitF32};

/// A stream of choices for one named part of a search. Parts do not disturb each other, so what
/// one path draws does not depend on how many others are under way.
#[derive(Debug, Clone)]
pub struct SearchRng(ChaCha8Rng);

impl SearchRng {
    /// The stream of `part` under a search's seed.
    #[must_use]
    pub fn new(seed: Seed, part: &str) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed.derive(part).0))
    }

    /// A number in 0..1.
    fn unit(&mut self) -> f64 {
        f64::from(self.0.next_u32()) / 4_294_967_296.0
    }

    /// An index into `weights`, with probability in proportion to the weight there; uniform if all
    /// are 0. `None` if there is none.
    pub fn weighted(&mut self, weights: &[UnitF32]) -> Option<usize> {
        let total: f64 = weights.iter().map(|w| f64::from(w.get())).sum();
        let even = if total > 0.0 { 0.0 } else { 1.0 };
        let weight = |w: &UnitF32| f64::from(w.get()) + even;
        let mut left = self.unit() * weights.iter().map(weight).sum::<f64>();
        let mut last = None;
        for (at, w) in weights.iter().enumerate().filter(|(_, w)| weight(w) > 0.0) {
            last = Some(at);
            left -= weight(w);
            if left < 0.0 {
                break;
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(x: f32) -> UnitF32 {
        UnitF32::new(x).unwrap()
    }

    #[test]
    fn weights_are_followed_and_zero_is_never_drawn() {
        let mut rng = SearchRng::new(Seed(3), "test");
        let weights = [unit(0.0), unit(0.75), unit(0.25), unit(0.0)];
        let mut seen = [0; 4];
        for _ in 0..4000 {
            seen[rng.weighted(&weights).unwrap()] += 1;
        }
        assert_eq!((seen[0], seen[3]), (0, 0));
        assert!((2800..3200).contains(&seen[1]), "{seen:?}");
    }

    #[test]
    fn no_weight_at_all_is_uniform_and_nothing_is_none() {
        let mut rng = SearchRng::new(Seed(3), "test");
        let mut seen = [0; 2];
        for _ in 0..1000 {
            seen[rng.weighted(&[UnitF32::ZERO; 2]).unwrap()] += 1;
        }
        assert!(seen[0] > 400 && seen[1] > 400, "{seen:?}");
        assert_eq!(rng.weighted(&[]), None);
    }

    #[test]
    fn a_stream_is_its_seed_and_its_part() {
        let draw = |seed, part| {
            let mut rng = SearchRng::new(Seed(seed), part);
            let halves = [UnitF32::HALF; 50];
            (0..20).map(|_| rng.weighted(&halves)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
    }
}
