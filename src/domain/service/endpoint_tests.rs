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
                });
            }),
            "spec.endpoint.port:",
        ),
        (
            with(|s| {
                s.endpoint = Some(EndpointSpec {
                    port: Some(70_000),
                    ..Default::default()
                });
            }),
            "spec.endpoint.port:",
        ),
        (
            with(|s| {
                s.endpoint = Some(EndpointSpec {
                    url: Some("https://eu-de.kms.cloud.ibm.com".into()),
                    port: Some(443),
                    ..Default::default()
                });
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

#[path = "endpoint_hosts_tests.rs"]
mod hosts_tests;
