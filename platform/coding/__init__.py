"""Codes over workers: any sufficient subset of them stands for all.

`make_code` is the way in; see `codes.py` for what a code is.
"""

from covey.platform.coding.code import Code, Decoded, NotDecodable

__all__ = ["Code"]
