#!/usr/bin/env python3
"""What logits the tiny models of some architectures have when nothing is rounded: a forward pass in double precision.

usage: exact.py                compares llama.cpp's references (arch-*.txt) with it, and shows what errors consist of
       exact.py --root ROOT    the same, and llama.cpp with its usual KV cache of halves (as renew.sh: ROOT has its tools)
       exact.py --write        the same, and renews exact.txt

Needs python3-numpy. Written from the architectures' descriptions, not from src/model/. A pass may round on purpose:
  gelu      input and result of GELU to halves, as llama.cpp's table does
  angles    rotary angles multiplied up in floats, as llama.cpp does
  queries, keys, values, weights    to the 16-bit codes of docs/formats/kv_pages.md, as inferos does; weights are softmax's
An error is the length of the difference over the length of the exact logits.
"""
import argparse
import math
import os
import struct
import sys
import tempfile

import numpy

import renew
import tiny_archs
import tiny_models

HERE = os.path.dirname(os.path.abspath(__file__))
VOCABULARY = os.path.join(os.path.dirname(os.path.dirname(HERE)), "models", "tales-q8_0.gguf")
NAMES = ("gpt2", "gptneox", "gptneox-sequential", "starcoder2", "gpt-oss")
PAGE = 64


CODES = ("queries", "keys", "values", "weights")


class File:
    """A model's keys and its tensors, [rows][columns], in doubles."""

    def __init__(self, path):
        with open(path, "rb") as file:
            data = file.read()
        reader = tiny_models.Reader(data)
        self.keys = reader.metadata()
        self.architecture = self.keys["general.architecture"]
        self.tensors = {}
        for name, (dims, kind, start) in reader.tensors().items():
            assert kind == 0, f"{name} is not F32"
            flat = numpy.frombuffer(data, "<f4", math.prod(dims), start)
            self.tensors[name] = flat.reshape(dims[::-1]).astype(numpy.float64)

    def key(self, name, default=None):
        return self.keys.get(f"{self.architecture}.{name}", default)

    def linear(self, name, x):
        y = x @ self.tensors[name + ".weight"].T
        return y + self.tensors[name + ".bias"] if name + ".bias" in self.tensors else y

    def norm(self, name, x):
        weight = self.tensors[name + ".weight"]
        epsilon = self.key("attention.layer_norm_rms_epsilon")
        if epsilon is not None:
            return x / numpy.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * weight
        x = x - x.mean(-1, keepdims=True)
        epsilon = self.key("attention.layer_norm_epsilon")
        return x / numpy.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * weight + self.tensors[name + ".bias"]


# ---- parts -----------------------------------------------------------------------------------------------------------

