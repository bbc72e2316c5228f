#include "api/token_logprobs.h"

#include <algorithm>
#include <utility>

#include "api/answer_facts.h"

namespace infer::api {

void TokenLogprobs::add(const sampling::Logprobs& logprobs, const ServedModel& model) {
  const TokenId token = logprobs.chosen.token;
  const bool is_shown = std::find(model.markers.begin(), model.markers.end(), token) != model.markers.end();
  const size_t end = token_bytes_ + model.tokenizer.piece(token, is_shown).size();
  tokens_.push_back({logprob_json(logprobs, model.tokenizer), token_bytes_, end});
  token_bytes_ = end;
}

Json TokenLogprobs::take(size_t more, size_t content, size_t held) {
  text_bytes_ += more;
  Json taken = Json::array();
  if (content == 0) return taken;
  const size_t end = text_bytes_ - std::min(text_bytes_, held);
  const size_t begin = end - std::min(end, content);
  while (!tokens_.empty() && tokens_.front().begin < end) {
    Token& token = tokens_.front();
    if (token.end > begin || token.begin == begin) taken.push(std::move(token.json));
    tokens_.pop_front();
  }
  return taken;
}

}  // namespace infer::api
