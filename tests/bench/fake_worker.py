"""A worker for tests: it opens nothing and answers at once, or fails as it is told."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pointsman.bench.worker import Subject, serve


class Fake(Subject):
    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.mode = settings.get("mode", "")
        self.name, self.log = settings.get("name", ""), settings.get("log")

    def run(self, input_ids: Any, attention_mask: Any) -> object:
        if self.log:
            with Path(self.log).open("a", encoding="utf-8") as log:
                log.write(f"{self.name}\n")
        if self.mode == "noisy":
            print("noise on standard output", flush=True)
        if self.mode == "slow":
            time.sleep(600)
        if self.mode == "dies at 16" and input_ids.shape[1] == 16:
            raise ValueError("sixteen is too much")
        return input_ids

    def bulk(self, texts: list[str]) -> object:
        return texts


def open_fake(settings: Mapping[str, Any]) -> Subject:
    if settings.get("mode") == "does not open":
        print("a warning before", file=sys.stderr)
        raise ValueError("cannot open this")
    return Fake(settings)


if __name__ == "__main__":
    serve(open_fake)
