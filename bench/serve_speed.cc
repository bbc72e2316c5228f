// What HTTP costs of the engine's speed: the same answers from the engine itself, over HTTP as a whole, and streamed.
//
// One process, one model, the three in turns, so that a machine that drifts drifts for all. The clients are one thread
// that does nothing but read: it takes processors from the engine, as clients on other machines would not, so its own
// processor time is shown beside the speed, and the speed again without it.
//
//   serve_speed [--smoke] [--rounds N] [MODEL.gguf]    figures as lines of text; the built-in model where
//   none is named
#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/json.h"
#include "base/format.h"
#include "engine/answer_stream.h"
#include "os/process_facts.h"
#include "os/topology.h"
#include "testing/api_server.h"

namespace infer {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr int kAtOnce = 8;

struct Sizes {
  int rounds = 9;
  int answers = 64;
  int tokens = 128;
};

struct Spent {
  double seconds = 0;
  Duration processor, of_client;  // `processor`: of all, without the client's.
};

std::string prompt_text(int number) { return format("{} Once upon a time there was an old king who", number); }

// One connection that asks for one answer after the other, while there are any left.
class Reader {
 public:
  Reader(asio::io_context& context, uint16_t port, int& left, bool streams, int tokens)
      : socket_(context), left_(left), streams_(streams), tokens_(tokens) {
    socket_.connect({asio::ip::address_v4::loopback(), port});
    socket_.set_option(tcp::no_delay(true));
  }

  void ask() {
    if (left_ == 0) return;
    const std::string body = api::Json::object()
                                 .set("prompt", prompt_text(--left_))
                                 .set("max_tokens", tokens_)
                                 .set("ignore_eos", true)
                                 .set("temperature", 0)
                                 .set("stream", streams_)
                                 .dump();
    const std::string head =
        format("POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n", body.size());
    asio::write(socket_, asio::buffer(head + body));
    receive();
  }

  int64_t events = 0, reads = 0, broken = 0;

 private:
  // A stream ends with an empty chunk, a whole answer with its object; neither occurs within.
  bool is_end(std::string_view bytes) const { return bytes.ends_with(streams_ ? "0\r\n\r\n" : "}"); }

  void receive() {
    socket_.async_read_some(asio::buffer(buffer_), [this](error_code error, size_t size) {
      if (error) {
        ++broken;
        return;
      }
      const std::string_view bytes(buffer_.data(), size);
      ++reads;
      for (size_t at = bytes.find("data: {"); at != bytes.npos; at = bytes.find("data: {", at + 1)) ++events;
      if (!is_end(bytes)) return receive();
      ask();
    });
  }

