"""What not every system has."""

from __future__ import annotations

import os
import sys

import pytest

links = pytest.mark.skipif(os.name == "nt", reason="Windows lets only administrators make links")
any_name = pytest.mark.skipif(os.name == "nt", reason="Windows has no such file names")
raw_bytes = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has file names that are no text")
permissions = pytest.mark.skipif(os.name == "nt", reason="Windows knows no permissions of this kind")
limits = pytest.mark.skipif(os.name == "nt", reason="Windows sets no limits to what a process may write")
