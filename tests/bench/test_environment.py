import json
from dataclasses import replace
from pathlib import Path

import pytest

from pointsman import __version__
from pointsman.bench.environment import Environment, capture_environment, peak_rss_bytes
from pointsman.errors import DataError

CPUINFO = """processor\t: 0
model name\t: Imaginary 9000
flags\t\t: fpu avx2 avx512f avx512_vnni sse2

processor\t: 1
model name\t: Imaginary 9000
"""


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "cpuinfo").write_text(CPUINFO)
    (tmp_path / "meminfo").write_text("MemFree: 1 kB\nMemTotal:       2048 kB\n")
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "status").write_text("Name:\tx\nVmPeak:\t 900 kB\nVmHWM:\t 300 kB\n")
    return tmp_path


def test_the_machine_is_read_from_the_kernel(proc: Path) -> None:
    found = capture_environment(proc)
    assert found.cpu == "Imaginary 9000"
    assert found.flags == ("avx2", "avx512f", "avx512_vnni")
    assert found.has_vnni
    assert found.memory_bytes == 2048 * 1024
    assert found.usable >= 1


def test_a_processor_without_vnni_is_recognised(proc: Path) -> None:
    (proc / "cpuinfo").write_text(CPUINFO.replace("avx512_vnni", ""))
    assert not capture_environment(proc).has_vnni


def test_a_system_without_proc_still_has_an_environment(tmp_path: Path) -> None:
    found = capture_environment(tmp_path / "nothing")
    assert (found.flags, found.memory_bytes) == ((), 0)
    assert found.cpu


def test_only_installed_packages_are_listed() -> None:
    packages = capture_environment(packages=("numpy", "no-such-package-at-all")).packages
    assert list(packages) == ["numpy"]


def test_the_version_of_this_package_is_that_of_the_code_that_runs() -> None:
    assert capture_environment(packages=("pointsman",)).packages == {"pointsman": __version__}


def test_nothing_names_a_host_or_a_path() -> None:
    import getpass
    import platform

    text = json.dumps(capture_environment().to_dict())
    assert platform.node() not in text
    assert str(Path.cwd()) not in text
    assert f'"{getpass.getuser()}"' not in text


def test_json_round_trip(proc: Path) -> None:
    found = capture_environment(proc)
    assert Environment.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert Environment.from_dict(replace(found, load=9.5).to_dict()) != found


@pytest.mark.parametrize("change", [{"surprise": 1}, {"flags": None}])
def test_what_is_not_understood_is_refused(proc: Path, change: dict[str, object]) -> None:
    with pytest.raises(DataError, match="environment"):
        Environment.from_dict({**capture_environment(proc).to_dict(), **change})


def test_peak_memory_is_the_high_water_mark(proc: Path, tmp_path: Path) -> None:
    assert peak_rss_bytes(proc) == 300 * 1024
    assert peak_rss_bytes(tmp_path / "nothing") == 0
