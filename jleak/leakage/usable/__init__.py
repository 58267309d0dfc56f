"""What probes can use of an update: V-information about an attribute, or about the images themselves."""

from collections.abc import Callable

from jleak.leakage.usable.exposure import Exposure, exposure, most_exposed
from jleak.leakage.usable.families import Family, logistic, mlp
from jleak.leakage.usable.information import Usable, measured, nested, usable
from jleak.leakage.usable.kernels import conv, kernel_shapes, spatial_kernels
from jleak.leakage.usable.original import Original, reconstruction, ridge
from jleak.leakage.usable.protocols import Draws, batches, draws
from jleak.leakage.usable.rows import cumulative, joined, narrowed
from jleak.leakage.usable.splits import apart
from jleak.leakage.usable.trees import boosted_trees

__all__ = [
    "FAMILIES",
    "Draws",
    "Exposure",
    "Family",
    "Original",
    "Usable",
    "apart",
    "batches",
    "boosted_trees",
    "conv",
    "cumulative",
    "draws",
    "exposure",
    "joined",
    "kernel_shapes",
    "logistic",
    "measured",
    "mlp",
    "most_exposed",
    "narrowed",
    "nested",
    "reconstruction",
    "ridge",
    "spatial_kernels",
    "usable",
]

FAMILIES: dict[str, Callable[..., Family]] = {
    "boosted_trees": boosted_trees,
    "conv": conv,
    "logistic": logistic,
    "mlp": mlp,
}
"""Name -> factory, keyword-only, of the families of probes. `conv` needs the kernels' shapes."""
