"""Types that all rooms share.

A public signature gives the shape where it is known, with jaxtyping: `Float[Array, "row energy"]`
of JAX, `Float[np.ndarray, "row energy"]` of NumPy. A name in the string is an axis, "..." any
axes. `Floats` are NumPy arrays whose shape is free, or given in the docstring.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

# A float, a NumPy or a JAX array, in functions that take and return either: no static type has the
# operators of both libraries
type Numbers = Any

# Content of a JSON file, such as a run's summary or manifest: the keys tell the types of its values
type Json = Mapping[str, Any]
