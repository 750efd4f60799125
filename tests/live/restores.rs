//! Restores of archived objects through `kill -9` at each place where one begins or ends: every restore that
//! was answered is done, once, and nobody is told of it twice.
//!
//! Must never count a repeat as a second event: events are told by their ids.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use http::Method;
use tidings::client::Client;
use tokio::time::{Instant, sleep, timeout};

use crate::checker::Kind;
use crate::far::FarSide as _;
use crate::receiver::Receiver;
use crate::server::Server;
use crate::{books, seed, turn};

/// How soon restores are done here.
const QUICK: &str = "[restore]\narchive_expedited = \"1ms\"\narchive_standard = \"150ms\"\n";
/// A failpoint that was not reached after so long is not on any path.
const REACHED_WITHIN: Duration = Duration::from_secs(40);
/// All restores are done by then.
const DONE_WITHIN: Duration = Duration::from_secs(40);

/// Restores object after object until the server dies; gives those of which it said that they began.
async fn work(s3: &Client, life: usize, rng: &mut fastrand::Rng) -> Vec<String> {
    let mut begun = Vec::new();
    for n in 0.. {
        let key = format!("{life}-{n}");
        let path = format!("/live-restores/{key}");
        let class = [("x-amz-storage-class", "ARCHIVE")];
        let Ok(put) = s3.request(Method::PUT, &path, &[], &class, "body".into()).await else { break };
        assert_eq!(put.status, 200, "{put:?}");
        let tier = if rng.bool() { "Expedited" } else { "Standard" };
        let wish = format!(
            "<RestoreRequest><Days>1</Days><GlacierJobParameters><Tier>{tier}</Tier></GlacierJobParameters>\
             </RestoreRequest>"
        );
        let asked = s3.request(Method::POST, &path, &[("restore", "")], &[], wish.into()).await;
        let Ok(asked) = asked else { break };
        assert_eq!(asked.status, 202, "{asked:?}");
        begun.push(key);
    }
    begun
}

/// Waits until an object can be read.
pub(crate) async fn readable(s3: &Client, bucket: &str, key: &str) {
    let until = Instant::now() + DONE_WITHIN;
    loop {
        let got = s3.get(bucket, key).await.expect("an answer");
        if got.status == 200 {
            return;
        }
        assert_eq!((got.status.as_u16(), got.error_code()), (403, Some("InvalidObjectState")), "{key}");
        assert!(Instant::now() < until, "{key} was restored and never done");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_while_objects_are_restored_lose_and_double_nothing() {
    let _turn = turn().await;
    let mut rng = fastrand::Rng::with_seed(seed("restores"));
    let far = Receiver::start().await;
    let mut server = Server::new(&far, QUICK);
    let all = server.configuration().replace("\"s3:ObjectRemoved:*\"", "\"s3:ObjectRestore:*\"");
    server.configure(&all);
    let ready = server.start().await;
    assert_eq!(ready.s3.create_bucket("live-restores").await.expect("an answer").status, 200);
    server.stop().await;
    let mut begun = Vec::new();
    let points = ["restore.posted", "restore.due", "restore.completed"];
    for (life, (point, nth)) in points.iter().flat_map(|point| [(point, 1), (point, 3)]).enumerate() {
        server.launch(Some(&format!("{point}:{nth}")));
        if let Some(ready) = server.ready().await {
            begun.extend(work(&ready.s3, life, &mut rng).await);
        }
        let status = timeout(REACHED_WITHIN, server.ended()).await;
        let status = status.unwrap_or_else(|_| panic!("{point} was not reached {nth} times"));
        assert_eq!(status.signal(), Some(9), "at {point}:{nth}: {status}");
    }
    let ready = server.start().await;
    for key in &begun {
        readable(&ready.s3, "live-restores", key).await;
    }
    books::drained(&ready.admin, "live").await;
    let mut told: BTreeMap<String, [BTreeSet<String>; 2]> = BTreeMap::new();
    for delivery in far.read_all().await {
        let Kind::Other(name) = &delivery.kind else { continue };
        let at = ["ObjectRestore:Post", "ObjectRestore:Completed"].iter().position(|kind| kind == name);
        let of_key = told.entry(delivery.key.to_string()).or_default();
        of_key[at.unwrap_or_else(|| panic!("an event of nobody: {name}"))].insert(delivery.sequencer);
    }
    for (key, [posted, completed]) in &told {
        // One that was on its way when the server died is done as well, if it began.
        assert_eq!((posted.len(), completed.len()), (1, 1), "{key}: {posted:?}, {completed:?}");
        assert!(posted < completed, "{key} was done before it began");
    }
    for key in &begun {
        assert!(told.contains_key(&format!("live-restores/{key}")), "{key} began and nobody was told");
    }
    println!("restores: {} began, {} were told", begun.len(), told.len());
    assert!(begun.len() > points.len(), "hardly anything was restored");
    server.stop().await;
}
