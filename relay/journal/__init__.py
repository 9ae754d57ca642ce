"""The durable memory: one port (``relay.sending.ports.Journal``), two stores, one text of what happens.

What happens to a notification is written once, as work (``statements.Work``): rounds of statements, run by SQLite's one
thread or PostgreSQL's pipelined connections. What this package never does: hold a transaction across a dial, put a
number, a text or an error of the driver into an exception, or call a write failed without having looked.

Decisions
---------
- 2026-11, work as generators over both stores, rather than a class of SQL a store: one place for each rule of the
  port. Held by ``tests/conformance/test_journal.py``, which runs over both.
- 2026-11, a group that fails is rolled back and each of its jobs run again alone, rather than a savepoint a job: the
  common case pays nothing. Held by ``tests/faults/test_journal_faults.py``.
- 2026-11, a claim in doubt is repeated, rather than looked for: insert-or-nothing on its id waits for the first attempt
  and so decides it, where a look might come too early. Held by the same.
- 2026-11, a freed key keeps its row in the key's index (``key_freed``), rather than leaving a partial one: the same
  index then finds every notification that ever had the key.
"""

from relay.journal.opening import open_journal

__all__ = ["open_journal"]
