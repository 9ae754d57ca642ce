"""The front: HTTP in, the core's answers out. An ordinary litestar application.

``edge`` (request id, access record) → litestar → ``admission`` (key, permission, parameters) → a Controller's handler →
``relay.sending``. Owns every status, header and problem document; must never decide what is sent, nor name a concrete
adapter.

**Decisions**

- 2026-11-25: ``Prefer: wait=0`` is ignored, as RFC 7240 allows: nothing can be sent in no time.
- 2026-11-25: 401 before anything else of a request is read; a body is read only for who may use it.
- 2026-11-25: a chunked body with a Content-Length beside it is 400 where the server shows both. granian (hyper) drops
  the Content-Length, believes the chunks and closes the connection, so nothing can be smuggled behind it there
  (``tests/e2e/test_edge.py``).
- 2026-11-29: litestar's ``data`` and parameters, with our own ``body()`` and ``json()`` below them. Rejected: functions
  from a request of our own to a reply of our own, for which litestar was a path matcher: nobody who knows litestar
  could read them, and each route stood in four lists.
- 2026-11-29: ``POST /v1/notifications`` takes the request and gives an ASGI response; the rest is typed. Measured
  in process: about 40 µs more than the lane past litestar that it had before, of 560 µs for a whole notification.
"""
