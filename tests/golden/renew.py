#!/usr/bin/env python3
"""Renews the reference data of this folder from an installed llama.cpp.

renew.sh says how to call it, README.md what the files hold.
"""
import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
import urllib.request

import tiny_archs
import tiny_models

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.dirname(os.path.dirname(HERE))
SCRATCH = "golden-scratch"
THREADS = "1"  # llama.cpp's last digits may depend on the number of threads.
GREEDY_TOKENS = 32
TOP = 16
TALES = ("tales-f16", "tales-q8_0", "tales-q4_k_m")
TINY_PROMPTS = ("once", "code", "japanese")
ARCH_PROMPTS = ("once", "sea", "japanese", "code")  # And the beginning of the passage, as "tale".
TALE_CHARACTERS = 560
PERPLEXITY_TYPES = ("F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S",
                    "Q4_1", "Q4_0", "IQ4_NL", "IQ4_XS", "MXFP4", "Q3_K_M", "Q3_K_S", "Q2_K")
# What llama-quantize is asked for; MXFP4 is meant for experts alone, so the other matrices have to be asked for.
QUANTIZE_OPTIONS = {"MXFP4": ("--pure",)}
QUANTIZE_NAMES = {"MXFP4": "MXFP4_MOE"}
# Block types: weights of a block, its bytes, and where its half floats lie. --pure names one type of each mixture.
BLOCKS = {"Q4_0": (32, 18, (0,)), "Q4_1": (32, 20, (0, 2)), "Q5_0": (32, 22, (0,)), "Q5_1": (32, 24, (0, 2)),
          "Q8_0": (32, 34, (0,)), "Q2_K": (256, 84, (80, 82)), "Q3_K_S": (256, 110, (108,)),
          "Q4_K_S": (256, 144, (0, 2)), "Q5_K_S": (256, 176, (0, 2)), "Q6_K": (256, 210, (208,)),
          "IQ4_NL": (32, 18, (0,)), "IQ4_XS": (256, 136, (0,)), "MXFP4": (32, 17, ())}
BLOCK_TENSOR = "blk.0.ffn_up.weight"
BLOCK_WEIGHTS = 256  # Of each kind.


def unescaped(text):
    single = {"n": "\n", "t": "\t", "r": "\r", "s": " ", "\\": "\\"}

    def character(match):
        return chr(int(match[1], 16)) if match[1] else single[match[2]]

    return re.sub(r"\\(?:u\{([0-9a-f]+)\}|([ntrs\\]))", character, text)


def input_lines(name):
    with open(os.path.join(HERE, name), encoding="utf-8", newline="\n") as file:
        return [line for line in file.read().split("\n") if line and not line.startswith("#")]


def prompts():
    """Name -> text, in the order of prompts.txt."""
    pairs = (line.partition(" ") for line in input_lines("prompts.txt"))
    return {name: unescaped(text) for name, _, text in pairs}


def as_hex(text):
    return text.encode().hex() or "-"


def join(values):
    return " ".join(str(value) for value in values)


def reals(values):
    return " ".join(f"{value:.7g}" for value in values)


