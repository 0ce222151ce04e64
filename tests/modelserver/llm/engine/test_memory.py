"""How large the cache of keys and values is."""

from pathlib import Path

import pytest

from motorpool.modelserver.llm.contract import CheckpointError, EngineOptions
from motorpool.modelserver.llm.engine import memory

GIB = 1024**3
LLAMA = {"num_attention_heads": 8, "num_key_value_heads": 4, "hidden_size": 512,
         "num_hidden_layers": 8}  # fmt: skip
HEADS = memory.heads(LLAMA)


def options(**changed):
    return EngineOptions(Path("/model"), **changed)


def test_a_block_is_as_large_as_the_engine_says_it_is():
    # What the engine reports for one block of these two, on a CPU.
    assert memory.block_bytes(HEADS, "u8") == 155_648
    assert memory.block_bytes(memory.Heads(2, 2, 32), "auto") == 10_240


def test_heads_of_their_own_size_and_without_groups():
    of = memory.heads({**LLAMA, "head_dim": 128, "num_key_value_heads": None})
    assert of == memory.Heads(8, 8, 128)


def test_every_sequence_at_its_longest_is_the_most_that_is_of_use():
    cache = memory.plan(options(max_num_seqs=2), HEADS, 64, 64 * GIB)
    assert cache.blocks == 2 * 3
    assert cache.max_model_len == 64


def test_the_cache_takes_a_share_of_the_memory_limit():
    cache = memory.plan(options(), HEADS, 2048, GIB)
    assert 0.38 * GIB < cache.bytes <= 0.4 * GIB


def test_what_is_given_is_what_is_taken():
    cache = memory.plan(options(kv_cache_bytes=10**8), HEADS, 2048, GIB)
    assert 10**8 - 155_648 < cache.bytes <= 10**8


def test_a_long_context_is_lowered_to_what_fits():
    cache = memory.plan(options(), HEADS, 131_072, GIB // 4)
    assert cache.max_model_len == (cache.blocks - 1) * 32 < 131_072


def test_a_context_that_was_asked_for_and_does_not_fit_is_an_error_with_the_way_out():
    with pytest.raises(CheckpointError, match=r"max_model_len=131072 .* enough for \d+ tokens"):
        memory.plan(options(max_model_len=131_072), HEADS, 131_072, GIB // 4)


def test_a_cache_of_nothing_is_an_error():
    with pytest.raises(CheckpointError, match="enough for 0 tokens"):
        memory.plan(options(kv_cache_bytes=1000), HEADS, 2048, GIB)


def test_no_context_is_longer_than_the_checkpoints_own():
    with pytest.raises(
        CheckpointError, match="max_model_len=4096 is more than the checkpoint's 20"
    ):
        memory.plan(options(max_model_len=4096), HEADS, 2048, GIB)


def test_small_models_read_more_of_a_prompt_in_a_step():
    assert memory.batched_tokens(75 * 1024**2) == 1024
    assert memory.batched_tokens(2 * GIB) == 512
