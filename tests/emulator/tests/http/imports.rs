//! Import tokens: a root key's material, encrypted for the service.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use key_protect_emulator::domain::envelope::cipher;
use reqwest::Method;
use rsa::PublicKey;
use rsa::pkcs8::DecodePublicKey as _;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::Sha256;

use crate::support::{World, wrapped};

const MATERIAL: &[u8] = b"0123456789abcdef0123456789abcdef";
const OTHER_MATERIAL: &[u8] = b"fedcba9876543210fedcba9876543210";
const IV: [u8; 12] = [9; 12];

/// An import token, as its owner has it.
struct Token {
    key: PublicKey,
    nonce: Vec<u8>,
}

impl Token {
    async fn new(world: &World) -> Self {
        let asked = json!({ "expiration": 600.0, "maxAllowedRetrievals": 1 });
        assert_eq!(world.post("import_token", &asked).await.status, 200);
        let token = world.get("import_token").await;
        let decode = |member: &str| {
            STANDARD
                .decode(token.body[member].as_str().unwrap())
                .unwrap()
        };
        let pem = String::from_utf8(decode("payload")).unwrap();
        Self {
            key: PublicKey::from_public_key_pem(&pem).unwrap(),
            nonce: decode("nonce"),
        }
    }

    /// The fields of an import, as IBM's tools make them.
    fn import(&self, material: &[u8]) -> Value {
        let sealed = self.key.oaep_encrypt::<Sha256>(material).unwrap();
        let nonce = cipher::seal(material, &IV, b"", &self.nonce).unwrap();
        json!({
            "payload": STANDARD.encode(sealed),
            "encryptedNonce": STANDARD.encode(nonce),
            "iv": STANDARD.encode(IV),
            "encryptionAlgorithm": "RSAES_OAEP_SHA_256",
        })
    }
}

fn root(import: &Value) -> Value {
    let mut new = import.clone();
    new["name"] = json!("imported");
    new["extractable"] = json!(false);
    wrapped(&new)
}

/// What a key's material makes of a ciphertext shows which material it is.
async fn material_of(world: &World, id: &str) -> Vec<u8> {
    let asked = json!({ "plaintext": "cGxhaW4=" });
    let path = format!("keys/{id}/actions/wrap");
    let answer = world.post(&path, &asked).await;
    let sealed = STANDARD
        .decode(answer.body["ciphertext"].as_str().unwrap())
        .unwrap();
    let sealed: Value = serde_json::from_slice(&sealed).unwrap();
    let bytes = |member: &str| STANDARD.decode(sealed[member].as_str().unwrap()).unwrap();
    let iv = bytes("iv").try_into().unwrap();
    let fits = |material: &&&[u8]| cipher::open(material, &iv, b"", &bytes("ciphertext")).is_ok();
    let found = [MATERIAL, OTHER_MATERIAL];
    found.iter().find(fits).unwrap().to_vec()
}

#[tokio::test]
async fn an_import_token_is_retrieved_until_it_is_used_up() {
    let world = World::plain().await;
    let code = |answer: crate::support::Read| answer.code().map(str::to_owned);
    let expired = Some("IMPORT_TOKEN_EXPIRED_ERR".to_owned());
    assert_eq!(code(world.get("import_token").await), expired);
    let short = json!({ "expiration": 299 });
    assert_eq!(world.post("import_token", &short).await.status, 400);
    let asked = json!({ "expiration": 300, "maxAllowedRetrievals": 2 });
    let made = world.post("import_token", &asked).await;
    assert_eq!(made.body["remainingRetrievals"], 2);
    assert_eq!(world.get("import_token").await.status, 200);
    assert_eq!(
        world.get("import_token").await.body["remainingRetrievals"],
        0
    );
    assert_eq!(code(world.get("import_token").await), expired);
    assert_eq!(world.post("import_token", &asked).await.status, 200);
    world.emulator.set_clock_offset(301);
    assert_eq!(code(world.get("import_token").await), expired);
}

#[tokio::test]
async fn material_that_was_encrypted_for_the_token_is_imported() {
    let world = World::plain().await;
    let token = Token::new(&world).await;
    let made = world.post("keys", &root(&token.import(MATERIAL))).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.resource()["imported"], true);
    let id = made.resource()["id"].as_str().unwrap().to_owned();
    assert_eq!(material_of(&world, &id).await, MATERIAL);

    let rotate = format!("keys/{id}/actions/rotate");
    let rotated = world.post(&rotate, &token.import(OTHER_MATERIAL)).await;
    assert_eq!(rotated.status, 204, "{}", rotated.text);
    assert_eq!(material_of(&world, &id).await, OTHER_MATERIAL);

    // SHA-1, by its name, where the pair of keys is the same.
    let mut old = token.import(MATERIAL);
    let sealed = token.key.oaep_encrypt::<Sha1>(MATERIAL).unwrap();
    old["payload"] = json!(STANDARD.encode(sealed));
    assert_eq!(world.post("keys", &root(&old)).await.status, 400);
    old["encryptionAlgorithm"] = json!("RSAES_OAEP_SHA_1");
    assert_eq!(world.post("keys", &root(&old)).await.status, 201);
}

