"""The dependency audit of ``make lint``: a known hole in what runs fails it; without advisories it is skipped aloud."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

REQUIREMENTS = Path(__file__).parents[2] / "requirements.txt"
PATIENCE_SECONDS = 120.0


def judge(report: Mapping[str, Any]) -> tuple[list[str], bool]:
    """Read a report of pip-audit.

    Args:
        report: its JSON: ``dependencies``, each with ``vulns``, or with a ``skip_reason`` where nothing is known of it.

    Returns:
        What to say, and whether what runs may run.
    """
    dependencies = report["dependencies"]
    audited = [dependency for dependency in dependencies if "skip_reason" not in dependency]
    if not audited:
        return ["dependency audit: skipped, no advisory data can be reached from here"], True
    lines = [f"dependency audit: {len(audited)} of {len(dependencies)} dependencies looked up"]
    holes = [(dependency, hole) for dependency in audited for hole in dependency["vulns"]]
    for dependency, hole in holes:
        remedy = ", ".join(hole["fix_versions"]) or "no version yet"
        lines.append(f"{dependency['name']} {dependency['version']}: {hole['id']}, mended in {remedy}")
    return lines, not holes


def judge_failure(said: str) -> tuple[list[str], bool]:
    """As :func:`judge`, where pip-audit gave no report: no way to the data is no hole; all else must be seen to."""
    if any(sign in said.lower() for sign in ("connect", "timed out", "resolve")):
        return judge({"dependencies": []})
    return ["dependency audit: pip-audit failed", *said.strip().splitlines()[-1:]], False


def main() -> int:
    """Ask pip-audit about the pinned requirements."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(REQUIREMENTS), "--require-hashes"]
    options = ["--disable-pip", "--format", "json", "--progress-spinner", "off", "--timeout", "10"]
    try:
        asked = subprocess.run(
            [*command, *options], capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
        )
    except subprocess.TimeoutExpired:
        asked = subprocess.CompletedProcess(command, 1, "", "timed out")
    lines, good = judge(json.loads(asked.stdout)) if asked.stdout else judge_failure(asked.stderr)
    print("\n".join(lines))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
