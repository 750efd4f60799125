//! Functions, templates and runs for people.
//!
//! Must never print what a terminal would obey.

use serde_json::Value;

use crate::cli::paint::{Table, text};

pub(super) fn print_functions(value: &Value) {
    let mut table = Table::new(&["NAME", "RUNTIME", ">VERSION", ">MIB", ">TIMEOUT s", "UPDATED"]);
    for f in value["functions"].as_array().map_or(&[][..], Vec::as_slice) {
        let fields = ["name", "runtime", "version", "memory_mb", "timeout_s", "updated"];
        table.row(fields.map(|field| text(&f[field])));
    }
    table.print();
}

pub(super) fn print_templates(value: &Value) {
    let mut table = Table::new(&["KIND", "NAME", "DESCRIPTION"]);
    for (kind, list) in [("event", "events"), ("function", "functions")] {
        for t in value[list].as_array().map_or(&[][..], Vec::as_slice) {
            table.row([kind.to_owned(), text(&t["name"]), text(&t["description"])]);
        }
    }
    table.print();
}

/// One run: its head in a line, then what it gave back or why not, then what it wrote.
pub(super) fn print_run(run: &Value) {
    let field = |name: &str| text(&run[name]);
    let memory = run["memory_bytes"].as_u64().unwrap_or(0) >> 20;
    let start = run["start"].as_str().map(|start| format!("{start}  ")).unwrap_or_default();
    say!(
        "{start}{} {}  {} ms  {memory} MiB  request {}{}{}",
        field("status"),
        field("outcome"),
        field("duration_ms"),
        field("request_id"),
        run["retry"].as_u64().filter(|n| *n > 0).map(|n| format!("  retry {n}")).unwrap_or_default(),
        run["object"].as_str().map(|o| format!("  {}", o.escape_debug())).unwrap_or_default(),
    );
    if let Some(result) = run["result"].as_str() {
        say!("result: {}", clean(result));
    }
    if let Some(message) = run["message"].as_str().filter(|message| !message.is_empty()) {
        say!("failed: {}", clean(message));
    }
    for line in run["log"].as_str().unwrap_or_default().lines() {
        say!("  | {}", clean(line));
    }
}

/// Without what a terminal would obey.
fn clean(line: &str) -> String {
    line.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect()
}
