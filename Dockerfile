# One image for web, worker, trainer, beat, migrate and vLLM; compose.yaml says which is which.
FROM python:3.11-slim

# libnuma1: vLLM's CPU build; g++ is not needed, nothing is compiled at run time.
RUN apt-get update && apt-get install -y --no-install-recommends libnuma1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 ratchet \
    && install -d -o ratchet -g ratchet /state /adapters /models

WORKDIR /app
# requirements-cuda.lock on a server with an NVIDIA GPU.
ARG LOCK=requirements.lock
COPY . .
RUN PYTHON=python3.11 ./setup.sh && rm -rf /root/.cache

ENV PATH=/app/.venv/bin:$PATH RATCHET_HOME=/state RATCHET_ADAPTERS_DIR=/adapters
USER ratchet
CMD ["ratchet", "--help"]
