//! The form reader's tests.

use futures_util::stream;
use proptest::prelude::*;

use super::*;

type Parts = Vec<(Part, Vec<u8>)>;

/// Reads a whole form that comes in pieces of these sizes.
fn read(form: &[u8], sizes: &[usize]) -> Result<Parts, S3Error> {
    let mut pieces = Vec::new();
    let (mut rest, mut sizes) = (form, sizes.iter().cycle());
    while !rest.is_empty() {
        let size = sizes.next().copied().unwrap_or(rest.len()).clamp(1, rest.len());
        pieces.push(Ok(Bytes::copy_from_slice(&rest[..size])));
        rest = &rest[size..];
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let mut reader = Reader::new(stream::iter(pieces), "xyz");
        let mut parts = Vec::new();
        while let Some(part) = reader.next_part().await? {
            let mut data = Vec::new();
            while let Some(bytes) = reader.data().await? {
                data.extend_from_slice(&bytes);
            }
            parts.push((part, data));
        }
        Ok(parts)
    })
}

fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (disposition, data) in parts {
        out.extend_from_slice(format!("--xyz\r\nContent-Disposition: {disposition}\r\n\r\n").as_bytes());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"--xyz--\r\n");
    out
}

fn part(name: &str, filename: Option<&str>) -> Part {
    Part { name: name.into(), filename: filename.map(Into::into) }
}

#[test]
fn parts_come_out_as_they_went_in() {
    let data: &[u8] = b"a\r\n--xy\r\n--xyy--\r\n\r\n--x";
    let all = form(&[
        ("form-data; name=\"key\"", b""),
        ("form-data; name=file; filename=\"C:\\dir\\a \\\"b\\\".txt\"", data),
        ("form-data; name=\"täst\"; filename=\"\"; filename*=UTF-8''x", b"\r\n"),
    ]);
    let wanted = vec![
        (part("key", None), vec![]),
        (part("file", Some("C:\\dir\\a \"b\".txt")), data.to_vec()),
        (part("täst", Some("")), b"\r\n".to_vec()),
    ];
    for size in 1..all.len() {
        assert_eq!(read(&all, &[size]).expect("a form"), wanted, "in pieces of {size}");
    }
}

#[test]
fn what_is_not_exactly_a_form_is_refused() {
    let good = form(&[("form-data; name=\"a\"", b"1"), ("form-data; name=\"file\"", b"2")]);
    assert!(read(&good, &[]).is_ok());
    for end in 0..good.len() - 2 {
        assert!(read(&good[..end], &[]).is_err(), "cut at {end}");
    }
    let text = String::from_utf8(good).expect("UTF-8");
    let long = "x".repeat(MAX_HEAD);
    for (from, to) in [
        ("--xyz\r\nContent", "preamble\r\n--xyz\r\nContent"),
        ("--xyz\r\nContent", "\r\n--xyz\r\nContent"),
        ("--xyz\r\nContent", "--xyz \r\nContent"),
        ("--xyz\r\nContent", "--xyz\nContent"),
        ("form-data;", "attachment;"),
        ("; name=\"a\"", ""),
        ("name=\"a\"", "name=\"\""),
        ("name=\"a\"", "name=\"a\"; name=\"b\""),
        ("name=\"a\"", "name=\"a\"; filename=\"b\"; filename=\"c\""),
        ("name=\"a\"", "name=\"a"),
        ("name=\"a\"", "name=\"a\" more"),
        ("name=\"a\"", "name=a\"b"),
        ("Content-Disposition", "Content-Disposition "),
        ("Content-Disposition: form-data; name=\"a\"", "Content-Type: text/plain"),
        ("\r\n\r\n1", "\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\n1"),
        ("\r\n\r\n1", "\r\nContent-Transfer-Encoding: base64\r\n\r\n1"),
        ("\r\n\r\n1", "\r\n folded\r\n\r\n1"),
        ("\r\n\r\n1", &format!("\r\nx: {long}\r\n\r\n1")),
        ("--xyz--\r\n", "--xyz-\r\n"),
        ("--xyz--\r\n", &format!("--xyz--{long}")),
    ] {
        assert!(text.contains(from), "{from}");
        assert!(read(text.replacen(from, to, 1).as_bytes(), &[]).is_err(), "{from} -> {to:.60}");
    }
    let mut odd = form(&[("form-data; name=\"a\"", b"1")]);
    odd[40] = 0xFF;
    assert!(read(&odd, &[]).is_err());
}

#[test]
fn boundaries_are_those_of_forms() {
    for (text, boundary) in [
        ("multipart/form-data; boundary=xyz", Some("xyz")),
        ("Multipart/Form-Data;charset=utf-8; Boundary=\"x y\"", Some("x y")),
        ("multipart/form-data", None),
        ("multipart/form-data; boundary=", None),
        ("multipart/form-data; boundary=x\u{e4}", None),
        ("multipart/mixed; boundary=xyz", None),
    ] {
        assert_eq!(boundary_of(text), boundary, "{text}");
    }
    assert!(boundary_of(&format!("multipart/form-data; boundary={}", "x".repeat(71))).is_none());
}

proptest! {
    /// However a form is cut, it is the same form; whatever comes, nothing panics.
    #[test]
    fn pieces_make_no_difference(
        data in prop::collection::vec(prop::sample::select(b"\r\n-xyza".to_vec()), 0..200),
        sizes in prop::collection::vec(1usize..20, 1..10),
    ) {
        let has_boundary = memmem::find(&data, b"\r\n--xyz").is_some() || data.starts_with(b"--xyz");
        let all = form(&[("form-data; name=\"file\"", &data)]);
        let got = read(&all, &sizes);
        if has_boundary {
            prop_assert_eq!(got.is_ok(), read(&all, &[]).is_ok());
        } else {
            prop_assert_eq!(got.expect("a form"), vec![(part("file", None), data.clone())]);
        }
        let _ = read(&data, &sizes);
    }
}
