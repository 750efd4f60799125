//! A TCP proxy that does to connections what networks do: it delays, holds, swallows and trickles bytes, and
//! resets.
//!
//! Must never change or reorder what it passes on: a byte arrives as it was sent, or never, with everything
//! behind it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// What one connection's direction holds at most.
const PIECE: usize = 64 << 10;
/// How often a trickle drips.
const DRIP: Duration = Duration::from_millis(50);
/// What a lost packet costs at first; each further loss of the same one costs twice as much.
const RETRANSMISSION: Duration = Duration::from_millis(200);
/// Of 100 pieces, those that a bad line loses.
const LOSSES: u8 = 30;
/// A piece is lost so often in a row at most, which costs 6 s. Eight times cost 51 s, longer than any target
/// of the tests waits: then a repeat is right, and one piece in 15,000 would have it.
const IN_A_ROW: usize = 5;

/// The directions that a trouble lies in, seen from the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// What it sends.
    Up,
    /// What it is answered.
    Down,
    /// Both.
    Both,
}

impl Way {
    fn has(self, one: Self) -> bool {
        self == Self::Both || self == one
    }
}

/// What the network does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing.
    None,
    /// Each piece comes so much later.
    Delay(Duration),
    /// So many bytes a second pass, for each connection and direction.
    Trickle(usize),
    /// 30 of 100 pieces are lost and sent again by TCP, some of them several times.
    Lossy,
    /// Nothing passes, and what was sent arrives later: a partition that TCP outlives.
    Hold(Way),
    /// What is sent vanishes. Such a connection never comes back, and nobody is told: a peer that is gone.
    Swallow(Way),
    /// A connection is reset at a random moment before so many bytes went this way.
    Reset(Way, u64),
    /// Connections are reset, new ones too.
    Refuse,
}

/// One listener, and the address behind it.
pub(crate) struct Proxy {
    address: SocketAddr,
    trouble: watch::Sender<Trouble>,
    line: Arc<Line>,
    task: JoinHandle<()>,
}

/// What all connections share.
struct Line {
    to: String,
    /// How often the trouble of the moment was felt.
    felt: AtomicU64,
}

impl Proxy {
    /// Listens at `at` and leads to `to`. Everything random follows from `seed`.
    pub(crate) async fn start(at: &str, to: String, seed: u64) -> Self {
        let listener = TcpListener::bind(at).await.unwrap_or_else(|e| panic!("a proxy at {at}: {e}"));
        let address = listener.local_addr().expect("bound");
        let trouble = watch::Sender::new(Trouble::None);
        let line = Arc::new(Line { to, felt: AtomicU64::new(0) });
        let (shared, changes) = (Arc::clone(&line), trouble.subscribe());
        let mut rng = fastrand::Rng::with_seed(seed);
        let task = tokio::spawn(async move {
            // Ends with the proxy, connections and all.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let Ok((near, _)) = listener.accept().await else { return };
                while connections.try_join_next().is_some() {}
                connections.spawn(carry(near, Arc::clone(&shared), changes.clone(), rng.fork()));
            }
        });
        Self { address, trouble, line, task }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this happens, to connections that exist too.
    pub(crate) fn set(&self, trouble: Trouble) {
        self.line.felt.store(0, Ordering::Relaxed);
        self.trouble.send_replace(trouble);
    }

