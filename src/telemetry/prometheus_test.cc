#include "telemetry/prometheus.h"

#include <gtest/gtest.h>

#include <charconv>
#include <cmath>
#include <map>
#include <set>
#include <sstream>

namespace infer::telemetry {
namespace {

// A reader of the text format that takes nothing which the format does not say.
class Exposition {
 public:
  explicit Exposition(const std::string& text) {
    EXPECT_TRUE(text.empty() || text.back() == '\n') << "the last line must end";
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) read_line(line);
  }

  struct Sample {
    std::string name;
    std::map<std::string, std::string> labels;
    double value = 0;
  };
  std::optional<double> value(const std::string& name, const std::map<std::string, std::string>& labels = {}) const {
    for (const Sample& sample : samples_) {
      if (sample.name == name && sample.labels == labels) return sample.value;
    }
    return std::nullopt;
  }
  const std::vector<Sample>& samples() const { return samples_; }
  const std::map<std::string, std::string>& types() const { return types_; }

 private:
  static bool is_name(const std::string& name, bool colons) {
    if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0]))) return false;
    for (const char c : name) {
      if (!std::isalnum(static_cast<unsigned char>(c)) && c != '_' && !(colons && c == ':')) return false;
    }
    return true;
  }
  void read_line(const std::string& line) {
    if (line.starts_with("# HELP ")) {
      const std::string rest = line.substr(7);
      family_ = rest.substr(0, rest.find(' '));
      EXPECT_TRUE(is_name(family_, true)) << line;
      EXPECT_TRUE(families_.insert(family_).second) << "a family comes once: " << line;
      EXPECT_GT(rest.size(), family_.size() + 1) << line;
    } else if (line.starts_with("# TYPE ")) {
      std::istringstream words(line.substr(7));
      std::string name, type, more;
      words >> name >> type >> more;
      EXPECT_EQ(name, family_) << "the type follows the help";
      EXPECT_TRUE(type == "counter" || type == "gauge" || type == "histogram") << line;
      EXPECT_TRUE(more.empty()) << line;
      types_[name] = type;
    } else {
      ASSERT_FALSE(line.empty());
      ASSERT_NE(line[0], '#') << line;
      read_sample(line);
    }
  }
  void read_sample(const std::string& line) {
    Sample sample;
    size_t i = line.find_first_of("{ ");
    ASSERT_NE(i, std::string::npos) << line;
    sample.name = line.substr(0, i);
    check_family(sample.name, line);
    if (line[i] == '{') {
      do {
        const size_t equals = line.find("=\"", i);
        ASSERT_NE(equals, std::string::npos) << line;
        const std::string label = line.substr(i + 1, equals - i - 1);
        EXPECT_TRUE(is_name(label, false)) << line;
        std::string value;
        for (i = equals + 2; i < line.size() && line[i] != '"'; ++i) {
          if (line[i] == '\\') ++i;
          ASSERT_LT(i, line.size()) << line;
          value += line[i];
        }
        EXPECT_TRUE(sample.labels.emplace(label, value).second) << line;
        ++i;
        ASSERT_TRUE(i < line.size() && (line[i] == ',' || line[i] == '}')) << line;
      } while (line[i] == ',');
      ++i;
    }
    ASSERT_TRUE(i < line.size() && line[i] == ' ') << line;
    const std::string number = line.substr(i + 1);
    const auto end = std::from_chars(number.data(), number.data() + number.size(), sample.value);
    EXPECT_TRUE(end.ec == std::errc() && end.ptr == number.data() + number.size()) << line;
    EXPECT_TRUE(seen_.insert(line.substr(0, i)).second) << "a sample comes once: " << line;
    samples_.push_back(std::move(sample));
  }
  void check_family(const std::string& name, const std::string& line) {
    if (types_[family_] == "histogram") {
      EXPECT_TRUE(name == family_ + "_bucket" || name == family_ + "_sum" || name == family_ + "_count") << line;
    } else {
      EXPECT_EQ(name, family_) << line;
    }
    const bool is_counter = types_[family_] == "counter";
    EXPECT_TRUE(!is_counter || name.ends_with("_total") || name.starts_with("llamacpp:")) << line;
  }

  std::string family_;
  std::set<std::string> families_, seen_;
  std::map<std::string, std::string> types_;
  std::vector<Sample> samples_;
};

Metrics some_metrics() {
  Metrics metrics;
  metrics.engine.model = "a \"quoted\" \\ name\nof two lines";
  engine::EngineSnapshot& engine = metrics.engine.snapshot;
  engine.running = 3;
  engine.waiting = {1, 2, 4};
  engine.pages_max = 200;
  engine.pages_free = 150;
  engine.kv.pages = {5, 6, 7, 8};
  engine.counters.generated_tokens = 1234;
  engine.counters.prompt_tokens = 100;
  engine.counters.cached_tokens = 40;
  engine.counters.ended = {9, 8, 0, 2, 1, 0};
  metrics.tokens_per_second = 12.5;
  return metrics;
}

