//! Nodes that do what they must not: the host stops each, and nothing else.

mod answers;
mod floods;
mod storms;
mod wasi;

use weft_sdk::capability::{log, run};
use weft_sdk::prelude::*;

/// Misbehaves in a way of one's choice.
#[derive(Deserialize, JsonSchema)]
struct Rogue {
    /// The way.
    way: Way,
    /// The server, workflow or step that it does it to.
    #[serde(default)]
    target: String,
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
    /// Sleeps for a hundred years.
    SleepLong,
    /// Takes memory for ever.
    Grow,
    /// Calls itself for ever.
    Recurse,
    /// Panics.
    Panic,
    /// Ends the program.
    Exit,
    /// Logs a hundred thousand lines, and long ones.
    Flood,
    /// Prints a hundred thousand lines.
    FloodOutput,
    /// Prints a line of thirty megabytes.
    FloodLine,
    /// Prints a line to its standard output.
    Print,
    /// Returns a result of two megabytes.
    Output,
    /// Returns a result of thirty megabytes.
    OutputHuge,
    /// Returns what is no JSON.
    NoJson,
    /// Returns JSON of a thousand levels.
    Deep,
    /// Starts a branch that its type does not have.
    UnknownBranch,
    /// Starts two hundred thousand branches.
    ManyBranches,
    /// Waits for something that its type does not declare.
    UnknownWait,
    /// Waits for nothing.
    WaitForNothing,
    /// Goes back to a step that is not there.
    GoNowhere,
    /// Goes back to a step with a name of ten megabytes.
    GoFar,
    /// Fails with a message of ten megabytes.
    LongMessage,
    /// Fails with a code of ten megabytes.
    LongCode,
    /// Ends the run with a message of ten megabytes.
    LongEnd,
    /// Answers with what no header may hold.
    SplitHeader,
    /// Answers with ten thousand header fields.
    ManyHeaders,
    /// Tells what it sees of the world outside.
    LookAround,
    /// Tells how fine its clocks are.
    Clocks,
    /// Sets an output, adds a message, and then fails.
    FailAfterEffects,
    /// Sends requests to the target for ever.
    StormHttp,
    /// Sets values for ever.
    StormKv,
    /// Sets long values until it may not.
    StormKvBytes,
    /// Starts the target for ever.
    StormStarts,
    /// Starts the target with long contexts.
    StormStartsBytes,
    /// Resolves variables for ever.
    StormVariables,
    /// Signs megabytes for ever.
    StormCrypto,
    /// Signs more than may be signed at once.
    LongCrypto,
    /// Holds a million handles.
    Handles,
    /// Polls one handle a million times at once.
    PollMany,
    /// Asks for two gigabytes of random numbers.
    Random,
    /// Opens sockets for ever.
    Sockets,
    /// Sends the target a request with a URL of a megabyte.
    LongUrl,
}

fn recurse(depth: u64) -> u64 {
    let page = std::hint::black_box([depth; 256]);
    if depth == u64::MAX { 0 } else { recurse(depth + 1) + page[(depth % 256) as usize] }
}

fn spin() -> ! {
    loop {
        std::hint::black_box(0);
    }
}

impl Node for Rogue {
    const NAME: &str = "rogue";

    fn node_type() -> NodeType {
        NodeType::of::<Self>().branch("only", "Only")
    }

