"""What is built is installed into an environment that knows nothing of this repository, and used outside of it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from klines import hours, place

ROOT = Path(__file__).parents[1]


def call(*command: str | Path, cwd: Path) -> str:
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "LAKEHOUSE_ROOT")}
    env["JUPYTER_PATH"] = f"{sys.prefix}/share/jupyter"  # nbconvert's templates are not in a package
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands of an environment lie that has our wheel; its dependencies are those of this one."""
    folder = tmp_path_factory.mktemp("installed")
    call(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    call(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    bin_folder = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    (wheel,) = folder.glob("*.whl")
    call(bin_folder / "python", "-m", "pip", "install", "--no-index", "--no-deps", wheel, cwd=folder)
    get_path = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = call(bin_folder / "python", "-c", get_path, cwd=folder).strip()
    # A path file that is named by another one is not followed: the editable install of this repository stays away.
    Path(packages, "others.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return bin_folder


@pytest.mark.slow
def test_the_wheel_does_the_main_job_and_its_report_outside_of_the_repository(commands: Path, tmp_path: Path) -> None:
    place(tmp_path, "AAAUSDT_1h.csv", hours(0, 4))
    where = call(commands / "python", "-c", "import lakehouse; print(lakehouse.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(commands.parent)
    assert "5 lines read = 5 inserted" in call(commands / "lakehouse", "run", cwd=tmp_path)
    (page,) = tmp_path.glob("runs/*-report/report.html")
    assert "AAAUSDT 1h" in page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_wheel_carries_every_notebook_and_lab_opens_a_copy(commands: Path, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    said = call(commands / "lakehouse", "lab", "--show-config-json", cwd=tmp_path)
    assert str(tmp_path / "notebooks") in said.replace("\n", "")
    names = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert sorted(path.name for path in (tmp_path / "notebooks").glob("*.ipynb")) == names
