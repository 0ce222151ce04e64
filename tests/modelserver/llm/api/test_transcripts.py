"""What goes over the wire: every endpoint, as a client sees it, with the real engine.

A file is read as a conversation: a sentence, the request, an empty line, the answer. What differs
from run to run (ids, times) is made equal before anything is compared. ``pytest --update-golden``
writes the answers; then read the difference as you would read code.
"""

import copy
import http.client
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FILES = sorted(Path(__file__).parent.glob("transcripts/*.txt"))
_EQUAL = [
    (r"\b(chatcmpl-tool|chatcmpl|cmpl|embd|modelperm)-[0-9a-f]{32}", r"\1-ID"),
    (r'"created":\d+', '"created":TIME'),
    (r"\+motorpool\.[0-9.]+", "+motorpool.VERSION"),
    # How likely a token was differs in the last digits from machine to machine.
    (r"-\d+\.\d{5,}", "-LOGPROB"),
]


@dataclass
class Exchange:
    sentence: str
    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    answer: str = ""

    @property
    def request(self) -> str:
        headers = "".join(f"{name}: {value}\n" for name, value in self.headers.items())
        body = f"{self.body}\n" if self.body else ""
        return f"## {self.sentence}\n{self.method} {self.path}\n{headers}{body}"


def exchanges(text):
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        request, _, answer = section.partition("\n\n")
        sentence, line, *rest = request.strip().split("\n")
        method, path = line.split(" ")
        made = Exchange(sentence, method, path, answer=answer.strip())
        while rest and re.match(r"[a-z-]+: ", rest[0]):
            name, _, value = rest.pop(0).partition(": ")
            made.headers[name] = value
        made.body = "\n".join(rest)
        yield made


def answered(exchange, port, names):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"content-type": "application/json"} if exchange.body else {}
    connection.request(
        exchange.method, exchange.path, exchange.body or None, headers | exchange.headers
    )
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    text = f"{response.status} {response.getheader('content-type') or ''}".strip() + f"\n{body}"
    if exchange.body and '"stream": true' in exchange.body:
        text = as_one(text)
    for here, everywhere in names.items():
        text = text.replace(here, everywhere)
    for pattern, to in _EQUAL:
        text = re.sub(pattern, to, text)
    return text.strip()


def as_one(body):
    """The events of a stream with each run of text as one: how it is cut is a matter of time."""
    joined = []
    for event in body.split("\n\n"):
        if not event.startswith("data: {"):
            joined.append(event)
            continue
        for document in parted(json.loads(event.removeprefix("data: "))):
            more = fragment(document)
            text = fragment(joined[-1]) if joined and isinstance(joined[-1], dict) else None
            if more is None or text is None or document["choices"][0]["finish_reason"]:
                joined.append(document)
            else:
                text[0][text[1]] += more[0][more[1]]
    return "\n\n".join(each if isinstance(each, str) else encoded(each) for each in joined)


def parted(document):
    """The last text apart from the reason that it comes with."""
    place = fragment(document)
    if place is None or not document["choices"][0]["finish_reason"] or not place[0][place[1]]:
        return [document]
    before = copy.deepcopy(document)
    before["choices"][0]["finish_reason"] = None
    before["choices"][0].pop("stop_reason")
    place[0][place[1]] = ""
    return [before, document]


def encoded(document):
    return "data: " + json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def fragment(document):
    """Where an event has its piece of text."""
    if not document.get("choices"):
        return None
    delta = document["choices"][0].get("delta", {})
    if list(delta) == ["content"]:
        return delta, "content"
    if list(delta) == ["tool_calls"] and list(delta["tool_calls"][0]["function"]) == ["arguments"]:
        return delta["tool_calls"][0]["function"], "arguments"
    return None


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_wire(file, program, request):
    asked = list(exchanges(file.read_text()))

    answers = [
        answered(each, program.port, {str(program.checkpoint): "/mnt/models"}) for each in asked
    ]

    if request.config.getoption("--update-golden"):
        pairs = zip(asked, answers, strict=True)
        file.write_text("\n".join(f"{each.request}\n{answer}\n" for each, answer in pairs))
        asked = list(exchanges(file.read_text()))
    for each, answer in zip(asked, answers, strict=True):
        assert answer == each.answer, each.sentence
