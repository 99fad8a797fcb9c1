//! The versions of a root key.

use super::{collection, flag};
use crate::domain::key::VersionView;
use crate::domain::modes::date;
use crate::domain::refusal::Refusal;
use crate::domain::state::{KeyClass, KeyState};
use crate::http::answer::Answer;
use crate::http::calls::Admitted;

const VERSION_TYPE: &str = "application/vnd.ibm.kms.key.version+json";

/// GET the versions, the newest first.
pub fn list(admitted: &Admitted<'_>, id: &str) -> Result<Answer, Refusal> {
    let key = admitted.instance.key(id)?;
    if key.class == KeyClass::Standard {
        return Err(Refusal::root_key_required());
    }
    if key.state == KeyState::Destroyed && !flag(admitted.call, "allKeyStates") {
        return Err(Refusal::key_deleted());
    }
    let versions: Vec<VersionView<'_>> = key
        .versions
        .newest_first()
        .map(|version| VersionView {
            id: &version.id,
            creation_date: Some(date(version.creation_date)),
        })
        .collect();
    collection(admitted, VERSION_TYPE, versions, 200)
}
