#include "os/turns.h"

#include <gtest/gtest.h>

namespace infer::os {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

OfferRule::Time at(int ms) { return OfferRule::Time{milliseconds(1000 + ms)}; }

TEST(OfferRule, NothingIsOfferedForAWhileWhereSomebodyKeepsComputing) {
  OfferRule rule;
  rule.observe(at(0), milliseconds(4), microseconds(1900));
  rule.observe(at(8), milliseconds(4), microseconds(1900));
  EXPECT_TRUE(rule.allows(at(8)));
  rule.observe(at(16), milliseconds(4), microseconds(1900));
  EXPECT_FALSE(rule.allows(at(16)));
  EXPECT_FALSE(rule.allows(at(16) + OfferRule::kRetreat - microseconds(1)));
  EXPECT_TRUE(rule.allows(at(16) + OfferRule::kRetreat));
}

TEST(OfferRule, LongTurnsFarApartEndNoOffers) {
  OfferRule rule;
  for (int i = 1; i <= 10; ++i) rule.observe(at(21 * i), milliseconds(4), microseconds(1900));
  EXPECT_TRUE(rule.allows(at(210)));
}

TEST(OfferRule, WhoOnlyReactsTakesTooLittleToEndOffers) {
  OfferRule rule;
  for (int i = 1; i <= 10; ++i) rule.observe(at(i), microseconds(1100), microseconds(100));
  rule.observe(at(11), milliseconds(50), milliseconds(50));
  EXPECT_TRUE(rule.allows(at(11)));
}

}  // namespace
}  // namespace infer::os
