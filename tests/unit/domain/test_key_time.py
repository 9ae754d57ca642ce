"""Keys that say when they were made: UUIDv7 and ULID, and nothing else."""

import pytest

from relay.domain.key_time import read_key_time


@pytest.mark.parametrize(
    ("key", "made_at"),
    [
        ("017f22e2-79b0-7cc3-98c4-dc0c0c07398f", 1_645_557_742_000),  # RFC 9562, appendix A.6
        ("017F22E2-79B0-7CC3-98C4-DC0C0C07398F", 1_645_557_742_000),
        ("01ARZ3NDEKTSV4RRFFQ69G5FAV", 1_469_922_850_259),  # the specification of ULID
        ("01arz3ndektsv4rrffq69g5fav", 1_469_922_850_259),
        ("7ZZZZZZZZZZZZZZZZZZZZZZZZZ", 2**48 - 1),
        ("017f22e2-79b0-4cc3-98c4-dc0c0c07398f", None),  # version 4
        ("017f22e2-79b0-7cc3-58c4-dc0c0c07398f", None),  # another variant
        ("017f22e279b07cc398c4dc0c0c07398f", None),
        ("8ZZZZZZZZZZZZZZZZZZZZZZZZZ", None),  # more than 128 bits
        ("01ARZ3NDEKTSV4RRFFQ69G5FAU", None),  # U is none of its letters
        ("01ARZ3NDEKTSV4RRFFQ69G5FA", None),
        ("order-1204", None),
        ("", None),
        ("017f22e2-79b0-7cc3-98c4-dc0c0c07398f\n", None),
    ],
)
def test_a_key_tells_its_time_in_two_forms(key: str, made_at: int | None) -> None:
    assert read_key_time(key) == made_at
