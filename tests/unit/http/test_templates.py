"""A request names a template in place of a text; what it says wrong is told like any field, and values stay text."""

from typing import Any

import pytest
from msgspec.structs import replace

from relay.domain.codes import MessageType
from relay.domain.templates import TemplateBook, parse_templates
from support.front import REQUEST, Front, Reply

SOURCE = """
[[template]]
name = "order_sent"
version = 1
[template.text]
en = "Old."

[[template]]
name = "order_sent"
version = 2
max_segments = 1
[template.values]
order = 12
[template.text]
en = "Your order {{ order }} is on its way."
pcm = "Your order {{ order }} dey come."

[[template]]
name = "code"
message_type = "otp"
unicode = true
[template.values]
name = 20
code = 6
[template.text]
en = "{{ name }}, your code is {{ code }}."
"""
ORDER = {"name": "order_sent", "values": {"order": "1204"}}
CODE = {"name": "code", "values": {"name": "\u1eccl\u00e1", "code": "123456"}}


@pytest.fixture
def front() -> Front:
    front = Front()
    rules = front.core.rules
    front.core.rules = replace(rules, templates=TemplateBook(parse_templates(SOURCE, rules.matcher)))
    return front


async def send(front: Front, template: Any, path: str = "/v1/notifications", **fields: Any) -> Reply:
    request = {name: value for name, value in REQUEST.items() if name != "message"}
    headers = fields.pop("headers", {})
    return await front.request("POST", path, request | {"template": template} | fields, headers)


def texts(front: Front) -> list[str | None]:
    return [stored.notification.message for stored in front.core.stored.values()]


def errors(reply: Reply) -> list[tuple[str, str]]:
    return [(error["field"], error["code"]) for error in reply.json()["errors"]]


async def test_the_text_of_the_template_goes_out_with_its_type(front: Front) -> None:
    order = await send(front, ORDER)
    pidgin = await send(front, ORDER | {"language": "pcm"})
    old = await send(front, {"name": "order_sent", "version": 1})
    code = await send(front, CODE)

    assert [reply.status for reply in (order, pidgin, old, code)] == [200] * 4
    assert texts(front) == [
        "Your order 1204 is on its way.",
        "Your order 1204 dey come.",
        "Old.",
        "\u1eccl\u00e1, your code is 123456.",
    ]
    assert [reply.json()["message_type"] for reply in (order, code)] == ["transactional", "otp"]


@pytest.mark.parametrize("hostile", ["{{ order }}", "{% raw %}", "{{ 7*7 }}", "<b>&amp;"])
async def test_a_value_that_looks_like_a_template_is_sent_as_it_is(front: Front, hostile: str) -> None:
    assert (await send(front, {"name": "order_sent", "values": {"order": hostile}})).status == 200
    assert texts(front) == [f"Your order {hostile} is on its way."]


@pytest.mark.parametrize(
    ("template", "wrong"),
    [
        ({"name": "nothing"}, [("template.name", "unknown_template")]),
        (ORDER | {"version": 7}, [("template.version", "unlisted_value")]),
        (ORDER | {"language": "fr"}, [("template.language", "unlisted_value")]),
        ({"name": "order_sent"}, [("template.values.order", "required")]),
        ({"name": "order_sent", "values": {"order": 7}}, [("template.values.order", "not_a_string")]),
        ({"name": "order_sent", "values": {"order": ["x"]}}, [("template.values.order", "not_a_string")]),
        ({"name": "order_sent", "values": {"order": "x" * 13}}, [("template.values.order", "too_long")]),
        (
            {"name": "order_sent", "values": {"order": "1", "canary-a": "canary-b", "c": 1}},
            [("template.values", "undeclared_value")],
        ),
        ({"values": {}}, [("template.name", "required")]),
        (ORDER | {"canary-x": 1}, [("template.(unknown)", "unknown_field")]),
        (ORDER | {"values": []}, [("template.values", "not_an_object")]),
        (ORDER | {"version": "2"}, [("template.version", "not_an_integer")]),
        ("order_sent", [("template", "not_an_object")]),
        ([], [("template", "not_an_object")]),
    ],
)
async def test_what_is_wrong_with_a_template_is_told_by_our_names_only(
    front: Front, template: Any, wrong: list[tuple[str, str]]
) -> None:
    reply = await send(front, template)

    assert (reply.status, reply.code) == (422, "validation_failed")
    assert errors(reply) == wrong
    assert b"canary" not in reply.body


async def test_all_that_is_wrong_is_told_at_once(front: Front) -> None:
    reply = await send(front, ORDER | {"values": {}}, recipients=["12"], reference="a b")

    assert errors(reply) == [
        ("recipients[0]", "too_short"),
        ("template.values.order", "required"),
        ("reference", "malformed"),
    ]
    malformed = await send(front, {"name": 5}, recipients=["12"], strict="x")
    assert set(errors(malformed)) == {
        ("template.name", "not_a_string"),
        ("strict", "not_a_boolean"),
        ("recipients[0]", "too_short"),
    }


