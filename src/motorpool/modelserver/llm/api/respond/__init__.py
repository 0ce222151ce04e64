"""OpenAI's Responses over the chat's own plans: what is asked becomes a chat, its answer items.

request.py   the body of a request -> a request for a chat; pure
items.py     what a model says -> the items of a response; pure
stream.py    the deltas of a chat -> the events of a response

Nothing is stored: a response is told once, whole or in events, and forgotten.
"""

from motorpool.modelserver.llm.api.respond.request import (
    NoResponse,
    ResponsesRequest,
    chat_request,
)
from motorpool.modelserver.llm.api.respond.stream import Plan, stream, whole

__all__ = ["NoResponse", "Plan", "ResponsesRequest", "chat_request", "stream", "whole"]
