"""Fixtures for tests of learning: the stack's own vLLM, a fresh database, adapters to load."""

from tests.served import make_adapter, stack_settings, vllm, vllm_settings

__all__ = ["make_adapter", "stack_settings", "vllm", "vllm_settings"]
