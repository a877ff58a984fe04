"""The local stack: an embedded Postgres, Redis, vLLM, workers and the page under one supervisor."""
