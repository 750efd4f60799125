//! What a fuzzer calls: configuration files and files of credentials as anybody may have typed them.
//!
//! Must never be part of a product: the feature `fuzzing` brings it, and `fuzz/` alone asks for that.

use super::credentials;
use super::load::load_text;

/// A configuration: read whole or refused with at least one problem, in text that no terminal takes for
/// commands.
pub fn file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    credentials::fuzzing(text);
    let Err(refused) = load_text(Some("tidings.toml"), text, std::iter::empty()) else { return };
    assert!(!refused.problems().is_empty(), "refused for a reason");
    let shown = refused.to_string();
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
}
