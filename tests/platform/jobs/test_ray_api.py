"""What needs no Ray to be tested of how we speak to it."""

import pytest

from covey.platform.jobs.ray_api import end_of


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [([], b""), ([b"ab"], b"ab"), ([b"abc", b"de"], b"bcde"), ([b"abcdefg"], b"defg")],
)
def test_the_end_of_a_long_log(pieces: list[bytes], expected: bytes) -> None:
    assert end_of(iter(pieces), 4) == expected
