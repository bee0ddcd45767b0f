"""A server that behaves like Exchange Online over IMAP, as far as public sources tell.

It shares no code with the product, so that no mistake can hide on both sides. Each behaviour
is a switch of ``profile.Profile``; ``server.ExchangeOnline`` is what tests start.
"""
