"""The engine for language models: a process of its own, and this side of it.

    process.py     the Engine that the HTTP interface talks to; starts and watches the process
    wire.py        what the two say to each other; pure
    __main__.py    the engine's process: loads, then turns the loop
    loop.py        admits, steps, reads, reports; the only file that drives a pipeline
    embedding.py   in its place, for a checkpoint that gives vectors
    reports.py     which steps are told at once; pure
    prefixes.py    how much of the prompts had been there before; pure
    loading.py     from options to a loop
    sampling.py    one answer's sampling in the engine's own terms
    structure.py   answers that match a schema, an expression, a grammar; what cannot be compiled
    vocabulary.py  tokenizer.json -> the bytes of every token; pure
    memory.py      how large the cache of keys and values may be; pure
    machine.py     what this process may use of the machine

Rule: only __main__, loop, sampling and structure load the engine's libraries, and only where they
are called, so that the HTTP process never does.
"""
