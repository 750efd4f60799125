//! Black-box tests that need no broker, and the tests that keep the project tidy.
//!
//! Must never need a network, a fixed port or another program than this one.

mod attacks;
mod board;
#[allow(dead_code, reason = "shared with the live tests, which use more of it")]
#[path = "../checker/mod.rs"]
mod checker;
mod checks;
#[allow(dead_code, reason = "not every constant is used by every test binary")]
#[path = "../support/chunked.rs"]
mod chunked;
mod compose;
mod console;
mod credentials;
mod dlq;
mod first;
mod forged;
mod full;
mod judge;
mod model;
mod oldest;
mod origins;
mod program;
mod proxies;
mod readme;
mod reloads;
mod restored;
mod rot;
mod rows;
mod sample;
mod secrets;
mod space;
mod start;
mod supply;
mod targets;
mod terminal;
mod tidy;
mod tls;
mod triggers;
