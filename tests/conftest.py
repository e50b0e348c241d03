"""What every test stands on: a cache of its own, no network, marks that skip what cannot run."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
REAL_DATA = "ADLIB_MVTEC_AD"

# Before the first import of torch, and for every process that a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "agg"
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


def pytest_configure(config: pytest.Config) -> None:
    """Give the session a cache of its own; the workers of pytest-xdist share their parent's."""
    if not hasattr(config, "workerinput"):
        config.adlib_cache = tempfile.mkdtemp(prefix="adlib-tests-")
        os.environ["ADLIB_CACHE"] = config.adlib_cache


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the cache."""
    if hasattr(config, "adlib_cache"):
        shutil.rmtree(config.adlib_cache, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run, and say why."""
    wanted = {mark.name for item in items for mark in item.iter_markers()}
    missing = {}
    if "gpu" in wanted and not _has_gpu():
        missing["gpu"] = "no CUDA device"
    if "data" in wanted and not Path(os.environ.get(REAL_DATA, "/nonexistent")).is_dir():
        missing["data"] = f"{REAL_DATA} names no folder"
    for item in items:
        for mark in missing.keys() & {mark.name for mark in item.iter_markers()}:
            item.add_marker(pytest.mark.skip(reason=missing[mark]))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that leaves the machine."""
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else ""
        if host not in ("", "localhost", "127.0.0.1", "::1"):
            raise AssertionError(f"a test asked the network: {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)


@pytest.fixture
def root() -> Path:
    """Return the folder of the project."""
    return ROOT
