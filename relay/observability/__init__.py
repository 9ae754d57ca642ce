"""What the relay tells about itself: one wide log line and counters for what the core states, and traces where wanted.

Decides nothing. It must never hold a number, a text, a password or a key, nor let anybody else's text pass unread.
"""
