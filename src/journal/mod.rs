//! The journal: a segmented, checksummed, group-committed log. It knows bytes only.

pub mod disk;
