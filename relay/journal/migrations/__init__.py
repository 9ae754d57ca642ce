"""The migrations of the journal, oldest first; see ``relay.journal.migrating`` for what one must bear."""
