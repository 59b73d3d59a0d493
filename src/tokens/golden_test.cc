// tokenizer.json files that Hugging Face's `tokenizers` trained and wrote, with the ids that it gives
// (tests/golden/make_tokenizers.py).
#include <nlohmann/json.hpp>

#include <gtest/gtest.h>

#include "io/file.h"
#include "tokens/bpe_trainer.h"
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

}  // namespace
}  // namespace tumbler::tokens
