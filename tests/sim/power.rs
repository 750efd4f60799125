//! What a power cut may leave behind: for every place of a trace, subsets of what was not synced.
//!
//! Rules: a file's bytes are durable after its sync, a name after its folder's. Between them any subset of
//! writes may have reached the disk, whole, as some of its 512-byte sectors, or as noise in every 4 KiB block
//! it touched; any subset of creations, renames and removals may have happened. Must never lose what was
//! synced, or it would prove nothing.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Image, Op, write};

const SECTOR: u64 = 512;
const BLOCK: u64 = 4096;

/// One thing that happened and was not synced.
#[derive(Debug, Clone)]
enum Wish {
    Write {
        node: usize,
        at: u64,
        data: Arc<[u8]>,
    },
    SetLen {
        node: usize,
        len: u64,
    },
    /// Names in one folder, set and taken away together.
    Names {
        dir: PathBuf,
        set: Option<(PathBuf, usize)>,
        gone: Option<PathBuf>,
    },
    MakeDir {
        dir: PathBuf,
    },
}

/// How much of a wish came true.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Come {
    Nothing,
    Whole,
    /// These sectors, counted from the write's first one.
    Sectors(Vec<u64>),
    /// Every 4 KiB block that the write touched is noise: some drives write back what stands beside a sector.
    Noise,
}

/// Walks a trace and knows what is durable at each place.
pub struct Power {
    nodes: Vec<Arc<Vec<u8>>>,
    names: BTreeMap<PathBuf, usize>,
    dirs: BTreeSet<PathBuf>,
    wishes: Vec<Wish>,
    rng: fastrand::Rng,
    /// Images at most per place.
    per_place: usize,
    seen: HashSet<u64>,
    version: u64,
}

impl Power {
    /// Begins with a disk as it was.
    pub fn new(start: &Image, seed: u64, per_place: usize) -> Self {
        let mut power = Self {
            nodes: Vec::new(),
            names: BTreeMap::new(),
            dirs: start.dirs.clone(),
            wishes: Vec::new(),
            rng: fastrand::Rng::with_seed(seed),
            per_place,
            seen: HashSet::new(),
            version: 0,
        };
        for (path, bytes) in &start.files {
            power.names.insert(path.clone(), power.nodes.len());
            power.nodes.push(Arc::clone(bytes));
        }
        power
    }

    /// Goes over one call.
    pub fn pass(&mut self, op: &Op) {
        match op {
            Op::Create { path, node } => {
                assert_eq!(*node, self.nodes.len(), "the trace has holes");
                self.nodes.push(Arc::default());
                self.wish_names(path, Some((path.clone(), *node)), None);
            }
            Op::Write { node, at, data } => {
                self.wishes.push(Wish::Write { node: *node, at: *at, data: Arc::clone(data) });
            }
            Op::SetLen { node, len } => self.wishes.push(Wish::SetLen { node: *node, len: *len }),
            Op::Sync { node } => {
                self.version += 1;
                for wish in self.take(|w| node_of(w) == Some(*node)) {
                    self.grant(wish);
                }
            }
            Op::SyncFailed { node } => {
                self.version += 1;
                // The cache calls these pages clean now: nothing will ever write them.
                self.take(|w| node_of(w) == Some(*node));
            }
            Op::Rename { from, to, node } => {
                self.wish_names(to, Some((to.clone(), *node)), Some(from.clone()));
            }
            Op::Remove { path } => self.wish_names(path, None, Some(path.clone())),
            Op::SyncDir { dir } => {
                self.version += 1;
                for wish in self.take(|w| dir_of(w) == Some(dir.as_path())) {
                    self.grant(wish);
                }
            }
            Op::MakeDir { dir } => self.wishes.push(Wish::MakeDir { dir: dir.clone() }),
            Op::Mark(_) => {}
        }
    }

    fn wish_names(&mut self, path: &Path, set: Option<(PathBuf, usize)>, gone: Option<PathBuf>) {
        let dir = path.parent().map(Path::to_owned).unwrap_or_default();
        self.wishes.push(Wish::Names { dir, set, gone });
    }

