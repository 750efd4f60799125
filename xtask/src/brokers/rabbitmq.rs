//! RabbitMQ as a process, from the system's package, with its own ports, data and name service. Must never
//! use, nor meet, the node that a system's service runs.

use std::env;

use anyhow::{Context, Result};

use super::local::{Home, Recipe};
use super::wire;
use crate::packages::Need;

/// The server itself. The script of the same name on `PATH` would change the user and with it the data
/// directory.
pub(crate) const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// The program that tells a node what to do, by its full path: the script on `PATH` changes the user.
const LOCAL_CONTROL: &str = "/usr/lib/rabbitmq/bin/rabbitmqctl";
/// The same in a container.
pub(super) const CONTROL: &str = "rabbitmqctl";
/// A node without memory left tells publishers to wait.
pub(super) const NO_MEMORY: [&str; 2] = ["set_vm_memory_high_watermark", "0"];
/// As its configuration says.
pub(super) const MEMORY: [&str; 3] = ["set_vm_memory_high_watermark", "absolute", "1GB"];
const CONFIG: &str = include_str!("../../rabbitmq/rabbitmq.conf.in");

/// One node.
pub(super) struct Node;

impl Recipe for Node {
    fn needs(&self) -> Result<Vec<Need>> {
        Ok(vec![Need::Rabbitmq])
    }

    fn prepare(&self, home: &Home, port: u16) -> Result<Vec<String>> {
        let mut ports = vec![port];
        while ports.len() < 3 {
            let next = wire::free_port()?;
            if !ports.contains(&next) {
                ports.push(next);
            }
        }
        let (distribution, names) = (ports[1].to_string(), ports[2].to_string());
        for dir in ["home", "data", "log"] {
            home.make(dir)?;
        }
        home.write("rabbitmq.conf", CONFIG.replace("@PORT@", &port.to_string()))?;
        home.write("enabled_plugins", "[].\n")?;
        home.write("names.port", &names)?;
        let mut words: Vec<String> = vec!["env".into(), "-i".into()];
        let path = env::var("PATH").context("PATH is not set, or not UTF-8")?;
        let variables = [
            ("PATH", path),
            ("LANG", "C.UTF-8".into()),
            // Where the cookie is made; by this the process is found.
            ("HOME", home.path("home")?),
            // Independent of the machine's own name, which need not resolve.
            ("RABBITMQ_NODENAME", "tidings@localhost".into()),
            ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1".into()),
            ("RABBITMQ_NODE_PORT", port.to_string()),
            ("RABBITMQ_DIST_PORT", distribution),
            ("RABBITMQ_MNESIA_BASE", home.path("data")?),
            ("RABBITMQ_LOG_BASE", home.path("log")?),
            ("RABBITMQ_PID_FILE", home.path("beam.pid")?),
            ("RABBITMQ_CONFIG_FILE", home.path("rabbitmq.conf")?),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", home.path("enabled_plugins")?),
            ("RABBITMQ_CONF_ENV_FILE", "/dev/null".into()),
            // Without it the port for other nodes is open on every interface.
            ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}".into()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
            ("ERL_EPMD_PORT", names),
        ];
        words.extend(variables.map(|(name, value)| format!("{name}={value}")));
        words.push(SERVER.into());
        Ok(words)
    }

    /// Of the Erlang machine; the script that starts it only waits for its end.
    fn marks(&self, home: &Home) -> Result<Vec<String>> {
        Ok(vec!["-home".into(), home.path("home")?])
    }

    fn control(&self, home: &Home) -> Result<Option<Vec<String>>> {
        let start = home.read("command")?;
        // In the same environment, where it finds the node and its cookie.
        let words = start.lines().map(|word| if word == SERVER { LOCAL_CONTROL } else { word });
        Ok(Some(words.map(str::to_owned).collect()))
    }

    /// The name service. A node that finds none starts one, which would stay.
    fn helper(&self, home: &Home) -> Result<Option<(Vec<String>, String)>> {
        let Ok(port) = home.read("names.port") else { return Ok(None) };
        let words = ["epmd", "-address", "127.0.0.1", "-port", &port].map(str::to_owned);
        Ok(Some((words.into(), format!("127.0.0.1:{port}"))))
    }
}
