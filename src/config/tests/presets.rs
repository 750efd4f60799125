//! What a target gets, by its own word or by its receiver's preset.

use super::*;

#[test]
fn a_receivers_preset_says_what_it_gets() {
    let of = |preset: &str, encoding: &str| {
        let http = "[target.t.connector.http]\nurl = \"http://127.0.0.1/\"\n";
        let rule = "[[target.t.rule]]\nevents = [\"cos:ObjectCreated:*\"]\n";
        format!("[target.t]\n{encoding}\n{http}{preset}\n{rule}")
    };
    for (preset, encoding, gets) in [
        ("", "", Encoding::S3),
        ("preset = \"plain\"", "", Encoding::S3),
        ("preset = \"scf\"", "", Encoding::Cos),
        ("preset = \"scf\"", "encoding = \"s3\"", Encoding::S3),
        ("preset = \"cloudevents\"", "", Encoding::CloudEvents),
        (
            "preset = \"cloudevents\"",
            "encoding = \"cloudevents-structured\"",
            Encoding::CloudEventsStructured,
        ),
        ("", "encoding = \"cos\"", Encoding::Cos),
    ] {
        assert_eq!(good(&of(preset, encoding)).targets[0].encoding, gets, "{preset} {encoding}");
    }
    let told = only(&of("preset = \"cloudevents\"", "encoding = \"s3\""));
    assert!(told.starts_with("2:12 \"s3\": `encoding` is `s3`, but the preset"), "{told}");
    let told = only(&of("preset = \"lambda\"", ""));
    assert!(told.contains("`lambda` is not allowed here"), "{told}");
    let told = only(&of("", "encoding = \"cloudevent\""));
    assert!(told.contains("did you mean `cloudevents`?"), "{told}");
    let told = only(&of("authorization_file = \"/nowhere\"", ""));
    assert!(told.starts_with("5:22 \"/nowhere\": `authorization_file`: /nowhere cannot be read"), "{told}");
    assert_eq!(good(TARGET).targets[0].encoding, Encoding::S3);
    let misplaced = of("headers = { Authorization = \"planted\" }", "");
    let shown = bad(&misplaced).to_string();
    assert!(shown.contains("headers ...") && !shown.contains("planted"), "{shown}");
    let shown = bad(&of("", "").replace("127.0.0.1", "u:planted@h")).to_string();
    assert!(shown.contains("url ...") && !shown.contains("planted"), "{shown}");

    let account = "[account]\nappid = \"7\"\n";
    let scf = of("preset = \"scf\"", "");
    let fingerprint = |text: &str| good(text).targets[0].connector.fingerprint();
    assert_ne!(fingerprint(&scf), fingerprint(&format!("{account}{scf}")), "functions are told the account");
}
