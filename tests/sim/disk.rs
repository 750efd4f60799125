//! A disk in memory that remembers every call: what was written, what was synced, and what was only hoped
//! for.
//!
//! Must never be kinder than a real disk: an unsynced write is a wish, and so is a name whose folder was not
//! synced. A failed sync leaves the bytes readable and never makes them durable, as a page cache does.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidings::journal::{Disk, DiskFile};

/// What a file system hands out.
const BLOCK: u64 = 4096;

/// One call, or one remark of a test about what it was told, in the order in which they happened.
#[derive(Debug, Clone)]
pub enum Op {
    Create { path: PathBuf, node: usize },
    Write { node: usize, at: u64, data: Arc<[u8]> },
    SetLen { node: usize, len: u64 },
    Sync { node: usize },
    SyncFailed { node: usize },
    Rename { from: PathBuf, to: PathBuf, node: usize },
    Remove { path: PathBuf },
    SyncDir { dir: PathBuf },
    MakeDir { dir: PathBuf },
    Mark(Mark),
}

/// What a test was told or did at this place of the trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// Change `n` is on its way.
    Begun(u64),
    /// Change `n` was called durable.
    Durable { n: u64, epoch: u32, offset: u64 },
    /// Everything below may be forgotten.
    Floor(u64),
    /// The far side has change `n`.
    Delivered(u64),
    /// Change `n` was called a dead letter.
    Buried(u64),
    /// The bucket's setting is on its way to this value, or was called durable.
    Setting { value: u64, durable: bool },
    /// Somebody wishes that the dead letter of change `n` goes.
    Purging(u64),
}

/// Which calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call {
    Create,
    Open,
    Write,
    ShortWrite,
    Sync,
    SetLen,
    Rename,
    Remove,
    SyncDir,
    List,
    Read,
}

/// A failure to come: from the `nth` call of this kind on (1 is the next), `times` of them.
#[derive(Debug, Clone)]
pub struct Fault {
    pub call: Call,
    pub nth: u64,
    pub times: u64,
    pub error: io::ErrorKind,
    /// Only calls on paths that contain this.
    pub on: &'static str,
}

/// What lies on a disk after a power cut.
#[derive(Debug, Clone, Default)]
pub struct Image {
    pub files: BTreeMap<PathBuf, Arc<Vec<u8>>>,
    pub dirs: BTreeSet<PathBuf>,
}

struct Node {
    bytes: Arc<Vec<u8>>,
    /// Blocks of 4 KiB that were ever written: a hole takes no space.
    blocks: BTreeSet<u64>,
    /// The name it was last seen under, for faults.
    path: PathBuf,
}

struct State {
    names: BTreeMap<PathBuf, usize>,
    dirs: BTreeSet<PathBuf>,
    nodes: Vec<Node>,
    trace: Vec<Op>,
    fault: Option<Fault>,
    seen: u64,
    fired: u64,
    /// Calls of handles from an earlier life fail: their process is dead.
    life: u64,
    /// Blocks that all files together may take.
    room: Option<u64>,
}

/// A disk in memory.
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    start: Image,
    life: u64,
}

struct SimFile {
    state: Arc<Mutex<State>>,
    node: usize,
    life: u64,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Fails if the process is dead or a fault is due; says how much of a short write is done.
    fn enter(&mut self, life: u64, call: Call, path: &Path) -> io::Result<()> {
        if life != self.life {
            return Err(io::Error::other("this process is dead"));
        }
        let Some(fault) = &self.fault else { return Ok(()) };
        let same = fault.call == call || (fault.call == Call::ShortWrite && call == Call::Write);
        if !same || !path.to_string_lossy().contains(fault.on) {
            return Ok(());
        }
        self.seen += 1;
        if self.seen >= fault.nth && self.seen - fault.nth < fault.times {
            self.fired += 1;
            return Err(fault.error.into());
        }
        Ok(())
    }

    /// Blocks that files with a name take.
    fn used(&self) -> u64 {
        self.names.values().map(|n| self.nodes[*n].blocks.len() as u64).sum()
    }

