"""Drives the emulator through IBM's own Python client, unchanged.

Nothing here mends or mocks the client: only its settings for the address, the
credentials and the authority of the certificate are used, as a customer would.
"""

import base64
import io
import json

import pytest
from ibm_cloud_sdk_core import ApiException
from ibm_cloud_sdk_core.authenticators import IAMAuthenticator
from keyprotect.ibm_key_protect_api_v2 import IbmKeyProtectApiV2

from emulator import API_KEY, INSTANCE, READER_KEY, Emulator


@pytest.fixture
def emulator(monkeypatch):
    with Emulator() as running:
        # The client's HTTP library takes the authority from here.
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", running.ca)
        monkeypatch.setenv("NO_PROXY", "*")
        yield running


def client(emulator, api_key=API_KEY):
    service = IbmKeyProtectApiV2(authenticator=IAMAuthenticator(api_key, url=emulator.api))
    service.set_service_url(emulator.api)
    return service


@pytest.fixture
def service(emulator):
    return client(emulator)


def body(**resource):
    envelope = {
        "metadata": {"collectionType": "application/vnd.ibm.kms.key+json", "collectionTotal": 1},
        "resources": [{"type": "application/vnd.ibm.kms.key+json", **resource}],
    }
    return io.BytesIO(json.dumps(envelope).encode())


def create(service, prefer="return=representation", ring=None, **resource):
    answer = service.create_key(INSTANCE, body(**resource), prefer=prefer, x_kms_key_ring=ring)
    assert answer.get_status_code() == 201
    return answer.get_result().json()["resources"][0]


def refused(call):
    with pytest.raises(ApiException) as caught:
        call()
    error = caught.value
    resource = error.http_response.json()["resources"][0]
    codes = [reason["code"] for reason in resource.get("reasons", [])]
    return error.status_code, (codes or [None])[0]


def test_keys_are_created_listed_and_read(service):
    secret = base64.b64encode(b"any \x00 bytes").decode()
    key = create(service, name="imported", payload=secret, aliases=["db-password"])
    generated = create(service, name="generated", extractable=True)
    root = create(service, name="root", extractable=False)
    assert key["payload"] == secret and "payload" not in root
    assert len(base64.b64decode(generated["payload"])) == 32

    listed = service.get_keys(INSTANCE).get_result()
    assert listed["metadata"]["collectionTotal"] == 3
    assert [row["id"] for row in listed["resources"]] == sorted(k["id"] for k in (key, generated, root))
    assert all("payload" not in row for row in listed["resources"])
    standard = service.get_keys(INSTANCE, extractable=True, state=[1], limit=1, offset=1)
    assert len(standard.get_result()["resources"]) == 1
    found = service.get_keys(INSTANCE, search="exact:alias:db-password").get_result()
    assert [row["id"] for row in found["resources"]] == [key["id"]]
    newest = service.get_keys(INSTANCE, sort="-creationDate", filter="extractable=false")
    assert [row["id"] for row in newest.get_result()["resources"]] == [root["id"]]
    total = service.get_key_collection_metadata(INSTANCE, state=[0, 1, 2, 3], extractable=True)
    assert total.get_headers()["Key-Total"] == "2"

    for name in (key["id"], "db-password"):
        read = service.get_key(name, INSTANCE).get_result()["resources"][0]
        assert (read["payload"], read["imported"]) == (secret, True)
    metadata = service.get_key_metadata("db-password", INSTANCE).get_result()["resources"][0]
    assert "payload" not in metadata and metadata["aliases"] == ["db-password"]


def test_aliases_are_created_and_deleted(service):
    key, other = create(service, name="one"), create(service, name="two")
    made = service.create_key_alias(key["id"], "current", INSTANCE)
    assert made.get_status_code() == 201
    taken = refused(lambda: service.create_key_alias(other["id"], "current", INSTANCE))
    assert taken == (409, "ALIAS_NOT_UNIQUE_ERR")
    assert service.delete_key_alias(key["id"], "current", INSTANCE).get_status_code() == 204
    service.create_key_alias(other["id"], "current", INSTANCE)
    assert service.get_key("current", INSTANCE).get_result()["resources"][0]["id"] == other["id"]


