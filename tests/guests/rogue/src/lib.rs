//! Nodes that do what they must not: the host stops each, and nothing else.

use weft_sdk::GoBack;
use weft_sdk::capability::{log, run};
use weft_sdk::prelude::*;

/// Misbehaves in a way of one's choice.
#[derive(Deserialize, JsonSchema)]
struct Rogue {
    /// The way.
    way: Way,
}

/// A way to misbehave.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Way {
    /// Computes for ever.
    Spin,
    /// Computes for half a second.
    Busy,
    /// Sleeps for an hour.
    Sleep,
    /// Takes memory for ever.
    Grow,
    /// Calls itself for ever.
    Recurse,
    /// Panics.
    Panic,
    /// Logs a hundred thousand lines, and long ones.
    Flood,
    /// Returns a result of two megabytes.
    Output,
    /// Returns what is no JSON.
    NoJson,
    /// Returns JSON of a thousand levels.
    Deep,
    /// Starts a branch that its type does not have.
    UnknownBranch,
    /// Waits for nothing.
    WaitForNothing,
    /// Goes back to a step that is not there.
    GoNowhere,
    /// Answers with what no header may hold.
    SplitHeader,
    /// Prints a line to its standard output.
    Print,
    /// Tells what it sees of the world outside.
    LookAround,
    /// Sets an output, adds a message, and then fails.
    FailAfterEffects,
}

fn recurse(depth: u64) -> u64 {
    let page = std::hint::black_box([depth; 256]);
    if depth == u64::MAX { 0 } else { recurse(depth + 1) + page[(depth % 256) as usize] }
}

impl Node for Rogue {
    const NAME: &str = "rogue";

    fn node_type() -> NodeType {
        NodeType::of::<Self>().branch("only", "Only")
    }

    fn execute(self, _: &Call) -> Answer {
        match self.way {
            Way::Spin => loop {
                std::hint::black_box(0);
            },
            Way::Busy => {
                let began = std::time::Instant::now();
                while began.elapsed().as_millis() < 500 {
                    std::hint::black_box(0);
                }
                done("was busy")
            }
            Way::Sleep => {
                std::thread::sleep(std::time::Duration::from_secs(3_600));
                done("slept")
            }
            Way::Grow => {
                let mut all = Vec::new();
                loop {
                    all.push(std::hint::black_box(vec![1_u8; 1 << 20]));
                }
            }
            Way::Recurse => done(recurse(0)),
            Way::Panic => panic!("on purpose"),
            Way::Flood => {
                for line in 0..100_000 {
                    log::info(&format!("line {line}\u{7}\u{1b}[31m {}", "x".repeat(line % 20_000)));
                }
                done("flooded")
            }
            Way::Output => done("x".repeat(2 << 20)),
            Way::NoJson => Ok(Outcome::Done("{\"a\":".into())),
            Way::Deep => Ok(Outcome::Done(format!("{}{}", "[".repeat(1_000), "]".repeat(1_000)))),
            Way::UnknownBranch => Pending::with(0)?.start("other", "1", Value::Null)?.answer(),
            Way::WaitForNothing => Pending::with(0)?.answer(),
            Way::GoNowhere => Ok(Outcome::GoBack(GoBack { step: "nowhere".into(), output: "null".into() })),
            Way::SplitHeader => {
                run::respond(&HttpResponse::empty(200).header("x-a", "b\r\nset-cookie: c=d"))?;
                done("responded")
            }
            Way::Print => {
                println!("printed");
                done("printed")
            }
            Way::LookAround => done(json!({
                "environment": std::env::vars().count(),
                "arguments": std::env::args().count(),
                "files": std::fs::read_dir("/").map(Iterator::count).map_err(|error| error.to_string()),
                "network": std::net::TcpStream::connect("127.0.0.1:80").map(|_| ()).map_err(|error| error.to_string()),
            })),
            Way::FailAfterEffects => {
                run::set_output("\"lost\"")?;
                run::add_message("lost")?;
                log::warn("kept");
                Err(Failure::new("on-purpose", "fails on purpose"))
            }
        }
    }
}

weft_sdk::plugin! { name: "acme/rogue", nodes: [Rogue] }
