"""What is installed is what is in the repository."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_wheel_holds_the_packages_files_byte_for_byte(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        built = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    source = ROOT / "src"
    expected = {
        path.relative_to(source).as_posix(): path.read_bytes()
        for path in (source / "pointsman").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    expected |= {
        f"pointsman/{path.relative_to(ROOT).as_posix()}": path.read_bytes()
        for path in (ROOT / "checkpoints" / "default-router").iterdir()
    }
    assert sorted(built) == sorted(expected)
    assert built == expected
