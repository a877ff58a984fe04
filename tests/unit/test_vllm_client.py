"""What the vLLM client makes of the server's answers; the server itself is in tests/stack."""

import json

import httpx
import pytest

from core.errors import AdapterError, InvalidInput, ModelUnavailable
from core.vllm import VllmClient
from tests.builders import make_messages

URL = "http://vllm.test"


def client_of(answer, **options):
    """A client whose server is the function `answer(request)`."""
    return VllmClient(URL, transport=httpx.MockTransport(answer), **options)


def refusal(status_code, message):
    return httpx.Response(status_code, json={"error": {"message": message}})


def test_adapters_are_the_models_with_a_parent():
    """The base model must never be taken for an adapter and unloaded."""
    loaded = {"id": "support-v0001", "parent": "base", "root": "/adapters/support-v0001"}
    models = [{"id": "base", "parent": None, "root": "/model"}, loaded]
    client = client_of(lambda _: httpx.Response(200, json={"data": models}))

    assert {"support-v0001"} == client.adapters()


def test_a_server_that_is_away_is_said_in_one_line():
    """A person reads this; a stack of httpx errors helps nobody."""

    def away(request):
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(ModelUnavailable, match="can't be reached"):
        client_of(away).adapters()
    assert client_of(away).healthy() is False


def test_a_dead_engine_is_not_healthy():
    """vLLM's web server may outlive its engine; then it answers 503."""
    assert client_of(lambda _: httpx.Response(503)).healthy() is False


@pytest.mark.parametrize("status_code", [400, 404, 500])
def test_a_refused_adapter_names_itself_and_the_cause(status_code):
    """A rank too high is a 500 at vLLM; still it is the adapter that is at fault."""
    client = client_of(lambda _: refusal(status_code, "rank 64 is greater than 16\nTraceback"))

    with pytest.raises(AdapterError) as caught:
        client.load_adapter("support-v0003", "/adapters/support-v0003")

    assert "vLLM refused adapter support-v0003: rank 64 is greater than 16" == str(caught.value)


def test_a_prompt_too_long_is_the_askers_to_mend():
    """Trying again would not help, so it must not look like an outage."""
    client = client_of(lambda _: refusal(400, "maximum context length is 2048 tokens"))

    with pytest.raises(InvalidInput, match="maximum context length"):
        client.generate("base", make_messages(), max_tokens=10, temperature=0)


def test_a_failing_server_is_an_outage():
    """5xx means: try again later."""
    with pytest.raises(ModelUnavailable, match="500"):
        client_of(lambda _: refusal(500, "engine died")).generate(
            "base", make_messages(), max_tokens=10, temperature=0
        )


def test_the_score_counts_the_answers_tokens_only():
    """Log-probabilities of the prompt say nothing about the answer."""

    def answer(request):
        if request.url.path == "/tokenize":
            return httpx.Response(200, json={"count": 2})
        logprobs = [
            None,
            {"8": {"logprob": -5.0}},
            {"9": {"logprob": -1.0}},
            {"4": {"logprob": -0.5}},
        ]
        return httpx.Response(
            200, json={"prompt_token_ids": [7, 8, 9, 4], "prompt_logprobs": logprobs}
        )

    assert -1.5 == client_of(answer).sequence_logprob("base", make_messages(), "Yes.")


def test_the_key_is_sent_when_there_is_one():
    """A guarded server would refuse every answer otherwise."""
    seen = []

    def answer(request):
        seen.append(request.headers.get("authorization"))
        return httpx.Response(200, json={"data": []})

    client_of(answer, api_key="s3cret").adapters()
    client_of(answer).adapters()

    assert ["Bearer s3cret", None] == seen


def test_a_completion_carries_the_servers_token_counts():
    """Our own counting would drift from what the model was given."""

    def answer(request):
        assert "base" == json.loads(request.content)["model"]
        choices = [{"message": {"content": "Within 30 days [1]."}}]
        usage = {"prompt_tokens": 50, "completion_tokens": 7}
        return httpx.Response(200, json={"choices": choices, "usage": usage})

    completion = client_of(answer).generate("base", make_messages(), max_tokens=9, temperature=0)

    assert ("Within 30 days [1].", 50, 7) == (
        completion.text,
        completion.prompt_tokens,
        completion.completion_tokens,
    )
