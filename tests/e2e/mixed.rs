//! kill -9 at any moment under a load of everything that a run can do: nothing that was answered is lost, and nothing inside the
//! host happens twice.
//!
//! `WEFT_KILL_ROUNDS` asks for more rounds than the short form. Each hundred of them have a data folder of their own, and print
//! the `WEFT_KILL_SEED` that goes on from there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Data, Host, eventually, lab, shim};
use crate::load::{hook, random, setting, under_load};
use crate::server::Server;

/// Rounds with one data folder.
const BLOCK: u64 = 100;

/// The workflows, and how often a run of each counts.
const WORKFLOWS: [(&str, u64); 6] = [("loops", 3), ("naps", 1), ("retries", 1), ("hears", 1), ("parents", 1), ("sends", 1)];

fn definitions(server: &Server) -> Vec<Value> {
    let count = json!({"key": "count", "type": "acme/lab/count", "config": {"counter": "all"}});
    let hooked = |key: &str, mode: &str, first: Value| {
        let trigger = json!({"type": "acme/lab/hook", "config": {"mode": mode}});
        json!({"weft": 1, "key": key, "trigger": trigger, "steps": [first, count]})
    };
    let each = json!({"key": "each", "type": "acme/lab/each", "config": {"rounds": 3}, "branches": {"do": [count]}});
    let nap = json!({"key": "nap", "type": "acme/lab/sleep", "config": {"ms": "{{$context.data.ms}}"}});
    let flaky =
        json!({"key": "flaky", "type": "acme/lab/flaky", "config": {"failures": 2}, "retry": {"attempts": 3, "backoff_ms": 5}});
    let hear = json!({"key": "hear", "type": "acme/lab/hear", "config": {"name": "paid", "key": "{{$context.data.order}}"}});
    let sub = json!({"key": "sub", "type": "acme/lab/sub", "config": {"workflow": "child"}});
    let send = json!({"key": "send", "type": "acme/lab/send", "config": {"url": server.url}});
    let mut loops = hooked("loops", "async", each);
    loops["steps"].as_array_mut().unwrap().truncate(1);
    vec![
        loops,
        hooked("naps", "async", nap),
        hooked("retries", "sync", flaky),
        hooked("hears", "async", hear),
        hooked("parents", "async", sub),
        hooked("sends", "async", send),
        lab("child", &json!([count])),
    ]
}

/// What clients were told, and what they know of the moments at which the host died.
#[derive(Default)]
struct Ledger {
    /// By workflow, the numbers whose answer came.
    told: Mutex<BTreeMap<&'static str, BTreeSet<u64>>>,
    /// Those whose answer did not come.
    cut_off: Mutex<BTreeSet<(&'static str, u64)>>,
    /// When runs that sleep are to wake.
    wake: Mutex<Vec<Instant>>,
    under_way: AtomicUsize,
}

/// Into which phases a kill fell; one kill may fall into several.
#[derive(Default, Debug)]
struct Phases {
    open: u32,
    accept: u32,
    step: u32,
    wait: u32,
    commit: u32,
}

impl Ledger {
    /// Sends what the number says, and writes down the answer.
    fn send(&self, host: &Host, number: u64) -> Result<(), ureq::Error> {
        let (workflow, _) = WORKFLOWS[(number % 6) as usize];
        let ms = number % 7 * 100;
        let order = format!("order-{number}");
        let body = json!({"n": number, "ms": ms, "order": order}).to_string();
        let (path, status) = match workflow {
            "retries" => (workflow.to_owned(), 200),
            // Whoever was cut off asks again, with the same key.
            "sends" => (format!("sends?key={order}"), 202),
            _ => (workflow.to_owned(), 202),
        };
        if workflow == "naps" {
            self.wake.lock().unwrap().push(Instant::now() + Duration::from_millis(ms));
        }
        self.cut_off.lock().unwrap().insert((workflow, number));
        self.under_way.fetch_add(1, Ordering::SeqCst);
        hook(host, &path, &body, status)?;
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        self.told.lock().unwrap().entry(workflow).or_default().insert(number);
        self.cut_off.lock().unwrap().remove(&(workflow, number));
        if workflow == "hears" {
            hook(host, &format!("hears?signal={order}"), "{}", 202)?;
        }
        Ok(())
    }

