"""The frame of every benchmark: rows with their targets, one table or one JSON object."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """
    One measured figure.

    `holds` is None where there is no target; `peer` names what stood beside us in the same
    run; `ci` is a 95 % interval where one was computed.
    """

    name: str
    value: float
    unit: str
    target: str = ""
    holds: bool | None = None
    peer: str = ""
    n: int = 1
    ci: tuple[float, float] | None = None


def at_least(
    name: str, value: float, bound: float, unit: str, *, peer: str = "", n: int = 1
) -> Row:
    """Return a row whose target is a lower bound on its value."""
    return Row(name, value, unit, f">= {bound:g}", value >= bound, peer, n)


def at_most(name: str, value: float, bound: float, unit: str, *, peer: str = "", n: int = 1) -> Row:
    """Return a row whose target is an upper bound on its value."""
    return Row(name, value, unit, f"<= {bound:g}", value <= bound, peer, n)


def as_json(bench: str, rows: Sequence[Row]) -> dict[str, Any]:
    """Return the one object that `ratchet bench NAME --json` prints."""
    return {"bench": bench, "machine": machine(), "rows": [asdict(row) for row in rows]}


def machine() -> dict[str, Any]:
    """Return what a reader needs to judge a figure: processor, cores, memory in GiB."""
    return {
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
    }


def _processor_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def show(bench: str, rows: Sequence[Row], *, as_json_object: bool) -> None:
    """Print the rows: a table for people, one JSON object for programs."""
    if as_json_object:
        print(json.dumps(as_json(bench, rows)))
        return
    table = Table("what", "value", "unit", "target", "holds", "beside", "n", title=bench)
    for row in rows:
        holds = {True: "yes", False: "NO", None: ""}[row.holds]
        table.add_row(
            row.name, f"{row.value:.4g}", row.unit, row.target, holds, row.peer, str(row.n)
        )
    Console().print(table)
