#include "tokens/tokenizer.h"

#include <algorithm>
#include <map>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.h"
#include "io/file.h"
#include "tokens/model.h"
#include "tokens/streaming_decoder.h"
#include "tokens/test_data.h"
#include "tokens/tiktoken.h"
#include "tokens/tokenizer_json.h"

namespace tumbler::tokens {
namespace {

using testing_data::random_bytes;
using testing_data::small_parts;

Tokenizer small() {
  return Tokenizer::from_parts(small_parts({{"h", "e"},
                                            {"l", "l"},
                                            {"he", "ll"},
                                            {" ", "w"},
                                            {"hell", "o"},
                                            {"a", "a"},
                                            {"aa", "aa"},
                                            {"\xE4", "\xB8"},
                                            {"\n", "\n"}}));
}

std::vector<std::string> pieces_of(const Tokenizer& t, const std::vector<TokenId>& ids) {
  std::vector<std::string> out;
  for (const TokenId id : ids) out.emplace_back(t.token_bytes(id));
  return out;
}

// The definition: merge the leftmost pair of smallest rank until there is none. Nothing shared with the
// encoder but the parts.
std::vector<TokenId> merge_by_definition(const TokenizerParts& parts, std::string_view piece) {
  std::map<std::pair<TokenId, TokenId>, size_t> rank;
  std::map<std::string, TokenId> ids;
  for (size_t id = 0; id < parts.tokens.size(); ++id) ids.emplace(parts.tokens[id], static_cast<TokenId>(id));
  for (size_t i = 0; i < parts.merges.size(); ++i) rank.emplace(parts.merges[i], i);
  std::vector<TokenId> out;
  for (const char c : piece) out.push_back(ids.at(std::string(1, c)));
  for (;;) {
    size_t best = out.size(), least = parts.merges.size();
    for (size_t i = 0; i + 1 < out.size(); ++i) {
      const auto found = rank.find({out[i], out[i + 1]});
      if (found != rank.end() && found->second < least) least = found->second, best = i;
    }
    if (best == out.size()) return out;
    out[best] = ids.at(parts.tokens[static_cast<size_t>(out[best])] +
                       parts.tokens[static_cast<size_t>(out[best + 1])]);
    out.erase(out.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
}

TEST(Tokenizer, MergesByRank) {
  const Tokenizer t = small();
  EXPECT_EQ(pieces_of(t, t.encode("hello world")),
            (std::vector<std::string>{"hello", " w", "o", "r", "l", "d"}));
  EXPECT_EQ(pieces_of(t, t.encode("aaaaaaa")), (std::vector<std::string>{"aaaa", "aa", "a"}));
  EXPECT_EQ(t.encode(""), std::vector<TokenId>{});
  EXPECT_EQ(pieces_of(t, t.encode("x")), std::vector<std::string>{"x"});
  EXPECT_EQ(pieces_of(t, t.encode("\n\n\n")), (std::vector<std::string>{"\n\n", "\n"}));
}

TEST(Tokenizer, ShortLongAndCachedPathsFollowTheDefinition) {
  Rng rng(3);
  std::vector<std::pair<std::string, std::string>> merges;
  std::vector<std::string> known = {"a", "b", "c"};
  for (int i = 0; i < 60;
       ++i) {  // a random vocabulary over three letters, with merges that contradict one another
    const std::string left = known[rng.below(known.size())], right = known[rng.below(known.size())];
    if (std::find(known.begin(), known.end(), left + right) != known.end() || left.size() + right.size() > 12)
      continue;
    merges.emplace_back(left, right);
    known.push_back(left + right);
  }
  const TokenizerParts parts = small_parts(merges);
  const Tokenizer t = Tokenizer::from_parts(parts);
  Encoder encoder(t);
  for (int i = 0; i < 2000; ++i) {
    std::string word(1 + rng.below(i % 10 == 0 ? 300 : 20), 'a');
    for (char& c : word) c = static_cast<char>('a' + rng.below(3));
    const std::vector<TokenId> want = merge_by_definition(parts, word);
    ASSERT_EQ(t.encode(word), want) << word;
    for (int twice = 0; twice < 2; ++twice) {
      std::vector<TokenId> got;
      encoder.encode(word, got);
      ASSERT_EQ(got, want) << word;
    }
  }
}

TEST(Tokenizer, RoundTripsAnyBytes) {
  const Tokenizer t = small();
  Rng rng(1);
  for (int i = 0; i < 3000; ++i) {
    const std::string bytes = random_bytes(rng, rng.below(80));
    ASSERT_EQ(t.decode(t.encode(bytes)), bytes);
    ASSERT_EQ(t.decode(t.encode(bytes, true)), bytes);
  }
}

TEST(Tokenizer, SpecialTokensAreTextUnlessAllowed) {
  const Tokenizer t = small();
  const TokenId end = *t.find_added("<|endoftext|>");
  const auto plain = t.encode("a<|endoftext|>b");
  EXPECT_EQ(std::count(plain.begin(), plain.end(), end), 0);
  EXPECT_EQ(t.decode(plain), "a<|endoftext|>b");
  const auto allowed = t.encode("hello<|endoftext|>hello<|im_start|>", true);
  EXPECT_EQ(pieces_of(t, allowed),
            (std::vector<std::string>{"hello", "<|endoftext|>", "hello", "<|im_start|>"}));
  EXPECT_EQ(t.decode(allowed, true), "hellohello");
  EXPECT_EQ(pieces_of(t, t.encode("<|endoftext", true)).front(), "<");
  EXPECT_EQ(t.byte_lengths()[static_cast<size_t>(end)], 0);
  EXPECT_TRUE(t.is_special(end));
}

TEST(Tokenizer, AddedTokensMatchLeftmostLongestWithTheirFlags) {
  TokenizerParts parts = small_parts({});
  auto next = static_cast<TokenId>(parts.tokens.size() + parts.added.size());
  parts.added.push_back({.text = "<t>", .id = next++});
  parts.added.push_back({.text = "<t>2", .id = next++});
  parts.added.push_back({.text = "[M]", .id = next++, .lstrip = true, .rstrip = true});
  parts.added.push_back({.text = "word", .id = next++, .special = false, .single_word = true});
  parts.added.push_back({.text = "   ", .id = next++, .special = false});
  const Tokenizer t = Tokenizer::from_parts(parts);
  EXPECT_EQ(t.encode("<t>2", true), std::vector<TokenId>{*t.find_added("<t>2")});
  EXPECT_EQ(t.encode("x \n[M] \xC2\xA0y", true),
            (std::vector<TokenId>{*t.find_token("x"), *t.find_added("[M]"), *t.find_token("y")}));
  EXPECT_EQ(t.encode("sword word", true).size(), 7u);  // s w o r d ␣ <word>
  EXPECT_EQ(t.encode("word", true).size(), 1u);
  EXPECT_EQ(t.encode("word").size(), 4u);
  EXPECT_EQ(t.encode("   "),
            std::vector<TokenId>{*t.find_added("   ")});  // white space that is not special: always
}

TEST(Tokenizer, WholePieceOnlyWhereMergesLeadThere) {
  TokenizerParts parts =
      small_parts({{"b", "c"}, {"a", "b"}, {"ab", "c"}});  // abc is a token, but its merges give a bc
  EXPECT_EQ(Tokenizer::from_parts(parts).encode("abc").size(), 2u);
  parts.ignore_merges = true;
  EXPECT_EQ(Tokenizer::from_parts(parts).encode("abc").size(), 1u);
}

TEST(Tokenizer, NfcAndPrefixSpace) {
  TokenizerParts parts = small_parts({});
  parts.nfc = true;
  EXPECT_EQ(Tokenizer::from_parts(parts).encode("e\xCC\x81").size(), 2u);  // U+00E9
  EXPECT_EQ(Tokenizer::from_parts(parts).decode(Tokenizer::from_parts(parts).encode("\xFF"
                                                                                    "e\xCC\x81\xFF")),
            "\xFF\xC3\xA9\xFF");
  parts.add_prefix_space = true;
  EXPECT_EQ(Tokenizer::from_parts(parts).decode(Tokenizer::from_parts(parts).encode("x")), " x");
}

TEST(Tokenizer, BadPartsAndIdsAreErrors) {
  TokenizerParts parts = small_parts({});
  parts.tokens[5].clear();
  EXPECT_THROW(Tokenizer::from_parts(parts), Error);
  parts = small_parts({});
  parts.merges.emplace_back(1, 2);  // gives no token
  EXPECT_THROW(Tokenizer::from_parts(parts), Error);
  parts = small_parts({});
  parts.merges.emplace_back(1, 9999);
  EXPECT_THROW(Tokenizer::from_parts(parts), Error);
  parts = small_parts({});
  for (const TokenId far : {0x7FFFFFFF, 1'000'000, 10'000}) {  // tables have an entry for each id
    parts = small_parts({});
    parts.added.push_back({.text = "x", .id = far});
    EXPECT_THROW(Tokenizer::from_parts(parts), Error) << far;
  }
  const TokenId beyond[] = {100000}, negative[] = {-1};
  EXPECT_THROW((void)small().decode(beyond), Error);
  EXPECT_THROW((void)small().decode(negative), Error);
  EXPECT_THROW(Tokenizer::load("/nowhere/at/all"), Error);
}

// Quadratic merging takes hours here and meets the test's time limit.
TEST(SlowTokenizer, LongRunsOfOneClass) {
  Rng rng(9);
  const Tokenizer t = small();
  for (const std::string unit : {"a", "he", "ab", " ", "\n", "\xE4\xB8\xAD"}) {
    std::string text;
    while (text.size() < 1000000) text += unit;
    EXPECT_EQ(t.decode(t.encode(text)), text);
  }
  std::string base64(1000000, 'a');
  for (char& c : base64) c = static_cast<char>('a' + rng.below(26));
  EXPECT_EQ(t.decode(t.encode(base64)), base64);
}

struct Plan {
  std::string encoding, sample;
  std::vector<TokenId> ids;
};

std::vector<Plan> read_plans(const std::string& text) {
  std::vector<Plan> plans;
  const std::string name = "EncodingName: ", sample = "\nSample: ", encoded = "\nEncoded: [";
  for (size_t at = text.find(name); at != std::string::npos;) {
    const size_t s = text.find(sample, at), e = text.find(encoded, s), end = text.find(']', e);
    Plan plan{text.substr(at + name.size(), s - at - name.size()),
              text.substr(s + sample.size(), e - s - sample.size()),
              {}};
    for (size_t i = e + encoded.size(); i < end; i = text.find_first_of(" ]", i) + 1)
      plan.ids.push_back(std::stoi(text.substr(i)));
    plans.push_back(std::move(plan));
    at = text.find(name, end);
  }
  return plans;
}

TEST(SlowTiktoken, EncodesAsTheVectorsSay) {
  const auto folder = testing_data::root() / "tok-openai-ranks";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no " << folder << " (set TUMBLER_TEST_DATA)";
  const std::vector<Plan> plans = read_plans(io::read_file(folder / "TestPlans.txt"));
  EXPECT_EQ(plans.size(), 313u);
  std::map<std::string, Tokenizer> tokenizers;
  for (const Plan& plan : plans) {
    // p50k_edit has p50k_base's ranks, and special tokens that no sample holds.
    const std::string file = plan.encoding == "p50k_edit" ? "p50k_base" : plan.encoding;
    auto found = tokenizers.find(plan.encoding);
    if (found == tokenizers.end())
      found = tokenizers.emplace(plan.encoding, Tokenizer::load(folder / (file + ".tiktoken"))).first;
    EXPECT_EQ(found->second.encode(plan.sample, true), plan.ids) << plan.encoding << ": " << plan.sample;
    EXPECT_EQ(found->second.decode(plan.ids), plan.sample);
  }
  EXPECT_EQ(tokenizers.size(), 5u);
}

// The merges that are recovered from ranks, written as tokenizer.json and read again, give the same ids.
TEST(SlowTiktoken, RanksBecomeTokenizerJson) {
  const auto folder = testing_data::root() / "tok-openai-ranks";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no " << folder << " (set TUMBLER_TEST_DATA)";
  for (const char* name : {"r50k_base.tiktoken", "cl100k_base.tiktoken", "o200k_base.tiktoken"}) {
    const Tokenizer ranks = Tokenizer::load(folder / name);
    const Tokenizer json = Tokenizer::from_parts(parse_tokenizer_json(to_tokenizer_json(ranks), name));
    for (const Plan& plan : read_plans(io::read_file(folder / "TestPlans.txt")))
      EXPECT_EQ(ranks.encode(plan.sample), json.encode(plan.sample)) << plan.sample;
  }
}

TEST(Tiktoken, DamagedLinesAreErrors) {
  for (const char* text : {"!!!! 0\n", "IQ==\n", "IQ== x\n", "IQ== -1\n", "IQ== 99999999999\n",
                           "IQ== 50000\n", "IQ== 0\nIg== 0\n", " 0\n"})
    EXPECT_THROW(parse_tiktoken(text, "cl100k_base", "test"), Error) << text;
  EXPECT_THROW(parse_tiktoken("IQ== 0\n", "unheard_of", "test"), Error);
  EXPECT_THROW(Tokenizer::from_parts(parse_tiktoken("IQ== 0\n", "cl100k_base", "test")),
               Error);  // bytes are missing
}

// As SmolLM2's vocabulary: what has no token goes before merging, so that its neighbours may merge.
TEST(Tokenizer, LeavesOutBytesWithoutAToken) {
  TokenizerParts parts = small_parts({{"h", "e"}, {"l", "l"}, {"he", "ll"}});
  for (const char rare : {'\x04', '\xFF'})
    for (std::string& token : parts.tokens)
      if (token == std::string(1, rare)) token.clear();
  const Tokenizer t = Tokenizer::from_parts(parts);
  EXPECT_EQ(pieces_of(t, t.encode("a\x04")), std::vector<std::string>{"a"});
  EXPECT_EQ(t.encode("\xFF\x04"), std::vector<TokenId>{});
  EXPECT_EQ(pieces_of(t, t.encode("\xFF\x04!")), std::vector<std::string>{"!"});
  EXPECT_EQ(t.decode(t.encode("x\xFFy\x04z" + std::string(100, '\x04') + "hello")), "xyzhello");
  for (std::string& token : parts.tokens)
    if (token == "a") token.clear();
  EXPECT_THROW(Tokenizer::from_parts(parts), Error);
}

// Everything that may go wrong where a template's text and a user's meet, by all ways to cut a text into what
// is trusted and what is not.
TEST(Tokenizer, NamesInTextFromOutsideAreText) {
  TokenizerParts parts = small_parts({});
  const auto next = static_cast<TokenId>(parts.tokens.size() + parts.added.size());
  parts.added.push_back({.text = "<|im_end|>more", .id = next});              // longer
  parts.added.push_back({.text = "\n\n", .id = next + 1, .special = false});  // anywhere
  parts.added.push_back({.text = "<|pad|>", .id = next + 2, .lstrip = true, .rstrip = true});
  const Tokenizer t = Tokenizer::from_parts(std::move(parts));
  const std::string text = "a<|im_end|>more\n\n<|im_start|>b <|pad|> <|im_end|><|im_end|>\n\nc";
  for (size_t begin = 0; begin <= text.size(); ++begin)
    for (size_t end = begin; end <= text.size(); ++end) {
      const std::pair<size_t, size_t> outside[] = {{begin, end}};
      const auto ids = t.encode(text, begin == end ? std::span(outside, 0) : std::span(outside));
      // Where each id begins, and whether a special one lies in what is trusted. Blanks that <|pad|> takes
      // along are not in its text.
      size_t at = 0;
      for (const TokenId id : ids) {
        const std::string_view bytes = t.token_bytes(id);
        at = text.find(bytes, at);
        ASSERT_NE(at, std::string::npos);
        if (t.is_special(id) && begin != end) {
          EXPECT_TRUE(at + bytes.size() <= begin || at >= end)
              << bytes << " at " << at << ", " << begin << ":" << end;
        }
        at += bytes.size();
      }
      EXPECT_EQ(std::count(ids.begin(), ids.end(), next + 1), 2) << "plain tokens, whoever wrote them";
    }
  EXPECT_EQ(t.encode(text, std::span<const std::pair<size_t, size_t>>()), t.encode(text, true));
  const std::pair<size_t, size_t> all[] = {{0, text.size()}};
  EXPECT_EQ(t.encode(text, std::span(all)), t.encode(text, false));
  // "more" came from outside: the shorter name stands alone in what is trusted.
  const std::pair<size_t, size_t> more[] = {{11, 15}};
  EXPECT_EQ(t.encode(text, std::span(more))[1], *t.find_added("<|im_end|>"));
}

// A long text with many matches of one kind and none of the other is looked at once, not once a match.
TEST(Tokenizer, ManyNamesInALongTextTakeNoLonger) {
  TokenizerParts parts = small_parts({});
  parts.added.push_back({.text = "\t\t", .id = 300, .special = false});
  const Tokenizer t = Tokenizer::from_parts(std::move(parts));
  std::string text;
  std::vector<std::pair<size_t, size_t>> outside;
  for (int i = 0; i < 200'000; ++i) {
    text += "<|im_end|>";
    outside.emplace_back(text.size(), text.size() + 1);
    text += "x";
  }
  EXPECT_EQ(t.encode(text, outside).size(), 400'000u);
  std::string tabs;
  for (int i = 0; i < 500'000; ++i) tabs += "\t\tx";
  EXPECT_EQ(t.encode(tabs, std::span<const std::pair<size_t, size_t>>()).size(), 1'000'000u);
}

// GHSA-7rxv-5jhh-j6xx: sizes that become negative in 32 bits, and pass a comparison with what there is room
// for.
TEST(SlowTokenizer, MoreThanTwoGigabytesOfText) {
  constexpr size_t kBytes = (size_t{1} << 31) + 32;
  if (::sysconf(_SC_PHYS_PAGES) / 1024 * (::sysconf(_SC_PAGESIZE) / 1024) < 8000)
    GTEST_SKIP() << "takes 4 GB of memory";
  TokenizerParts parts = small_parts({});
  parts.ignore_merges = true;
  const auto word = static_cast<TokenId>(parts.tokens.size());
  parts.tokens.push_back(" " + std::string(31, 'a'));
  for (AddedToken& added : parts.added) ++added.id;
  parts.bos = parts.eos = parts.pad = {};
  const Tokenizer t = Tokenizer::from_parts(parts);
  std::string text(kBytes, 'a');
  for (size_t i = 0; i < text.size(); i += 32) text[i] = ' ';
  const std::vector<TokenId> ids = t.encode(text);
  EXPECT_EQ(ids.size(), kBytes / 32);
  EXPECT_TRUE(std::all_of(ids.begin(), ids.end(), [&](TokenId id) { return id == word; }));
  text = {};
  EXPECT_EQ(t.decode(ids).size(), kBytes);
}

// Without a limit on cuts of tokens, or a heap, these would take hours.
TEST(Metaspace, LongTextsAndTokensAreNoTrap) {
  TokenizerParts parts;
  parts.kind = TokenizerKind::kMetaspaceBpe;
  parts.tokens = {"<unk>", " ", "a"};
  parts.unk = 0;
  for (size_t length = 2; length <= 1024; length *= 2) {
    parts.merges.emplace_back(static_cast<TokenId>(parts.tokens.size() - 1),
                              static_cast<TokenId>(parts.tokens.size() - 1));
    parts.tokens.emplace_back(length, 'a');
  }
  const std::string text(100'000, 'a');  // unigram: n·m, 10^8 steps
  const Tokenizer merges = Tokenizer::from_parts(parts);
  EXPECT_EQ(merges.decode(merges.encode(text)), text);
  parts.merges.clear();
  for (size_t id = 0; id < parts.tokens.size(); ++id) parts.scores.push_back(-static_cast<double>(id));
  const Tokenizer scores = Tokenizer::from_parts(parts);
  EXPECT_EQ(scores.encode(text), merges.encode(text));
  parts.kind = TokenizerKind::kUnigram;
  const Tokenizer unigram = Tokenizer::from_parts(parts);
  EXPECT_EQ(unigram.decode(unigram.encode(text)), text);
  parts.tokens.back().append(1, 'a');
  EXPECT_THROW(Tokenizer::from_parts(parts), Error);
  parts.scores.pop_back();
  EXPECT_THROW(Tokenizer::from_parts(parts), Error);
}

// An id without a token (here 3, below the added 4) says nothing, so that the blank after it begins the text.
TEST(Metaspace, UnusedIds) {
  TokenizerParts parts;
  parts.kind = TokenizerKind::kUnigram;
  parts.tokens = {"<unk>", " a", "b"};
  parts.scores = {0, -1, -2};
  parts.unk = 0;
  parts.added.push_back({.text = "<end>", .id = 4});
  parts.metaspace.strip = Metaspace::Strip::kFirstToken;
  const Tokenizer t = Tokenizer::from_parts(parts);
  const TokenId ids[] = {3, 1, 1, 2};
  std::string streamed;
  StreamingDecoder decoder(t);
  for (const TokenId id : ids) streamed += decoder.push(id);
  EXPECT_EQ(t.decode(ids), "a ab");
  EXPECT_EQ(streamed, "a ab");
  parts.unk = 3;
  EXPECT_THROW(Tokenizer::from_parts(parts), Error);
}

TEST(Metaspace, TokensBeyondTheModelAreLeftOut) {
  TokenizerParts parts = small_parts({});
  parts.added.push_back({.text = "<image>", .id = 259});
  parts.prefix = {259};
  const Tokenizer t = Tokenizer::from_parts(std::move(parts));
  EXPECT_EQ(t.vocab_size(), 260);
  EXPECT_EQ(t.within(300).vocab_size(), 260);
  const Tokenizer less = t.within(259);
  EXPECT_EQ(less.vocab_size(), 259);
  EXPECT_EQ(less.encode("<image>", true), less.encode("<image>"));
  EXPECT_TRUE(less.prefix().empty());
}

}  // namespace
}  // namespace tumbler::tokens
