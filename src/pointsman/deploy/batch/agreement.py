"""How often the targets of a chunk are the labels of its rows."""

from collections.abc import Sequence

from pointsman.datasets.outcomes import check_outcome, outcome_of
from pointsman.datasets.reading import Row, values_of
from pointsman.datasets.rows import Columns, Rows
from pointsman.deploy.batch.writing import Answer
from pointsman.labels import CLOUD


def agreement(rows: Rows, answers: Sequence[Answer], columns: Columns) -> tuple[int, int]:
    """Rows with a usable label, and how many of them have it as their target."""
    labelled = agreed = 0
    data = zip(rows.lines, rows.texts, values_of(rows.data, rows.file), answers, strict=True)
    for line, text, values, answer in data:
        outcome = outcome_of(Row(rows.file, line, text, values), columns)
        if not isinstance(outcome, str):
            labelled += 1
            agreed += outcome.is_cloud == (answer[0] == CLOUD)
    return labelled, agreed


def check_labels(rows: Rows, columns: Columns) -> None:
    """Refuse a file whose first rows have no column of labels; raises DataError with those that are there."""
    data = rows.data
    names = dict.fromkeys(n for row in data for n in row) if isinstance(data, list) else data.column_names
    check_outcome(names, rows.file, columns)
