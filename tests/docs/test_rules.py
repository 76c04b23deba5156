"""The page of rules: each has a module and a test, and both are there."""

import re
from typing import Final

from edgewise.places import CHECKOUT

PAGE: Final = CHECKOUT / "docs" / "rules.md"
ROW: Final = re.compile(r"^\| (\d*) ?\| .+ \| \[(\w+)\]\(\.\./(\S+)\) \| \[(\w+)\]\(\.\./(\S+)\) \|$", re.MULTILINE)
RULES: Final = 25


def test_each_rule_names_a_module_and_a_test_that_are_there() -> None:
    page = PAGE.read_text()
    found = ROW.findall(page)
    assert len(found) == page.count("\n| ") - 1, "each row but the head is read"
    assert [int(number) for number, *_ in found if number] == list(range(1, RULES + 1))
    for _, module, path, test, where in found:
        assert (CHECKOUT / path).stem == module
        assert (CHECKOUT / path).is_file(), path
        assert re.search(rf"^def {test}\(", (CHECKOUT / where).read_text(), re.MULTILINE), f"{where} has no {test}"
