//! Who the operator is and in which form it was installed: found out at the start, after the fence
//! was seen to hold and before anything is watched.

use std::sync::{LazyLock, Mutex, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::lock;
use crate::cluster::reviews;
use crate::domain::account::Account;
use crate::domain::form::{self, Form};

/// How soon it is asked again: RBAC may be applied a moment later than the operator. Doubled up to
/// a limit.
const AT_FIRST: Duration = Duration::from_millis(500);
const AT_MOST: Duration = Duration::from_secs(15);

/// What is taken to be so before it is known, when nothing is done yet.
static NOT_KNOWN: LazyLock<Form> = LazyLock::new(Form::default);

/// What was found out.
#[derive(Debug, Default)]
pub struct Installed {
    found: OnceLock<(Account, Form)>,
    problem: Mutex<Option<String>>,
}

impl Installed {
    /// The form.
    #[must_use]
    pub fn form(&self) -> &Form {
        self.found.get().map_or(&NOT_KNOWN, |(_, form)| form)
    }

    /// Whom the API server takes the operator for; nothing before that is known.
    #[must_use]
    pub fn account(&self) -> Option<&Account> {
        self.found.get().map(|(account, _)| account)
    }

    /// Tells why the operator waits, once for each reason.
    fn tell(&self, problem: String) {
        let mut told = lock(&self.problem);
        if told.as_ref() != Some(&problem) {
            tracing::error!(problem, "the operator waits for its rights");
            *told = Some(problem);
        }
    }

    /// Why the operator is not ready on account of its rights.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        if self.found.get().is_some() {
            return None;
        }
        let told = lock(&self.problem).clone();
        Some(told.unwrap_or_else(|| "the operator's rights are not known yet".to_owned()))
    }
}

/// Waits, asking, until account and form are known, or until told to stop. Nothing is watched
/// before.
pub(super) async fn until_known(context: &Context, stop: &CancellationToken) {
    let mut wait = AT_FIRST;
    while let Err(problem) = find_out(context).await {
        context.heartbeat.beat();
        context.installed.tell(problem);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = wait.saturating_mul(2).min(AT_MOST);
    }
}

async fn find_out(context: &Context) -> Result<(), String> {
    let scope = &context.settings.scope;
    let (username, answers) = tokio::join!(
        reviews::who_am_i(&context.client),
        reviews::secrets(&context.client, form::questions(scope))
    );
    let (Some(username), Some(answers)) = (username, answers) else {
        return Err("the API server did not answer what the operator may do".to_owned());
    };
    let form = form::decide(scope, &answers).map_err(|misfit| misfit.to_string())?;
    tracing::info!(
        form = form.name().as_str(),
        account = username,
        namespaces = ?form.scope.places().into_iter().flatten().collect::<Vec<_>>(),
        "the operator's rights are known"
    );
    context.metrics.install_form(form.name());
    // Nobody else sets it.
    drop(
        context
            .installed
            .found
            .set((Account::parse(&username), form)),
    );
    Ok(())
}
