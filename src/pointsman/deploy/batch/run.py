"""A batch run from start to end. The parent alone reads and writes; workers only answer texts.

So no worker that dies, here or on a cluster, can lose or double a row: a chunk is written once, by one
process, under a name that its place in the input gives it, and what has that name is not made again.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pointsman.datasets.chunks import Chunk, read_chunks
from pointsman.datasets.rows import BadRow, Rows, take
from pointsman.datasets.sources import format_of, is_remote, refuse_changed
from pointsman.deploy.batch.agreement import agreement, check_labels
from pointsman.deploy.batch.journal import RUN_FILE, BatchRun, begin
from pointsman.deploy.batch.merging import merge
from pointsman.deploy.batch.progress import Progress
from pointsman.deploy.batch.store import LocalStore, Store, open_store
from pointsman.deploy.batch.worker import Answers
from pointsman.deploy.batch.writing import Answer, bad_bytes, check_free, part_bytes
from pointsman.errors import InputError, OutputExistsError
from pointsman.labels import CLOUD

BAD_ROWS = "_bad_rows.jsonl"
_BAD_PART = ".bad.jsonl"


@dataclass(slots=True)
class Job:
    """A chunk with its parsed rows, on its way through a worker."""

    chunk: Chunk
    rows: Rows
    bad: list[BadRow]


Engine = Callable[[Iterable[tuple[Job, list[str]]]], Iterator[tuple[Job, Answers]]]
"""Takes (job, texts), gives (job, answers), each exactly once, in order."""


@dataclass(slots=True)
class Summary:
    """What a run did.

    Attributes:
        local: of these, rows for the local model.
        cloud: of these, rows for the cloud model.
        labelled: of these, rows with a label, where labels are compared.
        agreed: of these, rows whose target is their label.
        resumed: records that an earlier run had done.
        bad: bad rows, of all runs.
        output: the file, or the directory of parts.
        bad_rows: the side file; None where there is no bad row.
    """

    output: str
    routed: int = 0
    local: int = 0
    cloud: int = 0
    labelled: int = 0
    agreed: int = 0
    resumed: int = 0
    bad: int = 0
    bad_rows: str | None = None


@dataclass(slots=True)
class _Walk:
    """The pass over the inputs: which parts there are, and which were there before."""

    store: Store
    run: BatchRun
    done: set[str]
    progress: Progress
    summary: Summary
    parts: list[str] = field(default_factory=list)

    def jobs(self) -> Iterator[tuple[Job, list[str]]]:
        for number, source in enumerate(self.run.sources):
            options = self.run.options
            for chunk in read_chunks(source, options.columns, number=number, size=options.chunk_rows):
                name = f"{_part(chunk)}.{options.format}"
                self.parts.append(name)
                if name in self.done:
                    self.summary.resumed += chunk.records
                    self.progress.skip(self._position(chunk))
                    continue
                rows, bad = chunk.parse()
                check_free(rows, options)
                if options.compare and chunk.offset == 0:
                    check_labels(rows, options.columns)
                yield Job(chunk, rows, bad), rows.texts

    def finish(self, job: Job, answers: Answers) -> None:
        rows, bad = job.rows, list(job.bad)
        kept = [index for index, answer in enumerate(answers) if not isinstance(answer, str)]
        good: list[Answer] = [answer for answer in answers if not isinstance(answer, str)]
        if len(kept) < len(answers):
            refused = ((line, a) for line, a in zip(rows.lines, answers, strict=True) if isinstance(a, str))
            bad += [BadRow(rows.file, line, reason) for line, reason in refused]
            rows = take(rows, kept)
        name = _part(job.chunk)
        data = part_bytes(rows, good, self.run.options)
        if bad:
            # First the side file: the part's name is what says that the chunk is done.
            self.store.write(name + _BAD_PART, bad_bytes(sorted(bad, key=lambda row: row.line)))
        self.store.write(f"{name}.{self.run.options.format}", data)
        self.summary.routed += len(good)
        self.summary.cloud += sum(answer[0] == CLOUD for answer in good)
        self.summary.local = self.summary.routed - self.summary.cloud
        if self.run.options.compare:
            labelled, agreed = agreement(rows, good, self.run.options.columns)
            self.summary.labelled += labelled
            self.summary.agreed += agreed
        self.progress.add(len(good), self._position(job.chunk))

    def _position(self, chunk: Chunk) -> int:
        before = sum(source.size for source in self.run.sources[: chunk.source])
        return before + chunk.position


def _part(chunk: Chunk) -> str:
    """A part's name, without a suffix; names sort in the order of the rows."""
    return f"part-{chunk.source:06d}-{chunk.offset:012d}"


