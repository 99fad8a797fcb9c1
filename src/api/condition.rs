//! Condition types and the closed list of Ready's reasons, each with cause and remedy, as
//! `docs/reasons.md` prints them.

/// Types of condition on either kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionType {
    /// The Secret holds what the key says; the instance can be used.
    Ready,
    /// Work is under way or will be tried again (kstatus).
    Reconciling,
    /// Only a person can help (kstatus).
    Stalled,
    /// What the Secret holds was right, but has not been confirmed for long.
    Stale,
    /// The key expires within 30 days.
    ExpiringSoon,
    /// IAM took the instance's credential.
    Authenticated,
    /// More Secrets would be deleted by revocations than are by accident: they wait for an admin.
    MassRevocationHeld,
    /// The admission policies that bound the operator do not hold.
    FenceInactive,
    /// An access rule grants nothing in the form in which the operator was installed.
    RuleNotSupported,
}

impl ConditionType {
    /// Names the type as status shows it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::Stale => "Stale",
            Self::ExpiringSoon => "ExpiringSoon",
            Self::Authenticated => "Authenticated",
            Self::MassRevocationHeld => "MassRevocationHeld",
            Self::FenceInactive => "FenceInactive",
            Self::RuleNotSupported => "RuleNotSupported",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident { stalls: $stalls:literal, cause: $cause:literal, remedy: $remedy:literal })*) => {
        /// Why an object is or is not Ready. One value feeds condition, Event, metric and log.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $(#[doc = $cause] $name,)*
        }

        impl Reason {
            /// Every reason, in the order of the docs.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Names the reason as status shows it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// What brings it about.
            #[must_use]
            pub const fn cause(self) -> &'static str {
                match self { $(Self::$name => $cause,)* }
            }

            /// What to do about it.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)* }
            }

            /// Whether only a person can help, so that `Stalled` stands beside Ready=False.
            #[must_use]
            pub const fn stalls(self) -> bool {
                match self { $(Self::$name => $stalls,)* }
            }

            /// Reads a reason back from status.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.as_str() == text)
            }
        }
    };
}

