use proptest::prelude::*;

use super::*;
use crate::domain::service::ids::KeyId;
use crate::domain::testing::{
    KeyExt as _, by_alias, by_id, by_name, key, key_id, map, rule, strings,
};

const OWN: &str = "key-protect-system";

fn granted(rules: &[AccessRule], namespace: &str, labels: &[(&str, &str)]) -> Option<Grant> {
    grant(OWN, Some(rules), namespace, Labels::Known(&map(labels)))
}

fn reference(selector: &crate::api::key::KeySelector) -> KeyReference {
    KeyReference::from_selector(Some(selector), "object").unwrap()
}

fn from(from: NamespacesFrom) -> AccessRule {
    let mut rule = rule();
    rule.namespaces.from = from;
    rule
}

fn selector(value: serde_json::Value) -> AccessRule {
    let mut rule = from(NamespacesFrom::Selector);
    rule.namespaces.selector = Some(serde_json::from_value(value).unwrap());
    rule
}

#[test]
fn without_rules_only_the_instances_own_namespace_may_use_it() {
    for labels in [
        Labels::Known(&map(&[])),
        Labels::NotInView,
        Labels::NotWatched,
    ] {
        assert!(grant(OWN, None, OWN, labels).is_some());
        assert!(grant(OWN, None, "payments", labels).is_none());
    }
    assert!(
        granted(&[], OWN, &[]).is_none(),
        "an empty list is no absent one"
    );
}

/// An operator that serves named namespaces sees no other, and no labels: a rule that needs them must
/// not grant by what it does not know, least of all by `NotIn`.
#[test]
fn where_namespaces_are_not_watched_only_rules_that_name_them_grant() {
    let mut names = from(NamespacesFrom::Names);
    names.namespaces.names = strings(&["payments"]);
    let label = "access.keyprotect.dev/a";
    let absent = |operator: &str| {
        selector(serde_json::json!({"matchExpressions": [{"key": label, "operator": operator}]}))
    };
    let not_in = serde_json::json!([{"key": label, "operator": "NotIn", "values": ["1"]}]);
    let not_in = selector(serde_json::json!({"matchExpressions": not_in}));
    let rules = [
        names,
        from(NamespacesFrom::Same),
        from(NamespacesFrom::All),
        absent("DoesNotExist"),
        not_in,
    ];
    let grants = |rule: &AccessRule, namespace: &str| {
        grant(
            OWN,
            Some(std::slice::from_ref(rule)),
            namespace,
            Labels::NotWatched,
        )
        .is_some()
    };
    assert!(grants(&rules[0], "payments") && !grants(&rules[0], "orders"));
    assert!(grants(&rules[1], OWN) && !grants(&rules[1], "payments"));
    for rule in &rules[2..] {
        assert!(!grants(rule, "payments") && !grants(rule, OWN), "{rule:?}");
        assert!(
            granted(std::slice::from_ref(rule), "payments", &[]).is_some(),
            "{rule:?}"
        );
    }
    let unsupported: Vec<usize> = unsupported(Some(&rules))
        .iter()
        .map(|(at, _)| *at)
        .collect();
    assert_eq!(unsupported, [2, 3, 4]);
}

