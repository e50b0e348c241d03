"""Fitted models on disk: one safetensors file, tensors and what they mean.

The tensors are the model; a JSON text in the file's header says which method with which parameters
they belong to, and holds a checksum of each. Nothing in the file is executed when it is read.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from adlib.atomic import replacement
from adlib.errors import InputError

FORMAT = 1  # raise when the meaning of the tensors or of the description changes
HEADER = "adlib"


def write(path: Path | str, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
    """Write a model in one step: after a crash the file is complete, or what it was before.

    Parameters
    ----------
    path : Path
        Its folder must exist.
    tensors : dict of str to Tensor
    description : dict
        Anything that JSON can hold.

    Raises
    ------
    InputError
        The folder is missing or cannot be written to, or the disk is full.
    """
    path = Path(path).expanduser()
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {
        "format": FORMAT,
        "description": description,
        "crc32": {name: _checksum(tensor) for name, tensor in tensors.items()},
    }
    text = json.dumps(header, sort_keys=True, allow_nan=False)
    try:
        with replacement(path) as part:
            save_file(tensors, part, metadata={HEADER: text})
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"the model could not be written to {path} ({reason}); "
            "free some space or name a file in a folder that can be written"
        ) from error


def read(
    path: Path | str, remedy: str = "save the model again"
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a model that `write` wrote.

    Parameters
    ----------
    path : Path
    remedy : str
        What to do about a damaged file.

    Returns
    -------
    tensors : dict of str to Tensor
        On the CPU.
    description : dict

    Raises
    ------
    InputError
        There is no such file, it was not written by `write`, by a newer version, or is damaged.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"a fitted model must be a file, found none at {path}; check the path")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = json.loads((file.metadata() or {}).get(HEADER, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(
            f"a fitted model must be a complete safetensors file, {path} is not ({error}); {remedy}"
        ) from error
    if not isinstance(header, dict) or not {"format", "description", "crc32"} <= header.keys():
        raise InputError(
            f"{path} is a safetensors file, but no model of adlib; name a file that save wrote"
        )
    if header["format"] != FORMAT:
        raise InputError(
            f"{path} has format {header['format']!r}, this version reads {FORMAT}; "
            "fit and save the model again"
        )
    if header["crc32"] != {name: _checksum(tensor) for name, tensor in tensors.items()}:
        raise InputError(f"{path} is damaged: its checksums do not match; {remedy}")
    return tensors, header["description"]


def read_model(
    path: Path | str, method: str, needed: set[str], fields: set[str], backbone: Any = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a model of one method, and see that it was fitted with this backbone.

    Parameters
    ----------
    path : Path
    method : str
        The method's name in the file.
    needed : set of str
        Tensors it must hold.
    fields : set of str
        What its description must hold besides ``method``, ``parameters`` and ``backbone``.
    backbone : Backbone, optional
        None is not compared.

    Raises
    ------
    InputError
        As for `read`; the file holds another method's model, or the backbone is another one.
    """
    tensors, description = read(path)
    complete = isinstance(description, dict) and (
        {"method", "parameters", "backbone", *fields} <= description.keys()
    )
    if not complete or description["method"] != method or not needed <= tensors.keys():
        raise InputError(f"{path} holds no {method} model; load it with the method that saved it")
    saved = description["backbone"]
    if backbone is None or saved is None:
        return tensors, description
    given = backbone.describe()
    for name in saved:
        if given.get(name) != saved[name]:
            raise InputError(
                f"{path} was fitted with a backbone whose {name} is {saved[name]}, found "
                f"{given.get(name)}; open the backbone that was used in training"
            )
    return tensors, description


def _checksum(tensor: Tensor) -> int:
    return zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy()) if tensor.numel() else 0
