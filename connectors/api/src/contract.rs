//! The contract every connector must keep, as named cases run against the real far side.
