use super::*;
use crate::controller::reads::{self, Asker};
use crate::domain::service::endpoint;
use crate::domain::service::failure::Operation;
use crate::domain::service::hosts::AllowedHosts;
use crate::domain::service::ids::Alias;
use crate::domain::service::reference::KeyName;
use crate::keyprotect::ClientOptions;

fn unusable() -> Connection {
    let usable = Err((Reason::Unreachable, String::new()));
    Connection::new("u".to_owned(), Some(1), usable)
}

fn usable() -> Connection {
    drop(rustls::crypto::ring::default_provider().install_default());
    let spec = serde_json::json!({
        "instanceID": "11111111-2222-4333-8444-555555555555",
        "region": "us-south",
    });
    let endpoint = endpoint::resolve(
        &serde_json::from_value(spec).unwrap(),
        &AllowedHosts::default(),
    )
    .unwrap();
    let credential = CredentialSource::at("/nowhere/key".into());
    let options = ClientOptions::default();
    let usable = Usable {
        client: Client::new(&endpoint, credential.clone(), &options).unwrap(),
        endpoint,
        credential,
        place: CredentialPlace::Mounted("key".to_owned()),
    };
    Connection::new("u".to_owned(), Some(1), Ok(usable))
}

fn in_hours(hours: i64) -> Timestamp {
    now()
        .checked_add(SignedDuration::from_hours(hours))
        .unwrap()
}

#[tokio::test]
async fn a_clock_that_was_set_back_holds_no_listing_up() {
    let connection = usable();
    let (interval, ahead) = (SignedDuration::from_hours(1), in_hours(8));
    let listed = Listing::Fresh(Arc::new(Catalogue::new(Vec::new(), ahead)));
    *lock(&connection.listing) = listed;
    let due = connection.next_listing(interval).await.unwrap();
    assert!(due <= now(), "{due}");
    // There is no credential, so that the attempt fails; that it was made is what counts.
    let news = connection
        .ensure_listing(now(), true, Watched::default)
        .await;
    assert!(matches!(news, Some(News::Failed)), "{news:?}");

    let failed = || FetchFailure::new(Operation::ListKeys, FailureKind::Unreachable, "away");
    let fail_at = async |begun| {
        let mut pace = connection.turn.lock().await;
        connection.take_listing(Err(failed()), begun, &mut pace);
    };
    fail_at(ahead).await;
    let due = connection.next_listing(interval).await.unwrap();
    assert!(due <= now(), "{due}");
    let news = connection
        .ensure_listing(now(), false, Watched::default)
        .await;
    assert!(matches!(news, Some(News::Failed)), "{news:?}");
    // One that failed just now does.
    fail_at(now()).await;
    assert!(connection.next_listing(interval).await.unwrap() > now());
    let news = connection
        .ensure_listing(now(), false, Watched::default)
        .await;
    assert!(news.is_none(), "{news:?}");
}

const ASKER: Asker<'_> = Asker {
    namespace: "n",
    read_before: false,
    forced_at: None,
};

fn asked_for(alias: &str) -> Question {
    Question {
        key: KeyName::Alias(Alias::parse(alias).unwrap()),
        ring: None,
    }
}

fn not_there(asked_at: Timestamp) -> Answer {
    let result = Err(FetchFailure::new(
        Operation::GetKeyMetadata,
        FailureKind::KeyNotFound,
        "not there",
    ));
    Answer { result, asked_at }
}

/// Several that need a newer answer than one that is under way would join it, and keep it there for
/// each other, round after round.
#[tokio::test]
async fn what_was_asked_before_an_answer_would_count_is_joined_by_nobody() {
    let connection = usable();
    let question = asked_for("orders");
    let first = reads::join(&connection.questions, question.clone(), Timestamp::MIN);
    let (begun, _) = first;
    let join = async |not_before| connection.ask(&question, not_before, ASKER).await.unwrap();
    assert_eq!(join(begun).await.asked_at, begun);
    let later = now();
    assert!(join(later).await.asked_at >= later);
}

