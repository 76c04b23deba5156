"""What may be acknowledged, whatever the order in which things finish."""

from hypothesis import given
from hypothesis import strategies as st

from edgewise.prefix import Prefix


def begun(items: str) -> tuple[Prefix[str], list[int]]:
    prefix: Prefix[str] = Prefix()
    return prefix, [prefix.begin(item) for item in items]


def test_an_item_leaves_when_it_is_finished() -> None:
    prefix, (first, second) = begun("ab")
    assert prefix.finish([first]) == ["a"]
    assert prefix.finish([second]) == ["b"]
    assert len(prefix) == 0


def test_an_item_waits_for_those_before_it() -> None:
    prefix, (first, second, third) = begun("abc")
    assert prefix.finish([third]) == []
    assert prefix.finish([second]) == []
    assert len(prefix) == 3
    assert prefix.finish([first]) == ["a", "b", "c"]


def test_a_receipt_given_twice_counts_once() -> None:
    prefix, (first, second) = begun("ab")
    assert prefix.finish([first, first]) == ["a"]
    assert prefix.finish([first]) == []
    assert prefix.finish([second]) == ["b"]


def test_forget_drops_what_is_under_way_and_passes_over_its_receipts() -> None:
    prefix, old = begun("abc")
    prefix.finish(old[1:2])
    prefix.forget()
    assert len(prefix) == 0
    new = prefix.begin("d")
    assert prefix.finish(old) == []
    assert len(prefix) == 1
    assert prefix.finish([new]) == ["d"]


def test_no_receipt_is_ever_used_again() -> None:
    prefix, old = begun("ab")
    prefix.finish(old[:1])
    prefix.forget()
    assert not {prefix.begin("c"), prefix.begin("d")} & set(old)


@given(st.permutations(range(12)), st.lists(st.integers(1, 4), min_size=12, max_size=12))
def test_items_leave_in_order_and_only_the_safe_prefix(order: list[int], sizes: list[int]) -> None:
    prefix: Prefix[int] = Prefix()
    receipts = [prefix.begin(item) for item in range(12)]
    left: list[int] = []
    finished: set[int] = set()
    while order:
        size = sizes.pop()
        some, order = order[:size], order[size:]
        finished.update(some)
        left += prefix.finish([receipts[item] for item in some])
        safe = next((item for item in range(12) if item not in finished), 12)
        assert left == list(range(safe))
        assert len(prefix) == 12 - safe
    assert left == list(range(12))


Step = tuple[str, list[int]]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.just([0])),
        st.tuples(st.just("finish"), st.lists(st.integers(0, 30), max_size=5)),
        st.tuples(st.just("forget"), st.just([0])),
    ),
    max_size=40,
)


@given(STEPS)
def test_whatever_happens_nothing_leaves_twice_or_unfinished(steps: list[Step]) -> None:
    prefix: Prefix[int] = Prefix()
    given_out: list[int] = []
    live: list[int] = []
    finished: set[int] = set()
    for step, receipts in steps:
        if step == "begin":
            given_out.append(prefix.begin(len(given_out)))
            live.append(given_out[-1])
        elif step == "forget":
            prefix.forget()
            live.clear()
        else:
            known = [receipt for receipt in receipts if receipt in given_out]
            finished.update(known)
            expected = []
            while live and live[0] in finished:
                expected.append(live.pop(0))
            assert [given_out[item] for item in prefix.finish(known)] == expected
        assert len(prefix) == len(live)
