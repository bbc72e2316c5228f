"""Writes the tiny random F32 models of this folder, byte for byte the same on every machine.

Each model is a few hundred kilobytes: one or two layers, width 64, and 320 entries of the tales vocabulary (its 256
bytes, its first merges and its two specials). Weights are multiples of 1/256, so that F16 holds them exactly too and git
packs them well.
"""
import math
import struct

MASK = (1 << 64) - 1
VOCABULARY = 320
SCALAR = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


class Reader:
    """Reads the key-value section of a GGUF file that is known to be good."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def scalar(self, code):
        size = struct.calcsize("<" + code)
        self.at += size
        return struct.unpack_from("<" + code, self.data, self.at - size)[0]

    def text(self):
        size = self.scalar("Q")
        self.at += size
        return self.data[self.at - size:self.at].decode()

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind == 9:
            item, count = self.scalar("I"), self.scalar("Q")
            return [self.value(item) for _ in range(count)]
        return self.scalar(SCALAR[kind])

    def metadata(self):
        self.at = 16
        count = self.scalar("Q")
        pairs = {}
        for _ in range(count):
            key = self.text()
            pairs[key] = self.value(self.scalar("I"))
        return pairs

    def tensors(self):
        """Name -> (dimensions, fastest first; type id; place of the data in the file)."""
        self.at, infos = 8, {}
        count = self.scalar("Q")
        alignment = self.metadata().get("general.alignment", 32)
        for _ in range(count):
            name = self.text()
            dims = [self.scalar("Q") for _ in range(self.scalar("I"))]
            infos[name] = dims, self.scalar("I"), self.scalar("Q")
        start = -(-self.at // alignment) * alignment
        return {name: (dims, kind, start + offset) for name, (dims, kind, offset) in infos.items()}


def splitmix(state):
    state = (state + 0x9E3779B97F4A7C15) & MASK
    mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
    return state, mixed ^ (mixed >> 31)


class Model:
    """Collects keys and tensors, then writes one GGUF v3 file."""

    def __init__(self, seed):
        self.state, self.keys, self.tensors = seed, [], []

    def string(self, key, value):
        self.keys.append(packed(key) + struct.pack("<I", 8) + packed(value))

    def number(self, key, value):
        self.keys.append(packed(key) + struct.pack("<II", 4, value))

    def real(self, key, value):
        self.keys.append(packed(key) + struct.pack("<If", 6, value))

    def flag(self, key, value):
        self.keys.append(packed(key) + struct.pack("<IB", 7, value))

    def strings(self, key, values):
        self.keys.append(packed(key) + struct.pack("<IIQ", 9, 8, len(values)) + b"".join(map(packed, values)))

    def integers(self, key, values):
        self.keys.append(packed(key) + struct.pack(f"<IIQ{len(values)}i", 9, 5, len(values), *values))

    def draw(self):
        """About normal, deviation 1: the sum of four uniform 16-bit numbers."""
        self.state, bits = splitmix(self.state)
        total = sum((bits >> shift) & 0xFFFF for shift in (0, 16, 32, 48))
        return (total - 131070) / 37837.2

    def tensor(self, name, *shape, deviation=None, around=0.0):
        """`shape` in GGUF's order, fastest dimension first."""
        deviation = deviation or 1.4 / math.sqrt(shape[0])
        count = math.prod(shape)
        self.given(name, shape, [round((around + deviation * self.draw()) * 256) / 256 for _ in range(count)])

    def given(self, name, shape, values):
        self.tensors.append((name, shape, struct.pack(f"<{len(values)}f", *values)))

    def write(self, path):
        offset, infos = 0, b""
        for name, shape, data in self.tensors:
            infos += packed(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset)
            offset += -(-len(data) // 32) * 32
        header = b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.keys)) + b"".join(self.keys) + infos
        with open(path, "wb") as out:
            out.write(header + b"\0" * (-len(header) % 32))
            for _, _, data in self.tensors:
                out.write(data + b"\0" * (-len(data) % 32))


