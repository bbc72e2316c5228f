#include "tokenizer/pretokenizer_table.h"

#include <algorithm>
#include <array>

namespace infer::tokenizer {
namespace {

using Pattern = std::string_view;

// The English contractions that most patterns share, upper and lower case.
#define INFER_CONTRACTIONS R"((?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]))"

constexpr Pattern kGpt2Words = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

constexpr Pattern kGpt2[] = {kGpt2Words};

constexpr Pattern kDefault[] = {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2Words, R"(\p{N}+)", "[0-9][0-9][0-9]"};

constexpr Pattern kFalcon[] = {R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2Words, "[0-9][0-9][0-9]"};

constexpr Pattern kSingleDigits[] = {R"(\p{N})", kGpt2Words};

constexpr Pattern kLlama3[] = {
    INFER_CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};

constexpr Pattern kQwen2[] = {INFER_CONTRACTIONS
                              R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};

constexpr Pattern kQwen35[] = {
    INFER_CONTRACTIONS
    R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};

constexpr Pattern kSeedCoder[] = {INFER_CONTRACTIONS
                                  R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)"};

constexpr Pattern kBailing[] = {
    R"('(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*)"
    R"(|\s*[\r\n]|\s+(?!\S)|\s+)"};

constexpr Pattern kDeepseekCoder[] = {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)",
                                      R"([\x{4E00}-\x{9FA5}\x{0800}-\x{4E00}\x{AC00}-\x{D7FF}]+)", R"(\p{N})"};

// Its letters are the cased ones of an older Unicode, written out.
constexpr Pattern kDeepseekLlm[] = {
    R"([\r\n])",
    R"(\s?[A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}\x{295}-\x{2AF})"
    R"(\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1})"
    R"(\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5})"
    R"(\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A})"
    R"(\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B})"
    R"(\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC})"
    R"(\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107})"
    R"(\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134})"
    R"(\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4})"
    R"(\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787})"
    R"(\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A})"
    R"(\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2})"
    R"(\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}]+)",
    R"(\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+)",
    R"((?<!\s)\s+$)",  // \s+$, found in linear time: only the start of a run can match.
    R"([\x{4E00}-\x{9FA5}\x{0800}-\x{4E00}\x{AC00}-\x{D7FF}]+)",
    R"(\p{N}+)"};

constexpr Pattern kDeepseekV3[] = {
    R"(\p{N}{1,3})", R"([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)",
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"};

// Between sentence marks: . , ! ? and the Chinese, Arabic, Urdu and Devanagari ones; ( | ) are in the original class
// too.
constexpr Pattern kBloomWords = R"( ?[^(\s|.,!?\x{2026}\x{3002}\x{FF0C}\x{3001}\x{964}\x{6D4}\x{60C})]+)";

constexpr Pattern kBloom[] = {kBloomWords};
constexpr Pattern kViking[] = {kBloomWords, R"(\p{N})"};

// A word changes at a step from lower to upper case: "camelCase" is two.
#define INFER_UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define INFER_LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"

constexpr Pattern kTekken[] = {R"([^\r\n\p{L}\p{N}]?)" INFER_UPPER "*" INFER_LOWER R"(+|[^\r\n\p{L}\p{N}]?)" INFER_UPPER
                               "+" INFER_LOWER R"(*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};

constexpr Pattern kGpt4o[] = {R"([^\r\n\p{L}\p{N}]?)" INFER_UPPER "*" INFER_LOWER "+" INFER_CONTRACTIONS
                              R"(?|[^\r\n\p{L}\p{N}]?)" INFER_UPPER "+" INFER_LOWER "*" INFER_CONTRACTIONS
                              R"(?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};

#define INFER_CASED_WORDS                                                                                          \
  R"([^\r\n\p{L}\p{N}]?)" INFER_UPPER "*" INFER_LOWER "+" INFER_CONTRACTIONS R"(?|[^\r\n\p{L}\p{N}]?)" INFER_UPPER \
  "+" INFER_LOWER "*" INFER_CONTRACTIONS "?|"

constexpr Pattern kYoutu[] = {
    R"([\x{AC00}-\x{D7A3}\x{3131}-\x{318E}]+|[\x{FF01}\x{2026}\x{201C}\x{201D}\x{2018}\x{2019}\x{2014}\x{FF1A})"
    R"(\x{FF1B}\x{FF0C}\x{3001}-\x{303F}\x{FE30}-\x{FE4F}]+|[\x{3105}-\x{312F}]+|[\x{4E00}-\x{9FA5}\x{3040}-\x{30FF}]+)",
    INFER_CASED_WORDS R"(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};

// Chinese characters apart; the classes of words are those of GPT-4o without them.
#define INFER_NOT_HAN(letters) R"((?:(?!\p{sc:Han}))" letters ")"

constexpr Pattern kKimiK2[] = {R"(\p{sc:Han}+|[^\r\n\p{L}\p{N}]?)" INFER_NOT_HAN(INFER_UPPER) "*" INFER_NOT_HAN(
    INFER_LOWER) "+" INFER_CONTRACTIONS
                 R"(?|[^\r\n\p{L}\p{N}]?)" INFER_NOT_HAN(INFER_UPPER) "+" INFER_NOT_HAN(
                     INFER_LOWER) "*" INFER_CONTRACTIONS
                                  R"(?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};

constexpr Pattern kMiniCpm5[] = {
    R"(\p{N}{1,3})",
    INFER_CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};

// Runs of spaces in powers of two.
constexpr Pattern kJais2[] = {INFER_CONTRACTIONS
                              R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+)"
                              R"(|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S))"
                              R"(|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})"};

constexpr Pattern kUfakzeka[] = {
    R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};

constexpr Pattern kLaguna[] = {R"([^\n]+|[\n]+)", kQwen2[0]};

// Letters with single spaces between them stay together.
constexpr Pattern kExaoneMoe[] = {
    INFER_CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?)"
                       R"(|\s*[\r\n]|\s+(?!\S)|\s+)"};

// Digits by three from the right: what is left over stands first. Only at the start of a run is looked to its end.
#define INFER_DIGITS_BY_THREE(digit) \
  "(?<!" digit ")" digit "{1,2}(?=(?:" digit "{3})++(?!" digit "))|" digit "{3}|" digit "{1,2}"

// Words with the spaces between them, as far as there are no digits.
constexpr Pattern kSuperBpe[] = {R"(\p{N}+)", INFER_DIGITS_BY_THREE(R"(\d)")};

#undef INFER_CONTRACTIONS
#undef INFER_UPPER
#undef INFER_LOWER
#undef INFER_CASED_WORDS
#undef INFER_NOT_HAN
#undef INFER_DIGITS_BY_THREE

struct NamedRule {
  std::string_view name;
  PretokenizerRule rule;
};

constexpr NamedRule kRules[] = {
    {"a.x-4.0", {kGpt2}},
    {"bailingmoe", {kBailing}},
    {"bailingmoe2", {kBailing}},
    {"bloom", {kBloom}},
    {"chatglm-bpe", {kLlama3}},
    {"codeshell", {kSingleDigits}},
    {"command-r", {kSingleDigits}},
    {"dbrx", {kLlama3}},
    {"deepseek-coder", {kDeepseekCoder}},
    {"deepseek-llm", {kDeepseekLlm}},
    {"deepseek-r1-qwen", {kQwen2}},
    {"deepseek-v3", {kDeepseekV3}},
    {"default", {kDefault}},
    {"exaone", {kSingleDigits}},
    {"exaone-moe", {kExaoneMoe}},
    {"exaone4", {kGpt2}},
    {"f2llmv2", {kQwen2}},
    {"falcon", {kFalcon}},
    {"falcon-h1", {kLlama3, true, true}},
    {"falcon3", {kLlama3, true, true}},
    {"gigachat", {kGpt2}},
    {"glm4", {kLlama3}},
    {"glm5", {kLlama3}},
    {"gpt-2", {kGpt2}},
    {"gpt-4o", {kGpt4o}},
    {"gpt-neox", {kGpt2}},
    {"gpt3-finnish", {kBloom}},
    {"granite-docling", {kGpt2}},
    {"granite-embed-multi-97m", {kGpt4o, true}},
    {"grok-2", {kQwen2}},
    {"hunyuan", {kQwen2}},
    {"hunyuan-dense", {kDeepseekV3}},
    {"hy_v4", {kDeepseekV3}},
    {"jais", {kGpt2}},
    {"jais-2", {kJais2}},
    {"jina-de", {kGpt2}},
    {"jina-es", {kGpt2}},
    {"jina-v1-en", {kGpt2}},
    {"jina-v2-code", {kGpt2}},
    {"jina-v2-de", {kGpt2}},
    {"jina-v2-es", {kGpt2}},
    {"jina-v5-nano", {kLlama3, true, true}},
    {"joyai-llm", {kDeepseekV3}},
    {"kanana2", {kGpt4o}},
    {"kimi-k2", {kKimiK2}},
    {"kormo", {kQwen2}},
    {"laguna", {kLaguna}},
    {"lfm2", {kLlama3, true, true}},
    {"llada-moe", {kBailing}},
    {"llama-bpe", {kLlama3, true, true}},
    {"llama-v3", {kLlama3, true, true}},
    {"llama3", {kLlama3, true, true}},
    {"llama4", {kGpt4o}},
    {"megrez", {kQwen2}},
    {"mellum", {kGpt2}},
    {"mellum2", {kSingleDigits}},
    {"midm-2.0", {kLlama3, true, true}},
    {"minerva-7b", {kSingleDigits}},
    {"minicpm5", {kMiniCpm5, true}},
    {"minimax-m2", {kGpt4o}},
    {"modern-bert", {kGpt2}},
    {"mpt", {kGpt2}},
    {"olmo", {kGpt2}},
    {"phi-2", {kGpt2}},
    {"pixtral", {kLlama3, true, true}},
    {"poro-chat", {kBloom}},
    {"qwen2", {kQwen2}},
    {"qwen35", {kQwen35}},
    {"refact", {kSingleDigits}},
    {"roberta-bpe", {kGpt2}},
    {"seed-coder", {kSeedCoder}},
    {"smaug-bpe", {kLlama3}},
    {"smollm", {kSingleDigits}},
    {"solar-open", {kQwen2}},
    {"stablelm2", {kQwen2}},
    {"starcoder", {kSingleDigits}},
    {"superbpe", {kSuperBpe}},
    {"talkie", {kGpt4o}},
    {"tekken", {kTekken, true, true}},
    {"trillion", {kGpt2}},
    {"ufakzeka", {kUfakzeka}},
    {"viking", {kViking}},
    {"youtu", {kYoutu, true}},
};

}  // namespace

const PretokenizerRule* find_pretokenizer(std::string_view name) {
  const auto* const found =
      std::lower_bound(std::begin(kRules), std::end(kRules), name,
                       [](const NamedRule& rule, std::string_view wanted) { return rule.name < wanted; });
  return found != std::end(kRules) && found->name == name ? &found->rule : nullptr;
}

std::vector<std::string_view> pretokenizer_names() {
  std::vector<std::string_view> names;
  for (const NamedRule& entry : kRules) names.push_back(entry.name);
  return names;
}

}  // namespace infer::tokenizer
