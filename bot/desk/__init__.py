"""The admin's pages behind a password, one module for each: review and learning."""

from bot.desk.page import build_desk

__all__ = ["build_desk"]
