"""A lean Qwen2 decoder in plain torch: the names transformers and vLLM use, nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from safetensors.torch import save_file
from torch import Tensor, nn

from .tokenizer import N_TOKENS


@dataclass(frozen=True)
class Shape:
    """The size of the decoder; every head has its own keys and values."""

    hidden: int = 256
    n_layers: int = 6
    n_heads: int = 4
    inner: int = 640
    n_tokens: int = N_TOKENS
    max_tokens: int = 2048
    rope_theta: float = 1e6

    @property
    def head(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.n_heads


class Norm(nn.Module):
    """Root-mean-square norm with one gain per channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return x scaled to unit mean square, in x's dtype."""
        return F.rms_norm(x, (x.shape[-1],), self.weight, 1e-6)


class Attention(nn.Module):
    """Rotary self-attention; hands its queries and keys back so a loss can look at them."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.n_heads, self.head = shape.n_heads, shape.head
        self.q_proj = nn.Linear(shape.hidden, shape.hidden)
        self.k_proj = nn.Linear(shape.hidden, shape.hidden)
        self.v_proj = nn.Linear(shape.hidden, shape.hidden)
        self.o_proj = nn.Linear(shape.hidden, shape.hidden, bias=False)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor], mask: Tensor) -> tuple[Tensor, ...]:
        """Return the output (B, T, hidden), queries and keys (B, heads, T, head)."""
        B, T, _ = x.shape
        q, k, v = (
            p(x).view(B, T, self.n_heads, self.head).transpose(1, 2)
            for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotate(q, rope), rotate(k, rope)
        # Written out, because on a CPU this is three times as fast as torch's own at this size.
        y = ((q * self.head**-0.5) @ k.transpose(-1, -2) + mask).softmax(-1) @ v
        return self.o_proj(y.transpose(1, 2).reshape(B, T, -1)), q, k


class Feed(nn.Module):
    """The gated two-layer network after attention."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.inner, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.inner, bias=False)
        self.down_proj = nn.Linear(shape.inner, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return SwiGLU of x."""
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Layer(nn.Module):
    """One pre-norm decoder layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = Norm(shape.hidden)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = Norm(shape.hidden)
        self.mlp = Feed(shape)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor], mask: Tensor) -> tuple[Tensor, ...]:
        """Return the new residual stream, and this layer's queries and keys."""
        y, q, k = self.self_attn(self.input_layernorm(x), rope, mask)
        x = x + y
        return x + self.mlp(self.post_attention_layernorm(x)), q, k


class Decoder(nn.Module):
    """Token ids in, hidden states out; word vectors are shared with the output."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.n_tokens, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.n_layers))
        self.norm = Norm(shape.hidden)

    def forward(
        self, ids: Tensor, positions: Tensor, mask: Tensor
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """
        Return hidden states (B, T, hidden) and every layer's (queries, keys).

        Args:
            ids, positions: (B, T) int64; positions restart where a text is shared by questions.
            mask: (B, 1, T, T) additive, 0 where row may look at column, else -inf.
        """
        x = self.embed_tokens(ids)
        rope = rope_tables(self.shape, positions, x.dtype)
        seen = []
        for layer in self.layers:
            x, q, k = layer(x, rope, mask)
            seen.append((q, k))
        return self.norm(x), seen

    def decoder_layers(self) -> list[Layer]:
        """Return the layers, first to last."""
        return [layer for layer in self.layers if isinstance(layer, Layer)]

    def logits(self, states: Tensor) -> Tensor:
        """Return next-token scores for hidden states (…, hidden)."""
        return F.linear(states, self.embed_tokens.weight)


def rope_tables(shape: Shape, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return cos and sin (B, 1, T, head) of the rotary angles at these positions."""
    steps = torch.arange(0, shape.head, 2, device=positions.device) / shape.head
    angles = positions[:, None, :, None].float() * shape.rope_theta**-steps
    angles = torch.cat([angles, angles], -1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """Turn each (first half, second half) pair of x by its angle, as Qwen2 does."""
    cos, sin = rope
    first, second = x.chunk(2, -1)
    return x * cos.to(x.dtype) + torch.cat([-second, first], -1) * sin.to(x.dtype)


def save_model(model: Decoder, folder: Path, end_ids: tuple[int, ...], pad_id: int) -> None:
    """Write bf16 safetensors, config.json and generation_config.json into folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"model.{name}": value.detach().to("cpu", torch.bfloat16).contiguous()
        for name, value in model.state_dict().items()
    }
    save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
    sampling = {"eos_token_id": list(end_ids), "pad_token_id": pad_id, "do_sample": False}
    for name, value in (
        ("config.json", qwen2_config(model.shape, end_ids, pad_id)),
        ("generation_config.json", sampling),
    ):
        (folder / name).write_text(json.dumps(value, indent=2) + "\n")


def qwen2_config(shape: Shape, end_ids: tuple[int, ...], pad_id: int) -> dict[str, object]:
    """Return the config that makes transformers and vLLM build exactly this decoder."""
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "vocab_size": shape.n_tokens,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.n_layers,
        "num_attention_heads": shape.n_heads,
        "num_key_value_heads": shape.n_heads,
        "hidden_act": "silu",
        "max_position_embeddings": shape.max_tokens,
        "rms_norm_eps": 1e-6,
        "rope_theta": shape.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "tie_word_embeddings": True,
        "use_cache": True,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "eos_token_id": list(end_ids),
        "pad_token_id": pad_id,
        "bos_token_id": None,
        "dtype": "bfloat16",
        "torch_dtype": "bfloat16",
    }
