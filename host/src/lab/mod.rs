//! A bench for one plugin, without a host around it: what `weft plugin test` and `weft plugin check` work on.
//!
//! A component runs here in the same sandbox as in a host: the same engine, bounds and capabilities. What is around it is in memory: values of
//! its own, runs that it starts, answers of servers. It never opens a data folder and never stores anything.

mod bench;
mod case;
mod check;
mod event;
mod example;
mod expect;
mod golden;
mod hostile;
mod measure;
mod scope;
mod start;
mod step;
mod trial;
mod world;

pub use bench::{Bench, LoadError};
pub use case::{Case, CaseError, HttpAnswer, Variables};
pub use check::{Mark, Report, Row, check};
pub use event::GivenEvent;
pub use expect::mismatches;
pub use golden::{GoldenCase, GoldenError, cases_beside, cases_in, read_cases};
pub use trial::{Trial, Verdict};
