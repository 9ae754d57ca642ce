"""Presets: what each sender posts becomes the right SMS, and its repetition no second one."""

import copy
import json
import time
from pathlib import Path
from typing import Any

import pytest

from relay.domain.codes import Source
from relay.domain.secret import Secret
from relay.sending.requests import Submission
from relay.settings import ReceiverSettings, SettingsError, SignatureScheme, load_settings
from relay.settings.presets import Preset, list_presets
from relay.webhooks.lenient_json import decode_document, mend
from relay.webhooks.receivers import Receiver, make_receivers, page_message
from relay.webhooks.signatures import make_signatures
from support.senders import (
    ON_CALL,
    PERSON,
    SECRET,
    SENDERS,
    STANDARD_SECRET,
    Headers,
    Sender,
    sign_standard,
    sign_zitadel,
)

NOW = 1_796_119_200_042
CLIENT = '[[clients]]\nname = "a"\nsenders = ["ACME"]\ndefault_sender = "ACME"\n'


def receiver_of(preset: str, tmp_path: Path, settings: str | None = None) -> Receiver:
    """A receiver as the settings make it."""
    path = tmp_path / "relay.toml"
    own = SENDERS[preset].settings if settings is None else settings
    path.write_text(f'{CLIENT}[[receivers]]\nname = "r"\nclient = "a"\npreset = "{preset}"\n{own}\n')
    return make_receivers(load_settings({}, path).receivers)["r"]


def pages_of(receiver: Receiver, document: Any) -> tuple[Submission, ...]:
    body = json.dumps(document).encode()
    message = receiver.mapping.read(decode_document(mend(body)))
    return page_message(receiver, message, body, NOW).submissions


def test_every_sender_of_the_contract_has_a_preset_and_every_preset_a_payload() -> None:
    contract = "supabase zitadel novu authentik uptime-kuma zabbix argocd sentry cloudevents"

    assert set(list_presets()) == set(SENDERS) == set(contract.split())


@pytest.mark.parametrize("name", SENDERS)
def test_the_documented_payload_becomes_the_right_message(tmp_path: Path, name: str) -> None:
    sender = SENDERS[name]
    receiver = receiver_of(name, tmp_path)
    message = receiver.mapping.read(sender.body)
    [page] = pages_of(receiver, sender.body)

    assert (page.message, tuple(number.lstrip("+") for number in page.recipients)) == (sender.text, sender.recipients)
    assert message.ignored == 0
    assert message.deduplication_key


@pytest.mark.parametrize("name", SENDERS)
def test_a_repetition_is_known_again_and_another_message_is_not(tmp_path: Path, name: str) -> None:
    receiver = receiver_of(name, tmp_path)
    body = SENDERS[name].body
    later = {"changedLater": 1, **body}
    [first], [again] = pages_of(receiver, body), pages_of(receiver, later)

    assert first.deduplication == again.deduplication
    for other in others(body):
        [page] = pages_of(receiver, other)
        assert page.deduplication != first.deduplication


