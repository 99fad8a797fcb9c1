//! Hosts, headers and refusals, as tables; many of them hostile.

use super::*;
use crate::api::instance::CloudFoundry;

const GUID: &str = "12e8c9c2-a162-472d-b7d6-8b9a86b815a6";
const OTHER: &str = "02fd6835-6001-4482-a892-13bd2085f75d";
const ACCOUNT: &str = "f047b55a3362ac06afad8a3f2f5586ea";

fn none() -> AllowedHosts {
    AllowedHosts::default()
}

fn spec(region: &str, endpoint: EndpointSpec) -> KeyProtectInstanceSpec {
    KeyProtectInstanceSpec {
        instance_id: Some(GUID.into()),
        region: Some(region.into()),
        endpoint: Some(endpoint),
        ..Default::default()
    }
}

fn of_crn(service: &str, endpoint: EndpointSpec) -> KeyProtectInstanceSpec {
    KeyProtectInstanceSpec {
        crn: Some(format!(
            "crn:v1:bluemix:public:{service}:eu-de:a/{ACCOUNT}:{GUID}::"
        )),
        endpoint: Some(endpoint),
        ..Default::default()
    }
}

fn at(url: &str) -> KeyProtectInstanceSpec {
    let url = Some(url.to_owned());
    spec(
        "us-south",
        EndpointSpec {
            url,
            ..Default::default()
        },
    )
}

fn iam_at(url: &str) -> KeyProtectInstanceSpec {
    let iam_url = Some(url.to_owned());
    spec(
        "us-south",
        EndpointSpec {
            iam_url,
            ..Default::default()
        },
    )
}

