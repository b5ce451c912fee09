"""Build the packaged Dockerfile without a container engine, run what it describes, and say how large it is.

    python -m benchmarks.image [ARTIFACT] [--work DIR] [--json FILE] [--record]

Every instruction is read from the Dockerfile that `pointsman package docker` writes. A stage is a Debian root
(debootstrap, once, kept in DIR), not the official Python image of that release; RUN is carried out by chroot.
The result starts as compose starts it: not root, no capabilities, a read-only root, keys mounted, and a
network of its own. Needs root, debootstrap, openssl and util-linux, and a package index for the lock file.
"""

import argparse
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, record
from benchmarks.image.dockerfile_root import Stage, base_root, build
from packaging.utils import canonicalize_name

from pointsman.artifact.address import shipped_artifact
from pointsman.bench.environment import capture_environment

QUERY = "Write a comprehensive business plan"
MB = 1e6

_ASK = """
import json, sys, urllib.error, urllib.request
answers = []
for method, url, headers, body in json.load(sys.stdin):
    request = urllib.request.Request(url, body and json.dumps(body).encode(), headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            answers.append([answer.status, answer.read().decode()])
    except urllib.error.HTTPError as error:
        answers.append([error.code, error.read().decode()])
    except OSError as error:
        answers.append([0, str(error)])
json.dump(answers, sys.stdout)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "artifact", type=Path, nargs="?", default=shipped_artifact(), help="default: the shipped one"
    )
    parser.add_argument("--work", type=Path, default=Path(".targets/image"), help="where the roots stand")
    parser.add_argument("--json", type=Path, help="write everything that was seen")
    parser.add_argument("--record", action="store_true", help="record the figures for docs/deploy/docker.md")
    args = parser.parse_args()
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        sys.stderr.write("needs root and debootstrap (Debian: apt-get install debootstrap)\n")
        return 2
    environment = capture_environment()
    args.work.mkdir(parents=True, exist_ok=True)
    base = base_root(args.work.resolve())
    with tempfile.TemporaryDirectory(dir=args.work) as folder:
        context = Path(folder).resolve() / "context"
        package = [sys.executable, "-m", "pointsman", "package", "docker", args.artifact, "--output", context]
        subprocess.run(package, check=True, stdout=subprocess.DEVNULL)
        image = build(context, base, Path(folder).resolve())
        seen = {**inspect(image, base, context), **run(image, context, Path(folder))}
    text = json.dumps(seen, indent=1)
    if args.json:
        args.json.write_text(text + "\n", encoding="utf-8")
    print(text)
    if args.record:
        record("docker", "python -m benchmarks.image --record", figures(seen), environment)
    return 0


def inspect(image: Stage, base: Path, context: Path) -> dict[str, Any]:
    """Sizes, packages, and what should not be there."""
    before, after = dict(files(base)), dict(files(image.root))
    added = {name: info for name, info in after.items() if name not in before}
    site = next(image.root.glob("opt/venv/lib/python*/site-packages"))
    packages = {
        canonicalize_name(one.metadata["Name"]): sum(
            path.stat().st_size for part in one.files or () if (path := site / part).is_file()
        )
        for one in distributions(path=[str(site)])
    }
    locked = {
        canonicalize_name(line.partition("==")[0])
        for line in (context / "requirements.lock").read_text(encoding="utf-8").splitlines()
        if "==" in line and not line.startswith((" ", "#"))
    }
    return {
        "bytes": {
            "without the model": size(after) - size(after, "opt/router/"),
            "base": size(before),
            "packages": size(after, "opt/venv/"),
            "application": size(after, "opt/app/"),
            "model": size(after, "opt/router/"),
        },
        "files_added": len(added),
        "packages": dict(sorted(packages.items(), key=lambda item: -item[1])),
        "packages_besides_the_lock": sorted(set(packages) ^ locked),
        "setuid_added": [
            name for name, info in added.items() if info.st_mode & (stat.S_ISUID | stat.S_ISGID)
        ],
        "writable_by_the_user": [
            name
            for name, info in added.items()
            if not stat.S_ISLNK(info.st_mode) and (info.st_mode & stat.S_IWOTH or info.st_uid != 0)
        ],
        "secrets": [name for name in added if is_secret(name)],
    }


def files(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Name below the root to facts, of every file; a second link to the same file is left out."""
    links: set[tuple[int, int]] = set()
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder) / name
            info = path.lstat()
            if info.st_nlink == 1 or (info.st_dev, info.st_ino) not in links:
                links.add((info.st_dev, info.st_ino))
                yield path.relative_to(root).as_posix(), info


def size(found: Mapping[str, os.stat_result], below: str = "") -> int:
    """Bytes in the regular files below a folder."""
    return sum(
        info.st_size for name, info in found.items() if name.startswith(below) and stat.S_ISREG(info.st_mode)
    )


def is_secret(name: str) -> bool:
    """Whether a file's name says that it holds a key, a password or this machine's configuration."""
    path = Path(name)
    if path.name == "cacert.pem":
        return False
    named = (".env", "pip.conf", ".netrc", ".npmrc", ".pypirc", "keys.txt", "admin-keys.txt", "id_rsa")
    return path.name in named or path.suffix in (".pem", ".key", ".p12") or "secrets" in path.parts


