#include "simulation.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/format.h"
#include "engine/vocabulary_trie.h"
#include "grammar/gbnf.h"
#include "testing/byte_tokenizer.h"

namespace infer::sim {

void Tally::add(const Tally& other) {
  turns += other.turns;
  requests += other.requests;
  refused += other.refused;
  wrong_limits += other.wrong_limits;
  engine.requests += other.engine.requests;
  for (size_t i = 0; i < engine.ended.size(); ++i) engine.ended[i] += other.engine.ended[i];
  engine.steps += other.engine.steps;
  engine.steps_abandoned += other.engine.steps_abandoned;
  engine.steps_failed += other.engine.steps_failed;
  engine.computed_tokens += other.engine.computed_tokens;
  engine.prompt_tokens += other.engine.prompt_tokens;
  engine.cached_tokens += other.engine.cached_tokens;
  engine.generated_tokens += other.engine.generated_tokens;
  engine.parks += other.engine.parks;
  for (size_t i = 0; i < engine.drafts.size(); ++i) {
    engine.drafts[i].drafted += other.engine.drafts[i].drafted;
    engine.drafts[i].accepted += other.engine.drafts[i].accepted;
  }
  restored_tokens += other.restored_tokens;
  files_written += other.files_written;
  disk_failures += other.disk_failures;
  guessed_tokens += other.guessed_tokens;
  hangs += other.hangs;
  overshoot = std::max(overshoot, other.overshoot);
  bound = std::max(bound, other.bound);
  longest_wait = std::max(longest_wait, other.longest_wait);
  time = time + other.time;
}

// One client at a time has one request.
struct Simulation::Client {
  enum class Habit { kFast, kSlow, kDeaf, kVanishes, kCancels };

  Instant act_at;  // When it does the next thing.
  std::optional<engine::RequestHandle> handle{};
  std::vector<TokenId> prompt{};
  int tokens_max = -1;
  bool poisoned = false;
  bool constrained = false;
  bool staged = false;
  bool patient = false;  // Nothing but others can hold it up.
  std::optional<Instant> deadline{};
  std::optional<Instant> first_token_by{};
  Habit habit = Habit::kFast;
  Instant leaves_at = Instant::never();
  bool cancelled = false;
  CancelReason reason = CancelReason::kNone;
  std::vector<TokenId> answer{};
  // Further answers to the same prompt.
  struct Further {
    engine::RequestHandle handle;
    std::vector<TokenId> answer{};
  };
  std::vector<Further> further{};

