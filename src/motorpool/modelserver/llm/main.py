"""The command `motorpool-llm`."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from motorpool.modelserver.llm.contract import CheckpointOptions, EngineOptions
from motorpool.modelserver.llm.flags import PROGRAM, Help, Settings, UsageError, parse

EX_USAGE = 2


def main() -> None:
    code = run(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # A tokenizer that is still being read holds a thread for as long as it takes.
    os._exit(code)


def run(argv: Sequence[str]) -> int:
    """Serves as *argv*, without the program's name, says; the exit code."""
    try:
        settings = parse(argv, os.environ)
    except Help as text:
        sys.stdout.write(f"{text}\n")
        return 0
    except UsageError as error:
        sys.stderr.write(
            f"usage: {PROGRAM} [MODEL] [flags]; --help lists them\n{PROGRAM}: error: {error}\n"
        )
        return EX_USAGE
    return _serve(settings)


def engine_options(settings: Settings) -> EngineOptions:
    cache_dir = os.environ.get("MOTORPOOL_CACHE_DIR")
    return EngineOptions(
        checkpoint=Path(settings.model),
        tokenizer=Path(settings.tokenizer) if settings.tokenizer else None,
        cache_dir=Path(cache_dir) if cache_dir else None,
        graph=CheckpointOptions(
            settings.precision,
            settings.quantization,
            settings.max_model_len,
            tuple(settings.hf_overrides.items()),
            settings.embeds,
            settings.pooling,
            settings.normalize,
        ),
        max_model_len=settings.max_model_len,
        max_num_seqs=settings.max_num_seqs,
        max_num_batched_tokens=settings.max_num_batched_tokens,
        kv_cache_bytes=settings.kv_cache_bytes,
        kv_cache_precision=settings.kv_cache_precision,
        prefix_caching=settings.prefix_caching,
        threads=settings.threads,
    )


def _serve(settings: Settings) -> int:
    import asyncio

    import uvloop

    # Not asyncio.run: it would wait without bound for a tokenizer that is still being read.
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop.run_until_complete(_served(settings))


async def _served(settings: Settings) -> int:
    import asyncio

    from motorpool.modelserver.llm.engine.process import EngineProcess

    engine = EngineProcess(engine_options(settings))
    starting = asyncio.create_task(engine.start())
    await asyncio.sleep(0)  # its process is there, and imports while we do

    import faulthandler

    from motorpool.modelserver import logs
    from motorpool.modelserver.llm.api import server

    logs.configure(settings.log_level)
    faulthandler.enable()
    return await server.serve(settings, engine, starting)
