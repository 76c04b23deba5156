"""The model's thread: which frames make a batch, and whose answer is whose."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from consumers.gateway.model import Classified, Classifier
from edgewise.arrival import Opened
from edgewise.clock import ManualClock
from tests.fakes import FRAME, FakeEngine, arrival
from tests.real import eventually

Make = Callable[..., Classifier]


@pytest.fixture
def make() -> Iterator[Make]:
    """Give a maker of classifiers, and let each thread end."""
    made: list[tuple[Classifier, FakeEngine]] = []

    def one(engine: FakeEngine, *, batch_max: int = 4, batch_wait_s: float = 0.0) -> Classifier:
        classifier = Classifier(engine, batch_max=batch_max, batch_wait_s=batch_wait_s, clock=ManualClock(start_ns=9))
        made.append((classifier, engine))
        return classifier

    yield one
    for classifier, engine in made:
        engine.turns.release(1000)
        classifier.close()


def opened(place: int) -> Opened:
    image = np.full((1, 2, 3), place, dtype=np.uint8)
    return Opened(arrival(b"", receipt=place), FRAME, image)


def submitted(classifier: Classifier, places: Sequence[int]) -> None:
    for place in places:
        classifier.submit(opened(place))


def answered(classifier: Classifier, count: int) -> list[Classified]:
    """Wait for so many answers."""
    answers: list[Classified] = []

    def enough() -> bool:
        answers.extend(classifier.answers())
        return len(answers) >= count

    eventually(enough, within_s=10)
    return answers


def test_a_lone_frame_is_a_batch_of_one(make: Make) -> None:
    classifier = make(FakeEngine())
    submitted(classifier, [3])
    (answer,) = answered(classifier, 1)
    assert (answer.answer.label, answer.answer.batch) == (3, 1)
    assert (answer.answer.started_ns, answer.answer.inferred_ns) == (9, 9)


def test_what_waits_while_the_model_works_becomes_the_next_batch_up_to_the_maximum(make: Make) -> None:
    engine = FakeEngine(held=True)
    classifier = make(engine, batch_max=4)
    submitted(classifier, [0])
    assert engine.at_work.acquire(timeout=10)
    submitted(classifier, range(1, 8))
    engine.turns.release(3)
    assert [answer.answer.batch for answer in answered(classifier, 8)] == [1, 4, 4, 4, 4, 3, 3, 3]
    assert engine.batches == [1, 4, 3]


def test_each_answer_goes_to_its_own_frame(make: Make) -> None:
    engine = FakeEngine(held=True)
    classifier = make(engine, batch_max=16)
    submitted(classifier, [200])
    assert engine.at_work.acquire(timeout=10)
    places = [17, 3, 250, 3, 0, 99]
    submitted(classifier, places)
    engine.turns.release(2)
    answers = answered(classifier, 7)
    assert [answer.opened.arrival.receipt for answer in answers] == [200, *places]
    assert [answer.answer.label for answer in answers] == [200, *places]
    assert [answer.answer.score for answer in answers] == [place / 256 for place in [200, *places]]


def test_a_batch_that_may_wait_is_filled_by_frames_that_come_later(make: Make) -> None:
    engine = FakeEngine()
    classifier = make(engine, batch_max=3, batch_wait_s=30)
    submitted(classifier, [1])
    submitted(classifier, [2, 3])
    assert [answer.answer.batch for answer in answered(classifier, 3)] == [3, 3, 3]


def test_a_batch_that_is_not_filled_goes_when_its_wait_is_over(make: Make) -> None:
    classifier = make(FakeEngine(), batch_max=3, batch_wait_s=0.01)
    submitted(classifier, [1])
    assert [answer.answer.batch for answer in answered(classifier, 1)] == [1]


def test_what_the_engine_raises_is_raised_to_whoever_asks(make: Make) -> None:
    engine = FakeEngine(held=True)
    engine.fails_with = RuntimeError("out of memory")
    classifier = make(engine)
    submitted(classifier, [1])
    engine.turns.release()
    with pytest.raises(RuntimeError, match="out of memory"):
        answered(classifier, 1)


def test_frames_are_under_way_until_their_answers_are_fetched(make: Make) -> None:
    engine = FakeEngine(held=True)
    classifier = make(engine)
    submitted(classifier, [1, 2])
    assert (classifier.under_way, list(classifier.answers())) == (2, [])
    engine.turns.release(2)
    answered(classifier, 2)
    assert classifier.under_way == 0


@pytest.mark.parametrize("batch_wait_s", [0.0, 30.0])
def test_closing_lets_what_is_in_line_be_classified_first(make: Make, batch_wait_s: float) -> None:
    engine = FakeEngine()
    classifier = make(engine, batch_max=4, batch_wait_s=batch_wait_s)
    submitted(classifier, range(10))
    classifier.close()
    assert [answer.answer.label for answer in classifier.answers()] == list(range(10))


def test_closing_after_the_engine_failed_does_not_hang(make: Make) -> None:
    engine = FakeEngine()
    engine.fails_with = RuntimeError("out of memory")
    classifier = make(engine)
    submitted(classifier, [1, 2])
    classifier.close()
    with pytest.raises(RuntimeError, match="out of memory"):
        classifier.answers()
