use super::*;

const KEY: &str = "Zz9-abcDEF_0123456789abcdefghijklmnopqrstuvw";

/// The API key that was read.
fn api_key(read: &Reading) -> String {
    match read.proof.as_ref().unwrap() {
        Proof::ApiKey(key) => key.expose_secret().to_owned(),
        Proof::ServiceAccountToken { .. } => panic!("no API key"),
    }
}

#[test]
fn every_way_a_key_is_written_down_is_read() {
    for text in [
        KEY.to_owned(),
        format!("{KEY}\n"),
        format!("  {KEY}\r\n\n"),
        format!("\u{feff}{KEY}"),
        format!(
            r#"{{"name":"op","description":"","createdAt":"2026-01-01T00:00+0000","apikey":"{KEY}"}}"#
        ),
        format!("{{\n\t\"name\": \"op\",\n\t\"apiKey\": \"{KEY}\"\n}}\n"),
    ] {
        let read = parse(text.as_bytes()).map(|key| key.expose_secret().to_owned());
        assert_eq!(read.as_deref(), Ok(KEY), "{text:?}");
    }
}

#[test]
fn what_is_no_key_is_refused_by_name_and_never_quoted() {
    for (text, flaw) in [
        ("", KeyFlaw::Empty),
        (" \n\t\n", KeyFlaw::Empty),
        ("{\"apikey\": \"\"}", KeyFlaw::Empty),
        ("canaryA\ncanaryB\n", KeyFlaw::SeveralLines),
        ("<your_API_key>", KeyFlaw::Placeholder),
        ("<canary>", KeyFlaw::Placeholder),
        ("${CANARY}", KeyFlaw::Placeholder),
        ("YOUR-API-KEY", KeyFlaw::Placeholder),
        ("{{ .Values.canary }}", KeyFlaw::Placeholder),
        ("{\"apikey\": \"<API_KEY>\"}", KeyFlaw::Placeholder),
        ("{\"name\": \"canary\"}", KeyFlaw::Json),
        ("{\"apikey\": 5}", KeyFlaw::Json),
        ("{\"apikey\": \"canary\",}", KeyFlaw::Json),
        ("eyJcanary.canary.canary", KeyFlaw::AccessToken),
        ("Bearer canary", KeyFlaw::AccessToken),
        ("canary canary", KeyFlaw::Characters),
        ("\"canary\"", KeyFlaw::Characters),
        ("can\u{e4}ry", KeyFlaw::Characters),
        ("can\0ary", KeyFlaw::Characters),
    ] {
        let read = parse(text.as_bytes()).map(|_| ());
        assert_eq!(read, Err(flaw), "{text:?}");
        assert!(!flaw.to_string().contains("canary"));
    }
    assert_eq!(parse(b"\xff\xfe").map(|_| ()), Err(KeyFlaw::NotText));
}

#[tokio::test]
async fn the_version_moves_with_the_content_and_with_nothing_else() {
    let dir = std::env::temp_dir().join(format!("kpo-{}", uuid::Uuid::new_v4()));
    let folder = dir.join("default");
    std::fs::create_dir_all(&folder).unwrap();
    let file = CredentialSource::mounted(&dir, "default");
    let missing = file.version().await;
    assert!(matches!(
        file.read().await.proof,
        Err(CredentialError::Unreadable { .. })
    ));
    assert_eq!(file.version().await, missing);

    // As the kubelet swaps a mounted Secret: by a symlink to another folder.
    let put = |name: &str, key: &str| {
        std::fs::create_dir_all(dir.join(name)).unwrap();
        std::fs::write(dir.join(name).join("apikey"), key).unwrap();
        let link = dir.join("link");
        std::os::unix::fs::symlink(dir.join(name).join("apikey"), &link).unwrap();
        std::fs::rename(&link, folder.join("apikey")).unwrap();
    };
    put("one", "first-key\n");
    let first = file.read().await;
    assert!(first.version > missing);
    assert_eq!(file.version().await, first.version);
    put("two", "first-key\n");
    assert_eq!(file.version().await, first.version);
    put("three", "other-key\n");
    let other = file.read().await;
    assert!(other.version > first.version);
    assert_eq!(api_key(&other), "other-key");
    std::fs::write(folder.join("apikey"), vec![b'a'; 100_000]).unwrap();
    let large = file.read().await.proof.map(|_| ()).unwrap_err();
    assert!(large.to_string().contains("too large"), "{large}");
    std::fs::remove_dir_all(&dir).unwrap();
}

