//! Listings against a plain model, page by page.

use std::collections::BTreeSet;

use super::support::{Running, told};
use crate::client::Listing;

/// Everything a listing says, over all its pages: keys and prefixes in the order of S3.
async fn all_pages(running: &Running, query: &[(&str, &str)]) -> (Vec<String>, Vec<String>, usize) {
    let (mut keys, mut prefixes, mut pages) = (Vec::new(), Vec::new(), 0);
    let mut token: Option<String> = None;
    loop {
        let mut query = query.to_vec();
        if let Some(token) = &token {
            query.push(("continuation-token", token));
        }
        let answer = running.client.list_v2("bucket", &query).await.expect("answered");
        let page = Listing::parse(&answer.body).unwrap_or_else(|| panic!("not a listing: {answer:?}"));
        keys.extend(page.objects.into_iter().map(|object| object.key));
        prefixes.extend(page.prefixes);
        pages += 1;
        assert!(pages < 1000, "the pages never end: {query:?}");
        token = page.next;
        if token.is_none() {
            return (keys, prefixes, pages);
        }
    }
}

fn model(keys: &BTreeSet<String>, prefix: &str, delimiter: &str, after: &str) -> (Vec<String>, Vec<String>) {
    let (mut listed, mut prefixes) = (Vec::new(), BTreeSet::new());
    for key in keys.iter().filter(|key| key.starts_with(prefix) && key.as_str() > after) {
        match key[prefix.len()..].find(delimiter).filter(|_| !delimiter.is_empty()) {
            Some(at) => drop(prefixes.insert(key[..prefix.len() + at + delimiter.len()].to_owned())),
            None => listed.push(key.clone()),
        }
    }
    (listed, prefixes.into_iter().collect())
}

#[tokio::test]
async fn every_page_size_gives_the_same() {
    let running = Running::with_bucket().await;
    let mut keys: BTreeSet<String> =
        ["a", "a/", "a/b", "a/b/c", "a0", "b/\u{10FFFF}", "b0", "ö/ä", "z//z"].map(str::to_owned).into();
    for n in 0..150 {
        keys.insert(format!("deep/{:02}/{n:03}", n % 7));
    }
    for key in &keys {
        running.client.put("bucket", key, "x").await.expect("answered");
    }
    for (prefix, delimiter, after) in [
        ("", "", ""),
        ("", "/", ""),
        ("a", "/", ""),
        ("a/", "/", ""),
        ("deep/", "/", ""),
        ("deep/03/", "", ""),
        ("", "/", "a/b"),
        ("", "/", "b0"),
        ("", "", "deep/03/100"),
        ("", "deep", ""),
        ("zzz", "/", ""),
    ] {
        let expected = model(&keys, prefix, delimiter, after);
        for max in ["1", "2", "7", "100", "1000", "5000"] {
            let mut query = vec![("max-keys", max)];
            query.extend(
                [("prefix", prefix), ("delimiter", delimiter), ("start-after", after)]
                    .iter()
                    .filter(|(_, v)| !v.is_empty()),
            );
            let (listed, prefixes, pages) = all_pages(&running, &query).await;
            assert_eq!((&listed, &prefixes), (&expected.0, &expected.1), "{query:?}");
            let items = listed.len() + prefixes.len();
            let max: usize = max.parse().expect("a number");
            assert_eq!(pages, items.div_ceil(max.min(1000)).max(1), "{query:?}");
        }
    }
}

#[tokio::test]
async fn listings_refuse_nonsense() {
    let running = Running::with_bucket().await;
    running.client.put("bucket", "k", "x").await.expect("answered");
    let list = |query: &'static [(&'static str, &'static str)]| async {
        running.client.list_v2("bucket", query).await.expect("answered")
    };
    let none = list(&[("max-keys", "0")]).await;
    let text = String::from_utf8_lossy(&none.body).into_owned();
    assert!(text.contains("<KeyCount>0</KeyCount>") && text.contains("<IsTruncated>false"), "{text}");
    assert_eq!(told(&list(&[("max-keys", "-1")]).await), (400, "InvalidArgument"));
    assert_eq!(list(&[("max-keys", "many")]).await.status, 400);
    for token in ["", "!", "AAAA", "a29r"] {
        let answer =
            running.client.list_v2("bucket", &[("continuation-token", token)]).await.expect("answered");
        let good = token == "a29r";
        assert_eq!(answer.status.as_u16(), if good { 200 } else { 400 }, "{token:?}");
    }
    let missing = running.client.list_v2("nowhere", &[]).await.expect("answered");
    assert_eq!(told(&missing), (404, "NoSuchBucket"));
    let owned = list(&[("fetch-owner", "true")]).await;
    assert!(String::from_utf8_lossy(&owned.body).contains("<ID>1250000000</ID>"));
}
