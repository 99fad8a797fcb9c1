//! Names out of objects: CRNs, hosts, whole instances, durations.

use key_protect_operator::api::KeyProtectInstanceSpec;
use key_protect_operator::domain::schedule::parse_duration;
use key_protect_operator::domain::service::crn::{self, CrnService};
use key_protect_operator::domain::service::endpoint::resolve;
use key_protect_operator::domain::service::hosts::{AllowedHosts, Origin, Permit, permit};
use reqwest::Url;

use super::two;

/// What is read out of a CRN, written as a CRN, reads the same, without a warning.
pub(crate) fn crn(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(read) = crn::parse(text) else { return };
    let service = match read.service {
        CrnService::Kms => "kms",
        CrnService::HsCrypto => "hs-crypto",
    };
    let (region, instance) = (&read.region, &read.instance);
    assert!(
        text.to_ascii_lowercase().contains(instance.as_str()),
        "an instance that is not in the text"
    );
    let account = "0123456789abcdef0123456789abcdef";
    let full = format!("crn:v1:bluemix:public:{service}:{region}:a/{account}:{instance}::");
    let again = crn::parse(&full).unwrap_or_else(|error| panic!("{full}: {error}"));
    assert!(again.warnings.is_empty(), "{again:?}");
    assert_eq!(
        (again.service, &again.region, &again.instance),
        (read.service, region, instance)
    );
}

/// Seconds at the end are the same duration, and it never is below zero.
pub(crate) fn durations(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Some(duration) = parse_duration(text) else {
        return;
    };
    assert!(!duration.is_negative(), "{text}: {duration:?}");
    let seconds = duration.as_secs();
    for same in [
        format!("{seconds}s"),
        format!("{text}0s"),
        format!("0h{text}"),
    ] {
        assert_eq!(parse_duration(&same), Some(duration), "{text} and {same}");
    }
}

/// A URL that is taken means the same host to the library that connects, and is allowed only by an
/// entry that names exactly that host and port.
pub(crate) fn hosts(data: &[u8]) {
    let Some((url, entry)) = two(data) else {
        return;
    };
    let Ok(entry) = std::str::from_utf8(entry) else {
        return;
    };
    let Ok((origin, path)) = Origin::parse(url) else {
        return;
    };
    let dialled = Url::parse(&format!("{origin}{path}"))
        .unwrap_or_else(|error| panic!("{url:?} is taken, and {origin}{path} is no URL: {error}"));
    agree(&origin, &dialled);
    if let Ok(dialled) = Url::parse(url) {
        agree(&origin, &dialled);
    }
    let (again, _) = Origin::parse(&origin.to_string())
        .unwrap_or_else(|flaw| panic!("{origin} is not taken back: {flaw}"));
    assert_eq!(again, origin);

    let added = [entry.to_owned()];
    let allowed = permit(&origin, None, &added, true);
    if allowed.is_ok() {
        assert_eq!(allowed, Ok(Permit::Added));
        let (host, port) = entry.rsplit_once(':').unwrap_or((entry, "443"));
        assert!(
            host.eq_ignore_ascii_case(origin.host()),
            "{entry:?}: {origin}"
        );
        assert_eq!(port.parse(), Ok(origin.port()), "{entry:?}: {origin}");
        assert!(origin.is_secure() || origin.is_loopback(), "{origin}");
    }
}

fn agree(origin: &Origin, dialled: &Url) {
    assert_eq!(dialled.host_str(), Some(origin.host()), "{origin}");
    assert_eq!(dialled.port_or_known_default(), Some(origin.port()));
    assert_eq!(dialled.scheme() == "https", origin.is_secure());
    assert!(dialled.username().is_empty() && dialled.password().is_none());
}

/// Where no host was allowed, an instance is called over TLS, at a host of IBM Cloud, and its
/// tokens come from one; a refusal names the field.
pub(crate) fn instance(data: &[u8]) {
    let Ok(spec) = serde_json::from_slice::<KeyProtectInstanceSpec>(data) else {
        return;
    };
    match resolve(&spec, &AllowedHosts::default()) {
        Ok(endpoint) => {
            let of_ibm = |host: &str| {
                [".cloud.ibm.com", ".appdomain.cloud", ".bluemix.net"]
                    .iter()
                    .any(|domain| host.ends_with(domain))
            };
            for origin in [&endpoint.key_base, &endpoint.iam_url.origin] {
                assert!(origin.is_secure() && of_ibm(origin.host()), "{origin}");
                let host = origin.host().to_owned();
                assert!(endpoint.guarded_hosts.contains(&host), "{origin}");
            }
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.starts_with("spec"), "no field: {message}");
        }
    }
}
