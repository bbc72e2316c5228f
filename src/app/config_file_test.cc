#include "app/config_file.h"

#include <gtest/gtest.h>

#include <fstream>

#include "testing/test_folder.h"

namespace infer::app {
namespace {

TEST(ConfigFile, TheEnvironmentWinsOverTheFile) {
  const testing::TestFolder folder;
  const auto path = folder.path() / "config.yaml";
  std::ofstream(path) << "infer_os:\n  server:\n    port: 1000\n    io_threads: 2\n";
  const auto environment = [](const std::string& name) -> std::optional<std::string> {
    if (name == "INFEROS_AGENT_PORT") return "2000";
    return std::nullopt;
  };
  const auto config = read_config(path.string(), environment);
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->server.port, 2000);
  EXPECT_EQ(config->server.io_threads, 2);
  std::ofstream(path) << "infer_os:\n  sever:\n    port: 1000\n";
  EXPECT_EQ(read_config(path.string(), environment).error().message,
            path.string() + ": line 3: unknown key \"sever.port\"; did you mean server.port?");
  EXPECT_EQ(read_config(path.string() + ".none", environment).error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace infer::app