def packed(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def add_vocabulary(model, tales):
    plain = VOCABULARY - 2
    model.string("tokenizer.ggml.model", tales["tokenizer.ggml.model"])
    model.string("tokenizer.ggml.pre", tales["tokenizer.ggml.pre"])
    tokens, kinds = tales["tokenizer.ggml.tokens"], tales["tokenizer.ggml.token_type"]
    model.strings("tokenizer.ggml.tokens", tokens[:plain] + tokens[-2:])
    model.integers("tokenizer.ggml.token_type", kinds[:plain] + kinds[-2:])
    model.strings("tokenizer.ggml.merges", tales["tokenizer.ggml.merges"][:plain - 256])
    model.number("tokenizer.ggml.bos_token_id", plain)
    model.number("tokenizer.ggml.eos_token_id", plain + 1)
    model.flag("tokenizer.ggml.add_bos_token", True)
    model.flag("tokenizer.ggml.add_eos_token", False)


def llama3_factors(pairs, base, factor=8.0, low=1.0, high=4.0, original=256):
    """What Llama 3.1 files carry as rope_freqs.weight: long wavelengths are stretched, short ones are kept."""
    factors = []
    for pair in range(pairs):
        wavelength = 2 * math.pi * base ** (pair / pairs)
        if wavelength < original / high:
            factors.append(1.0)
        elif wavelength > original / low:
            factors.append(factor)
        else:
            smooth = (original / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return factors


def build(tales, name, seed, base=10000.0, head=16, tied=True, llama3=False, linear=None, layers=2,
          epsilon=1e-5):
    width, heads, kv_heads, hidden = 64, 4, 2, 96
    model = Model(seed)
    model.string("general.architecture", "llama")
    model.string("general.name", name)
    model.number("general.file_type", 0)
    for key, value in (("block_count", layers), ("context_length", 512), ("embedding_length", width),
                       ("feed_forward_length", hidden), ("attention.head_count", heads),
                       ("attention.head_count_kv", kv_heads), ("rope.dimension_count", head),
                       ("vocab_size", VOCABULARY)):
        model.number("llama." + key, value)
    if head * heads != width:
        model.number("llama.attention.key_length", head)
        model.number("llama.attention.value_length", head)
    model.real("llama.attention.layer_norm_rms_epsilon", epsilon)
    model.real("llama.rope.freq_base", base)
    if linear:
        model.string("llama.rope.scaling.type", "linear")
        model.real("llama.rope.scaling.factor", linear)
    add_vocabulary(model, tales)
    model.tensor("token_embd.weight", width, VOCABULARY, deviation=1.0)
    if llama3:
        model.given("rope_freqs.weight", (head // 2,), llama3_factors(head // 2, base))
    for layer in range(layers):
        block = f"blk.{layer}."
        model.tensor(block + "attn_norm.weight", width, deviation=0.2, around=1.0)
        model.tensor(block + "attn_q.weight", width, heads * head)
        model.tensor(block + "attn_k.weight", width, kv_heads * head)
        model.tensor(block + "attn_v.weight", width, kv_heads * head)
        model.tensor(block + "attn_output.weight", heads * head, width)
        model.tensor(block + "ffn_norm.weight", width, deviation=0.2, around=1.0)
        model.tensor(block + "ffn_gate.weight", width, hidden)
        model.tensor(block + "ffn_up.weight", width, hidden)
        model.tensor(block + "ffn_down.weight", hidden, width)
    model.tensor("output_norm.weight", width, deviation=0.2, around=1.0)
    if not tied:
        model.tensor("output.weight", width, VOCABULARY)
    return model


def write_all(tales_path, folder):
    """Writes the models into `folder` and returns their names."""
    with open(tales_path, "rb") as file:
        tales = Reader(file.read()).metadata()
    models = {
        "tiny-tied": dict(seed=1),
        "tiny-llama3": dict(seed=2, base=500000.0, tied=False, llama3=True),
        "tiny-widehead": dict(seed=3, head=32),
        "tiny-linear": dict(seed=4, linear=4.0, layers=1, epsilon=0.01),
    }
    for name, options in models.items():
        build(tales, name, **options).write(f"{folder}/{name}.gguf")
    return list(models)
