"""AlgoPerf's types without AlgoPerf, so that entries can be imported where it is not installed.

Its modules are those of `algoperf_api`, loaded under the names that entries know. Only with this
folder on the path; never in a process that trains.
"""

import sys
import types
from pathlib import Path

_API = Path(__file__).resolve().parents[5] / "algoperf_api"

_package = types.ModuleType("algoperf_api")
_package.__path__ = [str(_API)]
_package.HAS_ALGOPERF = False  # type: ignore[attr-defined]
sys.modules.setdefault("algoperf_api", _package)
