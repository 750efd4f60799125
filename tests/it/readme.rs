//! What README.md says, where a program can check it.
//!
//! Must never start a server.

use std::fs;
use std::path::Path;
use std::process::Command;

use tidings::config;

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    fs::read_to_string(path).expect("README.md")
}

#[test]
fn its_configuration_loads() {
    let readme = readme();
    let blocks: Vec<_> =
        readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("tidings.toml");
        fs::write(&file, block).expect("written");
        let loaded = config::load(Some(&file), std::iter::empty()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(loaded.targets.len(), 2);
        assert_eq!(loaded.warnings, Vec::<String>::new());
    }
}

#[test]
fn its_commands_exist() {
    let readme = readme();
    let commands: Vec<Vec<&str>> = readme
        .split('`')
        .filter_map(|code| code.strip_prefix("tidings "))
        .map(|code| {
            code.split(' ').take_while(|w| w.chars().all(|c| c.is_ascii_lowercase() || c == '-')).collect()
        })
        .collect();
    assert!(commands.len() > 8, "{commands:?}");
    for command in commands {
        let help = Command::new(env!("CARGO_BIN_EXE_tidings")).args(&command).arg("--help").output();
        let help = help.expect("started");
        assert!(help.status.success(), "{command:?}: {}", String::from_utf8_lossy(&help.stderr));
    }
}
