"""Copying, set up by hand before the first training step.

A small decoder takes millions of tokens to find out that a word seen before may be repeated.
Here two heads of the first layer look one and two tokens back (by rotary position alone) and
note what stood there; two heads of the second layer look for the place where the current
token was noted, and write the token found there. Training then only has to refine this.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from .model import Attention, Decoder, Shape

SHARPNESS = 10.0  # of looking back: about ten nats between one lag and the next
MATCH_GAIN = 2.5
WRITE_GAIN = 2.0
REPEAT_GAIN = 0.5
POINTER_GAIN = 1.0  # the fifth layer is told where to look, so it may speak up
GIST_GAIN = 6.0
END_GAIN = 8.0
WINDOW = 3.6  # nearness falls by about three nats in fourteen tokens
WORD_SIZE = 0.05
QUIET = 1 / 40  # size of every other output projection, so that the circuit is heard


# How the residual stream is shared out, as rows of a random basis: what a word means, which
# word it is, what the two looking-back heads noted, and what the last dozen words are about.
MEANING, IDENTITY = slice(0, 64), slice(64, 128)
NOTED_1, NOTED_2, GIST = slice(128, 160), slice(160, 192), slice(192, 256)


@torch.no_grad()
def install_circuit(model: Decoder, vectors: Tensor, sentence_ends: Tensor, seed: int = 0) -> None:
    """
    Start the decoder with the copying and the matching heads in place.

    Args:
        vectors: (tokens, 128), what each token means (64) and a code that tells it from others
            (64), each of about unit variance.
        sentence_ends: ids of the tokens that end a sentence.
    """
    shape, draw = model.shape, torch.Generator().manual_seed(seed)
    _start_plainly(model, draw)
    basis = _orthonormal(shape.hidden, draw)
    model.embed_tokens.weight.copy_(vectors @ basis[:128] * WORD_SIZE)
    end = F.normalize(vectors[sentence_ends, 64:].mean(0), dim=0) @ basis[IDENTITY]
    layers = [layer.self_attn for layer in model.decoder_layers()]
    _install_copying(layers, shape, basis, draw)
    _install_matching(layers, shape, basis, end)


def _install_copying(
    layers: list[Attention], shape: Shape, basis: Tensor, draw: torch.Generator
) -> None:
    """Let layers 0 and 1 (and later 4) say again what followed the same words before."""
    width = _slow_pairs(shape).numel() * 2
    token = _orthonormal(64, draw)[:width] @ basis[IDENTITY]
    noted = (basis[NOTED_1], basis[NOTED_2])
    for head, lag in enumerate((1, 2)):
        _look_back(layers[0], shape, head, lag)
        _pass_on(layers[0], shape, head, token, noted[head], WRITE_GAIN)
    _match(layers[1], shape, 0, query=token, key=noted[0])
    _match(layers[1], shape, 1, query=noted[0], key=noted[1])
    for layer, gain in ((layers[1], REPEAT_GAIN), (layers[4], POINTER_GAIN)):
        _repeat(layer, shape, 0, basis[IDENTITY], gain)
        _repeat(layer, shape, 1, basis[MEANING], gain)


def _install_matching(
    layers: list[Attention], shape: Shape, basis: Tensor, sentence_end: Tensor
) -> None:
    """Let layer 3 find the sentence whose words are about the same as the question's."""
    gist = basis[GIST]
    _look_around(layers[2], shape, 0)
    _pass_on(layers[2], shape, 0, basis[MEANING], gist, GIST_GAIN)
    for head in (0, 1):
        part = gist[32 * head : 32 * head + 32]
        _match(layers[3], shape, head, query=part, key=part)
        # One more pair of channels, which hardly turns either, prefers the ends of sentences.
        channel = head * shape.head + shape.head // 4 - 1
        layers[3].q_proj.bias[channel] = END_GAIN
        layers[3].k_proj.weight[channel] = sentence_end
    for head in (2, 3):
        part = basis[MEANING][32 * (head - 2) : 32 * (head - 1)]
        _match(layers[2], shape, head, query=part, key=part)


