"""Make `qpbridge/v1` from these protos: `uv run python protos/generate.py`. A test compares the two."""

import shutil
import sys
import sysconfig
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).parent
PACKAGE = "qpbridge/v1"
INIT = '"""Generated from `protos/qpbridge/v1` by `protos/generate.py`; never edited."""\n'


def generate(root: Path) -> Path:
    """Write messages, stubs and their types to `qpbridge/v1` below a folder, and return that.

    What was there before is removed.
    """
    folder = root / PACKAGE
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    google = sysconfig.get_path("purelib") + "/grpc_tools/_proto"
    plugin = Path(sysconfig.get_path("scripts")) / "protoc-gen-mypy_grpc"
    outputs = [f"--{kind}_out={root}" for kind in ("python", "pyi", "grpc_python", "mypy_grpc")]
    files = sorted(path.relative_to(PROTOS).as_posix() for path in (PROTOS / PACKAGE).glob("*.proto"))
    options = [f"--proto_path={PROTOS}", f"--proto_path={google}", f"--plugin=protoc-gen-mypy_grpc={plugin}"]
    if protoc.main(["protoc", *options, *outputs, *files]):
        raise SystemExit("protoc refused the protos; it says why above")
    for path in folder.glob("*_grpc.py*"):
        if not _has_service(path):
            path.unlink()
    (folder / "__init__.py").write_text(INIT, encoding="utf-8")
    return folder


def _has_service(path: Path) -> bool:
    return "_to_server(" in path.read_text(encoding="utf-8")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else PROTOS.parent)
