#!/usr/bin/env python3
"""Makes a model larger without changing what it says, to measure speed on text that is not random.

    bench/deepened.py MODEL.gguf OUT.gguf --layers N --ffn N

For files of the llama architecture in F32, F16 and Q8_0. Layers are added whose outputs (attn_output, ffn_down) are zero;
feed-forwards get wider by rows of gate and up whose columns of down are zero. All of it is computed, and adds nothing.
"""
import argparse
import struct

from with_vocabulary import STRING, Reader, as_bytes

BLOCKS = {0: (1, 4), 1: (1, 2), 8: (32, 34)}  # Of a tensor's type: elements and bytes.


class Tensor:
    def __init__(self, name, shape, kind, data):
        self.name, self.shape, self.kind, self.data = name, shape, kind, data

    def row_bytes(self):
        elements, size = BLOCKS[self.kind]
        return self.shape[0] // elements * size

    def zeroed(self):
        return Tensor(self.name, self.shape, self.kind, bytes(len(self.data)))

    def renamed(self, name):
        return Tensor(name, self.shape, self.kind, self.data)

    def with_rows(self, rows):
        size = rows * self.row_bytes()
        return Tensor(self.name, [self.shape[0], rows], self.kind, (self.data * (size // len(self.data) + 1))[:size])

    def with_zero_columns(self, columns):
        old, wide = self.row_bytes(), Tensor(self.name, [columns, self.shape[1]], self.kind, b"")
        padding = bytes(wide.row_bytes() - old)
        wide.data = b"".join(self.data[at:at + old] + padding for at in range(0, len(self.data), old))
        return wide


def read_tensors(model):
    infos = []
    for _ in range(model.tensors):
        name = model.string().decode()
        (dims,) = struct.unpack("<I", model.file.read(4))
        shape = list(struct.unpack(f"<{dims}Q", model.file.read(8 * dims)))
        kind, offset = struct.unpack("<IQ", model.file.read(12))
        infos.append((name, shape, kind, offset))
    begin = model.file.tell() + -model.file.tell() % 32
    tensors = {}
    for name, shape, kind, offset in infos:
        count = 1
        for dim in shape:
            count *= dim
        elements, size = BLOCKS[kind]
        model.file.seek(begin + offset)
        tensors[name] = Tensor(name, shape, kind, model.file.read(count // elements * size))
    return tensors


def enlarge(tensors, layers, added_layers, ffn):
    for name, tensor in list(tensors.items()):
        if name.endswith(("ffn_gate.weight", "ffn_up.weight")):
            tensors[name] = tensor.with_rows(ffn)
        elif name.endswith("ffn_down.weight"):
            tensors[name] = tensor.with_zero_columns(ffn)
    for layer in range(layers, layers + added_layers):
        source = f"blk.{layer % layers}."
        for name, tensor in list(tensors.items()):
            if name.startswith(source):
                copy = tensor.renamed(f"blk.{layer}.{name[len(source):]}")
                adds = name.endswith(("attn_output.weight", "ffn_down.weight"))
                tensors[copy.name] = copy.zeroed() if adds else copy


def write(path, model, metadata, tensors):
    with open(path, "wb") as out:
        out.write(struct.pack("<4sIQQ", b"GGUF", model.version, len(tensors), len(metadata)))
        for key, (kind, value) in metadata.items():
            out.write(as_bytes(STRING, key) + struct.pack("<I", kind) + as_bytes(kind, value))
        offset = 0
        for tensor in tensors.values():
            out.write(as_bytes(STRING, tensor.name.encode()))
            out.write(struct.pack(f"<I{len(tensor.shape)}QIQ", len(tensor.shape), *tensor.shape, tensor.kind, offset))
            offset += len(tensor.data) + -len(tensor.data) % 32
        out.write(bytes(-out.tell() % 32))
        for tensor in tensors.values():
            out.write(tensor.data + bytes(-len(tensor.data) % 32))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--layers", type=int, required=True)
    parser.add_argument("--ffn", type=int, required=True)
    arguments = parser.parse_args()
    model = Reader(arguments.model)
    metadata = {key: value for key, value in model.metadata.items() if key != b"general.alignment"}
    kind, value = metadata[b"llama.block_count"]
    (layers,) = struct.unpack("<I", value)
    metadata[b"llama.block_count"] = (kind, struct.pack("<I", arguments.layers))
    metadata[b"llama.feed_forward_length"] = (kind, struct.pack("<I", arguments.ffn))
    tensors = read_tensors(model)
    enlarge(tensors, layers, arguments.layers - layers, arguments.ffn)
    write(arguments.out, model, metadata, tensors)


main()
