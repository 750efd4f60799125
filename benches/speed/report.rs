//! Which rows run, how often, and how they are written down. Must never hide a row that misses its target.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::{journal, lane, lanes, machine, many, puts};

/// Rows run at most so often unless the caller says how often.
const MOST_RUNS: usize = 3;
/// No run begins that would end later than this, unless the caller says how many there are.
const ENOUGH: Duration = Duration::from_secs(480);

/// What to run.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Run {
    /// Only rows whose name begins so.
    #[arg(long)]
    pub(crate) only: Vec<String>,
    /// `host:port` of the Kafka broker; without it TIDINGS_TEST_KAFKA says.
    #[arg(long)]
    pub(crate) kafka: Option<String>,
    /// `host:port` of the NATS server; without it TIDINGS_TEST_NATS says.
    #[arg(long)]
    pub(crate) nats: Option<String>,
    /// `host:port` of RabbitMQ; without it TIDINGS_TEST_AMQP says.
    #[arg(long)]
    pub(crate) amqp: Option<String>,
    /// Windows of at least 60 s, a million objects present, a backlog of 10 million.
    #[arg(long)]
    pub(crate) full: bool,
    /// How often each row runs: medians are shown. Without it, as often as fits, at most 3 times.
    #[arg(long)]
    pub(crate) runs: Option<usize>,
    /// Entries of every backlog; overrides the mode's.
    #[arg(long)]
    pub(crate) entries: Option<u64>,
    /// Seconds of each window; overrides the mode's.
    #[arg(long)]
    pub(crate) seconds: Option<f64>,
    /// Write the table to this file.
    #[arg(long)]
    pub(crate) write: Option<PathBuf>,
}

impl Run {
    /// The length of a window of load.
    pub(crate) fn window(&self) -> f64 {
        self.seconds.unwrap_or(if self.full { 60.0 } else { 10.0 })
    }

    /// Entries of the large backlog.
    pub(crate) fn backlog(&self) -> u64 {
        self.entries.unwrap_or(if self.full { 10_000_000 } else { 3_000_000 })
    }

    /// Entries for a lane that takes about `usual` in some seconds.
    pub(crate) fn lane(&self, usual: u64) -> u64 {
        self.entries.unwrap_or(if self.full { 5 * usual } else { usual })
    }

    /// The Kafka broker.
    pub(crate) fn broker(&self) -> Result<String> {
        named(self.kafka.as_ref(), "TIDINGS_TEST_KAFKA")
    }

    /// The NATS server.
    pub(crate) fn nats(&self) -> Result<String> {
        named(self.nats.as_ref(), "TIDINGS_TEST_NATS")
    }

    /// The AMQP broker.
    pub(crate) fn amqp(&self) -> Result<String> {
        named(self.amqp.as_ref(), "TIDINGS_TEST_AMQP")
    }
}

fn named(argument: Option<&String>, variable: &str) -> Result<String> {
    let named = argument.cloned().or_else(|| std::env::var(variable).ok());
    named.with_context(|| format!("this row needs a broker: {variable}=host:port"))
}

/// One figure of one run.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// What was measured: the same in every run.
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
    /// The reference's figure, in the same unit.
    pub(crate) reference: Option<f64>,
    /// What it should be, and whether this figure is.
    pub(crate) target: &'static str,
    pub(crate) met: fn(value: f64, reference: f64) -> bool,
}

/// Everything that was measured, run by run.
#[derive(Debug, Default)]
pub(crate) struct Table {
    figures: Vec<Vec<Figure>>,
    notes: Vec<String>,
}

impl Table {
    /// Adds the figure of one run, and prints it.
    pub(crate) fn add(&mut self, figure: Figure) {
        println!("{}", line(&figure));
        match self.figures.iter_mut().find(|f| f[0].what == figure.what) {
            Some(same) => same.push(figure),
            None => self.figures.push(vec![figure]),
        }
    }

    /// Says something beside the figures.
    pub(crate) fn note(&mut self, text: String) {
        println!("    {text}");
        self.notes.push(text);
    }

    fn medians(&self) -> Vec<Figure> {
        let median = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let of = |runs: &Vec<Figure>| Figure {
            value: median(runs.iter().map(|f| f.value).collect()),
            reference: runs[0].reference.map(|_| median(runs.iter().filter_map(|f| f.reference).collect())),
            ..runs[0].clone()
        };
        self.figures.iter().map(of).collect()
    }
}

