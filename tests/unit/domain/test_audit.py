"""The audit's chain: whatever is changed, inserted or taken out afterwards is found."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from relay.domain.audit import FIRST, Act, Action, AuditRow, check_chain, hash_row, mask_digits, purge_reason

ACTIONS = [Action.SEARCH, Action.OPEN, Action.RESOLVE_SENT, Action.PAUSE]


def chain(length: int, *, begin: str = FIRST, first_id: int = 1) -> list[AuditRow]:
    """Rows as the journal writes them, newest first."""
    rows: list[AuditRow] = []
    before = begin
    for number in range(first_id, first_id + length):
        act = Act(at=1_000 * number, client="ops", key="k1", action=ACTIONS[number % 4], count=number)
        own = hash_row(number, act, before)
        rows.append(AuditRow(id=number, act=act, previous_hash=before, hash=own))
        before = own
    return rows[::-1]


def kinds(rows: list[AuditRow], newest_hash: str, expected: str | None = None) -> set[str]:
    return {finding.kind for finding in check_chain(rows, newest_hash, expected)}


@pytest.mark.parametrize("length", [0, 1, 2, 50])
def test_a_chain_as_it_was_written_is_whole(length: int) -> None:
    rows = chain(length)
    newest = rows[0].hash if rows else FIRST
    assert newest is not None

    assert check_chain(rows, newest) == []
    assert all(check_chain(rows, newest, row.hash) == [] for row in rows)


CHANGES: dict[str, Any] = {
    "at": 7,
    "client": "somebody",
    "key": None,
    "action": "other",
    "notification_id": "x",
    "other_id": "y",
    "count": None,
    "reason": "another",
}


@given(st.integers(1, 8), st.data())
def test_any_changed_field_of_any_row_is_found(length: int, data: st.DataObject) -> None:
    rows = chain(length)
    place = data.draw(st.integers(0, length - 1))
    field = data.draw(st.sampled_from([*CHANGES, "id", "hash", "previous_hash"]))
    row = rows[place]
    newest = rows[0].hash or ""
    if field in CHANGES:
        rows[place] = replace(row, act=replace(row.act, **{field: CHANGES[field]}))
    elif field == "id":
        rows[place] = replace(row, id=row.id + 1_000)
    else:
        rows[place] = replace(row, **{field: data.draw(st.sampled_from(["f" * 64, None]))})

    assert "changed" in kinds(rows, newest)


@given(st.integers(1, 8), st.data())
def test_any_rows_that_are_taken_out_are_missed(length: int, data: st.DataObject) -> None:
    rows = chain(length)
    newest = rows[0].hash or ""
    begin = data.draw(st.integers(0, length - 1))
    end = data.draw(st.integers(begin + 1, length))
    left = rows[:begin] + rows[end:]

    assert kinds(left, newest) <= {"missing", "cut_off"}
    assert kinds(left, newest)


@given(st.integers(1, 8), st.data())
def test_any_row_that_was_put_in_is_found_and_named(length: int, data: st.DataObject) -> None:
    rows = chain(length)
    newest = rows[0].hash or ""
    model = data.draw(st.sampled_from(rows))
    hashes = data.draw(st.sampled_from(["none", "copied", "its own"]))
    added = replace(model, id=1_000)
    if hashes == "none":
        added = replace(added, previous_hash=None, hash=None)
    elif hashes == "its own":
        added = replace(added, hash=hash_row(1_000, added.act, added.previous_hash or ""))
    rows.insert(data.draw(st.integers(0, length)), added)

    assert [(each.kind, each.row) for each in check_chain(rows, newest)] == [("inserted", 1_000)]


def test_a_tail_that_was_cut_off_with_the_head_beside_it_is_found_by_a_hash_that_was_written_down() -> None:
    rows = chain(5)
    cut = rows[2:]

    assert check_chain(cut, cut[0].hash or "") == []
    assert kinds(cut, cut[0].hash or "", rows[0].hash) == {"cut_off"}
    assert kinds([], FIRST, rows[0].hash) == {"cut_off"}


def test_a_chain_that_was_written_anew_is_found_by_a_hash_that_was_written_down() -> None:
    rows = chain(5)
    others = chain(5, begin="a" * 64)

    assert kinds(others, others[0].hash or "", rows[1].hash) == {"missing", "cut_off"}


def test_a_purge_explains_why_the_oldest_rows_are_gone_and_nothing_else_does() -> None:
    rows = chain(6)
    last_gone, kept = rows[3], rows[:3]
    reason = purge_reason(last_gone.id, last_gone.hash or "")
    act = Act(at=9_000, client="relay", action=Action.PURGE, count=3, reason=reason)
    own = hash_row(7, act, kept[0].hash or "")
    purged = [AuditRow(id=7, act=act, previous_hash=kept[0].hash, hash=own), *kept]

    assert check_chain(purged, own) == []
    assert check_chain(purged, own, last_gone.hash) == []
    assert kinds(purged[:-1], own) == {"missing"}
    assert kinds(kept, kept[0].hash or "") == {"missing"}


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("smsclone hangs, ticket 123456", "smsclone hangs, ticket 123456"),
        ("she called from 08031234567", "she called from •••••••"),
        ("she called from 0803 123 4567", "she called from •••••••"),
        ("+234-803-123-4567!", "•••••••!"),
        ("since 2026-11-29 14:05", "since 2026-11-29 14:05"),
        ("1234567", "•••••••"),
        ("٠٨٠٣١٢٣٤٥٦٧", "•••••••"),
    ],
)
def test_a_reason_names_no_number(said: str, kept: str) -> None:
    assert mask_digits(said) == kept
