//! Names looked up, a bounded number at once.
//!
//! Each lookup holds a thread until the system's resolver answers, which takes seconds where a name server is
//! silent; the same threads read files. Must never let one that was given up make room before its thread is
//! free.

use std::io;
use std::net::SocketAddr;

use tokio::sync::Semaphore;

/// Lookups at once: half of the threads that the runtime has for what blocks.
const MAX_LOOKUPS: usize = 256;

static ROOM: Semaphore = Semaphore::const_new(MAX_LOOKUPS);

/// The addresses of a host, a name or itself an address. Waits for room; the caller bounds the time.
pub(crate) async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let room = ROOM.acquire().await.map_err(io::Error::other)?;
    let host = host.to_owned();
    // In a task of its own: whoever stops waiting does not stop the thread.
    let looking = tokio::spawn(async move {
        let _room = room;
        tokio::net::lookup_host((host, port)).await.map(Iterator::collect)
    });
    looking.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test]
    async fn who_finds_no_room_waits_for_a_lookup_to_end() {
        let all = ROOM.acquire_many(MAX_LOOKUPS as u32).await.expect("never closed");
        let mut waiting = Box::pin(look_up("127.0.0.1", 80));
        let mut nobody = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut nobody).is_pending(), "no room");
        drop(all);
        assert_eq!(waiting.await.expect("an address"), ["127.0.0.1:80".parse().expect("an address")]);
        // What was given up before it began leaves its room, too.
        drop(look_up("127.0.0.1", 80));
        drop(ROOM.acquire_many(MAX_LOOKUPS as u32).await.expect("all of it is free again"));
    }
}
