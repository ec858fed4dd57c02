//! What plain WASI can be asked for.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use weft_sdk::prelude::*;

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package weft:rogue;
            world rogue {
                import wasi:io/poll@0.2.0;
                import wasi:clocks/monotonic-clock@0.2.0;
                import wasi:random/random@0.2.0;
            }
            package wasi:io@0.2.0 {
                interface poll {
                    resource pollable { ready: func() -> bool; block: func(); }
                    poll: func(in: list<borrow<pollable>>) -> list<u32>;
                }
            }
            package wasi:clocks@0.2.0 {
                interface monotonic-clock {
                    use wasi:io/poll@0.2.0.{pollable};
                    type instant = u64;
                    type duration = u64;
                    now: func() -> instant;
                    resolution: func() -> duration;
                    subscribe-instant: func(when: instant) -> pollable;
                    subscribe-duration: func(when: duration) -> pollable;
                }
            }
            package wasi:random@0.2.0 {
                interface random {
                    get-random-bytes: func(len: u64) -> list<u8>;
                    get-random-u64: func() -> u64;
                }
            }
        ",
        world: "weft:rogue/rogue",
        generate_all,
    });
}

use bindings::wasi::clocks::monotonic_clock::subscribe_duration;
use bindings::wasi::io::poll::poll;
use bindings::wasi::random::random::get_random_bytes;

pub(crate) fn sleep(time: Duration) -> Answer {
    std::thread::sleep(time);
    done("slept")
}

pub(crate) fn handles() -> Answer {
    let all: Vec<_> = (0..1_000_000).map(|_| subscribe_duration(1_000_000_000)).collect();
    done(all.len())
}

pub(crate) fn poll_many() -> Answer {
    let handle = subscribe_duration(0);
    let all = vec![&handle; 1_000_000];
    done(poll(&all).len())
}

pub(crate) fn random() -> Answer {
    done(get_random_bytes(1 << 31).len())
}

pub(crate) fn sockets() -> Answer {
    let mut opened = Vec::new();
    for _ in 0..10_000 {
        opened.extend(std::net::UdpSocket::bind("127.0.0.1:0").ok());
        opened.extend(std::net::UdpSocket::bind("[::1]:0").ok());
    }
    done(opened.len())
}

/// The smallest step that its clocks make, in nanoseconds.
pub(crate) fn clocks() -> Answer {
    let (mut smallest_ns, mut at) = (u128::MAX, Instant::now());
    let began = Instant::now();
    let mut fractions_ns = 0;
    while began.elapsed() < Duration::from_millis(50) {
        let now = Instant::now();
        if now > at {
            smallest_ns = smallest_ns.min((now - at).as_nanos());
            at = now;
        }
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        fractions_ns = fractions_ns.max(wall.subsec_nanos() % 1_000_000);
    }
    done(json!({ "smallest_ns": smallest_ns as u64, "fractions_ns": fractions_ns }))
}