#[test]
fn namespaces_are_selected_as_the_rule_says() {
    let mut names = from(NamespacesFrom::Names);
    names.namespaces.names = strings(&["payments", "orders"]);
    let equal = selector(serde_json::json!({"matchLabels": {"access.keyprotect.dev/a": "1"}}));
    let expressions = |operator: &str, values: serde_json::Value| {
        let expression = serde_json::json!({"key": "k", "operator": operator, "values": values});
        selector(serde_json::json!({"matchExpressions": [expression]}))
    };
    let none = serde_json::Value::Null;
    for (rule, namespace, labels, expected) in [
        (from(NamespacesFrom::All), "payments", vec![], true),
        (from(NamespacesFrom::Same), OWN, vec![], true),
        (from(NamespacesFrom::Same), "payments", vec![], false),
        (names.clone(), "payments", vec![], true),
        (names.clone(), "payments-2", vec![], false),
        (names, OWN, vec![], false),
        (
            equal.clone(),
            "payments",
            vec![("access.keyprotect.dev/a", "1")],
            true,
        ),
        (
            equal.clone(),
            "payments",
            vec![("access.keyprotect.dev/a", "2")],
            false,
        ),
        (equal, "payments", vec![], false),
        (selector(serde_json::json!({})), "payments", vec![], false),
        (
            selector(serde_json::json!({"matchLabels": {}})),
            "payments",
            vec![],
            false,
        ),
        (from(NamespacesFrom::Selector), "payments", vec![], false),
        (
            expressions("In", serde_json::json!(["1"])),
            "payments",
            vec![("k", "1")],
            true,
        ),
        (
            expressions("In", serde_json::json!(["1"])),
            "payments",
            vec![],
            false,
        ),
        (
            expressions("NotIn", serde_json::json!(["1"])),
            "payments",
            vec![("k", "1")],
            false,
        ),
        (
            expressions("NotIn", serde_json::json!(["1"])),
            "payments",
            vec![],
            true,
        ),
        (
            expressions("Exists", none.clone()),
            "payments",
            vec![("k", "")],
            true,
        ),
        (
            expressions("DoesNotExist", none.clone()),
            "payments",
            vec![("k", "")],
            false,
        ),
        (
            expressions("Sounds like", none),
            "payments",
            vec![("k", "")],
            false,
        ),
    ] {
        let found = granted(std::slice::from_ref(&rule), namespace, &labels);
        assert_eq!(found.is_some(), expected, "{rule:?} {namespace} {labels:?}");
    }
}

#[test]
fn globs_are_anchored_case_sensitive_and_know_two_wildcards() {
    for (glob, text, expected) in [
        ("payments-*", "payments-db", true),
        ("payments-*", "payments-", true),
        ("payments-*", "xpayments-db", false),
        ("payments", "payments-db", false),
        ("*-db", "payments-db", true),
        ("p*s-*b", "payments-db", true),
        ("p?yments", "payments", true),
        ("p?yments", "pyments", false),
        ("Payments-*", "payments-db", false),
        ("*", "", true),
        ("?", "", false),
        ("", "", true),
        ("a.b", "axb", false),
        ("[ab]", "a", false),
        ("**a", "a", true),
        ("*a*b*c", "aXbXc", true),
        ("*a*b*c", "aXcXb", false),
    ] {
        assert_eq!(glob_matches(glob, text), expected, "{glob} {text}");
    }
}

#[test]
fn a_glob_of_many_stars_is_answered_in_time() {
    assert!(!glob_matches(&"*a".repeat(45), &"a".repeat(44)));
}

#[test]
fn a_key_passes_by_ring_and_by_one_of_id_alias_and_name() {
    let rings = |rule: AccessRule| AccessRule {
        key_rings: strings(&["payments"]),
        ..rule
    };
    let id = key_id(1).to_string().to_uppercase();
    let ids = AccessRule {
        ids: strings(&[&id]),
        ..rule()
    };
    let aliases = AccessRule {
        aliases: strings(&["pay-*"]),
        ..rule()
    };
    let names = AccessRule {
        names: strings(&["pay *"]),
        ..rule()
    };
    let alias = || key(2).alias("pay-db");
    for (rule, key, expected) in [
        (rule(), key(1), Verdict::Allowed),
        (rings(rule()), key(1), Verdict::Allowed),
        (rings(rule()), key(1).ring("default"), Verdict::Denied),
        (ids.clone(), key(1), Verdict::Allowed),
        (ids.clone(), key(2), Verdict::Denied),
        (rings(ids), key(1).ring("default"), Verdict::Denied),
        (aliases.clone(), alias(), Verdict::Allowed),
        (aliases.clone(), key(2), Verdict::Denied),
        (rings(aliases), alias().ring("default"), Verdict::Denied),
        (
            rings(names.clone()),
            key(3).named("pay day"),
            Verdict::Allowed,
        ),
        (
            rings(names.clone()),
            key(3).named("payday"),
            Verdict::Denied,
        ),
        // The schema refuses names without rings; one that came anyway allows nothing.
        (names, key(3).named("pay day"), Verdict::Denied),
        (
            AccessRule {
                ids: Some(vec![]),
                ..rule()
            },
            key(1),
            Verdict::Denied,
        ),
        (
            AccessRule {
                key_rings: Some(vec![]),
                ..rule()
            },
            key(1),
            Verdict::Denied,
        ),
    ] {
        let grant = granted(std::slice::from_ref(&rule), "payments", &[]).unwrap();
        assert_eq!(grant.verdict(&key), expected, "{rule:?} {key:?}");
    }
}

