//! The configuration as one tree of plain values: the file first, environment variables over it.
//!
//! Must never coerce a value or know a key: what a value should be is the raw shapes' business.

use std::collections::BTreeMap;
use std::fmt;

use config::{Map, Source, Value, ValueKind};
use toml::de::{DeTable, DeValue};

/// Variables that begin so set keys: `TIDINGS__SERVER__LISTEN` sets `server.listen`.
pub(super) const ENV_PREFIX: &str = "TIDINGS__";
/// What stands between the keys of a variable's name.
const ENV_SEPARATOR: &str = "__";
/// Both layers hang under one key of our own: the merging crate reads root keys as path expressions, and a
/// hostile root key such as `"a[4000000000]"` would make it allocate.
const ROOT: &str = "tidings";

/// One step from a table or a list to what it holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// The value of a key.
    Key(String),
    /// An element of a list, from 0.
    Index(usize),
}

/// The way from the root to a value.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyPath(pub(super) Vec<Step>);

impl KeyPath {
    /// The path of nested keys.
    pub(super) fn of(keys: &[&str]) -> Self {
        Self(keys.iter().map(|k| Step::Key((*k).to_owned())).collect())
    }

    /// One key further.
    pub(super) fn key(&self, key: &str) -> Self {
        self.step(Step::Key(key.to_owned()))
    }

    /// One element further.
    pub(super) fn index(&self, index: usize) -> Self {
        self.step(Step::Index(index))
    }

    fn step(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// The last key on the way; empty at the root.
    pub(super) fn last_key(&self) -> &str {
        match self.0.iter().rfind(|step| matches!(step, Step::Key(_))) {
            Some(Step::Key(key)) => key,
            _ => "",
        }
    }

    /// The table as its header is written: `[target.orders]`, `[[target.orders.rule]]`.
    pub(super) fn header(&self) -> String {
        let keys = |path: &[Step]| KeyPath(path.to_vec()).to_string();
        match self.0.split_last() {
            None => "the file".to_owned(),
            Some((Step::Index(_), list)) => format!("[[{}]]", keys(list)),
            Some(_) => format!("[{}]", keys(&self.0)),
        }
    }

    /// True if `other` is this path or the way to it.
    pub(super) fn starts_with(&self, other: &KeyPath) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if n == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// The environment variables that set keys, by the path each sets.
#[derive(Debug, Clone, Default)]
pub(super) struct Variables {
    /// Path to the variable's name and value.
    pub(super) set: BTreeMap<KeyPath, (String, String)>,
    /// Variables whose names set no key, with the reason.
    pub(super) refused: Vec<(String, String)>,
}

impl Variables {
    /// Picks out of an environment what begins with [`ENV_PREFIX`]; everything else is not ours.
    pub(super) fn of(env: impl Iterator<Item = (String, String)>) -> Self {
        let mut ours: Vec<(String, String)> = env.filter(|(name, _)| name.starts_with(ENV_PREFIX)).collect();
        ours.sort();
        let mut variables = Self::default();
        for (name, value) in ours {
            let keys = name[ENV_PREFIX.len()..].to_ascii_lowercase();
            let keys: Vec<&str> = keys.split(ENV_SEPARATOR).collect();
            if keys.iter().any(|k| k.is_empty()) {
                let why = format!("`{name}` names no key: write {ENV_PREFIX}SECTION__KEY");
                variables.refused.push((name, why));
                continue;
            }
            let path = KeyPath::of(&keys);
            if let Some((other, _)) = variables.set.get(&path) {
                variables.refused.push((name.clone(), format!("`{name}` and `{other}` both set {path}")));
                continue;
            }
            variables.set.insert(path, (name, value));
        }
        variables
    }

    /// The variable that set this value, or a table around it.
    pub(super) fn setting(&self, path: &KeyPath) -> Option<&str> {
        self.set.iter().find(|(p, _)| path.starts_with(p)).map(|(_, (name, _))| name.as_str())
    }

    /// The first variable that set something inside this table.
    pub(super) fn inside(&self, path: &KeyPath) -> Option<&str> {
        self.set.iter().find(|(p, _)| p.starts_with(path)).map(|(_, (name, _))| name.as_str())
    }
}

/// The file's tree with the variables laid over it, and the numbers in the file that do not fit 64 bits.
/// A value that a variable set carries the variable's name as its origin; the file's values have none.
pub(super) fn merged(file: &DeTable<'_>, variables: &Variables) -> (Value, Vec<KeyPath>) {
    let mut oversized = Vec::new();
    let file = table_of(file, &KeyPath::default(), &mut oversized);
    let layers = [Layer(file), Layer(variables_tree(variables))];
    let merged = layers
        .into_iter()
        .fold(config::Config::builder(), |builder, layer| builder.add_source(layer))
        .build()
        .map(|merged| merged.cache.kind);
    let tree = match merged {
        Ok(ValueKind::Table(mut root)) => root.remove(ROOT),
        _ => None,
    };
    (tree.unwrap_or_else(|| Value::new(None, Map::<String, Value>::new())), oversized)
}

/// One source of values, already in the merging crate's form.
#[derive(Debug, Clone)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(Map::from([(ROOT.to_owned(), Value::new(None, self.0.clone()))]))
    }
}

