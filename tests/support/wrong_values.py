"""Values that are hardly ever right, for tests of what is said about them."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

WRONG: dict[str, Any] = {
    "array": np.ones((2, 3)),
    "sparse": scipy.sparse.csr_array(np.ones((2, 3))),
    "dict": {"a": "b"},
    "list": ["a", None],
    "mixed": [[True, 2.0], [2.0, 0.0]],
    "None": None,
    "nan": float("nan"),
    "bool": True,
    "huge": 10**400,
    "text": "a\x1b[2J\nb",
    "object": object(),
}
