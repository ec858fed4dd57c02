//! What people do with a host: install plugins, write, publish and activate workflows, set secrets, look at runs.
//!
//! Every way in (API, CLI, watched folder) comes through here, so that each rule is written once.

mod approve;
mod audit;
mod canary;
mod connections;
mod environment;
mod fires;
mod grants;
mod history;
mod install;
mod publish;
mod quarantine;
mod queues;
mod remove;
mod replay;
mod runs;
mod secrets;
mod steps;
mod totals;
mod upgrade;
mod uses;
mod vendors;
mod workflows;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

pub use approve::{Held, Signer, Standing, Unused};
pub use connections::Tried;
pub use history::{Janitor, Keep};
pub use install::{InstallError, Installed, Options, RefusedFile, Source};
pub use queues::Queue;
pub use remove::{PluginVersion, Removable, RemoveError};
pub use runs::{StartRun, Which};
pub use steps::{Given, Visible};
pub use upgrade::{Move, UpgradePlan, Verdict};
pub use uses::Named;
pub use workflows::{DraftSaved, Overview, Published};

use crate::capability::{ConnectionError, Connections, Outbound, Vault, VaultError};
use crate::digest::Digest;
use crate::executor::{ArriveError, Clock, Executor, RerunError};
use crate::plugin::Registry;
use crate::run::Failure;
use crate::store::{self, Store, Who};
use crate::trigger::{FireError, RouteConflict, SubscribeError, Triggers};
use crate::workflow::{Key, Problem};

/// A host's business, apart from its runs. Each way in has its own, which says who comes that way; they share everything else.
#[derive(Clone)]
pub struct Admin {
    /// Who the audit log says it was.
    who: Who,
    store: Store,
    registry: Arc<Registry>,
    vault: Arc<Vault>,
    connections: Arc<Connections>,
    outbound: Arc<dyn Outbound>,
    triggers: Arc<Triggers>,
    /// Changes of workflows and plugins come one after the other.
    changing: Arc<tokio::sync::Mutex<()>>,
    /// Files of the watched folder that are no plugins.
    refused: Arc<Mutex<BTreeMap<PathBuf, RefusedFile>>>,
    /// Files of the watched folder that are plugins.
    in_folder: Arc<Mutex<BTreeMap<PathBuf, Digest>>>,
    /// Installed plugins that could not be taken up at the start.
    unused: Arc<Mutex<Vec<Unused>>>,
    rules: Rules,
}

/// What a host's business needs.
pub struct Parts {
    /// What everything is kept in.
    pub store: Store,
    /// Its secrets.
    pub vault: Arc<Vault>,
    /// Its connections.
    pub connections: Arc<Connections>,
    /// What tries them.
    pub outbound: Arc<dyn Outbound>,
    /// What listens for events.
    pub triggers: Arc<Triggers>,
    /// What holds for plugins of other vendors.
    pub rules: Rules,
}

/// What holds for every plugin of another vendor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Only those that a trusted key signed are used.
    pub signed_only: bool,
}

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thing.
    #[error("there is no {what} `{name}`{hint}")]
    NotFound {
        /// `workflow`, `revision`, `run`, `plugin`, `secret`, `key`.
        what: &'static str,
        /// As it was asked for.
        name: String,
        /// What to do, or nothing.
        hint: &'static str,
    },
    /// The definition is wrong; every problem with its place.
    #[error("the workflow has {} problem(s)", .0.len())]
    Invalid(Vec<Problem>),
    /// The draft has changed since it was read.
    #[error("the draft was changed by somebody else since you read it; read it again and apply your change to that")]
    Stale,
    /// Another workflow has the path.
    #[error(transparent)]
    Route(#[from] RouteConflict),
    /// The trigger could not say what to subscribe to.
    #[error("the trigger could not be activated: {0}")]
    Subscribe(#[from] SubscribeError),
    /// A revision cannot be run here.
    #[error("revision {0} cannot be activated: {1}")]
    Unrunnable(u32, String),
    /// A revision would have another version of a plugin take over, which is not known to do the same.
    #[error(
        "revision {revision} cannot take over: {reason}. The same is required of them: `weft plugin require-replay NAME --stop` lifts that"
    )]
    Unlike {
        /// The revision.
        revision: u32,
        /// Calls came out differently; else too little could be compared.
        differs: bool,
        /// Of which plugin and versions, how many calls, and what to do.
        reason: String,
    },
    /// A plugin could not be installed.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// A plugin cannot be removed.
    #[error(transparent)]
    Remove(#[from] RemoveError),
    /// A secret could not be set or read.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A connection could not be set, tried or removed.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The executor failed.
    #[error(transparent)]
    Executor(#[from] crate::executor::Error),
    /// Something could not be brought for a run.
    #[error(transparent)]
    Arrive(#[from] ArriveError),
    /// An event could not be delivered.
    #[error(transparent)]
    Fire(#[from] FireError),
    /// A run cannot be carried out again.
    #[error(transparent)]
    Rerun(#[from] RerunError),
    /// A run could not start: its trigger refused.
    #[error("{} ({})", .0.message, .0.code)]
    NotStarted(Failure),
    /// A run that goes on cannot be deleted.
    #[error("run {0} goes on; cancel it first (`weft run cancel`)")]
    GoesOn(crate::run::RunId),
    /// Revisions that are active or on trial need it.
    #[error("the {what} `{name}` is named by {uses}; remove it all the same with `--force`")]
    InUse {
        /// What it is.
        what: Named,
        /// Its name.
        name: String,
        /// Some of the places.
        uses: String,
    },
    /// A setting has no possible value.
    #[error("{0}")]
    Setting(String),
}

impl Error {
    fn not_found(what: &'static str, name: impl ToString, hint: &'static str) -> Self {
        Self::NotFound { what, name: name.to_string(), hint }
    }
}

impl Admin {
    /// Puts together what a host's business needs, for the host itself: see [`Admin::acting`].
    pub fn new(parts: Parts) -> Self {
        let Parts { store, vault, connections, outbound, triggers, rules } = parts;
        let registry = triggers.registry().clone();
        Self {
            who: Who::Host,
            store,
            registry,
            vault,
            connections,
            outbound,
            triggers,
            changing: Arc::default(),
            refused: Arc::default(),
            in_folder: Arc::default(),
            unused: Arc::default(),
            rules,
        }
    }

    /// The host's secrets.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// What everything is kept in.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The host's plugins.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What listens for events.
    pub fn triggers(&self) -> &Arc<Triggers> {
        &self.triggers
    }

    /// What carries out runs.
    pub fn executor(&self) -> &Arc<Executor> {
        self.triggers.executor()
    }

    /// The host's clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        self.executor().clock()
    }

    /// Reads the store on a thread where that may block.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, store::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.store.clone();
        Ok(tokio::task::spawn_blocking(move || read(&store)).await.unwrap_or(Err(store::Error::Closed))?)
    }

    /// A workflow as it is stored.
    pub async fn head(&self, key: &Key) -> Result<store::WorkflowHead, Error> {
        let wanted = key.clone();
        let head = self.read(move |store| store.workflow(&wanted)).await?;
        head.ok_or_else(|| Error::not_found("workflow", key, "; `weft workflow list` shows what there is"))
    }
}
