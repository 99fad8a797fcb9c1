//! Which hosts may be called, as tables; most of them hostile.

use super::*;

#[test]
fn listed_hosts_may_be_given_as_urls() {
    for (url, shown, kind, private) in [
        (
            "https://eu-gb.kms.cloud.ibm.com",
            "https://eu-gb.kms.cloud.ibm.com",
            EndpointKind::Standard,
            false,
        ),
        (
            "https://EU-GB.KMS.cloud.ibm.com/",
            "https://eu-gb.kms.cloud.ibm.com",
            EndpointKind::Standard,
            false,
        ),
        (
            "https://us-south.kms.cloud.ibm.com:443",
            "https://us-south.kms.cloud.ibm.com",
            EndpointKind::Standard,
            false,
        ),
        (
            "https://private.us-south.kms.cloud.ibm.com:12345",
            "https://private.us-south.kms.cloud.ibm.com:12345",
            EndpointKind::Standard,
            true,
        ),
        (
            "https://qsc.us-south.kms.cloud.ibm.com",
            "https://qsc.us-south.kms.cloud.ibm.com",
            EndpointKind::Standard,
            false,
        ),
        (
            "https://private-qsc.us-south.kms.cloud.ibm.com",
            "https://private-qsc.us-south.kms.cloud.ibm.com",
            EndpointKind::Standard,
            true,
        ),
        (
            "https://keyprotect.us-south.bluemix.net",
            "https://keyprotect.us-south.bluemix.net",
            EndpointKind::Standard,
            false,
        ),
        (
            "https://ibm-key-protect.edge.bluemix.net",
            "https://ibm-key-protect.edge.bluemix.net",
            EndpointKind::Standard,
            false,
        ),
        (
            "https://12e8c9c2-a162-472d-b7d6-8b9a86b815a6.api.private.us-east.kms.appdomain.cloud",
            "https://12e8c9c2-a162-472d-b7d6-8b9a86b815a6.api.private.us-east.kms.appdomain.cloud",
            EndpointKind::Dedicated,
            true,
        ),
        (
            "https://api.us-south.hs-crypto.cloud.ibm.com:9001",
            "https://api.us-south.hs-crypto.cloud.ibm.com:9001",
            EndpointKind::Hpcs,
            false,
        ),
    ] {
        let endpoint = resolve(&at(url), &none()).unwrap();
        assert_eq!(endpoint.key_base.to_string(), shown);
        assert_eq!(endpoint.kind, kind, "{url}");
        let iam = endpoint.iam_url.origin.host();
        assert_eq!(iam.starts_with("private."), private, "{url}: {iam}");
        assert_eq!(endpoint.guarded_hosts, [endpoint.key_base.host(), iam]);
    }
}