/// An entry of a Secret that says what it is told to, and counts who asks.
#[derive(Debug)]
struct Entry(Mutex<(Result<&'static str, NotRead>, usize)>);

impl Entry {
    fn source() -> (Arc<Self>, CredentialSource) {
        let entry = Arc::new(Self(Mutex::new((Err(NotRead::Forbidden), 0))));
        let source = CredentialSource::entry(Arc::clone(&entry) as Arc<dyn ReadEntry>);
        (entry, source)
    }

    fn says(&self, said: Result<&'static str, NotRead>) {
        self.0.lock().unwrap().0 = said;
    }

    fn reads(&self) -> usize {
        self.0.lock().unwrap().1
    }
}

impl ReadEntry for Entry {
    fn place(&self) -> String {
        "entry apikey of Secret payments/key".to_owned()
    }

    fn read(&self) -> BoxFuture<'_, Result<Zeroizing<Vec<u8>>, NotRead>> {
        let mut entry = self.0.lock().unwrap();
        entry.1 += 1;
        let said = entry.0.map(|key| Zeroizing::new(key.as_bytes().to_vec()));
        Box::pin(std::future::ready(said))
    }
}

#[test]
fn an_entry_is_read_once_a_minute_and_sooner_where_something_is_wrong() {
    for (seconds, went_well, age, expected) in [
        (59, true, CALM, false),
        (60, true, CALM, true),
        (9, true, SOON, false),
        (10, true, SOON, true),
        (9, false, CALM, false),
        (10, false, CALM, true),
    ] {
        let ago = Duration::from_secs(seconds);
        assert_eq!(
            is_old(ago, went_well, age),
            expected,
            "{seconds} {went_well}"
        );
    }
}

#[tokio::test]
async fn many_who_ask_make_one_request_and_who_needs_the_key_gets_it_as_it_is_now() {
    let (entry, source) = Entry::source();
    entry.says(Ok("first-key"));
    let versions = futures::future::join_all((0..20).map(|_| source.version())).await;
    assert_eq!(entry.reads(), 1);
    entry.says(Ok("second-key"));
    let second = source.read().await;
    assert_eq!(api_key(&second), "second-key");
    assert!(versions.iter().all(|first| *first < second.version));
    assert_eq!(source.version_in_doubt().await, second.version);
    assert_eq!(entry.reads(), 2);
}

#[tokio::test]
async fn what_keeps_an_entry_from_being_read_is_told_and_silence_is_no_news() {
    let (entry, source) = Entry::source();
    entry.says(Ok("first-key"));
    let first = source.read().await.version;
    entry.says(Err(NotRead::NoAnswer));
    let silent = source.read().await;
    assert_eq!(silent.version, first);
    assert!(matches!(
        silent.proof,
        Err(CredentialError::NoAnswer { .. })
    ));
    for (not_read, words) in [
        (NotRead::Forbidden, "may not be read by the operator"),
        (NotRead::NoSecret, "there is no such Secret"),
        (NotRead::NoEntry, "has no entry of that name"),
    ] {
        entry.says(Err(not_read));
        let read = source.read().await;
        assert!(read.version > first);
        let told = read.proof.unwrap_err().to_string();
        assert!(told.contains(words), "{told}");
        assert!(
            told.starts_with("entry apikey of Secret payments/key "),
            "{told}"
        );
    }
}

#[tokio::test]
async fn nothing_prints_a_key() {
    let given = CredentialSource::given(SecretString::from("canary-key"));
    let key = given.read().await.proof.unwrap();
    assert!(!format!("{given:?} {key:?}").contains("canary"));
}

fn token(claims: &str) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!(
        "{}.{}.c2ln",
        part(r#"{"alg":"RS256","kid":"k"}"#),
        part(claims)
    )
}

const CLAIMS: &str =
    r#"{"iss":"https://k","sub":"system:serviceaccount:n:op","aud":["iam"],"exp":1}"#;

#[tokio::test]
async fn a_service_account_token_is_taken_and_nothing_else_in_its_place() {
    let file = async |content: &str| {
        let dir = std::env::temp_dir().join(format!("kpo-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("token"), content).unwrap();
        let profile = Profile::Name("operator".to_owned());
        let file = CredentialSource::service_account_token(dir.join("token"), profile);
        let read = file.read().await.proof;
        std::fs::remove_dir_all(&dir).unwrap();
        read
    };
    let good = token(CLAIMS);
    match file(&format!("{good}\n")).await.unwrap() {
        Proof::ServiceAccountToken { token, profile } => {
            assert_eq!(token.expose_secret(), good);
            assert_eq!(profile, Profile::Name("operator".to_owned()));
        }
        Proof::ApiKey(_) => panic!("no API key"),
    }
    for bad in [
        "",
        "canary-api-key",
        "canary.canary",
        "a.canary.c.d",
        &token("{}"),
        &token("canary"),
        &format!("{good}&canary=1"),
        &format!("{good}\r\ncanary: 1"),
    ] {
        let error = file(bad).await.unwrap_err().to_string();
        assert!(
            error.starts_with("the ServiceAccount token file "),
            "{error}"
        );
        assert!(
            error.contains("holds no ServiceAccount token"),
            "{bad:?}: {error}"
        );
        assert!(!error.contains("canary"), "{error}");
    }
    let profile = Profile::Id("Profile-1".to_owned());
    let absent = CredentialSource::service_account_token("/nowhere/token".into(), profile);
    let error = absent.read().await.proof.unwrap_err().to_string();
    assert!(
        error.contains("deploy/components/trusted-profile"),
        "{error}"
    );
}

#[tokio::test]
async fn a_renewed_service_account_token_is_the_same_credential_and_another_account_is_not() {
    let dir = std::env::temp_dir().join(format!("kpo-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("token");
    let file = CredentialSource::service_account_token(path.clone(), Profile::Name("p".to_owned()));
    let version = async |claims: &str| {
        std::fs::write(&path, token(claims)).unwrap();
        let read = file.read().await;
        assert!(read.proof.is_ok());
        assert_eq!(read.version, file.version().await);
        read.version
    };
    let first = version(CLAIMS).await;
    assert_eq!(
        version(&CLAIMS.replace("\"exp\":1", "\"exp\":2")).await,
        first
    );
    let other = version(&CLAIMS.replace("iam", "vault")).await;
    assert!(other > first);
    assert!(version(&CLAIMS.replace("n:op", "n:other")).await > other);
    std::fs::remove_dir_all(&dir).unwrap();
}
