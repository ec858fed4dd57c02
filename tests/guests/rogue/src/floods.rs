//! More to say than anybody reads.

use std::io::Write as _;

use weft_sdk::capability;
use weft_sdk::prelude::*;

pub(crate) fn log() -> Answer {
    for line in 0..100_000 {
        capability::log::info(&format!("line {line}\u{7}\u{1b}[31m {}", "x".repeat(line % 20_000)));
    }
    done("flooded")
}

pub(crate) fn output() -> Answer {
    for line in 0..100_000 {
        println!("line {line}");
    }
    eprintln!("and an error");
    done("flooded")
}

pub(crate) fn line() -> Answer {
    let part = [b'x'; 64 * 1024];
    for _ in 0..480 {
        let _ = std::io::stdout().write_all(&part);
    }
    println!();
    done("flooded")
}
