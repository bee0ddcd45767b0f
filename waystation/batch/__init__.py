"""Many mailboxes: one list, one run, one page to read. Nothing here knows what is done to each."""
