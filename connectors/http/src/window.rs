//! How many requests may be open: one more for each window of successes, half of it when the receiver is
//! pressed.
//!
//! Must never read a clock: that a cut counts once for all requests that were out is known by its round.

/// The window of one receiver.
#[derive(Debug)]
pub(crate) struct Window {
    open: usize,
    most: usize,
    /// Successes since the window last changed.
    successes: usize,
    round: u64,
}

impl Window {
    /// As wide as the configuration allows.
    pub(crate) fn new(most: usize) -> Self {
        Self { open: most, most, successes: 0, round: 0 }
    }

    /// Requests that may be open, at least 1.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// The round in which a request leaves.
    pub(crate) fn round(&self) -> u64 {
        self.round
    }

    /// A request succeeded.
    pub(crate) fn succeeded(&mut self) {
        self.successes += 1;
        if self.successes >= self.open && self.open < self.most {
            self.open += 1;
            self.successes = 0;
        }
    }

    /// A request that left in `round` found the receiver pressed. What left before the last cut says nothing
    /// about the window since.
    pub(crate) fn pressed(&mut self, round: u64) {
        if round == self.round {
            self.open = (self.open / 2).max(1);
            self.successes = 0;
            self.round += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pressed_receiver_gets_half_and_then_one_more_per_window() {
        let mut window = Window::new(64);
        window.succeeded();
        assert_eq!(window.open(), 64);
        let round = window.round();
        (0..64).for_each(|_| window.pressed(round));
        assert_eq!(window.open(), 32, "all that was out is one cut");
        window.pressed(window.round());
        assert_eq!(window.open(), 16);
        (0..16).for_each(|_| window.succeeded());
        assert_eq!(window.open(), 17);
        (0..16).for_each(|_| window.succeeded());
        assert_eq!(window.open(), 17, "not yet");
        window.succeeded();
        assert_eq!(window.open(), 18);
    }

    #[test]
    fn it_never_closes_and_never_grows_above_its_bound() {
        let mut window = Window::new(3);
        for _ in 0..10 {
            window.pressed(window.round());
        }
        assert_eq!(window.open(), 1);
        (0..100).for_each(|_| window.succeeded());
        assert_eq!(window.open(), 3);
    }
}
