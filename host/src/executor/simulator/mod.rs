//! The whole executor under a seeded clock, over a store that crashes at each commit point, with components that are scripted
//! fakes, through delays and reordering; and what must be true in the end.
//!
//! A seed is a world: workflows, what people and programs ask of them and when, how long everything takes, at which commits the
//! process dies. The same seed is the same world. `WEFT_SIM_SEED=7 cargo test simulator` lives through one, `WEFT_SIM_SEEDS`
//! says how many.

mod audit;
mod guests;
mod life;
mod scenario;

use std::sync::atomic::{AtomicBool, Ordering};

use crate::run::{Outgoing, set_fire_timers_twice};

/// Mistakes that the engine can be made to make, so that the simulator shows that it finds them.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Calls reach outside without an intent.
    pub(super) skip_intents: AtomicBool,
    /// The end of a child is taken off the store and not told.
    pub(super) drop_events: AtomicBool,
    /// What calls staged is not committed.
    pub(super) lose_staged: AtomicBool,
}

impl Faults {
    /// What a run does to others, or what is left of it.
    pub(super) fn lose(&self, mut outgoing: Outgoing) -> Outgoing {
        if self.lose_staged.load(Ordering::Relaxed) {
            outgoing.staged.kv_writes.clear();
        }
        outgoing
    }
}

/// A mistake to make throughout a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    SkipIntents,
    FireTimersTwice,
    LoseStaged,
    DropEvents,
}

/// A small generator (splitmix64): the same numbers for the same seed.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// What one world came to.
#[derive(Debug, Default)]
struct Told {
    wrong: Vec<String>,
    runs: usize,
    crashes: usize,
    commits: u64,
    requests: usize,
}

fn live(seed: u64, mistake: Option<Mistake>) -> Told {
    set_fire_timers_twice(mistake == Some(Mistake::FireTimersTwice));
    let told = life::live(seed, mistake);
    set_fire_timers_twice(false);
    told
}

#[test]
fn every_world_comes_out_right() {
    if let Ok(seed) = std::env::var("WEFT_SIM_SEED") {
        let told = live(seed.parse().unwrap(), None);
        println!("{told:#?}");
        assert_eq!(told.wrong, Vec::<String>::new());
        return;
    }
    let (first, seeds) = (setting("WEFT_SIM_FIRST", 1), setting("WEFT_SIM_SEEDS", 2_000));
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let told: Vec<(u64, Told)> = std::thread::scope(|scope| {
        let spawn = |thread| {
            scope.spawn(move || (first + thread..first + seeds).step_by(threads as usize).map(|s| (s, live(s, None))).collect())
        };
        let all: Vec<std::thread::ScopedJoinHandle<'_, Vec<(u64, Told)>>> = (0..threads).map(spawn).collect();
        all.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let sum = |count: fn(&Told) -> u64| told.iter().map(|(_, told)| count(told)).sum::<u64>();
    println!(
        "seeds {first} to {}: {} runs, {} commits, {} crashes, {} requests to servers outside",
        first + seeds - 1,
        sum(|told| told.runs as u64),
        sum(|told| told.commits),
        sum(|told| told.crashes as u64),
        sum(|told| told.requests as u64),
    );
    let mut wrong: Vec<String> =
        told.iter().flat_map(|(seed, told)| told.wrong.iter().map(move |line| format!("WEFT_SIM_SEED={seed}: {line}"))).collect();
    wrong.sort();
    wrong.truncate(20);
    assert_eq!(wrong, Vec::<String>::new());
    assert!(sum(|told| told.crashes as u64) >= seeds / 2 && sum(|told| told.runs as u64) >= 5 * seeds, "something happened");
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in [3, 17, 99] {
        assert_eq!(format!("{:?}", live(seed, None)), format!("{:?}", live(seed, None)));
    }
}

#[test]
fn each_mistake_is_found() {
    for mistake in [Mistake::SkipIntents, Mistake::FireTimersTwice, Mistake::LoseStaged, Mistake::DropEvents] {
        let found = (1..=200).find_map(|seed| live(seed, Some(mistake)).wrong.into_iter().next().map(|line| (seed, line)));
        let (seed, line) = found.unwrap_or_else(|| panic!("{mistake:?} is not found in 200 worlds"));
        println!("{mistake:?}: seed {seed}: {line}");
    }
}
