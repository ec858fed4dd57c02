//! Answers that break the contract.

use weft_sdk::capability::run;
use weft_sdk::prelude::*;
use weft_sdk::{BranchStart, GoBack};

pub(crate) fn go_back(step: &str) -> Answer {
    Ok(Outcome::GoBack(GoBack { step: step.into(), output: "null".into() }))
}

pub(crate) fn respond(response: HttpResponse) -> Answer {
    run::respond(&response)?;
    done("responded")
}

pub(crate) fn many_headers() -> Answer {
    respond((0..10_000).fold(HttpResponse::empty(200), |response, number| response.header(&format!("x-{number}"), "y")))
}

pub(crate) fn many_branches() -> Answer {
    let start = |number: u32| BranchStart { branch: "only".into(), id: number.to_string(), scope: "0".into(), atomic: false };
    let mut pending = Pending::with(0)?.answer()?;
    if let Outcome::Pending(pending) = &mut pending {
        pending.start = (0..100_000).map(start).collect();
    }
    Ok(pending)
}
