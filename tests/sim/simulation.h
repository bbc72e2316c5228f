// One run of the engine under a virtual clock: clients of all kinds, a fake model, and the invariants after each turn.
//
// Everything follows from the seed: limits, model, clients and what they do. Clients act between the layers of a step
// as well as between steps. The engine is called again only when it asked to be or was notified, so that a lost wake-up
// shows as a run that comes to a halt.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "engine/intake.h"
#include "engine/step_loop.h"
#include "fake_runner.h"
#include "testing/faulty_folder.h"
#include "testing/test_clock.h"

namespace infer::sim {

struct Tally {
  uint64_t turns = 0;
  uint64_t requests = 0;
  uint64_t refused = 0;
  uint64_t wrong_limits = 0;  // Requests that were refused because they made no sense.
  engine::EngineCounters engine;
  uint64_t restored_tokens = 0, files_written = 0, disk_failures = 0;
  uint64_t guessed_tokens = 0;  // Computed by draft models.
  uint64_t hangs = 0;           // Long enough to end all requests.
  Duration overshoot;           // The longest past a deadline where nothing hung,
  Duration bound;               // and the most that it may be: one layer of the longest step.
  Duration longest_wait;        // Of a request that nothing but others held up, until its end.
  Duration time;                // Virtual.

  void add(const Tally& other);
};

class Simulation {
 public:
  explicit Simulation(uint64_t seed);
  ~Simulation();

  // About as many turns; then clients start nothing new and all that is left must end. The invariant that broke, or
  // nullopt.
  std::optional<std::string> run(uint64_t turns);
  const Tally& tally() const { return tally_; }
  std::string description() const;

 private:
  struct Client;

  void make_limits();
  std::unique_ptr<FakeRunner> make_draft();
  void make_store();
  void act_disk();
  void act(Client& client);
  void act_all();
  void check_hang();
  Duration longest_layer() const;
  Duration overshoot_max() const;
  void submit(Client& client);
  engine::Request make_request(Client& client);
  void choose_habit(Client& client);
  void read(Client& client);
  void read_further(Client& client);
  void check_end(Client& client);
  void check_answer(const Client& client, const std::vector<TokenId>& answer, const engine::RequestResult& result);
  void check_deadline(const Client& client, const engine::RequestResult& result);
  void check_running();
  void advance_to_next_event(Instant look_at);
  Instant next_event() const;
  Duration patience() const;
  void broken(std::string what);

  bool chance(double share) { return rng_.uniform() < share; }
  int between(int low, int high) { return low + static_cast<int>(rng_.below(static_cast<uint32_t>(high - low + 1))); }
  Duration milliseconds(int low, int high) { return Duration::from_us(between(low * 1000, high * 1000)); }

  uint64_t seed_;
  Rng rng_;
  testing::TestClock clock_;
  FakeModel model_;
  engine::EngineLimits limits_;
  std::vector<std::vector<TokenId>> families_;  // Prompts begin alike.
  std::unique_ptr<tokenizer::Tokenizer> tokenizer_;
  std::shared_ptr<grammar::TokenAutomaton> grammar_;        // Shared by all requests that follow one,
  std::shared_ptr<grammar::TokenAutomaton> plain_grammar_;  // and the same for what is expected of them.
  std::unique_ptr<FakeRunner> runner_;
  const FakeRunner* draft_ = nullptr;  // The loop's, in half of the runs: it says mostly the same.
  std::shared_ptr<os::WakeSignal> wake_ = std::make_shared<os::WakeSignal>();
  std::unique_ptr<BoundedQueue<engine::Submission>> inbox_;
  NullLog log_;
  testing::FolderDisk disk_;
  std::unique_ptr<kv::PrefixStore> store_;  // Null in half of the runs. What the index gives up comes back from there.
  Instant disk_at_ = Instant::never();      // When the disk has done the next thing.
  std::unique_ptr<engine::StepLoop> loop_;
  std::unique_ptr<engine::Watchdog> watchdog_;
  Instant watchdog_at_;  // Its next look.
  std::unique_ptr<engine::Intake> intake_;
  std::vector<std::unique_ptr<Client>> clients_;
  bool closing_ = false;
  std::optional<std::string> broken_;
  Tally tally_;
};

}  // namespace infer::sim
