//! Newtypes for identifiers and bounded numbers.

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

id!(
    /// A state of the tree. The root is `NodeId(0)`; ids are given in landing order.
    NodeId, u32, "n"
);
id!(
    /// An action under a state, executed or not.
    EdgeId, u32, "e"
);
id!(
    /// One asked request. Each is told exactly once.
    Ticket, u64, "t"
);
id!(
    /// The seed of a run, an environment or a sampled reply.
    Seed, u64, "s"
);

impl NodeId {
    /// The start state.
    pub const ROOT: Self = Self(0);
}

impl Seed {
    /// An independent seed for a named part, the same on every machine.
    #[must_use]
    pub fn derive(self, part: &str) -> Self {
        let hash = blake3::hash(format!("{}:{part}", self.0).as_bytes());
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hash.as_bytes()[..8]);
        Self(u64::from_le_bytes(bytes))
    }
}

/// A number that is finite and within 0..=1: a value, a prior, a threshold.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
#[serde(try_from = "f32", into = "f32")]
pub struct UnitF32(f32);

/// A number outside 0..=1 where a value or probability belongs.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{0} is not a number between 0 and 1")]
pub struct UnitRangeError(pub f32);

impl UnitF32 {
    /// 0.
    pub const ZERO: Self = Self(0.0);
    /// 1.
    pub const ONE: Self = Self(1.0);
    /// 0.5.
    pub const HALF: Self = Self(0.5);

    /// The number, if it is finite and within 0..=1.
    ///
    /// # Errors
    /// [`UnitRangeError`] otherwise.
    pub fn new(value: f32) -> Result<Self, UnitRangeError> {
        if (0.0..=1.0).contains(&value) {
            Ok(Self(value))
        } else {
            Err(UnitRangeError(value))
        }
    }

    /// The nearest number within 0..=1; NaN becomes 0.
    #[must_use]
    pub fn saturating(value: f32) -> Self {
        Self(if value.is_nan() {
            0.0
        } else {
            value.clamp(0.0, 1.0)
        })
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> f32 {
        self.0
    }

    /// Total order (the type holds no NaN).
    #[must_use]
    pub fn total_cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl TryFrom<f32> for UnitF32 {
    type Error = UnitRangeError;
    fn try_from(value: f32) -> Result<Self, Self::Error> {
        Self::new(value)
    }
}

impl From<UnitF32> for f32 {
    fn from(value: UnitF32) -> Self {
        value.0
    }
}

impl std::fmt::Display for UnitF32 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_refuses_what_is_outside() {
        assert_eq!(UnitF32::new(1.5), Err(UnitRangeError(1.5)));
        assert!(UnitF32::new(f32::NAN).is_err());
        assert_eq!(UnitF32::saturating(f32::INFINITY), UnitF32::ONE);
        assert!(serde_json::from_str::<UnitF32>("2.0").is_err());
    }

    #[test]
    fn derived_seeds_are_stable_and_distinct() {
        assert_eq!(Seed(7).derive("env"), Seed(7).derive("env"));
        assert_ne!(Seed(7).derive("env"), Seed(7).derive("llm"));
    }
}