def run(image: Stage, context: Path, work: Path) -> dict[str, Any]:
    """Start the image as compose does, ask it, and end it."""
    subprocess.run(["sh", "secrets.example.sh"], cwd=context, check=True, stdout=subprocess.DEVNULL)
    keys = {name: (context / "secrets" / f"{name}-key.txt").read_text() for name in ("client", "admin")}
    with (work / "log").open("w+") as log:
        start = time.monotonic()
        process = subprocess.Popen(inside(image, context), env=image.environment, stdout=log, stderr=log)
        try:
            while health(image, process.pid) != 0:
                if process.poll() is not None or time.monotonic() - start > 120:
                    log.seek(0)
                    raise RuntimeError(f"the image does not become healthy:\n{log.read()}")
                time.sleep(0.2)
            seconds = time.monotonic() - start
            client = {"content-type": "application/json", "authorization": f"Bearer {keys['client']}"}
            port, admin = (f"http://127.0.0.1:{number}" for number in image.ports)
            asked = [
                ("GET", f"{port}/readyz", {}, None),
                ("POST", f"{port}/predict", {"content-type": "application/json"}, {"query": QUERY}),
                ("POST", f"{port}/predict", client, {"query": QUERY}),
                ("GET", f"{admin}/metrics", {"authorization": f"Bearer {keys['admin']}"}, None),
            ]
            answers = ask(process.pid, asked)
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
            process.send_signal(signal.Signals[image.signal])
            left = process.wait(60)
        finally:
            process.kill()
            process.wait()
    facts = {key: text.split() for key, _, text in (line.partition(":") for line in status.splitlines())}
    return {
        "seconds_to_healthy": round(seconds, 2),
        "statuses": [answer[0] for answer in answers],
        "query": QUERY,
        "prediction": json.loads(answers[2][1]) if answers[2][0] == 200 else answers[2][1],
        "metrics": sorted({line.split()[2] for line in answers[3][1].splitlines() if line[:6] == "# TYPE"}),
        "user": facts["Uid"][0],
        "capabilities": facts["CapEff"][0],
        "memory_bytes": int(facts["VmHWM"][0]) * 1024,
        "exit_code": left,
    }


def inside(image: Stage, context: Path) -> list[str]:
    """The command that starts the image's own command in it, in name spaces of its own."""
    script = """
    root=$1 secrets=$2; shift 2
    mount --bind "$root" "$root" && mount --bind /proc "$root/proc" && mount -t tmpfs tmpfs "$root/tmp"
    mount -t tmpfs tmpfs "$root/run" && mkdir "$root/run/secrets"
    cp "$secrets/keys.txt" "$root/run/secrets/pointsman_keys"
    cp "$secrets/admin-keys.txt" "$root/run/secrets/pointsman_admin_keys"
    mount -o remount,ro "$root/run" && mount -o remount,bind,ro "$root"
    ip link set lo up
    exec "$@"
    """
    alone = ["unshare", "--mount", "--net", "--", "sh", "-euc", script, "sh", image.root, context / "secrets"]
    return [*map(str, alone), *as_user(image, image.entrypoint + image.command)]


def as_user(image: Stage, command: list[str]) -> list[str]:
    """A command in the image's root, by its user, without capabilities."""
    user, _, group = image.user.partition(":")
    limits = ["--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    return ["chroot", str(image.root), "setpriv", f"--reuid={user}", f"--regid={group}", *limits, *command]


def health(image: Stage, pid: int) -> int:
    """The exit code of the image's HEALTHCHECK beside the running process."""
    enter = ["nsenter", "--target", str(pid), "--mount", "--net", "--"]
    done = subprocess.run([*enter, *as_user(image, image.health)], env=image.environment, capture_output=True)
    return done.returncode


def ask(pid: int, requests: list[Any]) -> list[Any]:
    """Status and body of each request, made in the network of the running process."""
    enter = ["nsenter", "--target", str(pid), "--net", "--", sys.executable, "-c", _ASK]
    done = subprocess.run(enter, input=json.dumps(requests), capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout))


def figures(seen: dict[str, Any]) -> list[Figure]:
    """The rows of the page."""
    sizes = seen["bytes"]
    largest = [f"{name} {bytes_ / MB:.0f}" for name, bytes_ in list(seen["packages"].items())[:6]]
    return [
        Figure("unpacked size without the model", sizes["without the model"] / MB, "MB", "at most 350 MB"),
        Figure(
            "of it the base: Debian with Python, standing in for the official image", sizes["base"] / MB, "MB"
        ),
        Figure("of it the packages", sizes["packages"] / MB, "MB"),
        Figure("of it this project's modules", sizes["application"] / MB, "MB"),
        Figure("the model, with its artifact", sizes["model"] / MB, "MB"),
        Figure("the largest packages, MB", ", ".join(largest)),
        Figure("files on top of the base", seen["files_added"]),
        Figure("setuid files added", len(seen["setuid_added"]), aim="0"),
        Figure("files added that the user may write", len(seen["writable_by_the_user"]), aim="0"),
        Figure("most memory that the gateway held", seen["memory_bytes"] / MB, "MB"),
        Figure("from start to the first passed health check", seen["seconds_to_healthy"], "s"),
    ]


if __name__ == "__main__":
    sys.exit(main())
