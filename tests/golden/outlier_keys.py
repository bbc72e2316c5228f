#!/usr/bin/env python3
"""Makes a model whose keys are hard to round, and that computes the same.

usage: outlier_keys.py MODEL.gguf OUT.gguf [--factor 40] [--pairs 2]

In every KV head of a Llama model with F16 or F32 attention weights, the first rotating pairs of coordinates are multiplied by
the factor in the keys, and divided by it in all queries of that head. Scores stay what they were but for the rounding of the
weights; a cache that rounds keys must cope with coordinates that are 40 times larger than the others."""
import argparse
import struct

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
TYPES = {0: ("f", 4), 1: ("e", 2)}  # F32 and F16: struct's letter and bytes.


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, layout):
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values[0] if len(values) == 1 else values

    def text(self):
        length = self.take("Q")
        self.at += length
        return self.data[self.at - length : self.at].decode("utf-8", "replace")

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind == 9:
            kind, count = self.take("IQ")
            return [self.value(kind) for _ in range(count)]
        self.at += SIZES[kind]
        return int.from_bytes(self.data[self.at - SIZES[kind] : self.at], "little")


def read(data):
    """The integers among the metadata, and the tensors by name: (type, shape, offset in the file)."""
    reader = Reader(data)
    reader.at = 8
    tensor_count, value_count = reader.take("QQ")
    values, tensors = {}, {}
    for _ in range(value_count):
        key = reader.text()
        values[key] = reader.value(reader.take("I"))
    for _ in range(tensor_count):
        name = reader.text()
        shape = [reader.take("Q") for _ in range(reader.take("I"))]
        kind, offset = reader.take("IQ")
        tensors[name] = (kind, shape, offset)
    alignment = values.get("general.alignment", 32)
    start = (reader.at + alignment - 1) // alignment * alignment
    return values, {name: (kind, shape, start + offset) for name, (kind, shape, offset) in tensors.items()}


def scale_rows(data, tensor, rows, factor):
    kind, shape, offset = tensor
    if kind not in TYPES:
        raise SystemExit(f"weights of type {kind} cannot be scaled exactly enough: give a model with F16 or F32 weights")
    letter, size = TYPES[kind]
    for row in rows:
        at = offset + row * shape[0] * size
        layout = f"<{shape[0]}{letter}"
        scaled = [factor * x for x in struct.unpack_from(layout, data, at)]
        struct.pack_into(layout, data, at, *scaled)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--factor", type=float, default=40)
    parser.add_argument("--pairs", type=int, default=2)
    options = parser.parse_args()
    data = bytearray(open(options.model, "rb").read())
    values, tensors = read(data)
    if not any(name == "blk.0.attn_k.weight" for name in tensors):
        raise SystemExit("not a Llama model: it has no blk.0.attn_k.weight")
    layers, heads = values["llama.block_count"], values["llama.attention.head_count"]
    kv_heads = values.get("llama.attention.head_count_kv", heads)
    head_dim = tensors["blk.0.attn_k.weight"][1][1] // kv_heads
    for layer in range(layers):
        for name, count, factor in (("k", kv_heads, options.factor), ("q", heads, 1 / options.factor)):
            rows = [head * head_dim + i for head in range(count) for i in range(2 * options.pairs)]
            scale_rows(data, tensors[f"blk.{layer}.attn_{name}.weight"], rows, factor)
    with open(options.out, "wb") as file:
        file.write(data)


if __name__ == "__main__":
    main()
