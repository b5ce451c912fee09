"""Coverage-guided fuzzing of one of our parsers, by atheris in an environment of its own.

    .peers/atheris/bin/python -m tests.reliability.guided_fuzzing TARGET CORPUS SECONDS [SEED]

Anything but a value or an error of ours ends the run, and the bytes stay in CORPUS-crashes. CORPUS keeps what
reached new code, for the next run.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pointsman", "json", "tomllib"]):
    from tests.reliability.fuzz_targets import FUZZ_TARGETS, seeds, words

_MOST_BYTES = 4096


def main(target: str, corpus: Path, seconds: int, seed: int) -> None:
    """Fuzz until the time is up; atheris ends the process."""
    crashes = corpus.with_name(f"{corpus.name}-crashes")
    for folder in (corpus, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    for index, data in enumerate(seeds(target)):
        (corpus / f"seed-{index}").write_bytes(data)
    dictionary = corpus.with_name(f"{corpus.name}.dict")
    dictionary.write_text("".join(f'"{_escaped(word)}"\n' for word in words(target)), encoding="ascii")
    flags = [f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={_longest(target)}", "-timeout=10"]
    flags += [
        f"-dict={dictionary}",
        f"-artifact_prefix={crashes}/",
        "-print_final_stats=1",
        "-rss_limit_mb=1024",
    ]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], FUZZ_TARGETS[target]())
    atheris.Fuzz()


def _longest(target: str) -> int:
    return max(_MOST_BYTES, *(2 * len(data) for data in seeds(target)))


def _escaped(word: str) -> str:
    return "".join(c if c.isalnum() else f"\\x{ord(c):02x}" for c in word)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 1)
