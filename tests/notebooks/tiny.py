# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,mystnb,-all
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A tiny notebook
#
# It draws $n$ points, see {numref}`fig-dot`; an equation would be $a < b$.

# %% tags=["remove-cell"]
import sys
import uuid

from IPython.display import SVG

# %% tags=["parameters"]
n: int = 3  # points, n = many # [1..100]
eps: float = 0.01  # regularisation (0..]
scale: str = "a#b=c"  # how eps follows {a#b=c, matched, none}
dims: list[int] = [25, 100]  # dimensions [1..4096]
root: str | None = None  # data set folder; none: the embedded data
quiet: bool = False  # say less

# %%
print(n, eps, scale, dims, root, quiet)
print("to stderr", file=sys.stderr)
print({"one", "two", "three"})

# %% tags=["remove-input"] mystnb={"image": {"alt": "A & <b>."}, "figure": {"name": "fig-dot"}}
SVG("<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><circle r='4'/></svg>")

# %% tags=["hide-input"]
print(len(str(uuid.uuid4())))
