"""Which peers can be timed: found in folders of `--peer_path`, importable by an interpreter."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from speed.peers import PEERS
from speed.peers.peer import Peer

# Arguments: module, attribute, folders.
CODE = """
import importlib, sys
sys.path[:0] = sys.argv[3:]
getattr(importlib.import_module(sys.argv[1]), sys.argv[2])
"""


def known(framework: str) -> list[str]:
    """Names of all peers in `jax` or `pytorch`."""
    return [name for name, peer in PEERS.items() if peer.framework == framework]


def import_folder(peer: Peer, folders: Sequence[Path]) -> Path | None:
    """The folder that a peer of a clone is imported from, if one of `folders` is such a clone."""
    roots = [root for folder in folders for root in (folder, folder / "src")]
    return next((root for root in roots if peer.file and (root / peer.file).is_file()), None)


def usable(framework: str, folders: Sequence[Path]) -> list[str]:
    """Names of those that are packages or have their clone among `folders`."""
    return [
        name
        for name in known(framework)
        if not PEERS[name].file or import_folder(PEERS[name], folders)
    ]


def is_clone(folder: Path) -> bool:
    """Whether any peer, of whatever framework, is imported from there."""
    return any(import_folder(peer, [folder]) for peer in PEERS.values())


def paths(name: str, folders: Sequence[Path]) -> tuple[str, ...]:
    """What a contender's process needs on its path."""
    found = import_folder(PEERS[name], folders) if name in PEERS else None
    return (str(found.resolve()),) if found else ()


def why_not(name: str, python: str, folders: Sequence[Path]) -> str | None:
    """Why `python` cannot import a peer, and how it can; None if it can."""
    peer = PEERS[name]
    command = [python, "-c", CODE, peer.module, peer.attribute, *paths(name, folders)]
    done = subprocess.run(command, capture_output=True, text=True)
    if not done.returncode:
        return None
    last = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
    return f"{name} needs {peer.module} ({python}: {last}): {peer.source}"
