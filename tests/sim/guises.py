"""What is secret in a run, in several guises of one shape: numbers, texts, keys, password, hash key.

Two runs of one scenario in two guises differ in nothing else, so everything they say to the outside must be equal.
"""

from collections.abc import Sequence

from msgspec import Struct

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_DIGITS = "0123456789"


class Guise(Struct, frozen=True):
    """One guise: letters and digits moved on by ``steps`` places, but for what stands in ``plain``.

    ``plain`` are numbers by which the upstream decides: the guise must not change what happens.
    """

    steps: int = 0
    plain: tuple[str, ...] = ()

    def number(self, number: str) -> str:
        """A number: its last four digits are others, and what may be dialled stays so."""
        return number if number in self.plain else number[:-4] + _move(number[-4:], _DIGITS, self.steps)

    def text(self, text: str) -> str:
        """A text, key or password of the same length, the same cases and the same place in any order of them."""
        return _move(text, _LETTERS, self.steps)

    def undo_number(self, number: str) -> str:
        """The scenario's own number."""
        return Guise(-self.steps, self.plain).number(number)

    def undo_text(self, text: str) -> str:
        """The scenario's own text."""
        return _move(text, _LETTERS, -self.steps)


def _move(text: str, among: Sequence[str], steps: int) -> str:
    return "".join(among[(among.index(each) + steps) % len(among)] if each in among else each for each in text)
