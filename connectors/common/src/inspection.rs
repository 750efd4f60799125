//! What is wrong with the place where events end: a topic, a stream.
//!
//! Must never call a place safe in which something was found.

use std::fmt::Display;

use tidings_connector::Finding;

/// Copies below this number survive no second failure.
const SAFE_COPIES: usize = 3;

/// One place, and what was found about it so far.
pub struct Inspection {
    place: String,
    found: Vec<Finding>,
}

impl Inspection {
    /// Of a place as people call it: ``stream `OBJECTS` ``. Every sentence begins with it.
    pub fn of(place: String) -> Self {
        Self { place, found: Vec::new() }
    }

    /// Notes what loses, hides or refuses events in some situation, if it is so.
    pub fn warn(&mut self, so: bool, says: impl Display) {
        let finding = || Finding::warning(format!("{} {says}", self.place));
        self.found.extend(so.then(finding));
    }

    /// Notes what loses or refuses every event, if it is so.
    pub fn error(&mut self, so: bool, says: impl Display) {
        let finding = || Finding::error(format!("{} {says}", self.place));
        self.found.extend(so.then(finding));
    }

    /// Judges how many copies of an event there are.
    pub fn copies(&mut self, copies: usize) {
        self.warn(
            copies < SAFE_COPIES,
            format!(
                "has {copies} of {SAFE_COPIES} recommended copies: an acknowledged event may be lost with \
                 its server"
            ),
        );
    }

    /// Everything that was noted.
    pub fn end(self) -> Vec<Finding> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use tidings_connector::Severity;

    use super::*;

    #[test]
    fn only_what_is_so_is_noted() {
        let mut topic = Inspection::of("topic `t`".to_owned());
        topic.warn(false, "is small");
        topic.error(false, "is gone");
        topic.copies(3);
        topic.warn(true, "is odd");
        topic.error(true, format!("is at {}", 7));
        topic.copies(2);
        let found = topic.end();
        let told: Vec<_> = found.iter().map(|finding| (finding.severity, &*finding.message)).collect();
        assert_eq!(
            told[..2],
            [(Severity::Warning, "topic `t` is odd"), (Severity::Error, "topic `t` is at 7")]
        );
        assert!(told[2].1.contains("2 of 3 recommended copies") && told.len() == 3, "{told:?}");
    }
}
