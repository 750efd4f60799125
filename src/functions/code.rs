//! A function's code: which files, under which names, and the hash that names all of them.
//!
//! Must never let a path through that could leave the folder that it is put in.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::spec::Runtime;
use super::{FunctionError, zip};

/// The longest path of one file, in bytes.
const MAX_PATH: usize = 255;

/// Code as somebody hands it in: exactly one of them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CodeInput {
    /// The text of one file, which is then the one that the handler names.
    pub text: Option<String>,
    /// A zip file in base64.
    pub zip: Option<String>,
    /// Files in base64, by path.
    pub files: Option<BTreeMap<String, String>>,
}

/// One file of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its content.
    pub bytes: Vec<u8>,
    /// It may be executed.
    pub executable: bool,
}

/// Every file of a function, by its path with `/`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree(pub BTreeMap<String, File>);

/// `FILE.FUNCTION`: `index.main_handler`, `lib/index.main_handler`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handler {
    /// The file, without its ending.
    pub module: String,
    /// What is called in it.
    pub function: String,
}

impl Handler {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Self, FunctionError> {
        let refuse = || {
            let what = format!("`{}` is no handler", text.escape_debug());
            FunctionError::Invalid(format!("{what}: write FILE.FUNCTION, such as index.main_handler"))
        };
        let (module, function) = text.rsplit_once('.').ok_or_else(refuse)?;
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'$';
        let good = !function.is_empty()
            && function.bytes().all(word)
            && module.bytes().all(|b| word(b) || b == b'-' || b == b'/' || b == b'.')
            && text.len() <= 128
            && path(module).is_ok();
        if good { Ok(Self { module: module.into(), function: function.into() }) } else { Err(refuse()) }
    }
}

/// A path inside a function's folder, in one way of writing it.
fn path(text: &str) -> Result<String, FunctionError> {
    let refuse = |why: &str| {
        Err(FunctionError::Invalid(format!("the path `{}` cannot be used: {why}", text.escape_debug())))
    };
    if text.len() > MAX_PATH {
        return refuse("it is too long");
    }
    if text.starts_with('/') || text.contains(['\\', '\0']) || text.chars().any(char::is_control) {
        return refuse("it must be relative, with `/` between folders");
    }
    let parts: Vec<_> = text.split('/').filter(|part| *part != ".").collect();
    match parts.iter().all(|part| !part.is_empty() && *part != "..") && !parts.is_empty() {
        true => Ok(parts.join("/")),
        false => refuse("it leaves its folder, or has an empty part"),
    }
}

impl Tree {
    /// The files of what was handed in. `room` is how many bytes they may have together, unpacked.
    ///
    /// # Errors
    /// What cannot be used, for people.
    pub fn of(input: CodeInput, runtime: Runtime, handler: &str, room: usize) -> Result<Self, FunctionError> {
        let decode = |what: &str, text: &str| {
            let wrong = |_| FunctionError::Invalid(format!("{what} is not base64"));
            STANDARD.decode(text).map_err(wrong)
        };
        let mut tree = Tree::default();
        match (input.text, input.zip, input.files) {
            (Some(text), None, None) => {
                let name = Self::main_file(runtime, handler)?;
                tree.put(&name, text.into_bytes(), runtime == Runtime::Custom)?;
            }
            (None, Some(packed), None) => {
                for entry in zip::read(&decode("the zip file", &packed)?, room)? {
                    let executable = entry.executable || entry.path == "bootstrap";
                    tree.put(&entry.path, entry.bytes, executable)?;
                }
            }
            (None, None, Some(files)) => {
                for (name, text) in &files {
                    let bytes = decode(&format!("the file `{}`", name.escape_debug()), text)?;
                    let executable = bytes.starts_with(b"#!") || bytes.starts_with(b"\x7fELF");
                    tree.put(name, bytes, executable)?;
                }
            }
            _ => {
                let what = "code is exactly one of `text`, `zip` and `files`";
                return Err(FunctionError::Invalid(what.into()));
            }
        }
        tree.check(runtime, handler, room)?;
        Ok(tree)
    }

    /// The file that a runtime looks for.
    pub fn main_file(runtime: Runtime, handler: &str) -> Result<String, FunctionError> {
        Ok(match runtime {
            Runtime::Python3 => format!("{}.py", Handler::parse(handler)?.module),
            Runtime::Nodejs => format!("{}.js", Handler::parse(handler)?.module),
            Runtime::Custom => "bootstrap".to_owned(),
        })
    }

    fn put(&mut self, name: &str, bytes: Vec<u8>, executable: bool) -> Result<(), FunctionError> {
        let name = path(name)?;
        let twice = self.0.insert(name.clone(), File { bytes, executable }).is_some();
        match twice {
            false => Ok(()),
            true => Err(FunctionError::Invalid(format!("the file `{name}` is there twice"))),
        }
    }

