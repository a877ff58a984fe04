# One image for web, worker, trainer, beat, migrate and vLLM; compose.yaml says which is which.
FROM python:3.11.14-slim-bookworm

# libnuma1: vLLM's CPU build; g++ is not needed, nothing is compiled at run time.
RUN apt-get update && apt-get install -y --no-install-recommends libnuma1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 ratchet \
    && install -d -o ratchet -g ratchet -m 0700 /state /adapters /models /beat

WORKDIR /app
# requirements-cuda.lock on a server with an NVIDIA GPU.
ARG LOCK=requirements.lock
COPY . .
# The code stays root's: whoever breaks into a service can't change what it runs.
RUN PYTHON=python3.11 ./setup.sh && rm -rf /root/.cache

ENV PATH=/app/.venv/bin:$PATH RATCHET_HOME=/state RATCHET_ADAPTERS_DIR=/adapters \
    PYTHONDONTWRITEBYTECODE=1
USER 1000:1000
CMD ["ratchet", "--help"]
