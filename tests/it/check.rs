//! The `check` command against the emulator: what it says, and what it never says.

use clap::Parser;
use key_protect_emulator::{Options, Tls};
use key_protect_operator::check::{CheckArgs, Outcome, run};
use serde_json::json;

use super::bed::{API_KEY, Bed, INSTANCE, ROOT, UNKNOWN};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    check: CheckArgs,
}

async fn check(bed: &Bed, more: &[&str]) -> (Outcome, String) {
    let url = bed.emulator.api_url();
    let host = url.split_once("://").unwrap().1;
    let file = bed.path("apikey");
    let mut line = vec![
        "check",
        "--instance",
        INSTANCE,
        "--endpoint-url",
        &url,
        "--iam-url",
        &url,
    ];
    line.extend([
        "--allowed-iam-hosts",
        host,
        "--allowed-key-hosts",
        host,
        "--allow-insecure-loopback",
    ]);
    if !more.contains(&"--token-file") {
        line.extend(["--api-key-file", &file]);
    }
    line.extend(more);
    let args = Cli::try_parse_from(line)
        .unwrap_or_else(|error| panic!("{error}"))
        .check;
    let mut out = Vec::new();
    let outcome = run(&args, &mut out).await.unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(
        !out.contains(API_KEY) && !out.contains("hello") && !out.contains("aGVsbG8"),
        "{out}"
    );
    assert_eq!(outcome.exit_code() == 0, !out.contains("FAILED"), "{out}");
    (outcome, out)
}

#[tokio::test]
async fn all_is_well_step_by_step() {
    let bed = Bed::start().await;
    let (outcome, out) = check(&bed, &["--alias", "orders-db", "--key-ring", "payments"]).await;
    assert_eq!(outcome, Outcome::AllOk, "{out}");
    for step in [
        "settings",
        "name",
        "connection",
        "token",
        "listing",
        "metadata",
        "payload",
    ] {
        assert!(
            out.lines()
                .any(|line| line.starts_with(&format!("ok      {step}"))),
            "{step}: {out}"
        );
    }
    assert!(
        out.contains("1 standard key\n") && out.contains("readable"),
        "{out}"
    );
    let (outcome, out) = check(&bed, &[]).await;
    assert_eq!(outcome, Outcome::AllOk);
    assert_eq!(out.matches("skipped").count(), 2, "{out}");
}

#[tokio::test]
async fn each_failure_says_what_to_do() {
    let bed = Bed::start().await;
    for (args, words) in [
        (vec!["--alias", "nobody"], "check the alias or ID"),
        (vec!["--key-id", UNKNOWN], "KEY_NOT_FOUND_ERR"),
        (vec!["--key-id", ROOT], "root key"),
        (
            vec!["--key-id", "nonsense"],
            "--key-id: key ID must be a UUID",
        ),
        (vec!["--ca-file", "/nowhere"], "/nowhere does not exist"),
        (vec!["--port", "1"], "--endpoint-url: names the whole host"),
        (
            vec!["--allowed-key-hosts", "*.x"],
            "\"*.x\" is not HOST or HOST:PORT",
        ),
    ] {
        let (outcome, out) = check(&bed, &args).await;
        assert_eq!(outcome, Outcome::Failed, "{args:?} {out}");
        assert!(out.contains(words), "{args:?} {out}");
    }
    bed.put_api_key("reader-api-key");
    let (_, out) = check(&bed, &["--alias", "orders-db"]).await;
    assert!(
        out.contains("ok      metadata") && out.contains("ReaderPlus"),
        "{out}"
    );
    bed.put_api_key("deleted-api-key");
    let (_, out) = check(&bed, &["--alias", "orders-db"]).await;
    assert!(
        out.contains("BXNIM0415E") && out.contains("skipped payload"),
        "{out}"
    );
    bed.put_api_key("<your_API_key>");
    let (_, out) = check(&bed, &[]).await;
    assert!(out.contains("placeholder"), "{out}");
    bed.put_api_key(API_KEY);
    bed.emulator
        .set_key_state(INSTANCE, super::bed::STANDARD, &json!("suspended"))
        .unwrap();
    let (_, out) = check(&bed, &["--key-id", super::bed::STANDARD]).await;
    assert!(out.contains("FAILED  payload"), "{out}");
    assert!(out.contains("the key is in state Suspended"), "{out}");
    bed.emulator
        .set_key_state(INSTANCE, super::bed::STANDARD, &json!("deleted"))
        .unwrap();
    let (_, out) = check(&bed, &["--key-id", super::bed::STANDARD]).await;
    assert!(out.contains("the key is deleted"), "{out}");
}

#[tokio::test]
async fn a_host_that_is_not_allowed_gets_nothing() {
    let bed = Bed::start().await;
    let url = bed.emulator.api_url();
    let file = bed.path("apikey");
    let line = [
        "check",
        "--instance",
        INSTANCE,
        "--endpoint-url",
        &url,
        "--api-key-file",
        &file,
    ];
    let mut out = Vec::new();
    let args = Cli::try_parse_from(line).unwrap().check;
    assert_eq!(run(&args, &mut out).await.unwrap(), Outcome::Failed);
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains("--endpoint-url: must be https"), "{out}");
    assert_eq!(bed.emulator.last_request(), 0);
}

#[tokio::test]
async fn a_private_authority_comes_from_a_file() {
    let tls = Some(Tls::Make { names: Vec::new() });
    let bed = Bed::with(Options {
        tls,
        ..Options::default()
    })
    .await;
    let (_, out) = check(&bed, &[]).await;
    assert!(out.contains("--ca-file"), "{out}");
    let file = bed.path("ca.pem");
    std::fs::write(&file, bed.emulator.ca_pem().unwrap()).unwrap();
    let (outcome, out) = check(&bed, &["--ca-file", &file]).await;
    assert_eq!(outcome, Outcome::AllOk, "{out}");
}

#[tokio::test]
async fn a_persons_token_is_read_from_a_file() {
    let bed = Bed::start().await;
    let file = bed.path("token");
    std::fs::write(&file, "IAM token:  Bearer eyJ.wrong.token\n").unwrap();
    let (_, out) = check(&bed, &["--token-file", &file]).await;
    assert!(
        out.contains("ok      token") && out.contains("FAILED  listing"),
        "{out}"
    );
    assert!(!out.contains("wrong"), "{out}");
    std::fs::write(&file, "").unwrap();
    let (_, out) = check(&bed, &["--token-file", &file]).await;
    assert!(out.contains("ibmcloud iam oauth-tokens"), "{out}");
}