  tcp::socket socket_;
  int& left_;
  const bool streams_;
  const int tokens_;
  std::array<char, 64 << 10> buffer_{};
};

Spent ask_engine(testing::ApiServer& server, const Sizes& sizes, bool& ok) {
  std::vector<engine::RequestHandle> handles;
  const Duration before = os::cpu_time_used();
  const Instant start = server.clock().now();
  for (int i = sizes.answers; i-- > 0;) {
    engine::Request request{.prompt = server.model().tokenizer.encode(prompt_text(i), {}),
                            .options = {.tokens_max = sizes.tokens, .ignore_end_tokens = true},
                            .sampling = {.temperature = 0},
                            .limits = {Deadline::never()},
                            .wants_whole = true};
    handles.push_back(*server.engine().submit(std::move(request)).handle);
  }
  for (engine::RequestHandle& handle : handles) {
    const engine::Answer answer = engine::read_answer(*handle, {server.clock(), Deadline::never(), {}});
    ok = ok && answer.result.generated_tokens == sizes.tokens;
  }
  return {
      .seconds = (server.clock().now() - start).seconds(), .processor = os::cpu_time_used() - before, .of_client = {}};
}

Spent ask_server(testing::ApiServer& server, const Sizes& sizes, bool streams, bool& ok, double& events_a_read) {
  asio::io_context context{1};
  int left = sizes.answers;
  std::vector<std::unique_ptr<Reader>> readers;
  for (int i = 0; i < 2 * kAtOnce; ++i) {
    readers.push_back(std::make_unique<Reader>(context, server.port(), left, streams, sizes.tokens));
  }
  const Duration before = os::cpu_time_used(), own_before = os::thread_cpu_time_used();
  const Instant start = server.clock().now();
  for (const auto& reader : readers) reader->ask();
  context.run();
  Spent spent{.seconds = (server.clock().now() - start).seconds(),
              .processor = {},
              .of_client = os::thread_cpu_time_used() - own_before};
  spent.processor = os::cpu_time_used() - before - spent.of_client;
  int64_t events = 0, reads = 0;
  for (const auto& reader : readers) {
    ok = ok && reader->broken == 0;
    events += reader->events;
    reads += reader->reads;
  }
  if (streams) events_a_read = static_cast<double>(events) / static_cast<double>(reads);
  return spent;
}

double middle(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

bool run(const Sizes& sizes, const std::string& model_path) {
  engine::EngineLimits limits;
  limits.running_max = kAtOnce;
  limits.speculation.enabled = false;
  const int threads = os::read_topology().compute_threads();
  testing::ApiServer server(
      {.context = 512, .limits = limits, .service = {.seed = 7}, .model_path = model_path, .threads = threads});
  bool ok = true;
  double events_a_read = 0;
  enum Way { kEngine, kWhole, kStreamed, kWays };
  constexpr std::array<const char*, kWays> kNames{"the engine itself", "over HTTP, whole", "over HTTP, streamed"};
  std::array<std::vector<double>, kWays> speed, share, freed, processor, client;
  for (int round = 0; round <= sizes.rounds; ++round) {
    std::array<Spent, kWays> spent;
    // There and back, so that neither end of a round is always the same one's.
    for (int i = 0; i < kWays; ++i) {
      const int way = round % 2 == 0 ? i : kWays - 1 - i;
      spent[static_cast<size_t>(way)] = way == kEngine ? ask_engine(server, sizes, ok)
                                                       : ask_server(server, sizes, way == kStreamed, ok, events_a_read);
    }
    if (round == 0) continue;  // Warms up.
    const double tokens = static_cast<double>(sizes.answers) * sizes.tokens;
    for (size_t way = 0; way < kWays; ++way) {
      const Spent& each = spent[way];
      const double without = each.seconds - each.of_client.seconds() / threads;
      speed[way].push_back(tokens / each.seconds);
      share[way].push_back(spent[kEngine].seconds / each.seconds);
      freed[way].push_back(spent[kEngine].seconds / without);
      processor[way].push_back(each.processor.seconds() * 1e6 / tokens);
      client[way].push_back(each.of_client.seconds() * 1e6 / tokens);
    }
  }
  std::printf("%d answers of %d tokens, %d at once; middle of %d rounds\n", sizes.answers, sizes.tokens, kAtOnce,
              sizes.rounds);
  for (size_t way = 0; way < kWays; ++way) {
    std::printf(
        "%-20s %8.1f tokens/s, %5.1f %% (%5.1f %% without the client's processor time); "
        "us of processor time a token: %6.1f, the client %4.1f\n",
        kNames[way], middle(speed[way]), 100 * middle(share[way]), 100 * middle(freed[way]), middle(processor[way]),
        middle(client[way]));
  }
  std::printf("%.2f events a read\n", events_a_read);
  return ok;
}

}  // namespace
}  // namespace infer

int main(int argc, char** argv) {
  infer::Sizes sizes;
  std::string model;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--smoke") {
      sizes = {.rounds = 1, .answers = 4, .tokens = 6};
    } else if (word == "--rounds" && i + 1 < argc) {
      sizes.rounds = std::max(1, std::atoi(argv[++i]));
    } else {
      model = word;
      sizes = {.rounds = sizes.rounds, .answers = 16, .tokens = 64};  // A large one.
    }
  }
  return infer::run(sizes, model) ? 0 : 1;
}