#[test]
fn no_token_goes_to_a_look_alike() {
    let with_other = format!("https://{OTHER}.api.us-south.kms.appdomain.cloud");
    let with_port = format!("https://{GUID}.api.us-south.kms.appdomain.cloud:8443");
    for url in [
        "https://us-south.kms.cloud.ibm.com.evil.com",
        "https://evil-us-south.kms.cloud.ibm.com",
        "https://evil.us-south.kms.cloud.ibm.com",
        "https://private.private.us-south.kms.cloud.ibm.com",
        "https://qsc.private.us-south.kms.cloud.ibm.com",
        "https://kms.cloud.ibm.com",
        "https://us-south-kms.cloud.ibm.com",
        "https://xx-nowhere.kms.cloud.ibm.com",
        "https://us-south.kms.cloud.ibm.co",
        "https://us-south.kms.test.cloud.ibm.com",
        "https://us-south.kms.appdomain.cloud",
        "https://api.us-south.kms.appdomain.cloud",
        "https://evil.api.us-south.kms.appdomain.cloud",
        &with_other,
        &with_port,
        "https://keyprotect.evil.bluemix.net",
        "https://keyprotect.us-south.bluemix.net:8443",
        "https://evil.ibm-key-protect.edge.bluemix.net",
        "https://xapi.us-south.hs-crypto.cloud.ibm.com",
        "https://iam.cloud.ibm.com",
        "https://169.254.169.254",
        "https://127.0.0.1",
        "https://localhost",
        "https://xn--us-south-kms-cloud-ibm-com.evil",
    ] {
        let refused = resolve(&at(url), &none());
        assert!(
            matches!(
                refused,
                Err(EndpointError::HostNotAllowed {
                    field: "spec.endpoint.url",
                    ..
                })
            ),
            "{url}: {refused:?}"
        );
    }
    for url in [
        "https://iam.cloud.ibm.com.evil.com",
        "https://eviliam.cloud.ibm.com",
        "https://evil.iam.cloud.ibm.com",
        "https://private.evil.iam.cloud.ibm.com",
        "https://us-south.iam.cloud.ibm.com",
        "https://iam.cloud.ibm.com:8443",
        "https://us-south.kms.cloud.ibm.com",
        "https://iam.evil.bluemix.net",
    ] {
        let refused = resolve(&iam_at(url), &none());
        assert!(
            matches!(
                refused,
                Err(EndpointError::HostNotAllowed {
                    field: "spec.endpoint.iamURL",
                    ..
                })
            ),
            "{url}: {refused:?}"
        );
    }
}

#[test]
fn a_url_that_could_be_read_in_two_ways_is_refused() {
    use UrlFlaw::*;
    let host = "us-south.kms.cloud.ibm.com";
    for (url, flaw) in [
        (String::new(), Scheme),
        (host.into(), Scheme),
        (format!("ftp://{host}"), Scheme),
        (format!("//{host}"), Scheme),
        (format!(" https://{host}"), Scheme),
        (format!("https:/{host}"), Scheme),
        (format!("https:\\\\{host}"), Scheme),
        (format!("https://user@{host}"), UserInfo),
        (format!("https://user:pass@{host}"), UserInfo),
        (format!("https://{host}@evil.com"), UserInfo),
        (format!("https://{host}:443@evil.com"), UserInfo),
        (format!("https://evil.com\\@{host}"), Path),
        (format!("https://evil.com/@{host}"), Path),
        (format!("https://{host}."), Host),
        (format!("https://{host}..evil.com"), Host),
        (format!("https://.{host}"), Host),
        (format!("https://{host}%2eevil.com"), Host),
        (format!("https://{host}\u{3002}evil.com"), Host),
        ("https://\u{ff55}s-south.kms.cloud.ibm.com".to_owned(), Host),
        (format!("https://{host}\r\nx"), Host),
        (format!("https://{host}:443\r\nx: y"), Port),
        (format!("https://{host}\t"), Host),
        (format!("https://{host} "), Host),
        ("https://".into(), Host),
        ("https:///".into(), Host),
        ("https://127.1".into(), Host),
        ("https://0x7f.1".into(), Host),
        ("https://0177.0.0.1".into(), Host),
        ("https://2130706433".into(), Host),
        ("https://evil.0x7f000001".into(), Host),
        ("https://[::1]".into(), Port),
        (format!("https://{host}:"), Port),
        (format!("https://{host}:0"), Port),
        (format!("https://{host}:0443"), Port),
        (format!("https://{host}:+443"), Port),
        (format!("https://{host}:65536"), Port),
        (format!("https://{host}:443:443"), Port),
        (format!("https://{host}/api/v2"), Path),
        (format!("https://{host}//"), Path),
        (format!("https://{host}/?x"), Path),
        (format!("https://{host}?x"), Path),
        (format!("https://{host}#x"), Path),
        (format!("https://{host}/../x"), Path),
    ] {
        let refused = resolve(&at(&url), &none());
        assert_eq!(
            refused,
            Err(EndpointError::Url {
                field: "spec.endpoint.url",
                flaw
            }),
            "{url:?}"
        );
    }
}

