# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,mystnb,-all
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %%
import time

# %% tags=["parameters"]
divisor: int = 0  # what to divide by
wait: float = 0.0  # seconds to sleep first [0..60]

# %%
print("before")
time.sleep(wait)

# %%
1 / divisor

# %%
print("after")
