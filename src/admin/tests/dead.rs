//! Dead letters over the admin API: what is shown, what is changed, what the audit log says.
//!
//! Must never purge anything before it has shown that nothing said purges nothing.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::event::{Event, EventKind, Position, RequestInfo};
use crate::journal::OsDisk;
use crate::queue::dead::{Gone, Ledger, Letter};
use crate::queue::{Change, DeliveryTo, Entry, TargetNo};

struct NoBooks;

impl Ledger for NoBooks {
    fn buried(&self, _: &[u64]) {}
    fn gone(&self, _: u64, _: Gone) {}
    fn lost(&self, _: u64) {}
    fn has_passed(&self, _: u64) -> bool {
        false
    }
}

/// Letters of offsets 1 to `count`.
pub(super) async fn letters(dir: &Path, count: u64) -> DeadLetters {
    let target = TargetNo(1);
    let dead = DeadLetters::alone(Arc::new(OsDisk), dir, target, Arc::new(NoBooks));
    for offset in 1..=count {
        let event = Event {
            id: uuid::Uuid::from_u128(u128::from(offset)),
            kind: EventKind::CreatedPut,
            time_us: 1_000_000,
            bucket: "photos".into(),
            key: format!("a b/{offset}").into(),
            version: None,
            size: 5,
            etag: "etag".into(),
            request: RequestInfo { id: "id".into(), source_ip: None, principal: "me".into(), hops: 0 },
        };
        let deliveries = vec![DeliveryTo { target, rule: "orders-1".into() }];
        dead.bury(Letter {
            position: Position { epoch: 1, offset },
            entry: Entry { change: Change::DeleteObject, event: Some(event), deliveries, shed: vec![] },
            class: "http_4xx".into(),
            text: "400: no".into(),
            attempts: 1,
            first_unix_ms: 1_000,
            last_unix_ms: 2_000,
            since_unix_ms: 2_000,
            replays: 0,
            bare: 100,
        });
    }
    while dead.status().letters < count {
        dead.arrived().await;
    }
    dead
}

const LIST: &str = "/v1/targets/orders/dead-letters";

impl World {
    async fn get(&self, path: &str) -> Response {
        self.ask(Ask { path, ..GOOD }).await
    }

    async fn post(&self, path: &str) -> Response {
        self.ask(Ask { method: "POST", path, ..GOOD }).await
    }
}

#[tokio::test]
async fn dead_letters_are_listed_shown_replayed_and_purged() {
    let world = world();
    let dead = letters(world.data.path(), 5).await;
    *world.fake.dead.lock().expect("held briefly") = Some(dead.clone());
    let page = json(world.get(&format!("{LIST}?limit=2")).await).await;
    assert_eq!((&page["total"], &page["next"]), (&5.into(), &2.into()));
    let first = &page["dead_letters"][0];
    assert_eq!(
        (&first["offset"], &first["key"], &first["rule"]),
        (&1.into(), &"a b/1".into(), &"orders-1".into())
    );
    assert_eq!((&first["class"], &first["message"]), (&"http_4xx".into(), &"400: no".into()));
    assert_eq!(
        (&first["since"], &first["event"]),
        (&"1970-01-01T00:00:02Z".into(), &"cos:ObjectCreated:Put".into())
    );
    let rest = json(world.get(&format!("{LIST}?after=2")).await).await;
    assert_eq!((rest["dead_letters"].as_array().map(Vec::len), &rest["next"]), (Some(3), &Value::Null));
    let one = json(world.get(&format!("{LIST}?bucket=photos&key=a%20b%2F4")).await).await;
    let mut alone = json(world.get(&format!("{LIST}/4")).await).await;
    // Of a target that is no function there is no more to show.
    assert_eq!(alone.as_object_mut().expect("an object").remove("scf"), Some(Value::Null));
    assert_eq!(one["dead_letters"][0], alone);
    for (path, with) in [
        (format!("{LIST}/9"), "no_such_dead_letter"),
        (format!("{LIST}/x"), "bad_request"),
        (format!("{LIST}?limit=0"), "bad_request"),
        (format!("{LIST}?limit=1001"), "bad_request"),
        (format!("{LIST}?all=true"), "bad_request"),
        (format!("{LIST}?since=yesterday"), "bad_request"),
    ] {
        assert_eq!(code(world.get(&path).await).await, with, "{path}");
    }
    assert!(world.audit().is_empty(), "reading is no change");
    assert_eq!(json(world.post(&format!("{LIST}/replay?offset=2")).await).await["replaying"], 1);
    assert_eq!(dead.status().replaying, 1);
    for path in ["purge", "purge?", "purge?al=true", "purge?offset=1&all=true", "replay"] {
        assert_eq!(code(world.post(&format!("{LIST}/{path}")).await).await, "bad_request", "{path}");
    }
    assert_eq!(dead.status().letters, 5, "nothing said purges nothing");
    assert_eq!(json(world.post(&format!("{LIST}/purge?offset=1&offset=77")).await).await["purged"], 1);
    assert_eq!(json(world.post(&format!("{LIST}/purge?class=dns")).await).await["purged"], 0);
    assert_eq!(json(world.post(&format!("{LIST}/purge?all=true")).await).await["purged"], 4);
    assert_eq!(json(world.post(&format!("{LIST}/accept-loss")).await).await["quarantined"], 0);
    let audit = world.audit();
    let line =
        |at: usize| (audit[at]["action"].clone(), audit[at]["target"].clone(), audit[at]["result"].clone());
    assert_eq!(line(0), ("dead-letters:replay".into(), "orders".into(), "begun".into()));
    assert_eq!(line(1), ("dead-letters:replay".into(), "orders".into(), "done".into()));
    assert_eq!(line(3), ("dead-letters:purge".into(), "orders".into(), "bad_request".into()));
    let last = audit.len() - 1;
    assert_eq!(line(last), ("dead-letters:accept-loss".into(), "orders".into(), "done".into()));
}
