"""AlgoPerf's types without AlgoPerf, so that entries can be imported where it is not installed."""

from pathlib import Path

from benchmark.submission import REPOSITORY

# The modules of `algoperf_api`, loaded under the names that entries know; what they import of each
# other must not find this stand-in for AlgoPerf and take it for the harness.
_MODULE = """
import sys, types

__path__ = [{api!r}]
_api = types.ModuleType("algoperf_api")
_api.__path__ = __path__
_api.HAS_ALGOPERF = False
sys.modules.setdefault("algoperf_api", _api)
"""


def write(folder: Path) -> None:
    """Writes a module `algoperf` into `folder`, which the path of a process is then to name.

    Only for processes that import entries; never for one that trains for a result.
    """
    text = _MODULE.format(api=str(REPOSITORY / "algoperf_api"))
    (folder / "algoperf.py").write_text(text)
