use super::*;

fn refused(code: u16, reason: &str, message: &str) -> Answer {
    Answer::Refused {
        code,
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}

/// An answer as the API server words it.
fn by_policy(words: &str) -> Answer {
    refused(
        403,
        "Forbidden",
        &format!(
            "secrets \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: {words}"
        ),
    )
}

fn by_rbac(resource: &str) -> Answer {
    refused(
        403,
        "Forbidden",
        &format!(
            "{resource} is forbidden: User \"u\" cannot create resource \"{resource}\" in API group \"\" in the namespace \"n\""
        ),
    )
}

#[derive(Debug, PartialEq)]
enum Short {
    Holds,
    Open,
    Unproven,
    Unknown,
}

fn short(secret: Answer, lease: Answer) -> Short {
    match judge(&Answers {
        secret,
        lease,
        account: None,
    }) {
        Verdict::Holds => Short::Holds,
        Verdict::Open(_) => Short::Open,
        Verdict::Unproven(_) => Short::Unproven,
        Verdict::Unknown => Short::Unknown,
    }
}

#[test]
fn only_the_fences_own_words_prove_that_it_holds() {
    let fenced = || by_policy(SECRET_WORDS);
    let lease = || by_policy(LEASE_WORDS);
    let passed = || Answer::Passed;
    let exists = || refused(409, "AlreadyExists", "exists");
    let quota = || {
        refused(
            403,
            "Forbidden",
            "secrets \"x\" is forbidden: exceeded quota: q",
        )
    };
    let webhook = || {
        refused(
            403,
            "Forbidden",
            "admission webhook \"w\" denied the request: no",
        )
    };
    let missing = || refused(404, "NotFound", "namespaces \"n\" not found");
    let cases = [
        (fenced(), lease(), Short::Holds),
        // One replica needs no right to a Lease.
        (fenced(), by_rbac("leases"), Short::Holds),
        // Bound elsewhere, or not there at all; whether a name is taken comes after admission.
        (passed(), passed(), Short::Open),
        (passed(), by_rbac("leases"), Short::Open),
        (passed(), Answer::Silence, Short::Open),
        (exists(), lease(), Short::Open),
        // One policy of two.
        (passed(), lease(), Short::Open),
        (fenced(), passed(), Short::Open),
        (fenced(), exists(), Short::Open),
        (Answer::Silence, passed(), Short::Open),
        // Refused by others.
        (by_rbac("secrets"), lease(), Short::Unproven),
        (quota(), lease(), Short::Unproven),
        (webhook(), lease(), Short::Unproven),
        (by_policy("no Secrets here"), lease(), Short::Unproven),
        (missing(), missing(), Short::Unproven),
        (refused(422, "Invalid", "name"), lease(), Short::Unproven),
        // No answer.
        (Answer::Silence, lease(), Short::Unknown),
        (Answer::Silence, Answer::Silence, Short::Unknown),
        (fenced(), Answer::Silence, Short::Unknown),
    ];
    for (secret, lease, expected) in cases {
        let told = format!("{secret:?} and {lease:?}");
        assert_eq!(short(secret, lease), expected, "{told}");
    }
}

#[test]
fn a_fence_that_binds_somebody_else_is_told_with_the_name_that_it_should_have() {
    let answers = Answers {
        secret: Answer::Passed,
        lease: by_policy(LEASE_WORDS),
        account: Some("system:serviceaccount:secrets:op".to_owned()),
    };
    let verdict = judge(&answers);
    let problem = verdict.problem().unwrap();
    for words in [
        "system:serviceaccount:secrets:op",
        "deploy/fence/own-name",
        "--fence=off",
    ] {
        assert!(problem.contains(words), "{problem}");
    }
    let answers = Answers {
        secret: by_rbac("secrets"),
        lease: by_policy(LEASE_WORDS),
        account: None,
    };
    let verdict = judge(&answers);
    assert!(
        verdict
            .problem()
            .unwrap()
            .contains("right to create Secrets in its own namespace")
    );
}

#[test]
fn silence_changes_nothing_that_was_known() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let mut standing = Standing::default();
    assert!(!standing.holds());
    assert_eq!(standing.condition(), None, "nothing is said before a try");
    assert!(standing.learn(Verdict::Unknown, at(1)));
    assert!(!standing.holds());
    assert_eq!(standing.condition(), None);
    assert!(standing.learn(Verdict::Holds, at(2)));
    assert!(!standing.learn(Verdict::Unknown, at(3)));
    assert!(standing.holds());
    assert_eq!(standing.held_at(), Some(at(2)));
    assert!(!standing.learn(Verdict::Holds, at(4)), "that is no news");
    assert_eq!(standing.held_at(), Some(at(4)));
    assert!(standing.learn(Verdict::Open("gone".to_owned()), at(5)));
    assert!(!standing.learn(Verdict::Unknown, at(6)));
    assert_eq!(standing.condition(), Some((Is::True, "NotBound", "gone")));
    assert_eq!(standing.held_at(), Some(at(4)));
    assert!(standing.learn(Verdict::Unproven("rbac".to_owned()), at(7)));
    assert_eq!(
        standing.condition(),
        Some((Is::Unknown, "NotProven", "rbac"))
    );
}

