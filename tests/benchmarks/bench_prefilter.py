"""What the prefilter costs: a 1,600-character text against 1,000 and 100,000 entries, and against a regex of the same.

Run: ``python tests/benchmarks/bench_prefilter.py`` (half a minute, most of it for the regex).
"""

import argparse
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

from relay.domain.codes import MessageType
from relay.domain.words import WordEntry, WordMatch, WordMatcher

FEW, MANY = 1_000, 100_000
TEXT_CHARACTERS = 1_600
ROUNDS = 300

TEXTS = {
    "plain English": "Dear customer, your parcel is out for delivery today; the rider will call before he comes. ",
    "bank alerts": "Acct:123XX45 Amt:N5,000.00 Desc:POS/WEB-PYMT Date:12-05-2026 08:30 Bal:N12,345.67. ",
    "Yoruba": "Ẹ kú àárọ̀ o, a ti rí owó yín gbà lónìí. Ẹ ṣé púpọ̀, ó dàbọ̀. ",
    "disguised": "Y0u h4ve w-o-n a pr1ze!! C l a i m your ca$h n\u043ew, pro\u200bmo ends soooon. ",
}

ROW = "{:14} {:>5} {:>8} {:>8} {:>6} {:>13} {:>14}"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--memory", type=int, metavar="ENTRIES", help="only build a matcher and print its memory")
    entries = arguments.parse_args().memory
    if entries is not None:
        print(measure_memory(entries))
        return
    few, many = build(FEW), build(MANY)
    few_regex, many_regex = compile_regex(FEW), compile_regex(MANY)
    print(f"microseconds for a text of {TEXT_CHARACTERS} characters, median of {ROUNDS} (regex: of 3)\n")
    print(ROW.format("text", "hits", f"{FEW:,}", f"{MANY:,}", "ratio", f"regex {FEW:,}", f"regex {MANY:,}"))
    for name, sentence in TEXTS.items():
        text = (sentence * (TEXT_CHARACTERS // len(sentence) + 1))[:TEXT_CHARACTERS]
        low, high = measure_in_turns(partial(find, few, text), partial(find, many, text))
        by_regex = [f"{measure(partial(regex.findall, text), rounds=3):.0f}" for regex in (few_regex, many_regex)]
        print(ROW.format(name, len(find(many, text)), f"{low:.0f}", f"{high:.0f}", f"{high / low:.2f}", *by_regex))
    print("\nresident memory of the matcher with its entries")
    for count in (FEW, MANY):
        print(f"{count:>9,} entries: {measure_memory_apart(count):6.1f} MiB")


def find(matcher: WordMatcher, text: str) -> list[WordMatch]:
    return matcher.find(text, field="message", message_type=MessageType.TRANSACTIONAL)


def invent(count: int) -> list[str]:
    """Entries of one to three made-up words, always the same ones, led by those that the disguised text holds.

    No other entry holds a word of the texts: both sizes shall find the same.
    """
    used = {word.strip(":;,.!").casefold() for text in TEXTS.values() for word in text.replace(":", " ").split()}
    chance = random.Random(count)
    syllables = [consonant + vowel for consonant in "bcdfghjklmnprstvwyz" for vowel in "aeiou"]
    texts = dict.fromkeys(["you have won", "prize", "cash", "promo", "claim", "soon"])
    while len(texts) < count:
        words = ["".join(chance.choices(syllables, k=chance.randint(2, 4))) for _ in range(chance.choice([1, 1, 2, 3]))]
        if used.isdisjoint(words):
            texts[" ".join(words)] = None
    return list(texts)


def build(count: int) -> WordMatcher:
    return WordMatcher([WordEntry(text=text, category="bench", action="block") for text in invent(count)])


def compile_regex(count: int) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, invent(count)))})\b", re.IGNORECASE)


def measure(act: Callable[[], object], rounds: int) -> float:
    return median(time_each(act, rounds)) * 1e6


def measure_in_turns(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """In turns, so that a busy machine slows both alike."""
    pairs = [(next(time_each(first, 1)), next(time_each(second, 1))) for _ in range(ROUNDS)]
    return median(pair[0] for pair in pairs) * 1e6, median(pair[1] for pair in pairs) * 1e6


def time_each(act: Callable[[], object], rounds: int) -> Iterator[float]:
    for _ in range(rounds):
        started = time.perf_counter()
        act()
        yield time.perf_counter() - started


def measure_memory(count: int) -> float:
    """Resident memory in MiB that building a matcher adds to this process (Linux)."""
    before = read_resident_kib()
    matcher = build(count)
    added = read_resident_kib() - before
    find(matcher, "kept alive until here")
    return added / 1024


def measure_memory_apart(count: int) -> float:
    command = [sys.executable, __file__, "--memory", str(count)]
    return float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def read_resident_kib() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0])


if __name__ == "__main__":
    main()