fn urls(spec: &KeyProtectInstanceSpec) -> (String, String) {
    match resolve(spec, &none()) {
        Ok(endpoint) => (endpoint.key_base.to_string(), endpoint.iam_url.to_string()),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn every_kind_and_network_has_its_hosts() {
    let public = "https://iam.cloud.ibm.com/identity/token";
    let private = "https://private.iam.cloud.ibm.com/identity/token";
    let wish = |kind, network, port| EndpointSpec {
        kind,
        network,
        port,
        ..Default::default()
    };
    let (dedicated, hpcs) = (Some(EndpointKind::Dedicated), Some(EndpointKind::Hpcs));
    let net = Some(Network::Private);
    for (endpoint, key, iam) in [
        (
            wish(None, None, None),
            "https://us-south.kms.cloud.ibm.com".to_owned(),
            public,
        ),
        (
            wish(None, net, None),
            "https://private.us-south.kms.cloud.ibm.com".into(),
            private,
        ),
        (
            wish(None, net, Some(12345)),
            "https://private.us-south.kms.cloud.ibm.com:12345".into(),
            private,
        ),
        (
            wish(dedicated, None, None),
            format!("https://{GUID}.api.us-south.kms.appdomain.cloud"),
            public,
        ),
        (
            wish(dedicated, net, None),
            format!("https://{GUID}.api.private.us-south.kms.appdomain.cloud"),
            private,
        ),
        (
            wish(hpcs, None, None),
            format!("https://{GUID}.api.us-south.hs-crypto.appdomain.cloud"),
            public,
        ),
        (
            wish(hpcs, net, None),
            format!("https://{GUID}.api.private.us-south.hs-crypto.appdomain.cloud"),
            private,
        ),
        (
            wish(hpcs, None, Some(8123)),
            "https://api.us-south.hs-crypto.cloud.ibm.com:8123".into(),
            public,
        ),
        (
            wish(hpcs, net, Some(8123)),
            "https://api.private.us-south.hs-crypto.cloud.ibm.com:8123".into(),
            private,
        ),
    ] {
        assert_eq!(urls(&spec("us-south", endpoint)), (key, iam.to_owned()));
    }
    for region in hosts::REGIONS {
        let (key, _) = urls(&spec(region, EndpointSpec::default()));
        assert_eq!(key, format!("https://{region}.kms.cloud.ibm.com"));
    }
    let (key, _) = urls(&of_crn("kms", EndpointSpec::default()));
    assert_eq!(key, "https://eu-de.kms.cloud.ibm.com");
    let (key, _) = urls(&of_crn("hs-crypto", EndpointSpec::default()));
    assert_eq!(
        key,
        format!("https://{GUID}.api.eu-de.hs-crypto.appdomain.cloud")
    );
}

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
        (format!("https://\u{ff55}s-south.kms.cloud.ibm.com"), Host),
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
fn the_token_url_is_taken_with_or_without_its_path() {
    for (url, shown) in [
        (
            "https://iam.cloud.ibm.com",
            "https://iam.cloud.ibm.com/identity/token",
        ),
        (
            "https://iam.cloud.ibm.com/",
            "https://iam.cloud.ibm.com/identity/token",
        ),
        (
            "https://iam.cloud.ibm.com/identity/token",
            "https://iam.cloud.ibm.com/identity/token",
        ),
        (
            "https://iam.cloud.ibm.com/oidc/token",
            "https://iam.cloud.ibm.com/oidc/token",
        ),
        (
            "https://iam.bluemix.net/oidc/token",
            "https://iam.bluemix.net/oidc/token",
        ),
        (
            "https://private.eu-de.iam.cloud.ibm.com",
            "https://private.eu-de.iam.cloud.ibm.com/identity/token",
        ),
    ] {
        assert_eq!(urls(&iam_at(url)).1, shown);
    }
    for url in [
        "https://iam.cloud.ibm.com/identity",
        "https://iam.cloud.ibm.com/identity/token/",
    ] {
        let refused = resolve(&iam_at(url), &none());
        let flaw = UrlFlaw::Path;
        assert_eq!(
            refused,
            Err(EndpointError::Url {
                field: "spec.endpoint.iamURL",
                flaw
            })
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

#[test]
fn cloud_foundry_has_its_headers_and_its_host() {
    let foundry = |endpoint| KeyProtectInstanceSpec {
        cloud_foundry: Some(CloudFoundry {
            organization: GUID.into(),
            space: OTHER.to_uppercase(),
        }),
        endpoint,
        ..Default::default()
    };
    let endpoint = resolve(&foundry(None), &none()).unwrap();
    assert_eq!(
        endpoint.key_base.to_string(),
        "https://ibm-key-protect.edge.bluemix.net"
    );
    assert_eq!(
        endpoint.tenant,
        Tenant::CloudFoundry {
            organization: InstanceId::parse(GUID).unwrap(),
            space: InstanceId::parse(OTHER).unwrap(),
        }
    );
    assert_eq!(endpoint.instance_id, None);
    let private = EndpointSpec {
        network: Some(Network::Private),
        ..Default::default()
    };
    let refused = resolve(&foundry(Some(private)), &none());
    assert!(matches!(
        refused,
        Err(EndpointError::Field {
            field: "spec.endpoint",
            ..
        })
    ));
}

#[test]
fn contradictions_name_the_field_to_change() {
    let with = |change: fn(&mut KeyProtectInstanceSpec)| {
        let mut spec = spec("us-south", EndpointSpec::default());
        change(&mut spec);
        resolve(&spec, &none()).map(|_| ()).unwrap_err().to_string()
    };
    for (message, field) in [
        (with(|s| s.region = None), "spec.region:"),
        (
            with(|s| s.region = Some("xx-zzz".into())),
            "spec.region: xx-zzz.kms.cloud.ibm.com:443 is not one",
        ),
        (
            with(|s| s.region = Some("us-south.evil".into())),
            "spec.region:",
        ),
        (
            with(|s| s.instance_id = Some("nonsense".into())),
            "spec.instanceID:",
        ),
        (with(|s| s.instance_id = None), "spec:"),
        (with(|s| s.crn = Some("crn".into())), "spec:"),
        (
            with(|s| {
                s.instance_id = None;
                s.crn = Some("crn".into());
            }),
            "spec.region:",
        ),
        (
            with(|s| {
                s.instance_id = None;
                s.region = None;
                s.crn = Some("crn".into());
            }),
            "spec.crn: must look like",
        ),
        (
            with(|s| {
                s.endpoint = Some(EndpointSpec {
                    kind: Some(EndpointKind::Dedicated),
                    port: Some(8123),
                    ..Default::default()
                })
            }),
            "spec.endpoint.port:",
        ),
        (
            with(|s| {
                s.endpoint = Some(EndpointSpec {
                    port: Some(70_000),
                    ..Default::default()
                })
            }),
            "spec.endpoint.port:",
        ),
        (
            with(|s| {
                s.endpoint = Some(EndpointSpec {
                    url: Some("https://eu-de.kms.cloud.ibm.com".into()),
                    port: Some(443),
                    ..Default::default()
                })
            }),
            "spec.endpoint.url:",
        ),
    ] {
        assert!(message.starts_with(field), "{field} {message}");
    }
    for (service, kind) in [
        ("kms", EndpointKind::Hpcs),
        ("hs-crypto", EndpointKind::Standard),
    ] {
        let wish = EndpointSpec {
            kind: Some(kind),
            ..Default::default()
        };
        let refused = resolve(&of_crn(service, wish), &none());
        assert!(matches!(
            refused,
            Err(EndpointError::Field {
                field: "spec.endpoint.kind",
                ..
            })
        ));
    }
}

#[test]
fn a_host_of_another_region_is_worth_a_warning() {
    let endpoint = resolve(&at("https://eu-de.kms.cloud.ibm.com"), &none()).unwrap();
    assert!(
        endpoint
            .warnings
            .iter()
            .any(|w| w.contains("eu-de") && w.contains("us-south"))
    );
    let endpoint = resolve(&at("https://us-south.kms.cloud.ibm.com"), &none()).unwrap();
    assert_eq!(endpoint.warnings, Vec::<String>::new());
}
