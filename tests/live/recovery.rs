//! How long a start takes after a kill, over events that wait: until it is ready, and until the first of them
//! is delivered.
//!
//! Must never assert a time: a loaded machine says nothing. What is asserted is that everything arrives.

use tokio::time::{Duration, Instant, sleep};

use crate::far::FarSide as _;
use crate::finish::conclude;
use crate::load::{Load, Plan};
use crate::receiver::Receiver;
use crate::server::Server;
use crate::{books, seed, turn};

const ASK_EVERY: Duration = Duration::from_millis(5);

/// How many events wait: `TIDINGS_BACKLOGS`, several of them, or one small number.
fn backlogs() -> Vec<u64> {
    let text = std::env::var("TIDINGS_BACKLOGS").unwrap_or_else(|_| "10000".to_owned());
    text.split(',').map(|n| n.parse().unwrap_or_else(|_| panic!("TIDINGS_BACKLOGS={text}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_over_a_backlog_delivers_all_of_it() {
    let _turn = turn().await;
    for events in backlogs() {
        let far = Receiver::start().await;
        let mut server = Server::new(&far, "[target.live]\nbackoff_max = \"1s\"\n");
        let ready = server.start().await;
        crate::stuck::bucket(&ready, "live-recovery").await;
        let away = far.kill().await;
        let plan = Plan { clients: 64, keys: 5_000, changes: events, reads: 0, ..crate::stuck::PLAN };
        let load = Load::start("live-recovery", Plan { seed: seed("recovery"), ..plan });
        load.serve(Some(ready.s3.clone()));
        load.acknowledged(events).await;
        let shared = load.finished().await;
        server.kill().await;
        away.mend().await;
        let began = Instant::now();
        let ready = server.start().await;
        let ready_ms = began.elapsed().as_millis();
        while books::read(&ready.admin).await.books.delivered == 0 {
            sleep(ASK_EVERY).await;
        }
        let first_ms = began.elapsed().as_millis();
        println!("figure: ready_ms_{events}={ready_ms} first_ms_{events}={first_ms}");
        conclude("recovery", &mut server, &ready, &shared, &far, 0).await;
    }
}