    fn take(&mut self, which: impl Fn(&Wish) -> bool) -> Vec<Wish> {
        let (taken, left) = std::mem::take(&mut self.wishes).into_iter().partition(which);
        self.wishes = left;
        taken
    }

    fn grant(&mut self, wish: Wish) {
        match wish {
            Wish::Write { node, at, data } => write(Arc::make_mut(&mut self.nodes[node]), &data, at),
            Wish::SetLen { node, len } => Arc::make_mut(&mut self.nodes[node]).resize(len as usize, 0),
            Wish::Names { set, gone, .. } => {
                gone.map(|path| self.names.remove(&path));
                set.map(|(path, node)| self.names.insert(path, node));
            }
            Wish::MakeDir { dir } => {
                self.dirs.insert(dir);
            }
        }
    }

    /// Gives what a power cut at this place may leave, each image once.
    pub fn images(&mut self, mut give: impl FnMut(Image)) {
        let mut plans: Vec<Vec<Come>> = Vec::new();
        let n = self.wishes.len();
        let none = vec![Come::Nothing; n];
        let all = vec![Come::Whole; n];
        plans.push(none.clone());
        plans.push(all.clone());
        for at in (0..n).filter(|at| !self.is_boring(*at)).collect::<Vec<_>>() {
            for (base, one) in [(&none, Come::Whole), (&all, Come::Nothing)] {
                let mut plan = base.clone();
                plan[at] = one;
                plans.push(plan);
            }
            for torn in self.tears(at) {
                for base in [&none, &all] {
                    let mut plan = base.clone();
                    plan[at] = torn.clone();
                    plans.push(plan);
                }
            }
        }
        while plans.len() < self.per_place && n > 1 {
            let plan = (0..n).map(|at| self.some(at)).collect();
            plans.push(plan);
        }
        // The newest wishes matter most, and are at the end.
        while plans.len() > self.per_place {
            let at = self.rng.usize(2..plans.len());
            plans.swap_remove(at);
        }
        for plan in plans {
            if self.is_new(&plan) {
                give(self.image(&plan));
            }
        }
    }

    /// What a power cut at this place leaves at least: nothing that was not synced.
    pub fn least(&self) -> Image {
        self.image(&vec![Come::Nothing; self.wishes.len()])
    }

    fn some(&mut self, at: usize) -> Come {
        match self.rng.u8(0..4) {
            0 => Come::Nothing,
            1 | 2 => Come::Whole,
            _ => {
                let tears = self.tears(at);
                if tears.is_empty() { Come::Nothing } else { tears[self.rng.usize(0..tears.len())].clone() }
            }
        }
    }

    /// Ways in which one write may be torn; none where nobody will look.
    fn tears(&mut self, at: usize) -> Vec<Come> {
        let Wish::Write { node, at, data } = &self.wishes[at] else { return Vec::new() };
        let sectors = (*at + data.len() as u64).div_ceil(SECTOR) - at / SECTOR;
        if sectors < 2 || self.is_temporary(*node) {
            return Vec::new();
        }
        let any = (0..sectors).filter(|_| self.rng.bool()).collect();
        let mut tears = vec![
            Come::Sectors((0..1).collect()),
            Come::Sectors((1..sectors).collect()),
            Come::Sectors((0..sectors - 1).collect()),
            Come::Sectors((0..sectors / 2).collect()),
            Come::Sectors(any),
        ];
        // An engine of others may count on sectors; our own formats count on blocks.
        if !self.is_named(*node, ".redb") {
            tears.push(Come::Noise);
        }
        tears
    }

    /// Bytes of a file that the next start removes unread.
    fn is_boring(&self, at: usize) -> bool {
        node_of(&self.wishes[at]).is_some_and(|node| self.is_temporary(node))
    }

