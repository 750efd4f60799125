//! Whether a target is given events, as the registry keeps it.
//!
//! Must never take what it does not know for "not paused".

/// Whether a target is given events. Whatever it is, everything is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pause {
    /// It is.
    #[default]
    No,
    /// Not until somebody resumes it: an operator wanted that.
    Operator,
    /// Not until somebody resumes it: its far side said that it is gone, and asked never to be called
    /// again.
    Gone,
}

impl Pause {
    /// True if nothing is sent.
    pub fn is_on(self) -> bool {
        self != Self::No
    }

    /// As it is written.
    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::No => 0,
            Self::Operator => 1,
            Self::Gone => 2,
        }
    }

    /// As it was written; what a later version wrote is a pause.
    pub(crate) fn of_byte(byte: u8) -> Self {
        match byte {
            0 => Self::No,
            2 => Self::Gone,
            _ => Self::Operator,
        }
    }
}
