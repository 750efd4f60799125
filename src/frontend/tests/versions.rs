//! Versions as clients meet them, over the real store, across restarts.

use http::Method;

use super::multipart::text;
use super::real::Real;
use super::support::{assert_complete_error, told};
use crate::client::Response;
use crate::event::{EventKind, Version, VersionId};

const ID: &str = "x-amz-version-id";
const MARKER: &str = "x-amz-delete-marker";

impl Real {
    async fn versioning(&self, status: &str) {
        let body = format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
        let set = self.ask(Method::PUT, "/bucket", &[("versioning", "")], &[], body).await;
        assert_eq!(set.status.as_u16(), 200, "{set:?}");
        let got = self.ask(Method::GET, "/bucket", &[("versioning", "")], &[], "").await;
        assert_eq!(text(&got, "Status"), status);
    }

    async fn of_version(&self, method: Method, path: &str, id: &str) -> Response {
        self.ask(method, path, &[("versionId", id)], &[], "").await
    }

    /// PUT; gives the version's id.
    async fn put_version(&self, key: &str, body: &str) -> String {
        let put = self.ask(Method::PUT, &format!("/bucket/{key}"), &[], &[], body.to_owned()).await;
        assert_eq!(put.status.as_u16(), 200, "{put:?}");
        put.header(ID).expect("a version").to_owned()
    }

    /// DELETE without a version; gives the marker's id.
    async fn hide(&self, key: &str) -> String {
        let gone = self.ask(Method::DELETE, &format!("/bucket/{key}"), &[], &[], "").await;
        assert_eq!((gone.status.as_u16(), gone.header(MARKER)), (204, Some("true")), "{gone:?}");
        gone.header(ID).expect("a version").to_owned()
    }

    /// What is current: body and version, or none.
    async fn current(&self, key: &str) -> Option<(String, String)> {
        let got = self.ask(Method::GET, &format!("/bucket/{key}"), &[], &[], "").await;
        (got.status == 200).then(|| {
            let id = got.header(ID).expect("a version").to_owned();
            (String::from_utf8(got.body.to_vec()).expect("text"), id)
        })
    }

    /// Every version in pages of `max`: key, id, whether it is a marker, whether it is the latest.
    async fn all_versions(&self, more: &[(&str, &str)], max: usize) -> Vec<(String, String, bool, bool)> {
        let (mut all, mut key, mut id) = (Vec::new(), String::new(), String::new());
        loop {
            let max = max.to_string();
            let mut query = vec![("versions", ""), ("max-keys", &*max)];
            if !key.is_empty() {
                query.push(("key-marker", &*key));
            }
            if !id.is_empty() {
                query.push(("version-id-marker", &*id));
            }
            query.extend(more);
            let page = self.ask(Method::GET, "/bucket", &query, &[], "").await;
            assert_eq!(page.status.as_u16(), 200, "{page:?}");
            let body = String::from_utf8(page.body.to_vec()).expect("text");
            let mut found = Vec::new();
            for (tag, marker) in [("Version", false), ("DeleteMarker", true)] {
                for one in body.split(&format!("<{tag}>")).skip(1) {
                    let one = one.split(&format!("</{tag}>")).next().expect("an end");
                    let of = |tag: &str| between(one, tag).unwrap_or_default();
                    found.push((of("Key"), of("VersionId"), marker, of("IsLatest") == "true"));
                }
            }
            for one in body.split("<CommonPrefixes>").skip(1) {
                found.push((between(one, "Prefix").expect("a prefix"), String::new(), false, false));
            }
            // Within a page versions, markers and prefixes stand apart.
            found.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
            all.extend(found);
            if between(&body, "IsTruncated").as_deref() != Some("true") {
                return all;
            }
            key = between(&body, "NextKeyMarker").expect("a marker");
            id = between(&body, "NextVersionIdMarker").unwrap_or_default();
        }
    }
}

