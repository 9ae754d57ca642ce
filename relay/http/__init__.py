"""The front: HTTP in, the core's answers out.

``edge`` (request id, access record, the hot path) → litestar (routing) → one endpoint a resource → ``relay.sending``.
Owns every status, header and problem document; must never decide what is sent, nor name a concrete adapter.

**Decisions**

- 2026-11-25: of duplicate JSON keys the last one counts, as for most readers. Refusing them would cost a second
  decode of every body; the fingerprint is taken of what was decoded, so no two readings of one request can differ.
- 2026-11-25: ``Prefer: wait=0`` is ignored, as RFC 7240 allows: nothing can be sent in no time.
- 2026-11-25: 401 before anything else of a request is read; a body is read only for who may use it.
- 2026-11-25: a chunked body with a Content-Length beside it is 400 where the server shows both. granian (hyper) drops
  the Content-Length, believes the chunks and closes the connection, so nothing can be smuggled behind it there
  (``tests/e2e/test_edge.py``).
"""
