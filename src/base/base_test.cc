#include <set>

#include <gtest/gtest.h>

#include "base/config.h"
#include "base/error.h"
#include "base/result.h"
#include "base/rng.h"

namespace tumbler {
namespace {

struct Inner {
  double beta = 0.5;
  template <class V>
  void visit_fields(V& v) {
    v("beta", beta, "", "a number");
  }
};

struct Outer {
  int64_t steps = 10;
  bool fast = false;
  std::string name = "x";
  std::vector<double> list = {1, 2};
  Inner inner;
  template <class V>
  void visit_fields(V& v) {
    v("steps", steps, "steps", "how long");
    v("fast", fast, "", "a switch");
    v("name", name, "", "a word");
    v("list", list, "", "numbers");
    v("inner", inner, "", "nested");
  }
};

std::string error_of(auto&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Config, ReadsNestedFieldsAndWritesThemBack) {
  Outer c;
  config::from_json(c, nlohmann::json::parse(R"({"steps":3,"fast":true,"inner":{"beta":2},"list":[4]})"),
                    "test");
  EXPECT_EQ(c.steps, 3);
  EXPECT_TRUE(c.fast);
  EXPECT_EQ(c.inner.beta, 2);
  Outer again;
  config::from_json(again, nlohmann::json::parse(config::to_json(c).dump()), "test");
  EXPECT_EQ(config::to_json(again), config::to_json(c));
}

TEST(Config, SetTakesJsonOrPlainText) {
  Outer c;
  config::set(c, "inner.beta=0.25");
  config::set(c, "name=two words");
  config::set(c, "fast=true");
  EXPECT_EQ(c.inner.beta, 0.25);
  EXPECT_EQ(c.name, "two words");
  EXPECT_TRUE(c.fast);
}

TEST(Config, UnknownKeyNamesTheNearest) {
  Outer c;
  const std::string text = error_of([&] { config::set(c, "stpes=3"); });
  EXPECT_NE(text.find("unknown key 'stpes'"), std::string::npos) << text;
  EXPECT_NE(text.find("did you mean 'steps'"), std::string::npos) << text;
}

TEST(Config, WrongTypesSayWhatWasExpected) {
  Outer c;
  EXPECT_NE(error_of([&] { config::set(c, "steps=0.5"); }).find("got 0.5, expected a whole number"),
            std::string::npos);
  EXPECT_NE(error_of([&] { config::set(c, "inner=3"); }).find("expected a table"), std::string::npos);
  EXPECT_NE(error_of([&] { config::set(c, "steps"); }).find("expected key=value"), std::string::npos);
}

TEST(Config, HelpListsEveryField) {
  const std::string help = config::help_text(config::fields(Outer{}));
  for (const char* name : {"steps", "fast", "name", "list", "inner.beta"})
    EXPECT_NE(help.find(name), std::string::npos) << help;
}

TEST(Rng, IsTheSameEverywhereAndStreamsDiffer) {
  Rng a(42), b(42), c(42, 1);
  const uint64_t first = a();
  EXPECT_EQ(first, b());
  EXPECT_NE(first, c());
  const Rng::State saved = a.state();
  const uint64_t next = a();
  b.set_state(saved);
  EXPECT_EQ(next, b());
}

TEST(Rng, BelowIsUniform) {
  Rng rng(7);
  std::vector<int> counts(7);
  for (int i = 0; i < 70000; ++i) ++counts[rng.below(7)];
  // 6 standard deviations of a binomial with n = 70,000 and p = 1/7.
  for (const int count : counts) EXPECT_NEAR(count, 10000, 6 * 93);
}

TEST(Rng, NormalHasMeanZeroAndVarianceOne) {
  Rng rng(3);
  double sum = 0, squares = 0;
  constexpr int kDraws = 200000;
  for (int i = 0; i < kDraws; ++i) {
    const double x = rng.normal();
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kDraws, 0, 6 / std::sqrt(kDraws));
  EXPECT_NEAR(squares / kDraws, 1, 6 * std::sqrt(2.0 / kDraws));
}

TEST(Result, HoldsAValueOrAReason) {
  Result<int> good = 3;
  Result<int> bad = Reason{"too_short", "2 words"};
  EXPECT_TRUE(good);
  EXPECT_EQ(*good, 3);
  EXPECT_FALSE(bad);
  EXPECT_EQ(bad.reason().code, "too_short");
  EXPECT_DEATH((void)*bad, "too_short");
}

TEST(Error, NamesThePlace) {
  EXPECT_EQ(error_of([] { throw Error("io", "{}: got {}, expected {}", "f", 1, 2); }),
            "[io] f: got 1, expected 2");
}

}  // namespace
}  // namespace tumbler
