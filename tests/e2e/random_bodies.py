"""Bodies of requests to all routes, valid ones and what becomes of them when parts are lost, swapped and broken."""
import json

BODIES = [
    {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2, "n": 1, "temperature": 0.5, "logprobs": True,
     "top_logprobs": 2, "stop": ["x"], "seed": 1, "logit_bias": {"5": 1}, "stream": False},
    {"prompt": ["a", "b"], "max_tokens": 2, "logprobs": 1, "echo": False, "stream": True},
    {"prompt": [1, 2, 3], "max_tokens": 1, "response_format": {"type": "json_object"}},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "max_tokens": 2,
     "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object", "properties": {
         "a": {"type": "integer", "minimum": 3}, "b": {"enum": ["x", 2, None]}}, "required": ["a"]}}}},
    {"input": "Hi", "max_output_tokens": 2, "instructions": "x", "text": {"format": {"type": "text"}}},
    {"input": [{"role": "user", "content": "Hi"}], "max_output_tokens": 2, "top_logprobs": 1},
    {"input": ["a", "b"], "encoding_format": "base64"},
    {"kv": {"mode": "dynamic", "recent_window": 64, "level_thresholds": {"L1_int8": 0.7}}},
    {"enable": True}, {"seq_len": 100, "batch": 2, "target_ftl_ms": 10.5, "quality_budget": 0.1},
    {"infer_os": {"telemetry": {"push_interval_ms": 1000}}},
    {"prompt": "Hi", "max_tokens": 1, "grammar": "root ::= [a-z]{2,3} | \"x\" root", "infer_os": {"priority": "low"}},
]
ODD = [None, True, 0, -1, 1, 1e308, -0.5, 2**63, "", "x", "\u0000", "\ud800", "日本語", [], {}, [[]], {"a": {}}, "a" * 5000]


def random_value(rng, depth=0):
    if depth < 4 and rng.random() < 0.3:
        return [random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if depth < 4 and rng.random() < 0.3:
        return {rng.choice(["type", "role", "content", "a", "kv", ""]): random_value(rng, depth + 1)
                for _ in range(rng.randrange(4))}
    return rng.choice(ODD)


def mutated(rng, value):
    if rng.random() < 0.12:
        return random_value(rng)
    if isinstance(value, dict):
        made = {key: mutated(rng, inner) for key, inner in value.items() if rng.random() > 0.03}
        if rng.random() < 0.1:
            other = rng.choice(BODIES)
            key = rng.choice(list(other))
            made[key] = other[key]
        return made
    if isinstance(value, list):
        return [mutated(rng, inner) for inner in value] * rng.choice([1, 1, 1, 0, 2])
    return value


def make(rng):
    """The bytes of a body."""
    kind = rng.random()
    if kind < 0.1:
        return rng.randbytes(rng.randrange(300))
    data = json.dumps(mutated(rng, rng.choice(BODIES)) if kind < 0.9 else random_value(rng)).encode()
    if kind > 0.8 and data:  # A few bytes of it are others.
        broken = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        data = bytes(broken)
    return data
