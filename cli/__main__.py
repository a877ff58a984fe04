"""`python -m cli` is `ratchet` where the package is not installed."""

from cli import main

main()