def gelu(x, rounding):
    if "gelu" in rounding:
        x = x.astype(numpy.float16).astype(numpy.float64)
    y = 0.5 * x * (1 + numpy.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return y.astype(numpy.float16).astype(numpy.float64) if "gelu" in rounding else y


def frequencies(file, dims):
    """Of each rotated pair, and what the rotated vectors are multiplied by (YaRN)."""
    base = float(file.key("rope.freq_base"))
    pairs = numpy.arange(dims // 2)
    trained = base ** (-2.0 * pairs / dims)
    if file.key("rope.scaling.type") != "yarn":
        return trained, 1.0
    factor, context = file.key("rope.scaling.factor"), file.key("rope.scaling.original_context_length")

    def pair_that_turns(times):
        return dims * math.log(context / (times * 2 * math.pi)) / (2 * math.log(base))

    low = max(0, math.floor(pair_that_turns(32)))
    high = min(dims - 1, math.ceil(pair_that_turns(1)))
    share = numpy.clip((pairs - low) / max(0.001, high - low), 0, 1)
    return trained * (share / factor + 1 - share), 1 + 0.1 * math.log(factor)


def rotate(file, x, dims, rounding):
    """x [tokens][heads][head]: the first `dims` of each head turn, halves against each other."""
    turn, magnitude = frequencies(file, dims)
    positions = numpy.arange(len(x), dtype=numpy.float64)
    angles = positions[:, None] * turn
    if "angles" in rounding:
        base = float(file.key("rope.freq_base"))
        step = numpy.float32(base ** (-2.0 / dims))
        angle = positions.astype(numpy.float32)
        plain = base ** (-2.0 * numpy.arange(dims // 2) / dims)
        for pair in range(dims // 2):
            angles[:, pair] = angle * numpy.float32(turn[pair] / plain[pair])
            angle = (angle * step).astype(numpy.float32)
    cosine, sine = (magnitude * f(angles)[:, None, :] for f in (numpy.cos, numpy.sin))
    half = dims // 2
    first, second, rest = x[..., :half], x[..., half:dims], x[..., dims:]
    return numpy.concatenate([first * cosine - second * sine, first * sine + second * cosine, rest], -1)


def hadamard(x):
    """The normalised Walsh-Hadamard transform of the last axis, whose length is a power of two."""
    size = x.shape[-1]
    for step in (1 << bit for bit in range(size.bit_length() - 1)):
        pairs = x.reshape(*x.shape[:-1], size // (2 * step), 2, step)
        first, second = pairs[..., 0, :], pairs[..., 1, :]
        x = numpy.stack([first + second, first - second], -2).reshape(x.shape)
    return x / math.sqrt(size)


def code_by_length(x):
    scale = numpy.sqrt((x * x).sum(-1, keepdims=True)) / 32700
    return numpy.round(x / scale) * scale


def code_by_greatest(x):
    scale = numpy.abs(x).max(-1, keepdims=True) / 16383
    return numpy.round(x / scale) * scale


def coded_weights(p, values):
    """Softmax weights p [queries][tokens], page by page in codes of 16 bits, for values [tokens][head]."""
    scale = numpy.abs(values).max(-1) / 16383
    result = numpy.zeros_like(p)
    for start in range(0, p.shape[1], PAGE):
        page = slice(start, start + PAGE)
        weights = p[:, page] * scale[page]
        greatest, total = weights.max(1, keepdims=True), weights.sum(1, keepdims=True)
        with numpy.errstate(divide="ignore"):
            factor = numpy.minimum(32767 / greatest, 131000 / total)
        factor[greatest == 0] = 1
        result[:, page] = numpy.round(weights * factor) / factor / scale[page]
    return result


def attend(file, q, k, v, window, sinks, rounding):
    """q [tokens][heads][head], k and v [tokens][kv heads][head] -> [tokens][heads * head]."""
    tokens, heads, head = q.shape
    shared = heads // k.shape[1]
    q, k, v = hadamard(q), hadamard(k), hadamard(v)  # Which changes no product, but what rounding does.
    q = code_by_length(q) if "queries" in rounding else q
    k = code_by_length(k) if "keys" in rounding else k
    v = code_by_greatest(v) if "values" in rounding else v
    distance = numpy.arange(tokens)[:, None] - numpy.arange(tokens)[None, :]
    hidden = (distance < 0) | (distance >= window if window else False)
    out = numpy.empty_like(q)
    for h in range(heads):
        scores = q[:, h] @ k[:, h // shared].T / math.sqrt(head)
        scores[hidden] = -numpy.inf
        p = numpy.exp(scores - scores.max(1, keepdims=True))
        total = p.sum(1, keepdims=True)
        if sinks is not None:
            total = total + numpy.exp(sinks[h] - scores.max(1, keepdims=True))
        values = v[:, h // shared]
        out[:, h] = (coded_weights(p, values) if "weights" in rounding else p) @ values / total
    return hadamard(out).reshape(tokens, -1)


def experts(file, block, x):
    """gpt-oss: softmax over the chosen experts' scores; a clipped SwiGLU; biases everywhere."""
    used = file.key("expert_used_count")
    scores = file.linear(block + "ffn_gate_inp", x)
    out = numpy.zeros_like(x)
    for t, row in enumerate(scores):
        chosen = numpy.argsort(-row, kind="stable")[:used]
        share = numpy.exp(row[chosen] - row[chosen].max())
        share /= share.sum()
        for expert, weight in zip(chosen, share):
            def product(part, values, expert=expert):
                name = f"{block}ffn_{part}_exps"
                return file.tensors[name + ".weight"][expert] @ values + file.tensors[name + ".bias"][expert]

            gate, up = numpy.minimum(product("gate", x[t]), 7.0), numpy.clip(product("up", x[t]), -7.0, 7.0)
            out[t] += weight * product("down", gate / (1 + numpy.exp(-1.702 * gate)) * (up + 1))
    return out


# ---- the pass --------------------------------------------------------------------------------------------------------

def attention(file, block, layer, x, rounding):
    heads, kv_heads = file.key("attention.head_count"), file.key("attention.head_count_kv")
    head = file.key("attention.key_length", x.shape[1] // heads)
    if block + "attn_qkv.weight" in file.tensors:
        q, k, v = numpy.split(file.linear(block + "attn_qkv", x), [heads * head, (heads + kv_heads) * head], 1)
    else:
        q, k, v = (file.linear(block + "attn_" + part, x) for part in "qkv")
    q, k, v = (part.reshape(len(x), -1, head) for part in (q, k, v))
    if file.key("rope.freq_base") is not None:
        dims = file.key("rope.dimension_count", head)
        q, k = (rotate(file, part, dims, rounding) for part in (q, k))
    sinks = file.tensors.get(block + "attn_sinks.weight")
    window = file.key("attention.sliding_window") if layer % 2 == 0 else None
    return file.linear(block + "attn_output", attend(file, q, k, v, window, sinks, rounding))


def feed_forward(file, block, x, rounding):
    if block + "ffn_gate_inp.weight" in file.tensors:
        return experts(file, block, x)
    return file.linear(block + "ffn_down", gelu(file.linear(block + "ffn_up", x), rounding))


def logits(file, tokens, rounding=()):
    """After the last of the tokens."""
    x = file.tensors["token_embd.weight"][tokens]
    if "position_embd.weight" in file.tensors:
        x = x + file.tensors["position_embd.weight"][:len(tokens)]
    for layer in range(file.key("block_count")):
        block = f"blk.{layer}."
        before = x
        x = x + attention(file, block, layer, file.norm(block + "attn_norm", x), rounding)
        norm = block + ("post_attention_norm" if block + "post_attention_norm.weight" in file.tensors else "ffn_norm")
        x = x + feed_forward(file, block, file.norm(norm, before if file.key("use_parallel_residual") else x), rounding)
    return file.linear("output", file.norm("output_norm", x[-1:]))[0]


# ---- references ------------------------------------------------------------------------------------------------------

def reference(name):
    """Prompt -> (tokens, llama.cpp's logits)."""
    tokens, values = {}, {}
    with open(os.path.join(HERE, f"arch-{name}.txt"), encoding="utf-8") as file:
        for line in file:
            kind, *fields = line.split()
            if kind == "tokens":
                tokens[fields[0]] = [int(field) for field in fields[1:]]
            elif kind == "sample":
                values[fields[0]] = numpy.array([float(field) for field in fields[2:]])
    return {prompt: (tokens[prompt], values[prompt]) for prompt in tokens}


def error(values, exact):
    return numpy.linalg.norm(values - exact) / numpy.linalg.norm(exact)


def with_halves(peer, path):
    """Prompt -> llama.cpp's logits with a KV cache of halves and flash attention, which it takes unless told otherwise."""
    if peer is None:
        return {}
    model = peer.take(path)
    return {prompt: numpy.array(peer.logits(model, text, renew.cpu("f16", "on"))[1])
            for prompt, text in renew.arch_prompts().items()}


def compare(name, path, peer):
    """Prints a line for each prompt and returns those of exact.txt."""
    file, halves, lines = File(path), with_halves(peer, path), []
    for prompt, (tokens, llama) in reference(name).items():
        exact = logits(file, tokens)
        errors = [error(llama, exact), error(halves[prompt], exact) if halves else math.nan,
                  error(llama, logits(file, tokens, ("gelu", "angles")))]
        errors += [error(logits(file, tokens, rounding), exact)
                   for rounding in (("gelu",), ("angles",), CODES, *((part,) for part in CODES))]
        print(f"| {name} | {prompt} | " + " | ".join(f"{value:.1e}" for value in errors) + " |", flush=True)
        lines.append(f"exact {name} {prompt} " + " ".join(f"{value:.9g}" for value in exact))
    return lines


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="root of a system with llama.cpp's tools, which run with chroot")
    parser.add_argument("--write", action="store_true", help="renew exact.txt")
    options = parser.parse_args(arguments)
    peer = renew.Peer(options.root, os.path.dirname(VOCABULARY)) if options.root else None
    columns = ["model", "prompt", "llama.cpp", "with halves in its cache", "from a pass with gelu and angles", "gelu",
               "angles", "codes", *CODES]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    lines = ["# Logits in double precision; written by exact.py, format in README.md."]
    with tempfile.TemporaryDirectory() as folder:
        tiny_archs.write_all(VOCABULARY, folder, NAMES)
        for name in NAMES:
            lines += compare(name, f"{folder}/arch-{name}.gguf", peer)
    if options.write:
        with open(os.path.join(HERE, "exact.txt"), "w", encoding="utf-8", newline="\n") as out:
            out.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
