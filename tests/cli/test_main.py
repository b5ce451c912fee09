"""The whole command line: help, exit codes, a missing extra, nothing but one line on an error."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.running import COMMAND, environment

from pointsman import __version__
from pointsman.cli import __main__ as command_line
from pointsman.cli.__main__ import COMMANDS, EXTRAS, build_parser, main, missing_extra
from pointsman.errors import PointsmanError


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    said = capsys.readouterr().out
    assert stop.value.code == 0
    assert said.startswith(f"usage: pointsman {command}")
    assert len(said.splitlines()) >= 5


def test_help_lists_every_command_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    said = capsys.readouterr().out
    assert stop.value.code == 0
    assert all(f"\n    {command}" in said for command in COMMANDS)
    assert "Exit codes: 0 done, 1 failure, 2 not understood" in said


@pytest.mark.parametrize("module", ["pointsman", "pointsman.cli"])
def test_python_runs_the_package_and_its_command_line(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"],
        capture_output=True,
        env=environment(),
        check=False,
        timeout=120,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, f"pointsman {__version__}\n")


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert (stop.value.code, capsys.readouterr().out) == (0, f"pointsman {__version__}\n")


def test_alone_it_says_how_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("  pointsman ")]
    assert [line[1] for line in lines] == ["route", "serve", "batch", "export", "train"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["walk"], "pointsman: unknown command 'walk' (usage: pointsman --help)"),
        (["rout", "x"], "unknown command 'rout': did you mean route?"),
        (["Route", "x"], "unknown command 'Route': did you mean route?"),
        (
            ["route", "--nonsense"],
            "pointsman route: unknown argument '--nonsense' (usage: pointsman route --help)",
        ),
        (["route", "--artefact", "x"], "unknown argument '--artefact': did you mean --artifact?"),
        (["route", "x", "--cloud_threshold=1"], "'--cloud_threshold': did you mean --cloud-threshold?"),
        (["verify", "a", "b"], "pointsman verify: unknown argument 'b'"),
        (["versions"], "required: ACTION"),
        (["versions", "lst", "--registry", "x"], "unknown action 'lst': did you mean list?"),
        (["versions", "list", "--registry", "x", "--jsn"], "unknown argument '--jsn': did you mean --json?"),
        (["calibrate", "a", "b", "--method", "plat"], "--method: unknown 'plat': did you mean platt?"),
        (
            ["label", "work", "--port", "http"],
            "expected a whole number from 0 to 65535, found 'http'",
        ),
        (
            ["train", "x", "--base", "y", "--output", "z", "--validation-share", "0.9"],
            "--validation-share: expected a number from 0.05 to 0.5, found '0.9'",
        ),
        (
            ["train", "x", "--base", "y", "--output", "z", "--epochs", "0"],
            "--epochs: expected a number above 0, found '0'",
        ),
        (["bench", "x", "--threads", "0"], "--threads: expected a whole number of at least 1"),
        (["batch", "x", "y", "--ray-timeout", "0"], "--ray-timeout: expected a number above 0"),
        (["export", "x", "--opset", "13"], "--opset: expected a whole number from 14 to 23, found '13'"),
        (["label", "work", "--port", "65536"], "--port: expected a whole number from 0 to 65535"),
        (["explain", "x", "--top", "0"], "--top: expected a whole number of at least 1"),
        (["export", "x", "--threads", "-1"], "--threads: expected a whole number of at least 1"),
        (
            ["choose", "x", "y", "--per-month", "nan"],
            "--per-month: expected a number of at least 0, found 'nan'",
        ),
        (["choose", "x", "y", "--per-month", "inf"], "--per-month: expected a number"),
        (["choose", "x", "y", "--per-month", "9", "--share", "50"], "--share: expected a number from 0 to 1"),
        (["judge", "x", "--budget", "-1"], "--budget: expected a number of at least 0"),
        (["judge", "x", "--judge-price-in", "nan"], "--judge-price-in: expected a number"),
        (["collect", "x", "--config", "y", "--output", "z", "--budget", "5€"], "--budget: expected a number"),
        (["fit", "x", "--output", "y", "--seed", "-1"], "--seed: expected a whole number of at least 0"),
        (
            ["fit", "x", "--output", "y", "--seed", "9" * 5000],
            "--seed: expected a whole number of at least 0",
        ),
    ],
)
def test_what_is_not_understood_is_2(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    found = capsys.readouterr().err
    assert said in found
    assert (found.count("\n"), found.endswith("--help)\n")) == (1, True)


def tree(cls: type[PointsmanError]) -> list[type[PointsmanError]]:
    """The tree of `pointsman.errors`; rooms may grow it with classes of their own, made otherwise."""
    children = [child for child in cls.__subclasses__() if child.__module__ == PointsmanError.__module__]
    return [cls, *(below for child in children for below in tree(child))]


class Failing:
    """A command that ends as it is told."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def run(self, args: object) -> int:
        raise self.error


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch):
    def end(error: BaseException) -> int:
        parser, modules = build_parser()
        monkeypatch.setattr(
            command_line, "build_parser", lambda: (parser, {**modules, "route": Failing(error)})
        )
        return main(["route", "x"])

    return end


