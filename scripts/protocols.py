"""Compiles src/motorpool/modelserver/protocols/*.proto into descriptors.bin beside them.

Needs grpcio-tools, which the `dev` group has. `tests/modelserver/test_messages.py` fails where
someone has forgotten to run it.
"""

import sys
import tempfile
from importlib import resources
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "src" / "motorpool" / "modelserver" / "protocols"


def compiled() -> bytes:
    from grpc_tools import protoc

    well_known = resources.files("grpc_tools") / "_proto"
    with tempfile.TemporaryDirectory() as directory:
        result = Path(directory) / "descriptors.bin"
        code = protoc.main(
            [
                "protoc",
                f"--proto_path={FOLDER}",
                f"--proto_path={well_known}",
                "--include_imports",
                f"--descriptor_set_out={result}",
                *(file.name for file in sorted(FOLDER.glob("*.proto"))),
            ]
        )
        if code:
            sys.exit(code)
        return result.read_bytes()


if __name__ == "__main__":
    (FOLDER / "descriptors.bin").write_bytes(compiled())
