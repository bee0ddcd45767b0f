"""The audit report: what an archive holds and what became of it, for people to read.

It only reads. ``facts`` gathers, ``verdict`` judges, and ``page``, ``paper``, ``sheet`` and
``data`` write; ``writing`` is the way in.
"""