async def test_a_request_has_a_message_or_a_template(front: Front) -> None:
    both = await send(front, ORDER, message="Hello.")
    neither = await send(front, None)
    null = await send(front, None, message="Hello.")

    assert errors(both) == [("template", "beside_message")]
    assert errors(neither) == [("message", "required")]
    assert null.status == 200


async def test_another_message_type_than_the_templates_is_refused(front: Front) -> None:
    other = await send(front, ORDER, message_type="otp")

    assert errors(other) == [("message_type", "not_the_templates")]
    assert (await send(front, ORDER, message_type="transactional")).status == 200


async def test_the_templates_type_must_be_allowed_to_the_client(front: Front) -> None:
    front.clients["billing"] = replace(front.clients["billing"], message_types=frozenset({MessageType.TRANSACTIONAL}))

    assert (await send(front, CODE)).code == "message_type_not_allowed"


@pytest.mark.parametrize("value", ["\u20a6500", "\U0001f600", "\u1ecc"])
async def test_a_value_outside_gsm_7_is_refused_unless_the_template_is_in_unicode(front: Front, value: str) -> None:
    refused = await send(front, {"name": "order_sent", "values": {"order": value}})
    taken = await send(front, {"name": "code", "values": {"name": value, "code": "1"}})

    assert (refused.status, refused.code) == (422, "non_gsm_value")
    assert errors(refused) == [("template.values.order", "non_gsm_value")]
    assert taken.status == 200


async def test_a_request_may_ask_for_less_than_the_template_may_take(front: Front) -> None:
    reply = await send(front, {"name": "code", "values": {"name": "\u1ecc" * 20, "code": "1" * 6}}, max_segments=1)
    assert reply.status == 200

    rules = front.core.rules
    long = '[[template]]\nname = "long"\n[template.text]\nen = "' + "x" * 161 + '"\n'
    front.core.rules = replace(rules, templates=TemplateBook(parse_templates(long, rules.matcher)))
    refused = await send(front, {"name": "long"}, max_segments=1)
    assert (refused.code, errors(refused)) == ("too_many_segments", [("template", "too_many_segments")])


async def test_a_blocked_word_that_a_value_brings_in_is_refused(front: Front) -> None:
    rules = front.core.rules
    source = '[[template]]\nname = "free"\n[template.values]\ntext = 40\n[template.text]\nen = "You {{ text }}"\n'
    front.core.rules = replace(rules, templates=TemplateBook(parse_templates(source, rules.matcher)))
    reply = await send(front, {"name": "free", "values": {"text": "have won"}})

    assert reply.code == "blocked_words"
    assert reply.json()["hits"][0]["start"] == 0


async def test_a_client_that_sends_by_templates_only_is_refused_texts_of_its_own(front: Front) -> None:
    front.clients["billing"] = replace(front.clients["billing"], templates_only=True)
    refused = await front.send()

    assert (refused.status, refused.code) == (403, "template_required")
    assert (await send(front, ORDER)).status == 200
    batch = await front.request("POST", "/v1/notifications/batch", [REQUEST])
    assert batch.json()["items"][0]["problem"]["code"] == "template_required"


async def test_batch_and_preview_take_templates(front: Front) -> None:
    request = {name: value for name, value in REQUEST.items() if name != "message"} | {"template": ORDER}
    batch = await front.request(
        "POST", "/v1/notifications/batch", [request, request | {"template": {"name": "x"}}, request | {"message": "m"}]
    )
    preview = (await send(front, ORDER, "/v1/notifications/preview")).json()
    wrong = (
        await send(front, {"name": "order_sent", "values": {"order": "\u20a6"}}, "/v1/notifications/preview")
    ).json()

    codes = [item.get("status") or item["problem"]["errors"][0]["code"] for item in batch.json()["items"]]
    assert codes == ["queued", "unknown_template", "beside_message"]
    assert (preview["acceptable"], preview["text"]["segments"], preview["text"]["characters"]) == (True, 1, 30)
    assert (wrong["acceptable"], wrong["problems"][0]["code"]) == (False, "non_gsm_value")


async def test_a_value_whose_name_comes_twice_is_refused(front: Front) -> None:
    body = (
        b'{"recipients": "2348031234567", "template": {"name": "order_sent", "values": {"order": "1", "order": "2"}}}'
    )

    assert (await front.request("POST", "/v1/notifications", body)).code == "invalid_json"


async def test_the_templates_are_listed_with_versions_values_and_worst_case(front: Front) -> None:
    reply = await front.request("GET", "/v1/templates")
    code, order = reply.json()["items"]

    assert (code["name"], order["name"]) == ("code", "order_sent")
    assert [version["version"] for version in order["versions"]] == [2, 1]
    assert order["versions"][0] == {
        "version": 2,
        "message_type": "transactional",
        "languages": ["en", "pcm"],
        "values": {"order": 12},
        "unicode": False,
        "max_segments": 1,
        "worst_case": {"encoding": "gsm-7", "segments": 1},
    }
    assert (await front.request("GET", "/v1/templates", key=None)).status == 401
