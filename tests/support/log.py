"""A log's output, kept to be read."""

import io

import msgspec


class Lines(io.BytesIO):
    """What a log wrote."""

    @property
    def text(self) -> str:
        """All of it."""
        return self.getvalue().decode()

    def read_all(self) -> list[dict[str, object]]:
        """One object a line; fails where a line is not JSON."""
        return [msgspec.json.decode(line, type=dict[str, object]) for line in self.getvalue().splitlines()]
