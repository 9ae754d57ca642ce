"""Word lists as files: reading, watching over real files, changing them by command."""

import asyncio
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from relay.domain.codes import MessageType
from relay.domain.words import WordEntry, WordListError, WordMatcher, parse_word_list
from relay.word_lists import add_entry, read_word_lists, remove_entry, watch_word_lists

PROMO = '[[entry]]\ntext = "promo"\ncategory = "prize"\naction = "block"\n'
LOAN = PROMO.replace("promo", "loan")

LIST = """# Ours.

# Prizes.
[[entry]]  # seen in March
text = "promo"
category = "prize"
action = "block"

# Money.
[[ entry ]]
text = "Cash prize"
# A comment inside.
category = "money"
action = "warn"
except = [
  "no cash prize",  # honest
]

# The end.
[[entry]]
text = "cash prize"
category = "money"
action = "block"
fields = ["sender"]
# Last words.
"""


def listed(text: str) -> WordEntry:
    return WordEntry(text=text, category="prize", action="block")


def texts(matcher: WordMatcher) -> list[str]:
    found = matcher.find("promo loan", field="message", message_type=MessageType.ALERT)
    return [hit.hit.entry for hit in found]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "blocked_words.toml"
    file.write_text(PROMO, encoding="utf-8")
    return file


class Watch:
    """What a watch reported, in order: the texts that a new matcher finds, or the errors."""

    def __init__(self) -> None:
        self.reports: asyncio.Queue[list[str]] = asyncio.Queue()

    def changed(self, matcher: WordMatcher) -> None:
        self.reports.put_nowait(texts(matcher))

    def failed(self, error: WordListError) -> None:
        self.reports.put_nowait(["error", *error.errors])

    async def next(self) -> list[str]:
        return await asyncio.wait_for(self.reports.get(), timeout=60)


@asynccontextmanager
async def watching(paths: list[Path], loaded: list[WordEntry] | None = None) -> AsyncIterator[Watch]:
    watch = Watch()
    task = asyncio.create_task(watch_word_lists(paths, watch.changed, watch.failed, loaded=loaded))
    try:
        yield watch
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def replace_atomically(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def test_without_a_file_the_shipped_list_counts() -> None:
    assert len(read_word_lists([])) > 100


def test_the_entries_of_all_files_are_taken_together(path: Path, tmp_path: Path) -> None:
    second = tmp_path / "second.toml"
    second.write_text(LOAN, encoding="utf-8")
    assert read_word_lists([path, second]) == [listed("promo"), listed("loan")]


def test_a_byte_order_mark_is_no_part_of_a_list(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + PROMO.encode())
    assert read_word_lists([path]) == [listed("promo")]

    add_entry(path, listed("loan"))
    assert read_word_lists([path]) == [listed("promo"), listed("loan")]


def test_the_errors_of_all_files_are_told_at_once(path: Path, tmp_path: Path) -> None:
    path.write_text(PROMO.replace("block", "stop"), encoding="utf-8")
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"# caf\xe9")
    with pytest.raises(WordListError) as caught:
        read_word_lists([path, latin, tmp_path / "none.toml"])
    assert caught.value.errors == (
        'blocked_words.toml: entry[0].action must be one of "block", "warn"',
        "latin.toml: is not UTF-8; save it as UTF-8",
        "none.toml: cannot be read: No such file or directory",
    )


async def test_a_changed_list_is_taken_up_and_a_bad_one_keeps_the_old(path: Path) -> None:
    async with watching([path], read_word_lists([path])) as watch:
        replace_atomically(path, PROMO + LOAN)
        assert await watch.next() == ["promo", "loan"]
        replace_atomically(path, PROMO.replace("promo", "***"))
        assert await watch.next() == [
            "error",
            "blocked_words.toml: entry[0].text holds no letter and no digit, so it would find nothing",
        ]
        replace_atomically(path, LOAN)
        assert await watch.next() == ["loan"]


async def test_a_file_that_is_written_in_place_is_taken_up(path: Path) -> None:
    async with watching([path], read_word_lists([path])) as watch:
        path.write_text(LOAN, encoding="utf-8")
        while (report := await watch.next())[0] == "error":
            pass  # the file was looked at half written
        assert report == ["loan"]


async def test_a_list_that_changed_since_it_was_loaded_is_taken_up_at_once(path: Path) -> None:
    loaded = read_word_lists([path])
    path.write_text(LOAN, encoding="utf-8")
    async with watching([path], loaded) as watch:
        assert await watch.next() == ["loan"]


async def test_a_list_that_goes_away_is_an_error_and_comes_back(path: Path) -> None:
    async with watching([path], read_word_lists([path])) as watch:
        path.unlink()
        assert await watch.next() == ["error", "blocked_words.toml: cannot be read: No such file or directory"]
        replace_atomically(path, LOAN)
        assert await watch.next() == ["loan"]


