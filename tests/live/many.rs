//! Changes of several requests, and requests of several changes: uploads in parts, and DeleteObjects.
//!
//! Must never record more than one change for an object that was completed, nor one request's keys as one.

use std::collections::BTreeSet;

use http::Method;
use md5::{Digest, Md5};
use tidings::client::Client;

use crate::checker::{Action, Outcome};
use crate::load::{Shared, shown};

/// Keys of one DeleteObjects at most: so many that some wait for others on the server.
const BATCH: usize = 48;

/// The ETag of an object of one part with this body.
pub(crate) fn etag_of_one_part(body: &[u8]) -> String {
    format!("{}-1", hex::encode(Md5::digest(Md5::digest(body))))
}

impl Shared {
    /// Uploads an object in one part. Only its completion changes anything, so only that is recorded; false
    /// if somebody did not answer.
    pub(crate) async fn upload(&self, client: &Client, key: &str) -> bool {
        let id = self.recorder.next_id();
        let body = self.body(id);
        let (etag, size) = (etag_of_one_part(&body), body.len() as u64);
        let path = format!("/{}/{key}", self.bucket());
        let ask = async |method, query: &[(&str, &str)], body: Vec<u8>| {
            client.request(method, &path, query, &[], body.into()).await
        };
        let Ok(begun) = ask(Method::POST, &[("uploads", "")], Vec::new()).await else { return false };
        let Some(upload) = between(&begun.body, "UploadId") else {
            assert!(begun.status.is_server_error(), "{path}: {}", shown(&begun));
            return false;
        };
        let part = ask(Method::PUT, &[("partNumber", "1"), ("uploadId", &upload)], body).await;
        let Ok(part) = part else { return false };
        let Some(tag) = part.etag().filter(|_| part.status.is_success()) else {
            assert!(part.status.is_server_error(), "a part of {path}: {}", shown(&part));
            return false;
        };
        let list = format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\"{tag}\"</ETag></Part>\
             </CompleteMultipartUpload>"
        );
        let name = self.full_name(key);
        let pending = self.recorder.invoke(id, &name, Action::Put { etag: etag.clone(), size });
        let answer = ask(Method::POST, &[("uploadId", &upload)], list.into()).await;
        let (mut outcome, request_id) = self.outcome(&name, &answer);
        if let (Outcome::Ok, Ok(answer)) = (outcome, &answer) {
            // The answer may have begun before anybody knew.
            match between(&answer.body, "ETag") {
                Some(said) => assert_eq!(said.replace("&quot;", "").trim_matches('"'), etag, "{name}"),
                None => outcome = Outcome::Info,
            }
        }
        pending.finish(outcome, request_id);
        self.count(outcome)
    }

    /// Deletes several keys with one request: each is an operation of its own.
    pub(crate) async fn delete_many(&self, client: &Client, keys: &BTreeSet<String>) -> bool {
        let objects: String = keys
            .iter()
            .map(|key| format!("<Object><Key>{}</Key></Object>", key.replace('&', "&amp;")))
            .collect();
        let body = format!("<Delete>{objects}</Delete>");
        let names: Vec<_> = keys.iter().map(|key| self.full_name(key)).collect();
        let begin = |name| self.recorder.invoke(self.recorder.next_id(), name, Action::Delete);
        let pending: Vec<_> = names.iter().map(begin).collect();
        let path = format!("/{}", self.bucket());
        let answer = client.request(Method::POST, &path, &[("delete", "")], &[], body.into()).await;
        let (outcome, request_id) = self.outcome("DeleteObjects", &answer);
        let text = answer.as_ref().map_or(String::new(), |a| String::from_utf8_lossy(&a.body).into_owned());
        let mut all = true;
        for (pending, key) in pending.into_iter().zip(keys) {
            let named = format!("<Deleted><Key>{}</Key></Deleted>", key.replace('&', "&amp;"));
            let outcome = match outcome {
                // One whose error is listed may have happened.
                Outcome::Ok if !text.contains(&named) => Outcome::Info,
                other => other,
            };
            pending.finish(outcome, request_id.clone());
            all &= self.count(outcome);
        }
        all
    }

    /// Some keys for one DeleteObjects.
    pub(crate) fn some_keys(&self, rng: &mut fastrand::Rng) -> BTreeSet<String> {
        (0..rng.usize(2..=BATCH)).map(|_| self.some_key(rng)).collect()
    }
}

/// The text of the first element of this name.
fn between(body: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once("</")?.0.to_owned())
}
