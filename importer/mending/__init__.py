"""Mends a copy of a message so that a strict server takes it; each module one kind of damage.

Everything here reads a seekable file in blocks and writes to an ``Output``; nothing depends on
how long a line, a header or a part is, nor on how many there are. The same octets give the same
result, always.
"""
