//! Functions of the real program in their real sandbox: Python, Node.js and programs of one's own.
//!
//! Must never reach into the process: what is judged is what commands say and what S3 answers.

mod bad;
mod kills;
mod letters;
mod life;
mod machines;
mod many;
mod ports;
mod retries;
mod roles;
mod scenarios;
mod steps;
mod triggers;
mod urls;
mod world;
