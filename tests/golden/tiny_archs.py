"""Writes tiny random F32 models of every architecture, byte for byte the same on every machine.

usage: tiny_archs.py VOCABULARY.gguf FOLDER [NAME ...]

They are written where they are needed and not kept: width 64, two to six layers, and 320 entries of the vocabulary of
tales. What an architecture is made of is said here once more, from its own description and in its own words, so that a
mistake in src/model/ is not repeated.
"""
import sys

import tiny_models

WIDTH, HEADS, KV_HEADS, HEAD, HIDDEN, CONTEXT = 64, 4, 2, 16, 96, 512
WINDOW, EXPERTS = 16, 4


class Arch(tiny_models.Model):
    """A model of one architecture: keys carry its prefix, tensors their usual spread."""

    def __init__(self, name, seed, vocabulary, layers=2, head=HEAD, kv_heads=KV_HEADS, hidden=HIDDEN, rms=True):
        super().__init__(seed)
        self.name, self.layers, self.head, self.kv_heads, self.hidden = name, layers, head, kv_heads, hidden
        self.string("general.architecture", name)
        self.set(block_count=layers, context_length=CONTEXT, embedding_length=WIDTH, feed_forward_length=hidden,
                 vocab_size=tiny_models.VOCABULARY)
        self.set_in("attention", head_count=HEADS, head_count_kv=kv_heads)
        self.set_in("attention", **{"layer_norm_rms_epsilon" if rms else "layer_norm_epsilon": 1e-5})
        if head * HEADS != WIDTH:
            self.set_in("attention", key_length=head, value_length=head)
        tiny_models.add_vocabulary(self, vocabulary)
        self.tensor("token_embd.weight", WIDTH, tiny_models.VOCABULARY, deviation=1.0)

    def set(self, **values):
        self.set_in("", **values)

    def set_in(self, group, **values):
        for key, value in values.items():
            full = ".".join(part for part in (self.name, group, key) if part)
            put = {str: self.string, bool: self.flag, int: self.number, float: self.real}[type(value)]
            put(full, value)

    def norm(self, name, size=WIDTH, bias=False):
        self.tensor(name + ".weight", size, deviation=0.2, around=1.0)
        if bias:
            self.offsets(name, size)

    def offsets(self, name, size):
        self.tensor(name + ".bias", size, deviation=0.3)

    def matrix(self, name, cols, rows, bias=False):
        self.tensor(name + ".weight", cols, rows)
        if bias:
            self.offsets(name, rows)

    def attention(self, block, bias=False, output_bias=False, fused=False):
        query, kv = HEADS * self.head, self.kv_heads * self.head
        if fused:
            self.matrix(block + "attn_qkv", WIDTH, query + 2 * kv, bias)
        else:
            for part, rows in (("q", query), ("k", kv), ("v", kv)):
                self.matrix(block + "attn_" + part, WIDTH, rows, bias)
        self.matrix(block + "attn_output", query, WIDTH, output_bias)

    def gated(self, block):
        self.matrix(block + "ffn_gate", WIDTH, self.hidden)
        self.matrix(block + "ffn_up", WIDTH, self.hidden)
        self.matrix(block + "ffn_down", self.hidden, WIDTH)

    def plain(self, block):
        self.matrix(block + "ffn_up", WIDTH, self.hidden, True)
        self.matrix(block + "ffn_down", self.hidden, WIDTH, True)

    def experts(self, block, hidden, bias=False):
        self.matrix(block + "ffn_gate_inp", WIDTH, EXPERTS, bias)
        for part, cols, rows in (("gate", WIDTH, hidden), ("up", WIDTH, hidden), ("down", hidden, WIDTH)):
            self.tensor(f"{block}ffn_{part}_exps.weight", cols, rows, EXPERTS)
            if bias:
                self.tensor(f"{block}ffn_{part}_exps.bias", rows, EXPERTS, deviation=0.3)

    def blocks(self):
        return [f"blk.{layer}." for layer in range(self.layers)]

    def finish(self, bias=False, tied=False):
        self.norm("output_norm", bias=bias)
        if not tied:
            self.matrix("output", WIDTH, tiny_models.VOCABULARY)
        return self


def rope(model, base=10000.0, dims=None, **scaling):
    model.set_in("rope", freq_base=base)
    if dims:
        model.set_in("rope", dimension_count=dims)
    model.set_in("rope.scaling", **scaling)