def others(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Bodies that are about something else: another code, event, state, or time."""
    changed: list[dict[str, Any]] = []
    for path in (
        ("sms", "otp"),
        ("templateData", "text"),
        ("Body",),
        ("heartbeat", "status"),
        ("heartbeat", "time"),
        ("EventID",),
        ("EventValue",),
        ("app", "status", "health", "status"),
        ("app", "status", "operationState", "finishedAt"),
        ("data", "event", "event_id"),
        ("id",),
        ("source",),
    ):
        other = copy.deepcopy(body)
        place = other
        for name in path[:-1]:
            place = place.get(name, {})
        if path[-1] in place:
            place[path[-1]] = 1 if isinstance(place[path[-1]], int) else "other"
            changed.append(other)
    assert changed
    return changed


@pytest.mark.parametrize(
    ("name", "body", "text"),
    [
        ("supabase", {"user": {"phone": ""}, "sms": {"otp": "1", "phone": PERSON}}, "Your code is 1."),
        ("novu", {"to": PERSON, "content": "Hello", "sender": "Novu"}, "Hello"),
        ("authentik", {"To": PERSON, "Body": "123456"}, "123456"),
        ("uptime-kuma", {"heartbeat": None, "monitor": None, "msg": "Kuma Testing"}, "Kuma Testing"),
        (
            "uptime-kuma",
            {"heartbeat": {"status": 1, "msg": "200 - OK"}, "monitor": {"name": "Shop"}, "msg": "x"},
            "[Shop] [Up] 200 - OK",
        ),
        ("zabbix", {"to": "nobody", "subject": "Resolved: x", "message": ""}, "Resolved: x"),
        (
            "zabbix",
            {"sendto": PERSON, "alert_subject": "Problem: x", "alert_message": "y", "event_id": 7},
            "Problem: x\ny",
        ),
        ("argocd", {"metadata": {"name": "a"}, "status": {"health": {"status": "Missing"}}}, "a Missing"),
        ("argocd", {"app": "shop", "sync": "Synced", "health": "Healthy", "message": None}, "shop Synced Healthy"),
        ("argocd", {"message": "Application shop has degraded."}, "Application shop has degraded."),
        (
            "sentry",
            {
                "action": "resolved",
                "data": {
                    "metric_alert": {"id": 7},
                    "description_title": "Resolved: Too many errors",
                    "description_text": "1000 events",
                },
            },
            "Resolved: Too many errors: 1000 events",
        ),
        ("sentry", {"action": "created", "data": {"issue": {"id": "1", "title": "TypeError"}}}, "created: TypeError"),
        ("cloudevents", {"id": "1", "source": "/a", "type": "t", "data": "Plain text"}, "Plain text"),
        ("cloudevents", {"id": "1", "source": "/a", "type": "order.failed", "subject": "12"}, "order.failed 12"),
        ("cloudevents", {"id": 1, "source": "/a", "type": "order.failed", "data": {"x": 1}}, "order.failed"),
    ],
)
def test_other_documented_forms_are_read_too(tmp_path: Path, name: str, body: Any, text: str) -> None:
    receiver = receiver_of(name, tmp_path)
    [page] = pages_of(receiver, body)

    assert page.message == text
    assert receiver.mapping.read(body).ignored == 0


@pytest.mark.parametrize(
    ("user", "sms", "recipient"),
    [
        ({"phone": PERSON}, {"sms_type": "confirmation"}, PERSON),
        ({"phone": ON_CALL, "new_phone": PERSON}, {"sms_type": "phone_change"}, PERSON),
        ({"phone": PERSON, "new_phone": ON_CALL}, {"sms_type": "reauthentication"}, PERSON),
        ({"phone": ON_CALL, "new_phone": ON_CALL}, {"phone": PERSON, "sms_type": "phone_change"}, PERSON),
    ],
)
def test_a_code_of_supabase_goes_to_the_number_that_it_is_about(
    tmp_path: Path, user: dict[str, str], sms: dict[str, str], recipient: str
) -> None:
    [page] = pages_of(receiver_of("supabase", tmp_path), {"user": user, "sms": sms | {"otp": "561166"}})

    assert page.recipients == (recipient,)


def test_an_emoji_of_the_sender_does_not_double_what_the_message_costs(tmp_path: Path) -> None:
    [page] = pages_of(receiver_of("uptime-kuma", tmp_path), SENDERS["uptime-kuma"].body)

    assert page.message.isascii()


def test_a_receivers_own_settings_go_first_field_by_field(tmp_path: Path) -> None:
    own = f"""
hmac_secret = "{STANDARD_SECRET}"
message_type = "transactional"
expires_seconds = 120
fields.message = "join('', ['ACME: ', sms.otp])"
"""
    receiver = receiver_of("supabase", tmp_path, own)
    [page] = pages_of(receiver, SENDERS["supabase"].body)

    assert page.message == "ACME: 561166"
    assert page.recipients == (PERSON,)
    assert (page.message_type, page.expires_at) == ("transactional", NOW + 120_000)


def test_a_number_that_is_none_goes_to_the_receivers_own_recipients(tmp_path: Path) -> None:
    [page] = pages_of(receiver_of("zabbix", tmp_path), SENDERS["zabbix"].body | {"To": "ops@acme.example"})

    assert page.recipients == (ON_CALL,)


def mistakes_of(tmp_path: Path, preset: str, settings: str = "") -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        receiver_of(preset, tmp_path, settings)
    return {mistake.path: mistake.message for mistake in caught.value.errors}


def test_an_unknown_preset_stops_the_start_and_the_known_ones_are_named(tmp_path: Path) -> None:
    found = mistakes_of(tmp_path, "supabse", f'recipients = ["{ON_CALL}"]')

    assert set(found) == {"receivers[0].preset"}
    assert all(name in found["receivers[0].preset"] for name in list_presets())
    assert "supabse" not in found["receivers[0].preset"]


@pytest.mark.parametrize("name", ["supabase", "zitadel", "sentry"])
def test_who_signs_needs_its_secret(tmp_path: Path, name: str) -> None:
    assert set(mistakes_of(tmp_path, name, f'recipients = ["{ON_CALL}"]')) == {"receivers[0].hmac_secret"}
    assert receiver_of(name, tmp_path, f'recipients = ["{ON_CALL}"]\nsignature = "none"').signatures == {}


@pytest.mark.parametrize("secret", ["v1,whsec_", "whsec_short", "no base64 at all!", "v1,"])
def test_a_secret_that_is_none_of_standard_webhooks_is_found_at_the_start(tmp_path: Path, secret: str) -> None:
    found = mistakes_of(tmp_path, "supabase", f'hmac_secret = "{secret}"')

    assert set(found) == {"receivers[0].hmac_secret"}
    assert secret not in found["receivers[0].hmac_secret"]


def test_a_signature_in_a_header_needs_its_name(tmp_path: Path) -> None:
    settings = 'recipients = ["08031234567"]\nhmac_secret = "x"\nsignature = "hmac-sha256"'

    assert set(mistakes_of(tmp_path, "argocd", settings)) == {"receivers[0].signature_header"}


@pytest.mark.parametrize("name", ["uptime-kuma", "argocd", "sentry", "cloudevents"])
def test_somebody_must_get_the_message(tmp_path: Path, name: str) -> None:
    assert set(mistakes_of(tmp_path, name, 'signature = "none"')) == {"receivers[0].recipients"}


@pytest.mark.parametrize("preset", list_presets().values(), ids=list_presets())
def test_a_preset_says_what_to_enter_and_its_example_is_a_receiver(tmp_path: Path, preset: Preset) -> None:
    example = preset.example
    for line in example.splitlines():
        if line.startswith("hmac_secret_file"):
            secret = tmp_path / "secret"
            secret.write_text(STANDARD_SECRET)
            example = example.replace(line, f"hmac_secret_file = {json.dumps(str(secret))}")
    path = tmp_path / "relay.toml"
    client = example.split('client = "')[1].split('"')[0]
    path.write_text(CLIENT.replace('"a"', f'"{client}"') + example)

    [receiver] = load_settings({}, path).receivers
    assert receiver.preset is not None
    assert list_presets()[receiver.preset] is preset
    assert preset.source.startswith("https://")
    assert len(preset.setup) > 200


# --- signatures -----------------------------------------------------------------------------------------------------


def is_genuine(sender: Sender, name: str, body: bytes, headers: Headers, now_ms: int) -> bool:
    scheme = SignatureScheme(list_presets()[name].receiver["signature"])
    secret = STANDARD_SECRET if scheme is SignatureScheme.STANDARD_WEBHOOKS else SECRET
    settings = ReceiverSettings(
        name="r",
        client="a",
        signature=scheme,
        signature_header=list_presets()[name].receiver.get("signature_header"),
        hmac_secret=Secret(secret),
    )
    wire = {key.lower().encode(): value.encode("latin-1") for key, value in headers.items()}
    return make_signatures(settings)[Source.GENERIC].is_genuine(body, wire, now_ms)


SIGNING = {name: sender for name, sender in SENDERS.items() if sender.sign is not None}


@pytest.fixture
def now_ms() -> int:
    """Real time: the reference library of Standard Webhooks looks at the clock itself."""
    return int(time.time() * 1000)


@pytest.mark.parametrize("name", SIGNING)
def test_the_senders_signature_is_genuine_and_any_change_makes_it_wrong(name: str, now_ms: int) -> None:
    sender = SIGNING[name]
    body, headers = sender.encoded, sender.credentials("", sender.encoded)
    [signed] = [key for key in headers if "signature" in key.lower()]

    assert is_genuine(sender, name, body, headers, now_ms)
    assert not is_genuine(sender, name, body + b" ", headers, now_ms)
    assert not is_genuine(sender, name, b"\xff", headers, now_ms)
    for wrong in (
        "",
        "x",
        "v1,",
        "v1,e30=",
        ",,,",
        "t=1,v1=aa",
        "t=,v1=",
        "sha256=",
        "é",
        "v1,a b",
        "0" * 64,
        "v" * 9_000,
    ):
        assert not is_genuine(sender, name, body, headers | {signed: wrong}, now_ms)
    assert not is_genuine(sender, name, body, {}, now_ms)


@pytest.mark.parametrize("name", ["supabase", "zitadel"])
@pytest.mark.parametrize("seconds", [-400, 400])
def test_an_old_signature_is_none(name: str, seconds: int, now_ms: int) -> None:
    body = SIGNING[name].encoded
    headers = (
        sign_standard(body, age_seconds=seconds)
        if name == "supabase"
        else sign_zitadel(body, at=now_ms // 1000 - seconds)
    )

    assert not is_genuine(SIGNING[name], name, body, headers, now_ms)


def test_while_a_secret_is_rotated_one_signature_of_several_is_enough(now_ms: int) -> None:
    """Supabase puts a comma and a blank between them, Standard Webhooks a blank, ZITADEL a comma."""
    supabase, zitadel = SIGNING["supabase"], SIGNING["zitadel"]
    headers = sign_standard(supabase.encoded)
    ours = headers["webhook-signature"]
    for several in (f"v1,b3RoZXI=, {ours}", f"{ours}, v1,b3RoZXI=", f"v1a,b3RoZXI= {ours}", f"{ours} v1,b3RoZXI="):
        assert is_genuine(supabase, "supabase", supabase.encoded, headers | {"webhook-signature": several}, now_ms)
    signed = sign_zitadel(zitadel.encoded)["ZITADEL-Signature"].replace(",v1=", f",v1={'0' * 64},v1=")
    assert is_genuine(zitadel, "zitadel", zitadel.encoded, {"ZITADEL-Signature": signed}, now_ms)