#[test]
fn a_field_that_is_not_known_makes_no_verdict_unless_it_does_not_matter() {
    let unknown = KeyMetadata::unknown(key_id(1));
    let rings = AccessRule {
        key_rings: strings(&["payments"]),
        ..rule()
    };
    let aliases = AccessRule {
        aliases: strings(&["pay-*"]),
        ..rule()
    };
    let ids = AccessRule {
        ids: strings(&[key_id(1).as_str()]),
        ..rule()
    };
    let elsewhere = KeyMetadata {
        key_ring: Some("other".to_owned()),
        ..unknown.clone()
    };
    let both = AccessRule {
        aliases: strings(&["pay-*"]),
        ..rings.clone()
    };
    for (rules, key, expected) in [
        (vec![rings.clone()], &unknown, Verdict::Unknown),
        (vec![aliases.clone()], &unknown, Verdict::Unknown),
        (vec![ids.clone()], &unknown, Verdict::Allowed),
        (vec![aliases, ids], &unknown, Verdict::Allowed),
        (vec![both], &elsewhere, Verdict::Denied),
    ] {
        let grant = granted(&rules, "payments", &[]).unwrap();
        assert_eq!(grant.verdict(key), expected, "{rules:?}");
    }
}

#[test]
fn single_reads_follow_from_reference_and_rules() {
    let rings = AccessRule {
        key_rings: strings(&["one", "two"]),
        ..rule()
    };
    let aliases = AccessRule {
        aliases: strings(&["pay-*"]),
        ..rule()
    };
    let other_id = AccessRule {
        ids: strings(&[key_id(9).as_str()]),
        ..rule()
    };
    let alias = reference(&by_alias("pay-db"));
    let mut in_ring = by_alias("pay-db");
    in_ring.key_ring = Some("two".to_owned());
    let in_ring = reference(&in_ring);
    for (rules, reference, rings_asked) in [
        (vec![rule()], &alias, vec![None]),
        (vec![rings.clone()], &alias, vec![Some("one"), Some("two")]),
        (vec![rings.clone(), rule()], &alias, vec![None]),
        (vec![rings.clone()], &in_ring, vec![Some("two")]),
        (vec![rule()], &in_ring, vec![Some("two")]),
        (vec![aliases.clone()], &alias, vec![None]),
        (
            vec![aliases.clone()],
            &reference(&by_alias("other")),
            vec![],
        ),
        (vec![aliases], &reference(&by_id(&key_id(1))), vec![None]),
        (
            vec![other_id.clone()],
            &reference(&by_id(&key_id(1))),
            vec![],
        ),
        (vec![other_id], &alias, vec![None]),
        (vec![rule()], &reference(&by_name("db", "one")), vec![]),
    ] {
        let grant = granted(&rules, "payments", &[]).unwrap();
        let asked: Vec<Option<String>> = grant
            .questions(reference)
            .iter()
            .map(|question| question.ring.as_ref().map(ToString::to_string))
            .collect();
        let expected: Vec<Option<String>> = rings_asked
            .iter()
            .map(|ring| ring.map(str::to_owned))
            .collect();
        assert_eq!(asked, expected, "{rules:?} {reference}");
    }
}

#[test]
fn a_payload_is_read_with_its_ring_where_a_rule_is_by_ring() {
    let rings = AccessRule {
        key_rings: strings(&["payments"]),
        ..rule()
    };
    let by_ring = granted(std::slice::from_ref(&rings), "payments", &[]).unwrap();
    assert_eq!(by_ring.ring_header(&key(1)).unwrap().as_str(), "payments");
    let whole = granted(&[rings, rule()], "payments", &[]).unwrap();
    assert_eq!(whole.ring_header(&key(1)), None);
}