    /// Takes the blocks of a write, or fails if there are not so many.
    fn allocate(&mut self, node: usize, at: u64, len: usize) -> io::Result<()> {
        let blocks = at / BLOCK..(at + len as u64).div_ceil(BLOCK);
        let fresh: Vec<u64> = blocks.filter(|b| !self.nodes[node].blocks.contains(b)).collect();
        if !fresh.is_empty() && self.room.is_some_and(|room| self.used() + fresh.len() as u64 > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.nodes[node].blocks.extend(fresh);
        Ok(())
    }

    fn path_of(&self, node: usize) -> PathBuf {
        self.nodes[node].path.clone()
    }
}

impl SimDisk {
    /// An empty disk with one folder.
    pub fn new(dir: &Path) -> Self {
        let dirs = dir.ancestors().map(Path::to_owned).collect();
        Self::from_image(Image { files: BTreeMap::new(), dirs })
    }

    /// A disk that holds what a power cut left.
    pub fn from_image(start: Image) -> Self {
        let mut names = BTreeMap::new();
        let mut nodes = Vec::new();
        for (path, bytes) in &start.files {
            names.insert(path.clone(), nodes.len());
            let blocks = (0..(bytes.len() as u64).div_ceil(BLOCK)).collect();
            nodes.push(Node { bytes: Arc::clone(bytes), blocks, path: path.clone() });
        }
        let state = State {
            names,
            dirs: start.dirs.clone(),
            nodes,
            trace: Vec::new(),
            fault: None,
            seen: 0,
            fired: 0,
            life: 0,
            room: None,
        };
        Self { state: Arc::new(Mutex::new(state)), start, life: 0 }
    }

    /// What the trace begins with.
    pub fn start(&self) -> &Image {
        &self.start
    }

    /// Every call so far.
    pub fn trace(&self) -> Vec<Op> {
        lock(&self.state).trace.clone()
    }

    /// Looks at the trace without a copy.
    pub fn see<T>(&self, look: impl FnOnce(&[Op]) -> T) -> T {
        look(&lock(&self.state).trace)
    }

    /// Notes something beside the calls.
    pub fn mark(&self, mark: Mark) {
        let mut state = lock(&self.state);
        if state.life == self.life {
            state.trace.push(Op::Mark(mark));
        }
    }

    /// Ends the process that uses the disk, at this very moment: all its calls fail from now on. What it
    /// wrote stays in the cache. Gives the disk to the next one.
    pub fn kill(&self) -> Self {
        let mut state = lock(&self.state);
        state.life += 1;
        Self { state: Arc::clone(&self.state), start: self.start.clone(), life: state.life }
    }

    /// Lets calls fail.
    pub fn fail(&self, fault: Option<Fault>) {
        let mut state = lock(&self.state);
        (state.fault, state.seen, state.fired) = (fault, 0, 0);
    }

    /// Bounds the disk: this many bytes are free from now on; none: there is no bound.
    pub fn leave_free(&self, bytes: Option<u64>) {
        let mut state = lock(&self.state);
        state.room = bytes.map(|bytes| state.used() + bytes / BLOCK);
    }

    /// How many calls failed since the last [`SimDisk::fail`].
    pub fn fired(&self) -> u64 {
        lock(&self.state).fired
    }

    /// What the files hold now, as a process sees it.
    pub fn cached(&self) -> Image {
        let state = lock(&self.state);
        let files = state.names.iter().map(|(p, n)| (p.clone(), Arc::clone(&state.nodes[*n].bytes)));
        Image { files: files.collect(), dirs: state.dirs.clone() }
    }

    /// Changes bytes behind everybody's back.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = lock(&self.state);
        let node = state.names[path];
        change(Arc::make_mut(&mut state.nodes[node].bytes));
    }

    /// The same bytes, ready to go wrong.
    pub fn disk(self: &Arc<Self>) -> Arc<dyn Disk> {
        Arc::clone(self) as Arc<dyn Disk>
    }

