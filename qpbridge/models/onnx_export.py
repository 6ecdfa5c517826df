"""Models as ONNX files, for programs without torch."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import msgspec
import torch
from torch import Tensor, nn

from qpbridge import files
from qpbridge.errors import PackageMissingError
from qpbridge.models.bundle import Bundle

_PACKAGES = ("onnx", "onnxscript")


def export_onnx(bundle: Bundle, path: Path) -> None:
    """Write a model's network as an ONNX file.

    Inputs are named as the views: float32 (batch, 3, edge, edge), RGB in 0..1, of any batch size. Outputs are named
    as the heads: logits, float32 (batch, channels, edge, edge); their softmax are the probabilities. The file's
    metadata hold the spec as JSON (``qpbridge.spec``) and the digest (``qpbridge.digest``). Where that spec names a
    staining, whoever runs the file must first give slides those stains.

    Parameters
    ----------
    bundle : Bundle
        The model.
    path : Path
        Replaced if it exists.

    Raises
    ------
    PackageMissingError
        If torch's exporter lacks its packages.
    DiskFullError
        If there is no space; a file that was there is then as before.
    """
    if missing := [name for name in _PACKAGES if importlib.util.find_spec(name) is None]:
        raise PackageMissingError(
            f"ONNX export needs {' and '.join(missing)}, which this Python lacks: install qpbridge[onnx]"
        )
    views = bundle.spec.views
    # Two examples: the exporter would take a batch of one for a constant.
    examples = tuple(torch.zeros(2, 3, view.fov.size_px, view.fov.size_px) for view in views)
    with _quiet():
        program = torch.onnx.export(
            _Positional(bundle).eval(),
            examples,
            input_names=[view.name for view in views],
            output_names=[head.name for head in bundle.spec.heads],
            dynamic_shapes=[tuple({0: torch.export.Dim("batch")} for _ in views)],
            dynamo=True,
            verbose=False,
        )
    model = cast(torch.onnx.ONNXProgram, program).model_proto
    for key, value in (("spec", msgspec.json.encode(bundle.spec).decode()), ("digest", bundle.digest)):
        model.metadata_props.add(key=f"qpbridge.{key}", value=value)
    files.write_bytes(path, model.SerializeToString())


class _Positional(nn.Module):
    """A network with one argument for each view, as ONNX has it."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        self.network = bundle.network
        self.view_names = [view.name for view in bundle.spec.views]
        self.head_names = [head.name for head in bundle.spec.heads]

    def forward(self, *views: Tensor) -> tuple[Tensor, ...]:
        outputs = self.network(dict(zip(self.view_names, views, strict=True)))
        return tuple(outputs[name] for name in self.head_names)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # torch's exporter warns of its own deprecated calls and of torchvision, which nothing here uses.
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