    /// One life and its end. Returns the data.
    fn round(&self, data: Data, next: &AtomicU64, server: &Server, state: &mut u64, phases: &mut Phases) -> Data {
        if random(state).is_multiple_of(8) {
            let (data, listened) = Host::start_and_kill(data, &[], Duration::from_millis(random(state) % 60));
            phases.open += u32::from(!listened);
            return data;
        }
        let count = data.path().join("count");
        let shim = shim();
        let environment = [("LD_PRELOAD", shim.to_str().unwrap()), ("WEFT_SHIM_COUNT", count.to_str().unwrap())];
        let host = Host::start_in(data, &environment);
        self.wake.lock().unwrap().clear();
        self.under_way.store(0, Ordering::SeqCst);
        let again: Vec<u64> = {
            let cut_off = self.cut_off.lock().unwrap();
            cut_off.iter().filter(|(workflow, _)| *workflow == "sends").map(|(_, number)| *number).collect()
        };
        let again = Mutex::new(again);
        let life = Duration::from_millis(20 + random(state) % 200);
        let died = Mutex::new((0, 0));
        let data = under_load(
            host,
            next,
            life,
            |host, number| {
                let repeated = again.lock().unwrap().pop();
                repeated.map_or(Ok(()), |number| self.send(host, number))?;
                self.send(host, number)
            },
            || *died.lock().unwrap() = (self.under_way.load(Ordering::SeqCst), server.under_way()),
        );
        let (requests, steps) = *died.lock().unwrap();
        let now = Instant::now();
        phases.accept += u32::from(requests > 0);
        phases.step += u32::from(steps > 0);
        phases.wait += u32::from(self.wake.lock().unwrap().iter().any(|wake| *wake > now));
        let flushes = std::fs::read(count).unwrap();
        phases.commit += u32::from(flushes[8..16] != [0; 8]);
        data
    }
}

/// Every run of a workflow, with its number.
fn stored(host: &Host, workflow: &str) -> Vec<(u64, Value)> {
    let whole = |run: Value| {
        let whole = host.run(run["id"].as_str().unwrap());
        (whole["context"]["data"]["n"].as_u64().unwrap_or_default(), whole)
    };
    host.all_runs(&format!("workflow={workflow}")).into_iter().map(whole).collect()
}

fn counted(host: &Host, workflow: &str) -> u64 {
    host.apply(&lab(workflow, &json!([{"key": "read", "type": "read", "config": {"counter": "all"}}])));
    host.run_once(workflow, &json!({}))["steps"][0]["output"].as_u64().unwrap()
}

/// What is lost, there twice or done twice, when everything has ended. Also how many runs there are, and how many of those
/// whose answer did not come.
fn audit(host: &Host, ledger: &Ledger, server: &Server) -> (Vec<String>, usize, usize) {
    // Those whose message was not sent yet, or not answered.
    for run in host.all_runs("workflow=hears&status=running") {
        let run = host.run(run["id"].as_str().unwrap());
        let order = run["context"]["data"]["order"].as_str().unwrap();
        assert_eq!(host.hook(&format!("hears?signal={order}"), b"{}").status, 202);
    }
    eventually("every accepted run has ended", || {
        host.get("/runs?status=running&limit=1")["items"].as_array().unwrap().is_empty()
    });
    let (mut wrong, mut runs, mut unanswered) = (Vec::new(), 0, 0);
    let (told, cut_off) = (ledger.told.lock().unwrap(), ledger.cut_off.lock().unwrap());
    for (workflow, counts) in WORKFLOWS {
        let stored = stored(host, workflow);
        runs += stored.len();
        let numbers: BTreeSet<u64> = stored.iter().map(|(number, _)| *number).collect();
        let places: BTreeSet<u64> = stored.iter().map(|(_, run)| run["context"]["number"].as_u64().unwrap()).collect();
        if numbers.len() != stored.len() || places.len() != stored.len() {
            wrong.push(format!("{workflow}: {} runs, {} numbers, {} places", stored.len(), numbers.len(), places.len()));
        }
        let told = told.get(workflow).cloned().unwrap_or_default();
        wrong.extend(told.difference(&numbers).map(|number| format!("{workflow} {number} was answered and is lost")));
        unanswered += numbers.iter().filter(|number| cut_off.contains(&(workflow, **number))).count();
        let failed = stored.iter().filter(|(_, run)| run["status"] != "succeeded");
        wrong.extend(failed.map(|(number, run)| format!("{workflow} {number}: {run:#}")));
        let counted = counted(host, workflow);
        if counted != counts * stored.len() as u64 {
            wrong.push(format!("{workflow}: {} runs counted to {counted}", stored.len()));
        }
        if workflow == "parents" {
            let children = self::stored(host, "child").len();
            let counted = self::counted(host, "child");
            if (children, counted) != (stored.len(), stored.len() as u64) {
                wrong.push(format!("{} parents, {children} children, which counted to {counted}", stored.len()));
            }
        }
        if workflow == "sends" {
            let keys: BTreeSet<String> = server.came().into_iter().map(|came| came.key).collect();
            if keys.len() != stored.len() {
                wrong.push(format!("{} runs sent requests with {} keys", stored.len(), keys.len()));
            }
        }
    }
    (wrong, runs, unanswered)
}

#[test]
fn nothing_is_lost_or_done_twice_whatever_a_kill_cuts_off() {
    let rounds = setting("WEFT_KILL_ROUNDS", 100);
    let mut state = setting("WEFT_KILL_SEED", u64::from(std::process::id()) | 1);
    let mut done = 0;
    while done < rounds {
        println!("{} rounds to go, WEFT_KILL_SEED={state}", rounds - done);
        let (ledger, next, server, mut phases) = (Ledger::default(), AtomicU64::new(0), Server::start(), Phases::default());
        server.answer_after(Duration::from_millis(3));
        let host = Host::start();
        host.add_plugin("lab");
        host.grant("acme/lab", &server.url);
        definitions(&server).iter().for_each(|definition| host.apply(definition));
        let mut data = host.kill();
        let block = BLOCK.min(rounds - done);
        for _ in 0..block {
            data = ledger.round(data, &next, &server, &mut state, &mut phases);
        }
        data.expect_whole();
        let host = Host::start_in(data, &[]);
        let (wrong, runs, unanswered) = audit(&host, &ledger, &server);
        let told: usize = ledger.told.lock().unwrap().values().map(BTreeSet::len).sum();
        println!("{runs} runs, {told} of them answered, {unanswered} stored and not answered; killed in {phases:?}");
        assert_eq!(wrong, Vec::<String>::new());
        if block == BLOCK {
            let Phases { open, accept, step, wait, commit } = phases;
            assert!([open, accept, step, wait, commit].iter().all(|count| *count > 0), "{phases:?}");
            assert!(told > 500, "there was load");
        }
        done += block;
    }
}
