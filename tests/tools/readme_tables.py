"""The tables of the pages, made from the code they describe: ``make readme`` writes them, a test compares them."""

from pathlib import Path

from relay.http.problem_kinds import PROBLEMS
from relay.settings import describe_settings

ROOT = Path(__file__).parents[2]


def problems() -> str:
    """HTTP status, code and remedy of every problem."""
    rows = sorted(PROBLEMS.items(), key=lambda item: (item[1].status, item[0].value))
    lines = ["| HTTP | `code` | what to do | `retry_safe` |", "| --- | --- | --- | --- |"]
    safe = {True: "true", False: "false", None: "-"}
    lines += [f"| {kind.status} | `{code.value}` | {kind.remedy} | {safe[kind.retry_safe]} |" for code, kind in rows]
    return "\n".join(lines)


def settings() -> str:
    """Every setting with its default, its meaning and its closed set of values; a table for each section."""
    lines: list[str] = []
    section = ""
    for setting in describe_settings():
        top = setting.path.split(".")[0]
        if top != section:
            section = top
            heading = f"[[{top.removesuffix('[]')}]]" if top.endswith("[]") else f"[{top}]"
            lines += ["", f"## {heading}", "", "| setting | default | meaning |", "| --- | --- | --- |"]
        details = [setting.unit] if setting.unit else []
        details += [setting.type.replace(" | ", ", ").replace("list of ", "any of ")] if " | " in setting.type else []
        meaning = setting.meaning + (f" ({'; '.join(details)})" if details else "")
        lines.append(f"| `{setting.path}` | `{_escape(setting.default)}` | {_escape(meaning)} |")
    return "\n".join(lines[1:])


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


TABLES = {"openapi/problems.md": ("problems", problems), "k8s/settings.md": ("settings", settings)}
"""Page → name of the marks around its table, and what makes it."""


def render(page: str) -> str:
    """A page with its table made anew."""
    name, make = TABLES[page]
    before, rest = (ROOT / page).read_text().split(f"<!-- {name} -->")
    return f"{before}<!-- {name} -->\n{make()}\n<!-- /{name} -->{rest.split(f'<!-- /{name} -->')[1]}"


if __name__ == "__main__":
    for page in TABLES:
        (ROOT / page).write_text(render(page))