    fn execute(self, _: &Call) -> Answer {
        match self.way {
            Way::Spin => spin(),
            Way::Busy => {
                let began = std::time::Instant::now();
                while began.elapsed().as_millis() < 500 {
                    std::hint::black_box(0);
                }
                done("was busy")
            }
            Way::Sleep => wasi::sleep(std::time::Duration::from_secs(3_600)),
            Way::SleepLong => wasi::sleep(std::time::Duration::from_secs(100 * 365 * 86_400)),
            Way::Grow => {
                let mut all = Vec::new();
                loop {
                    all.push(std::hint::black_box(vec![1_u8; 1 << 20]));
                }
            }
            Way::Recurse => done(recurse(0)),
            Way::Panic => panic!("on purpose"),
            Way::Exit => std::process::exit(0),
            Way::Flood => floods::log(),
            Way::FloodOutput => floods::output(),
            Way::FloodLine => floods::line(),
            Way::Print => {
                println!("printed");
                done("printed")
            }
            Way::Output => done("x".repeat(2 << 20)),
            Way::OutputHuge => Ok(Outcome::Done("9".repeat(30 << 20))),
            Way::NoJson => Ok(Outcome::Done("{\"a\":".into())),
            Way::Deep => Ok(Outcome::Done(format!("{}{}", "[".repeat(1_000), "]".repeat(1_000)))),
            Way::UnknownBranch => Pending::with(0)?.start("other", "1", Value::Null)?.answer(),
            Way::ManyBranches => answers::many_branches(),
            Way::UnknownWait => Pending::with(0)?.wait_signal("s", "signal", None).answer(),
            Way::WaitForNothing => Pending::with(0)?.answer(),
            Way::GoNowhere => answers::go_back("nowhere"),
            Way::GoFar => answers::go_back(&"x".repeat(10 << 20)),
            Way::LongMessage => Err(Failure::new("long-message", "m".repeat(10 << 20))),
            Way::LongCode => Err(Failure::new(&"c".repeat(10 << 20), "a long code")),
            Way::LongEnd => end_run(Status::Failed, Some("m".repeat(10 << 20))),
            Way::SplitHeader => answers::respond(HttpResponse::empty(200).header("x-a", "b\r\nset-cookie: c=d")),
            Way::ManyHeaders => answers::many_headers(),
            Way::LookAround => done(json!({
                "environment": std::env::vars().count(),
                "arguments": std::env::args().count(),
                "files": std::fs::read_dir("/").map(Iterator::count).map_err(|error| error.to_string()),
                "network": std::net::TcpStream::connect("127.0.0.1:80").map(|_| ()).map_err(|error| error.to_string()),
                "threads": std::thread::Builder::new().spawn(|| ()).map(|_| ()).map_err(|error| error.to_string()),
            })),
            Way::Clocks => wasi::clocks(),
            Way::FailAfterEffects => {
                run::set_output("\"lost\"")?;
                run::add_message("lost")?;
                log::warn("kept");
                Err(Failure::new("on-purpose", "fails on purpose"))
            }
            Way::StormHttp => storms::http(&self.target),
            Way::StormKv => storms::kv(8, 1_000_000),
            Way::StormKvBytes => storms::kv(64 * 1024, 400),
            Way::StormStarts => storms::starts(&self.target, 8),
            Way::StormStartsBytes => storms::starts(&self.target, 9 << 20),
            Way::StormVariables => storms::variables(),
            Way::StormCrypto => storms::crypto(1 << 20),
            Way::LongCrypto => storms::crypto(10 << 20),
            Way::Handles => wasi::handles(),
            Way::PollMany => wasi::poll_many(),
            Way::Random => wasi::random(),
            Way::Sockets => wasi::sockets(),
            Way::LongUrl => storms::http(&format!("{}/{}", self.target, "x".repeat(1 << 20))),
        }
    }
}

/// Waits for a moment, and misbehaves when it goes on.
#[derive(Deserialize, JsonSchema)]
struct Late {
    /// `trap`, `spin` or `print`.
    way: String,
}

impl Node for Late {
    const NAME: &str = "late";

    fn node_type() -> NodeType {
        NodeType::of::<Self>().waits(&["timer"])
    }

    fn execute(self, call: &Call) -> Answer {
        println!("printed first");
        Pending::with(0)?.wait_until("soon", call.now_ms()).answer()
    }

    fn resume(self, _: &Call, _: State, _: Event) -> Answer {
        match self.way.as_str() {
            "trap" => panic!("on purpose, later"),
            "spin" => spin(),
            _ => {
                println!("printed second");
                done("printed twice")
            }
        }
    }
}

weft_sdk::plugin! { name: "acme/rogue", nodes: [Rogue, Late] }