async def test_the_links_of_a_kubernetes_volume_are_followed(tmp_path: Path) -> None:
    # A ConfigMap: name -> ..data/name, ..data -> a dated directory; an update swaps ..data.
    for version, text in (("..1", PROMO), ("..2", LOAN)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "words.toml").write_text(text, encoding="utf-8")
    (tmp_path / "..data").symlink_to("..1")
    path = tmp_path / "words.toml"
    path.symlink_to("..data/words.toml")
    async with watching([path], read_word_lists([path])) as watch:
        (tmp_path / "..new").symlink_to("..2")
        (tmp_path / "..new").replace(tmp_path / "..data")
        assert await watch.next() == ["loan"]


async def test_a_change_of_comments_only_is_no_change(path: Path) -> None:
    async with watching([path], read_word_lists([path])) as watch:
        replace_atomically(path, "# a comment\n" + PROMO)
        replace_atomically(path, "# a comment\n" + LOAN)
        assert await watch.next() == ["loan"]


async def test_the_shipped_list_is_not_watched() -> None:
    watch = Watch()
    await asyncio.wait_for(watch_word_lists([], watch.changed, watch.failed), timeout=60)


def test_an_entry_is_added_and_read_back_the_same(path: Path) -> None:
    entry = WordEntry(
        text='say "yes" \\ ọjà',
        category="prize",
        action="warn",
        fields=frozenset({"sender", "message"}),
        message_types=frozenset({MessageType.OTP}),
        exceptions=("won't",),
    )
    path.write_text(LIST.rstrip("\n"), encoding="utf-8")
    before = read_word_lists([path])
    add_entry(path, entry)
    assert read_word_lists([path]) == [*before, entry]
    assert path.read_text(encoding="utf-8").startswith(LIST)


def test_a_list_that_is_not_there_is_begun(tmp_path: Path) -> None:
    path = tmp_path / "new.toml"
    add_entry(path, listed("promo"))
    assert path.read_text(encoding="utf-8") == PROMO


def test_an_added_entry_that_is_there_already_or_finds_nothing_is_refused(path: Path) -> None:
    for entry in (listed("promo"), listed("***"), listed("\udce9t\udce9")):
        with pytest.raises(WordListError):
            add_entry(path, entry)
    assert path.read_text(encoding="utf-8") == PROMO


def test_all_entries_with_a_text_are_removed_and_the_comments_between_stay(path: Path) -> None:
    path.write_text(LIST, encoding="utf-8")
    assert remove_entry(path, "CASH prize") == 2
    assert read_word_lists([path]) == [listed("promo")]
    kept = path.read_text(encoding="utf-8")
    for comment in ("# Ours.", "# Prizes.", "# seen in March", "# Money.", "# The end.", "# Last words."):
        assert comment in kept
    assert "cash" not in kept.casefold()


def test_an_entry_that_is_not_there_changes_nothing(path: Path) -> None:
    assert remove_entry(path, "loan") == 0
    assert path.read_text(encoding="utf-8") == PROMO


@pytest.mark.parametrize(
    "source",
    [
        PROMO,
        "entry = [{text = 'promo', category = 'a', action = 'warn'}, {text = 'loan', category = 'a', action = 'warn'}]",
        f"{LOAN}category2 = 1\n{PROMO}",
        f'[[entry]]\ntext = """\n[[entry]]\nloan"""\ncategory = "a"\naction = "warn"\n\n{PROMO}',
    ],
)
def test_a_list_that_would_not_be_read_back_is_not_written(path: Path, source: str) -> None:
    path.write_text(source, encoding="utf-8")
    with pytest.raises(WordListError):
        remove_entry(path, "promo")
    assert path.read_text(encoding="utf-8") == source


def _add(path: Path) -> None:
    add_entry(path, listed("loan"))


def _remove(path: Path) -> None:
    remove_entry(path, "promo")


@pytest.mark.parametrize("change", [_add, _remove])
def test_a_change_keeps_mode_line_ends_and_links(tmp_path: Path, change: Callable[[Path], None]) -> None:
    target = tmp_path / "real.toml"
    target.write_bytes((LIST + LOAN.replace("loan", "visa")).replace("\n", "\r\n").encode())
    target.chmod(0o640)
    link = tmp_path / "list.toml"
    link.symlink_to(target.name)
    change(link)
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert b"# Ours.\r\n" in target.read_bytes()
    assert {file.name for file in tmp_path.iterdir()} == {"real.toml", "list.toml"}


def test_a_list_in_a_directory_that_is_not_there_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(WordListError, match="cannot be written"):
        add_entry(tmp_path / "none" / "list.toml", listed("promo"))


def test_the_shipped_list_can_be_copied_and_changed(tmp_path: Path) -> None:
    path = tmp_path / "list.toml"
    source = Path(__file__).parents[2] / "relay" / "domain" / "words" / "default_words.toml"
    path.write_bytes(source.read_bytes())
    before = read_word_lists([path])
    removed = remove_entry(path, "free")
    add_entry(path, listed("free"))
    assert len(read_word_lists([path])) == len(before) - removed + 1
    assert parse_word_list(path.read_text(encoding="utf-8"))[-1] == listed("free")
