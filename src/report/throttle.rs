//! How often a terminal is redrawn.

use std::time::{Duration, Instant};

/// A bucket of redraws: a quiet search shows every event at once, a fast one about
/// [`RATE`](Self::RATE) a second.
#[derive(Debug, Clone)]
pub(super) struct Throttle {
    left: u32,
    filled: Instant,
}

impl Throttle {
    const RATE: u32 = 20;
    const EACH: Duration = Duration::from_millis(1000 / Self::RATE as u64);

    pub(super) fn new(now: Instant) -> Self {
        Self {
            left: Self::RATE,
            filled: now,
        }
    }

    /// Whether to redraw now.
    pub(super) fn allow(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled);
        let fresh = u32::try_from(passed.as_millis() / Self::EACH.as_millis()).unwrap_or(u32::MAX);
        if fresh > 0 {
            self.left = self.left.saturating_add(fresh).min(Self::RATE);
            // The remainder of a bucketful is not worth keeping.
            self.filled = now;
        }
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_shown_and_a_flood_is_not() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut throttle = Throttle::new(start);
        let burst = (0..30).filter(|_| throttle.allow(at(0))).count();
        assert_eq!(burst, 20);
        assert!(!throttle.allow(at(49)));
        assert!(throttle.allow(at(50)));
        assert!(!throttle.allow(at(99)));
        let flood = (0..1000).filter(|ms| throttle.allow(at(100 + ms))).count();
        assert_eq!(flood, 20);
    }
}