@pytest.mark.parametrize("cls", tree(PointsmanError), ids=lambda cls: cls.__name__)
def test_every_error_is_one_line_and_its_code(cls, ending, capsys) -> None:
    assert ending(cls("what is wrong")) == cls.exit_code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "pointsman route: what is wrong\n")


def test_an_interrupt_is_130(ending, capsys) -> None:
    assert ending(KeyboardInterrupt()) == 130
    assert "interrupted" in capsys.readouterr().err


def test_the_systems_own_errors_are_one_line(ending, capsys) -> None:
    assert ending(PermissionError(13, "Permission denied", "there")) == 1
    assert capsys.readouterr().err == "pointsman route: [Errno 13] Permission denied: 'there'\n"


@pytest.mark.parametrize(
    ("package", "extra"), [("torch.nn", "export"), ("onnx", "export"), ("ray", "ray"), ("starlette", "serve")]
)
def test_a_missing_package_is_the_line_that_installs_it(package, extra, ending, capsys) -> None:
    assert ending(ModuleNotFoundError(f"No module named {package!r}", name=package)) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.endswith(f"pip install 'pointsman[{extra}]'\n")


@pytest.mark.parametrize(("command", "extra"), [("train", "train"), ("serve", "serve"), ("export", "export")])
def test_a_command_asks_for_its_own_extra(command: str, extra: str) -> None:
    error = missing_extra(command, ModuleNotFoundError(name="torch"))
    assert f"pointsman[{extra}]" in str(error)


def test_a_module_of_our_own_that_is_missing_is_a_fault_not_an_extra(ending) -> None:
    with pytest.raises(ModuleNotFoundError):
        ending(ModuleNotFoundError("No module named 'pointsman.gone'", name="pointsman.gone"))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_flags_and_files(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in (*COMMANDS, "cloud-threshold", "rollback"))
    if program := shutil.which(shell):
        path = tmp_path / "script"
        path.write_text(script, encoding="utf-8")
        done = subprocess.run([program, "-n", path], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


def test_bash_offers_what_may_follow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    main(["completion", "bash"])
    script = (
        capsys.readouterr().out
        + """
complete -p pointsman >/dev/null || exit 9
handler=$(complete -p pointsman | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
COMP_WORDS=(pointsman versions rol); COMP_CWORD=2; "$handler"; echo "${COMPREPLY[@]}"
COMP_WORDS=(pointsman route --cloud-t); COMP_CWORD=2; "$handler"; echo "${COMPREPLY[@]}"
"""
    )
    done = subprocess.run([bash, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["rollback", "--cloud-threshold"], done.stderr


def test_every_extra_that_is_named_exists() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(EXTRAS.values()) <= set(project["project"]["optional-dependencies"])


@pytest.mark.parametrize(
    ("words", "code", "closed"),
    [
        (["route"], 0, (0,)),
        (["verify"], 0, (1,)),
        (["verify", "nothing"], 3, (0, 1, 2)),
        (["rout"], 2, (2,)),
    ],
)
def test_a_closed_stream_is_empty_and_takes_all(words, code, closed, tmp_path) -> None:
    """As a shell's `<&-` and `>&-`, or a service without a console, leave it."""
    done = subprocess.run(
        ["bash", "-c", f'"$@" {" ".join(f"{n}>&-" for n in closed)}', "bash", *COMMAND, *words],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment(),
        check=False,
        timeout=120,
    )
    assert done.returncode == code
    assert b"Traceback" not in done.stderr
    if 1 in closed:
        assert done.stdout == b""


def test_no_error_controls_the_terminal(ending, capsys) -> None:
    assert ending(PointsmanError("no artifact at \x1b[2J\u202e\x07\nsecond line")) == 1
    assert capsys.readouterr().err == "pointsman route: no artifact at \ufffd[2J\ufffd\ufffd\nsecond line\n"


def test_the_root_of_the_disk_is_no_checkpoint(capsys) -> None:
    pytest.importorskip("onnx")
    assert main(["export", "/"]) == 4
    assert (
        capsys.readouterr().err
        == "pointsman export: /config.json cannot be read: No such file or directory.\n"
    )
