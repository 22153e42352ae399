"""Where the material is that lies beside the repository, and an honest skip where it is not."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]

os.environ["EDGEWRIGHT_CACHE"] = "off"  # no test is spared the door for what another one, or the developer, has had admitted


@pytest.fixture(scope="session")
def test_data() -> Path:
    folder = Path(os.environ.get("EDGEWRIGHT_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}; set EDGEWRIGHT_TEST_DATA to where it is")
    return folder


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the long form of the checks as well")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--soak"):
        return
    for item in items:
        if item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.skip(reason="a long check: run `make soak`"))
