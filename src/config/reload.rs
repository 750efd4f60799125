//! What a configuration that was read anew changes: which keys need a restart, which targets a new lane.
//!
//! Must name every field: a new one does not compile here until somebody decided what its change means.

use super::{Account, Admin, Config, Functions, Queue, Replication, Server, Store, Target};

/// Names the fields of a section that differ.
macro_rules! differing {
    ($found:ident, $section:literal, $type:ident { $($field:ident),+ $(,)? }, $a:expr, $b:expr) => {{
        let ($type { $($field),+ }, other) = ($a, $b);
        $(if *$field != other.$field {
            $found.push(concat!("`", $section, ".", stringify!($field), "`"));
        })+
    }};
}

/// The keys outside targets that differ: they take effect with a restart.
pub fn needs_restart(running: &Config, new: &Config) -> Vec<&'static str> {
    let mut found = Vec::new();
    let Config { server, admin, limits, account, queue, store, .. } = running;
    let Config { restore, origin, replication, functions, targets: _, warnings: _, .. } = running;
    differing!(
        found,
        "server",
        Server {
            listen,
            region,
            data,
            domain,
            allow_unsigned_payload,
            max_connections,
            header_timeout,
            idle_timeout,
            reserve_timeout,
            shutdown_timeout,
            tls,
            tls_handshake_timeout,
            max_tls_handshakes,
        },
        server,
        &new.server
    );
    differing!(found, "admin", Admin { listen, tls }, admin, &new.admin);
    found.extend(limits.differing(&new.limits));
    differing!(found, "account", Account { appid }, account, &new.account);
    found.extend(storage_needs_restart((queue, store), new));
    found.extend(restore.differing(&new.restore));
    found.extend(origin.differing(&new.origin));
    differing!(found, "replication", Replication { pull_from, ca_file }, replication, &new.replication);
    functions_need_restart(&mut found, functions, &new.functions);
    found
}

fn storage_needs_restart((queue, store): (&Queue, &Store), new: &Config) -> Vec<&'static str> {
    let mut found = Vec::new();
    differing!(
        found,
        "queue",
        Queue { max_bytes, retain_bytes, retain_age, segment_bytes, overlay_bytes, tail_bytes },
        queue,
        &new.queue
    );
    differing!(
        found,
        "store",
        Store {
            max_bytes,
            inline_bytes,
            max_object_bytes,
            index_cache_bytes,
            checkpoint_interval,
            min_part_bytes,
            upload_expiry,
            reclaim_rate,
            scrub_rate,
        },
        store,
        &new.store
    );
    found
}

/// The same of `[functions]`.
fn functions_need_restart(found: &mut Vec<&'static str>, functions: &Functions, new: &Functions) {
    // Rules take effect at once, as those of targets do.
    let new = Functions { rules: functions.rules.clone(), ..new.clone() };
    differing!(
        found,
        "functions",
        Functions {
            allow_unsandboxed,
            max_instances,
            idle_timeout,
            code_max_bytes,
            log_max_bytes,
            log_max_age,
            max_backlog,
            python3,
            nodejs,
            allow_addresses,
            rules,
        },
        functions,
        &new
    );
}

impl Target {
    /// True if the lane of one serves the other as well: what it sends, where, and how it behaves are equal.
    /// Rules and budgets belong to the commit path.
    pub fn same_lane(&self, other: &Self) -> bool {
        let Self { name, encoding, rules: _, budget: _, limits, connector } = self;
        (name, encoding, limits) == (&other.name, &other.encoding, &other.limits)
            && connector.kind() == other.connector.kind()
            && connector.fingerprint() == other.connector.fingerprint()
    }
}