    fn is_temporary(&self, node: usize) -> bool {
        let tmp = |path: &Path| path.to_string_lossy().ends_with(".tmp");
        let wished = self.wishes.iter().any(|w| match w {
            Wish::Names { set: Some((path, n)), .. } => *n == node && !tmp(path),
            _ => false,
        });
        !wished && !self.names.iter().any(|(path, n)| *n == node && !tmp(path))
    }

    fn is_named(&self, node: usize, part: &str) -> bool {
        let named = |path: &Path| path.to_string_lossy().contains(part);
        let wished = self.wishes.iter().any(|w| match w {
            Wish::Names { set: Some((path, n)), .. } => *n == node && named(path),
            _ => false,
        });
        wished || self.names.iter().any(|(path, n)| *n == node && named(path))
    }

    fn is_new(&mut self, plan: &[Come]) -> bool {
        let mut hasher = DefaultHasher::new();
        self.version.hash(&mut hasher);
        // Wishes that stay unfulfilled make no difference.
        for (at, come) in plan.iter().enumerate().filter(|(_, come)| **come != Come::Nothing) {
            (at, come).hash(&mut hasher);
        }
        self.seen.insert(hasher.finish())
    }

    fn image(&self, plan: &[Come]) -> Image {
        let (mut names, mut dirs) = (self.names.clone(), self.dirs.clone());
        let mut changed: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        for (wish, come) in self.wishes.iter().zip(plan).filter(|(_, come)| **come != Come::Nothing) {
            match wish {
                Wish::Write { node, at, data } => {
                    let bytes = changed.entry(*node).or_insert_with(|| self.nodes[*node].to_vec());
                    put(bytes, data, *at, come);
                }
                Wish::SetLen { node, len } => {
                    let bytes = changed.entry(*node).or_insert_with(|| self.nodes[*node].to_vec());
                    bytes.resize(*len as usize, 0);
                }
                Wish::Names { set, gone, .. } => {
                    gone.as_ref().map(|path| names.remove(path));
                    set.as_ref().map(|(path, node)| names.insert(path.clone(), *node));
                }
                Wish::MakeDir { dir } => {
                    dirs.insert(dir.clone());
                }
            }
        }
        // What lies in a folder whose own name is gone is gone with it.
        let reachable = |path: &Path| path.ancestors().skip(1).all(|dir| dirs.contains(dir));
        let dirs = dirs.iter().filter(|dir| reachable(dir)).cloned().collect();
        let mut files = BTreeMap::new();
        for (path, node) in names.into_iter().filter(|(path, _)| reachable(path)) {
            let bytes =
                changed.get(&node).map_or_else(|| Arc::clone(&self.nodes[node]), |b| Arc::new(b.clone()));
            files.insert(path, bytes);
        }
        Image { files, dirs }
    }
}

fn node_of(wish: &Wish) -> Option<usize> {
    match wish {
        Wish::Write { node, .. } | Wish::SetLen { node, .. } => Some(*node),
        _ => None,
    }
}

fn dir_of(wish: &Wish) -> Option<&Path> {
    match wish {
        Wish::Names { dir, .. } => Some(dir),
        Wish::MakeDir { dir } => dir.parent(),
        _ => None,
    }
}

fn put(bytes: &mut Vec<u8>, data: &[u8], at: u64, come: &Come) {
    match come {
        Come::Nothing => {}
        Come::Whole => write(bytes, data, at),
        Come::Sectors(sectors) => {
            let first = at / SECTOR;
            for sector in sectors {
                let from = ((first + sector) * SECTOR).max(at) - at;
                let to = (((first + sector + 1) * SECTOR) - at).min(data.len() as u64);
                write(bytes, &data[from as usize..to as usize], at + from);
            }
        }
        Come::Noise => {
            let (from, to) = (at / BLOCK * BLOCK, (at + data.len() as u64).next_multiple_of(BLOCK));
            let noise: Vec<u8> = (from..to).map(|n| (n as u8).wrapping_mul(37) | 1).collect();
            write(bytes, &noise, from);
        }
    }
}
