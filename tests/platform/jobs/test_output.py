"""How much is kept of what a driver prints."""

import pytest

from covey.platform.jobs.output import end_of


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [([], b""), ([b"ab"], b"ab"), ([b"abc", b"de"], b"bcde"), ([b"abcdefg"], b"defg")],
)
def test_the_end_of_a_long_log(pieces: list[bytes], expected: bytes) -> None:
    assert end_of(iter(pieces), 4) == expected
