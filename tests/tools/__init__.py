"""Programs that make tables, pictures and long runs from the tests; each has a target in the Makefile."""
