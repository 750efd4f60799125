//! Quotas of buckets, over the real store: what a bucket may hold, exactly, whatever races and restarts.

use http::Method;

use super::real::Real;
use super::support::{assert_complete_error, told};
use crate::commit::{Quota, Usage};

const FULL: (u16, &str) = (403, "QuotaExceeded");

impl Real {
    async fn allow(&self, max_bytes: Option<u64>, max_objects: Option<u64>) {
        let quota =
            Some(Quota { max_bytes, max_objects }).filter(|_| (max_bytes, max_objects) != (None, None));
        self.commit.set_quota("bucket", quota).await.expect("set");
    }

    async fn holds(&self) -> (u64, u64) {
        let usage = self.commit.usage("bucket").await.expect("counted").expect("a quota");
        (usage.bytes, usage.objects)
    }

    async fn store(&self, key: &str, size: usize) -> (u16, String) {
        let put = self.running.client.put("bucket", key, vec![b'x'; size]).await.expect("answered");
        (put.status.as_u16(), put.error_code().unwrap_or_default().to_owned())
    }

    async fn remove(&self, key: &str) {
        let gone = self.running.client.delete("bucket", key).await.expect("answered");
        assert_eq!(gone.status, 204, "{gone:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_holds_what_its_quota_says_and_no_more() {
    let real = Real::with_bucket().await;
    // What was there before counts.
    assert_eq!(real.store("a", 40).await.0, 200);
    assert_eq!(real.commit.usage("bucket").await.expect("no quota"), None);
    real.allow(Some(100), Some(3)).await;
    assert_eq!(real.holds().await, (40, 1));
    let over = real.running.client.put("bucket", "b", vec![b'x'; 61]).await.expect("answered");
    assert_eq!(told(&over), FULL);
    assert_complete_error(&over);
    assert_eq!(real.store("b", 60).await.0, 200, "to the last byte");
    assert_eq!(real.holds().await, (100, 2));
    let events = real.events().len();
    assert_eq!(real.store("c", 1).await.0, 403);
    assert_eq!(real.store("c", 0).await.0, 200, "nothing more to hold");
    assert_eq!(real.store("d", 0).await.0, 403, "a fourth object");
    assert_eq!(real.store("a", 41).await.0, 403);
    assert_eq!(real.store("a", 40).await.0, 200, "in place of what is there");
    assert_eq!(real.store("a", 10).await.0, 200);
    assert_eq!(real.holds().await, (70, 3));
    let real = real.restart().await;
    assert_eq!(real.holds().await, (70, 3));
    assert_eq!(real.store("b", 91).await.0, 403);
    assert_eq!(real.store("b", 90).await.0, 200);
    real.remove("b").await;
    real.remove("never there").await;
    assert_eq!(real.holds().await, (10, 2));
    // Copies and parts are measured as what they become.
    let source = [("x-amz-copy-source", "bucket/a")];
    real.allow(Some(19), None).await;
    let copied = real.ask(Method::PUT, "/bucket/copy", &[], &source, "").await;
    assert_eq!(told(&copied), FULL);
    let id = real.begin("parts", &[]).await;
    let list = real.parts("parts", &id, &[(1, vec![b'x'; 10])]).await;
    assert_eq!(told(&real.complete("parts", &id, &list).await), FULL);
    real.allow(Some(20), None).await;
    assert_eq!(real.complete("parts", &id, &list).await.status, 200);
    assert_eq!(real.complete("parts", &id, &list).await.status, 200, "asked again, counted once");
    assert_eq!(real.holds().await, (20, 3));
    // A quota below what is there takes only what makes it less.
    real.allow(Some(5), Some(1)).await;
    assert_eq!(real.store("a", 11).await.0, 403);
    assert_eq!(real.store("a", 9).await.0, 200);
    real.remove("parts").await;
    assert_eq!(real.holds().await, (9, 2));
    real.allow(None, None).await;
    assert_eq!(real.store("large", 300_000).await.0, 200);
    assert_eq!(real.commit.usage("bucket").await.expect("no quota"), None);
    assert_eq!(real.events().len(), events + 9, "refused changes are no events");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_race_goes_beyond_a_quota() {
    let real = Real::with_bucket().await;
    real.allow(Some(1_000), Some(8)).await;
    for round in 0..4 {
        let racing = (0..24).map(|n| {
            let (real, key) = (&real, format!("{}", (n * 7 + round) % 12));
            async move {
                match n % 4 {
                    0 => real.remove(&key).await,
                    _ => drop(real.store(&key, 40 * (1 + n % 5)).await),
                }
            }
        });
        futures_util::future::join_all(racing).await;
        let (bytes, objects) = real.holds().await;
        assert!(bytes <= 1_000 && objects <= 8, "{bytes} bytes, {objects} objects");
        let there = real.commit.store().list("bucket", "", None, 100).expect("listed");
        let counted: u64 = there.iter().map(|object| object.size).sum();
        assert_eq!((bytes, objects), (counted, there.len() as u64));
        // As whoever counts anew sees it.
        real.allow(Some(1_000 + round as u64), Some(8)).await;
        assert_eq!(real.holds().await, (bytes, objects));
    }
    assert!(real.events().len() > 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_made_anew_start_anew() {
    let real = Real::with_bucket().await;
    real.allow(Some(10), None).await;
    assert_eq!(real.store("a", 10).await.0, 200);
    real.remove("a").await;
    let gone = real.running.client.delete_bucket("bucket").await.expect("answered");
    assert_eq!(gone.status, 204, "{gone:?}");
    assert!(real.commit.usage("bucket").await.is_err());
    real.running.client.create_bucket("bucket").await.expect("answered");
    assert_eq!(real.store("a", 50).await.0, 200, "the quota went with its bucket");
    real.allow(Some(50), None).await;
    assert_eq!(real.commit.usage("bucket").await.expect("counted"), Some(Usage { bytes: 50, objects: 1 }));
    assert!(real.commit.set_quota("nowhere", None).await.is_err());
}
