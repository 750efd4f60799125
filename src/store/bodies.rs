//! What bodies take on the disk.
//!
//! Must never know how a store keeps them.

/// What the bodies of objects take on the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BodyBytes {
    /// Bytes that an object or a part needs.
    pub live: u64,
    /// Bytes that will be given back: of replaced and removed objects, and of bodies that no applied change
    /// names (yet).
    pub dead: u64,
}

impl BodyBytes {
    /// All of them.
    pub fn total(self) -> u64 {
        self.live + self.dead
    }
}
