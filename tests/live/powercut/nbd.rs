//! A block device that remembers every write and every flush, in the order in which it took them: an NBD
//! server (fixed newstyle, <https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md>).
//!
//! Must never answer a write or a flush before it is in the list, and must take one request after the other:
//! the list is what a disk might have done.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

const MAGIC: u64 = 0x4e42_444d_4147_4943;
const OPTION: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;
const FIXED_NEWSTYLE_NO_ZEROES: u16 = 3;
const OPT_ABORT: u32 = 2;
const OPT_GO: u32 = 7;
const REP_ACK: u32 = 1;
const REP_INFO: u32 = 3;
const REP_ERR_UNSUP: u32 = (1 << 31) + 1;
/// Has flags, flushes, knows forced unit access.
const EXPORT_FLAGS: u16 = 1 | 4 | 8;
const FORCED: u16 = 1;
const READ: u16 = 0;
const WRITE: u16 = 1;
const DISCONNECT: u16 = 2;
const FLUSH: u16 = 3;
/// A request is not larger than this; 32 MiB is what clients keep to.
const MAX_REQUEST: u32 = 32 << 20;

/// One thing that the device was asked to do, and when on the clock that the clients' answers use too.
pub(crate) enum Done {
    /// May be on the disk, or a part of it, until a flush follows.
    Write { tick: u64, at: usize, bytes: Vec<u8> },
    /// Everything before it is on the disk.
    Flush { tick: u64 },
}

impl Done {
    pub(crate) fn tick(&self) -> u64 {
        match self {
            Self::Write { tick, .. } | Self::Flush { tick } => *tick,
        }
    }
}

/// The device: what reads see, and how it came to be.
pub(crate) struct Device {
    clock: Arc<AtomicU64>,
    inner: Mutex<Inner>,
}

struct Inner {
    bytes: Vec<u8>,
    done: Vec<Done>,
}

impl Device {
    /// Zeros of this many bytes, served at a socket until the process ends.
    pub(crate) fn serve(socket: &Path, bytes: usize, clock: &Arc<AtomicU64>) -> io::Result<Arc<Self>> {
        let inner = Mutex::new(Inner { bytes: vec![0; bytes], done: Vec::new() });
        let device = Arc::new(Self { clock: Arc::clone(clock), inner });
        let (listener, served) = (UnixListener::bind(socket)?, Arc::clone(&device));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let device = Arc::clone(&served);
                // A client that goes away ends its own connection, and nothing else.
                std::thread::spawn(move || device.connection(stream));
            }
        });
        Ok(device)
    }

    /// Everything that was done so far, which it forgets.
    pub(crate) fn take(&self) -> Vec<Done> {
        std::mem::take(&mut self.lock().done)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn connection(&self, mut stream: UnixStream) -> io::Result<()> {
        if self.negotiate(&mut stream)? {
            while self.request(&mut stream)? {}
        }
        Ok(())
    }

    /// True once the client wants to go on to requests.
    fn negotiate(&self, stream: &mut UnixStream) -> io::Result<bool> {
        stream.write_all(&[&MAGIC.to_be_bytes()[..], &OPTION.to_be_bytes()].concat())?;
        stream.write_all(&FIXED_NEWSTYLE_NO_ZEROES.to_be_bytes())?;
        let _flags: [u8; 4] = take(stream)?;
        loop {
            let _magic: [u8; 8] = take(stream)?;
            let option = u32::from_be_bytes(take(stream)?);
            let length = u32::from_be_bytes(take(stream)?).min(MAX_REQUEST);
            stream.read_exact(&mut vec![0; length as usize])?;
            let mut reply = |kind: u32, data: &[u8]| {
                let head = [&OPTION_REPLY.to_be_bytes()[..], &option.to_be_bytes(), &kind.to_be_bytes()];
                let length = (data.len() as u32).to_be_bytes();
                stream.write_all(&[&head.concat()[..], &length, data].concat())
            };
            match option {
                OPT_GO => {
                    let size = self.lock().bytes.len() as u64;
                    let export = [&[0, 0][..], &size.to_be_bytes(), &EXPORT_FLAGS.to_be_bytes()].concat();
                    reply(REP_INFO, &export)?;
                    reply(REP_ACK, &[])?;
                    return Ok(true);
                }
                OPT_ABORT => {
                    reply(REP_ACK, &[])?;
                    return Ok(false);
                }
                _ => reply(REP_ERR_UNSUP, &[])?,
            }
        }
    }

    /// One request; false if it was the last.
    fn request(&self, stream: &mut UnixStream) -> io::Result<bool> {
        let head: [u8; 28] = take(stream)?;
        let number = |from: usize, bytes: usize| {
            head[from..from + bytes].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        };
        let (flags, kind) = (number(4, 2) as u16, number(6, 2) as u16);
        let (at, length) = (number(16, 8) as usize, number(24, 4) as usize);
        if number(0, 4) != u64::from(REQUEST) || length > MAX_REQUEST as usize {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut answer = Vec::new();
        answer.extend_from_slice(&REPLY.to_be_bytes());
        answer.extend_from_slice(&[0; 4]);
        answer.extend_from_slice(&head[8..16]);
        match kind {
            READ => answer.extend_from_slice(&self.lock().bytes[at..at + length]),
            WRITE => {
                let mut bytes = vec![0; length];
                stream.read_exact(&mut bytes)?;
                let mut inner = self.lock();
                inner.bytes[at..at + length].copy_from_slice(&bytes);
                inner.done.push(Done::Write { tick: self.tick(), at, bytes });
                if flags & FORCED != 0 {
                    // More than was asked: what else was written is on the disk with it.
                    inner.done.push(Done::Flush { tick: self.tick() });
                }
            }
            FLUSH => {
                let mut inner = self.lock();
                inner.done.push(Done::Flush { tick: self.tick() });
            }
            DISCONNECT => return Ok(false),
            _ => answer[4..8].copy_from_slice(&22_u32.to_be_bytes()),
        }
        stream.write_all(&answer)?;
        Ok(true)
    }
}

fn take<const N: usize>(stream: &mut UnixStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}
