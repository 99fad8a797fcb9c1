//! Good and bad manifests, put before a real API server: the good ones pass without a warning,
//! and the answer to each bad one names the field and says what to write instead.

use http::Request;
use key_protect_operator::api::{KeyProtectInstance, KeyProtectKey};
use kube::api::{ApiResource, DeleteParams, DynamicObject};
use kube::client::Body;
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::deploy::operator_takes;
use crate::stage::OPERATOR_NAMESPACE;

const ID: &str = "12e8c9c2-a162-472d-b7d6-8b9a86b815a6";

/// One line of `good.yaml` or `bad.yaml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What it is about; unique.
    case: String,
    kind: String,
    #[serde(default = "usual_name")]
    name: String,
    /// The spec that is created first, if a change is the point.
    before: Option<Value>,
    spec: Option<Value>,
    /// The field that the answer names.
    field: Option<String>,
    /// A part of the answer that says what to write instead.
    remedy: Option<String>,
}

fn usual_name() -> String {
    "orders-db".to_owned()
}

impl Case {
    fn manifest(&self, namespace: &str, spec: Option<&Value>) -> Value {
        // Elsewhere the fence refuses instances that have no API key of their own.
        let namespace = match self.kind.as_str() {
            "KeyProtectInstance" => OPERATOR_NAMESPACE,
            _ => namespace,
        };
        let mut manifest = json!({
            "apiVersion": "keyprotect.dev/v1alpha1", "kind": self.kind,
            "metadata": {"name": self.name, "namespace": namespace}});
        if let Some(spec) = spec {
            manifest["spec"] = spec.clone();
        }
        manifest
    }
}

/// What the API server answered.
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) warnings: Vec<String>,
    pub(crate) body: Value,
}

/// Sends a manifest as a dry run, or for good: a POST, or a PUT where it has a resourceVersion.
pub(crate) async fn send(client: &Client, manifest: &Value, for_good: bool) -> Answer {
    let is_new = manifest["metadata"].get("resourceVersion").is_none();
    send_by(
        client,
        if is_new { "POST" } else { "PUT" },
        manifest,
        for_good,
    )
    .await
}

async fn send_by(client: &Client, method: &str, manifest: &Value, for_good: bool) -> Answer {
    let metadata = &manifest["metadata"];
    let mut path = format!(
        "/apis/keyprotect.dev/v1alpha1/namespaces/{}/{}s",
        metadata["namespace"].as_str().unwrap(),
        manifest["kind"].as_str().unwrap().to_lowercase(),
    );
    if method != "POST" {
        path = format!("{path}/{}", metadata["name"].as_str().unwrap());
    }
    let (manager, media_type) = match method {
        "PATCH" => ("&fieldManager=tests", "application/apply-patch+yaml"),
        _ => ("", "application/json"),
    };
    let dry_run = if for_good { "" } else { "&dryRun=All" };
    let request = Request::builder()
        .method(method)
        .uri(format!("{path}?fieldValidation=Strict{manager}{dry_run}"))
        .header("content-type", media_type)
        .body(Body::from(manifest.to_string().into_bytes()))
        .unwrap();
    let (head, body) = client.send(request).await.unwrap().into_parts();
    Answer {
        code: head.status.as_u16(),
        warnings: head
            .headers
            .get_all("warning")
            .iter()
            .map(|value| value.to_str().unwrap().to_owned())
            .collect(),
        body: serde_json::from_slice(&body.collect_bytes().await.unwrap()).unwrap(),
    }
}

/// The answer to a case's last step.
async fn answer(client: &Client, namespace: &str, case: &Case) -> Answer {
    let Some(before) = &case.before else {
        return send(client, &case.manifest(namespace, case.spec.as_ref()), false).await;
    };
    let manifest = case.manifest(namespace, Some(before));
    let created = send(client, &manifest, true).await;
    assert_eq!(created.code, 201, "{}: {}", case.case, created.body);
    let api: Api<DynamicObject> = Api::namespaced_with(
        client.clone(),
        namespace,
        &ApiResource::erase::<KeyProtectKey>(&()),
    );
    // The operator of another test may write status meanwhile.
    let answer = loop {
        let object = api.get(&case.name).await.unwrap();
        let mut object = serde_json::to_value(object).unwrap();
        object["spec"] = case.spec.clone().unwrap_or_default();
        let answer = send(client, &object, false).await;
        if answer.body["reason"] != "Conflict" {
            break answer;
        }
    };
    api.delete(&case.name, &DeleteParams::default())
        .await
        .unwrap();
    answer
}

