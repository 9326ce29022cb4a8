"""What is derived: silver and gold, refreshed by what has changed, and how good they are."""

from lakehouse.layers.gold import refresh_gold
from lakehouse.layers.mismatches import read_mismatches
from lakehouse.layers.quality import LakeReport, RefreshFailed, find_breaches, read_quality
from lakehouse.layers.refresh import RefreshReport, Share, Workers, refresh_share
from lakehouse.layers.rehearsal import clone, copy_raw, rehearsal, rehearse
from lakehouse.layers.silver import refresh_silver

__all__ = [
    "LakeReport",
    "RefreshFailed",
    "RefreshReport",
    "Share",
    "Workers",
    "clone",
    "copy_raw",
    "find_breaches",
    "read_mismatches",
    "read_quality",
    "refresh_gold",
    "refresh_share",
    "refresh_silver",
    "rehearsal",
    "rehearse",
]