#[test]
fn an_admin_adds_exact_hosts_and_nothing_wider() {
    let key = |url: &str, added: &[&str], insecure_loopback| {
        let allowed = AllowedHosts {
            keys: added.iter().map(|host| (*host).to_owned()).collect(),
            iam: Vec::new(),
            insecure_loopback,
        };
        resolve(&at(url), &allowed)
    };
    let ok = |url, added: &[&str]| assert!(key(url, added, false).is_ok(), "{url} {added:?}");
    ok("https://kms.corp.example", &["kms.corp.example"]);
    ok("https://kms.corp.example", &["KMS.corp.example:443"]);
    ok("https://kms.corp.example:8443", &["kms.corp.example:8443"]);
    ok("https://10.0.0.7:8443", &["10.0.0.7:8443"]);
    for (url, added) in [
        ("https://kms.corp.example:8443", "kms.corp.example"),
        ("https://kms.corp.example", "kms.corp.example:8443"),
        ("https://a.kms.corp.example", "kms.corp.example"),
        ("https://a.kms.corp.example", "*.kms.corp.example"),
        ("https://kms.corp.example", "*"),
        ("https://kms.corp.example", "https://kms.corp.example"),
        ("https://kms.corp.example", "kms.corp.example/"),
        ("https://kms.corp.example", "kms.corp.example."),
        ("https://kms.corp.example", ""),
    ] {
        let refused = key(url, &[added], true);
        assert!(
            matches!(refused, Err(EndpointError::HostNotAllowed { .. })),
            "{url} {added:?}: {refused:?}"
        );
    }
    // An added host is trusted with its address too; the others stay guarded.
    let added = key(
        "https://us-south.kms.cloud.ibm.com",
        &["us-south.kms.cloud.ibm.com"],
        false,
    );
    assert_eq!(
        added.map(|e| e.guarded_hosts),
        Ok(vec!["iam.cloud.ibm.com".to_owned()])
    );
    let malformed = AllowedHosts {
        keys: vec!["a.b".into(), "*.b".into()],
        ..none()
    };
    assert_eq!(malformed.malformed(), Some("*.b"));
}

#[test]
fn plain_http_is_for_added_loopback_hosts_under_a_flag() {
    let allowed = |host: &str, insecure_loopback| AllowedHosts {
        keys: vec![host.to_owned()],
        iam: vec![host.to_owned()],
        insecure_loopback,
    };
    for host in ["127.0.0.1:8080", "localhost:8080", "127.9.9.9:8080"] {
        let url = format!("http://{host}");
        assert!(resolve(&at(&url), &allowed(host, true)).is_ok(), "{host}");
        for allowed in [
            allowed(host, false),
            AllowedHosts {
                insecure_loopback: true,
                ..none()
            },
        ] {
            let refused = resolve(&at(&url), &allowed);
            assert_eq!(
                refused,
                Err(EndpointError::Insecure {
                    field: "spec.endpoint.url"
                }),
                "{host}"
            );
        }
    }
    for url in [
        "http://kms.corp.example:8080",
        "http://127.0.0.1.evil.com:8080",
        "http://10.0.0.1:8080",
    ] {
        let host = url.strip_prefix("http://").unwrap();
        let refused = resolve(&at(url), &allowed(host, true));
        assert_eq!(
            refused,
            Err(EndpointError::Insecure {
                field: "spec.endpoint.url"
            }),
            "{url}"
        );
    }
    let refused = resolve(&at("http://us-south.kms.cloud.ibm.com"), &none());
    assert_eq!(
        refused,
        Err(EndpointError::Insecure {
            field: "spec.endpoint.url"
        })
    );
    let refused = resolve(&iam_at("http://iam.cloud.ibm.com"), &none());
    assert_eq!(
        refused,
        Err(EndpointError::Insecure {
            field: "spec.endpoint.iamURL"
        })
    );
}
