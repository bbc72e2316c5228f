"""Random strings that are hard on tokenizers: the same for the same seed on every machine.

Each is a row of fragments: words of many scripts, emoji sequences, control characters, whitespace, digits, punctuation,
contractions, special tokens written out, any code point, and (where asked for) bytes that are not UTF-8.
"""
import random

# First and last code point, of letters and marks mostly.
SCRIPTS = [(0x41, 0x5A), (0x61, 0x7A), (0x61, 0x7A), (0xC0, 0x24F), (0x250, 0x2FF), (0x300, 0x36F), (0x370, 0x3FF),
           (0x400, 0x52F), (0x531, 0x586), (0x591, 0x5F4), (0x600, 0x6FF), (0x700, 0x74F), (0x900, 0x97F),
           (0x980, 0x9FF), (0xB80, 0xBFF), (0xE01, 0xE5B), (0xF00, 0xFBC), (0x1000, 0x109F), (0x10A0, 0x10FF),
           (0x1100, 0x11FF), (0x1780, 0x17F9), (0x1E00, 0x1FFE), (0x3041, 0x3096), (0x3041, 0x3096), (0x30A1, 0x30FF),
           (0x3100, 0x312F), (0x4E00, 0x9FFF), (0x4E00, 0x9FFF), (0x4E00, 0x4F00), (0xAC00, 0xD7A3), (0xF900, 0xFAD9),
           (0xFF01, 0xFF9F), (0x10400, 0x1044F), (0x1D400, 0x1D7FF), (0x20000, 0x2A6DF)]
SENTENCES = [
    "The quick brown fox jumps over the lazy dog.", "It's what they've said: \"I'll do it\", hasn't he?",
    "吾輩は猫である。名前はまだ無い。", "どこで生れたかとんと見当がつかぬ。", "東京タワーへ行きましょう!", "コンピュータープログラミング",
    "我们的政府,在2024年3月15日。", "中華人民共和國", "안녕하세요, 세계!", "대한민국의 수도는 서울이다.",
    "السلام عليكم ورحمة الله", "مرحبا بالعالم ١٢٣", "नमस्ते दुनिया, कैसे हैं आप?", "Привет, мир! Как дела?",
    "Съешь же ещё этих мягких французских булок", "Ελληνικά γράμματα", "שלום עולם", "สวัสดีชาวโลก", "Grüße aus Köln, Straße",
    "Đường phố Hà Nội", "İstanbul'da ılık", "def f(x):\n    return x**2  # square\n", "for (int i = 0; i < n; ++i) {\n\t\tx[i] += 0x1F;\n}",
    "<div class=\"a\">&nbsp;</div>", "https://example.org/a?b=c&d=%20#e", "user@example.com", "C:\\Users\\me", "$\\frac{1}{2}$",
    "{\"key\": [1, 2.5, -3e10, null]}", "SELECT * FROM t WHERE a='b';", "camelCaseAndHTTPServer snake_case_name"]
EMOJI = ["😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇯🇵🇩🇪", "❤️", "1️⃣", "🧑🏿‍🚀", "☺", "🦙", "🫠", "👁️‍🗨️"]
SPACES = [" ", " ", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "\t\t", "\r", "\v", "\f", "\u00A0", "\u1680", "\u2003", "\u2009",
          "\u200B", "\u2028", "\u2029", "\u202F", "\u205F", "\u3000", "\u0085", "\uFEFF"]
DIGITS = ["0", "7", "42", "123", "1234", "1000000", "3.14", "1,234.5", "٣٤", "१२", "²", "½", "Ⅷ", "①", "𝟘", "12345", "０１"]
PUNCTUATION = ["!", "?", "...", "!!!", "?!", ",", ";", "--", "—", "–", "「", "」", "。", "、", "《》", "…", "·", "•", "“”", "'", "\"", "`",
               "```", "$", "€", "¥", "+=", "==", "->", "<=>", "&&", "||", "^", "~", "@", "#", "%", "*", "/", "//", "\\", "(", ")", "[",
               "]", "{", "}", "<", ">", "|", "_", "__", "=", "©", "™", "°", "±", "×", "√", "∑", "→", "█", "▁", "▁▁", "\u0301", "\u20E3"]
