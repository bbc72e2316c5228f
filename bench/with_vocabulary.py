#!/usr/bin/env python3
"""Gives a model of random weights the vocabulary of another file, so that servers can serve it.

    bench/with_vocabulary.py MODEL.gguf VOCABULARY.gguf OUT.gguf

The vocabulary is filled up with unused tokens to the rows of the model's embeddings.
"""
import shutil
import struct
import sys

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
INT32, STRING, ARRAY = 5, 8, 9
UNUSED = 5  # A token's type.


class Reader:
    def __init__(self, path):
        self.file = open(path, "rb")
        magic, self.version, self.tensors, count = struct.unpack("<4sIQQ", self.file.read(24))
        if magic != b"GGUF":
            sys.exit(f"{path}: not a GGUF file")
        self.metadata = {}
        for _ in range(count):
            key = self.string()
            (kind,) = struct.unpack("<I", self.file.read(4))
            self.metadata[key] = (kind, self.value(kind))
        self.infos = self.file.tell()

    def string(self):
        (length,) = struct.unpack("<Q", self.file.read(8))
        return self.file.read(length)

    def value(self, kind):
        """The bytes of a value as they lie in the file; of an array its element type and the bytes of each element."""
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            element, count = struct.unpack("<IQ", self.file.read(12))
            return element, [self.value(element) for _ in range(count)]
        return self.file.read(SIZES[kind])

    def embedding_rows(self):
        """Of token_embd.weight; leaves the file behind the tensors' descriptions."""
        rows = 0
        for _ in range(self.tensors):
            name = self.string()
            (dims,) = struct.unpack("<I", self.file.read(4))
            shape = struct.unpack(f"<{dims}Q", self.file.read(8 * dims))
            self.file.read(12)
            if name == b"token_embd.weight":
                rows = shape[1]
        return rows


def as_bytes(kind, value):
    if kind == STRING:
        return struct.pack("<Q", len(value)) + value
    if kind == ARRAY:
        element, items = value
        return struct.pack("<IQ", element, len(items)) + b"".join(as_bytes(element, item) for item in items)
    return value


def fill(vocabulary, rows):
    for key, filler, in ((b"tokenizer.ggml.tokens", lambda i: f"<unused{i}>".encode()),
                         (b"tokenizer.ggml.token_type", lambda i: struct.pack("<i", UNUSED)),
                         (b"tokenizer.ggml.scores", lambda i: struct.pack("<f", -1e9))):
        if key in vocabulary:
            items = vocabulary[key][1][1]
            items.extend(filler(i) for i in range(len(items), rows))


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    model, vocabulary = Reader(sys.argv[1]), Reader(sys.argv[2])
    rows = model.embedding_rows()
    end_of_infos = model.file.tell()
    words = {key: value for key, value in vocabulary.metadata.items() if key.startswith(b"tokenizer.")}
    if b"tokenizer.ggml.token_type" not in words:
        words[b"tokenizer.ggml.token_type"] = (ARRAY, (INT32, [struct.pack("<i", 1)] *
                                                       len(words[b"tokenizer.ggml.tokens"][1][1])))
    fill(words, rows)
    metadata = {key: value for key, value in model.metadata.items() if not key.startswith(b"tokenizer.")} | words
    alignment = 32
    with open(sys.argv[3], "wb") as out:
        out.write(struct.pack("<4sIQQ", b"GGUF", model.version, model.tensors, len(metadata)))
        for key, (kind, value) in metadata.items():
            out.write(as_bytes(STRING, key) + struct.pack("<I", kind) + as_bytes(kind, value))
        model.file.seek(model.infos)
        out.write(model.file.read(end_of_infos - model.infos))
        out.write(b"\0" * (-out.tell() % alignment))
        model.file.seek(end_of_infos + -end_of_infos % alignment)
        shutil.copyfileobj(model.file, out, 1 << 24)


if __name__ == "__main__":
    main()
