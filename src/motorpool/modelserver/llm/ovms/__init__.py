"""OpenVINO Model Server's generative endpoints, below /v3, by the same engine.

flags.py    `motorpool-server --task text_generation ...` -> settings
graphfile.py  a model's graph.pbtxt -> such a command line
rules.py    what a request may hold there; pure
http.py     its addresses, verbs and statuses over the vLLM interface's own plans and streams
server.py   listens, loads, serves, stops
"""
