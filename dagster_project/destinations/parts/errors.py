"""What can go wrong with any destination, each with a text for people. No text holds a secret."""

from __future__ import annotations


class DestinationError(Exception):
    """It could not be done. The text says why, and what to do."""


class NoAnswer(Exception):
    """No answer came: the call may or may not have been carried out. code: TIMEOUT or NO_ANSWER."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
