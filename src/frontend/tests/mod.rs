//! The frontend as clients meet it: an in-process server on a free port over the commit path on a queue in
//! memory.
//!
//! Must never reach into a handler: everything here goes over TCP.

mod access;
mod attacks;
mod attributes;
mod bodies;
mod browsers;
mod chunked;
mod conditional;
mod conditions;
mod copies;
mod cos;
mod every_route;
mod forms;
mod fuzzed;
mod limits;
mod lists;
mod memory;
mod multipart;
mod names;
mod notification;
mod notification_cos;
mod objects;
mod origin_rules;
mod properties;
mod pulls;
mod qsign;
mod quota;
mod real;
mod replicas;
mod rest;
mod restores;
mod serving;
mod support;
mod versions;
