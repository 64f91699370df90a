"""AlgoPerf's API as this project needs it: the harness's own where installed, else the same types.

Import `spec`, `param_utils`, `random_utils`, and, in their own frameworks only,
`jax_sharding_utils` and `pytorch_utils` from here; nothing else imports `algoperf`.
"""

import importlib.util

HAS_ALGOPERF: bool = importlib.util.find_spec("algoperf") is not None
