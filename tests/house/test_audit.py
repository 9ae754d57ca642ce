"""The dependency audit: a known hole fails it, a world without advisories does not."""

from tools.audit import judge, judge_failure

SKIPPED = {"name": "httpx", "skip_reason": "Dependency not found on PyPI"}
CLEAN = {"name": "httpx", "version": "0.28.1", "vulns": []}
HOLED = {"name": "jinja2", "version": "3.1.2", "vulns": [{"id": "GHSA-h5c8", "fix_versions": ["3.1.3"]}]}


def test_without_advisory_data_it_is_skipped_and_says_so() -> None:
    assert judge({"dependencies": [SKIPPED]}) == judge({"dependencies": []})
    assert judge({"dependencies": []}) == (
        ["dependency audit: skipped, no advisory data can be reached from here"],
        True,
    )


def test_what_is_not_known_to_have_holes_passes_and_is_counted() -> None:
    assert judge({"dependencies": [CLEAN, SKIPPED]}) == (
        ["dependency audit: 1 of 2 dependencies looked up"],
        True,
    )


def test_a_known_hole_fails_and_is_named_with_the_version_that_mends_it() -> None:
    lines, good = judge({"dependencies": [CLEAN, HOLED]})

    assert not good
    assert lines[1:] == ["jinja2 3.1.2: GHSA-h5c8, mended in 3.1.3"]


def test_no_way_to_the_data_is_skipped_and_any_other_failure_is_not() -> None:
    assert judge_failure("ERROR: Could not connect to the vulnerability feed") == judge({"dependencies": []})
    assert judge_failure("Traceback\nNo module named pip_audit") == (
        ["dependency audit: pip-audit failed", "No module named pip_audit"],
        False,
    )
