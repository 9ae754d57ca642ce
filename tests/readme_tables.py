"""The README's tables, made of the code that they describe: ``make readme`` writes them, a test holds them."""

import re
import sys
from pathlib import Path

from relay.http.problem_kinds import PROBLEMS
from relay.settings import describe_settings

README = Path(__file__).parents[1] / "README.md"


def problems() -> str:
    """HTTP status, code and remedy of every problem."""
    rows = sorted(PROBLEMS.items(), key=lambda item: (item[1].status, item[0].value))
    lines = ["| HTTP | `code` | what to do | `retry_safe` |", "| --- | --- | --- | --- |"]
    safe = {True: "true", False: "false", None: "-"}
    lines += [f"| {kind.status} | `{code.value}` | {kind.remedy} | {safe[kind.retry_safe]} |" for code, kind in rows]
    return "\n".join(lines)


def settings() -> str:
    """Every setting with its default and meaning."""
    lines = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for setting in describe_settings():
        default = setting.default.replace("|", "\\|")
        meaning = setting.meaning.replace("|", "\\|") + (f" ({setting.unit})" if setting.unit else "")
        lines.append(f"| `{setting.path}` | `{default}` | {meaning} |")
    return "\n".join(lines)


SECTIONS = {"problems": problems, "settings": settings}


def render(readme: str) -> str:
    """The README with its tables made anew."""
    for name, make in SECTIONS.items():
        pattern = re.compile(rf"<!-- {name} -->.*?<!-- /{name} -->", re.DOTALL)
        block = f"<!-- {name} -->\n{make()}\n<!-- /{name} -->"
        readme = pattern.sub(block.replace("\\", "\\\\"), readme)
    return readme


if __name__ == "__main__":
    README.write_text(render(README.read_text()))
    sys.exit(0)
