"""A Dockerfile's instructions carried out in a Debian root folder, where no container engine is.

Every instruction is read from the file; one that is not known here is an error. RUN needs root (chroot).
"""

import json
import os
import shlex
import shutil
import string
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from dockerfile_parse import DockerfileParser

RELEASE = "bookworm"
BASE = "python:3.11-slim-bookworm"
BASE_PACKAGES = "python3,python3-venv,python3-pip,python-is-python3"
BASE_UNWANTED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/lib/apt/lists", "var/cache/apt")
"""What the slim images leave out, too."""


@dataclass
class Stage:
    """A root folder, and what the instructions said about it."""

    root: Path
    environment: dict[str, str]
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    signal: str = "SIGTERM"
    ports: list[str] = field(default_factory=list)


def base_root(work: Path) -> Path:
    """The substitute for the base image, made once; what debootstrap mounts goes when it ends."""
    root, made = work / RELEASE, work / f"{RELEASE}.made"
    if not made.exists():
        shutil.rmtree(root, ignore_errors=True)
        subprocess.run(
            [
                "unshare",
                "--mount",
                "debootstrap",
                "--variant=minbase",
                f"--include={BASE_PACKAGES}",
                RELEASE,
                root,
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        for name in BASE_UNWANTED:
            shutil.rmtree(root / name, ignore_errors=True)
        made.touch()
    return root


def build(context: Path, base: Path, work: Path) -> Stage:
    """Carry out the Dockerfile; returns its last stage.

    Raises:
        ValueError: an instruction that this script does not know, or another base image.
    """
    stages: dict[str, Stage] = {}
    stage = Stage(base, {})
    with (context / "Dockerfile").open("rb") as file:
        instructions = DockerfileParser(fileobj=file).structure
    for number, one in enumerate(instructions):
        word, value = one["instruction"], one["value"]
        if word == "COMMENT":
            continue
        if word == "FROM":
            image, _, name = value.partition(" AS ")
            if image != BASE:
                raise ValueError(f"FROM {image}: expected {BASE}")
            stage = Stage(work / f"stage-{number}", {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"})
            subprocess.run(["cp", "-a", "--reflink=auto", base, stage.root], check=True)
            stages[name or str(number)] = stage
        elif word == "ENV":
            for pair in shlex.split(value):
                key, _, text = pair.partition("=")
                stage.environment[key] = string.Template(text).substitute(stage.environment)
        elif word == "COPY":
            words = shlex.split(value)
            source = stages[words.pop(0).removeprefix("--from=")].root if words[0][:2] == "--" else context
            copy(source / words[0].lstrip("/"), stage.root / words[1].lstrip("/"))
        elif word == "RUN":
            run_step(stage, value)
        elif word == "USER":
            stage.user = value
        elif word == "EXPOSE":
            stage.ports = value.split()
        elif word == "STOPSIGNAL":
            stage.signal = value
        elif word == "HEALTHCHECK":
            stage.health = json.loads(value.partition("CMD ")[2])
        elif word == "ENTRYPOINT":
            stage.entrypoint = json.loads(value)
        elif word == "CMD":
            stage.command = json.loads(value)
        else:
            raise ValueError(f"unknown instruction {word}")
    return stage


def copy(source: Path, destination: Path) -> None:
    """COPY: the contents of a folder, or one file, owned by root."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        subprocess.run(["cp", "-a", "--no-preserve=ownership", f"{source}/.", destination], check=True)
    else:
        shutil.copy(source, destination)


def run_step(stage: Stage, line: str) -> None:
    """RUN, with this machine's way to the package index lent for the step."""
    lent = {k: v for k, v in os.environ.items() if k.lower() in ("http_proxy", "https_proxy", "no_proxy")}
    lent |= {name: os.environ[name] for name in ("PIP_INDEX_URL",) if name in os.environ}
    bundle = stage.root / "tmp" / "certificates.pem"
    authorities = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
    if authorities:
        shutil.copy(authorities, bundle)
        lent["PIP_CERT"] = "/tmp/certificates.pem"
    try:
        subprocess.run(
            ["chroot", stage.root, "/bin/sh", "-c", line],
            env={**stage.environment, **lent},
            check=True,
            stdout=sys.stderr,
        )
    finally:
        bundle.unlink(missing_ok=True)
