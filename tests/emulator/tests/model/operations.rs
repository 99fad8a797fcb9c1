//! What may be asked, by whom, and how it is drawn.

use proptest::option;
use proptest::prelude::*;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    Manager,
    SecondManager,
    Writer,
    ReaderPlus,
    Reader,
    Purger,
    /// A Manager of the ring `ring-a` and of nothing else.
    RingManager,
}

impl Caller {
    pub(crate) const ALL: [Self; 7] = [
        Self::Manager,
        Self::SecondManager,
        Self::Writer,
        Self::ReaderPlus,
        Self::Reader,
        Self::Purger,
        Self::RingManager,
    ];

    pub(crate) fn name(self) -> String {
        format!("{self:?}")
    }
}

/// A step: time goes by, and then somebody asks for something.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// Seconds.
    pub(crate) wait: i64,
    pub(crate) caller: Caller,
    pub(crate) operation: Operation,
}

impl Step {
    /// The number of the key that it is about.
    pub(crate) fn key(&self) -> Option<usize> {
        match &self.operation {
            Operation::OnKey { key, .. } | Operation::Register { key, .. } => Some(*key),
            _ => None,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Create(Create),
    /// Something about one of the keys that were made, by its number.
    OnKey {
        key: usize,
        /// The ring that the header names.
        header: Option<&'static str>,
        act: Act,
    },
    CreateRing(&'static str),
    DeleteRing {
        ring: &'static str,
        force: bool,
    },
    SetAccess {
        enabled: bool,
        create_root: bool,
        create_standard: bool,
        import_root: bool,
        import_standard: bool,
        enforce_token: bool,
    },
    SetDualAuthOfNewKeys(bool),
    SetRotationOfNewKeys(bool, i64),
    /// Behind the API: another service registers a resource.
    Register {
        key: usize,
        retained: bool,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Create {
    pub(crate) root: bool,
    pub(crate) imported: bool,
    pub(crate) ring: Option<&'static str>,
    pub(crate) alias: Option<&'static str>,
    /// Seconds from now; it may lie in the past.
    pub(crate) expires: Option<i64>,
    pub(crate) policies: Option<Policies>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Policies {
    pub(crate) dual: Option<bool>,
    pub(crate) rotation: Option<(Option<bool>, Option<i64>)>,
}

#[derive(Debug, Clone)]
pub(crate) enum Act {
    Metadata,
    Get,
    Patch(&'static str),
    Delete {
        force: bool,
    },
    Purge,
    Restore,
    Versions,
    Wrap {
        aad: bool,
    },
    /// Of what was wrapped before, by its number.
    Unwrap {
        wrapped: usize,
        aad: bool,
    },
    Rewrap {
        wrapped: usize,
        aad: bool,
    },
    Rotate {
        payload: bool,
    },
    Enable,
    Disable,
    SetForDeletion,
    UnsetForDeletion,
    Sync,
    SetPolicies(Policies),
    Policies,
    Registrations,
    CreateAlias(&'static str),
    DeleteAlias(&'static str),
}

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

fn ring() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("default"), Just("ring-a"), Just("ring-b"), Just("x")]
}

fn alias() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        8 => prop_oneof![Just("one"), Just("two"), Just("three"), Just("four"), Just("five"), Just("six"), Just("One")],
        1 => prop_oneof![Just("rotate"), Just("a.b"), Just("x")],
    ]
}

fn policies() -> impl Strategy<Value = Policies> {
    let interval =
        option::of(prop_oneof![4 => Just(1_i64), 2 => Just(2), 1 => Just(13), 1 => Just(0)]);
    let rotation = (option::of(any::<bool>()), interval);
    (option::of(any::<bool>()), option::of(rotation))
        .prop_filter("a change changes something", |(dual, rotation)| {
            dual.is_some() || rotation.is_some()
        })
        .prop_map(|(dual, rotation)| Policies { dual, rotation })
}

fn create() -> impl Strategy<Value = Create> {
    let expires = option::weighted(0.3, prop_oneof![Just(-1), Just(HOUR), Just(20 * DAY)]);
    let policies = option::weighted(0.2, policies());
    (
        any::<bool>(),
        any::<bool>(),
        option::of(ring()),
        option::of(alias()),
        expires,
        policies,
    )
        .prop_map(|(root, imported, ring, alias, expires, policies)| Create {
            root,
            imported,
            ring,
            alias,
            expires,
            policies,
        })
}

fn act() -> impl Strategy<Value = Act> {
    let wrapped = 0_usize..4;
    prop_oneof![
        1 => Just(Act::Metadata),
        1 => Just(Act::Get),
        1 => ring().prop_map(Act::Patch),
        3 => any::<bool>().prop_map(|force| Act::Delete { force }),
        1 => Just(Act::Purge),
        3 => Just(Act::Restore),
        1 => Just(Act::Versions),
        2 => any::<bool>().prop_map(|aad| Act::Wrap { aad }),
        2 => (wrapped.clone(), any::<bool>()).prop_map(|(wrapped, aad)| Act::Unwrap { wrapped, aad }),
        1 => (wrapped, any::<bool>()).prop_map(|(wrapped, aad)| Act::Rewrap { wrapped, aad }),
        3 => any::<bool>().prop_map(|payload| Act::Rotate { payload }),
        2 => Just(Act::Enable),
        2 => Just(Act::Disable),
        2 => Just(Act::SetForDeletion),
        1 => Just(Act::UnsetForDeletion),
        1 => Just(Act::Sync),
        2 => policies().prop_map(Act::SetPolicies),
        1 => Just(Act::Policies),
        1 => Just(Act::Registrations),
        2 => alias().prop_map(Act::CreateAlias),
        1 => alias().prop_map(Act::DeleteAlias),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    let access = (any::<bool>(), any::<[bool; 5]>()).prop_map(|(enabled, each)| {
        let [
            create_root,
            create_standard,
            import_root,
            import_standard,
            enforce_token,
        ] = each;
        Operation::SetAccess {
            enabled,
            create_root,
            create_standard,
            import_root,
            import_standard,
            enforce_token,
        }
    });
    let header = option::weighted(0.1, ring());
    prop_oneof![
        6 => create().prop_map(Operation::Create),
        24 => (0_usize..6, header, act())
            .prop_map(|(key, header, act)| Operation::OnKey { key, header, act }),
        2 => ring().prop_map(Operation::CreateRing),
        1 => (ring(), any::<bool>()).prop_map(|(ring, force)| Operation::DeleteRing { ring, force }),
        1 => access,
        1 => any::<bool>().prop_map(Operation::SetDualAuthOfNewKeys),
        1 => (any::<bool>(), prop_oneof![Just(1_i64), Just(12), Just(13)])
            .prop_map(|(enabled, months)| Operation::SetRotationOfNewKeys(enabled, months)),
        1 => (0_usize..6, any::<bool>())
            .prop_map(|(key, retained)| Operation::Register { key, retained }),
    ]
}

/// Draws a step. Most are the Manager's, soon after the one before.
pub(crate) fn step() -> impl Strategy<Value = Step> {
    let wait = prop_oneof![
        6 => Just(1),
        3 => Just(31),
        2 => Just(HOUR + 1),
        1 => Just(5 * HOUR),
        1 => Just(8 * DAY),
        1 => Just(31 * DAY),
        1 => Just(91 * DAY),
    ];
    let caller = prop_oneof![
        6 => Just(Caller::Manager),
        3 => proptest::sample::select(Caller::ALL.to_vec()),
    ];
    (wait, caller, operation()).prop_map(|(wait, caller, operation)| Step {
        wait,
        caller,
        operation,
    })
}