fn table_of(table: &DeTable<'_>, at: &KeyPath, oversized: &mut Vec<KeyPath>) -> Map<String, Value> {
    let value = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let key: &std::borrow::Cow<'_, str> = key.get_ref();
        let kind = kind_of(value.get_ref(), &at.key(key), oversized);
        (key.clone().into_owned(), Value::new(None, kind))
    };
    table.iter().map(value).collect()
}

fn kind_of(value: &DeValue<'_>, at: &KeyPath, oversized: &mut Vec<KeyPath>) -> ValueKind {
    match value {
        DeValue::String(text) => ValueKind::String(text.clone().into_owned()),
        DeValue::Boolean(flag) => ValueKind::Boolean(*flag),
        DeValue::Integer(digits) => match i64::from_str_radix(digits.as_str(), digits.radix()) {
            Ok(number) => ValueKind::I64(number),
            Err(_) => {
                oversized.push(at.clone());
                ValueKind::Nil
            }
        },
        DeValue::Float(digits) => ValueKind::Float(digits.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Datetime(time) => ValueKind::String(time.to_string()),
        DeValue::Array(list) => {
            let element = |(n, value): (usize, &toml::Spanned<DeValue<'_>>)| {
                kind_of(value.get_ref(), &at.index(n), oversized)
            };
            let kinds: Vec<ValueKind> = list.iter().enumerate().map(element).collect();
            ValueKind::Array(kinds.into_iter().map(|kind| Value::new(None, kind)).collect())
        }
        DeValue::Table(table) => ValueKind::Table(table_of(table, at, oversized)),
    }
}

/// The variables as nested tables. Where one variable sets a table that another one reaches into, the later
/// path wins: the shorter one is then no table and is refused by its shape.
fn variables_tree(variables: &Variables) -> Map<String, Value> {
    let mut root: Map<String, Value> = Map::new();
    for (path, (name, value)) in &variables.set {
        let mut table = &mut root;
        for (n, step) in path.0.iter().enumerate() {
            let Step::Key(key) = step else { break };
            if n + 1 == path.0.len() {
                table.insert(key.clone(), Value::new(Some(name), value.clone()));
                break;
            }
            let next =
                table.entry(key.clone()).or_insert_with(|| Value::new(None, Map::<String, Value>::new()));
            match &mut next.kind {
                ValueKind::Table(inner) => table = inner,
                // A shorter variable set a plain value here: keep it, its shape is refused with its name.
                _ => break,
            }
        }
    }
    root
}

/// Takes the value at `path` (or the nearest list or table around it that is a table's own value) out of the
/// tree, so that the rest can be looked at. Gives the path of what was taken; none if nothing was there.
pub(super) fn remove(tree: &mut Value, path: &KeyPath) -> Option<KeyPath> {
    let keys = path.0.iter().rposition(|step| matches!(step, Step::Key(_)))?;
    let (way, last) = (&path.0[..keys], &path.0[keys]);
    let mut at = tree;
    for step in way {
        at = match (step, &mut at.kind) {
            (Step::Key(key), ValueKind::Table(table)) => table.get_mut(key)?,
            (Step::Index(index), ValueKind::Array(list)) => list.get_mut(*index)?,
            _ => return None,
        };
    }
    match (last, &mut at.kind) {
        (Step::Key(key), ValueKind::Table(table)) => {
            table.remove(key)?;
            Some(KeyPath(path.0[..=keys].to_vec()))
        }
        _ => None,
    }
}

/// The value at `path`, if there is one.
pub(super) fn get<'t>(tree: &'t Value, path: &KeyPath) -> Option<&'t Value> {
    path.0.iter().try_fold(tree, |at, step| match (step, &at.kind) {
        (Step::Key(key), ValueKind::Table(table)) => table.get(key),
        (Step::Index(index), ValueKind::Array(list)) => list.get(*index),
        _ => None,
    })
}
