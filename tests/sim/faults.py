"""What a run does and what goes wrong in it: everything of a scenario that is not chance, as data.

A fault names the moment it happens by what the relay does then (the second ``calls.record_all``, the third call, the
17th crash point), not by a time: so faults can be left out one by one, and the others stay where they are.
"""

from typing import Literal

from msgspec import Struct

JournalFault = Literal["refused", "slow", "lost_answer", "lost_commit", "late_commit"]
"""Not taken; taken late; committed, and nobody heard; rolled back, and nobody heard; nobody heard, committed later."""

CallFault = Literal[
    "refused",
    "silent",
    "request_lost",
    "request_cut",
    "answer_lost",
    "answer_reset",
    "answer_closed",
    "answer_half",
    "answer_slow",
    "answer_dripped",
    "page",
    "sent_then_error",
]
"""How one connection to the upstream goes. From ``answer_lost`` to ``answer_dripped``, and with ``sent_then_error``,
the texts were sent."""


PauseScope = Literal["all", "client", "message_type", "account"]


class Operation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that a client or the operator does.

    ``of`` is the position of the operation whose notification is meant. ``tries`` counts how often a client with a key
    asks again where it got no definite answer. ``send_in`` are the seconds after which it is to be sent: as it is
    accepted, or as it is moved. ``scope`` is what a pause stops: all, or what the notification meant belongs to.
    """

    kind: Literal["send", "enqueue", "cancel", "pause", "resume", "settle", "resend", "restart", "move", "suppress"]
    at: float
    replica: int = 0
    numbers: tuple[str, ...] = ()
    text: str = ""
    key: str | None = None
    wait: float | None = None
    route: Literal["auto", "normal"] = "auto"
    expires_in: float | None = None
    message_type: Literal["transactional", "otp"] = "transactional"
    send_in: float | None = None
    scope: PauseScope = "all"
    calls_back: bool = False
    tries: int = 0
    of: int = 0


class Fault(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that goes wrong.

    - ``crash``: the replica that comes to the crash point ``point`` dies there, and comes back after ``seconds``;
    - ``stop``: it is stopped there for ``seconds``, and goes on;
    - ``cut``: from there on it alone cannot reach the journal, for ``seconds``;
    - ``journal``: the ``point``-th transaction that does ``work``, and so many ``times``, goes as ``how`` says;
    - ``outage``: the journal cannot be reached for ``seconds`` from ``at`` on;
    - ``call``: the ``point``-th connection to the upstream goes as ``how`` says;
    - ``upstream``: for ``seconds`` from ``at`` on it answers every call as ``how`` says, or those of one ``account``;
    - ``clock``: the wall clock of ``replica`` is off by ``seconds``.
    """

    kind: Literal["crash", "stop", "cut", "journal", "outage", "call", "upstream", "clock"]
    point: int = 0
    work: str = ""
    how: str = ""
    at: float = 0.0
    seconds: float = 1.0
    replica: int = 0
    times: int = 1
    account: str | None = None


class Scenario(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A whole run. ``seed`` decides every order and every delay; ``most_per_call`` is what TG20 allows."""

    seed: int
    replicas: int = 2
    accounts: int = 1
    operations: tuple[Operation, ...] = ()
    faults: tuple[Fault, ...] = ()
    most_per_call: int = 100
