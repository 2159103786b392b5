import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdiqkd_net.keys.text import ENCODINGS

LIBRARY = {"hex": lambda data: data.hex().encode(), "base64": base64.b64encode}


@pytest.mark.parametrize("name", ENCODINGS)
@given(data=st.binary(max_size=50))
def test_text_is_that_of_the_library(name, data):
    encoding = ENCODINGS[name]
    out = bytearray(encoding.size(len(data)))
    encoding.write(memoryview(data), memoryview(out))
    assert out == LIBRARY[name](data)
