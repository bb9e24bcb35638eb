"""Every error a user can cause or meet, each with its own exit code.

An error says what was wrong, where, and what to do, in one line. The command
line prints that line and exits with the code; a library user catches
``IngotError`` or one of its kinds.
"""

from __future__ import annotations

from typing import ClassVar


class IngotError(Exception):
    """The root of all errors Ingot raises on purpose.

    Args:
        what: What was wrong, as a short clause without a full stop.
        where: The file, field or address concerned; goes first in the message.
        fix: What the user can do about it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: object = None, fix: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.fix = fix
        super().__init__(str(self))

    def __str__(self) -> str:
        """Return ``where: what; fix`` on one line."""
        head = f"{self.where}: {self.what}" if self.where else self.what
        text = f"{head}; {self.fix}" if self.fix else head
        return " ".join(text.split())


class UsageError(IngotError):
    """An argument or request that makes no sense as given."""

    exit_code = 2


class CorpusError(IngotError):
    """Text that cannot be read, or a built corpus that is damaged."""

    exit_code = 3


class RecipeError(IngotError):
    """A recipe, override or budget that cannot be trained."""

    exit_code = 4


class TrainingError(IngotError):
    """A run that cannot go on, or whose checkpoint is damaged."""

    exit_code = 5


class ArtifactError(IngotError):
    """An ingot that is missing, malformed or fails a digest."""

    exit_code = 6


class ServeError(IngotError):
    """A server or engine that cannot start or has stopped."""

    exit_code = 7


class ResourceError(IngotError):
    """The machine ran out of disk, memory or another resource."""

    exit_code = 8


class Interrupted(IngotError):  # noqa: N818 (no error: it was asked for)
    """Asked to stop; what was done is safe and can be continued."""

    exit_code = 130
