use super::*;

const KEY: &str = "Zz9-abcDEF_0123456789abcdefghijklmnopqrstuvw";

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

#[test]
fn the_version_moves_with_the_content_and_with_nothing_else() {
    let dir = std::env::temp_dir().join(format!("kpo-{}", uuid::Uuid::new_v4()));
    let folder = dir.join("default");
    std::fs::create_dir_all(&folder).unwrap();
    let file = CredentialFile::mounted(&dir, "default");
    let missing = file.version();
    assert!(matches!(
        file.read(),
        Err(CredentialError::Unreadable { .. })
    ));
    assert_eq!(file.version(), missing);

    // As the kubelet swaps a mounted Secret: by a symlink to another folder.
    let put = |name: &str, key: &str| {
        std::fs::create_dir_all(dir.join(name)).unwrap();
        std::fs::write(dir.join(name).join("apikey"), key).unwrap();
        let link = dir.join("link");
        std::os::unix::fs::symlink(dir.join(name).join("apikey"), &link).unwrap();
        std::fs::rename(&link, folder.join("apikey")).unwrap();
    };
    put("one", "first-key\n");
    let first = file.read().unwrap();
    assert!(first.version > missing);
    assert_eq!(file.version(), first.version);
    put("two", "first-key\n");
    assert_eq!(file.version(), first.version);
    put("three", "other-key\n");
    let other = file.read().unwrap();
    assert!(other.version > first.version);
    assert!(matches!(other.proof, Proof::ApiKey(key) if key.expose_secret() == "other-key"));
    std::fs::write(folder.join("apikey"), vec![b'a'; 100_000]).unwrap();
    let large = file.read().map(|_| ()).unwrap_err();
    assert!(large.to_string().contains("too large"), "{large}");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn nothing_prints_a_key() {
    let file = CredentialFile::given(SecretString::from("canary-key"));
    let key = file.read().unwrap();
    assert!(!format!("{file:?} {key:?}").contains("canary"));
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

#[test]
fn a_service_account_token_is_taken_and_nothing_else_in_its_place() {
    let file = |content: &str| {
        let dir = std::env::temp_dir().join(format!("kpo-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("token"), content).unwrap();
        let profile = Profile::Name("operator".to_owned());
        let file = CredentialFile::service_account_token(dir.join("token"), profile);
        let read = file.read();
        std::fs::remove_dir_all(&dir).unwrap();
        read
    };
    let good = token(CLAIMS);
    match file(&format!("{good}\n")).unwrap().proof {
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
        let error = file(bad).map(|_| ()).unwrap_err().to_string();
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
    let absent = CredentialFile::service_account_token("/nowhere/token".into(), profile);
    let error = absent.read().map(|_| ()).unwrap_err().to_string();
    assert!(
        error.contains("deploy/components/trusted-profile"),
        "{error}"
    );
}

#[test]
fn a_renewed_service_account_token_is_the_same_credential_and_another_account_is_not() {
    let dir = std::env::temp_dir().join(format!("kpo-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("token");
    let file = CredentialFile::service_account_token(path.clone(), Profile::Name("p".to_owned()));
    let version = |claims: &str| {
        std::fs::write(&path, token(claims)).unwrap();
        let read = file.read().unwrap();
        assert_eq!(read.version, file.version());
        read.version
    };
    let first = version(CLAIMS);
    assert_eq!(version(&CLAIMS.replace("\"exp\":1", "\"exp\":2")), first);
    let other = version(&CLAIMS.replace("iam", "vault"));
    assert!(other > first);
    assert!(version(&CLAIMS.replace("n:op", "n:other")) > other);
    std::fs::remove_dir_all(&dir).unwrap();
}