fn between(text: &str, tag: &str) -> Option<String> {
    let rest = text.split_once(&format!("<{tag}>"))?.1;
    Some(rest.split_once(&format!("</{tag}>"))?.0.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_stays_until_it_goes_itself() {
    let mut real = Real::with_bucket().await;
    let before = real.ask(Method::GET, "/bucket", &[("versioning", "")], &[], "").await;
    assert!(!String::from_utf8_lossy(&before.body).contains("Status"), "{before:?}");
    let never = real.ask(Method::PUT, "/bucket/k", &[], &[], "zero").await;
    assert_eq!(
        (never.status.as_u16(), never.header(ID)),
        (200, None),
        "no bucket has versions that wants none"
    );
    real.versioning("Enabled").await;
    assert_eq!(real.current("k").await, Some(("zero".into(), "null".into())));
    let one = real.put_version("k", "one").await;
    let two = real.put_version("k", "two").await;
    let marker = real.hide("k").await;
    assert!(marker < two && two < one, "the newest sorts first");
    for round in 0..3 {
        let hidden = real.ask(Method::GET, "/bucket/k", &[], &[], "").await;
        assert_eq!((hidden.header(MARKER), hidden.header(ID)), (Some("true"), Some(&*marker)), "{round}");
        assert_eq!(told(&hidden), (404, "NoSuchKey"));
        for (body, id) in [("zero", "null"), ("one", &one), ("two", &two)] {
            let got = real.of_version(Method::GET, "/bucket/k", id).await;
            assert_eq!(
                (got.status.as_u16(), &*got.body, got.header(ID)),
                (200, body.as_bytes(), Some(id)),
                "{round}"
            );
            let head = real.of_version(Method::HEAD, "/bucket/k", id).await;
            assert_eq!((head.status.as_u16(), head.header(ID)), (200, Some(id)));
        }
        for method in [Method::GET, Method::HEAD] {
            let got = real.of_version(method, "/bucket/k", &marker).await;
            assert_eq!(
                (got.status.as_u16(), got.header(MARKER), got.header("allow")),
                (405, Some("true"), Some("DELETE"))
            );
            assert!(got.header("last-modified").is_some_and(|date| date.ends_with("GMT")), "{got:?}");
        }
        let listed = real.ask(Method::GET, "/bucket", &[("list-type", "2")], &[], "").await;
        assert_eq!(text(&listed, "KeyCount"), "0", "lists of objects show no versions");
        match round {
            0 => real.checkpointed().await,
            1 => real = real.restart().await,
            _ => {}
        }
    }
    // What was there before is there again, version by version.
    let gone = real.of_version(Method::DELETE, "/bucket/k", &marker).await;
    assert_eq!(
        (gone.status.as_u16(), gone.header(MARKER), gone.header(ID)),
        (204, Some("true"), Some(&*marker))
    );
    assert_eq!(real.current("k").await, Some(("two".into(), two.clone())));
    let gone = real.of_version(Method::DELETE, "/bucket/k", &two).await;
    assert_eq!((gone.status.as_u16(), gone.header(MARKER), gone.header(ID)), (204, None, Some(&*two)));
    assert_eq!(real.current("k").await, Some(("one".into(), one.clone())));
    real.checkpointed().await;
    real.of_version(Method::DELETE, "/bucket/k", "null").await;
    assert_eq!(real.current("k").await, Some(("one".into(), one.clone())));
    let events = real.events().len();
    let again = real.of_version(Method::DELETE, "/bucket/k", &two).await;
    assert_eq!(
        (again.status.as_u16(), real.events().len()),
        (204, events),
        "what is gone already makes no event"
    );
    let full = real.ask(Method::DELETE, "/bucket", &[], &[], "").await;
    assert_eq!(told(&full), (409, "BucketNotEmpty"));
    real.of_version(Method::DELETE, "/bucket/k", &one).await;
    assert_eq!(real.current("k").await, None);
    let marker = real.hide("k").await;
    let full = real.ask(Method::DELETE, "/bucket", &[], &[], "").await;
    assert_eq!(told(&full), (409, "BucketNotEmpty"), "a delete marker is there");
    real.of_version(Method::DELETE, "/bucket/k", &marker).await;
    let gone = real.ask(Method::DELETE, "/bucket", &[], &[], "").await;
    assert_eq!(gone.status.as_u16(), 204, "{gone:?}");
    real.running.client.create_bucket("bucket").await.expect("answered");
    let never = real.ask(Method::PUT, "/bucket/k", &[], &[], "zero").await;
    assert_eq!(
        (never.status.as_u16(), never.header(ID)),
        (200, None),
        "a bucket made anew has no versioning"
    );
    use EventKind::{CreatedPut as Put, RemovedDelete as Delete, RemovedMarker as Hide};
    let named = |id: &str| Some(Version::Named(VersionId::parse(id).expect("ours")));
    let (own, null) = (Some(Version::Own), Some(Version::NULL));
    let told: Vec<_> = real.events().iter().map(|event| (event.kind, event.version)).collect();
    let marker = (Delete, named(&marker));
    let first = told[4];
    assert_eq!(first.0, Delete);
    assert_eq!(
        told,
        [
            (Put, None),
            (Put, own),
            (Put, own),
            (Hide, own),
            first,
            (Delete, named(&two)),
            (Delete, null),
            (Delete, named(&one)),
            (Hide, own),
            marker,
            (Put, None),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_bucket_has_one_null_version_of_a_key() {
    let real = Real::with_bucket().await;
    real.versioning("Enabled").await;
    let kept = real.put_version("k", "kept").await;
    real.versioning("Suspended").await;
    assert_eq!(real.put_version("k", "first").await, "null");
    assert_eq!(real.put_version("k", "second").await, "null");
    let both = real.all_versions(&[], 10).await;
    assert_eq!(both.len(), 2, "{both:?}");
    assert_eq!(real.current("k").await, Some(("second".into(), "null".into())));
    assert_eq!(real.hide("k").await, "null");
    assert_eq!(real.all_versions(&[], 10).await.len(), 2, "the marker is in the null version's place");
    assert_eq!(real.hide("k").await, "null");
    let last = real.events().pop().expect("an event");
    assert_eq!((last.kind, last.version), (EventKind::RemovedMarker, Some(Version::NULL)));
    real.checkpointed().await;
    let back = real.of_version(Method::DELETE, "/bucket/k", "null").await;
    assert_eq!((back.status.as_u16(), back.header(MARKER)), (204, Some("true")));
    assert_eq!(real.current("k").await, Some(("kept".into(), kept)));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_versions_in_pages_of_any_size() {
    let real = Real::with_bucket().await;
    real.ask(Method::PUT, "/bucket/a/1", &[], &[], "old").await;
    real.versioning("Enabled").await;
    let mut wanted = Vec::new();
    for key in ["a/1", "a/1b", "a/2", "b c", "d"] {
        let mut of_key = Vec::new();
        for n in 0..3 {
            let id = match n == 1 && key != "d" {
                true => real.hide(key).await,
                false => real.put_version(key, "x").await,
            };
            of_key.push((key.to_owned(), id, n == 1 && key != "d", n == 2));
            if n == 1 && key == "b c" {
                real.checkpointed().await;
            }
        }
        of_key.reverse();
        if key == "a/1" {
            of_key.push((key.to_owned(), "null".to_owned(), false, false));
        }
        wanted.extend(of_key);
    }
    for max in [1, 2, 3, 5, 1000] {
        assert_eq!(real.all_versions(&[], max).await, wanted, "pages of {max}");
        let of_a: Vec<_> = wanted.iter().filter(|v| v.0.starts_with("a/")).cloned().collect();
        assert_eq!(real.all_versions(&[("prefix", "a/")], max).await, of_a, "pages of {max}");
        let mut apart = vec![("a/".to_owned(), String::new(), false, false)];
        apart.extend(wanted.iter().filter(|v| !v.0.starts_with("a/")).cloned());
        assert_eq!(real.all_versions(&[("delimiter", "/")], max).await, apart, "pages of {max}");
    }
    let encoded = real.all_versions(&[("encoding-type", "url"), ("prefix", "b")], 10).await;
    assert_eq!(encoded[0].0, "b%20c");
    for query in [
        &[("versions", ""), ("version-id-marker", "null")][..],
        &[("versions", ""), ("key-marker", "d"), ("version-id-marker", "nonsense")],
    ] {
        let refused = real.ask(Method::GET, "/bucket", query, &[], "").await;
        assert_eq!(told(&refused), (400, "InvalidArgument"));
        assert_complete_error(&refused);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_conditions_uploads_and_lists_of_deletions_know_versions() {
    let real = Real::with_bucket().await;
    real.versioning("Enabled").await;
    let one = real.put_version("k", "one").await;
    let etag =
        real.ask(Method::HEAD, "/bucket/k", &[], &[], "").await.header("etag").expect("one").to_owned();
    let two = real.put_version("k", "two").await;
    let late = real.ask(Method::PUT, "/bucket/k", &[], &[("if-match", &etag)], "x").await;
    assert_eq!(told(&late), (412, "PreconditionFailed"), "conditions are about the current version");

    let source = |id: &str| format!("/bucket/k?versionId={id}");
    let copy = async |id: &str| {
        let source = source(id);
        real.ask(Method::PUT, "/bucket/k", &[], &[("x-amz-copy-source", &source)], "").await
    };
    let copied = copy(&one).await;
    assert_eq!(
        (copied.status.as_u16(), copied.header("x-amz-copy-source-version-id")),
        (200, Some(&*one)),
        "{copied:?}"
    );
    let copied = copied.header(ID).expect("a version").to_owned();
    assert_eq!(real.current("k").await, Some(("one".into(), copied.clone())));

    let upload = real.begin("k", &[]).await;
    let query = [("partNumber", "1"), ("uploadId", &*upload)];
    let of_two = source(&two);
    let part = real.ask(Method::PUT, "/bucket/k", &query, &[("x-amz-copy-source", &of_two)], "").await;
    assert_eq!((part.status.as_u16(), part.header("x-amz-copy-source-version-id")), (200, Some(&*two)));
    let list = format!("<Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part>", text(&part, "ETag"));
    let done = real.complete("k", &upload, &list).await;
    let whole = done.header(ID).expect("a version").to_owned();
    assert_eq!(real.current("k").await, Some(("two".into(), whole.clone())));
    let again = real.complete("k", &upload, &list).await;
    assert_eq!(
        (again.status.as_u16(), again.header(ID)),
        (200, Some(&*whole)),
        "asked again, answers the same"
    );

    let marker = real.hide("k").await;
    let none = real.ask(Method::PUT, "/bucket/k", &[], &[("if-match", "*")], "x").await;
    assert_eq!(told(&none), (404, "NoSuchKey"), "a delete marker is no object");
    assert_eq!(told(&copy(&marker).await), (400, "InvalidRequest"));
    let of_marker = real.ask(Method::PUT, "/bucket/x", &[], &[("x-amz-copy-source", "/bucket/k")], "").await;
    assert_eq!(told(&of_marker), (404, "NoSuchKey"));
    for (id, answer) in [
        (&*"0".repeat(24), (404, "NoSuchVersion")),
        ("nonsense", (400, "InvalidArgument")),
        ("", (400, "InvalidArgument")),
    ] {
        assert_eq!(told(&real.of_version(Method::GET, "/bucket/k", id).await), answer, "{id:?}");
    }

    let object = |key: &str, id: Option<&str>| {
        let id = id.map(|id| format!("<VersionId>{id}</VersionId>")).unwrap_or_default();
        format!("<Object><Key>{key}</Key>{id}</Object>")
    };
    let wanted = [
        object("k", Some(&marker)),
        object("k", Some(&one)),
        object("fresh", None),
        object("k", Some("nonsense")),
    ];
    let body = format!("<Delete>{}</Delete>", wanted.concat());
    let md5 = {
        use base64::Engine as _;
        use md5::Digest as _;
        base64::engine::general_purpose::STANDARD.encode(md5::Md5::digest(body.as_bytes()))
    };
    let deleted = real.ask(Method::POST, "/bucket", &[("delete", "")], &[("content-md5", &md5)], body).await;
    let told = String::from_utf8(deleted.body.to_vec()).expect("text");
    let parts: Vec<_> = told.split("<Deleted>").skip(1).collect();
    assert_eq!(parts.len(), 3, "{told}");
    let find = |key: &str, id: Option<&str>| {
        let is = |part: &&&str| {
            between(part, "Key").as_deref() == Some(key) && {
                let part = part.split("</Deleted>").next().expect("an end");
                between(part, "VersionId").as_deref() == id
            }
        };
        parts.iter().find(is).unwrap_or_else(|| panic!("{key} {id:?}: {told}")).split("</Deleted>").next()
    };
    let of_marker = find("k", Some(&marker)).expect("an end");
    assert_eq!(between(of_marker, "DeleteMarkerVersionId"), Some(marker));
    assert_eq!(between(find("k", Some(&one)).expect("an end"), "DeleteMarker"), None);
    let made = find("fresh", None).expect("an end");
    assert_eq!(between(made, "DeleteMarker").as_deref(), Some("true"));
    assert!(between(made, "DeleteMarkerVersionId").is_some_and(|id| VersionId::parse(&id).is_some()));
    assert!(told.contains("<Code>InvalidArgument</Code>"), "{told}");
    assert_eq!(real.current("k").await, Some(("two".into(), whole)));
}
