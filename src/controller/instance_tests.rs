use serde_json::json;

use super::*;

fn instance(uid: &str, generation: i64) -> KeyProtectInstance {
    serde_json::from_value(json!({
        "apiVersion": "keyprotect.dev/v1alpha1",
        "kind": "KeyProtectInstance",
        "metadata": {"name": "default", "namespace": "n", "uid": uid, "generation": generation},
        "spec": {},
    }))
    .unwrap()
}

#[tokio::test]
async fn whoever_gathered_before_a_change_puts_no_old_connection_back() {
    let context = Context::nowhere();
    let old = instance("u", 1);
    context.world().instance_applied(old.clone());
    let first = connection(&context, &old).unwrap();
    context.world().instance_applied(instance("u", 2));
    let second = connection(&context, &instance("u", 2)).unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
    let late = connection(&context, &old).unwrap();
    assert!(Arc::ptr_eq(&late, &second));

    let key = ObjectKey::of(&old);
    context.connections().remove(&key);
    context.world().instance_deleted(&key);
    assert!(connection(&context, &old).is_none());
    assert!(context.connections().is_empty());
}

#[tokio::test]
async fn what_was_seen_by_an_old_spec_is_not_written_to_a_newer_one() {
    let context = Context::nowhere();
    let old = instance("u", 1);
    let key = ObjectKey::of(&old);
    context.world().instance_applied(old.clone());
    let term = context.leadership.win();
    let seen = connection(&context, &old).unwrap();
    for newer in [instance("u", 2), instance("other", 1)] {
        context.world().instance_applied(newer);
        let written = write_status(&context, &term, &key, &seen, None).await;
        assert!(matches!(written, StatusWrite::Outdated));
    }
}

#[test]
fn a_status_that_cannot_be_written_is_tried_at_growing_intervals() {
    assert_eq!(write_again(1), Duration::from_millis(500));
    assert_eq!(write_again(2), Duration::from_secs(1));
    assert_eq!(write_again(8), Duration::from_secs(60));
    assert_eq!(write_again(u32::MAX), Duration::from_secs(60));
}
