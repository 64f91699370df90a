"""The processes of one run: this one alone, or the ranks that `torchrun` starts for PyTorch.

As in AlgoPerf there is one rank per device of one machine, the clock is the latest of all ranks'
clocks, and rank 0 alone writes. This project's own choices:

* What rank 0 alone can decide (what becomes of a folder, a seed that is drawn) it tells the others.
* An error on one rank leaves the others in a collective that waits for it. So that rank tells
  rank 0, where a thread writes the error down and ends the process; torchrun ends the others.
* The other ranks say nothing, and leave mistakes of the user's, which all ranks find, to rank 0.

Without torchrun PyTorch is not imported here.
"""

import contextlib
import datetime
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from benchmark.errors import UserError

T = TypeVar("T")

# Of a collective. The longest wait is that for rank 0, which prepares the data.
_TIMEOUT = datetime.timedelta(minutes=30)
_WATCH_PERIOD_SEC = 0.3
_END_PATIENCE_SEC = 30.0
_ERROR = "error"  # the key of an error in the ranks' store


class Ranks(Protocol):
    """`first`: whether this is rank 0. `parted`: whether an error has ended working together."""

    first: bool
    parted: bool

    def now(self) -> float:
        """`time.time`, the latest of all ranks: to be read equally often on all of them."""
        ...

    def from_first(self, decide: Callable[[], T]) -> T:
        """What `decide` returns, or the UserError it raises, on rank 0, where alone it is called;
        it must pickle."""
        ...

    def together(self, check: Callable[[], T]) -> T:
        """What `check` returns on this rank; a UserError of any rank is raised on all of them."""
        ...

    def fail(self, message: str, traceback: str) -> None:
        """Ends working together after an error here. On other ranks than 0 it does not return."""
        ...

    def watch(self, end: Callable[[str, str], None]) -> contextlib.AbstractContextManager[None]:
        """While the body runs, an error of another rank calls `end(message, traceback)` on rank 0,
        in another thread, and then ends the process with status 1."""
        ...


class Alone:
    """This process is the only one."""

    first = True
    parted = False
    now = staticmethod(time.time)

    def from_first(self, decide: Callable[[], T]) -> T:
        return decide()

    def together(self, check: Callable[[], T]) -> T:
        return check()

    def fail(self, message: str, traceback: str) -> None:
        """The next trial can still run."""

    def watch(self, end: Callable[[str, str], None]) -> contextlib.AbstractContextManager[None]:
        del end
        return contextlib.nullcontext()


class TorchRanks:
    """One of the processes of a `torchrun` on this machine, NCCL on GPUs and gloo elsewhere."""

    def __init__(self) -> None:
        import torch
        import torch.distributed as dist
        from torch.distributed.rendezvous import rendezvous

        from algoperf_api.pytorch_utils import pytorch_setup

        _, self.rank, self._device, num_gpus = pytorch_setup()
        self.size = count()
        if self._device.type == "cuda":
            if self.size > num_gpus:
                raise UserError(f"torchrun has started {self.size} processes for {num_gpus} GPUs")
            torch.cuda.set_device(self._device)
        self.first = self.rank == 0
        self.parted = False
        self._torch, self._dist = torch, dist
        self._store, _, _ = next(iter(rendezvous("env://", timeout=_TIMEOUT)))
        dist.init_process_group(
            "nccl" if self._device.type == "cuda" else "gloo",
            store=dist.PrefixStore("group", self._store),  # type: ignore[attr-defined]
            rank=self.rank,
            world_size=self.size,
            timeout=_TIMEOUT,
        )

    def now(self) -> float:
        latest = self._torch.tensor(time.time(), dtype=self._torch.float64, device=self._device)
        self._dist.all_reduce(latest, op=self._dist.ReduceOp.MAX)
        return latest.item()

    def from_first(self, decide: Callable[[], T]) -> T:
        told: list[Any] = [None, None]
        if self.first:
            try:
                told[0] = decide()
            except UserError as error:
                told[1] = str(error)
        self._dist.broadcast_object_list(told, src=0)
        return _value_or_error(told[0], told[1:])

    def together(self, check: Callable[[], T]) -> T:
        value, told = None, None
        try:
            value = check()
        except UserError as error:
            told = str(error)
        errors: list[Any] = [None] * self.size
        self._dist.all_gather_object(errors, told)
        return _value_or_error(value, errors)

    def fail(self, message: str, traceback: str) -> None:
        self.parted = True
        if self.first:
            return
        told = json.dumps([f"rank {self.rank}: {message}", traceback])
        self._store.compare_set(_ERROR, "", told)  # the first error counts
        time.sleep(_END_PATIENCE_SEC)  # torchrun ends this process before, when rank 0 has ended
        sys.exit(1)

    @contextlib.contextmanager
    def watch(self, end: Callable[[str, str], None]) -> Iterator[None]:
        if not self.first:
            yield
            return
        over, ending = threading.Event(), threading.Lock()

        def watching() -> None:
            while not self._store.check([_ERROR]):
                if over.wait(_WATCH_PERIOD_SEC):
                    return
            with ending:
                if not over.is_set():
                    try:
                        end(*json.loads(self._store.get(_ERROR)))
                    finally:
                        os._exit(1)  # the main thread may be in a collective that never ends

        threading.Thread(target=watching, name="watch_ranks", daemon=True).start()
        try:
            yield
        finally:
            with ending:  # for ever, if this process is being ended
                over.set()

    def leave(self) -> None:
        """To be called on all ranks."""
        self._dist.destroy_process_group()


def _value_or_error(value: Any, errors: list[Any]) -> Any:
    for error in errors:
        if error is not None:
            raise UserError(error)
    return value


def count() -> int:
    """How many processes run together: what torchrun says, else 1."""
    return int(os.environ.get("WORLD_SIZE", "1")) if _is_launched() else 1


def _is_launched() -> bool:
    return "LOCAL_RANK" in os.environ  # as AlgoPerf tells


@contextlib.contextmanager
def join(framework: str) -> Iterator[Ranks]:
    """The processes of this run, which part when the body ends.

    Raises:
        UserError: torchrun's processes cannot run this framework, or not here.
    """
    if not _is_launched() or (framework != "pytorch" and count() == 1):
        yield Alone()
        return
    if framework != "pytorch":
        raise UserError(
            f"--framework={framework} under torchrun with {count()} processes; allowed there: "
            "pytorch (JAX uses all devices in one process)"
        )
    local = int(os.environ.get("LOCAL_WORLD_SIZE", count()))
    if local != count():
        raise UserError(f"torchrun has started {count()} processes, {local} here; allowed: all")
    ranks = TorchRanks()
    try:
        yield ranks
    except UserError:  # on all ranks
        ranks.leave()
        raise
    if not ranks.parted:
        ranks.leave()
