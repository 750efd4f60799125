//! A server that gets no file descriptors: what it cannot do is refused, and nothing of what it said is lost.
//!
//! Must never take them away from anybody else.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::finish::conclude;
use crate::load::{Load, Plan};
use crate::receiver::Receiver;
use crate::server::Server;
use crate::{books, seed, turn};

/// How long it has none.
const WITHOUT: Duration = Duration::from_secs(4);
/// Changes before and after.
const CHANGES: u64 = 2_000;
/// Once there are descriptors again, changes are taken again within this time.
const HEALED_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_file_descriptors_refuses_loses_nothing_and_goes_on() {
    let _turn = turn().await;
    let test = "descriptors";
    let far = Receiver::start().await;
    // Small segments: files are needed all the time.
    let extra = crate::stuck::tight(64) + "[target.live]\nbackoff_max = \"1s\"\n";
    let mut server = Server::new(&far, &extra);
    let ready = server.start().await;
    crate::stuck::bucket(&ready, "live-descriptors").await;
    let plan = Plan {
        clients: 16,
        keys: 300,
        changes: u64::MAX,
        deletes: 100,
        reads: 50,
        blobs: 100,
        uploads: 20,
        batches: 5,
        seed: seed(test),
    };
    let load = Load::start("live-descriptors", plan);
    load.serve(Some(ready.s3.clone()));
    load.acknowledged(CHANGES).await;
    let (usual, before) = (server.descriptors(None).await, load.shared.refused());
    // Fewer than are open: whatever is closed from now on cannot be opened again.
    server.descriptors(Some(8)).await;
    sleep(WITHOUT).await;
    let refused = load.shared.refused() - before;
    let acknowledged = load.acknowledged_now() - CHANGES;
    server.descriptors(Some(usual)).await;
    println!("{test}: {acknowledged} changes and {refused} refusals without descriptors");
    assert!(refused > 0, "nobody felt it");
    let healed = load.acknowledged(load.acknowledged_now() + CHANGES);
    timeout(HEALED_WITHIN, healed).await.expect("it takes changes again by itself");
    load.stop();
    let shared = load.finished().await;
    books::drained(&ready.admin, "live").await;
    conclude(test, &mut server, &ready, &shared, &far, usize::MAX).await;
}
