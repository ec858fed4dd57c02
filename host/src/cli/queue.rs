//! `weft queue`

use clap::Subcommand;
use http::Method;
use serde_json::json;

use super::Failure;
use super::client::{Client, segment};
use super::print;

#[derive(Subcommand)]
pub(super) enum Queue {
    /// List the job queues that were set.
    List,
    /// Set how many runs of a job queue are carried out at one time, and which queue goes first.
    Set {
        /// The queue's name, as triggers give it.
        name: String,
        /// Runs that are carried out at one time.
        #[arg(long, default_value_t = 1)]
        concurrency: u32,
        /// Of two queues with runs that could begin, the one with more goes first.
        #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
        priority: i32,
    },
}

pub(super) async fn run(verb: Queue, client: &Client) -> Result<(), Failure> {
    match verb {
        Queue::List => {
            let page = client.get("/queues").await?;
            if client.json {
                print::json(&page);
                return Ok(());
            }
            let rows =
                print::items(&page).map(|queue| ["name", "concurrency", "priority"].map(|member| print::text(queue, member)));
            print::table(["queue", "concurrency", "priority"], rows.collect(), "no queues were set");
        }
        Queue::Set { name, concurrency, priority } => {
            let given = json!({ "concurrency": concurrency, "priority": priority }).to_string();
            let queue = client.send(Method::PUT, &format!("/queues/{}", segment(&name)), given.into()).await?;
            if client.json {
                print::json(&queue);
            } else {
                println!("queue {name}: {concurrency} at one time, priority {priority}");
            }
        }
    }
    Ok(())
}
