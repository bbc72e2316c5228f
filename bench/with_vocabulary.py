#!/usr/bin/env python3
"""Gives a model of random weights (`inferos make-model`) the vocabulary of another GGUF file, so that it can be served.

    bench/with_vocabulary.py MODEL.gguf VOCABULARY.gguf OUT.gguf
"""
import shutil
import struct
import sys

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # Bytes of the scalar types.
STRING, ARRAY, ALIGNMENT = 8, 9, 32


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, form):
        value, = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value

    def string(self):
        size = self.number("Q")
        self.at += size
        return bytes(self.data[self.at - size:self.at]).decode()

    def skip(self, kind):
        if kind == STRING:
            self.string()
        elif kind == ARRAY:
            inner, count = self.number("I"), self.number("Q")
            for _ in range(count):
                self.skip(inner)
        else:
            self.at += SIZES[kind]


def read(path):
    """Metadata (key: its bytes, key included), the bytes of the tensors' descriptions, their number, where data begins."""
    with open(path, "rb") as file:
        reader = Reader(memoryview(file.read(64 << 20)))
    if reader.number("4s") != b"GGUF" or reader.number("I") != 3:
        sys.exit(f"{path}: not a GGUF file of version 3")
    tensors, keys = reader.number("Q"), reader.number("Q")
    metadata = {}
    for _ in range(keys):
        begin = reader.at
        key = reader.string()
        reader.skip(reader.number("I"))
        metadata[key] = bytes(reader.data[begin:reader.at])
    begin = reader.at
    for _ in range(tensors):
        reader.string()
        for _ in range(reader.number("I")):
            reader.number("Q")
        reader.number("I"), reader.number("Q")
    return metadata, bytes(reader.data[begin:reader.at]), tensors, -(-reader.at // ALIGNMENT) * ALIGNMENT


def main():
    model, vocabulary, out = sys.argv[1:]
    metadata, descriptions, tensors, data_begin = read(model)
    words = {key: value for key, value in read(vocabulary)[0].items() if key.startswith("tokenizer.")}
    metadata = {key: value for key, value in metadata.items() if not key.startswith("tokenizer.")} | words
    header = struct.pack("<4sIQQ", b"GGUF", 3, tensors, len(metadata)) + b"".join(metadata.values()) + descriptions
    with open(out, "wb") as target, open(model, "rb") as source:
        target.write(header + bytes(-len(header) % ALIGNMENT))
        source.seek(data_begin)
        shutil.copyfileobj(source, target, 16 << 20)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main()
