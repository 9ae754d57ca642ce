"""A settings file and an environment for one test, and what comes of them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from relay.settings import Settings, SettingsError, load_settings

Load = Callable[..., Settings]
Mistakes = Callable[..., dict[str, str]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Settings of a file with this content, under these variables."""

    def run(toml: str = "", **environ: str) -> Settings:
        path = tmp_path / "relay.toml"
        path.write_text(toml)
        return load_settings({"RELAY_CONFIG": str(path), "PATH": "/bin"} | environ)

    return run


@pytest.fixture
def mistakes(load: Load) -> Mistakes:
    """What is wrong with such settings: place → message."""

    def run(toml: str = "", **environ: str) -> dict[str, str]:
        with pytest.raises(SettingsError) as caught:
            load(toml, **environ)
        found = {error.path: error.message for error in caught.value.errors}
        assert len(found) == len(caught.value.errors), "one mistake is told once"
        return found

    return run
