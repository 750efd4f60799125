//! From S3's answer to COS's: names of headers and elements, and the CRC-64.
//!
//! Elements are renamed in the text: a client's own text in it is escaped, so that a `<` is always ours. Must
//! never touch a body that is an object's.

use http::HeaderName;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use s3s::{Body, HttpResponse};

const CRC64: HeaderName = HeaderName::from_static("x-cos-hash-crc64ecma");
const S3_NAMESPACE: &str = " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";

/// Translates a success. `crc64` is that of the object, where the answer is about one.
pub(in crate::frontend) fn answer(mut response: HttpResponse, crc64: Option<u64>) -> HttpResponse {
    if let Some(crc64) = crc64
        && let Ok(value) = HeaderValue::from_str(&crc64.to_string())
    {
        response.headers_mut().insert(CRC64, value);
    }
    let is_object = response.headers().contains_key("accept-ranges");
    let content_type = response.headers().get(CONTENT_TYPE);
    if is_object || content_type.is_none_or(|kind| kind != "application/xml") {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let text = body.bytes().and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
    let Some(text) = text else { return HttpResponse::from_parts(parts, body) };
    let text = document(text, crc64);
    if parts.headers.contains_key(CONTENT_LENGTH) {
        parts.headers.insert(CONTENT_LENGTH, text.len().into());
    }
    HttpResponse::from_parts(parts, Body::from(text))
}

/// A document in COS's words.
fn document(text: String, crc64: Option<u64>) -> String {
    let text = text.replacen(S3_NAMESPACE, "", 1);
    for result in ["CopyObjectResult", "CopyPartResult"] {
        let end = format!("</{result}>");
        if let (Some(crc64), true) = (crc64, text.ends_with(&end)) {
            return text.replacen(&end, &format!("<CRC64>{crc64}</CRC64>{end}"), 1);
        }
    }
    if !text.ends_with("</ListAllMyBucketsResult>") {
        return text;
    }
    let more = text.contains("<ContinuationToken>");
    text.replace("<BucketRegion>", "<Location>")
        .replace("</BucketRegion>", "</Location><BucketType>cos</BucketType>")
        .replace("<ContinuationToken>", "<NextMarker>")
        .replace("</ContinuationToken>", "</NextMarker>")
        .replace(
            "</ListAllMyBucketsResult>",
            &format!("<IsTruncated>{more}</IsTruncated></ListAllMyBucketsResult>"),
        )
}

/// Gives every header of S3's its name in COS's family. What COS does not have goes.
pub(in crate::frontend) fn header_names(headers: &mut HeaderMap) {
    let of_s3 = |name: &HeaderName| name.as_str().starts_with("x-amz-");
    let names: Vec<HeaderName> = headers.keys().filter(|name| of_s3(name)).cloned().collect();
    for name in names {
        let Some(value) = headers.remove(&name) else { continue };
        let rest = &name.as_str()["x-amz-".len()..];
        let is_unknown = rest.starts_with("checksum-") || rest == "id-2" || rest == "request-id";
        // COS has no name for the version of an object that has none.
        if is_unknown || (rest == "version-id" && value == "null") {
            continue;
        }
        if let Ok(name) = HeaderName::from_bytes(format!("x-cos-{rest}").as_bytes()) {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_change_their_family() {
        let pairs = [
            ("x-amz-meta-a", "1"),
            ("x-amz-version-id", "null"),
            ("x-amz-delete-marker", "true"),
            ("x-amz-checksum-crc32", "AAAA"),
            ("x-amz-id-2", "host"),
            ("etag", "\"e\""),
        ];
        let headers = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut headers: HeaderMap = headers.collect();
        header_names(&mut headers);
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["etag", "x-cos-delete-marker", "x-cos-meta-a"]);
    }

    #[test]
    fn documents_change_their_elements_and_no_text() {
        let copied = format!("<CopyObjectResult{S3_NAMESPACE}><ETag>e</ETag></CopyObjectResult>");
        assert_eq!(
            document(copied, Some(7)),
            "<CopyObjectResult><ETag>e</ETag><CRC64>7</CRC64></CopyObjectResult>"
        );
        let buckets = "<ListAllMyBucketsResult><Buckets><Bucket><BucketRegion>r</BucketRegion><Name>n</Name>\
                       </Bucket></Buckets></ListAllMyBucketsResult>";
        assert_eq!(
            document(buckets.to_owned(), None),
            "<ListAllMyBucketsResult><Buckets><Bucket><Location>r</Location><BucketType>cos</BucketType>\
             <Name>n</Name></Bucket></Buckets><IsTruncated>false</IsTruncated></ListAllMyBucketsResult>"
        );
        let list = "<ListBucketResult><Key>&lt;BucketRegion&gt;</Key></ListBucketResult>";
        assert_eq!(document(list.to_owned(), None), list);
    }
}
