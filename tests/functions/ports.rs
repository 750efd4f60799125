//! Programs of one's own in the machine's network, where others listen too.
//!
//! Must never listen where a program would, but for the one that is to be mistaken for it.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::world::World;

/// Tells its port to whoever listens at the address, and waits; serves there only if it is told to.
fn program(address: &str) -> String {
    format!(
        "#!/usr/bin/python3\nimport os, socket\nport = os.environ['PORT']\n\
         host, at = '{address}'.split(':')\ntold = socket.create_connection((host, int(at)))\n\
         told.sendall(port.encode() + b'\\n')\n\
         if told.recv(1) == b's':\n s = socket.create_server(('127.0.0.1', int(port)))\n while True:\n  \
         c, _ = s.accept(); c.recv(65536)\n  \
         c.sendall(b'HTTP/1.1 200 ok\\r\\ncontent-length: 6\\r\\n\\r\\n\"mine\"'); c.close()\n\
         told.recv(1)\n"
    )
}

/// The port that the next program tells, and how to answer it.
async fn told(listener: &TcpListener) -> (u16, TcpStream) {
    let (mut stream, _) = listener.accept().await.expect("a program");
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        line.push(stream.read_u8().await.expect("a port"));
    }
    (String::from_utf8(line).expect("a number").trim().parse().expect("a number"), stream)
}

/// Answers everybody as if it were the function.
async fn answer(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = [0; 65_536];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(b"HTTP/1.1 200 ok\r\ncontent-length: 8\r\n\r\n\"stolen\"").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_listens_first_on_a_programs_port_does_not_get_its_events() {
    let world = World::start("").await;
    let address = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let code = program(&address.local_addr().expect("bound").to_string());
    let more = ["--runtime", "custom", "--network", "all", "--timeout", "60", "--start-timeout", "5"];
    world.create("mine", &code, &more).await;
    let served = async {
        let (_, mut program) = told(&address).await;
        program.write_all(b"s").await.expect("told");
        program
    };
    let (ended, _program) = tokio::join!(world.invoke("mine"), served);
    assert_eq!((&ended["status"], &ended["result"]), (&200.into(), &"\"mine\"".into()), "{ended}");
    // A new instance, whose port is somebody else's by the time that it would listen.
    world.json(&["function", "update", "mine", "--text", &format!("{code}\n")]).await;
    let stolen = async {
        let (port, program) = told(&address).await;
        let thief = TcpListener::bind(("127.0.0.1", port)).await.expect("nobody listens there yet");
        tokio::spawn(answer(thief));
        program
    };
    let (ended, _program) = tokio::join!(world.invoke("mine"), stolen);
    assert_eq!(ended["status"], 446, "{ended}");
    assert!(ended["log"].as_str().expect("text").contains("somebody else listens"), "{ended}");
}
