"""Text of a model -> calls of tools, as the text comes. Pure state machines.

    deltas.py     what a machine says
    jsoncall.py   one JSON object with a name and arguments, read character by character
    jsontools.py  the formats that are JSON between marks: hermes, granite, llama3, mistral, ...
    pythonic.py   calls written as Python
    xmltools.py   qwen3_coder's tags
    forced.py     answers whose structure is forced: required and named tools
    registry.py   the names by which vLLM knows them

Rule: how the text is cut into pieces makes no difference to what comes out, joined.
"""