  bool busy() const { return handle.has_value() || !further.empty(); }
};

namespace {

constexpr int kAnswersMax = 4;  // To one prompt.

// Lines of counted lengths, so that each token changes what may come next.
std::shared_ptr<grammar::TokenAutomaton> make_grammar(const tokenizer::Tokenizer& tokenizer) {
  const grammar::RootedRules made = grammar::parse_gbnf("root ::= line{1,6}\nline ::= [ -~]{3,9} \"\\n\"").value();
  return std::make_shared<grammar::TokenAutomaton>(
      std::make_shared<const grammar::Grammar>(grammar::Grammar::compile(made.rules, made.root).value()),
      engine::make_vocabulary_trie(tokenizer));
}

}  // namespace

Simulation::Simulation(uint64_t seed)
    : seed_(seed),
      rng_(seed),
      tokenizer_(testing::make_byte_tokenizer(false)),
      grammar_(make_grammar(*tokenizer_)),
      plain_grammar_(make_grammar(*tokenizer_)) {
  make_limits();
  for (int family = 0; family < 3; ++family) {
    families_.emplace_back();
    for (int i = 0; i < 300; ++i) families_.back().push_back(between(0, kPoison - 1));
  }
  runner_ = std::make_unique<FakeRunner>(model_, clock_, rng_, [this] { act_all(); });
  inbox_ = std::make_unique<BoundedQueue<engine::Submission>>(static_cast<size_t>(limits_.waiting_max));
  make_store();
  loop_ = std::make_unique<engine::StepLoop>(*runner_, *tokenizer_, limits_, clock_, *inbox_, CancelToken(), nullptr,
                                             store_.get(), make_draft());
  watchdog_ = std::make_unique<engine::Watchdog>(loop_->heartbeat(), limits_.watchdog, nullptr);
  intake_ = std::make_unique<engine::Intake>(*loop_, *watchdog_, *inbox_, wake_, model_.context, testing::kByteTokens);
  const int clients = between(1, 24);
  for (int i = 0; i < clients; ++i) {
    clients_.push_back(std::make_unique<Client>(Client{.act_at = clock_.now() + milliseconds(0, 2000)}));
  }
}

Simulation::~Simulation() = default;

void Simulation::make_limits() {
  model_.context = between(200, 512);
  model_.layers = between(1, 3);
  model_.tokens_per_step = between(16, 160);
  model_.logits_per_step = between(1, 24);
  model_.repetition = chance(0.5) ? 0.93 : 0;
  const int64_t of_one = int64_t{kv::pages_for_tokens(model_.context)} * model_.layers;
  model_.pages = of_one + static_cast<int64_t>(rng_.below(static_cast<uint32_t>(5 * of_one)));
  model_.fixed = milliseconds(1, 8);
  model_.per_token = Duration::from_us(between(20, 600));
  model_.failures = chance(0.3) ? 0.02 : 0;
  model_.hangs = chance(0.1) ? 0.002 : 0;
  limits_.running_max = between(1, 10);
  limits_.waiting_max = between(4, 40);
  limits_.waiting_tokens_max = between(400, 20000);
  limits_.tokens_per_step = std::max(limits_.running_max, between(16, 256));
  limits_.step_target = milliseconds(10, 120);
  limits_.chunk_min = between(1, 32);
  limits_.aging = milliseconds(200, 3000);
  limits_.speculation.min_accept_rate = chance(0.5) ? 0.5f : 0;
  limits_.speculation.draft_max = between(0, 20);
  limits_.stream_tokens = static_cast<size_t>(between(1, 40));
}

// With as many pages as its sequences need, or fewer; now and then it fails, says other things, or has little context.
std::unique_ptr<FakeRunner> Simulation::make_draft() {
  if (chance(0.5)) return nullptr;
  FakeModel model = model_;
  model.context = chance(0.5) ? model_.context : between(100, 300);
  model.layers = 1;
  model.tokens_per_step = between(32, 256);
  model.logits_per_step = between(1, 10);
  model.pages = int64_t{kv::pages_for_tokens(model.context)} * between(1, 10);
  model.fixed = Duration::from_us(between(20, 2000));
  model.per_token = Duration::from_us(between(1, 100));
  model.lies = chance(0.3) ? 0 : 0.5 * rng_.uniform();
  auto draft = std::make_unique<FakeRunner>(model, clock_, rng_, [this] { act_all(); });
  draft_ = draft.get();
  return draft;
}

void Simulation::make_store() {
  if (chance(0.5)) return;
  const kv::PrefixStoreOptions options{
      .shape = {.fingerprint = seed_, .page = runner_->pages().shape(), .layers = model_.layers},
      .limit_bytes = uint64_t{20000} * static_cast<uint64_t>(between(1, 2000)),
      .threaded = false};
  store_ = kv::PrefixStore::open(std::make_unique<testing::FaultyFolder>(disk_), options, log_).value();
  store_->set_on_done([this] { wake_->notify(); });
}

// Each thing takes some time, now and then a lot, and some fail.
void Simulation::act_disk() {
  if (!store_ || !store_->has_pending()) return;
  if (disk_at_ == Instant::never())
    disk_at_ = clock_.now() + (chance(0.02) ? milliseconds(0, 5000) : milliseconds(0, 8));
  if (clock_.now() < disk_at_) return;
  disk_at_ = Instant::never();
  disk_.fail(chance(0.02), chance(0.02));
  store_->run_pending();
}

std::string Simulation::description() const {
  return format(
      "seed {}: {} clients, context {}, {} pages in {} layers, {} running at most, steps of {} tokens, "
      "{:.1f} ms a step and {:.2f} ms a token",
      seed_, clients_.size(), model_.context, model_.pages, model_.layers, loop_->limits().running_max,
      loop_->limits().tokens_per_step, model_.fixed.ms(), model_.per_token.ms());
}

void Simulation::broken(std::string what) {
  if (!broken_) broken_ = format("at {:.3f} s, turn {}: {}", tally_.time.seconds(), tally_.turns, what);
}

// ---- Clients.

void Simulation::choose_habit(Client& client) {
  const Instant now = clock_.now();
  client.habit = Client::Habit::kFast;
  client.leaves_at = Instant::never();
  const double kind = rng_.uniform();
  if (kind < 0.15) {
    client.habit = Client::Habit::kSlow;
  } else if (kind < 0.2 && client.deadline) {  // Only a limit ends what nobody reads.
    client.habit = Client::Habit::kDeaf;
  } else if (kind < 0.3) {
    client.habit = Client::Habit::kVanishes;
    client.leaves_at = now + milliseconds(0, 1500);
  } else if (kind < 0.4) {
    client.habit = Client::Habit::kCancels;
    client.leaves_at = now + milliseconds(0, 1500);
    client.reason = chance(0.5) ? CancelReason::kUser : CancelReason::kPolicy;
  }
}

engine::Request Simulation::make_request(Client& client) {
  const Instant now = clock_.now();
  const std::vector<TokenId>& family = families_[rng_.below(static_cast<uint32_t>(families_.size()))];
  const int length = std::min(model_.context, between(1, 300));
  client.prompt.assign(family.begin(), family.begin() + std::min(length, between(0, 300)));
  while (static_cast<int>(client.prompt.size()) < length) client.prompt.push_back(between(0, kPoison - 1));
  client.poisoned = chance(0.01);
  if (client.poisoned) client.prompt[rng_.below(static_cast<uint32_t>(length))] = kPoison;
  client.tokens_max = chance(0.05) ? -1 : between(0, 64);
  client.deadline = client.first_token_by = std::nullopt;
  if (chance(0.5)) client.deadline = now + milliseconds(1, chance(0.5) ? 300 : 8000);
  engine::Request request{.prompt = client.prompt,
                          .options = {.tokens_max = client.tokens_max},
                          .sampling = {.temperature = 0},
                          .limits = {client.deadline ? Deadline::at(*client.deadline) : Deadline::never()}};
  if (chance(0.1)) {
    request.limits.first_token = milliseconds(5, 3000);
    client.first_token_by = now + *request.limits.first_token;
  }
  if (chance(0.1)) request.limits.stall = milliseconds(20, 1000);
  client.constrained = chance(0.2);
  if (client.constrained) request.options.grammar = grammar_;
  if (chance(0.1)) request.answers = between(2, kAnswersMax);
  request.speculate = !chance(0.1);
  request.priority = static_cast<engine::Priority>(rng_.below(engine::kPriorities));
  if (chance(0.1)) request.top_logprobs = between(0, 3);
  client.staged = chance(0.15);
  if (client.staged) {
    request.stages = engine::standard_stages();
    for (engine::Stage& stage : request.stages) stage.limit = milliseconds(5, 1000);
  }
  choose_habit(client);
  client.patient = !client.deadline && !client.staged && !client.poisoned && !request.limits.first_token &&
                   !request.limits.stall && client.habit == Client::Habit::kFast && model_.failures == 0 &&
                   model_.hangs == 0;
  return request;
}

void Simulation::submit(Client& client) {
  engine::Submitted submitted = intake_->submit(make_request(client), clock_.now());
  ++tally_.requests;
  if (!submitted.status) {
    const ErrorCode code = submitted.status.error().code;
    tally_.refused += 1;
    if (code != ErrorCode::kBusy && code != ErrorCode::kDeadline)
      broken("refused: " + submitted.status.error().message);
    client.act_at = clock_.now() + milliseconds(1, 500);
    return;
  }
  client.handle = std::move(submitted.handle);
  for (engine::RequestHandle& other : submitted.others) client.further.push_back({std::move(other)});
  client.answer.clear();
  client.cancelled = false;
  client.act_at = clock_.now() + milliseconds(0, 5);
}

void Simulation::read(Client& client) {
  int most = client.habit == Client::Habit::kSlow ? 1 : 1000;
  const bool finished = (*client.handle)->finished();
  if (finished) most = 1000;
  if (client.habit == Client::Habit::kDeaf && !finished) return;
  for (; most > 0; --most) {
    const std::optional<engine::AnswerPiece> piece = (*client.handle)->take();
    if (!piece) break;
    if (piece->token != kNoToken) client.answer.push_back(piece->token);
  }
  if (finished) check_end(client);
}

void Simulation::read_further(Client& client) {
  std::erase_if(client.further, [&](Client::Further& each) {
    const bool finished = each.handle->finished();
    while (const std::optional<engine::AnswerPiece> piece = each.handle->take()) {
      if (piece->token != kNoToken) each.answer.push_back(piece->token);
    }
    if (finished) check_answer(client, each.answer, each.handle->result());
    return finished;
  });
}

void Simulation::act(Client& client) {
  const Instant now = clock_.now();
  read_further(client);
  if (!client.handle && client.busy()) {
    client.act_at = now + milliseconds(1, 20);
    return;
  }
  if (!client.handle) {
    client.act_at = Instant::never();
    if (!closing_) submit(client);
    return;
  }
  client.act_at = now + (client.habit == Client::Habit::kSlow ? milliseconds(1, 200) : milliseconds(1, 20));
  read(client);
  if (!client.handle || now < client.leaves_at) return;
  if (client.habit == Client::Habit::kVanishes) {
    client.handle.reset();  // Its stream may never be read again; the engine must get rid of it all the same.
    client.further.clear();
    client.act_at = now + milliseconds(1, 500);
  } else if (!client.cancelled) {
    client.cancelled = true;
    (*client.handle)->cancel(client.reason);
  }
}

void Simulation::act_all() {
  check_hang();
  act_disk();
  for (const auto& client : clients_) {
    if (client->act_at <= clock_.now()) act(*client);
  }
}

// ---- Invariants.

// The watchdog looks when it wants to; what it must have ended has ended.
void Simulation::check_hang() {
  const Instant now = clock_.now();
  if (now >= watchdog_at_) watchdog_at_ = std::min(watchdog_->check(now), now + limits_.watchdog.period());
  if (watchdog_->health(now).silence < limits_.watchdog.hung_after + limits_.watchdog.period()) return;
  for (const auto& client : clients_) {
    if (client->handle && !(*client->handle)->finished()) broken("a request is left alone in a hang");
  }
}

Duration Simulation::longest_layer() const {
  return draft_ == nullptr ? runner_->longest_layer() : std::max(runner_->longest_layer(), draft_->longest_layer());
}

// Past a deadline: a layer, or in a hang until the watchdog looks.
Duration Simulation::overshoot_max() const {
  if (model_.hangs == 0) return longest_layer();
  const Duration until_seen = limits_.watchdog.silent_after + limits_.watchdog.period() + Duration::from_ms(100);
  return until_seen + longest_layer();
}

void Simulation::check_end(Client& client) {
  const engine::RequestResult& result = (*client.handle)->result();
  check_answer(client, client.answer, result);
  check_deadline(client, result);
  switch (result.finish_reason) {
    case engine::FinishReason::kCancelled:
      if (!client.cancelled || result.cancel_reason != client.reason) broken("cancelled though nobody asked");
      break;
    case engine::FinishReason::kFailed:
      if (!client.poisoned && model_.failures == 0 && model_.hangs == 0)
        broken("failed though no step of it was to fail");
      if (!result.error) broken("failed without an error");
      break;
    default: break;
  }
  if (client.patient) tally_.longest_wait = std::max(tally_.longest_wait, result.ended - result.submitted);
  client.handle.reset();
  client.act_at = clock_.now() + milliseconds(0, 300);
}

void Simulation::check_answer(const Client& client, const std::vector<TokenId>& answer,
                              const engine::RequestResult& result) {
  std::optional<grammar::Constraint> constraint;
  if (client.constrained) constraint.emplace(plain_grammar_);
  const std::vector<TokenId> expected =
      expected_answer(model_, client.prompt, client.tokens_max, constraint ? &*constraint : nullptr);
  const size_t length = answer.size();
  if (length > expected.size() || !std::equal(answer.begin(), answer.end(), expected.begin())) {
    broken(format("an answer of {} tokens that the model does not give", length));
  }
  const bool whole = result.finish_reason == engine::FinishReason::kStop ||
                     (result.finish_reason == engine::FinishReason::kLength && !client.staged);
  if (whole && length != expected.size()) broken(format("{} tokens of {} are called all", length, expected.size()));
  if (result.generated_tokens != static_cast<int>(length)) broken("tokens were counted that never came");
  const bool shared = result.cached_tokens == result.prompt_tokens && &answer != &client.answer;
  if (!shared && (result.cached_tokens % kv::kPageTokens != 0 || result.cached_tokens >= result.prompt_tokens)) {
    broken(format("{} tokens of a prompt of {} were cached", result.cached_tokens, result.prompt_tokens));
  }
}

void Simulation::check_deadline(const Client& client, const engine::RequestResult& result) {
  std::optional<Instant> limit = client.deadline;
  if (result.passed_limit == engine::PassedLimit::kFirstToken) limit = client.first_token_by;
  const bool is_deadline = result.finish_reason == engine::FinishReason::kDeadline;
  if (is_deadline && result.passed_limit == engine::PassedLimit::kNone) broken("a deadline without a limit");
  if (!limit) return;
  const Duration overshoot = result.ended - *limit;
  if (model_.hangs == 0) tally_.overshoot = std::max(tally_.overshoot, overshoot);
  if (overshoot > overshoot_max()) {
    broken(format("a request ended {:.3f} ms after its limit; {:.3f} ms are allowed", overshoot.ms(),
                  overshoot_max().ms()));
  }
  const bool own_limit =
      result.passed_limit == engine::PassedLimit::kTotal || result.passed_limit == engine::PassedLimit::kFirstToken;
  if (is_deadline && own_limit && overshoot < Duration()) broken("a request ended before its limit");
}

// How long a request may take that nothing but others holds up: until it has aged past all that come later, and then
// the work of all others one by one, some of it done twice.
Duration Simulation::patience() const {
  const int64_t tokens = 300 + 64;
  const int64_t alone = tokens * (model_.fixed + model_.per_token).ns();
  const int64_t disk = store_ ? Duration::from_seconds(10).ns() : 0;  // It is not waited for any longer.
  return Duration::from_ns(disk + 2 * limits_.aging.ns() +
                           4 * static_cast<int64_t>(clients_.size()) * kAnswersMax * alone);
}

void Simulation::check_running() {
  if (!loop_->check_integrity()) broken("pages, their users and the index disagree");
  const Instant now = clock_.now();
  for (const auto& client : clients_) {
    if (!client->handle || (*client->handle)->finished()) continue;
    if (client->deadline && now - *client->deadline > overshoot_max()) {
      broken(format("a request still runs {:.3f} ms after its deadline", (now - *client->deadline).ms()));
    }
  }
}

// ---- Time.

Instant Simulation::next_event() const {
  Instant next = disk_at_;
  if (store_ && store_->has_pending() && disk_at_ == Instant::never()) next = clock_.now();
  for (const auto& client : clients_) next = std::min(next, client->act_at);
  return next;
}

// Until the engine has a reason for its next turn.
void Simulation::advance_to_next_event(Instant look_at) {
  while (!broken_ && clock_.now() < look_at) {
    if (wake_->wait_until(Instant())) return;  // Only looks whether it was notified.
    const Instant next = std::min(look_at, next_event());
    if (next == Instant::never()) return;
    if (next > clock_.now()) clock_.advance(next - clock_.now());
    act_all();
  }
}

std::optional<std::string> Simulation::run(uint64_t turns) {
  const uint64_t turns_to_end = turns + 200 * 400;  // What may be left: requests times turns for each.
  while (!broken_) {
    ++tally_.turns;
    closing_ = tally_.turns >= turns;
    const engine::StepLoop::Turn turn = loop_->turn();
    tally_.time = clock_.now() - Instant();
    check_running();
    act_all();
    const bool all_gone = std::none_of(clients_.begin(), clients_.end(), [](const auto& c) { return c->busy(); });
    if (closing_ && all_gone && loop_->requests() == 0) break;
    if (tally_.turns > turns_to_end) broken(format("{} requests never end", loop_->requests()));
    if (turn.computed) continue;
    advance_to_next_event(turn.look_at);
    if (turn.look_at == Instant::never() && next_event() == Instant::never() && loop_->requests() > 0) {
      broken(format("the engine sleeps over {} requests", loop_->requests()));
    }
  }
  if (tally_.longest_wait > patience()) {
    broken(format("a request took {:.1f} s; {:.1f} s would do for all", tally_.longest_wait.seconds(),
                  patience().seconds()));
  }
  loop_->turn();  // What the watchdog ended last is let go.
  tally_.engine = loop_->published().counters;
  if (const auto& saved = loop_->published().prefix_store) {
    tally_.restored_tokens = saved->restored_tokens;
    tally_.files_written = saved->counters.written;
    tally_.disk_failures = saved->counters.failed;
  }
  tally_.hangs = watchdog_->health(clock_.now()).hangs;
  const auto& ended = tally_.engine.ended;
  if (!broken_ && std::accumulate(ended.begin(), ended.end(), uint64_t{0}) != tally_.engine.requests) {
    broken("requests were counted that did not end once");
  }
  if (const auto& seen = loop_->published().draft_model) {
    tally_.guessed_tokens = seen->computed_tokens;
    if (!broken_ && seen->kv_bytes > 0) broken("the draft model has pages of requests that have ended");
  }
  tally_.bound = longest_layer();
  return broken_;
}

}  // namespace infer::sim
