"""Who somebody is and what they may do: people, their roles, and what each role permits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from core.errors import NotAllowed


class Role(StrEnum):
    """What somebody is to the company."""

    VISITOR = "visitor"  # a browser that asks; nobody knows whose
    CUSTOMER = "customer"  # a visitor who has signed in at the company
    AGENT = "agent"  # answers customers
    ADMIN = "admin"  # runs the product


class Permission(StrEnum):
    """What a handler or route needs of the person who calls it."""

    ASK = "ask questions"
    RATE = "rate the answers to one's own questions"
    READ_ALL = "read every article and every answer"
    REVIEW = "review answers"
    EDIT_KNOWLEDGE = "bring articles in and remove them"
    EVALUATE = "evaluate the search"
    TRAIN = "train adapters"
    DEPLOY = "choose what is live"


_CUSTOMERS = frozenset({Permission.ASK, Permission.RATE})

PERMISSIONS: Mapping[Role, frozenset[Permission]] = {
    Role.VISITOR: _CUSTOMERS,
    Role.CUSTOMER: _CUSTOMERS,
    Role.AGENT: _CUSTOMERS | {Permission.READ_ALL, Permission.REVIEW},
    Role.ADMIN: frozenset(Permission),
}


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who asks for something, as the request or the command tells."""

    id: UUID
    name: str  # as the audit log and the deployment log write it
    roles: frozenset[Role]
    audiences: tuple[str, ...]  # whose articles they may read

    def may(self, permission: Permission) -> bool:
        """Whether one of the person's roles permits it."""
        return any(permission in PERMISSIONS[role] for role in self.roles)

    def require(self, permission: Permission) -> None:
        """
        Do nothing when the person may do this.

        Raises:
            NotAllowed: No role of theirs permits it.
        """
        if not self.may(permission):
            raise NotAllowed(f"you may not {permission}; sign in as somebody who may")
