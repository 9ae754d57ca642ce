"""Callbacks out: what became of an asynchronous notification, told to the address that its caller gave.

Owns signing, where a connection may lead, and when an attempt is repeated. Must never touch a send: its queue, its
connections and its failures are its own.

**Decisions**

- 2026-11-25: the address is checked inside the connection, and the connection is made to the checked address itself. A
  check before it can be passed by a name that answers differently the second time (``test_posting.py``).
- 2026-11-25: httpcore instead of httpx: its network backend is public, and of httpx's additions (redirects, cookies,
  decoding, proxies of the environment) each would have to be switched off. smsclone's transport cannot be shared: it
  makes GETs to one origin. A pool for each attempt: none is shared, so none can leak.
- 2026-11-25: only the notification's id waits in the queue; the body is made of the journal at each attempt, so that no
  second copy of numbers outlives an erasure.
"""
