"""Parameters that the detectors of this chapter share: one type, range and description each."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

Widths = Annotated[
    str, Field(description="channels of encoder and decoder at each resolution, A+B+C")
]
UnetWidths = Annotated[str, Field(description="channels of the U-net at each resolution, A+B+C")]
UnetLayers = Annotated[int, Field(ge=1, le=4, description="residual blocks a resolution")]
UnetAttention = Annotated[bool, Field(description="self-attention below the first resolution")]
Schedule = Annotated[Literal["linear", "scaled_linear"], Field(description="of the noise")]
Timesteps = Annotated[int, Field(ge=10, le=10000, description="T")]
Start = Annotated[int, Field(ge=1, description="index t where the reverse chain begins")]
Stride = Annotated[int, Field(ge=1, description="indices a step of ddim; divides timesteps")]
Steps = Annotated[int, Field(ge=1, description="updates")]
Batch = Annotated[int, Field(ge=2, description="images an update")]
LearningRate = Annotated[float, Field(gt=0, le=1, description="learning rate")]
Decay = Annotated[float, Field(ge=0, lt=1, description="decay of the averaged weights")]
Precision = Annotated[
    Literal["float32", "bfloat16"], Field(description="of training: autocast or not")
]
Seed = Annotated[int, Field(ge=0, lt=2**32, description="of everything random")]