/// Says what is wrong with the refusal of a bad manifest, if anything.
fn flaw(case: &Case, answer: &Answer) -> Option<String> {
    let (field, remedy) = (case.field.as_deref()?, case.remedy.as_deref()?);
    if answer.code < 400 {
        return Some("was taken".to_owned());
    }
    let causes = answer.body["details"]["causes"].as_array();
    let names_both = |cause: &Value| {
        cause["field"] == field && cause["message"].as_str().unwrap_or("").contains(remedy)
    };
    // A field that nobody knows is refused before there are causes.
    let message = answer.body["message"].as_str().unwrap_or_default();
    let unknown = message.contains(field) && message.contains(remedy);
    match causes {
        Some(causes) if causes.iter().any(names_both) => None,
        None if unknown => None,
        _ => Some(format!("{} {}", answer.code, answer.body)),
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), without_nulls(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

fn read_back<K: Serialize + DeserializeOwned>(object: &Value) -> Value {
    let object: K = serde_json::from_value(object.clone()).unwrap();
    serde_json::to_value(object).unwrap()
}

#[tokio::test]
async fn good_manifests_are_taken_without_a_warning() {
    let cases: Vec<Case> = serde_saphyr::from_str(include_str!("manifests/good.yaml")).unwrap();
    let cluster = Cluster::shared();
    cluster.install_form();
    let client = cluster.client().await;
    let namespace = cluster.namespace("good").await;
    let mut flaws = Vec::new();
    for case in &cases {
        let mut answers = vec![answer(&client, &namespace, case).await];
        if case.before.is_none() {
            // An apply takes another way through the API server than a POST.
            let manifest = case.manifest(&namespace, case.spec.as_ref());
            answers.push(send_by(&client, "PATCH", &manifest, false).await);
        }
        let refused = answers
            .iter()
            .find(|answer| answer.code >= 300 || !answer.warnings.is_empty());
        if let Some(answer) = refused {
            flaws.push(format!(
                "{}: {:?} {}",
                case.case, answer.warnings, answer.body["message"]
            ));
            continue;
        }
        let answer = answers.swap_remove(0);
        // What the API server keeps, the operator reads, and would write in the same way.
        if case.kind == "KeyProtectKey"
            && let Err(refusal) = operator_takes(&answer.body)
        {
            flaws.push(format!("{}: the operator refuses it: {refusal}", case.case));
        }
        let read_back = match case.kind.as_str() {
            "KeyProtectKey" => read_back::<KeyProtectKey>(&answer.body),
            _ => read_back::<KeyProtectInstance>(&answer.body),
        };
        if read_back["spec"] != without_nulls(&answer.body["spec"]) {
            flaws.push(format!("{}: read as {}", case.case, read_back["spec"]));
        }
    }
    assert!(flaws.is_empty(), "{}", flaws.join("\n"));
}

#[tokio::test]
async fn bad_manifests_are_refused_with_the_field_and_the_remedy() {
    let mut cases: Vec<Case> = serde_saphyr::from_str(include_str!("manifests/bad.yaml")).unwrap();
    cases.extend(long_and_many());
    assert!(cases.len() >= 60, "only {}", cases.len());
    let cluster = Cluster::shared();
    cluster.install_form();
    let client = cluster.client().await;
    let namespace = cluster.namespace("bad").await;
    let mut flaws = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        assert!(
            cases[..index].iter().all(|other| other.case != case.case),
            "{} is there twice",
            case.case
        );
        assert!(
            case.field.is_some() && case.remedy.is_some(),
            "{}",
            case.case
        );
        let answer = answer(&client, &namespace, case).await;
        flaws.extend(flaw(case, &answer).map(|flaw| format!("{}: {flaw}", case.case)));
    }
    assert!(flaws.is_empty(), "{}", flaws.join("\n"));
}

/// Bad manifests that are too long to be written out.
fn long_and_many() -> Vec<Case> {
    let key = |case: &str, spec: Value, field: &str, remedy: &str| Case {
        case: case.to_owned(),
        kind: "KeyProtectKey".to_owned(),
        name: usual_name(),
        before: None,
        spec: Some(spec),
        field: Some(field.to_owned()),
        remedy: Some(remedy.to_owned()),
    };
    let named = |name: usize, case: Case| Case {
        name: "a".repeat(name),
        ..case
    };
    let instance = |case: &str, more: Value, field: &str, remedy: &str| {
        let mut spec = json!({"instanceID": ID, "region": "us-south"});
        for (name, value) in more.as_object().unwrap() {
            spec[name] = value.clone();
        }
        Case {
            kind: "KeyProtectInstance".to_owned(),
            ..key(case, spec, field, remedy)
        }
    };
    let entry = |fields: Value| json!({"target": {"data": [fields]}});
    let entries = |count: usize| -> Vec<Value> {
        (0..count)
            .map(|index| json!({"name": format!("e{index}")}))
            .collect()
    };
    let texts =
        |count: usize| -> Vec<String> { (0..count).map(|index| format!("t{index:03}")).collect() };
    let map = |count: usize| -> Value {
        texts(count)
            .into_iter()
            .map(|text| (text, Value::from("v")))
            .collect()
    };
    let rule =
        |more: (&str, Value)| json!({"access": [{"namespaces": {"from": "All"}, more.0: more.1}]});
    let too_long = "a".repeat(513);
    vec![
        named(
            300,
            key(
                "an object's name of 300 letters",
                json!({}),
                "metadata.name",
                "must be no more than 253 characters",
            ),
        ),
        named(
            64,
            key(
                "an object's name of 64 letters",
                json!({}),
                "<nil>",
                "metadata.name: must be at most 63 characters; choose a shorter name",
            ),
        ),
        named(
            64,
            instance(
                "an instance's name of 64 letters",
                json!({}),
                "<nil>",
                "metadata.name: must be at most 63 characters; choose a shorter name",
            ),
        ),
        key(
            "an alias of 91 letters",
            json!({"key": {"alias": "a".repeat(91)}}),
            "spec.key.alias",
            "may not be more than 90",
        ),
        key(
            "a name of 91 letters",
            json!({"key": {"name": "a".repeat(91), "keyRing": "default"}}),
            "spec.key.name",
            "may not be more than 90",
        ),
        key(
            "a ring of 101 letters",
            json!({"key": {"alias": "web", "keyRing": "a".repeat(101)}}),
            "spec.key.keyRing",
            "may not be more than 100",
        ),
        key(
            "an ID of 40 digits",
            json!({"key": {"id": "0".repeat(40)}}),
            "spec.key.id",
            "must be the key's ID (a UUID like",
        ),
        key(
            "an instance's name of 300 letters in a reference",
            json!({"instanceRef": {"name": "a".repeat(300)}}),
            "spec.instanceRef.name",
            "may not be more than 63",
        ),
        key(
            "an interval of many digits",
            json!({"refreshInterval": "1234567h"}),
            "spec.refreshInterval",
            "like 10m or 24h",
        ),
        key(
            "an interval of many units",
            json!({"refreshInterval": "1h1h1h1h"}),
            "spec.refreshInterval",
            "like 10m or 24h",
        ),
        key(
            "a Secret's name of 300 letters",
            json!({"target": {"name": "a".repeat(300)}}),
            "spec.target.name",
            "may not be more than 253",
        ),
        key(
            "65 entries",
            json!({"target": {"data": entries(65)}}),
            "spec.target.data",
            "must have at most 64 items",
        ),
        key(
            "an entry's name of 254 letters",
            entry(json!({"name": "a".repeat(254)})),
            "spec.target.data[0].name",
            "may not be more than 253",
        ),
        key(
            "a property of 513 letters",
            entry(json!({"name": "a", "property": too_long})),
            "spec.target.data[0].property",
            "may not be more than 512",
        ),
        key(
            "a template of 4097 letters",
            entry(json!({"name": "a", "template": "a".repeat(4097)})),
            "spec.target.data[0].template",
            "may not be more than 4096",
        ),
        key(
            "a value of 4097 letters",
            entry(json!({"name": "a", "value": "a".repeat(4097)})),
            "spec.target.data[0].value",
            "may not be more than 4096",
        ),
        key(
            "a label's value of 64 letters",
            json!({"target": {"metadata": {"labels": {"team": "a".repeat(64)}}}}),
            "spec.target.metadata.labels.team",
            "may not be more than 63",
        ),
        key(
            "an annotation of 4097 letters",
            json!({"target": {"metadata": {"annotations": {"note": "a".repeat(4097)}}}}),
            "spec.target.metadata.annotations.note",
            "may not be more than 4096",
        ),
        key(
            "33 labels",
            json!({"target": {"metadata": {"labels": map(33)}}}),
            "spec.target.metadata.labels",
            "must have at most 32 items",
        ),
        key(
            "33 annotations",
            json!({"target": {"metadata": {"annotations": map(33)}}}),
            "spec.target.metadata.annotations",
            "must have at most 32 items",
        ),
        instance(
            "65 rules",
            json!({"access": vec![json!({"namespaces": {"from": "All"}}); 65]}),
            "spec.access",
            "must have at most 64 items",
        ),
        instance(
            "65 rings",
            rule(("keyRings", json!(texts(65)))),
            "spec.access[0].keyRings",
            "must have at most 64 items",
        ),
        instance(
            "65 aliases",
            rule(("aliases", json!(texts(65)))),
            "spec.access[0].aliases",
            "must have at most 64 items",
        ),
        instance(
            "257 IDs",
            rule(("ids", json!(vec![ID; 257]))),
            "spec.access[0].ids",
            "must have at most 256 items",
        ),
        instance(
            "257 namespaces",
            json!({"access": [{"namespaces": {"from": "Names", "names": texts(257)}}]}),
            "spec.access[0].namespaces.names",
            "must have at most 256 items",
        ),
        instance(
            "a CA bundle of more than 64 KiB",
            json!({"endpoint": {"caBundle": "-----BEGIN CERTIFICATE-----".repeat(2500)}}),
            "spec.endpoint.caBundle",
            "may not be more than 65536",
        ),
        instance(
            "a URL of 300 letters",
            json!({"endpoint": {"url": format!("https://{}", "a".repeat(300))}}),
            "spec.endpoint.url",
            "may not be more than 300",
        ),
        Case {
            spec: Some(json!({"crn": format!("crn:v1:{too_long}")})),
            ..instance(
                "a CRN of 520 letters",
                json!({}),
                "spec.crn",
                "may not be more than 512",
            )
        },
    ]
}
