"""Webhooks in, callbacks out: JSON of senders that cannot be changed becomes SMS, and their end is told to callers.

``credentials`` (key or signature) → ``parsing`` (``alertmanager`` or ``generic``, then ``receivers`` and ``rendering``)
→ ``relay.sending``. Owns what is taken from a body, for whom, as what text, and what makes two requests the same. Must
never decide whether something is sent, and never log what a body says.

**Decisions**

- 2026-11-29: bodies are mended first and then decoded strictly and part by part (``lenient_json``): the digits of
  numbers stay as they were written, and what nobody asks for costs no memory. Rejected: a lenient decoder for the
  whole, which makes objects of everything and holds the interpreter for a second on 8 MiB.
- 2026-11-29: where senders sign, what the body says makes two requests the same, not ``webhook-id``: Supabase makes
  a new one for each attempt (``tests/e2e/test_presets.py``).
- 2026-11-29: a preset is what would stand in a receiver's table, and nothing else: there is no code for a sender.
"""