def llama(vocabulary, seed, experts=False, **scaling):
    model = Arch("llama", seed, vocabulary)
    rope(model, dims=HEAD, **scaling)
    if experts:
        model.set(expert_count=EXPERTS, expert_used_count=2)
    for block in model.blocks():
        model.norm(block + "attn_norm")
        model.attention(block)
        model.norm(block + "ffn_norm")
        if experts:
            model.experts(block, HIDDEN)
        else:
            model.gated(block)
    return model.finish()


def qwen2(vocabulary, seed):
    model = Arch("qwen2", seed, vocabulary)
    rope(model, base=1e6)
    for block in model.blocks():
        model.norm(block + "attn_norm")
        model.attention(block, bias=True)
        model.norm(block + "ffn_norm")
        model.gated(block)
    return model.finish()


def qwen3(vocabulary, seed, experts=False):
    model = Arch("qwen3moe" if experts else "qwen3", seed, vocabulary, head=32)
    rope(model, base=1e6)
    if experts:
        model.set(expert_count=EXPERTS, expert_used_count=2, expert_feed_forward_length=64)
    for block in model.blocks():
        model.norm(block + "attn_norm")
        model.attention(block)
        model.norm(block + "attn_q_norm", 32)
        model.norm(block + "attn_k_norm", 32)
        model.norm(block + "ffn_norm")
        if experts:
            model.experts(block, 64)
        else:
            model.gated(block)
    return model.finish()


def phi3(vocabulary, seed, long=False):
    model = Arch("phi3", seed, vocabulary)
    rope(model, dims=HEAD, original_context_length=128 if long else CONTEXT, attn_factor=1.19)
    pairs = HEAD // 2
    model.given("rope_factors_long.weight", (pairs,), [1.0 + 0.75 * pair for pair in range(pairs)])
    model.given("rope_factors_short.weight", (pairs,), [1.0 + 0.0625 * pair for pair in range(pairs)])
    for block in model.blocks():
        model.norm(block + "attn_norm")
        model.attention(block, fused=True)
        model.norm(block + "ffn_norm")
        model.matrix(block + "ffn_up", WIDTH, 2 * HIDDEN)
        model.matrix(block + "ffn_down", HIDDEN, WIDTH)
    return model.finish()


def gpt2(vocabulary, seed):
    model = Arch("gpt2", seed, vocabulary, kv_heads=HEADS, rms=False)
    model.tensor("position_embd.weight", WIDTH, CONTEXT, deviation=0.5)
    for block in model.blocks():
        model.norm(block + "attn_norm", bias=True)
        model.attention(block, bias=True, output_bias=True, fused=True)
        model.norm(block + "ffn_norm", bias=True)
        model.plain(block)
    return model.finish(bias=True)


def gptneox(vocabulary, seed, parallel):
    model = Arch("gptneox", seed, vocabulary, kv_heads=HEADS, rms=False)
    rope(model, dims=8)
    model.set(use_parallel_residual=parallel)
    for block in model.blocks():
        model.norm(block + "attn_norm", bias=True)
        model.attention(block, bias=True, output_bias=True, fused=True)
        model.norm(block + "ffn_norm", bias=True)
        model.plain(block)
    return model.finish(bias=True)


def stablelm(vocabulary, seed, parallel):
    model = Arch("stablelm", seed, vocabulary, rms=False)
    rope(model, dims=8)
    model.set(use_parallel_residual=parallel)
    for block in model.blocks():
        model.norm(block + "attn_norm", bias=True)
        model.attention(block, bias=not parallel)
        if parallel:
            for part, heads in (("q", HEADS), ("k", KV_HEADS)):
                model.tensor(f"{block}attn_{part}_norm.weight", HEAD, heads, deviation=0.2, around=1.0)
        else:
            model.norm(block + "ffn_norm", bias=True)
        model.gated(block)
    return model.finish(bias=True)


def olmo2(vocabulary, seed):
    model = Arch("olmo2", seed, vocabulary)
    rope(model, base=500000.0)
    for block in model.blocks():
        model.attention(block)
        model.norm(block + "attn_q_norm", HEADS * HEAD)
        model.norm(block + "attn_k_norm", KV_HEADS * HEAD)
        model.norm(block + "post_attention_norm")
        model.gated(block)
        model.norm(block + "post_ffw_norm")
    return model.finish()


