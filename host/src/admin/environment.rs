//! Variables of the host: `{{$env.NAME}}`. They are no secrets: whoever sees a run sees them.

use serde_json::{Value, json};

use super::{Admin, Error, Named};
use crate::capability::is_name;
use crate::limits::{ENVIRONMENT_BYTES_MAX, ENVIRONMENT_MAX};
use crate::store::{Store, What};
use crate::workflow::{Json, Root, Variable};

impl Admin {
    /// Every variable, by name.
    pub async fn environment(&self) -> Result<Vec<(String, String)>, Error> {
        self.read(Store::environment).await
    }

    /// Sets a variable; what begins from now on sees it.
    pub async fn set_environment(&self, name: &str, value: &str) -> Result<(), Error> {
        if !is_name(name) {
            let what =
                format!("`{name}` is no name of a variable: use 1 to 64 letters, digits, `-` and `_`, beginning with a letter");
            return Err(Error::Setting(what));
        }
        if value.len() > ENVIRONMENT_BYTES_MAX {
            return Err(Error::Setting(format!("the value has {} bytes; at most {ENVIRONMENT_BYTES_MAX}", value.len())));
        }
        let _changing = self.changing.lock().await;
        let all = self.environment().await?;
        let before = all.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        if before.is_none() && all.len() >= ENVIRONMENT_MAX {
            return Err(Error::Setting(format!("there are {ENVIRONMENT_MAX} variables; remove some first")));
        }
        let entry = self.entry(What::EnvironmentSet, name, json!({ "value": value, "before": before }));
        self.store.put_environment(name, value, &entry).await?;
        self.use_environment().await
    }

    /// Removes a variable; one that an active revision names without a default only if that is insisted on.
    pub async fn remove_environment(&self, name: &str, force: bool) -> Result<(), Error> {
        let _changing = self.changing.lock().await;
        if self.environment().await?.iter().all(|(known, _)| known != name) {
            return Err(Error::not_found("variable", name, "; `weft env list` shows what there is"));
        }
        let wanted = Root::Env(name.into());
        let is_use = move |variable: &Variable| variable.root == wanted && variable.default().is_none();
        self.check_unused(Named::Variable, name, force, is_use).await?;
        let entry = self.entry(What::EnvironmentRemoved, name, json!({}));
        self.store.remove_environment(name, &entry).await?;
        self.use_environment().await
    }

    /// Lets runs see the variables as they are stored.
    pub async fn use_environment(&self) -> Result<(), Error> {
        let all = self.environment().await?;
        let all = all.into_iter().map(|(name, value)| (name.into(), Json::from(Value::from(value))));
        self.executor().environment().set(all.collect());
        Ok(())
    }
}