fn number(value: f64) -> String {
    match value {
        v if v >= 1000.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

fn line(f: &Figure) -> String {
    let reference = f.reference.map_or_else(String::new, |r| {
        format!("; reference {} {}, ratio {:.2}", number(r), f.unit, f.value / r)
    });
    let met = if (f.met)(f.value, f.reference.unwrap_or(f64::NAN)) { "met" } else { "MISSED" };
    format!("{}: {} {}{reference}; target {}: {met}", f.what, number(f.value), f.unit, f.target)
}

/// Runs what is wanted.
pub(crate) async fn rows(run: &Run) -> Result<()> {
    let mut table = Table::default();
    table.note(format!(
        "other work took {:.0} % of the machine just before the first run",
        100.0 * machine::busy_share()?
    ));
    let begin = Instant::now();
    let most = run.runs.unwrap_or(MOST_RUNS).max(1);
    let mut turns = 0;
    while turns < most {
        turns += 1;
        println!("run {turns}, at most {most}");
        turn(run, &mut table).await?;
        // One more may take as long as those before did.
        let next = begin.elapsed() + begin.elapsed() / turns as u32;
        if run.runs.is_none() && next > ENOUGH {
            break;
        }
    }
    let text = markdown(&table, run, turns);
    println!("\n{text}");
    if let Some(path) = &run.write {
        // What others measured stands behind.
        let before = std::fs::read_to_string(path).unwrap_or_default();
        let behind = before.find("\n## ").map_or("", |at| &before[at..]);
        std::fs::write(path, text + behind)?;
    }
    Ok(())
}

/// Every row that is wanted, once.
async fn turn(run: &Run, table: &mut Table) -> Result<()> {
    let wanted = |name: &str| run.only.is_empty() || run.only.iter().any(|only| name.starts_with(&**only));
    if wanted("journal") {
        journal::row(run, table).await?;
    }
    if wanted("puts") {
        puts::beside_nothing(run, table).await?;
    }
    if wanted("kafka") {
        puts::delivered(run, table).await?;
    }
    if wanted("lane") {
        lane::backlog(run, table).await?;
    }
    if wanted("jetstream") {
        lanes::jetstream(run, table).await?;
    }
    if wanted("amqp") {
        lanes::quorum(run, table).await?;
    }
    if wanted("http") {
        lanes::functions(run, table).await?;
    }
    if wanted("idle") {
        lane::idle(run, table).await?;
    }
    if wanted("neighbour") {
        puts::neighbour(run, table).await?;
    }
    if wanted("four") {
        many::four(run, table).await?;
    }
    if wanted("thousand") {
        many::idle(run, table).await?;
    }
    Ok(())
}

fn markdown(table: &Table, run: &Run, turns: usize) -> String {
    let mut text = String::from("# Benchmarks\n\n");
    let mode = if run.full { "`cargo xtask bench --full`" } else { "`cargo xtask bench`" };
    let _ = writeln!(
        text,
        "Written by {mode}: medians of {} with windows of {} s. Server, load generator and brokers share\n\
         the machine: {}.\n",
        if turns == 1 { "1 run".to_owned() } else { format!("{turns} runs") },
        run.window(),
        machine::describe()
    );
    text.push_str("| what | tidings | reference | ratio | target | |\n|---|---|---|---|---|---|\n");
    for f in table.medians() {
        let reference = f.reference.map_or_else(|| "-".to_owned(), |r| format!("{} {}", number(r), f.unit));
        let ratio = f.reference.map_or_else(|| "-".to_owned(), |r| format!("{:.2}", f.value / r));
        let met = if (f.met)(f.value, f.reference.unwrap_or(f64::NAN)) { "met" } else { "**missed**" };
        let _ = writeln!(
            text,
            "| {} | {} {} | {reference} | {ratio} | {} | {met} |",
            f.what,
            number(f.value),
            f.unit,
            f.target
        );
    }
    if !table.notes.is_empty() {
        text.push_str("\nBeside the figures, run by run:\n\n");
        for note in &table.notes {
            let _ = writeln!(text, "- {note}");
        }
    }
    text
}
