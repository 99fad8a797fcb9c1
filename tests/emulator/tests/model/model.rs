//! The rules, as small as they can be said. Numbers of sections are those of
//! IBM's documentation as the project keeps it.

use std::collections::BTreeSet;

use crate::key::{DAY, HOUR, Key, Refused, no};
use crate::operations::{Act, Caller, Create, Operation, Policies, Step};
use crate::service::Asked;

/// When the model's time begins: not at a whole hour.
pub(crate) const START: i64 = 1_800_000_123;

/// Something that was wrapped.
#[derive(Debug, Clone)]
pub(crate) struct Wrapped {
    pub(crate) key: usize,
    pub(crate) aad: bool,
    pub(crate) ciphertext: String,
    plaintext: String,
    version: String,
}

#[derive(Debug, Clone, Copy)]
struct Access {
    create: [bool; 2],
    import: [bool; 2],
    enforce_token: bool,
}

#[derive(Debug)]
pub(crate) struct Model {
    now: i64,
    keys: Vec<Key>,
    rings: BTreeSet<String>,
    pub(crate) wrapped: Vec<Wrapped>,
    access: Option<Access>,
    dual_of_new: bool,
    rotation_of_new: Option<i64>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            now: START,
            keys: Vec::new(),
            rings: BTreeSet::from(["default".to_owned()]),
            wrapped: Vec::new(),
            access: None,
            dual_of_new: false,
            rotation_of_new: None,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) status: u16,
    pub(crate) code: Option<&'static str>,
}

const FORBIDDEN: Refused = (401, None);

/// What a right is for (section 8).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Right {
    /// List, metadata, versions, wrap and unwrap.
    Use,
    Payload,
    /// Create, import, rotate, alias, create ring, schedule a deletion.
    Write,
    /// Enable, disable, delete, restore, patch, policies, delete ring.
    Manage,
    Purge,
}

fn may(caller: Caller, right: Right, ring: &str) -> bool {
    match caller {
        Caller::Manager | Caller::SecondManager => right != Right::Purge,
        Caller::Writer => matches!(right, Right::Use | Right::Payload | Right::Write),
        Caller::ReaderPlus => matches!(right, Right::Use | Right::Payload),
        Caller::Reader => right == Right::Use,
        Caller::Purger => right == Right::Purge,
        Caller::RingManager => right != Right::Purge && ring == "ring-a",
    }
}

/// On the whole instance: a ring's Manager has nothing there.
fn may_on_whole(caller: Caller, right: Right) -> bool {
    may(caller, right, "")
}

