"""How much of the prompts has been there before."""

from motorpool.modelserver.llm.engine.prefixes import Prefixes

PROMPT = list(range(100))


def test_a_prompt_again_hits_its_full_blocks():
    prefixes = Prefixes(100)
    prefixes.look_up(PROMPT)
    assert (prefixes.queries, prefixes.hits) == (100, 0)
    prefixes.keep(PROMPT)
    prefixes.look_up(PROMPT)
    assert (prefixes.queries, prefixes.hits) == (200, 96)


def test_the_last_token_is_never_a_hit():
    prefixes = Prefixes(100)
    prefixes.keep(PROMPT[:64])
    prefixes.look_up(PROMPT[:64])
    assert prefixes.hits == 32


def test_a_block_counts_only_behind_the_same_blocks():
    prefixes = Prefixes(100)
    prefixes.keep(PROMPT)
    prefixes.look_up([7, *PROMPT[1:]])
    assert prefixes.hits == 0


def test_as_much_is_remembered_as_the_cache_holds_and_the_oldest_goes():
    prefixes = Prefixes(3)
    prefixes.keep(PROMPT)
    prefixes.keep([500, *PROMPT])
    prefixes.look_up(PROMPT)
    assert prefixes.hits == 0
    prefixes.look_up([500, *PROMPT])
    assert prefixes.hits == 96


def test_without_a_cache_there_are_no_hits():
    prefixes = Prefixes(0)
    prefixes.keep(PROMPT)
    prefixes.look_up(PROMPT)
    assert prefixes.hits == 0
