"""A group of tests shares what is dear to make, so it runs in one process."""

import pytest

pytestmark = pytest.mark.xdist_group("promised")


def test_a_test_of_a_group_is_sent_where_its_group_runs(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("loadgroup", False):
        pytest.skip("only with --dist loadgroup, as make test runs")
    assert request.node.nodeid.endswith("@promised")
