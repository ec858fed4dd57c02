//! `weft step`

use clap::Subcommand;
use serde_json::{Map, Value};

use super::Failure;
use super::client::{Client, segment};
use super::plugin::given_value;
use super::print;

#[derive(Subcommand)]
pub(super) enum Step {
    /// List the variables that a step of a workflow's draft can name.
    Variables {
        /// The workflow's key.
        workflow: String,
        /// The step's key.
        step: String,
    },
    /// Carry out one step of a workflow's draft with values that you give. What it does is done: requests are sent.
    Test {
        /// The workflow's key.
        workflow: String,
        /// The step's key.
        step: String,
        /// `{{$context}}`: YAML or JSON, or @FILE.
        #[arg(long, value_name = "YAML")]
        context: Option<String>,
        /// Results of steps by their keys, `{total: {price: 3}}`: YAML or JSON, or @FILE.
        #[arg(long, value_name = "YAML")]
        steps: Option<String>,
        /// Scopes by the keys of the steps that give them, `{each: {item: 1}}`: YAML or JSON, or @FILE.
        #[arg(long, value_name = "YAML")]
        scopes: Option<String>,
        /// Take the context and the results of this run, where nothing else is given.
        #[arg(long, value_name = "ID")]
        run: Option<String>,
        /// A config in place of the draft's: YAML or JSON, or @FILE.
        #[arg(long, value_name = "YAML")]
        config: Option<String>,
    },
}

pub(super) async fn run(verb: Step, client: &Client) -> Result<(), Failure> {
    match verb {
        Step::Variables { workflow, step } => {
            let page = client.get(&format!("/workflows/{}/steps/{}/variables", segment(&workflow), segment(&step))).await?;
            if client.json {
                print::json(&page);
                return Ok(());
            }
            let rows = print::items(&page).map(|item| {
                let [variable, kind, from, what] =
                    ["variable", "type", "title", "description"].map(|name| print::text(item, name));
                [format!("{{{{{variable}}}}}"), kind, from, what.chars().take(60).collect()]
            });
            print::table(["variable", "type", "from", ""], rows.collect(), "no variables");
        }
        Step::Test { workflow, step, context, steps, scopes, run, config } => {
            let mut body = Map::new();
            for (name, given) in [("context", context), ("steps", steps), ("scopes", scopes), ("config", config)] {
                if let Some(given) = given {
                    body.insert(name.into(), given_value(&format!("--{name}"), &given)?);
                }
            }
            body.extend(run.map(|run| ("run".to_owned(), Value::from(run))));
            let path = format!("/workflows/{}/steps/{}/test", segment(&workflow), segment(&step));
            let run = client.post(&path, &Value::Object(body)).await?;
            super::run::show(client, &run)?;
        }
    }
    Ok(())
}
