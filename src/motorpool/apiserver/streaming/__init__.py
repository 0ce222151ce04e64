"""exec, attach and port-forward: connections that leave HTTP.

upgrade.py      the connection itself, taken from the HTTP server
websocket.py    RFC 6455, bytes in and messages out; pure
spdy.py         SPDY/3.1 framing, bytes in and events out; pure
remotes.py      the client of a session over either of them
sessions.py     pods/exec and pods/attach
portforward.py  pods/portforward
"""
