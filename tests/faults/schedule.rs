//! What happens in a round, and when: all of it from one seed. Plain values.

use std::fmt;

use serde_json::{Value, json};

use crate::chance::Chance;
use crate::service::{ALIASES, INSTANCES, NAMES, OWN, RING, fixed_id};
use crate::settled::{NOWHERE, ROOT};
use crate::stage::OPERATOR_NAMESPACE;
use crate::trouble;

/// Namespaces of the teams. The last one is deleted and made again now and then.
pub(crate) const NAMESPACES: [&str; 3] = ["team-a", "team-b", "team-c"];
/// Places for objects, over all namespaces.
pub(crate) const SLOTS: usize = 15;
/// Secrets of other people that some objects name as their target.
pub(crate) const FOREIGN: [&str; 2] = ["theirs-0", "theirs-1"];
/// Seconds that a Lease lasts. Short, since hand-overs are what is looked for; but a machine that is
/// busy with other things must still be able to renew it.
pub(crate) const LEASE: u64 = 6;
/// How long a leader must be away, in milliseconds, so that another one leads.
const MISSED: u64 = LEASE * 1_000 + 500;
/// How long things go wrong in a round, in milliseconds.
const ROUND: u64 = 2_500;
/// Troubles in a round, each for so long: first some with tokens, then some with keys.
const TOKENS: u64 = 2;
const KEYS: u64 = 5;
const TROUBLE: u64 = ROUND / (TOKENS + KEYS);

/// Where an object is.
pub(crate) fn place(slot: usize) -> (&'static str, String) {
    (NAMESPACES[slot % NAMESPACES.len()], format!("o-{slot}"))
}

