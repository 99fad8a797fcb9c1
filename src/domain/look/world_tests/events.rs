//! What can happen.

use proptest::prelude::*;

use crate::domain::look::plan::WriteFailure;
use crate::domain::service::failure::FailureKind;

pub(super) const NAMES: [&str; 4] = ["oa", "ob", "oc", "od"];
pub(super) const ALIASES: [&str; 2] = ["oa", "bb"];
pub(super) const KEYS: u32 = 5;

/// Something that happens.
#[derive(Clone, Debug)]
pub(super) enum Event {
    MoveAlias(usize, u32),
    Unalias(usize),
    DeleteKey(u32),
    RestoreKey(u32),
    PurgeKey(u32),
    ExpireKey(u32, i64),
    Deactivate(u32),
    MoveRing(u32),
    Unlist(u32),
    ListAll,
    Singly(bool),
    ListsFail(Option<FailureKind>),
    ReadsFail(Option<FailureKind>),
    PayloadsFail(Option<FailureKind>),
    PayloadsLate(bool),
    Refresh,
    Look(usize),
    LookAndCrash(usize, usize),
    Restart,
    Pass(i64),
    /// How many milliseconds each answer takes.
    Learning(i64),
    ClockBack(i64),
    EditEntry(usize),
    ClearFields(usize),
    DropOwners(usize),
    Annotate(usize),
    DeleteSecret(usize),
    TakeLabel(usize),
    CollectGarbage,
    Refuse(Option<WriteFailure>),
    Rename(usize),
    Policy(usize, bool),
    Suspend(usize, bool),
    Revocation(usize, bool),
    OnWithdrawn(bool),
    Release,
    Recreate(usize),
    Withdraw(bool),
}

fn failure_kind() -> impl Strategy<Value = Option<FailureKind>> {
    prop_oneof![
        Just(None),
        Just(Some(FailureKind::Unreachable)),
        Just(Some(FailureKind::Throttled)),
        Just(Some(FailureKind::ServiceError)),
        Just(Some(FailureKind::Denied)),
        Just(Some(FailureKind::CredentialRejected)),
    ]
}

fn write_failure() -> impl Strategy<Value = Option<WriteFailure>> {
    prop_oneof![
        3 => Just(None),
        1 => Just(Some(WriteFailure::Rejected("a quota is used up"))),
        1 => Just(Some(WriteFailure::Failed("the API server failed"))),
        1 => Just(Some(WriteFailure::Conflict)),
    ]
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    let key = || 1..=KEYS;
    let name = || 0..NAMES.len();
    prop_oneof![
        3 => (0..ALIASES.len(), key()).prop_map(|(alias, key)| Event::MoveAlias(alias, key)),
        2 => (0..ALIASES.len()).prop_map(Event::Unalias),
        1 => key().prop_map(Event::DeleteKey),
        1 => key().prop_map(Event::RestoreKey),
        1 => key().prop_map(Event::PurgeKey),
        1 => (key(), 0..7200_i64).prop_map(|(key, seconds)| Event::ExpireKey(key, seconds)),
        1 => key().prop_map(Event::Deactivate),
        1 => key().prop_map(Event::MoveRing),
        2 => key().prop_map(Event::Unlist),
        1 => Just(Event::ListAll),
        1 => any::<bool>().prop_map(Event::Singly),
        2 => failure_kind().prop_map(Event::ListsFail),
        2 => failure_kind().prop_map(Event::ReadsFail),
        1 => failure_kind().prop_map(Event::PayloadsFail),
        1 => any::<bool>().prop_map(Event::PayloadsLate),
        6 => Just(Event::Refresh),
        16 => name().prop_map(Event::Look),
        3 => (name(), 0..3_usize).prop_map(|(name, writes)| Event::LookAndCrash(name, writes)),
        1 => Just(Event::Restart),
        6 => (0..4000_i64).prop_map(Event::Pass),
        2 => prop_oneof![Just(0), 0..3_000_i64].prop_map(Event::Learning),
        1 => (0..1000_i64).prop_map(Event::ClockBack),
        1 => name().prop_map(Event::EditEntry),
        1 => name().prop_map(Event::ClearFields),
        1 => name().prop_map(Event::DropOwners),
        1 => name().prop_map(Event::Annotate),
        1 => name().prop_map(Event::DeleteSecret),
        1 => name().prop_map(Event::TakeLabel),
        2 => Just(Event::CollectGarbage),
        1 => write_failure().prop_map(Event::Refuse),
        1 => name().prop_map(Event::Rename),
        1 => (name(), any::<bool>()).prop_map(|(name, stay)| Event::Policy(name, stay)),
        1 => (name(), any::<bool>()).prop_map(|(name, suspend)| Event::Suspend(name, suspend)),
        2 => (name(), any::<bool>()).prop_map(|(name, delete)| Event::Revocation(name, delete)),
        1 => any::<bool>().prop_map(Event::OnWithdrawn),
        1 => Just(Event::Release),
        1 => name().prop_map(Event::Recreate),
        1 => any::<bool>().prop_map(Event::Withdraw),
    ]
}
