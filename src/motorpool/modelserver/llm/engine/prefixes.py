"""How much of the prompts the engine has had before. Pure.

The engine keeps full blocks of prompts and answers, and says nothing of how often that helped. This
keeps the same books beside it: a block is known by its tokens and all before it, and as many blocks
are remembered as the cache has, the last used ones. So the figures are an estimate; they differ
from the engine's where running sequences push kept blocks out.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence

from motorpool.modelserver.llm.engine.memory import BLOCK_TOKENS


class Prefixes:
    def __init__(self, blocks_max: int) -> None:
        self.queries = 0  # tokens
        self.hits = 0
        self._blocks_max = blocks_max
        self._known: OrderedDict[int, None] = OrderedDict()

    def look_up(self, prompt: Sequence[int]) -> None:
        self.queries += len(prompt)
        if not self._blocks_max:
            return
        # The last token is always computed: the next one follows from it.
        for block in _blocks(prompt[:-1]):
            if block not in self._known:
                break
            self._known.move_to_end(block)
            self.hits += BLOCK_TOKENS

    def keep(self, tokens: Sequence[int]) -> None:
        for block in _blocks(tokens):
            self._known[block] = None
            self._known.move_to_end(block)
        while len(self._known) > self._blocks_max:
            self._known.popitem(last=False)


def _blocks(tokens: Sequence[int]) -> Iterator[int]:
    before = 0
    for begin in range(0, len(tokens) - BLOCK_TOKENS + 1, BLOCK_TOKENS):
        before = hash((before, *tokens[begin : begin + BLOCK_TOKENS]))
        yield before