fn some_rule() -> impl Strategy<Value = AccessRule> {
    let list = |items: &'static [&'static str]| {
        proptest::option::of(proptest::sample::subsequence(
            items.to_vec(),
            0..=items.len(),
        ))
        .prop_map(|list| list.map(|l| l.iter().map(|i| (*i).to_owned()).collect::<Vec<_>>()))
    };
    (
        list(&["payments", "other"]),
        list(&["pay-*", "x?", "*"]),
        list(&["db", "key-*"]),
        0..3_u32,
    )
        .prop_map(|(rings, aliases, names, id)| AccessRule {
            key_rings: rings,
            aliases,
            names,
            ids: (id > 0).then(|| vec![key_id(id).to_string()]),
            ..rule()
        })
}

fn some_key() -> impl Strategy<Value = KeyMetadata> {
    let ring = proptest::option::of(proptest::sample::select(vec!["payments", "other", "third"]));
    let alias = proptest::option::of(proptest::sample::select(vec!["pay-db", "x1", "zz"]));
    (1..4_u32, ring, alias, any::<bool>()).prop_map(|(number, ring, alias, named)| {
        let mut key = key(number);
        key.key_ring = ring.map(str::to_owned);
        key.aliases = alias.map(|alias| vec![alias.to_owned()]);
        key.name = named.then(|| "db".to_owned());
        key
    })
}

fn allows(rules: &[AccessRule], key: &KeyMetadata) -> bool {
    granted(rules, "payments", &[]).is_some_and(|g| g.verdict(key) == Verdict::Allowed)
}

fn id_reference(id: &KeyId) -> KeyReference {
    KeyReference {
        name: KeyName::Id(id.clone()),
        ring: None,
    }
}

proptest! {
    #[test]
    fn taking_away_a_rule_or_an_item_of_one_never_widens_access(
        rules in proptest::collection::vec(some_rule(), 1..4), key in some_key(), at in 0..64_usize
    ) {
        let mut fewer = rules.clone();
        let at_rule = at % rules.len();
        fewer.remove(at_rule);
        prop_assert!(allows(&rules, &key) || !allows(&fewer, &key));
        let mut narrower = rules.clone();
        let rule = &mut narrower[at_rule];
        for list in [&mut rule.key_rings, &mut rule.aliases, &mut rule.names, &mut rule.ids].into_iter().flatten() {
            if !list.is_empty() {
                list.remove(at % list.len());
            }
        }
        prop_assert!(allows(&rules, &key) || !allows(&narrower, &key));
    }

    #[test]
    fn knowing_more_of_a_key_turns_no_verdict_round(rules in proptest::collection::vec(some_rule(), 1..4), key in some_key()) {
        let grant = granted(&rules, "payments", &[]).unwrap();
        let mut less = key.clone();
        less.key_ring = None;
        less.aliases = None;
        less.name = None;
        let (before, after) = (grant.verdict(&less), grant.verdict(&key));
        prop_assert!(before == Verdict::Unknown || before == after, "{before:?} {after:?}");
    }

    #[test]
    fn a_key_that_is_allowed_may_be_asked_for(rules in proptest::collection::vec(some_rule(), 1..4), key in some_key()) {
        let grant = granted(&rules, "payments", &[]).unwrap();
        if grant.verdict(&key) == Verdict::Allowed {
            let by_id = grant.questions(&id_reference(&key.id));
            prop_assert!(by_id.iter().any(|question| question.ring.as_ref().is_none_or(|ring| key.key_ring.as_deref() == Some(ring.as_str()))));
        }
    }
}

#[test]
fn rules_whose_labels_are_not_known_take_nothing_away() {
    let from = |from: &str| {
        let rule = serde_json::json!({"namespaces": {"from": from}});
        serde_json::from_value::<AccessRule>(rule).unwrap()
    };
    let known = map(&[]);
    for (rule, in_view, watched) in [
        ("Same", false, false),
        ("Names", false, false),
        ("All", false, true),
        ("Selector", true, true),
    ] {
        let rules = [from(rule)];
        let open = |labels: Labels<'_>| labels.leave_open(Some(&rules));
        assert!(!open(Labels::Known(&known)), "{rule}");
        assert_eq!(open(Labels::NotInView), in_view, "{rule}");
        assert_eq!(open(Labels::NotWatched), watched, "{rule}");
    }
}