#[test]
fn the_condition_goes_when_the_fence_holds_again() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let mut conditions = Vec::new();
    let mut standing = Standing::default();
    standing.learn(Verdict::Open("gone".to_owned()), at(1));
    set_condition(&mut conditions, Some(&standing), Some(1), at(1));
    assert!(status::holds(&conditions, ConditionType::FenceInactive));
    standing.learn(Verdict::Holds, at(2));
    set_condition(&mut conditions, Some(&standing), Some(1), at(2));
    assert_eq!(conditions, []);
    standing.learn(Verdict::Open("gone".to_owned()), at(3));
    set_condition(&mut conditions, Some(&standing), Some(1), at(3));
    set_condition(&mut conditions, None, Some(1), at(4));
    assert_eq!(conditions, [], "nor without a fence");
}

/// The words stand in the policies too, where nothing compiles them.
#[test]
fn the_words_are_those_of_the_policies() {
    let secrets = include_str!("../../deploy/fence/operator-secrets.yaml");
    assert!(secrets.contains(&format!("message: \"{SECRET_WORDS}\"")));
    let writes = include_str!("../../deploy/fence/operator-writes.yaml");
    assert!(writes.contains(&format!("message: \"{LEASE_WORDS}\"")));
}

#[test]
fn a_refusal_by_the_fence_is_told_in_words_of_the_operators_own() {
    let policies = [
        include_str!("../../deploy/fence/operator-secrets.yaml"),
        include_str!("../../deploy/fence/strict/operator-namespaces.yaml"),
    ];
    let cases = [
        (
            "no Secrets of key-protect-operator in",
            "keyprotect.dev/allow-secrets=true",
        ),
        (
            "key-protect-operator sets no labels under",
            "target.metadata.labels",
        ),
        (
            "key-protect-operator sets no annotations under",
            "target.metadata.annotations",
        ),
        ("key-protect-operator leaves finalizers alone", "Finalizers"),
        ("key-protect-operator leaves immutable alone", "Immutable"),
        ("this Secret is not key-protect-operator's", "NotOurs"),
        (
            "key-protect-operator deletes no Secret but those labelled",
            "NotOurs",
        ),
        (
            "key-protect-operator changes the label keyprotect.dev/target in one way only",
            "NotOurs",
        ),
        (
            "key-protect-operator writes no Secrets of this type",
            "webhook",
        ),
    ];
    for (words, expected) in cases {
        let found = policies
            .iter()
            .any(|policy| policy.contains(&format!("fence: {words}")));
        assert!(found, "no policy says {words:?}");
        let Answer::Refused { message, .. } = by_policy(&format!("fence: {words} canary")) else {
            panic!("a refusal");
        };
        let told = format!("{:?}", refusal(&message).unwrap());
        assert!(
            told.contains(expected) && !told.contains("canary"),
            "{told}"
        );
    }
    assert_eq!(refusal("exceeded quota"), None);
}
