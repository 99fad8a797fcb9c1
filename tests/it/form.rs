//! The install forms, as tests use them: whose RBAC the shared stage's operator has is said by the
//! environment variable FORM (`FORM=no-read cargo test --test it`), which is how the suite is
//! replayed under each of them (`make forms`). What a form has no use for is left out, by the table
//! here.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read their own environment and run real processes"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cluster::Cluster;

/// An install form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Standard,
    NoRead,
    StandardNamespaces,
    NoReadNamespaces,
}

/// Namespaces that a stage in a form for named namespaces has: as many as the operator takes.
const POOL: usize = 24;

impl Form {
    pub(crate) const ALL: [Self; 4] = [
        Self::Standard,
        Self::NoRead,
        Self::StandardNamespaces,
        Self::NoReadNamespaces,
    ];

    /// The form of this run.
    pub(crate) fn current() -> Self {
        let Some(named) = std::env::var_os("FORM") else {
            return Self::Standard;
        };
        let found = Self::ALL.into_iter().find(|form| *form.folder() == *named);
        found.unwrap_or_else(|| panic!("FORM={named:?} is none of the folders of deploy/overlays"))
    }

    /// Its folder under `deploy/overlays`.
    pub(crate) const fn folder(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::NoRead => "no-read",
            Self::StandardNamespaces => "standard-namespaces",
            Self::NoReadNamespaces => "no-read-namespaces",
        }
    }

    /// What status calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Standard => "Standard",
            Self::NoRead => "NoRead",
            Self::StandardNamespaces => "StandardNamespaces",
            Self::NoReadNamespaces => "NoReadNamespaces",
        }
    }

    pub(crate) const fn reads_secrets(self) -> bool {
        matches!(self, Self::Standard | Self::StandardNamespaces)
    }

    pub(crate) const fn is_for_namespaces(self) -> bool {
        matches!(self, Self::StandardNamespaces | Self::NoReadNamespaces)
    }

    /// The overlay of the form, for these namespaces where it is for some: as `set-namespaces` makes
    /// it, in a copy of `deploy/`.
    pub(crate) fn overlay(self, cluster: &Cluster, namespaces: &[String]) -> String {
        let folder = self.folder();
        if !self.is_for_namespaces() {
            return format!("deploy/overlays/{folder}");
        }
        let copy = cluster.scratch().join(uuid::Uuid::new_v4().to_string());
        let copied = Command::new("cp")
            .arg("-r")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy"))
            .arg(&copy)
            .status()
            .expect("cp");
        assert!(copied.success());
        let set = Command::new(copy.join("overlays/set-namespaces"))
            .arg(folder)
            .args(namespaces)
            .output()
            .expect("set-namespaces");
        assert!(set.status.success(), "{set:?}");
        copy.join("overlays").join(folder).display().to_string()
    }

    /// The namespaces that a stage in this form is made with; none where it is for all.
    pub(crate) fn pool(self) -> Vec<String> {
        if !self.is_for_namespaces() {
            return Vec::new();
        }
        (1..=POOL).map(|n| format!("pool-{n}")).collect()
    }
}

/// Tests that have no use in some forms: which, where, and why. They say so at their beginning.
const LEFT_OUT: &[(&str, &[Form], &str)] = &[
    (
        "rows_merge::entries_are_written_once_their_owner_gives_the_right_that_the_message_asks_for",
        UNREAD,
        MERGE,
    ),
    (
        "rows_merge::what_is_not_shared_or_not_offered_is_not_written",
        UNREAD,
        MERGE,
    ),
    (
        "rows_merge::an_edit_of_a_shared_entry_is_undone_and_an_edit_beside_it_is_left_alone",
        UNREAD,
        MERGE,
    ),
    (
        "rows_merge::entries_go_with_their_object_and_what_is_the_owners_stays",
        UNREAD,
        MERGE,
    ),
    ("rows_merge::entries_that_are_to_stay_stay", UNREAD, MERGE),
    (
        "rows_merge::entries_of_an_object_that_went_while_no_operator_ran_are_given_back_at_the_next_start",
        UNREAD,
        MERGE,
    ),
    (
        "rows_merge::two_objects_share_a_secret_and_an_entry_has_one_of_them",
        UNREAD,
        MERGE,
    ),
    (
        "rows_merge::the_target_moves_new_entries_first",
        UNREAD,
        MERGE,
    ),
    (
        "rows_endings::both_policy_and_name_changed_at_once_leave_the_old_secret_marked",
        UNREAD,
        MARKED,
    ),
    (
        "metrics::the_numbers_are_those_of_what_happened",
        UNREAD,
        COUNTED,
    ),
    (
        "rows_secrets::a_target_keeps_what_others_own_when_the_key_changes_and_drops_what_it_no_longer_wants",
        UNREAD,
        KEPT,
    ),
];
const UNREAD: &[Form] = &[Form::NoRead, Form::NoReadNamespaces];
const MERGE: &str = "Merge needs an operator that watches Secrets";
const KEPT: &str = "what others put on a Secret is not seen, and lost at the next write";
const MARKED: &str = "the old Secret stays as it was written, unmarked";
const COUNTED: &str = "counts what a form that watches Secrets asks, to which deletions that are only tried come here";

/// Whether a test is left out of this run; says so.
pub(crate) fn leaves_out(test: &str) -> bool {
    let form = Form::current();
    let row = LEFT_OUT.iter().find(|(name, _, _)| *name == test);
    let (_, forms, reason) = row.unwrap_or_else(|| panic!("{test} is not in the table"));
    let is_left_out = forms.contains(&form);
    if is_left_out {
        println!("left out of {}: {test}: {reason}", form.folder());
    }
    is_left_out
}

/// What this run leaves out, counted; and that each row names a test that asks the table.
#[test]
fn what_this_form_leaves_out_is_said() {
    let form = Form::current();
    let left_out = LEFT_OUT
        .iter()
        .filter(|(_, forms, _)| forms.contains(&form));
    println!(
        "{}: {} tests are left out",
        form.folder(),
        left_out.clone().count()
    );
    for (test, _, reason) in left_out {
        println!("- {test}: {reason}");
    }
    for (test, forms, _) in LEFT_OUT {
        let (module, name) = test.split_once("::").expect("a module and a test");
        let path = format!("{}/tests/it/{module}.rs", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(&path).expect(&path);
        let (_, body) = text.split_once(&format!("fn {name}()")).expect(test);
        let begin: String = body.split_whitespace().take(4).collect();
        assert!(
            begin.contains(&format!("leaves_out(\"{test}\"")),
            "{test}: {begin}"
        );
        assert!(
            !forms.is_empty() && !forms.contains(&Form::Standard),
            "{test}"
        );
    }
}
