#include "tokens/stop_strings.h"

#include <gtest/gtest.h>

namespace tumbler::tokens {
namespace {

// What passes when `text` comes in pieces of n bytes.
std::string pass(StopStrings stops, std::string_view text, size_t n) {
  std::string out;
  for (size_t at = 0; at < text.size() && !stops.stopped(); at += n) out += stops.push(text.substr(at, n));
  if (!stops.stopped()) out += stops.flush();
  return out;
}

TEST(StopStrings, EndsBeforeTheFirstStopHoweverTheTextIsCut) {
  for (size_t n = 1; n < 20; ++n) {
    EXPECT_EQ(pass(StopStrings({"\n\n", "END"}), "one\ntwo E EN\n\nthree END", n), "one\ntwo E EN");
    EXPECT_EQ(pass(StopStrings({"\n\n", "END"}), "one ENEND \n\n", n), "one EN");
    EXPECT_EQ(pass(StopStrings({"aab"}), "aaaab", n), "aa");
    EXPECT_EQ(pass(StopStrings({"aab"}), "aaaa", n), "aaaa");
    EXPECT_EQ(pass(StopStrings({""}), "all of it", n), "all of it");
    EXPECT_EQ(pass(StopStrings({"x"}), "xyz", n), "");
  }
}

TEST(StopStrings, HoldsBackOnlyWhatMayBeginAStop) {
  StopStrings stops({"<end>"});
  EXPECT_EQ(stops.push("text <"), "text ");
  EXPECT_EQ(stops.push("en"), "");
  EXPECT_EQ(stops.push("ough"), "<enough");
  EXPECT_EQ(stops.push("<end> more"), "");
  EXPECT_TRUE(stops.stopped());
  EXPECT_EQ(stops.push("more"), "");
}

}  // namespace
}  // namespace tumbler::tokens
