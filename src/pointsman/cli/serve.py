"""Serve the router over HTTP, and put it in front of a local and a cloud model.

Without any setting the classification routes answer with the shipped router; chat needs upstreams, or
--demo, which starts two small ones. Everything can be set by flags, by the environment, by .env or in one
TOML file (--config); the first of these wins. docs/gateway.md lists every key.

Examples:
  pointsman serve --demo
  pointsman serve --local-url http://127.0.0.1:11434/v1 --local-model llama3.2 \\
      --cloud-url https://api.openai.com/v1 --cloud-model gpt-4o-mini --cloud-key-env OPENAI_API_KEY
  pointsman serve --config gateway.toml --check
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from pointsman.cli.policy_flags import add_policy_flags


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, help="a TOML file of settings")
    parser.add_argument(
        "--check",
        action="store_true",
        help="print the effective settings, validate, ask each upstream, and stop",
    )
    parser.add_argument(
        "--hash-key", action="store_true", help="read a key from standard input, print the line for keys_file"
    )
    parser.add_argument(
        "--demo", action="store_true", default=None, help="two echo upstreams, nothing to set up"
    )
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", help="port to listen on (default 8000)")
    parser.add_argument("--admin-port", help="port of the admin routes (default 8001; none: off)")
    parser.add_argument("--workers", help="processes that answer from one port (default 1)")
    parser.add_argument("--artifact", help="directory of an artifact (default: the shipped router)")
    parser.add_argument("--variant", help="which of its files to run: int8, folded, plain, fp16")
    parser.add_argument("--threads", help="threads of the model")
    add_policy_flags(parser)
    parser.add_argument(
        "--fallback", action="append", help="local-to-cloud or cloud-to-local; may be repeated"
    )
    for side in ("local", "cloud"):
        parser.add_argument(f"--{side}-url", help=f"address of the {side} model's service, up to /v1")
        parser.add_argument(f"--{side}-model", help=f"name of the {side} model there")
        parser.add_argument(f"--{side}-key-env", help="the environment variable that holds its key")
    parser.add_argument(
        "--traces",
        action="store_true",
        default=None,
        help="OpenTelemetry spans, as OTEL_* variables say",
    )
    parser.add_argument("--log-level", help="debug, info, warning or error")
    parser.add_argument("--worker-socket", type=int, help=argparse.SUPPRESS)  # one of several workers


def run(args: argparse.Namespace) -> int:
    from pointsman.serve.settings_loader import load_settings, masked

    if args.hash_key:
        from pointsman.serve.edge.keys import hashed_line

        print(hashed_line(sys.stdin.readline().strip()))
        return 0
    if args.worker_socket is not None:
        from pointsman.serve.processes.worker import work

        return work(args.worker_socket)
    settings = load_settings(_flags(args), args.config)
    if args.check:
        from pointsman.serve.processes.server import check, check_upstreams

        print(masked(settings))
        check(settings)
        print("settings are valid", file=sys.stderr)
        for line in check_upstreams(settings):
            print(line, file=sys.stderr)
        return 0
    if settings.server.workers > 1:
        from pointsman.serve.processes.supervisor import supervise

        return supervise(settings)
    from pointsman.serve.processes.server import serve

    return serve(settings)


def _flags(args: argparse.Namespace) -> dict[str, Any]:
    admin_port: dict[str, Any] = {} if args.admin_port is None else {"admin_port": args.admin_port}
    return {
        "demo": args.demo,
        "server": {
            "host": args.host,
            "port": args.port,
            "workers": args.workers,
            "log_level": args.log_level,
            "traces": args.traces,
            **admin_port,
        },
        "inference": {"artifact": args.artifact, "variant": args.variant, "threads": args.threads},
        "routing": {
            "cloud_threshold": args.cloud_threshold,
            "confidence_threshold": args.confidence_threshold,
            "safe_target": args.safe_target,
            "fallback": args.fallback,
        },
        "upstreams": {
            side: {
                "url": getattr(args, f"{side}_url"),
                "model": getattr(args, f"{side}_model"),
                "api_key_env": getattr(args, f"{side}_key_env"),
            }
            for side in ("local", "cloud")
        },
    }
