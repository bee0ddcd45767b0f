"""Stage one: from a server into the archive."""