def olmoe(vocabulary, seed):
    model = Arch("olmoe", seed, vocabulary, kv_heads=HEADS, hidden=64)
    rope(model)
    model.set(expert_count=EXPERTS, expert_used_count=2)
    for block in model.blocks():
        model.norm(block + "attn_norm")
        model.attention(block)
        model.norm(block + "attn_q_norm", HEADS * HEAD)
        model.norm(block + "attn_k_norm", HEADS * HEAD)
        model.norm(block + "ffn_norm")
        model.experts(block, 64)
    return model.finish()


def starcoder2(vocabulary, seed):
    model = Arch("starcoder2", seed, vocabulary, rms=False)
    rope(model, base=100000.0)
    for block in model.blocks():
        model.norm(block + "attn_norm", bias=True)
        model.attention(block, bias=True, output_bias=True)
        model.norm(block + "ffn_norm", bias=True)
        model.plain(block)
    return model.finish(bias=True)


def gemma(vocabulary, seed, third):
    model = Arch("gemma3" if third else "gemma2", seed, vocabulary, head=32, layers=6 if third else 2)
    model.set_in("attention", sliding_window=WINDOW)
    if third:
        rope(model, base=1e6, type="linear", factor=8.0)
    else:
        model.set(attn_logit_softcapping=50.0, final_logit_softcapping=30.0)
    for block in model.blocks():
        model.norm(block + "attn_norm")
        model.attention(block)
        if third:
            model.norm(block + "attn_q_norm", 32)
            model.norm(block + "attn_k_norm", 32)
        model.norm(block + "post_attention_norm")
        model.norm(block + "ffn_norm")
        model.gated(block)
        model.norm(block + "post_ffw_norm")
    return model.finish(tied=True)


def gpt_oss(vocabulary, seed):
    model = Arch("gpt-oss", seed, vocabulary, head=32, layers=4)
    rope(model, base=150000.0, type="yarn", factor=32.0, original_context_length=128)
    model.set_in("attention", sliding_window=WINDOW)
    model.set(expert_count=EXPERTS, expert_used_count=2, expert_feed_forward_length=64)
    for block in model.blocks():
        model.norm(block + "attn_norm")
        model.attention(block, bias=True, output_bias=True)
        model.tensor(block + "attn_sinks.weight", HEADS, deviation=1.0)
        model.norm(block + "post_attention_norm")
        model.experts(block, 64, bias=True)
    return model.finish()


# Seeds are chosen so that no greedy choice of the reference is close (golden_test.py checks).
MODELS = {
    "llama": lambda v: llama(v, 101),
    "llama-yarn": lambda v: llama(v, 102, type="yarn", factor=4.0, original_context_length=128),
    "llama-experts": lambda v: llama(v, 114, experts=True),
    "qwen2": lambda v: qwen2(v, 103),
    "qwen3": lambda v: qwen3(v, 104),
    "qwen3moe": lambda v: qwen3(v, 116, experts=True),
    "phi3": lambda v: phi3(v, 105),
    "phi3-long": lambda v: phi3(v, 106, long=True),
    "gemma2": lambda v: gemma(v, 117, third=False),
    "gemma3": lambda v: gemma(v, 118, third=True),
    "gpt-oss": lambda v: gpt_oss(v, 119),
    "gpt2": lambda v: gpt2(v, 107),
    "gptneox": lambda v: gptneox(v, 108, parallel=True),
    "gptneox-sequential": lambda v: gptneox(v, 109, parallel=False),
    "stablelm": lambda v: stablelm(v, 110, parallel=False),
    "stablelm-parallel": lambda v: stablelm(v, 111, parallel=True),
    "olmo2": lambda v: olmo2(v, 112),
    "olmoe": lambda v: olmoe(v, 120),
    "starcoder2": lambda v: starcoder2(v, 113),
}


def write_all(vocabulary_path, folder, names=()):
    with open(vocabulary_path, "rb") as file:
        vocabulary = tiny_models.Reader(file.read()).metadata()
    for name in names or MODELS:
        MODELS[name](vocabulary).write(f"{folder}/arch-{name}.gguf")
    return list(names or MODELS)


if __name__ == "__main__":
    write_all(sys.argv[1], sys.argv[2], sys.argv[3:])
