"""Waystation: archive a mailbox, keep it, replay it, and account for every message."""