    fn check(&self, runtime: Runtime, handler: &str, room: usize) -> Result<(), FunctionError> {
        let refuse = |what: String| Err(FunctionError::Invalid(what));
        let bytes: usize = self.0.values().map(|file| file.bytes.len()).sum();
        if bytes > room {
            return refuse(format!("the code has {bytes} bytes; {room} are allowed"));
        }
        // A file cannot be a folder too.
        for name in self.0.keys() {
            let folders = name.match_indices('/').map(|(at, _)| &name[..at]);
            if let Some(both) = folders.into_iter().find(|folder| self.0.contains_key(*folder)) {
                return refuse(format!("`{both}` is a file and a folder"));
            }
        }
        let main = Self::main_file(runtime, handler)?;
        match self.0.get(&main) {
            Some(file) if runtime == Runtime::Custom && !file.executable => {
                refuse("`bootstrap` is not executable".into())
            }
            Some(_) => Ok(()),
            None if runtime == Runtime::Custom => refuse("the code has no `bootstrap` at its top".into()),
            None => refuse(format!("the code has no `{main}`, which the handler `{handler}` names")),
        }
    }

    /// Names, modes and contents, in hexadecimal: equal code has equal hashes.
    pub fn hash(&self) -> String {
        let mut hasher = Sha256::new();
        for (name, file) in &self.0 {
            hasher.update((name.len() as u64).to_le_bytes());
            hasher.update(name);
            hasher.update([u8::from(file.executable)]);
            hasher.update((file.bytes.len() as u64).to_le_bytes());
            hasher.update(&file.bytes);
        }
        hex::encode(hasher.finalize())
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.0.values().map(|file| file.bytes.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zipped(entries: &[(&str, &[u8], u32, bool)]) -> CodeInput {
        CodeInput { zip: Some(STANDARD.encode(zip::tests::pack(entries))), ..CodeInput::default() }
    }

    fn of(input: CodeInput) -> Result<Tree, String> {
        Tree::of(input, Runtime::Python3, "index.main_handler", 1 << 20).map_err(|e| e.to_string())
    }

    #[test]
    fn text_files_and_zip_of_the_same_code_are_the_same() {
        let code = "def main_handler(event, context): return 1\n";
        let text = of(CodeInput { text: Some(code.into()), ..CodeInput::default() }).expect("good");
        let files = BTreeMap::from([("./index.py".to_owned(), STANDARD.encode(code))]);
        let files = of(CodeInput { files: Some(files), ..CodeInput::default() }).expect("good");
        let zip = of(zipped(&[("index.py", code.as_bytes(), 0o100_644, true)])).expect("good");
        assert_eq!((text.hash(), &text), (files.hash(), &files));
        assert_eq!((text.hash(), &text), (zip.hash(), &zip));
        let other = of(CodeInput { text: Some("x".into()), ..CodeInput::default() }).expect("good");
        assert_ne!(text.hash(), other.hash());
    }

    #[test]
    fn no_path_leaves_the_folder() {
        for bad in ["../x", "a/../../x", "/etc/passwd", "a//b", "", "..", "a\\b", "a\nb", &"a".repeat(256)] {
            let told = of(zipped(&[("index.py", b"", 0, false), (bad, b"", 0, false)]));
            assert!(told.as_ref().is_err_and(|why| why.contains("cannot be used")), "{bad}: {told:?}");
        }
        let both = of(zipped(&[("index.py", b"", 0, false), ("index.py/x", b"", 0, false)]));
        assert!(both.is_err_and(|why| why.contains("a file and a folder")));
    }

    #[test]
    fn code_without_its_handler_is_told_when_it_is_handed_in() {
        let told = of(zipped(&[("main.py", b"", 0, false)])).expect_err("refused");
        assert!(told.contains("index.py"), "{told}");
        let custom = |mode| {
            let input = zipped(&[("bin/x", b"", mode, false)]);
            Tree::of(input, Runtime::Custom, "", 1 << 20).expect_err("refused").to_string()
        };
        assert!(custom(0o755).contains("bootstrap"));
        for bad in ["main_handler", "", ".", "a.", ".a", "../a.b", "a.b;c", "/a.b"] {
            assert!(Handler::parse(bad).is_err(), "{bad}");
        }
        for good in ["index.main_handler", "lib/index.main", "my-file.handler"] {
            assert!(Handler::parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn code_is_one_thing_and_not_too_large() {
        let text = || Some("x".to_owned());
        for input in [
            CodeInput::default(),
            CodeInput { text: text(), zip: text(), files: None },
            CodeInput { zip: Some("???".into()), ..CodeInput::default() },
            CodeInput { text: Some("x".repeat(2 << 20)), ..CodeInput::default() },
        ] {
            assert!(of(input).is_err());
        }
    }
}
