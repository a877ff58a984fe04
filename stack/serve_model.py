"""Serves the model on a server, in the foreground: `python -m stack.serve_model HOST`."""

from __future__ import annotations

import os
import sys

from core.settings import get_settings
from stack.programs import vllm_command, vllm_environment

if __name__ == "__main__":
    settings = get_settings()
    command = vllm_command(settings, host=sys.argv[1])
    os.execvpe(command[0], command, os.environ | vllm_environment(settings))  # noqa: S606
