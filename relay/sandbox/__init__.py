"""A stand-in for smsclone: a real HTTP server in its dialect, with a ledger, switches and an inbox page.

It is what developers send to, what the demo runs on, and what the tests take as the other side. A sandbox client of the
relay talks to :class:`relay.sandbox.responder.Responder` in the relay's own process.

Decisions
    Shares no wire code with the relay: its query parser, answer writer and HTTP server are its own, so that a mistake
    on one side cannot hide behind the same mistake on the other (the import contract in ``pyproject.toml``).

    A fault happens on the wire, after the batch was processed: the ledger has the messages as sent although the caller
    cannot know. That is the worst case, in which a second send is a double (tests/e2e/test_sandbox.py).

    Nothing is random: ids, shuffles and outcomes follow from the requests, so that a test can be repeated.
"""
