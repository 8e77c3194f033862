"""What every test may ask for, and what a run says in the end."""

import pytest

from tests.figures import Figures

pytest_plugins = ("tests.servers",)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Figures())
