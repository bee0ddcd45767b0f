"""Both stages beside their peers, in turns, on a private Dovecot: run by ``scripts/bench``.

What a cell compares and how to read it is told in docs/benchmarks.md. No figure is asserted, and
each is told only after what arrived was counted.
"""
