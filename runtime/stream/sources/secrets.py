"""Addresses and pipelines as reports may show them."""

from __future__ import annotations

import re

# A user's password goes up to the last @ of its word; what is a port and a path is none.
_OF_A_USER = re.compile(r"(://[^\s:@/?#]*):(?!\d+/)[^\s\"']*@")
_BY_NAME = re.compile(
    r"((?:^|[\s?&;\"'])(?:[\w.-]*[-_.])?(?:passw(?:or)?d|pass|pwd|pw|secret|token|api[-_]?key|auth)=)(\"[^\"]*\"|'[^']*'|[^\s&;#\"']+)",
    re.IGNORECASE,
)


def without_password(text: str, shown: str = "") -> str:
    """``text``, an address or a pipeline that holds some, with passwords and tokens taken out.

    Args:
        text: Such as ``rtsp://user:secret@camera/1?password=secret``.
        shown: What stands after the user's name instead.
    """
    return _BY_NAME.sub(r"\1***", _OF_A_USER.sub(rf"\1{shown}@", text))
