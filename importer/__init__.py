"""Stage two: from the archive into a server."""
