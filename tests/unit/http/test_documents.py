"""The reference pages come from the relay alone, load nothing from elsewhere, and explain every code."""

import html
import re

import pytest

from relay.domain.codes import ProblemCode
from support.front import DOCUMENT, Front

PAGES = ["/docs", "/docs/problems", "/docs/webhooks"]


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_loads_only_what_the_relay_itself_serves(path: str) -> None:
    front = Front(key=None)
    reply = await front.request("GET", path)
    text = reply.body.decode()
    loaded = re.findall(r'<(?:script|link|img|iframe)\b[^>]*?(?:src|href)="([^"]*)"', text)

    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert loaded
    for address in loaded:
        if address != "data:,":
            asset = await front.request("GET", address)
            assert asset.status == 200, address
            assert re.search(r"https?://|url\(", asset.body.decode()) is None
    assert "style=" not in text
    assert re.search(r"<script(?![^>]*src)|<style|\son\w+=", text) is None


@pytest.mark.parametrize("path", [*PAGES, "/docs/docs.js", "/docs/docs.css"])
async def test_the_browser_is_told_to_load_nothing_else(path: str) -> None:
    reply = await Front(key=None).request("GET", path)
    policy = reply.headers["content-security-policy"]

    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert reply.headers["x-content-type-options"] == "nosniff"


async def test_every_problem_type_points_to_a_place_on_a_page() -> None:
    front = Front(key=None)
    reply = await front.request("GET", "/nowhere")
    path, _, fragment = reply.json()["type"].partition("#")
    page = (await front.request("GET", path)).body.decode()

    assert f'id="{fragment}"' in page
    for code in ProblemCode:
        assert f'<section id="{code.value}">' in page


async def test_the_reference_shows_every_operation_and_every_link_in_it_leads_somewhere() -> None:
    front = Front(key=None)
    page = (await front.request("GET", "/docs")).body.decode()
    text = html.unescape(page)

    for operation in (each for methods in DOCUMENT["paths"].values() for each in methods.values()):
        assert f'<section id="{operation["operationId"]}">' in page
        assert operation["summary"] in text
    for address in set(re.findall(r'href="([^"]+)"', page)):
        if address.startswith("#"):
            assert f'id="{address[1:]}"' in page, address
        elif address != "data:,":
            target, _, fragment = address.partition("#")
            leads_to = await front.request("GET", target)
            assert leads_to.status == 200, address
            assert not fragment or f'id="{fragment}"' in leads_to.body.decode(), address


async def test_the_reference_begins_with_sending_a_message() -> None:
    text = (await Front(key=None).request("GET", "/docs")).body.decode()

    operations = re.findall(r'<section id="([A-Za-z]+)"', text)
    assert operations[:2] == ["sendNotification", "sendBatch"]


async def test_a_code_that_an_answer_names_leads_to_its_explanation() -> None:
    page = (await Front(key=None).request("GET", "/docs")).body.decode()

    assert '<a href="/docs/problems#upstream_no_balance"><code>upstream_no_balance</code></a>' in page
    assert "<td></td></tr>" not in page, "a field without a meaning"


@pytest.mark.parametrize(("target", "status"), [("/", 302), ("//", 404), ("/?x=1", 404)])
async def test_the_address_alone_leads_to_the_reference(target: str, status: int) -> None:
    reply = await Front(key=None).request("GET", target)

    assert reply.status == status
    assert reply.headers.get("location") == ("/docs" if status == 302 else None)
    assert (reply.body == b"") == (status == 302)
