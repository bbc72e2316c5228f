// Seeded random cases for property tests. A failing test prints the seed; INFER_SEED=<n> replays it.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "base/rng.h"

namespace infer::testing {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kIsSanitized = true;
#elif defined(__has_feature)
inline constexpr bool kIsSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
inline constexpr bool kIsSanitized = false;
#endif

// The seed to use: INFER_SEED when set, else `fallback` (fixed, so that runs repeat).
uint64_t property_seed(uint64_t fallback);

// for_each_case(200, [](Rng& rng) { ... }): each case has its own generator; its seed is in every failure message.
template <class Body>
void for_each_case(int cases, Body&& body, uint64_t seed = property_seed(1)) {
  for (int i = 0; i < cases && !::testing::Test::HasFatalFailure(); ++i) {
    const uint64_t case_seed = seed + static_cast<uint64_t>(i);
    SCOPED_TRACE("INFER_SEED=" + std::to_string(case_seed));
    Rng rng(case_seed);
    body(rng);
  }
}

}  // namespace infer::testing
