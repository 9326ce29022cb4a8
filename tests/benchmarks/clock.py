"""A stopwatch: run a function in a process of its own, and tell what it took.

Timed inside that process, without its imports; so nobody's memory, threads or warm caches are another's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Took:
    """What a call took.

    Attributes:
        seconds: By the clock.
        cpu: Of the processor, all threads together.
        peak: MiB of memory at the most, the interpreter and its modules too.
        returned: What the function returned, as JSON keeps it.
    """

    seconds: float
    cpu: float
    peak: float
    returned: Any = None


def measure(
    call: Callable[..., object],
    *args: Path | str | int | Iterable[Path],
    needs: Iterable[str] = (),
    ready: Callable[[], AbstractContextManager[object]] | None = None,
) -> Took:
    """Call a function of a module in a process of its own.

    Args:
        call: It is found there by its name.
        *args: Paths arrive as such, also in lists.
        needs: Modules that are imported before the clock starts.
        ready: A function that starts what is not to be measured.
    """
    told = [[str(part) for part in arg] if isinstance(arg, list | tuple) else _plain(arg) for arg in args]
    names = [named(call), named(ready) if ready else ""]
    command = [sys.executable, __file__, json.dumps([*names, told, list(needs)])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{named(call)} failed:\n{done.stderr[-3000:]}")
    return Took(*json.loads(done.stdout.splitlines()[-1]))


def named(call: Callable[..., object]) -> str:
    return f"{call.__module__}:{call.__name__}"


def _plain(arg: object) -> object:
    return str(arg) if isinstance(arg, Path) else arg


def _found(name: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(import_module(module), function)


def _peak_mib() -> float:
    """Not `ru_maxrss` where Linux has better: a process that was just started begins with the peak of its parent."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    import resource  # noqa: PLC0415  there is none on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes


def _child(told: str) -> None:
    name, ready, args, needs = json.loads(told)
    call, start = _found(name), _found(ready) if ready else nullcontext
    for module in needs:
        import_module(module)
    args = [
        Path(arg) if isinstance(arg, str) else [Path(part) for part in arg] if isinstance(arg, list) else arg
        for arg in args
    ]
    with start():
        cpu, clock = time.process_time(), time.perf_counter()
        returned = call(*args)
        took = [time.perf_counter() - clock, time.process_time() - cpu, _peak_mib()]
    print("\n" + json.dumps([*took, returned]))


if __name__ == "__main__":
    _child(sys.argv[1])
