"""From a checkpoint's files to a graph that the engine runs.

`prepare` is the seam; nothing of the engine is loaded before `Prepared.pipeline` is called.
"""

from motorpool.modelserver.llm.checkpoint.prepare import Prepared, prepare

__all__ = ["Prepared", "prepare"]
