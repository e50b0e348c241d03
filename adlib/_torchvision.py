"""Let ``import torchvision`` work beside any build of torch.

The torchvision wheel on PyPI is compiled against CUDA torch. Next to a CPU-only torch its compiled
part cannot be loaded, and its Python part then fails while it attaches "fake" kernels to operators
that were never declared (``operator torchvision::nms does not exist``). Declaring those operators
first is enough for everything that is written in Python: models, transforms, feature extraction.
See pytorch/vision issues 9077 and 9085.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch

_DECLARED: torch.library.Library | None = None  # a collected Library would take its operators along
_OPERATORS = ("nms", "qnms")


def ensure_torchvision() -> bool:
    """Declare torchvision's operators where its compiled part cannot be loaded.

    Call before the first ``import torchvision``; calling again is harmless.

    Returns
    -------
    bool
        True where the compiled part works, False where only the Python part does.

    Raises
    ------
    ModuleNotFoundError
        torchvision is not installed.
    """
    global _DECLARED
    if "torchvision" in sys.modules:
        return _DECLARED is None
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            "torchvision is not installed: pip install -c constraints.txt torchvision"
        )
    folder = Path(spec.origin).parent
    for library in sorted([*folder.glob("_C*.so"), *folder.glob("_C*.pyd")]):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            continue
        return True
    if _DECLARED is None:
        _DECLARED = torch.library.Library("torchvision", "DEF")
        for name in _OPERATORS:
            _DECLARED.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return False
