#include "app/exit_code.h"

#include <gtest/gtest.h>

namespace infer::app {
namespace {

TEST(ExitCode, FollowsTheDocumentedNumbers) {
  EXPECT_EQ(exit_code(ErrorCode::kInvalidArgument), 2);
  EXPECT_EQ(exit_code(ErrorCode::kNotFound), 3);
  EXPECT_EQ(exit_code(ErrorCode::kCorrupt), 3);
  EXPECT_EQ(exit_code(ErrorCode::kUnsupported), 3);
  EXPECT_EQ(exit_code(ErrorCode::kDeadline), 4);
  EXPECT_EQ(exit_code(ErrorCode::kExhausted), 5);
  EXPECT_EQ(exit_code(ErrorCode::kIo), 1);
  EXPECT_EQ(exit_code(ErrorCode::kCancelled), 1);
}

TEST(ExitCode, WhateverIsWrongWithAnInputFileIsABadInputFile) {
  EXPECT_EQ(exit_code(as_input_error({ErrorCode::kInvalidArgument, "x: is a directory"}, "give a file").code), 3);
  EXPECT_EQ(exit_code(as_input_error({ErrorCode::kIo, "x: permission denied"}, "give a file").code), 3);
  EXPECT_EQ(exit_code(as_input_error({ErrorCode::kExhausted, "x: too large"}, "give a file").code), 5);
}

TEST(ExitCode, TheRemedyIsAddedWhereThereIsNone) {
  EXPECT_EQ(as_input_error({ErrorCode::kCorrupt, "x: is empty"}, "give a file").message, "x: is empty; give a file");
  EXPECT_EQ(as_input_error({ErrorCode::kCorrupt, "x: cut off; copy it again"}, "give a file").message,
            "x: cut off; copy it again");
}

}  // namespace
}  // namespace infer::app
