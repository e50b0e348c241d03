"""Run one notebook: checked before, all or nothing while it runs, the same bytes every time."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat

from adlib.errors import InputError
from adlib.notebook.inputs import check, parameters, read_notebook
from adlib.notebook.webpage import page

RUNS = Path("build/runs")
INJECTED = "injected-parameters"

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_KERNEL_CONFIG = "c = get_config()\nc.IPKernelApp.log_level = 50\n"


class NotebookError(RuntimeError):
    """A notebook stopped in one of its cells.

    Attributes
    ----------
    cell : int or None
        The number the notebook shows: ``In [cell]``.
    name, value : str
        The error, e.g. ``ValueError`` and its text.
    failed : pathlib.Path
        The notebook up to and with the error.
    """

    def __init__(self, source: Path, cell: int | None, name: str, value: str, failed: Path):
        self.cell, self.name, self.value, self.failed = cell, name, value, failed
        where = "its kernel" if cell is None else f"cell [{cell}]"
        super().__init__(f"{source}: {where} raised {name}: {value} (all of it: {failed})")


def run(
    notebook: str | Path,
    out: str | Path | None = None,
    values: Mapping[str, Any] | None = None,
    html: str | Path | None = None,
    progress: bool = True,
) -> Path:
    """Execute a notebook in the caller's folder and leave a reproducible copy.

    What differs from run to run (times, ids, versions) is taken out: two runs of a deterministic
    notebook are equal byte for byte. The target appears only after the last cell has run.

    Parameters
    ----------
    notebook : path
        An ``.ipynb`` or its ``.py`` source; never changed.
    out : path, optional
        The executed copy; ``build/runs/NAME.ipynb`` if not given.
    values : mapping of str to object, optional
        Parameters that differ from their defaults, from `read_values` or plain Python values.
        They are kept in the copy under ``metadata.papermill.parameters``.
    html : path, optional
        Also write a page a browser can read (`page`).
    progress : bool
        Show a bar on stderr, if that is a terminal.

    Returns
    -------
    pathlib.Path
        The executed copy.

    Raises
    ------
    InputError
        Before anything runs: no such notebook, wrong parameters, a target that cannot be written.
    NotebookError
        If a cell fails; ``NAME.failed.ipynb`` beside the target then shows where.
    """
    source = Path(notebook)
    target = Path(out) if out is not None else RUNS / f"{source.stem}.ipynb"
    node = read_notebook(source)
    values = check(parameters(source), values or {})
    if target.suffix != ".ipynb" or _same(source, target):
        raise InputError(
            f"the executed copy must be another .ipynb file than {source}, found {target}"
        )
    _require_writable(target)
    if html is not None:
        if Path(html).suffix not in (".html", ".htm"):
            raise InputError(f"the page must be an .html file, found {html}")
        _require_writable(Path(html))
    # in the target's folder, so that os.replace is one step; the process id keeps two runs apart
    part = target.with_name(f".{target.stem}.{os.getpid()}.part.ipynb")
    try:
        _execute(source, node, part, target, values, progress and sys.stderr.isatty())
        os.replace(part, target)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
    target.with_suffix(".failed.ipynb").unlink(missing_ok=True)
    if html is not None:
        page(target, html)
    return target


def _execute(
    source: Path,
    node: nbformat.NotebookNode,
    part: Path,
    target: Path,
    values: dict[str, Any],
    progress: bool,
) -> None:
    """Run ``node`` into ``part``; on an error leave the failed copy and raise NotebookError."""
    import papermill
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    cell, name, value = None, "", ""
    try:
        with _kernel_environment():
            papermill.execute_notebook(
                node,
                # papermill fills in {name} in paths
                str(part).replace("{", "{{").replace("}", "}}"),
                parameters=values,
                kernel_name="python3",
                language="python",
                progress_bar=progress,
                start_timeout=120,
                coalesce_streams=True,
            )
    except NoSuchKernel:
        raise InputError("Jupyter has no Python kernel here: run pip install ipykernel") from None
    except papermill.PapermillExecutionError as error:
        cell, name, value = error.exec_count, error.ename, error.evalue
    except (CellExecutionError, CellTimeoutError, DeadKernelError, RuntimeError) as error:
        name, value = type(error).__name__, str(error).strip().splitlines()[0]
    _clean(part)
    if name:
        failed = target.with_suffix(".failed.ipynb")
        os.replace(part, failed)
        raise NotebookError(source, cell, name, _ANSI.sub("", value), failed)


def _clean(path: Path) -> None:
    """Take out what differs from run to run, and hide the cell papermill has put in."""
    if not path.exists():
        return
    node = nbformat.read(path, as_version=4)
    given = node.metadata.pop("papermill", {}).get("parameters", {})
    if given:
        node.metadata["papermill"] = {"parameters": given}
    node.metadata.get("language_info", {}).pop("version", None)
    for number, cell in enumerate(node.cells):
        cell["id"] = str(number)
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if INJECTED in cell.metadata.get("tags", []):
            cell.metadata["tags"] = [INJECTED, "hide-input"]
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]
    nbformat.write(node, path)


@contextmanager
def _kernel_environment() -> Iterator[None]:
    """Settings for the kernel process: this environment's kernel, no user files, no chatter."""
    log = logging.getLogger("papermill")
    level = log.level
    with tempfile.TemporaryDirectory(prefix="adlib-ipython-", ignore_cleanup_errors=True) as folder:
        profile = Path(folder, "profile_default")
        profile.mkdir()
        # without it ipykernel reports its TCP ports and, at times, its own shutdown
        profile.joinpath("ipython_kernel_config.py").write_text(_KERNEL_CONFIG, encoding="utf-8")
        settings = {
            "IPYTHONDIR": folder,
            "JUPYTER_PATH": "",
            "JUPYTER_PREFER_ENV_PATH": "1",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
            # the order of a printed set must not change from run to run
            "PYTHONHASHSEED": "0",
        }
        before = {name: os.environ.get(name) for name in settings}
        os.environ.update(settings)
        # papermill warns about declarations it cannot parse; ours are checked already
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def _same(source: Path, target: Path) -> bool:
    return target.exists() and target.samefile(source)


def _require_writable(target: Path) -> None:
    """Make the folder of ``target``; raise InputError now rather than after an hour's run."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}") from None