impl Model {
    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }

    pub(crate) fn now(&self) -> i64 {
        self.now
    }

    /// The keys that a caller's lists show, by ID.
    pub(crate) fn listed(&self, caller: Caller) -> Vec<&str> {
        let shown =
            |key: &&Key| !key.purged && key.state != 5 && may(caller, Right::Use, &key.ring);
        let mut ids: Vec<&str> = self
            .keys
            .iter()
            .filter(shown)
            .map(|key| key.id.as_str())
            .collect();
        ids.sort_unstable();
        ids
    }

    /// Lets time go by: expiry at the pass of each whole hour, rotation when a
    /// policy says so, purges after 90 days.
    pub(crate) fn wait(&mut self, seconds: i64) {
        self.now += seconds;
        let pass = self.now - self.now % HOUR;
        for key in &mut self.keys {
            if key.deleted.is_some_and(|(at, _)| at + 90 * DAY <= self.now) {
                key.purged = true;
                key.aliases.clear();
            }
            if key.expires.is_some_and(|expires| expires <= pass) && key.state < 3 {
                key.state = 3;
            }
            if let Some((true, months)) = key.rotation
                && key.state == 1
                && key.rotated.unwrap_or(key.created) + months * 30 * DAY <= self.now
            {
                key.versions += 1;
                key.rotated = Some(self.now);
            }
        }
    }

    /// Says what a step answers, and does it. `made` is the ID that the service
    /// gave to what it made.
    pub(crate) fn answer(&mut self, step: &Step, made: Option<&str>) -> Expected {
        let outcome = match &step.operation {
            Operation::Create(create) => self.create(step.caller, create, made),
            Operation::OnKey { key, header, act } => self.on_key(step.caller, *key, *header, act),
            Operation::CreateRing(ring) => self.create_ring(step.caller, ring),
            Operation::DeleteRing { ring, force } => self.delete_ring(step.caller, ring, *force),
            Operation::SetAccess {
                enabled,
                create_root,
                create_standard,
                import_root,
                import_standard,
                enforce_token,
            } => {
                let access = Access {
                    create: [*create_standard, *create_root],
                    import: [*import_standard, *import_root],
                    enforce_token: *enforce_token,
                };
                self.govern(step.caller, |model| {
                    model.access = enabled.then_some(access);
                })
            }
            Operation::SetDualAuthOfNewKeys(enabled) => {
                self.govern(step.caller, |model| model.dual_of_new = *enabled)
            }
            Operation::SetRotationOfNewKeys(enabled, months) => {
                if may_on_whole(step.caller, Right::Manage) && *months > 12 {
                    no(400, "INVALID_FIELD_ERR")
                } else {
                    self.govern(step.caller, |model| {
                        model.rotation_of_new = enabled.then_some(*months);
                    })
                }
            }
            Operation::Register { key, retained } => self.register(*key, *retained),
        };
        match outcome {
            Ok(status) => Expected { status, code: None },
            Err((status, code)) => Expected { status, code },
        }
    }

    fn govern(&mut self, caller: Caller, change: impl FnOnce(&mut Self)) -> Result<u16, Refused> {
        if !may_on_whole(caller, Right::Manage) {
            return Err(FORBIDDEN);
        }
        change(self);
        Ok(204)
    }

    /// Answers as another service would get it: the code is for a test's eyes.
    fn register(&mut self, at: usize, retained: bool) -> Result<u16, Refused> {
        let Some(key) = self.keys.get_mut(at).filter(|key| !key.purged) else {
            return Ok(404);
        };
        if !key.root || key.state != 1 {
            return Ok(422);
        }
        key.protects.push(retained);
        Ok(201)
    }

    fn check_creation(&self, root: bool, imported: bool) -> Result<(), Refused> {
        let Some(access) = self.access else {
            return Ok(());
        };
        let each = if imported {
            access.import
        } else {
            access.create
        };
        if !each[usize::from(root)] || (imported && access.enforce_token) {
            return no(409, "KEY_CREATE_IMPORT_ACCESS_ERR");
        }
        Ok(())
    }

    fn create(&mut self, caller: Caller, new: &Create, made: Option<&str>) -> Result<u16, Refused> {
        let ring = new.ring.unwrap_or("default");
        if !may(caller, Right::Write, ring) {
            return Err(FORBIDDEN);
        }
        if new.alias.is_some_and(|alias| !is_alias(alias)) || new.expires.is_some_and(|at| at <= 0)
        {
            return no(400, "INVALID_FIELD_ERR");
        }
        if !self.rings.contains(ring) {
            return no(404, "KEY_RING_NOT_FOUND_ERR");
        }
        if new.alias.is_some_and(|alias| self.is_taken(alias)) {
            return no(409, "ALIAS_NOT_UNIQUE_ERR");
        }
        self.check_creation(new.root, new.imported)?;
        let mut key = Key {
            id: String::new(),
            root: new.root,
            imported: new.imported,
            state: 1,
            ring: ring.to_owned(),
            aliases: new.alias.iter().map(|alias| (*alias).to_owned()).collect(),
            created: self.now,
            expires: new.expires.map(|after| self.now + after),
            deleted: None,
            purged: false,
            changed: None,
            rotated: None,
            versions: 1,
            dual: None,
            set: None,
            rotation: None,
            protects: Vec::new(),
        };
        // The instance's policies hold where the key has none of its own.
        let own = new.policies.clone().unwrap_or_default();
        let inherits = new.root && !new.imported;
        let inherited = self.rotation_of_new.filter(|_| inherits);
        key.set_policies(&Policies {
            dual: own.dual.or(self.dual_of_new.then_some(true)),
            rotation: own
                .rotation
                .or(inherited.map(|months| (Some(true), Some(months)))),
        })?;
        key.id = made.unwrap_or_default().to_owned();
        self.keys.push(key);
        Ok(201)
    }

    fn is_taken(&self, alias: &str) -> bool {
        self.keys
            .iter()
            .any(|key| key.aliases.iter().any(|other| other == alias))
    }

    fn create_ring(&mut self, caller: Caller, ring: &str) -> Result<u16, Refused> {
        if !may_on_whole(caller, Right::Write) {
            return Err(FORBIDDEN);
        }
        if ring.len() < 2 {
            return no(400, "INVALID_FIELD_ERR");
        }
        if !self.rings.insert(ring.to_owned()) {
            return no(409, "KEY_RING_NOT_UNIQUE_ERR");
        }
        Ok(201)
    }

    fn delete_ring(&mut self, caller: Caller, ring: &str, force: bool) -> Result<u16, Refused> {
        if !may(caller, Right::Manage, ring) {
            return Err(FORBIDDEN);
        }
        if !self.rings.contains(ring) {
            return no(404, "KEY_RING_NOT_FOUND_ERR");
        }
        if ring == "default" {
            return no(400, "INVALID_FIELD_ERR");
        }
        let inside = |key: &&mut Key| !key.purged && key.ring == ring;
        let states: Vec<u8> = self
            .keys
            .iter_mut()
            .filter(inside)
            .map(|key| key.state)
            .collect();
        if states.iter().any(|state| *state != 5) || (!states.is_empty() && !force) {
            return no(409, "KEY_RING_NOT_EMPTY_ERR");
        }
        for key in self.keys.iter_mut().filter(inside) {
            key.ring = "default".to_owned();
        }
        self.rings.remove(ring);
        Ok(204)
    }

    fn on_key(
        &mut self,
        caller: Caller,
        at: usize,
        header: Option<&str>,
        act: &Act,
    ) -> Result<u16, Refused> {
        let Some(key) = self.keys.get(at).filter(|key| !key.purged) else {
            return no(404, "KEY_NOT_FOUND_ERR");
        };
        if header.is_some_and(|ring| ring != key.ring) {
            return no(404, "KEY_NOT_FOUND_ERR");
        }
        if !may(caller, right_for(act), &key.ring) {
            return Err(FORBIDDEN);
        }
        match act {
            Act::CreateAlias(alias) => return self.create_alias(at, alias),
            Act::Patch(ring) => {
                if !may(caller, Right::Manage, ring) {
                    return Err(FORBIDDEN);
                }
                if !self.rings.contains(*ring) {
                    return no(404, "KEY_RING_NOT_FOUND_ERR");
                }
            }
            Act::Rotate { payload: true } if key.imported => {
                self.keys[at].check_action(&[1, 3])?;
                self.check_creation(true, true)?;
            }
            Act::Unwrap { wrapped, aad } | Act::Rewrap { wrapped, aad } => {
                self.keys[at].check_action(&[1, 3])?;
                let fits = self
                    .wrapped
                    .get(*wrapped)
                    .is_some_and(|one| one.key == at && one.aad == *aad);
                return if fits {
                    Ok(200)
                } else {
                    no(422, "UNPROCESSABLE_CIPHERTEXT_ERR")
                };
            }
            _ => {}
        }
        let now = self.now;
        self.keys[at].act(caller, act, now)
    }

    fn create_alias(&mut self, at: usize, alias: &str) -> Result<u16, Refused> {
        if !is_alias(alias) {
            return no(400, "INVALID_FIELD_ERR");
        }
        self.keys[at].check_deleted()?;
        if self.is_taken(alias) {
            return no(409, "ALIAS_NOT_UNIQUE_ERR");
        }
        if self.keys[at].aliases.len() == 5 {
            return no(400, "KEY_ALIAS_QUOTA_ERR");
        }
        self.keys[at].aliases.push(alias.to_owned());
        Ok(201)
    }

    /// Judges what an answer holds, and remembers what was wrapped.
    pub(crate) fn judge(&mut self, step: &Step, asked: &Asked) -> Result<(), String> {
        let Operation::OnKey { key: at, act, .. } = &step.operation else {
            return Ok(());
        };
        if !(200..300).contains(&asked.status) {
            return Ok(());
        }
        let text = |name: &str| asked.body[name].as_str().map(str::to_owned);
        let version = || {
            asked.body["keyVersion"]["id"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let same = |what: &str, same: bool| {
            if same {
                Ok(())
            } else {
                Err(format!("{what}: {}", asked.body))
            }
        };
        match act {
            Act::Wrap { aad } => {
                self.wrapped.push(Wrapped {
                    key: *at,
                    aad: *aad,
                    ciphertext: text("ciphertext").unwrap(),
                    plaintext: text("plaintext").unwrap(),
                    version: version(),
                });
                Ok(())
            }
            Act::Unwrap { wrapped, .. } => {
                let was = &self.wrapped[*wrapped];
                same(
                    "another data key",
                    text("plaintext").as_ref() == Some(&was.plaintext),
                )?;
                same("another version", version() == was.version)?;
                let newest = asked.body["rewrappedKeyVersion"]["id"].as_str();
                same("wrapped anew for nothing", newest != Some(&was.version))?;
                same(
                    "both or none",
                    newest.is_some() == text("ciphertext").is_some(),
                )
            }
            Act::Rewrap { wrapped, .. } => {
                let new = asked.body["rewrappedKeyVersion"]["id"]
                    .as_str()
                    .unwrap()
                    .to_owned();
                let was = &mut self.wrapped[*wrapped];
                same("another version", version() == was.version)?;
                (was.ciphertext, was.version) = (text("ciphertext").unwrap(), new);
                Ok(())
            }
            Act::Get => {
                let key = &self.keys[*at];
                let payload = asked.body["resources"][0]["payload"].is_string();
                same("payload", payload == (!key.root && key.state != 5))
            }
            Act::Versions => {
                let listed = asked.body["resources"].as_array().map_or(0, Vec::len);
                same("versions", listed == self.keys[*at].versions)
            }
            Act::Registrations => {
                let listed = asked.body["resources"].as_array().map_or(0, Vec::len);
                same("registrations", listed == self.keys[*at].protects.len())
            }
            _ => Ok(()),
        }
    }
}

/// Section 4: 2 to 90 letters, digits, `-`, `_`, and no reserved name.
fn is_alias(alias: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (2..=90).contains(&alias.len()) && alias.chars().all(fits) && alias != "rotate"
}

fn right_for(act: &Act) -> Right {
    match act {
        Act::Metadata
        | Act::Versions
        | Act::Registrations
        | Act::Wrap { .. }
        | Act::Unwrap { .. }
        | Act::Rewrap { .. } => Right::Use,
        Act::Get => Right::Payload,
        Act::Rotate { .. } | Act::SetForDeletion | Act::UnsetForDeletion | Act::Sync => {
            Right::Write
        }
        Act::CreateAlias(_) | Act::DeleteAlias(_) => Right::Write,
        Act::Purge => Right::Purge,
        Act::Patch(_) | Act::Delete { .. } | Act::Restore | Act::Enable | Act::Disable => {
            Right::Manage
        }
        Act::SetPolicies(_) | Act::Policies => Right::Manage,
    }
}
