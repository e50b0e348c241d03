"""The command line: ``adlib evaluate``, ``download``, ``run``, ``params``, ``report``."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from adlib import __version__
from adlib.errors import InputError

EMBEDDED = "embedded"
INTERRUPTED = (
    "adlib: interrupted; everything already recorded is complete, the same command goes on"
)


class _Commands(TyperGroup):
    """Turns what can go wrong in a command into one sentence and an exit status."""

    def invoke(self, ctx: typer.Context) -> object:
        try:
            return super().invoke(ctx)
        except InputError as error:
            print(f"adlib: {error}", file=sys.stderr)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            print(INTERRUPTED, file=sys.stderr)
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Three papers on image anomaly detection, rebuilt, run and judged.",
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"adlib {__version__}")
        raise typer.Exit


@app.command()
def evaluate(
    method: Annotated[
        str,
        typer.Argument(
            help="padim, patchcore, spade, one_nn or thumbnail; latent_diffusion, autoencoder, "
            "anoddpm or ddpm, which train on images of 32 x 32."
        ),
    ],
    dataset: Annotated[
        str | None,
        typer.Option(
            help="mvtec_ad (any folder in that layout), magnetic_tile, mstc or embedded; mnist, "
            "cifar10 or digits, whose categories are the anomalous classes, as 0 or 01234; "
            "default: mvtec_ad with --root, embedded without."
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(help="Folder with one folder a category; none: the embedded data."),
    ] = None,
    category: Annotated[
        list[str] | None,
        typer.Option(help="Category, or several: repeat the option. Default: all of them."),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Default: resnet18, or efficientnet_lite0 on embedded data.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="File with the backbone's weights, or 'random'; "
            "default: torch's cache, then a download."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="Of the backbone: float32 or bfloat16.")
    ] = "float32",
    seed: Annotated[str, typer.Option(help="A seed, a list 0,3,7 or a range 0-9.")] = "0",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Parameter of the method, name=value; name=A,B runs each value."
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Named settings of the method (patchcore: paper, official; latent_diffusion and "
            "its baselines: tiny, small, paper)."
        ),
    ] = None,
    shots: Annotated[
        str | None, typer.Option(help="Fit on that many training images, drawn by --seed: 1,5,10.")
    ] = None,
    resize: Annotated[int, typer.Option(help="Short side of the image, pixels.")] = 256,
    crop: Annotated[int, typer.Option(help="Side of the central crop, pixels; 0: none.")] = 224,
    squash: Annotated[
        bool, typer.Option("--squash", help="Resize both sides, whatever their ratio (mstc).")
    ] = False,
    masks: Annotated[
        str, typer.Option(help="Interpolation of masks: nearest, or official as PatchCore's code.")
    ] = "nearest",
    results: Annotated[Path, typer.Option(help="Folder of records.")] = Path("results"),
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the one record to this file instead.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Run again where a record exists.")
    ] = False,
    cache: Annotated[
        bool, typer.Option(help="Keep features and checkpoints on disk between commands.")
    ] = True,
) -> None:
    """Fit on the normal training images, score the test images, print the metrics, write records.

    [dim]adlib evaluate padim[/dim]   runs on the embedded data.

    [dim]adlib evaluate padim --root ~/mvtec_ad --category bottle --set dim=50,100 --seed 0-4[/dim]
    """
    from adlib import sweep

    plan = sweep.Plan(
        method=method,
        dataset=dataset or (EMBEDDED if root is None else "mvtec_ad"),
        root=root,
        categories=category or [],
        backbone=backbone,
        weights=weights,
        device=device,
        precision=precision,
        seeds=sweep.read_seeds(seed),
        settings=settings or [],
        resize=resize,
        crop=crop or None,
        squash=squash,
        masks=masks,
        preset=preset,
        shots=[] if shots is None else sweep.read_counts(shots),
        cache=cache,
    )
    rows = sweep.run(
        plan, results=results, json_file=json_file, force=force, console=Console(stderr=True)
    )
    # a pipe has no width to fit into
    out = Console() if sys.stdout.isatty() else Console(width=400)
    out.print(_metric_table(rows, sweep.SHOWN))


@app.command()
def download(
    dataset: Annotated[str, typer.Argument(help="mnist or cifar10.")],
    root: Annotated[Path, typer.Option(help="Folder to put it in.")],
) -> None:
    """Fetch a published data set; the only command that needs a network."""
    from adlib import datasets, parameters

    known = {name: m for name, m in datasets.READERS.items() if hasattr(m, "download")}
    if dataset not in known:
        raise InputError(parameters.unknown("data set to download", dataset, known))
    known[dataset].download(root)
    print(root)


@app.command()
def run(
    notebook: Annotated[Path, typer.Argument(help="A notebook with a cell tagged 'parameters'.")],
    file: Annotated[
        list[Path] | None,
        typer.Option("-f", "--file", help="YAML file with parameter values; a later one wins."),
    ] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", "--parameter", help="name=value; wins over files.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The executed copy; default build/runs/NAME.ipynb."),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Also leave a readable page.")] = None,
) -> None:
    """Execute a notebook with other parameters; wrong names and values are refused at once."""
    from adlib import notebook as notebooks

    values = notebooks.read_values(file or [], parameter or [])
    try:
        done = notebooks.run(notebook, output, values, html=html)
    except notebooks.NotebookError as error:
        print(f"adlib: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    print(done if html is None else f"{done}\n{html}")


@app.command()
def params(
    notebook: Annotated[Path, typer.Argument(help="A notebook with a cell tagged 'parameters'.")],
) -> None:
    """Print the parameters of a notebook: name, type, default, help."""
    from adlib import notebook as notebooks

    print(notebooks.describe(notebooks.parameters(notebook)))


@app.command()
def report(
    results: Annotated[Path, typer.Option(help="Folder of records.")] = Path("results"),
    out: Annotated[Path, typer.Option(help="Folder for the fragments of the book's pages.")] = Path(
        "book/generated"
    ),
    readme: Annotated[
        Path | None, typer.Option(help="Also bring the generated block of this README up to date.")
    ] = None,
) -> None:
    """Turn records into the generated parts of the book: verdicts, status, results at a glance."""
    from adlib import fragments

    for path in fragments.write_all(results, out):
        print(path)
    if readme is not None:
        print(fragments.write_readme(results, readme))


def _metric_table(rows: list[dict], metrics: tuple[str, ...]) -> Table:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(box=None, header_style="bold")
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        form = {name: ".4f" if name in metrics else "" for name in columns}
        table.add_row(*(_cell(row.get(name), form[name]) for name in columns))
    return table


def _cell(value: object, form: str) -> str:
    if value is None:
        return "-"
    return format(value, form if isinstance(value, float) else "")


def main() -> None:
    """Run the command line; bad input prints one sentence and exits with 2, ctrl-C with 130."""
    warnings.formatwarning = _warning
    app()


def _warning(message: Warning | str, *_: object, **__: object) -> str:
    return f"adlib: warning: {message}\n"


if __name__ == "__main__":
    main()
