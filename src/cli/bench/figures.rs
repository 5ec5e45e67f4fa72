//! What a bench prints: spreads of figures, as lines or as JSON.

use std::time::Instant;

use serde_json::{Value, json};

use crate::cli::app::print;

/// Some figures of one quantity, sorted.
#[derive(Debug, Clone)]
pub(super) struct Spread(Vec<f64>);

impl Spread {
    pub(super) fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        Self(figures)
    }

    pub(super) fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        match (self.0.get(middle), self.0.len() % 2) {
            (Some(upper), 0) => f64::midpoint(self.0[middle - 1], *upper),
            (Some(median), _) => *median,
            (None, _) => f64::NAN,
        }
    }

    pub(super) fn low(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    pub(super) fn high(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }

    /// Without figures the numbers are null.
    pub(super) fn json(&self) -> Value {
        let round = |figure: f64| (figure * 100.0).round() / 100.0;
        json!({
            "median": round(self.median()),
            "min": round(self.low()),
            "max": round(self.high()),
            "n": self.0.len(),
        })
    }
}

/// One line of one quantity.
pub(super) fn line(what: &str, unit: &str, figures: Vec<f64>) {
    let n = figures.len();
    let spread = Spread::of(figures);
    let (low, median, high) = (spread.low(), spread.median(), spread.high());
    print(&format!(
        "{what:<44} median {median:.2} {unit}   (min {low:.2}, max {high:.2}, n {n})"
    ));
}

/// Milliseconds since then.
pub(super) fn ms(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_or_between_the_two() {
        let spread = Spread::of(vec![5.0, 1.0, 3.0]);
        assert_eq!(
            (spread.low(), spread.median(), spread.high()),
            (1.0, 3.0, 5.0)
        );
        assert!((Spread::of(vec![4.0, 1.0, 2.0, 9.0]).median() - 3.0).abs() < 1e-9);
        assert!(Spread::of(Vec::new()).median().is_nan());
        assert_eq!(Spread::of(Vec::new()).json()["median"], Value::Null);
    }
}