def run_batch(run: BatchRun, engine: Engine, progress: Progress) -> Summary:
    """Route every row of the sources once; repeat the same call to go on after any end.

    Raises:
        DataError: an input that cannot be read to its end; what was done before stays.
        OutputExistsError: the output is something else.
        InputError: the output is another run's, is in use, or cannot be written.
    """
    output, single = run.output, format_of(run.output) is not None
    parts_address = output + ".parts" if single else output
    if single and is_remote(output):
        raise InputError(f"{output}: one file can only be written here. Give a directory: {parts_address}")
    if single and Path(output).exists() and not (Path(parts_address) / RUN_FILE).exists():
        raise OutputExistsError(f"{output} exists. Remove it, or give a new output.")
    store = open_store(parts_address)
    with _alone(store):
        walk = _Walk(store, run, begin(store, run.record), progress, Summary(output))
        try:
            for job, answers in engine(walk.jobs()):
                walk.finish(job, answers)
        except BaseException:
            # A run that made nothing (a wrong column, say) must not bind the next one.
            if store.names() <= {RUN_FILE}:
                store.remove(RUN_FILE)
            raise
        refuse_changed(run.sources)
        _gather_bad(walk, single)
        if single and isinstance(store, LocalStore):
            _merge(walk, store)
    return walk.summary


def _merge(walk: _Walk, store: LocalStore) -> None:
    """The parts to the one file that was asked for."""
    options = walk.run.options
    if not walk.parts:
        walk.parts.append("part-empty." + options.format)
        store.write(walk.parts[0], part_bytes(Rows("", [], [], []), [], options))
    merge(store, walk.parts, Path(walk.run.output), options.format)
    _remove(store.path)


def _gather_bad(walk: _Walk, single: bool) -> None:
    """Put the side files together; they are bad rows only, so they are small."""
    store, summary = walk.store, walk.summary
    there = store.names()
    names = [part.removesuffix("." + walk.run.options.format) + _BAD_PART for part in walk.parts]
    pieces = [store.read(name) for name in names if name in there]
    if not pieces:
        return
    data = b"".join(pieces)
    summary.bad = data.count(b"\n")
    if single:
        output = Path(summary.output)
        beside = LocalStore(output.parent)
        beside.write(output.name + _BAD_PART, data)
        summary.bad_rows = str(output) + _BAD_PART
    else:
        store.write(BAD_ROWS, data)
        summary.bad_rows = f"{store.address}/{BAD_ROWS}"


def _remove(parts: Path) -> None:
    """Out of the way in one step: it may end in between, and half a run must not bind the next one."""
    done = parts.with_name(f".{parts.name}.done")
    shutil.rmtree(done, ignore_errors=True)
    parts.rename(done)
    shutil.rmtree(done)


@contextmanager
def _alone(store: Store) -> Iterator[None]:
    """Two runs in one directory would only do the work twice; the second is told."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    if not isinstance(store, LocalStore):
        yield
        return
    from pointsman.deploy.batch.store import unwritable

    lock = store.path / ".lock"
    made = not store.path.exists()
    try:
        store.path.mkdir(parents=True, exist_ok=True)
        file = lock.open("wb")
    except OSError as error:
        raise unwritable(store.address, error) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{store.address}: another batch run is writing there now.") from None
        try:
            yield
        finally:
            with suppress(OSError):
                lock.unlink(missing_ok=True)
                if made and not any(store.path.iterdir()):
                    store.path.rmdir()


def summary_json(summary: Summary) -> str:
    """The summary as one line."""
    return json.dumps({name: getattr(summary, name) for name in Summary.__dataclass_fields__})