CONTRACTIONS = ["'s", "'S", "'t", "'re", "'RE", "'ve", "'m", "'M", "'ll", "'LL", "'lL", "'d", "'D", "’s", "'ſ", "'x", "n't"]
BAD_BYTES = [b"\x80", b"\xBF\xBF", b"\xC0\x80", b"\xC3", b"\xE3\x81", b"\xED\xA0\x80", b"\xF0\x9F\x98", b"\xF4\x90\x80\x80",
             b"\xF8\x88\x80\x80\x80", b"\xFE\xFF", b"\xE2\x96"]


def word(rng):
    low, high = rng.choice(SCRIPTS)
    letters = "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 8)))
    return letters.capitalize() if rng.random() < 0.2 else letters


def slice_of_a_sentence(rng):
    sentence = rng.choice(SENTENCES)
    begin = rng.randrange(len(sentence))
    return sentence[begin:begin + rng.randint(1, 40)] if rng.random() < 0.5 else sentence


def any_character(rng):
    code = rng.choice((rng.randint(0, 0x2FFF), rng.randint(0, 0xFFFF), rng.randint(0, 0x10FFFF)))
    return chr(code) if not 0xD800 <= code <= 0xDFFF else "\uFFFD"


def run_of(rng, choices, most):
    if rng.random() < 0.5:
        return rng.choice(choices) * rng.randint(1, most)
    return "".join(rng.choice(choices) for _ in range(rng.randint(1, most)))


def fragment(rng, specials):
    kind = rng.random()
    if kind < 0.22:
        return word(rng)
    if kind < 0.42:
        return slice_of_a_sentence(rng)
    if kind < 0.58:
        return run_of(rng, SPACES, 6)
    if kind < 0.66:
        return run_of(rng, DIGITS, 4)
    if kind < 0.76:
        return run_of(rng, PUNCTUATION, 4)
    if kind < 0.81:
        return rng.choice(CONTRACTIONS)
    if kind < 0.87:
        return run_of(rng, EMOJI, 3)
    if kind < 0.91:
        return "".join(chr(rng.choice((rng.randint(0, 31), rng.randint(127, 159)))) for _ in range(rng.randint(1, 3)))
    if kind < 0.95 and specials:
        return rng.choice(specials)
    return any_character(rng)


def texts(seed, count, specials):
    """`count` strings of valid text; `specials`: texts of special tokens to strew in."""
    rng = random.Random(seed)
    return ["".join(fragment(rng, specials) for _ in range(rng.choice((1, 2, 3, 5, 8, 13, 30)))) for _ in range(count)]


def broken_texts(seed, count, specials):
    """`count` byte strings without NUL that hold bytes which are not UTF-8."""
    rng = random.Random(seed)
    strings = []
    for text in texts(seed + 1, count, specials):
        data = text.replace("\0", "").encode()
        for _ in range(rng.randint(1, 4)):
            at = rng.randint(0, len(data))
            data = data[:at] + rng.choice(BAD_BYTES) + data[at:]
        strings.append(data)
    return strings


def valid_parts(data):
    """The maximal valid parts (as str) and the runs of other bytes (as bytes) that make up `data`, in order."""
    parts = []
    while data:
        try:
            parts.append(data.decode())
            break
        except UnicodeDecodeError as error:
            if error.start:
                parts.append(data[:error.start].decode())
            bad = data[error.start:error.end]
            if parts and isinstance(parts[-1], bytes):
                parts[-1] += bad
            else:
                parts.append(bad)
            data = data[error.end:]
    return parts
