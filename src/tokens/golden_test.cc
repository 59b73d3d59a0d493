// tokenizer.json files that Hugging Face's `tokenizers` trained and wrote, with the ids that it gives
// (tests/golden/make_tokenizers.py).
#include <nlohmann/json.hpp>

#include <gtest/gtest.h>

#include "io/file.h"
#include "tokens/bpe_trainer.h"
#include "tokens/streaming_decoder.h"
#include "tokens/tokenizer_json.h"

namespace tumbler::tokens {
namespace {

using Json = nlohmann::json;

const Json& golden() {
  static const Json json =
      Json::parse(io::read_file(std::filesystem::path(TUMBLER_SOURCE_DIR) / "tests/golden/tokenizers.json"));
  return json;
}

TEST(Golden, OthersFilesGiveOthersIds) {
  EXPECT_EQ(golden()["families"].size(), 8u);
  for (const auto& [name, family] : golden()["families"].items()) {
    const Tokenizer t = Tokenizer::from_parts(parse_tokenizer_json(family["tokenizer.json"].dump(), name));
    for (size_t i = 0; i < golden()["texts"].size(); ++i) {
      const auto text = golden()["texts"][i].get<std::string>();
      EXPECT_EQ(t.encode(text, true), family["ids"][i].get<std::vector<TokenId>>()) << name << ": " << text;
    }
  }
}

TEST(Golden, OurTrainerLearnsTheSameMerges) {
  for (const auto& [name, family] : golden()["families"].items()) {
    const Tokenizer theirs =
        Tokenizer::from_parts(parse_tokenizer_json(family["tokenizer.json"].dump(), name));
    if (theirs.parts().nfc || theirs.parts().add_prefix_space) continue;  // ours trains on text as it is
    PieceCounter counter(theirs.parts().pattern, 1, int64_t{1} << 30);
    counter.add(0, golden()["train_text"].get<std::string>());
    Progress none;
    EXPECT_EQ(train_merges(counter.take(), 330, 1, 0, none).merges, theirs.parts().merges) << name;
  }
}

const Json& metaspace_golden() {
  static const Json json = Json::parse(
      io::read_file(std::filesystem::path(TUMBLER_SOURCE_DIR) / "tests/golden/metaspace_tokenizers.json"));
  return json;
}

std::string streamed(const Tokenizer& t, const std::vector<TokenId>& ids, bool skip_special) {
  StreamingDecoder decoder(t, skip_special);
  std::string out;
  for (const TokenId id : ids) out += decoder.push(id);
  return out += decoder.flush();
}

void expect_same_as_others(const Tokenizer& t, const Json& family, const std::string& name) {
  const Json& texts = metaspace_golden()["texts"];
  EXPECT_EQ(std::vector<TokenId>(t.prefix().begin(), t.prefix().end()),
            family["prefix"].get<std::vector<TokenId>>());
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto text = texts[i].get<std::string>();
    const auto ids = family["ids"][i].get<std::vector<TokenId>>();
    // There a unigram model takes the name of a byte in a text as that byte, and decodes it to another text.
    if (t.parts().kind == TokenizerKind::kUnigram && !t.parts().byte_tokens.empty() &&
        text.find("<0x") != std::string::npos) {
      EXPECT_EQ(t.decode(t.encode(text)), text);
      continue;
    }
    EXPECT_EQ(t.encode(text, true), ids) << name << ": " << text;
    EXPECT_EQ(t.decode(ids), family["decoded"][i].get<std::string>()) << name << ": " << text;
    const auto plain = family["decoded_without_special"][i].get<std::string>();
    EXPECT_EQ(t.decode(ids, true), plain) << name << ": " << text;
    EXPECT_EQ(streamed(t, ids, true), plain) << name << ": " << text;
    EXPECT_EQ(streamed(t, ids, false), family["decoded"][i].get<std::string>()) << name << ": " << text;
  }
}

TEST(GoldenMetaspace, OthersFilesGiveOthersIdsAndTexts) {
  EXPECT_EQ(metaspace_golden()["families"].size(), 7u);
  for (const auto& [name, family] : metaspace_golden()["families"].items())
    expect_same_as_others(Tokenizer::from_parts(parse_tokenizer_json(family["tokenizer.json"].dump(), name)),
                          family, name);
}

TEST(GoldenMetaspace, WhatIsWrittenSaysTheSame) {
  for (const auto& [name, family] : metaspace_golden()["families"].items()) {
    const Tokenizer t = Tokenizer::from_parts(parse_tokenizer_json(family["tokenizer.json"].dump(), name));
    const std::string written = to_tokenizer_json(t);
    const Tokenizer again = Tokenizer::from_parts(parse_tokenizer_json(written, name));
    expect_same_as_others(again, family, name);
    EXPECT_EQ(to_tokenizer_json(again), written) << name;
  }
}

}  // namespace
}  // namespace tumbler::tokens