    /// How often the trouble that was set last was felt.
    pub(crate) fn felt(&self) -> u64 {
        self.line.felt.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a direction ended.
enum End {
    /// The sender has nothing more to say.
    Eof,
    Reset,
}

/// One connection, from its beginning to the end of both directions.
async fn carry(
    near: TcpStream,
    line: Arc<Line>,
    trouble: watch::Receiver<Trouble>,
    mut rng: fastrand::Rng,
) -> io::Result<()> {
    if now(&trouble) == Trouble::Refuse {
        line.felt.fetch_add(1, Ordering::Relaxed);
        return near.set_zero_linger();
    }
    let far = match TcpStream::connect(&line.to).await {
        Ok(far) => far,
        Err(_) => return near.set_zero_linger(),
    };
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let ((from_near, mut to_near), (from_far, mut to_far)) = (near.into_split(), far.into_split());
    let mut up = Pump::new(Way::Up, Arc::clone(&line), trouble.clone(), rng.fork());
    let mut down = Pump::new(Way::Down, line, trouble, rng.fork());
    let both = async {
        let up = async {
            let end = up.run(from_near, &mut to_far).await;
            if matches!(end, Ok(End::Eof)) && to_far.shutdown().await.is_ok() { Ok(()) } else { Err(()) }
        };
        let down = async {
            let end = down.run(from_far, &mut to_near).await;
            if matches!(end, Ok(End::Eof)) && to_near.shutdown().await.is_ok() { Ok(()) } else { Err(()) }
        };
        tokio::try_join!(up, down).is_err()
    };
    if both.await {
        for half in [to_near, to_far] {
            half.as_ref().set_zero_linger()?;
            // Dropped as it is it would say goodbye first.
            half.forget();
        }
    }
    Ok(())
}

fn now(trouble: &watch::Receiver<Trouble>) -> Trouble {
    *trouble.borrow()
}

/// One direction of one connection.
struct Pump {
    way: Way,
    line: Arc<Line>,
    trouble: watch::Receiver<Trouble>,
    rng: fastrand::Rng,
    /// Something vanished: everything behind it does too.
    lost: bool,
    /// Bytes until the reset, once one is to come.
    left: Option<u64>,
}

impl Pump {
    fn new(way: Way, line: Arc<Line>, trouble: watch::Receiver<Trouble>, rng: fastrand::Rng) -> Self {
        Self { way, line, trouble, rng, lost: false, left: None }
    }

    async fn run(&mut self, mut from: OwnedReadHalf, to: &mut OwnedWriteHalf) -> io::Result<End> {
        let mut piece = vec![0; PIECE];
        loop {
            tokio::select! {
                read = from.read(&mut piece) => {
                    let read = read?;
                    if read == 0 {
                        // Who is not told of the end of a lost connection learns of it when this one ends.
                        return Ok(End::Eof);
                    }
                    if let Some(end) = self.pass(&piece[..read], to).await? {
                        return Ok(end);
                    }
                }
                changed = self.trouble.changed() => {
                    if changed.is_err() {
                        return Ok(End::Reset);
                    }
                }
            }
            if now(&self.trouble) == Trouble::Refuse {
                self.felt();
                return Ok(End::Reset);
            }
        }
    }

    fn felt(&self) {
        self.line.felt.fetch_add(1, Ordering::Relaxed);
    }

    /// Passes one piece on, or what the trouble of this moment leaves of it.
    async fn pass(&mut self, piece: &[u8], to: &mut OwnedWriteHalf) -> io::Result<Option<End>> {
        let mut rest = piece;
        while !rest.is_empty() {
            let trouble = *self.trouble.borrow_and_update();
            if self.lost || matches!(trouble, Trouble::Swallow(way) if way.has(self.way)) {
                self.lost = true;
                self.felt();
                return Ok(None);
            }
            match trouble {
                Trouble::Hold(way) if way.has(self.way) => {
                    self.felt();
                    if self.trouble.changed().await.is_err() {
                        return Ok(Some(End::Reset));
                    }
                    continue;
                }
                Trouble::Refuse => return Ok(Some(End::Reset)),
                Trouble::Delay(time) => {
                    self.felt();
                    sleep(time).await;
                }
                Trouble::Lossy => self.lose().await,
                Trouble::Trickle(bytes) => {
                    self.felt();
                    let each = (bytes * DRIP.as_millis() as usize / 1_000).clamp(1, rest.len());
                    to.write_all(&rest[..each]).await?;
                    rest = &rest[each..];
                    sleep(DRIP).await;
                    continue;
                }
                Trouble::Reset(way, most) if way.has(self.way) => {
                    let left = *self.left.get_or_insert_with(|| self.rng.u64(..=most));
                    if left < rest.len() as u64 {
                        to.write_all(&rest[..left as usize]).await?;
                        self.felt();
                        return Ok(Some(End::Reset));
                    }
                    self.left = Some(left - rest.len() as u64);
                }
                _ => {}
            }
            to.write_all(rest).await?;
            return Ok(None);
        }
        Ok(None)
    }

    /// As long as TCP takes to bring a piece of a bad line.
    async fn lose(&mut self) {
        let mut wait = RETRANSMISSION;
        for _ in 0..IN_A_ROW {
            if self.rng.u8(..100) >= LOSSES {
                return;
            }
            self.felt();
            sleep(wait).await;
            wait *= 2;
        }
    }
}

/// The proxy itself is shown to do what it says, against an echo.
#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(300);
    const LATE: Duration = Duration::from_secs(20);

    async fn echoing() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let to = listener.local_addr().expect("bound").to_string();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = socket.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        Proxy::start("127.0.0.1:0", to, 1).await
    }

    async fn say(socket: &mut TcpStream, text: &str) -> io::Result<String> {
        socket.write_all(text.as_bytes()).await?;
        let mut answer = vec![0; text.len()];
        socket.read_exact(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    #[tokio::test]
    async fn every_trouble_is_what_it_says() {
        let proxy = echoing().await;
        let dial = async || TcpStream::connect(proxy.address()).await.expect("it listens");
        let (mut held, mut lost, mut reset) = (dial().await, dial().await, dial().await);
        for socket in [&mut held, &mut lost, &mut reset] {
            assert_eq!(say(socket, "hello").await.expect("an echo"), "hello");
        }
        for slow in [Trouble::Delay(Duration::from_millis(5)), Trouble::Trickle(1_000), Trouble::Lossy] {
            proxy.set(slow);
            let said = timeout(LATE, say(&mut held, "slowly")).await.expect("it comes");
            assert_eq!(said.expect("an echo"), "slowly", "{slow:?}");
        }
        proxy.set(Trouble::Hold(Way::Down));
        timeout(SOON, say(&mut held, "kept")).await.expect_err("it is held");
        assert!(proxy.felt() > 0);
        proxy.set(Trouble::None);
        let mut kept = [0; 4];
        timeout(LATE, held.read_exact(&mut kept)).await.expect("it comes").expect("whole");
        assert_eq!(&kept, b"kept");
        for way in [Way::Up, Way::Down] {
            proxy.set(Trouble::Swallow(way));
            let mut lost = dial().await;
            timeout(SOON, say(&mut lost, "gone")).await.expect_err("it vanishes");
            proxy.set(Trouble::None);
            timeout(SOON, say(&mut lost, "more")).await.expect_err("and what follows it does");
        }
        assert_eq!(say(&mut lost, "others go on").await.expect("an echo"), "others go on");
        proxy.set(Trouble::Reset(Way::Down, 3));
        say(&mut reset, "four").await.expect_err("it is reset before so many bytes came back");
        assert_eq!(proxy.felt(), 1);
        proxy.set(Trouble::Refuse);
        held.read_exact(&mut kept).await.expect_err("reset though nobody speaks");
        dial().await.read_exact(&mut kept).await.expect_err("and new ones too");
    }
}
