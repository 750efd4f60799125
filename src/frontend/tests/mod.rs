//! The frontend as clients meet it: an in-process server on a free port over the commit path on a queue in
//! memory.
//!
//! Must never reach into a handler: everything here goes over TCP.

mod attacks;
mod bodies;
mod chunked;
mod conditions;
mod copies;
mod lists;
mod memory;
mod multipart;
mod objects;
mod real;
mod serving;
mod support;
mod versions;
