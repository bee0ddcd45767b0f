"""The archive as web pages for the person at this machine: read-only, on the loopback interface.

``server`` listens, ``gate`` lets in who knows the token, ``pages`` answers, ``mail`` makes HTML of
strangers harmless. No page needs a script, and none asks for anything beyond this server.
"""
