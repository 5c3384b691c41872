"""Codes over workers: any sufficient subset of them stands for all.

`make_code` is the way in; `code.Code` says what a code is.
"""

from covey.platform.coding.code import Code, CodeError, Decoded, NotDecodable
from covey.platform.coding.registry import CODES, SUM_CODES, make_code

__all__ = ["CODES", "SUM_CODES", "Code", "CodeError", "Decoded", "NotDecodable", "make_code"]
