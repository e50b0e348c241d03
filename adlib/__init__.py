"""Three papers on image anomaly detection, rebuilt: PaDiM under a Johnson-Lindenstrauss projection,
PatchCore, and latent diffusion.

Reading order: ``datasets`` -> ``backbones``, ``features`` -> ``projection`` -> ``padim`` ->
``metrics`` -> ``evaluate``, ``records`` -> ``report``.
"""

from __future__ import annotations

__version__ = "0.1.0"
