//! The far side of a live test: what a target is configured with, what arrived there, and how it is broken.
//!
//! Must never leave a far side broken that others use: a fault ends when it is dropped, by a failing test
//! too.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use async_trait::async_trait;

use crate::checker::Delivery;
use crate::record;

/// One message as it arrived.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) payload: Vec<u8>,
    /// What came beside it, and its media type as `content-type`.
    pub(crate) headers: BTreeMap<String, String>,
    /// Its order key, where the protocol carries one.
    pub(crate) key: Option<Vec<u8>>,
    /// The sequence in which it stood.
    pub(crate) partition: i32,
}

impl Raw {
    /// As an S3 event record.
    pub(crate) fn record(&self) -> Delivery {
        record::parse(&self.payload, self.key.as_deref(), self.partition)
    }
}

/// One far side, with a place of its own for one test.
#[async_trait]
pub(crate) trait FarSide: Send + Sync {
    /// `[target.live.connector.KIND]` and its keys.
    fn connector(&self) -> String;

    /// Everything that arrived since the beginning, repeats included, read independently of the product.
    async fn read_raw(&self) -> Vec<Raw> {
        panic!("this far side keeps no message as it came")
    }

    /// The same as S3 event records.
    async fn read_all(&self) -> Vec<Delivery>;

    /// `kill -9`; mended by a start at the same address, with what it had.
    async fn kill(&self) -> Fault;

    /// SIGSTOP; mended by SIGCONT.
    async fn stop(&self) -> Fault;
}

type Mending = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A fault under way.
pub(crate) struct Fault {
    mend: Option<Box<dyn FnOnce() -> Mending + Send>>,
    at_the_latest: Option<Box<dyn FnOnce() + Send>>,
}

impl Fault {
    /// `mend` ends the fault and waits until the far side answers again; `at_the_latest` does so without
    /// waiting, where the test failed.
    pub(crate) fn new(
        mend: impl FnOnce() -> Mending + Send + 'static,
        at_the_latest: impl FnOnce() + Send + 'static,
    ) -> Self {
        Self { mend: Some(Box::new(mend)), at_the_latest: Some(Box::new(at_the_latest)) }
    }

    /// Ends the fault and waits until the far side answers again.
    pub(crate) async fn mend(mut self) {
        if let Some(mend) = self.mend.take() {
            mend().await;
        }
        self.at_the_latest = None;
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        if let Some(mend) = self.at_the_latest.take() {
            mend();
        }
    }
}
