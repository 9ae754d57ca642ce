"""Name look-ups: what they find, and that nothing they meet is an error."""

import asyncio

import pytest

from relay.smsclone.host_lookup import HostLookup


@pytest.mark.parametrize("literal", ["192.0.2.1", "2001:db8::1"])
async def test_an_address_is_its_own_answer(literal: str) -> None:
    assert await HostLookup(literal, 443).find() == [literal]


async def test_a_name_that_is_no_name_has_no_address() -> None:
    assert await HostLookup("x" * 300, 443).find() == []


async def test_those_who_ask_together_get_the_same_answer() -> None:
    lookup = HostLookup("localhost", 443)
    first, second = await asyncio.gather(lookup.find(), lookup.find())

    assert first == second
    assert "127.0.0.1" in first
    assert len(set(first)) == len(first)