#[tokio::test]
async fn an_import_with_another_nonce_iv_or_material_is_refused_by_its_code() {
    let world = World::plain().await;
    let token = Token::new(&world).await;
    let good = token.import(MATERIAL);
    let mut other_iv = good.clone();
    other_iv["iv"] = json!(STANDARD.encode([8; 12]));
    let mut other_material = good.clone();
    other_material["payload"] = token.import(OTHER_MATERIAL)["payload"].clone();
    let mut no_iv = good.clone();
    no_iv.as_object_mut().unwrap().remove("iv");
    let mut short = good.clone();
    let sealed = token
        .key
        .oaep_encrypt::<Sha256>(b"17 bytes, no less")
        .unwrap();
    short["payload"] = json!(STANDARD.encode(sealed));
    for (import, code, field) in [
        (&other_iv, "INCORRECT_NONCE_IV_ERR", None),
        (&other_material, "INCORRECT_NONCE_IV_ERR", None),
        (&no_iv, "INVALID_FIELD_ERR", Some("iv")),
        (&short, "INVALID_FIELD_ERR", Some("payload")),
    ] {
        let refused = world.post("keys", &root(import)).await;
        assert_eq!((refused.status, refused.code()), (400, Some(code)));
        let target = &refused.resource()["reasons"][0]["target"]["name"];
        assert_eq!(target.as_str(), field);
    }
    let mut standard = root(&good);
    standard["resources"][0]["extractable"] = json!(true);
    assert_eq!(world.post("keys", &standard).await.status, 400);

    // Encrypted for the token before this one.
    let _newer = Token::new(&world).await;
    let refused = world.post("keys", &root(&good)).await;
    assert_eq!(
        (refused.status, refused.code()),
        (400, Some("INCORRECT_NONCE_ERR"))
    );
    world.emulator.set_clock_offset(601);
    let late = world.post("keys", &root(&good)).await;
    assert_eq!(
        (late.status, late.code()),
        (409, Some("IMPORT_TOKEN_EXPIRED_ERR"))
    );
}

#[tokio::test]
async fn where_tokens_are_enforced_only_an_import_by_one_is_taken() {
    let world = World::plain().await;
    let token = Token::new(&world).await;
    let policy = wrapped(&json!({ "policy_type": "keyCreateImportAccess",
        "policy_data": { "enabled": true, "attributes": { "enforce_token": true } } }));
    let request = world.request(
        Method::PUT,
        "instance/policies?policy=keyCreateImportAccess",
    );
    let set = request.body(policy.to_string()).send().await.unwrap();
    assert_eq!(set.status(), 204);
    let plain = json!({ "payload": STANDARD.encode(MATERIAL) });
    let refused = world.post("keys", &root(&plain)).await;
    assert_eq!(
        (refused.status, refused.code()),
        (409, Some("KEY_CREATE_IMPORT_ACCESS_ERR"))
    );
    let taken = world.post("keys", &root(&token.import(MATERIAL))).await;
    assert_eq!(taken.status, 201, "{}", taken.text);
}

#[tokio::test]
async fn only_an_imported_key_is_restored_with_material_and_only_with_its_own() {
    let world = World::plain().await;
    let token = Token::new(&world).await;
    let new = |name: &str, payload: Option<&[u8]>| {
        let payload = payload.map(|bytes| STANDARD.encode(bytes));
        world.key(json!({ "name": name, "extractable": false, "payload": payload }))
    };
    let (generated, imported) = (new("generated", None), new("imported", Some(MATERIAL)));
    let plain = |material: &[u8]| json!({ "payload": STANDARD.encode(material) });
    let restore = async |id: &str, material: &Value| {
        let path = format!("keys/{id}/restore");
        let answer = world.post(&path, &wrapped(material)).await;
        (answer.status, answer.code().map(str::to_owned))
    };
    let code = |text: &str| Some(text.to_owned());
    assert_eq!(
        restore(&imported, &plain(MATERIAL)).await,
        (409, code("KEY_ACTION_INVALID_STATE_ERR"))
    );
    for id in [&generated, &imported] {
        world.send(Method::DELETE, &format!("keys/{id}")).await;
    }
    world.emulator.set_clock_offset(31);
    assert_eq!(
        restore(&generated, &plain(MATERIAL)).await,
        (400, code("KEY_IMPT_REQ_ERR"))
    );
    assert_eq!(
        restore(&imported, &plain(OTHER_MATERIAL)).await,
        (400, code("INVALID_FIELD_ERR"))
    );
    let mut wrong_nonce = token.import(MATERIAL);
    wrong_nonce["encryptedNonce"] =
        json!(STANDARD.encode(cipher::seal(MATERIAL, &IV, b"", &[0; 12]).unwrap()));
    assert_eq!(
        restore(&imported, &wrong_nonce).await,
        (400, code("INCORRECT_NONCE_ERR"))
    );
    assert_eq!(
        restore(&imported, &token.import(MATERIAL)).await,
        (201, None)
    );
    // Without any, as IBM's client asks, either is restored.
    assert_eq!(
        world
            .send(Method::POST, &format!("keys/{generated}/restore"))
            .await
            .status,
        201
    );
}
