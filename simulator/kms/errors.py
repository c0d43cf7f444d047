"""The errors that a caller of the fake KMS sees."""

from __future__ import annotations


class ApiError(Exception):
    """An answer in AWS's JSON 1.1 error form. `code`: AWS's exception name; `status`: HTTP status (400 or 500)."""

    def __init__(self, code: str, message: str, *, status: int = 400) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.status = status