def _start_plainly(model: Decoder, draw: torch.Generator) -> None:
    """Draw all weights; outputs into the residual stream start small."""
    for name, weight in model.named_parameters():
        if name.endswith("layernorm.weight") or name == "norm.weight":
            weight.fill_(1.0)
        elif weight.ndim == 1:
            weight.zero_()
        elif name == "embed_tokens.weight":
            weight.normal_(0, 0.05, generator=draw)
        else:
            weight.normal_(0, weight.shape[1] ** -0.5, generator=draw)
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.mul_(QUIET)


def _orthonormal(width: int, draw: torch.Generator) -> Tensor:
    """Return a random orthonormal basis, one vector a row."""
    basis: Tensor = torch.linalg.qr(torch.randn(width, width, generator=draw))[0]
    return basis


def _slow_pairs(shape: Shape) -> Tensor:
    """Return the rotary pairs that hardly turn over a prompt's length."""
    return torch.arange(shape.head // 4, shape.head // 2)


def _look_back(attention: Attention, shape: Shape, head: int, lag: int) -> None:
    """Make this head attend to the token `lag` steps back, whatever stands there."""
    pairs = torch.arange(8)
    angle = lag * shape.rope_theta ** (-2 * pairs / shape.head)
    rows = _rows(shape, head)
    for projection in (attention.q_proj, attention.k_proj):
        projection.weight[rows] = 0.0
    # For wider heads the same eight pairs turn faster, so fewer of them are needed.
    attention.q_proj.bias[rows.start + pairs] = SHARPNESS * angle.cos()
    attention.q_proj.bias[rows.start + shape.head // 2 + pairs] = -SHARPNESS * angle.sin()
    attention.k_proj.bias[rows.start + pairs] = SHARPNESS


def _look_around(attention: Attention, shape: Shape, head: int) -> None:
    """Make this head attend evenly to about the last dozen tokens."""
    pairs, rows = torch.arange(5, 9), _rows(shape, head)
    for projection in (attention.q_proj, attention.k_proj):
        projection.weight[rows] = 0.0
        projection.bias[rows.start + pairs] = WINDOW


def _pass_on(
    attention: Attention, shape: Shape, head: int, read: Tensor, write: Tensor, gain: float
) -> None:
    """Copy the attended token's `read` coordinates into the `write` directions."""
    rows, width = _rows(shape, head), len(read)
    attention.v_proj.weight[rows] = 0.0
    attention.v_proj.weight[rows.start : rows.start + width] = read
    attention.o_proj.weight[:, rows] = 0.0
    attention.o_proj.weight[:, rows.start : rows.start + width] = write.T * gain * 0.05


def _match(attention: Attention, shape: Shape, head: int, query: Tensor, key: Tensor) -> None:
    """Score a place by how well its `key` coordinates fit the current `query` coordinates."""
    rows, pairs = _rows(shape, head), _slow_pairs(shape)
    dims = torch.cat([rows.start + pairs, rows.start + shape.head // 2 + pairs])
    for projection, read in ((attention.q_proj, query), (attention.k_proj, key)):
        projection.weight[rows] = 0.0
        projection.weight[dims] = read * MATCH_GAIN * math.sqrt(shape.hidden / len(read)) ** 0.5


def _repeat(attention: Attention, shape: Shape, head: int, part: Tensor, gain: float) -> None:
    """Write part of the attended token's own vector back, as a vote for saying it again."""
    rows = _rows(shape, head)
    attention.v_proj.weight[rows] = part
    attention.o_proj.weight[:, rows] = part.T * gain


def _rows(shape: Shape, head: int) -> slice:
    """Return the slice of one head's channels."""
    return slice(head * shape.head, (head + 1) * shape.head)
