#include "os/append_file.h"

#include <gtest/gtest.h>

#include <string>

#include "os/text_file.h"
#include "testing/test_folder.h"

namespace infer::os {
namespace {

class AppendFileTest : public ::testing::Test {
 protected:
  const testing::TestFolder own_;
  const std::string path_ = own_.file("lines.jsonl");
  std::string content() { return read_text_file(path_, 1 << 20).value(); }
};

TEST_F(AppendFileTest, LinesAreThereAtOnceAndStayWhenItIsOpenedAgain) {
  AppendFile first = AppendFile::open(path_).value();
  ASSERT_TRUE(first.append_line("one").has_value());
  EXPECT_EQ(content(), "one\n");
  AppendFile second = AppendFile::open(path_).value();
  ASSERT_TRUE(second.append_line("two").has_value());
  EXPECT_EQ(content(), "one\ntwo\n");
}

TEST_F(AppendFileTest, ALineThatWasCutOffIsRemoved) {
  for (const std::string& rest : {std::string("hal"), std::string(10000, 'x')}) {
    ASSERT_TRUE(write_text_file(path_, "one\n" + rest).has_value());
    ASSERT_TRUE(AppendFile::open(path_).value().append_line("two").has_value());
    EXPECT_EQ(content(), "one\ntwo\n");
  }
  ASSERT_TRUE(write_text_file(path_, "never ended").has_value());
  ASSERT_TRUE(AppendFile::open(path_).has_value());
  EXPECT_EQ(content(), "");
}

TEST_F(AppendFileTest, SaysWhatIsWrongWithThePath) {
  EXPECT_EQ(AppendFile::open("/no/such/folder/file").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(AppendFile::open(own_.path().string()).error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace infer::os
