//! The file that is shipped: every key with its default.
//!
//! Must never pass over a key that a shape knows.

use super::*;

/// The shipped file with every optional key switched on.
pub(super) fn everything() -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    // A secret that is somewhere.
    SHIPPED
        .lines()
        .map(line)
        .collect::<String>()
        .replace("secret_key_env = \"\"", "secret_key_env = \"PATH\"")
}

#[test]
fn the_shipped_file_is_the_defaults() {
    let defaults = load(None, std::iter::empty()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(sections(&good(SHIPPED)), sections(&defaults));

    // The keys that exist only inside a table of their own, against the smallest tables.
    let full = good(&everything());
    let small = good(
        "[target.audit.connector.nats]\nservers = [\"nats://127.0.0.1:4222\"]\nstream = \"OBJECTS\"\n\
         subject = \"objects.{bucket}\"\n\
         [target.billing.connector.amqp]\nurl = \"amqp://127.0.0.1:5672/%2f\"\nexchange = \"objects\"\n\
         routing_key = \"{bucket}\"\n\
         [target.hook.connector.http]\nurl = \"http://127.0.0.1:8080/events\"\n\
         [target.orders.connector.kafka]\nbrokers = [\"127.0.0.1:9092\"]\ntopic = \"object-events\"\n\
         [[target.orders.rule]]\nevents = [\"cos:ObjectCreated:*\", \"cos:ObjectRemove:*\"]\n\
         [target.osaka.connector.replication]\nregion = \"ap-osaka\"\naccess_key = \"AKID\"\n\
         endpoint = \"https://s3.osaka.example.com:9000\"\nown_endpoint = \"https://s3.example.com:9000\"\n\
         secret_key_env = \"PATH\"\n",
    );
    for (full, small) in full.targets.iter().zip(&small.targets) {
        let rate_limit = full.limits.rate_limit;
        assert_eq!(full.limits, TargetLimits { rate_limit, ..small.limits });
        assert_eq!(full.budget, small.budget);
        assert_eq!(full.connector.fingerprint(), small.connector.fingerprint());
        assert_eq!((&full.name, full.encoding, &full.rules), (&small.name, small.encoding, &small.rules));
    }
    assert_eq!(full.targets.len(), 5);
}

#[test]
fn the_shipped_file_names_every_key() {
    let text = everything();
    let table = toml::de::DeTable::parse(&text).unwrap_or_else(|e| panic!("{e}"));
    let (tree, _) = tree::merged(table.get_ref(), &Variables::default());
    let (_, known) = decode::decode::<raw::Raw>(&tree).unwrap_or_else(|e| panic!("{e:?}"));
    let mut checked = 0;
    for (path, fields) in known {
        for field in fields {
            let path = path.key(field).0;
            // Each target has one connector, and only the first one shows its own keys: any target's will do.
            let shown = ["orders", "hook", "audit", "billing", "osaka"].iter().any(|target| {
                let mut path = path.clone();
                if path.len() > 2 && path[0] == tree::Step::Key("target".into()) {
                    path[1] = tree::Step::Key((*target).into());
                }
                tree::get(&tree, &KeyPath(path)).is_some()
            });
            assert!(shown, "{} is not in config/tidings.toml", KeyPath(path));
            checked += 1;
        }
    }
    assert!(checked > 50, "the shapes were looked at: {checked}");
}