/// What somebody does, or what befalls the cluster or the operator.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Act {
    /// The service recovers from what there was, and this begins.
    Trouble(&'static str),
    /// The same, beside what there is.
    Also(&'static str),
    MoveAlias(usize, &'static str),
    /// An alias is deleted, and is there again, for a new key, so much later.
    AliasGap(usize, &'static str, u64),
    Renew(usize, &'static str),
    /// A key that is in use is deleted, and restored so much later.
    Blink(usize, &'static str, u64),
    RotateApiKey(usize),
    /// Somebody edits an entry of an object's Secret, takes one away, or adds one.
    Edit(usize, Edit),
    DeleteSecret(usize),
    /// Somebody puts a label and an annotation of their own on it.
    Annotate(usize),
    /// Somebody clears its managedFields.
    Disown(usize),
    /// Somebody takes the operator's label off it.
    Release(usize),
    /// Somebody deletes a Secret that was released.
    Forget(usize),
    /// The object is made or changed to this spec.
    Spec(usize, Value),
    /// The object is deleted, and made again at once.
    Recreate(usize, Value),
    Delete(usize),
    TouchInstance(usize),
    RecreateInstance(usize),
    /// A namespace with all in it is deleted and made again.
    RecreateNamespace(Vec<(usize, Value)>),
    /// A replica is killed, and starts again so much later.
    Kill(Who, u64),
    /// A replica stands still for so long.
    Pause(Who, u64),
    /// A replica is told to end, as in a roll-out, and then starts again.
    Roll(Who),
    /// The connections of the replicas to the API server are cut.
    Cut,
    /// A replica cannot reach the API server for so long.
    Partition(Who, u64),
    RestartApiServer,
    StopApiServer(u64),
    /// The API server comes back to an etcd that has forgotten what watches ask for.
    Compact,
    RestartEtcd,
}

impl fmt::Display for Act {
    /// Its name alone: the rest of it comes from the seed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = format!("{self:?}");
        let name = whole.split(['(', ' ']).next();
        f.write_str(name.unwrap_or_default())
    }
}

/// A replica of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Whichever leads then.
    Leader,
    /// One that does not.
    Standby,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    Change,
    Remove,
    Add,
}

/// What is done one after the other, beside what other lanes do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    Service,
    People,
    Namespace,
    Operator,
    Cluster,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    /// Milliseconds after the round begins, at the earliest.
    pub(crate) at: u64,
    pub(crate) lane: Lane,
    pub(crate) act: Act,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Round {
    /// The service begins by showing what it held two rests ago.
    pub(crate) rolled_back: bool,
    pub(crate) steps: Vec<Step>,
}

impl Round {
    /// The acts of a lane, in their order.
    pub(crate) fn lane(&self, lane: Lane) -> Vec<Step> {
        let mut steps: Vec<Step> = self.steps.clone();
        steps.retain(|step| step.lane == lane);
        steps.sort_by_key(|step| step.at);
        steps
    }
}

/// The round of a seed with a number, from 0.
pub(crate) fn round(seed: u64, number: u64) -> Round {
    let mut chance = Chance::of(seed).split(1_000 + number);
    let rolled_back = number % 5 == 3;
    let mut steps = Vec::new();
    let mut add = |at, lane, act| steps.push(Step { at, lane, act });
    for (nth, trouble) in troubles(seed, number).into_iter().enumerate() {
        let nth = nth as u64;
        let at = TROUBLE * nth + chance.below(TROUBLE / 2);
        // The first with keys ends those with tokens.
        let act = if nth != TOKENS && chance.percent(30) {
            Act::Also(trouble)
        } else {
            Act::Trouble(trouble)
        };
        add(at, Lane::Service, act);
    }
    for _ in 0..chance.between(8, 14) {
        let act = people(&mut chance, rolled_back);
        add(chance.below(ROUND), Lane::People, act);
    }
    if number % 4 == 2 && !rolled_back {
        let slots = (0..SLOTS).filter(|slot| place(*slot).0 == NAMESPACES[2]);
        let objects = slots.map(|slot| (slot, spec(&mut chance, slot))).collect();
        add(
            chance.below(ROUND),
            Lane::Namespace,
            Act::RecreateNamespace(objects),
        );
    }
    let killed = chance.between(TROUBLE * (TOKENS + 1), ROUND);
    // Also for longer than a Lease lasts, so that the other one leads.
    let away = if chance.percent(15) {
        chance.between(MISSED, MISSED + 1_500)
    } else {
        chance.below(400)
    };
    let who = *chance.pick(&[Who::Leader, Who::Leader, Who::All]);
    add(killed, Lane::Operator, Act::Kill(who, away));
    if chance.percent(30) {
        // Again while it starts.
        let again = killed + chance.between(50, 900);
        add(
            again,
            Lane::Operator,
            Act::Kill(Who::All, chance.below(200)),
        );
    }
    if let Some((lane, act)) = upset(seed, number, &mut chance) {
        add(chance.below(ROUND), lane, act);
    }
    Round { rolled_back, steps }
}

/// A card of every hand that is dealt again when all cards were played.
fn deal<T: Clone>(cards: &[T], seed: u64, stream: u64, nth: u64) -> T {
    let all = cards.len() as u64;
    let mut chance = Chance::of(seed).split(stream).split(nth / all);
    let at = usize::try_from(nth % all).expect("an index");
    chance.shuffled(cards)[at].clone()
}

fn troubles(seed: u64, number: u64) -> Vec<&'static str> {
    let tokens = (0..TOKENS).map(|nth| deal(trouble::TOKENS, seed, 1, number * TOKENS + nth));
    let keys = (0..KEYS).map(|nth| deal(trouble::KEYS, seed, 3, number * KEYS + nth));
    tokens.chain(keys).collect()
}

/// What befalls cluster or operator beside the kill.
fn upset(seed: u64, number: u64, chance: &mut Chance) -> Option<(Lane, Act)> {
    let cards = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    Some(match deal(&cards, seed, 2, number) {
        1 => (Lane::Cluster, Act::RestartApiServer),
        2 => (
            Lane::Cluster,
            Act::StopApiServer(chance.between(200, 1_500)),
        ),
        3 => (Lane::Cluster, Act::Compact),
        4 => (Lane::Cluster, Act::RestartEtcd),
        5 => (Lane::Cluster, Act::Cut),
        6 => {
            let who = *chance.pick(&[Who::Leader, Who::All]);
            (
                Lane::Cluster,
                Act::Partition(who, chance.between(200, 4_000)),
            )
        }
        // A leader that wakes late, when another one leads, and one that nobody has missed.
        7 => (
            Lane::Operator,
            Act::Pause(Who::Leader, chance.between(MISSED, MISSED + 1_500)),
        ),
        8 => (
            Lane::Operator,
            Act::Pause(Who::Leader, chance.between(200, 2_000)),
        ),
        9 => (
            Lane::Operator,
            Act::Roll(*chance.pick(&[Who::Leader, Who::Standby])),
        ),
        _ => return None,
    })
}

/// What people do. While the service shows old data, nobody changes what is asked of it: an
/// object without a past could not tell old from new.
fn people(chance: &mut Chance, rolled_back: bool) -> Act {
    let slot = usize::try_from(chance.below(SLOTS as u64)).expect("a slot");
    let instance = usize::try_from(chance.below(INSTANCES.len() as u64)).expect("an index");
    let edit = *chance.pick(&[Edit::Change, Edit::Remove, Edit::Add]);
    let span = chance.between(100, 900);
    let card = if rolled_back {
        chance.below(30)
    } else {
        chance.below(100)
    };
    match card {
        0..10 => Act::Edit(slot, edit),
        10..20 => Act::DeleteSecret(slot),
        20..25 => Act::Annotate(slot),
        25..30 => Act::Disown(slot),
        30..50 => Act::MoveAlias(instance, alias(chance)),
        50..56 => Act::AliasGap(instance, alias(chance), span),
        56..62 => Act::Renew(instance, one(chance, &NAMES)),
        62..66 => Act::Blink(instance, alias(chance), span),
        66..70 => Act::RotateApiKey(instance),
        70..72 => Act::Release(slot),
        72..75 => Act::Forget(slot),
        75..85 => Act::Spec(slot, spec(chance, slot)),
        85..91 => Act::Recreate(slot, spec(chance, slot)),
        91..95 => Act::Delete(slot),
        95..98 => Act::TouchInstance(instance),
        _ => Act::RecreateInstance(instance),
    }
}

fn one(chance: &mut Chance, of: &[&'static str]) -> &'static str {
    let one: &&'static str = chance.pick(of);
    one
}

fn alias(chance: &mut Chance) -> &'static str {
    if chance.percent(30) {
        one(chance, &OWN)
    } else {
        one(chance, &ALIASES)
    }
}

/// A spec for an object, of one of many forms.
pub(crate) fn spec(chance: &mut Chance, slot: usize) -> Value {
    let instance = usize::try_from(chance.below(INSTANCES.len() as u64)).expect("an index");
    let (_, name) = place(slot);
    let mut spec = json!({
        "instanceRef": {"name": INSTANCES[instance], "namespace": OPERATOR_NAMESPACE},
    });
    let own = OWN.contains(&&*name) && chance.percent(60);
    if !own {
        spec["key"] = match chance.below(100) {
            0..60 => json!({"alias": chance.pick(&ALIASES)}),
            60..75 => json!({"name": chance.pick(&NAMES), "keyRing": RING}),
            75..90 => json!({"id": fixed_id(instance, chance.below(3))}),
            90..96 => json!({"alias": NOWHERE}),
            _ => json!({"alias": ROOT}),
        };
    }
    let mut target = match chance.below(6) {
        0 | 1 => json!({}),
        2 => json!({"expand": "JSON"}),
        3 => {
            json!({"data": [{"name": "hex", "encoding": "Hex"}, {"name": "text", "encoding": "Text"}]})
        }
        4 => json!({"data": [
            {"name": "whole"},
            {"name": "password", "property": "password"},
            {"name": "url", "template": "postgres://app:{{ payload | json('password') }}@db/orders"},
            {"name": "host", "value": "db.orders.svc"},
        ]}),
        _ => json!({"data": [
            {"name": "main", "encoding": "Base64"},
            {"name": "other", "from": {"alias": chance.pick(&ALIASES)}},
        ]}),
    };
    match chance.below(100) {
        0..60 => {}
        60..80 => target["name"] = json!(format!("t-{slot}")),
        // Two objects may want it.
        80..88 => target["name"] = json!("shared"),
        88..94 => target["name"] = json!(chance.pick(&FOREIGN)),
        _ => target["metadata"] = json!({"labels": {"team": "orders"}}),
    }
    if chance.percent(15) {
        target["deletionPolicy"] = json!("Retain");
    }
    if target != json!({}) {
        spec["target"] = target;
    }
    if chance.percent(20) {
        spec["refreshInterval"] = json!("1m");
    }
    // No trouble of the service is evidence, but a key that is deleted is.
    if chance.percent(40) {
        spec["revocationPolicy"] = json!("Delete");
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn one_seed_gives_one_schedule_and_two_seeds_two() {
        for number in 0..20 {
            assert_eq!(round(7, number), round(7, number));
        }
        assert_ne!(round(7, 0), round(8, 0));
        assert_ne!(round(7, 0), round(7, 5));
    }

    #[test]
    fn ten_rounds_deal_every_trouble_and_every_upset() {
        for seed in 0..20 {
            let rounds: Vec<Round> = (0..10).map(|number| round(seed, number)).collect();
            let acts = || {
                rounds
                    .iter()
                    .flat_map(|round| &round.steps)
                    .map(|step| &step.act)
            };
            let dealt: BTreeSet<&str> = acts()
                .filter_map(|act| match act {
                    Act::Trouble(trouble) | Act::Also(trouble) => Some(*trouble),
                    _ => None,
                })
                .collect();
            let all = trouble::KEYS.len() + trouble::TOKENS.len();
            assert_eq!(dealt.len(), all, "{seed}");
            for wanted in [
                |act: &Act| *act == Act::RestartApiServer,
                |act: &Act| *act == Act::Compact,
                |act: &Act| *act == Act::RestartEtcd,
                |act: &Act| *act == Act::Cut,
                |act: &Act| matches!(act, Act::StopApiServer(_)),
                |act: &Act| matches!(act, Act::Partition(..)),
                |act: &Act| matches!(act, Act::Pause(_, span) if *span >= MISSED),
                |act: &Act| matches!(act, Act::Roll(_)),
                |act: &Act| matches!(act, Act::RecreateNamespace(_)),
            ] {
                assert!(acts().any(wanted), "{seed}");
            }
            let kills = acts().filter(|act| matches!(act, Act::Kill(..))).count();
            assert!(kills >= 10, "{seed}: {kills}");
            assert!(rounds.iter().any(|round| round.rolled_back));
        }
    }

    #[test]
    fn troubles_with_tokens_are_over_before_any_kill() {
        for number in 0..200 {
            let round = round(1, number);
            let trouble = |step: &Step| match step.act {
                Act::Trouble(trouble) => Some((trouble, true)),
                Act::Also(trouble) => Some((trouble, false)),
                _ => None,
            };
            let service = round.lane(Lane::Service);
            let mut of_keys = service.iter().filter(|step| {
                trouble(step).is_some_and(|(is, ends)| ends && trouble::KEYS.contains(&is))
            });
            let end = of_keys.next().expect("an end").at;
            let of_tokens = service
                .iter()
                .filter(|step| trouble(step).is_some_and(|(is, _)| trouble::TOKENS.contains(&is)));
            assert!(of_tokens.clone().count() > 0, "{number}");
            assert!(of_tokens.clone().all(|step| step.at < end), "{number}");
            let operator = round.lane(Lane::Operator);
            let mut kills = operator
                .iter()
                .filter(|step| matches!(step.act, Act::Kill(..)));
            assert!(kills.all(|kill| kill.at >= end), "{number}");
        }
    }

    #[test]
    fn while_the_service_shows_old_data_nobody_asks_it_for_anything_new() {
        for seed in 0..50 {
            let round = round(seed, 3);
            assert!(round.rolled_back);
            let people = round.lane(Lane::People);
            assert!(people.iter().all(|step| matches!(
                step.act,
                Act::Edit(..) | Act::DeleteSecret(_) | Act::Annotate(_) | Act::Disown(_)
            )));
        }
    }
}