reasons! {
    Pending { stalls: false,
        cause: "The operator has not looked at the object yet, or waits for something that is on its way.",
        remedy: "Wait. If it lasts, look whether the operator runs and what its log says." }
    Synced { stalls: false,
        cause: "The Secret holds what the key says.",
        remedy: "Nothing to do." }
    AliasMoving { stalls: false,
        cause: "The alias or name was there and is gone; people who replace a key delete the alias, wait, and create it again.",
        remedy: "Create the alias on the new key. Until the grace is over, the Secret keeps its last value and is Ready." }
    AliasWentBack { stalls: false,
        cause: "The alias or name points to a key older than the one in the Secret, as after a regional failover to old data.",
        remedy: "If it was meant, annotate the object with keyprotect.dev/sync-requested-at; otherwise wait for the service to recover." }
    Suspended { stalls: false,
        cause: "spec.suspend is true.",
        remedy: "Set spec.suspend to false to go on." }
    Unreachable { stalls: false,
        cause: "Key Protect or IAM could not be reached: name look-up, connection, TLS or a time-out.",
        remedy: "Check DNS, egress rules, proxy and caBundle from the operator's Pod; it tries again by itself." }
    Throttled { stalls: false,
        cause: "Key Protect or IAM asked for fewer requests (429).",
        remedy: "Wait; the operator obeys Retry-After." }
    ServiceError { stalls: false,
        cause: "Key Protect or IAM answered with an error or with something that is no answer.",
        remedy: "Wait; the operator tries again. Give IBM's support the correlation ID if it lasts." }
    CredentialMissing { stalls: true,
        cause: "There is no usable API key for the instance: no file, no Secret, no entry, or no right to read it.",
        remedy: "Mount a Secret with the entry apikey under the operator's credentials folder; or, with apiKeySecretRef, make the Secret and the Role that the instance's message names; for a trusted profile, project a ServiceAccount token." }
    CredentialRejected { stalls: true,
        cause: "IAM refused the API key.",
        remedy: "Make a new API key for the service ID and put it into the Secret; it is taken without a restart. Of a trusted profile: see to its trust in the operator's ServiceAccount." }
    AccessDenied { stalls: true,
        cause: "The service refused to show the key's metadata (401 or 403), though it was readable before.",
        remedy: "Check the service ID's roles on instance, ring and key, the instance's region, and allowed-IP and context-based rules." }
    PayloadForbidden { stalls: true,
        cause: "The key's metadata is readable but not its payload.",
        remedy: "Give the service ID the role ReaderPlus, Writer or Manager; Reader cannot read payloads." }
    KeyNotAvailable { stalls: true,
        cause: "No such instance, no such key, or not for this namespace; which of them, only the operator's log says.",
        remedy: "Check instanceRef and key, and ask the instance's owner whether its access rules allow this namespace to use the key." }
    AccessWithdrawn { stalls: true,
        cause: "The instance's access rules no longer allow this namespace to use the key. The Secret is no longer refreshed; whether it goes, the instance's onAccessWithdrawn says.",
        remedy: "Ask the instance's owner, or delete the object." }
    KeyDeleted { stalls: true,
        cause: "The key was deleted in Key Protect. The Secret keeps its last value, unless revocationPolicy is Delete.",
        remedy: "Restore the key (within 30 days), or point the alias, name or spec.key at another one." }
    KeyExpired { stalls: true,
        cause: "The key's expiration date has passed. The Secret keeps its last value, unless revocationPolicy is Delete.",
        remedy: "Create a new key and move the alias to it, or point spec.key at another one." }
    KeyDisabled { stalls: true,
        cause: "The key is not active: suspended, or deactivated without an expiration date. The Secret keeps its last value.",
        remedy: "Enable the key, or point spec.key at another one." }
    NotExtractable { stalls: true,
        cause: "The key is a root key, which never leaves the service.",
        remedy: "Create a standard key (ibmcloud kp key create NAME -s) and name that one." }
    RenderFailed { stalls: true,
        cause: "The payload cannot be written as target.data asks: encoding, JSON path, template or size.",
        remedy: "The message names the entry and what is wrong with it; change the entry or the key." }
    SecretNotOwned { stalls: true,
        cause: "A Secret of the target's name exists and is not the operator's, or (creationPolicy Merge) its owner does not share it, does not offer an entry, or gives no right to write it. It is not touched.",
        remedy: "Choose another target.name, or let the Secret's owner hand it over (label keyprotect.dev/target=adopt) or share it (keyprotect.dev/target=shared); the message says how." }
    TargetConflict { stalls: true,
        cause: "An older KeyProtectKey has the same target.",
        remedy: "Give one of the two another target.name, or delete one." }
    EntryConflict { stalls: true,
        cause: "An older KeyProtectKey puts the same entry into the same shared Secret.",
        remedy: "Name the entry differently in one of the two, or delete one." }
    SecretImmutable { stalls: true,
        cause: "The Secret was made immutable by someone, so its content cannot follow the key.",
        remedy: "Delete the Secret; it is made anew." }
    SecretRejected { stalls: true,
        cause: "The API server refused the Secret: a quota, a policy, or entries that its type requires.",
        remedy: "The message names the rule; satisfy it or change the target." }
    NamespaceTerminating { stalls: false,
        cause: "The namespace is being deleted; nothing is written in it.",
        remedy: "Nothing to do." }
    OperatorError { stalls: false,
        cause: "Something that should not happen did, or the API server failed.",
        remedy: "The operator tries again. Its log has the details; please report it if it lasts." }
}

/// The rows of the table in `docs/reasons.md`: reason, cause, remedy, whether it stalls. Each
/// reason has an anchor, its name in lower case.
#[must_use]
pub fn reasons_table() -> String {
    let mut rows = String::new();
    for reason in Reason::ALL {
        let name = reason.as_str();
        let anchor = name.to_ascii_lowercase();
        let stalls = if reason.stalls() { "yes" } else { "no" };
        let (cause, remedy) = (reason.cause(), reason.remedy());
        rows.push_str(&format!(
            "| <a id=\"{anchor}\"></a>`{name}` | {cause} | {remedy} | {stalls} |\n"
        ));
    }
    rows
}
