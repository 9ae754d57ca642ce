"""What the tests share: real processes, real sockets, the sandbox, the journals, one judge."""
