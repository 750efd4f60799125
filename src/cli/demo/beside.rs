//! What was done and what arrived, side by side.
//!
//! Must never ask the product: what was done comes from the S3 answers.

use std::collections::BTreeMap;

use anyhow::ensure;

use super::Done;
use super::receiver::Arrived;

pub(super) fn print_beside(done: &[Done], arrived: &[Arrived]) {
    say!("{:<34} the event as the receiver got it", "change");
    for change in done {
        let left = format!("{} {}", change.what, change.key);
        match arrived.iter().find(|a| a.request == change.request) {
            Some(a) => {
                say!("{left:<34} #{} {} {} size={} etag={}", a.number, a.kind, a.key, a.size, short(&a.etag))
            }
            None => say!("{left:<34} (nothing arrived)"),
        }
    }
}

fn short(etag: &str) -> &str {
    etag.get(..8).unwrap_or("-")
}

/// What arrived, per key in the receiver's order, must be what was done, per key in the client's order.
pub(super) fn compare(done: &[Done], arrived: &[Arrived]) -> anyhow::Result<()> {
    let mut expected: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for d in done {
        expected.entry(d.key.to_owned()).or_default().push((
            d.kind.to_owned(),
            d.etag.clone(),
            d.size,
            d.request.clone(),
        ));
    }
    let mut got: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for a in arrived {
        got.entry(a.key.clone()).or_default().push((
            a.kind.clone(),
            a.etag.clone(),
            a.size,
            a.request.clone(),
        ));
    }
    ensure!(expected == got, "what arrived is not what was done:\n  done    {expected:?}\n  arrived {got:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(key: &'static str, request: &str) -> Done {
        Done { what: "PUT", kind: "k", key, etag: "e".into(), size: 1, request: request.into() }
    }

    fn arrived(number: usize, key: &str, request: &str) -> Arrived {
        Arrived {
            number,
            kind: "k".into(),
            key: key.into(),
            etag: "e".into(),
            size: 1,
            request: request.into(),
        }
    }

    #[test]
    fn only_the_same_events_in_the_same_order_per_key_pass() {
        let changes = [done("a", "1"), done("b", "2"), done("a", "3")];
        let [a1, b2, a3] = [arrived(1, "a", "1"), arrived(2, "b", "2"), arrived(3, "a", "3")];
        assert!(compare(&changes, &[b2.clone(), a1.clone(), a3.clone()]).is_ok());
        assert!(compare(&changes, &[a3.clone(), b2.clone(), a1.clone()]).is_err(), "overtaken");
        assert!(compare(&changes, &[a1.clone(), b2.clone()]).is_err(), "missing");
        assert!(compare(&changes, &[a1.clone(), a1, b2, a3]).is_err(), "twice");
    }
}
