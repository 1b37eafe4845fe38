"""Sessions: the same cells on different days."""

from calcium_helpers.sessions.register import SessionMatch, register_sessions

__all__ = ["SessionMatch", "register_sessions"]
