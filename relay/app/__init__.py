"""The composition root: the only place that names concrete adapters; opens and closes them in order.

**Decisions**

- 2026-11-25: one process, one event loop; granian runs embedded in it. Rejected: granian's parent and worker, because a
  SIGKILL of the parent leaves the worker serving, and because a stop must drain before the listener closes
  (``tests/e2e/test_life.py``).
"""

from relay.app.adapters import StartError
from relay.app.composition import Relay
from relay.app.policies import load_templates, load_words
from relay.app.serving import RunningRelay, mark_restored, migrate_journal, run, start_relay

__all__ = [
    "Relay",
    "RunningRelay",
    "StartError",
    "load_templates",
    "load_words",
    "mark_restored",
    "migrate_journal",
    "run",
    "start_relay",
]
