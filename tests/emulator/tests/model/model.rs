//! The rules, as small as they can be said. Numbers of sections are those of
//! IBM's documentation as the project keeps it.

use std::collections::BTreeSet;

use crate::operations::{Act, Caller, Create, Operation, Policies, Step};
use crate::service::Asked;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// When the model's time begins: not at a whole hour.
pub(crate) const START: i64 = 1_800_000_123;

#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) root: bool,
    pub(crate) imported: bool,
    pub(crate) state: u8,
    pub(crate) ring: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) created: i64,
    pub(crate) expires: Option<i64>,
    /// When it was deleted, and in which state.
    pub(crate) deleted: Option<(i64, u8)>,
    pub(crate) purged: bool,
    /// When its state changed last.
    pub(crate) changed: Option<i64>,
    pub(crate) rotated: Option<i64>,
    pub(crate) versions: usize,
    pub(crate) dual: Option<bool>,
    /// Who set it for deletion, and until when that counts.
    pub(crate) set: Option<(Caller, i64)>,
    pub(crate) rotation: Option<(bool, i64)>,
    /// For each resource that it protects, whether it is retained.
    pub(crate) protects: Vec<bool>,
}

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

type Refused = (u16, Option<&'static str>);

fn no<T>(status: u16, code: &'static str) -> Result<T, Refused> {
    Err((status, Some(code)))
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
                    model.access = enabled.then_some(access)
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
        Act::Metadata | Act::Versions | Act::Registrations => Right::Use,
        Act::Wrap { .. } | Act::Unwrap { .. } | Act::Rewrap { .. } => Right::Use,
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

impl Key {
    fn check_deleted(&self) -> Result<(), Refused> {
        if self.state == 5 {
            return no(410, "KEY_DELETED_ERR");
        }
        Ok(())
    }

    /// Section 5: actions are for root keys, in some states.
    fn check_action(&self, states: &[u8]) -> Result<(), Refused> {
        if !self.root {
            return no(400, "KEY_ROOT_REQ_ERR");
        }
        self.check_deleted()?;
        if !states.contains(&self.state) {
            return no(409, "KEY_ACTION_INVALID_STATE_ERR");
        }
        Ok(())
    }

    fn check_thirty_seconds(&self, now: i64) -> Result<(), Refused> {
        if self.changed.is_some_and(|changed| now - changed < 30) {
            return no(409, "REQ_TOO_EARLY_ERR");
        }
        Ok(())
    }

    fn act(&mut self, caller: Caller, act: &Act, now: i64) -> Result<u16, Refused> {
        match act {
            Act::Metadata | Act::Get | Act::Policies => Ok(200),
            Act::Registrations if !self.root => no(400, "KEY_ROOT_REQ_ERR"),
            Act::Registrations => Ok(200),
            Act::Versions => self.check_action(&[0, 1, 2, 3]).map(|()| 200),
            Act::Wrap { .. } => self.check_action(&[1]).map(|()| 200),
            Act::Patch(ring) => {
                self.check_deleted()?;
                (*ring).clone_into(&mut self.ring);
                Ok(200)
            }
            Act::Delete { force } => self.delete(caller, *force, now),
            Act::Restore => self.restore(now),
            Act::Purge => match self.deleted {
                None => no(409, "KEY_ACTION_INVALID_STATE_ERR"),
                Some((at, _)) if now - at < 4 * HOUR => no(409, "REQ_TOO_EARLY_ERR"),
                Some(_) => {
                    self.purged = true;
                    self.aliases.clear();
                    Ok(200)
                }
            },
            Act::Rotate { payload } => self.rotate(*payload, now),
            Act::Enable => {
                self.check_action(&[2])?;
                self.check_thirty_seconds(now)?;
                (self.state, self.changed) = (1, Some(now));
                Ok(204)
            }
            Act::Disable => {
                self.check_action(&[1])?;
                (self.state, self.changed) = (2, Some(now));
                Ok(204)
            }
            Act::SetForDeletion | Act::UnsetForDeletion => {
                self.check_deleted()?;
                if self.dual != Some(true) {
                    return no(409, "NOT_DUAL_AUTH_ERR");
                }
                let set = matches!(act, Act::SetForDeletion);
                self.set = set.then_some((caller, now + 7 * DAY));
                Ok(204)
            }
            Act::Sync => self.check_deleted().map(|()| 204),
            Act::SetPolicies(policies) => {
                self.check_deleted()?;
                self.set_policies(policies).map(|()| 200)
            }
            Act::DeleteAlias(alias) => {
                let Some(at) = self.aliases.iter().position(|other| other == alias) else {
                    return no(404, "KEY_ALIAS_NOT_FOUND_ERR");
                };
                self.aliases.remove(at);
                Ok(204)
            }
            Act::CreateAlias(_) | Act::Unwrap { .. } | Act::Rewrap { .. } => {
                unreachable!("the instance's own")
            }
        }
    }

    fn delete(&mut self, caller: Caller, force: bool, now: i64) -> Result<u16, Refused> {
        self.check_deleted()?;
        let second = self
            .set
            .is_some_and(|(by, until)| by != caller && now < until);
        if self.dual == Some(true) && !second {
            return no(409, "AUTHORIZATIONS_NOT_MET");
        }
        if !self.protects.is_empty() && !force {
            return no(409, "PROTECTED_RESOURCE_ERR");
        }
        if self.protects.contains(&true) {
            return no(409, "PREV_KEY_DEL_ERR");
        }
        self.protects.clear();
        self.deleted = Some((now, self.state));
        (self.state, self.changed, self.set) = (5, Some(now), None);
        Ok(200)
    }

    fn restore(&mut self, now: i64) -> Result<u16, Refused> {
        let Some((at, before)) = self.deleted else {
            return no(409, "KEY_ACTION_INVALID_STATE_ERR");
        };
        if now - at >= 30 * DAY {
            return no(400, "KEY_RESTORE_EXPIRED");
        }
        if before != 3 && self.expires.is_some_and(|expires| expires <= now) {
            return no(400, "KEY_EXPIRED_ERR");
        }
        self.check_thirty_seconds(now)?;
        (self.state, self.changed, self.deleted) = (before, Some(now), None);
        Ok(201)
    }

    fn rotate(&mut self, payload: bool, now: i64) -> Result<u16, Refused> {
        self.check_action(&[1, 3])?;
        if self.imported && !payload {
            return no(400, "KEY_PAYLOAD_REQ_ERR");
        }
        if !self.imported && payload {
            return no(400, "INVALID_FIELD_ERR");
        }
        if self.rotated.is_some_and(|rotated| now - rotated < HOUR) {
            return no(409, "KEY_ROTATION_NOT_PERMITTED");
        }
        self.versions += 1;
        self.rotated = Some(now);
        Ok(204)
    }

    fn set_policies(&mut self, new: &Policies) -> Result<(), Refused> {
        if self.dual == Some(true) && new.dual == Some(false) {
            return no(409, "AUTHORIZATIONS_NOT_MET");
        }
        if let Some((enabled, interval)) = new.rotation {
            if !self.root {
                return no(400, "KEY_ROOT_REQ_ERR");
            }
            let interval = interval.or(self.rotation.map(|(_, interval)| interval));
            let Some(interval) =
                interval.filter(|months| (1..=12).contains(months) && !self.imported)
            else {
                return no(400, "INVALID_FIELD_ERR");
            };
            self.rotation = Some((enabled.unwrap_or(true), interval));
        }
        self.dual = new.dual.or(self.dual);
        Ok(())
    }
}
