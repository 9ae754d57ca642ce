"""The metrics of one process, as SPEC section 10 names them: closed label sets, everything at 0 from the beginning.

Owns its registry: several can live in one process. Nothing that a caller sent ever becomes a label. There are about
1,060 series at the beginning, 3,700 at most whatever is asked of the relay, and 92 more for each client.

**Decisions**

- What was served as it was meant stands at 0 from the beginning; a wrong method on a known address appears when it
  happens, within the same closed sets (``test_metrics.py`` holds the number of series that there can be at most).
- One worker a process, so the client library's multi-process mode, which never forgets a dead process, is not used.
- The series of a client that left the settings stay: a counter that vanishes and comes back looks like a restart.
"""

from relay.observability.metrics.clients import MOST_CLIENTS
from relay.observability.metrics.labels import ROUTES, UNMATCHED, CallbackOutcome
from relay.observability.metrics.page import Metrics

__all__ = ["MOST_CLIENTS", "ROUTES", "UNMATCHED", "CallbackOutcome", "Metrics"]
