"""Ends once an InferenceService is ready; says on stdout when it has begun to watch."""

import asyncio
import os
import sys
from pathlib import Path

from motorpool.api import conditions, serving
from motorpool.client.http import HttpClient


async def main(name: str) -> None:
    async with HttpClient.from_kubeconfig(Path(os.environ["KUBECONFIG"])) as client:
        listed = await client.list(serving.INFERENCE_SERVICE, "default")
        print("watching", flush=True)
        async for event in client.watch(
            serving.INFERENCE_SERVICE, "default", after=listed.resource_version
        ):
            obj = event.object
            if obj["metadata"].get("name") == name and conditions.is_true(obj, "Ready"):
                return


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
