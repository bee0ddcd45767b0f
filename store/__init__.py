"""The archive: one mailbox as Maildir and index. Knows nothing of networks."""
