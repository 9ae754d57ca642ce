"""What the relay reports about itself: log lines and metrics from the core's events, and traces if they are wanted.

Decides nothing. It must never hold a phone number, a text, a password or a key, nor log somebody else's text unchecked.
"""