def test_rings_hold_keys_and_go_when_empty(service):
    assert service.create_key_ring("test-ring", INSTANCE).get_status_code() == 201
    key = create(service, name="ringed", ring="test-ring")
    assert key["keyRingID"] == "test-ring"
    rings = service.list_key_rings(INSTANCE, total_count=True).get_result()
    assert [ring["id"] for ring in rings["resources"]] == ["default", "test-ring"]
    assert rings["metadata"]["totalCount"] == 2
    wrong = refused(lambda: service.get_key(key["id"], INSTANCE, x_kms_key_ring="default"))
    assert wrong == (404, "KEY_NOT_FOUND_ERR")
    full = refused(lambda: service.delete_key_ring("test-ring", INSTANCE, force=False))
    assert full[0] == 409
    patch = io.BytesIO(json.dumps({"keyRingID": "default"}).encode())
    moved = service.patch_key(key["id"], INSTANCE, key_patch_body=patch, x_kms_key_ring="test-ring")
    assert moved.get_status_code() == 200
    assert service.delete_key_ring("test-ring", INSTANCE, force=False).get_status_code() == 204


def test_keys_are_deleted_and_restored(emulator, service):
    key = create(service, name="mortal", payload="aGVsbG8=")
    gone = service.delete_key(key["id"], INSTANCE, prefer="return=representation")
    assert gone.get_status_code() == 200
    assert refused(lambda: service.delete_key(key["id"], INSTANCE)) == (410, "KEY_DELETED_ERR")
    assert "resources" not in service.get_keys(INSTANCE).get_result()
    deleted = service.get_keys(INSTANCE, state=[5]).get_result()["resources"][0]
    assert (deleted["state"], deleted["deleted"]) == (5, True)
    read = service.get_key(key["id"], INSTANCE).get_result()["resources"][0]
    assert "payload" not in read
    early = refused(lambda: service.restore_key(key["id"], INSTANCE))
    assert early == (409, "REQ_TOO_EARLY_ERR")
    emulator.admin("PUT", "/clock", {"offsetSeconds": 31})
    restored = service.restore_key(key["id"], INSTANCE, prefer="return=representation")
    assert restored.get_status_code() == 201
    assert service.get_key(key["id"], INSTANCE).get_result()["resources"][0]["payload"] == "aGVsbG8="
    assert service.delete_key(key["id"], INSTANCE, prefer="return=minimal").get_status_code() == 204


def test_root_keys_are_disabled_and_enabled(emulator, service):
    root, standard = create(service, name="root", extractable=False), create(service, name="standard")
    assert service.disable_key(root["id"], INSTANCE).get_status_code() == 204
    assert service.get_key_metadata(root["id"], INSTANCE).get_result()["resources"][0]["state"] == 2
    emulator.admin("PUT", "/clock", {"offsetSeconds": 31})
    assert service.enable_key(root["id"], INSTANCE).get_status_code() == 204
    assert refused(lambda: service.disable_key(standard["id"], INSTANCE)) == (400, "KEY_ROOT_REQ_ERR")


def test_errors_are_those_of_the_service(emulator, service):
    unknown = "11111111-2222-4333-8444-555555555555"
    assert refused(lambda: service.get_key(unknown, INSTANCE)) == (404, "KEY_NOT_FOUND_ERR")
    assert refused(lambda: service.get_keys(INSTANCE, limit=5001))[0] == 400
    big = base64.b64encode(bytes(7501)).decode()
    large = refused(lambda: service.create_key(INSTANCE, body(name="big", payload=big)))
    assert large == (400, "INVALID_FIELD_ERR")
    assert refused(lambda: service.create_key(INSTANCE, body(name="key", colour="red"))) == (400, "BAD_BODY_ERR")

    key = create(service, name="secret")
    reader = client(emulator, READER_KEY)
    assert reader.get_key_metadata(key["id"], INSTANCE).get_status_code() == 200
    assert refused(lambda: reader.get_key(key["id"], INSTANCE)) == (401, None)
    stranger = client(emulator, "no such key")
    with pytest.raises(ApiException) as caught:
        stranger.get_keys(INSTANCE)
    assert caught.value.status_code == 400
    assert caught.value.http_response.json()["errorCode"] == "BXNIM0415E"


