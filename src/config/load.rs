//! From a file and an environment to a checked configuration, or to everything that is wrong with them.
//!
//! Must never stop at the first problem where a second one can be told, and never starts on half a
//! configuration.

use std::io::Read;
use std::path::Path;

use toml::de::DeTable;

use super::Config;
use super::check::Checker;
use super::decode::{self, Known, Misfit};
use super::diagnostics::{Diagnostics, Place, Problem, suggest};
use super::places::{Part, Places, line_of};
use super::raw::Raw;
use super::tree::{self, KeyPath, Step, Variables};

/// The largest configuration file, in bytes.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// More misfits than this are not looked for.
const MAX_MISFITS: usize = 200;

/// Loads the configuration: the defaults, the file at `path` over them, and variables such as
/// `TIDINGS__SERVER__LISTEN` over both. Without a path the defaults and the variables alone run.
///
/// `env` is the process's environment (`std::env::vars()`); only names beginning with `TIDINGS__` are looked
/// at. Lists in variables are written with commas; rules can be set in the file only.
///
/// # Errors
/// [`Diagnostics`]: everything that is wrong, each with its place. Nothing was started or changed.
pub fn load(path: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> Result<Config, Diagnostics> {
    let Some(path) = path else { return load_text(None, "", env) };
    let text = read(path)?;
    load_text(Some(&path.display().to_string()), &text, env)
}

/// The same for a text that is already in memory; `file` is its name in diagnostics.
pub(super) fn load_text(
    file: Option<&str>,
    text: &str,
    env: impl Iterator<Item = (String, String)>,
) -> Result<Config, Diagnostics> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(syntax(file.unwrap_or_default(), text, &errors));
    }
    let variables = Variables::of(env);
    let places = Places { file, text, table: table.get_ref(), variables: &variables };
    let mut problems: Vec<Problem> = variables.refused.iter().map(refused_variable).collect();
    let (mut tree, oversized) = tree::merged(places.table, &variables);
    let mut broken = Vec::new();
    for path in oversized {
        let place = places.of(&path, Part::Value);
        problems.push(Problem { place, what: "the number does not fit 64 bits".into(), help: Vec::new() });
        broken.extend(tree::remove(&mut tree, &path));
    }
    let (raw, known, tree) = read_shapes(tree, &places, &mut problems, &mut broken);
    problems.extend(unknown_keys(&tree, &known, &places));
    let mut checker = Checker {
        places: &places,
        tree: &tree,
        known: &known,
        broken: &broken,
        problems,
        warnings: Vec::new(),
        region: raw.server.region.clone(),
        appid: raw.account.appid.clone(),
    };
    let config = checker.check(raw);
    match (config, checker.problems) {
        (Some(config), problems) if problems.is_empty() => Ok(config),
        (_, problems) => Err(Diagnostics::new(problems)),
    }
}

fn read(path: &Path) -> Result<String, Diagnostics> {
    let name = path.display().to_string();
    let refuse = |what: String, help: &str| Err(Diagnostics::file(name.clone(), what, help));
    let opened = std::fs::File::open(path).and_then(|file| {
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    let bytes = match opened {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return refuse(
                "this configuration file does not exist".into(),
                "name another file, or start without one: the defaults run",
            );
        }
        Err(e) => {
            let what = format!("this configuration file cannot be read: {e}");
            return refuse(what, "check its permissions and that it is a file");
        }
    };
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let what = format!("this configuration file is larger than {} MiB", MAX_FILE_BYTES >> 20);
        return refuse(what, "is it a TOML file?");
    }
    String::from_utf8(bytes).or_else(|e| {
        let at = e.utf8_error().valid_up_to();
        let line = e.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1;
        refuse(format!("line {line} of this configuration file is not UTF-8"), "save it as UTF-8")
    })
}

fn syntax(file: &str, text: &str, errors: &[toml::de::Error]) -> Diagnostics {
    let problem = |error: &toml::de::Error| Problem {
        place: match error.span() {
            Some(span) => line_of(file, text, span),
            None => Place::File(file.to_owned()),
        },
        what: error.message().lines().collect::<Vec<_>>().join("; "),
        help: vec!["this is not TOML: nothing else was looked at".to_owned()],
    };
    Diagnostics::new(errors.iter().map(problem).collect())
}

fn refused_variable((name, why): &(String, String)) -> Problem {
    let help =
        vec!["unset the variable, or name it as TIDINGS__SERVER__LISTEN names server.listen".to_owned()];
    Problem { place: Place::Variable(name.clone()), what: why.clone(), help }
}

/// Reads the tree into the raw shapes. What does not fit is told, taken out, and the rest is read again, so
/// that one wrong value hides no other.
fn read_shapes(
    mut tree: config::Value,
    places: &Places<'_>,
    problems: &mut Vec<Problem>,
    broken: &mut Vec<KeyPath>,
) -> (Raw, Vec<Known>, config::Value) {
    for _ in 0..MAX_MISFITS {
        let misfit = match decode::decode::<Raw>(&tree) {
            Ok((raw, known)) => return (raw, known, tree),
            Err(misfit) => misfit,
        };
        let at = misfit.path.clone();
        problems.push(misfit_problem(misfit, places));
        match tree::remove(&mut tree, &at) {
            Some(removed) => broken.push(removed),
            None => break,
        }
    }
    broken.push(KeyPath::default());
    (Raw::default(), Vec::new(), tree)
}

fn misfit_problem(misfit: Misfit, places: &Places<'_>) -> Problem {
    let mut help = Vec::new();
    if let Some((word, choices)) = &misfit.choices {
        help.extend(choice_help(word, choices));
    }
    if matches!(misfit.path.0.last(), Some(Step::Key(key)) if key == "rule")
        && places.variables.inside(&misfit.path).is_some()
    {
        help.push("rules can be set in the file only, as [[target.NAME.rule]]".to_owned());
    }
    let what = format!("`{}`: {}", misfit.path.last_key().escape_debug(), misfit.what);
    Problem { place: places.of(&misfit.path, Part::Value), what, help }
}

/// "Did you mean", or everything that would have been right.
pub(super) fn choice_help(word: &str, choices: &[&str]) -> Vec<String> {
    match suggest(word, choices.iter().copied()) {
        Some(near) => vec![format!("did you mean `{near}`?")],
        None if choices.is_empty() => Vec::new(),
        None => vec![format!("allowed are {}", choices.join(", "))],
    }
}

fn unknown_keys(tree: &config::Value, known: &[Known], places: &Places<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, fields) in known {
        let Some(config::ValueKind::Table(table)) = tree::get(tree, path).map(|value| &value.kind) else {
            continue;
        };
        for key in table.keys().filter(|key| !fields.contains(&key.as_str())) {
            let help = match suggest(key, fields.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("{} knows {}", path.header(), fields.join(", ")),
            };
            let place = places.of(&path.key(key), Part::Key);
            problems.push(Problem {
                place,
                what: format!("unknown key `{}`", key.escape_debug()),
                help: vec![help],
            });
        }
    }
    problems
}
