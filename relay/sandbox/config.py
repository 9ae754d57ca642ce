"""How a sandbox is started."""

from decimal import Decimal

from msgspec import Struct

from relay.domain.secret import Secret
from relay.sandbox.switches import Switches

_MEBIBYTE = 1 << 20


class SandboxConfig(Struct, frozen=True, kw_only=True):
    """Everything that is settled at the start.

    ``port`` 0 takes a free one. ``units`` are what a batch takes its price from, one a segment and recipient; ``None``:
    they never run out. ``ledger_entries`` and ``ledger_bytes`` (roughly) bound what is kept; the oldest goes first.
    ``slow_seconds``: how late the magic number answers that answers late.
    """

    host: str = "127.0.0.1"
    port: int = 0
    username: str = "demo"
    password: Secret = Secret("demo")
    units: Decimal | None = Decimal("10000.00")
    switches: Switches = Switches()
    ledger_entries: int = 100_000
    ledger_bytes: int = 256 * _MEBIBYTE
    slow_seconds: float = 3.0