Recorder& recorded(Recorder& recorder) {
  for (int i = 0; i < 10; ++i) {
    engine::RequestResult result;
    result.finish_reason = engine::FinishReason::kDeadline;
    result.passed_limit = engine::PassedLimit::kTotal;
    result.ended = Instant::from_ns(0) + Duration::from_seconds(i);
    result.first_token = Instant::from_ns(0) + Duration::from_ms(i);
    result.last_token = Instant::from_ns(0) + Duration::from_ms(i + 90);
    result.generated_tokens = 10;  // One each 10 ms.
    recorder.record_request(result);
  }
  recorder.record_rejection(Rejection::kQueueFull);
  return recorder;
}

TEST(Prometheus, ThePageKeepsTheFormatWhateverTheNames) {
  Recorder recorder;
  recorded(recorder);
  for (const MetricNames names : {MetricNames::kInferos, MetricNames::kVllm, MetricNames::kLlamaCpp}) {
    const Exposition page(prometheus_text(some_metrics(), recorder, {}, names));
    EXPECT_GE(page.samples().size(), 5u);
    for (const auto& [name, type] : page.types()) {
      if (type != "histogram") continue;
      double last = 0, top = 0;
      for (const auto& sample : page.samples()) {
        if (sample.name != name + "_bucket") continue;
        EXPECT_GE(sample.value, last) << "buckets are cumulative: " << name;
        last = sample.value;
        if (sample.labels.at("le") == "+Inf") top = sample.value;
      }
      EXPECT_EQ(page.value(name + "_count"), top) << name;
      EXPECT_EQ(last, top) << "the last bucket has all: " << name;
    }
  }
}

TEST(Prometheus, SaysWhatWasCounted) {
  Recorder recorder;
  AgentCounters agent;
  agent.policy_changes = 4;
  const Exposition page(prometheus_text(some_metrics(), recorded(recorder), agent, MetricNames::kInferos));
  EXPECT_EQ(page.value("inferos_requests_running"), 3);
  EXPECT_EQ(page.value("inferos_requests_waiting"), 7);
  EXPECT_EQ(page.value("inferos_generation_tokens_total"), 1234);
  EXPECT_EQ(page.value("inferos_kv_cache_usage_ratio"), 0.25);
  EXPECT_EQ(page.value("inferos_kv_cache_pages", {{"level", "L2"}}), 7);
  EXPECT_EQ(page.value("inferos_requests_total", {{"outcome", "deadline"}}), 2);
  EXPECT_EQ(page.value("inferos_deadline_misses_total", {{"limit", "total"}}), 10);
  EXPECT_EQ(page.value("inferos_admission_rejections_total", {{"reason", "queue_full"}}), 1);
  EXPECT_EQ(page.value("inferos_time_to_first_token_seconds_count"), 10);
  EXPECT_EQ(page.value("inferos_time_to_first_token_seconds_bucket", {{"le", "0.005"}}), 6);  // 0 to 5 ms.
  EXPECT_NEAR(*page.value("inferos_time_per_output_token_seconds_sum"), 0.1, 1e-9);
  EXPECT_EQ(page.value("inferos_request_duration_seconds_sum"), 45);
  EXPECT_EQ(page.value("inferos_policy_changes_total"), 4);
  EXPECT_EQ(page.value("inferos_generation_tokens_per_second"), 12.5);
}

TEST(Prometheus, WhatIsUnknownIsLeftOut) {
  const Recorder recorder;
  const Exposition page(prometheus_text({}, recorder, {}, MetricNames::kInferos));
  EXPECT_FALSE(page.value("inferos_generation_tokens_per_second").has_value());
  EXPECT_FALSE(page.value("inferos_speculative_accept_ratio").has_value());
  EXPECT_FALSE(page.value("inferos_kv_cache_usage_ratio").has_value());
  EXPECT_FALSE(page.value("process_resident_memory_bytes").has_value());
}

TEST(Prometheus, OtherServersNamesCarryTheSameFigures) {
  Recorder recorder;
  recorded(recorder);
  const Exposition vllm(prometheus_text(some_metrics(), recorder, {}, MetricNames::kVllm));
  EXPECT_EQ(vllm.value("vllm:num_requests_waiting"), 7);
  EXPECT_EQ(vllm.value("vllm:request_success_total", {{"finished_reason", "length"}}), 8);
  EXPECT_EQ(vllm.value("vllm:kv_cache_usage_perc"), 0.25);
  const std::string llama = prometheus_text(some_metrics(), recorder, {}, MetricNames::kLlamaCpp);
  EXPECT_NE(llama.find("\nllamacpp:tokens_predicted_total 1234\n"), std::string::npos);
  EXPECT_EQ(metric_names("vllm"), MetricNames::kVllm);
  EXPECT_FALSE(metric_names("prometheus").has_value());
}

}  // namespace
}  // namespace infer::telemetry
