//! kill -9 at any moment under load: every run that was answered is there.
//!
//! `WEFT_KILL_ROUNDS` asks for more rounds than the short form, `WEFT_KILL_SEED` for the same moments again.

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::harness::{Host, shim};
use crate::load::{audit, definitions, live_and_die, random, setting};

#[test]
fn every_answered_run_survives_kill_9() {
    let rounds = setting("WEFT_KILL_ROUNDS", 50);
    let seed = setting("WEFT_KILL_SEED", u64::from(std::process::id()) | 1);
    println!("{rounds} rounds, WEFT_KILL_SEED={seed}");
    let host = Host::start();
    definitions().iter().for_each(|definition| host.apply(definition));
    let mut data = host.kill();
    let (ledger, next, mut state) = (Mutex::default(), AtomicU64::new(0), seed);
    for _ in 0..rounds {
        let life = Duration::from_millis(20 + random(&mut state) % 180);
        data = live_and_die(data, &[], &ledger, &next, life);
    }
    let host = Host::start_in(data, &[]);
    let ledger = ledger.into_inner().unwrap();
    let wrong = audit(&host, &ledger);
    println!("{} synchronous and {} asynchronous runs were answered", ledger.sync.len(), ledger.asynchronous.len());
    assert!(ledger.sync.len() > 100 && ledger.asynchronous.len() > 50, "there was load");
    assert_eq!(wrong, Vec::<String>::new());
}

/// The control: where nothing reaches the disk before it is acknowledged, the audit above must find it.
#[test]
fn without_flushing_the_audit_finds_losses() {
    let shim = shim();
    let environment = [("LD_PRELOAD", shim.to_str().unwrap()), ("WEFT_SHIM_HOLD", "1")];
    let host = Host::start();
    definitions().iter().for_each(|definition| host.apply(definition));
    let data = host.stop();
    let ledger = Mutex::default();
    let data = live_and_die(data, &environment, &ledger, &AtomicU64::new(0), Duration::from_millis(500));
    let host = Host::start_in(data, &[]);
    let ledger = ledger.into_inner().unwrap();
    assert!(ledger.sync.len() > 10);
    let wrong = audit(&host, &ledger);
    assert!(wrong.iter().any(|line| line.contains("is lost")), "{} answered, nothing lost", ledger.sync.len());
}
