"""Whatever the library that talks to Kafka raises is one of the kit's errors, which its parts know how to meet."""

from collections.abc import Sequence

import confluent_kafka as ck
import pytest

from edgewise.errors import EdgewiseError
from edgewise.kafka.confluent import ConfluentConsumer
from edgewise.topics import FRAMES


class Broken:
    """librdkafka's consumer, which raises whatever is asked of it."""

    def __init__(self, code: int) -> None:
        self._error = ck.KafkaException(ck.KafkaError(code))

    def assignment(self) -> Sequence[object]:
        return []

    def __getattr__(self, name: str) -> object:
        def fails(*_: object, **__: object) -> None:
            raise self._error

        return fails


def test_whatever_librdkafka_raises_is_a_kafka_that_does_not_answer() -> None:
    consumer = ConfluentConsumer.__new__(ConfluentConsumer)
    consumer._address, consumer._group, consumer._begin = "nowhere:9092", None, {}  # noqa: SLF001 - no Kafka raises these at will
    state = ck.KafkaError._STATE  # noqa: SLF001 - that is its public name
    for code, said in ((state, "does not answer"), (ck.KafkaError.TOPIC_AUTHORIZATION_FAILED, "not let")):
        consumer._consumer = Broken(code)  # noqa: SLF001
        for ask in (
            lambda: consumer.take(limit=1, wait_s=0),
            consumer.lag,
            consumer.skip,
            lambda: consumer.commit({(FRAMES, 0): 1}),
        ):
            with pytest.raises(EdgewiseError, match=said):
                ask()