    fn file(&self, node: usize) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { state: Arc::clone(&self.state), node, life: self.life })
    }
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{} is not there", path.display()))
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = lock(&self.state);
        state.enter(self.life, Call::Create, path)?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !path.parent().is_some_and(|dir| state.dirs.contains(dir)) {
            return Err(not_found(path));
        }
        let node = state.nodes.len();
        state.nodes.push(Node { bytes: Arc::default(), blocks: BTreeSet::new(), path: path.to_owned() });
        state.names.insert(path.to_owned(), node);
        state.trace.push(Op::Create { path: path.to_owned(), node });
        drop(state);
        Ok(self.file(node))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = lock(&self.state);
        state.enter(self.life, Call::Open, path)?;
        let node = *state.names.get(path).ok_or_else(|| not_found(path))?;
        drop(state);
        Ok(self.file(node))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.enter(self.life, Call::Rename, to)?;
        let node = state.names.remove(from).ok_or_else(|| not_found(from))?;
        state.names.insert(to.to_owned(), node);
        state.nodes[node].path = to.to_owned();
        state.trace.push(Op::Rename { from: from.to_owned(), to: to.to_owned(), node });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.enter(self.life, Call::Remove, path)?;
        state.names.remove(path).ok_or_else(|| not_found(path))?;
        state.trace.push(Op::Remove { path: path.to_owned() });
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        if !state.dirs.contains(dir) {
            return Err(not_found(dir));
        }
        state.enter(self.life, Call::SyncDir, dir)?;
        state.trace.push(Op::SyncDir { dir: dir.to_owned() });
        Ok(())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.enter(self.life, Call::Create, dir)?;
        let missing: Vec<_> = dir.ancestors().filter(|d| !state.dirs.contains(*d)).collect();
        for dir in missing.into_iter().rev() {
            state.dirs.insert(dir.to_owned());
            state.trace.push(Op::MakeDir { dir: dir.to_owned() });
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let mut state = lock(&self.state);
        state.enter(self.life, Call::List, dir)?;
        if !state.dirs.contains(dir) {
            return Err(not_found(dir));
        }
        Ok(state.names.keys().filter(|p| p.parent() == Some(dir)).cloned().collect())
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, data: &[u8], at: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        let path = state.path_of(self.node);
        let short = state.fault.as_ref().is_some_and(|f| f.call == Call::ShortWrite);
        let entered = state.enter(self.life, Call::Write, &path);
        if entered.is_ok() {
            state.allocate(self.node, at, data.len())?;
        }
        let alive = self.life == state.life;
        let data = match &entered {
            Ok(()) => data,
            Err(_) if short && alive => &data[..data.len() / 2],
            Err(_) => return entered,
        };
        write(Arc::make_mut(&mut state.nodes[self.node].bytes), data, at);
        state.trace.push(Op::Write { node: self.node, at, data: data.into() });
        entered
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let mut state = lock(&self.state);
        let path = state.path_of(self.node);
        state.enter(self.life, Call::Read, &path)?;
        let bytes = Arc::clone(&state.nodes[self.node].bytes);
        drop(state);
        let Some(from) = bytes.get(usize::try_from(at).unwrap_or(usize::MAX)..) else { return Ok(0) };
        let n = from.len().min(buf.len());
        buf[..n].copy_from_slice(&from[..n]);
        Ok(n)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        let path = state.path_of(self.node);
        let entered = state.enter(self.life, Call::Sync, &path);
        if entered.is_ok() {
            state.trace.push(Op::Sync { node: self.node });
        } else if self.life == state.life {
            state.trace.push(Op::SyncFailed { node: self.node });
        }
        entered
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        let path = state.path_of(self.node);
        state.enter(self.life, Call::SetLen, &path)?;
        Arc::make_mut(&mut state.nodes[self.node].bytes).resize(len as usize, 0);
        state.nodes[self.node].blocks.retain(|block| block * BLOCK < len);
        state.trace.push(Op::SetLen { node: self.node, len });
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let state = lock(&self.state);
        if self.life != state.life {
            return Err(io::Error::other("this process is dead"));
        }
        Ok(state.nodes[self.node].bytes.len() as u64)
    }
}

/// Writes into a file's bytes, which grow where needed.
pub fn write(bytes: &mut Vec<u8>, data: &[u8], at: u64) {
    let (at, end) = (at as usize, at as usize + data.len());
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[at..end].copy_from_slice(data);
}