class Peer:
    """llama.cpp inside `root`; files are handed over through root/models/golden-scratch."""

    def __init__(self, root, models):
        self.root, self.models = root, models
        self.scratch = os.path.join(root, "models", SCRATCH)
        shutil.rmtree(self.scratch, ignore_errors=True)
        os.makedirs(self.scratch)
        text = self.run("llama-cli", "--version")
        self.version = re.search(r"version: (.*)", text)[1]

    def command(self, tool, *arguments):
        return ["chroot", self.root, tool, *arguments]

    def run(self, tool, *arguments):
        done = subprocess.run(self.command(tool, *arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, check=False)
        text = done.stdout.decode("utf-8", "replace")
        if done.returncode != 0:
            sys.exit(f"{tool} ended with {done.returncode}:\n{text[-2000:]}")
        return text

    def quantize(self, source, target, weights, *options):
        self.run("llama-quantize", *QUANTIZE_OPTIONS.get(weights, ()), *options, source, target,
                 QUANTIZE_NAMES.get(weights, weights), "2")

    def take(self, path):
        """Puts a model into the scratch folder and returns its path as the tools see it."""
        target = os.path.join(self.scratch, os.path.basename(path))
        if not os.path.exists(target):
            shutil.copyfile(path, target)
        return f"/models/{SCRATCH}/{os.path.basename(path)}"

    def logits(self, model, text, options):
        """Token ids of `text` with BOS added once, and the logits after the last of them."""
        folder = os.path.join(self.scratch, "logits")
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        with open(os.path.join(folder, "prompt.txt"), "wb") as file:
            file.write(text.encode())
        self.run("llama-debug", "-m", model, "-bf", f"/models/{SCRATCH}/logits/prompt.txt", "--save-logits",
                 "--logits-output-dir", f"/models/{SCRATCH}/logits", "--no-warmup", "--no-escape", *options)
        stem = os.path.join(folder, "llamacpp-" + os.path.basename(model).removesuffix(".gguf"))
        with open(stem + "-tokens.bin", "rb") as file:
            tokens = [value[0] for value in struct.iter_unpack("<i", file.read())]
        with open(stem + ".bin", "rb") as file:
            values = [value[0] for value in struct.iter_unpack("<f", file.read())]
        return tokens, values

    def perplexity(self, model, text, context):
        for _ in range(5):  # Its last lines are sometimes lost when it ends.
            output = self.run("llama-perplexity", "-m", model, "-f", text, "-c", str(context), "-dev", "none",
                              "-t", THREADS, "-fa", "on", "-ctk", "f16", "-ctv", "f16")
            if found := re.search(r"Final estimate: PPL = (\S+) \+/- (\S+)", output):
                return float(found[1]), float(found[2])
        sys.exit(f"llama-perplexity printed no estimate:\n{output[-2000:]}")

    @contextlib.contextmanager
    def server(self, model, options):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        process = subprocess.Popen(self.command("llama-server", "-m", model, "--host", "127.0.0.1", "--port", str(port),
                                                "-np", "1", "--offline", *options),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            server = Server(port)
            server.wait_until_ready(process)
            yield server
        finally:
            process.terminate()
            process.wait()


class Server:
    def __init__(self, port):
        self.address = f"http://127.0.0.1:{port}"

    def wait_until_ready(self, process):
        for _ in range(300):
            if process.poll() is not None:
                sys.exit(f"llama-server ended with {process.returncode}")
            with contextlib.suppress(OSError):
                urllib.request.urlopen(self.address + "/health", timeout=5).close()
                return
            time.sleep(0.1)
        sys.exit("llama-server did not become ready within 30 s")

    def post(self, path, body):
        request = urllib.request.Request(self.address + path, json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def tokenize(self, text, specials):
        return self.post("/tokenize", {"content": text, "add_special": False, "parse_special": specials})["tokens"]

    def greedy(self, tokens):
        """The continuation, by how much the logit of each of its tokens beats the second best, and why it ended.

        The server names no runners-up for the bytes of an unfinished character; then the gaps are left out.
        """
        answer = self.post("/completion", {"prompt": tokens, "n_predict": GREEDY_TOKENS, "temperature": 0,
                                           "samplers": ["temperature"], "n_probs": 2, "return_tokens": True,
                                           "cache_prompt": False})
        steps = [entry["top_logprobs"] for entry in answer.get("completion_probabilities", [])]
        gaps = [first["logprob"] - second["logprob"] for first, second in steps]
        ids = answer["tokens"] or [step[0]["id"] for step in steps]  # An end-of-text token alone is only in the steps.
        return ids, gaps if len(gaps) == len(ids) else [], answer["stop_type"]


def model_header(peer, path, options, note):
    with open(path, "rb") as file:
        data = file.read()
    return [f"# llama.cpp {peer.version}; written by renew.sh, formats in README.md.", f"# {note}",
            f"model {os.path.basename(path)} {len(data)} {hashlib.sha256(data).hexdigest()}",
            f"options {join(options)}"]


def logit_lines(name, logits, step):
    best = sorted(range(len(logits)), key=lambda token: -logits[token])[:TOP]
    norm = math.sqrt(sum(value * value for value in logits))
    return [f"stats {name} {reals((min(logits), max(logits), sum(logits) / len(logits), norm))}",
            f"top {name} " + " ".join(f"{token} {logits[token]:.7g}" for token in best),
            f"sample {name} {step} {reals(logits[::step])}"]


def write(name, lines):
    with open(os.path.join(HERE, name), "w", encoding="utf-8", newline="\n") as file:
        file.write("\n".join(lines) + "\n")
    print(f"wrote {name}")


def write_reference(peer, name, path, options, texts, step, note):
    """One <name>.txt: tokens, logits and the greedy continuation of every prompt."""
    model = peer.take(path)
    lines = model_header(peer, path, options, note)
    with peer.server(model, options) as server:
        for prompt, text in texts.items():
            tokens, logits = peer.logits(model, text, options)
            if tokens[1:] != server.tokenize(text, False):
                sys.exit(f"{name}: llama-debug and llama-server disagree on the tokens of {prompt}")
            ids, gaps, end = server.greedy(tokens)
            lines += [f"text {prompt} {as_hex(text)}", f"tokens {prompt} {join(tokens)}",
                      *logit_lines(prompt, logits, step), f"greedy {prompt} {join(ids)}"]
            lines += [f"gaps {prompt} {reals(gaps)}"] if gaps else []
            lines.append(f"end {prompt} {end}")
    write(name + ".txt", lines)


def cpu(kv, flash):
    return ("-dev", "none", "-t", THREADS, "-fa", flash, "-ctk", kv, "-ctv", kv)


def renew_tiny(peer):
    every = prompts()
    texts = {name: every[name] for name in TINY_PROMPTS}
    for name in tiny_models.write_all(os.path.join(peer.models, "tales-f16.gguf"), HERE):
        path = os.path.join(HERE, name + ".gguf")
        write_reference(peer, name, path, cpu("f32", "off"), texts, 1, "F32 throughout, KV cache too.")


def arch_prompts():
    """A short one, one past the window, 300 tokens, Japanese and code."""
    every = prompts()
    return {**{name: every[name] for name in ARCH_PROMPTS}, "tale": every["passage"][:TALE_CHARACTERS]}


def renew_archs(peer):
    folder = os.path.join(peer.scratch, "archs")
    os.makedirs(folder)
    vocabulary = os.path.join(REPOSITORY, "models", "tales-q8_0.gguf")
    for name in tiny_archs.write_all(vocabulary, folder):
        path = os.path.join(folder, f"arch-{name}.gguf")
        write_reference(peer, "arch-" + name, path, cpu("f32", "off"), arch_prompts(), 1, "F32 throughout, KV cache too.")


def renew_tales(peer):
    for name in TALES:
        write_reference(peer, name, os.path.join(peer.models, name + ".gguf"), cpu("f16", "on"), prompts(), 16,
                        "F16 KV cache, flash attention.")


def renew_tokens(peer):
    model = peer.take(os.path.join(peer.models, "tales-f16.gguf"))
    lines = [f"# llama.cpp {peer.version}, vocabulary of tales; written by renew.sh, formats in README.md."]
    with peer.server(model, cpu("f16", "on")) as server:
        for text in map(unescaped, input_lines("strings.txt")):
            plain, specials = server.tokenize(text, False), server.tokenize(text, True)
            lines.append(f"plain {as_hex(text)} {join(plain)}")
            if specials != plain:
                lines.append(f"special {as_hex(text)} {join(specials)}")
    write("tokens-tales.txt", lines)


def renew_perplexity(peer):
    source = peer.take(os.path.join(peer.models, "tales-f16.gguf"))
    text = peer.take(os.path.join(REPOSITORY, "models", "tales-heldout.txt"))
    folder = f"/models/{SCRATCH}"
    lines = [json.dumps({"tool": "llama.cpp " + peer.version, "model": "tales", "text": "models/tales-heldout.txt",
                         "options": "-dev none -fa on -ctk f16 -ctv f16"})]
    for weights in PERPLEXITY_TYPES:
        peer.quantize(source, folder + "/small.gguf", weights)
        peer.quantize(folder + "/small.gguf", folder + "/wide.gguf", "F32", "--allow-requantize")
        size = os.path.getsize(os.path.join(peer.scratch, "small.gguf"))
        for context in (512, 1024):
            value, error = peer.perplexity(folder + "/small.gguf", text, context)
            run = {"weights": weights, "bytes": size, "ctx": context, "ppl": value, "stderr": error}
            if context == 512:
                run["ppl_f32"], _ = peer.perplexity(folder + "/wide.gguf", text, context)
            lines.append(json.dumps(run))
            print(lines[-1], flush=True)
    write("perplexity.jsonl", lines)


def any_block(weights, state):
    """Any bits, but scales of ordinary size: of a half, an exponent of 2^-7 to 2^0; of a power of two, no overflow."""
    _, size, halves = BLOCKS[weights]
    data = bytearray()
    while len(data) < size:
        state, bits = tiny_models.splitmix(state)
        data += bits.to_bytes(8, "little")
    del data[size:]
    for at in halves:
        data[at + 1] = data[at + 1] & 0x9F | 0x20
    if weights == "MXFP4":
        data[0] %= 253
    return bytes(data), state


def renew_blocks(peer):
    """Blocks that llama-quantize wrote and blocks of any bits, with the floats that it makes of them."""
    source, folder = peer.take(os.path.join(peer.models, "tales-f16.gguf")), f"/models/{SCRATCH}"
    lines = [f"# llama.cpp {peer.version}; written by renew.sh, formats in README.md."]
    state = 1
    for weights, (count, size, _) in BLOCKS.items():
        peer.quantize(source, folder + "/small.gguf", weights, *([] if weights == "MXFP4" else ["--pure"]))
        path = os.path.join(peer.scratch, "small.gguf")
        with open(path, "rb") as file:
            data = bytearray(file.read())
        _, _, at = tiny_models.Reader(data).tensors()[BLOCK_TENSOR]
        written = BLOCK_WEIGHTS // count * size
        for place in range(at + written, at + 2 * written, size):
            data[place:place + size], state = any_block(weights, state)
        if weights == "MXFP4":  # The two subnormal scales and the smallest normal one.
            for exponent in range(3):
                data[at + written + exponent * size] = exponent
        with open(path, "wb") as file:
            file.write(data)
        peer.quantize(folder + "/small.gguf", folder + "/wide.gguf", "F32", "--allow-requantize")
        with open(os.path.join(peer.scratch, "wide.gguf"), "rb") as file:
            wide = file.read()
        _, _, floats = tiny_models.Reader(wide).tensors()[BLOCK_TENSOR]
        name = weights.removesuffix("_S").lower()
        for run in range(2):
            blocks = data[at + run * written:at + (run + 1) * written]
            values = wide[floats + run * 4 * BLOCK_WEIGHTS:floats + (run + 1) * 4 * BLOCK_WEIGHTS]
            lines += [f"blocks {name} {blocks.hex()}", f"values {name} {values.hex()}"]
    write("blocks.txt", lines)


STEPS = {"tiny": renew_tiny, "archs": renew_archs, "tokens": renew_tokens, "tales": renew_tales, "perplexity": renew_perplexity,
         "blocks": renew_blocks}


def main():
    root, models, *steps = sys.argv[1:]
    unknown = [step for step in steps if step not in STEPS]
    if unknown:
        sys.exit(f"no such step: {join(unknown)}; the steps are {join(STEPS)}")
    peer = Peer(root, models)
    try:
        for step in steps or STEPS:
            STEPS[step](peer)
    finally:
        shutil.rmtree(peer.scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