def test_retries_of_the_client_get_over_a_429(emulator, service):
    service.enable_retries(max_retries=2, retry_interval=0.1)
    fault = {"match": {"operation": "list"}, "times": 1, "effect": {"status": 429, "retryAfter": 1}}
    emulator.admin("PUT", "/faults/busy", fault)
    assert service.get_keys(INSTANCE).get_status_code() == 200
    served = emulator.admin("GET", "/requests?operation=list")["requests"]
    assert [request["status"] for request in served] == [429, 200]


def test_data_keys_are_wrapped_bound_to_their_data_and_wrapped_anew(emulator, service):
    root = create(service, name="root", extractable=False)

    def act(action, **members):
        call = getattr(service, f"{action}_key")
        return call(root["id"], INSTANCE, **{f"key_action_{action}_body": io.BytesIO(json.dumps(members).encode())})

    generated = act("wrap", aad=["one"]).get_result().json()
    opened = act("unwrap", ciphertext=generated["ciphertext"], aad=["one"]).get_result().json()
    assert opened["plaintext"] == generated["plaintext"] and "ciphertext" not in opened
    wrong = refused(lambda: act("unwrap", ciphertext=generated["ciphertext"], aad=["two"]))
    assert wrong == (422, "UNPROCESSABLE_CIPHERTEXT_ERR")

    assert service.rotate_key(root["id"], INSTANCE).get_status_code() == 204
    assert refused(lambda: service.rotate_key(root["id"], INSTANCE)) == (409, "KEY_ROTATION_NOT_PERMITTED")
    versions = service.get_key_versions(root["id"], INSTANCE, total_count=True).get_result()
    newest, oldest = (version["id"] for version in versions["resources"])
    assert versions["metadata"]["totalCount"] == 2 and oldest == generated["keyVersion"]["id"]
    old = act("unwrap", ciphertext=generated["ciphertext"], aad=["one"]).get_result().json()
    assert (old["keyVersion"]["id"], old["rewrappedKeyVersion"]["id"]) == (oldest, newest)
    new = act("unwrap", ciphertext=old["ciphertext"], aad=["one"]).get_result().json()
    assert (new["plaintext"], new["keyVersion"]["id"]) == (generated["plaintext"], newest)


def test_a_key_under_dual_authorization_takes_two_people_to_delete(emulator, service):
    key = create(service, name="guarded", extractable=False)
    policy = {
        "metadata": {"collectionType": "application/vnd.ibm.kms.policy+json", "collectionTotal": 1},
        "resources": [{"type": "application/vnd.ibm.kms.policy+json", "dualAuthDelete": {"enabled": True}}],
    }
    service.put_policy(key["id"], INSTANCE, key_policy_put_body=policy, policy="dualAuthDelete")
    assert refused(lambda: service.delete_key(key["id"], INSTANCE)) == (409, "AUTHORIZATIONS_NOT_MET")
    assert service.set_key_for_deletion(key["id"], INSTANCE).get_status_code() == 204
    metadata = service.get_key_metadata(key["id"], INSTANCE).get_result()["resources"][0]
    assert metadata["dualAuthDelete"]["keySetForDeletion"] is True
    # The same person twice is still one.
    assert refused(lambda: service.delete_key(key["id"], INSTANCE)) == (409, "AUTHORIZATIONS_NOT_MET")
    roles = [{"instance": INSTANCE, "role": "Manager"}]
    emulator.admin("POST", "/service-ids", {"name": "second", "apiKey": "second-key", "roles": roles})
    assert client(emulator, "second-key").delete_key(key["id"], INSTANCE).get_status_code() == 200
