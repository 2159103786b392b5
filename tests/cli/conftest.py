"""A link in a file."""

import pytest
from link_text import LINK


@pytest.fixture
def link_file(tmp_path):
    path = tmp_path / "link.toml"
    path.write_text(LINK)
    return path
