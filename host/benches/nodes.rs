//! What a call of each built-in type costs, in microseconds: the golden cases in `plugins/*/cases` that end well, each carried out many times, twice in
//! a row in one instance. Beside the first call of a fresh instance, making that included, and the calls after it stands how many times as much as one
//! of `data`, the simplest step, they take: that says more than microseconds on a machine that does other things, too.

use std::path::Path;
use std::time::{Duration, Instant};

use weft::lab::{Bench, Case, Verdict, read_cases};
use weft::plugin::Compiler;

/// A case is repeated for so long, and so often at least.
const PATIENCE: Duration = Duration::from_millis(300);
const ROUNDS_MIN: usize = 5;

/// What a case takes, in microseconds: medians.
struct Costs {
    first: f64,
    next: f64,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(measure());
}

async fn measure() {
    let mut simplest = None;
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins");
    // `data` is the plugin's that comes first.
    let mut plugins: Vec<_> = weft::built_in::PLUGINS.iter().collect();
    plugins.sort_by_key(|(name, _)| *name != "weft_flow");
    println!("{:>9} {:>7} {:>9} {:>7}  case", "first µs", "× data", "next µs", "× data");
    for (name, bytes) in plugins {
        let bench = Bench::load_by(Compiler::here(), (*bytes).into()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let cases = read_cases(&folders.join(name.trim_start_matches("weft_")).join("cases")).expect("golden cases");
        let mut cases: Vec<_> = cases.into_iter().map(|golden| (golden.name, golden.case)).collect();
        cases.sort_by_key(|(_, case)| case.node.as_deref() != Some("data"));
        println!("{}, {} KiB", bench.plugin().description.name, bytes.len() / 1024);
        for (title, case) in cases {
            let Some(costs) = costs(&bench, Case { unchecked: true, ..case.clone() }).await else { continue };
            let kind = case.node.or(case.trigger).unwrap_or_default();
            let Costs { first, next } = simplest.get_or_insert(Costs { ..costs });
            let (first_ratio, next_ratio) = (costs.first / *first, costs.next / *next);
            println!("{:>9.1} {first_ratio:>7.1} {:>9.1} {next_ratio:>7.1}  {kind} ({title})", costs.first, costs.next);
        }
    }
}

/// None for a case that fails.
async fn costs(bench: &Bench, case: Case) -> Option<Costs> {
    let (mut first, mut next) = (Vec::new(), Vec::new());
    let began = Instant::now();
    while began.elapsed() < PATIENCE || first.len() < ROUNDS_MIN {
        let made = Instant::now();
        let mut instance = bench.instance().await.expect("an instance");
        let made_us = made.elapsed().as_secs_f64() * 1e6;
        for round in 0..2 {
            let trial = bench.run_in(&mut instance, &case).await.expect("the case can be carried out");
            if !matches!(trial.verdict, Verdict::Done | Verdict::Waits) {
                return None;
            }
            let mut took = trial.calls.iter().map(|call| call.took_us as f64);
            if round == 0 {
                first.extend(took.next().map(|took| made_us + took));
            }
            next.extend(took);
        }
    }
    Some(Costs { first: median(first), next: median(next) })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