/// Whether the key was found, refused or not there: how soon it comes tells them not apart.
#[tokio::test]
async fn what_was_answered_in_the_last_seconds_is_asked_again_only_where_it_would_not_count() {
    let connection = usable();
    let question = asked_for("orders");
    let failed = |kind, at| Answer {
        result: Err(FetchFailure::new(Operation::GetKeyMetadata, kind, "…")),
        asked_at: at,
    };
    let ago = |seconds| {
        now()
            .checked_sub(SignedDuration::from_secs(seconds))
            .unwrap()
    };
    for (kind, seconds, stands) in [
        (FailureKind::KeyNotFound, 5, true),
        (FailureKind::Denied, 5, true),
        (FailureKind::Unreachable, 5, false),
        (FailureKind::CredentialRejected, 5, false),
        (FailureKind::KeyNotFound, 11, false),
        (FailureKind::KeyNotFound, -3600, false),
    ] {
        let at = ago(seconds);
        let kept = failed(kind, at);
        lock(&connection.answers).insert(question.clone(), kept.clone());
        let answer = async |not_before| connection.ask(&question, not_before, ASKER).await.unwrap();
        let stood = answer(Timestamp::MIN).await.asked_at == at;
        assert_eq!(stood, stands, "{kind:?} after {seconds} s");
        lock(&connection.answers).insert(question.clone(), kept);
        assert!(answer(now()).await.asked_at > at || seconds < 0, "{kind:?}");
    }
}

#[test]
fn an_answer_that_comes_late_does_not_replace_one_that_was_asked_later() {
    let connection = unusable();
    let question = asked_for("orders");
    let kept = |asked_at| {
        connection.keep(question.clone(), not_there(asked_at));
        connection.answers(std::slice::from_ref(&question))[&question].asked_at
    };
    let (first, second) = (in_hours(-2), in_hours(-1));
    assert_eq!(kept(second), second);
    assert_eq!(kept(first), second);
    let third = now();
    assert_eq!(kept(third), third);
    // One from before the clock was set back is none.
    connection.keep(question.clone(), not_there(in_hours(8)));
    assert_eq!(kept(third), third);
}

#[test]
fn what_was_asked_before_the_clock_was_set_back_is_asked_again() {
    let connection = unusable();
    let (old, new) = (asked_for("old"), asked_for("new"));
    connection.keep(old.clone(), not_there(in_hours(8)));
    connection.keep(new.clone(), not_there(now()));
    let answers = connection.answers(&[old, new.clone()]);
    assert_eq!(answers.keys().collect::<Vec<_>>(), [&new]);
}

#[test]
fn ever_new_questions_do_not_fill_the_memory() {
    let connection = unusable();
    let begun = now();
    for n in 0..100_000 {
        let asked_at = begun
            .checked_add(SignedDuration::from_nanos(n - 100_000))
            .unwrap();
        connection.keep(asked_for(&format!("a{n}")), not_there(asked_at));
        assert!(lock(&connection.answers).len() <= ANSWERS);
    }
    // The newest are kept.
    let newest = asked_for("a99999");
    assert_eq!(connection.answers(&[newest, asked_for("a0")]).len(), 1);
}

#[test]
fn old_single_reads_go_also_where_the_listing_is_refused() {
    let connection = unusable();
    let begun = now();
    let refused = || FetchFailure::new(Operation::ListKeys, FailureKind::Denied, "refused");
    for (alias, hours) in [("old", 25), ("young", 23)] {
        let question = Question {
            key: KeyName::Alias(Alias::parse(alias).unwrap()),
            ring: None,
        };
        let answer = Answer {
            result: Err(refused()),
            asked_at: begun
                .checked_sub(SignedDuration::from_hours(hours))
                .unwrap(),
        };
        lock(&connection.answers).insert(question, answer);
    }
    connection.take_listing(Err(refused()), begun, &mut Pace::default());
    assert_eq!(lock(&connection.answers).len(), 1);
}
