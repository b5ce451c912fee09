"""Answers come in the order of the jobs, and only a few jobs are taken ahead."""

from pointsman.deploy.batch.pipeline import in_order


def test_order_is_kept_and_jobs_are_taken_as_answers_are():
    taken: list[int] = []

    def jobs():
        for number in range(10):
            taken.append(number)
            yield number, number * 2

    answers = in_order(jobs(), lambda work: work, lambda sent: sent + 1, most=3)
    assert next(answers) == (0, 1)
    assert taken == [0, 1, 2]
    assert list(answers) == [(number, number * 2 + 1) for number in range(1, 10)]


def test_fewer_jobs_than_may_be_under_way():
    assert list(in_order([("a", 1)], lambda work: work, lambda sent: sent, most=5)) == [("a", 1)]
    assert list(in_order([], lambda work: work, lambda sent: sent, most=1)) == []
