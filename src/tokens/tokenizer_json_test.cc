#include "tokens/tokenizer_json.h"

#include <nlohmann/json.hpp>

#include <gtest/gtest.h>

#include "base/error.h"
#include "io/file.h"
#include "tokens/test_data.h"

namespace tumbler::tokens {
namespace {

using Json = nlohmann::json;
using testing_data::small_parts;
using testing_data::TemporaryDirectory;

Tokenizer small(Pattern pattern = Pattern::kQwen2) {
  return Tokenizer::from_parts(small_parts(
      {{"h", "e"}, {"l", "l"}, {"he", "ll"}, {" ", "w"}, {"hell", "o"}, {"\xC3", "\xA9"}}, pattern));
}

Json small_json() {
  return Json::parse(to_tokenizer_json(small()));
}

Tokenizer read(const Json& json) {
  return Tokenizer::from_parts(parse_tokenizer_json(json.dump(), "test"));
}

std::string error_of(const Json& json) {
  try {
    (void)read(json);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

const char kText[] = "hello world, h\xC3\xA9llo 12345 don't<|endoftext|>\n\n  x  ";

TEST(TokenizerJson, WhatIsWrittenReadsTheSame) {
  for (const Pattern pattern : {Pattern::kGpt2, Pattern::kDigits, Pattern::kCl100k, Pattern::kLlama3,
                                Pattern::kQwen2, Pattern::kQwen35, Pattern::kO200k, Pattern::kTekken}) {
    const Tokenizer t = small(pattern),
                    again = Tokenizer::from_parts(parse_tokenizer_json(to_tokenizer_json(t), "test"));
    EXPECT_EQ(again.parts().pattern, pattern);
    EXPECT_EQ(again.encode(kText, true), t.encode(kText, true));
    EXPECT_EQ(to_tokenizer_json(again), to_tokenizer_json(t));
    EXPECT_EQ(again.eos_id(), t.eos_id());
  }
}

TEST(TokenizerJson, DirectoryRoundTrip) {
  const TemporaryDirectory directory;
  save_tokenizer(small(), directory.path());
  for (const auto& path : {directory.path(), directory / "tokenizer.json"}) {
    const Tokenizer t = Tokenizer::load(path);
    EXPECT_EQ(t.encode(kText), small().encode(kText));
    EXPECT_EQ(t.bos_id(), small().bos_id());
    EXPECT_EQ(t.pad_id(), small().pad_id());
  }
  EXPECT_TRUE(io::read_file(directory / "merges.txt").starts_with("#version: 0.2\nh e\nl l\n"));
  EXPECT_EQ(Json::parse(io::read_file(directory / "vocab.json")).at("\u0120w"), 259);
  EXPECT_EQ(Json::parse(io::read_file(directory / "tokenizer_config.json")).at("chat_template"),
            chat_template());
}

TEST(TokenizerJson, MergesAsStringsAndVocabWithSpecials) {
  Json json = small_json();
  for (Json& merge : json["model"]["merges"])
    merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
  json["model"]["vocab"]["<|endoftext|>"] = json["added_tokens"][0]["id"];  // GPT-2's file lists it there too
  json["model"].erase("type");
  EXPECT_EQ(read(json).encode(kText, true), small().encode(kText, true));
  EXPECT_EQ(read(json).encode("<|endoftext|>"), small().encode("<|endoftext|>"));
}

// As SmolLM2's and those of GGUF files: readers find the id of such a token in the vocabulary alone.
TEST(TokenizerJson, AddedTokensAmongTheOthersAreInTheVocabulary) {
  TokenizerParts parts = small_parts({{"h", "e"}});
  parts.tokens.insert(parts.tokens.begin(), "");
  for (auto& [left, right] : parts.merges) ++left, ++right;
  for (AddedToken& token : parts.added) ++token.id;
  parts.added.push_back({.text = "<|first|>", .id = 0});
  const Tokenizer t = Tokenizer::from_parts(parts);
  const Json json = Json::parse(to_tokenizer_json(t));
  EXPECT_EQ(json["model"]["vocab"].at("<|first|>"), 0);
  EXPECT_FALSE(json["model"]["vocab"].contains("<|im_end|>")) << "it comes after the vocabulary";
  EXPECT_EQ(read(json).encode("he<|first|><|im_end|>", true), t.encode("he<|first|><|im_end|>", true));
}

TEST(TokenizerJson, PreTokenizersOfOthers) {
  const Json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  const auto pattern_of = [&](const Json& pre) {
    Json json = small_json();
    json["pre_tokenizer"] = pre;
    return read(json).parts().pattern;
  };
  EXPECT_EQ(pattern_of(byte_level), Pattern::kGpt2);
  EXPECT_EQ(pattern_of({{"type", "Sequence"},
                        {"pretokenizers", {{{"type", "Digits"}, {"individual_digits", true}}, byte_level}}}),
            Pattern::kDigits);
  Json split = {{"type", "Split"},
                {"behavior", "Removed"},
                {"invert", true},
                {"pattern", {{"Regex", pattern_regex(Pattern::kLlama3)}}}};
  Json plain = byte_level;
  plain["use_regex"] = false;
  EXPECT_EQ(pattern_of({{"type", "Sequence"}, {"pretokenizers", {split, plain}}}), Pattern::kLlama3);
}

TEST(TokenizerJson, WhatIsNotKnownIsNamed) {
  const auto with = [](const char* pointer, const Json& value) {
    Json json = small_json();
    json[Json::json_pointer(pointer)] = value;
    return error_of(json);
  };
  EXPECT_NE(with("/pre_tokenizer/pretokenizers/0/pattern/Regex", "\\w+|x").find("\\w+|x"), std::string::npos);
  EXPECT_NE(with("/pre_tokenizer", Json{{"type", "Metaspace"}}).find("Metaspace"), std::string::npos);
  EXPECT_NE(with("/pre_tokenizer", nullptr).find("Replace normalizer"), std::string::npos);
  EXPECT_NE(with("/model/type", "Unigram").find("unigram model of bytes"), std::string::npos);
  EXPECT_NE(with("/model/type", "WordPiece").find("WordPiece"), std::string::npos);
  EXPECT_NE(with("/model/byte_fallback", true).find("byte_fallback"), std::string::npos);
  EXPECT_NE(with("/model/end_of_word_suffix", "</w>").find("end_of_word_suffix"), std::string::npos);
  EXPECT_NE(with("/normalizer", Json{{"type", "Lowercase"}}).find("Lowercase"), std::string::npos);
  EXPECT_NE(with("/model/merges/0", "h").find("'h'"), std::string::npos);
  EXPECT_NE(with("/model/merges/0", Json{"h", "zz"}).find("zz"), std::string::npos);
  EXPECT_NE(with("/model/merges/0", Json{"h", "x"}), "no error");  // hx is no token
  EXPECT_NE(with("/model/merges/0", 7), "no error");
  EXPECT_NE(with("/model/vocab/x", 1 << 30), "no error");
  EXPECT_NE(with("/model/vocab/x", -1), "no error");
  EXPECT_NE(with("/model/vocab/x", 5), "no error");             // two tokens with one id
  EXPECT_NE(with("/model/vocab", Json::object()), "no error");  // no bytes
  EXPECT_NE(with("/added_tokens/0/id", 1 << 30), "no error");
  EXPECT_NE(with("/added_tokens/0", 1), "no error");
}

TEST(TokenizerJson, DamagedTextIsAnError) {
  const std::string text = to_tokenizer_json(small());
  for (const size_t size : {size_t{0}, size_t{1}, text.size() / 3, text.size() / 2, text.size() - 3})
    EXPECT_THROW(parse_tokenizer_json(text.substr(0, size), "test"), Error);
  for (const std::string bad : {"[]", "null", "{}", "{\"model\":{}}", "\xFF"})
    EXPECT_THROW(parse_tokenizer_json(bad, "test"), Error);
  EXPECT_THROW(parse_tokenizer_json(std::string(100000, '['), "test"), Error);
}

TEST(TokenizerConfig, NamesTheEnds) {
  TokenizerParts parts = small_parts({});
  apply_tokenizer_config(
      parts, R"({"eos_token":"<|im_end|>","pad_token":{"content":"<|im_start|>"},"bos_token":null})", "test");
  EXPECT_EQ(parts.eos, parts.added[2].id);
  EXPECT_EQ(parts.pad, parts.added[1].id);
  EXPECT_EQ(parts.bos, parts.added[0].id);
  EXPECT_THROW(apply_tokenizer_config(parts, "{", "test"), Error);
}

TEST(TokenizerConfig, NumbersBeyond64BitsAreNoMatter) {
  TokenizerParts parts = small_parts({});
  apply_tokenizer_config(
      parts, R"({"model_max_length":1000000000000000019884624838656,"eos_token":"<|im_end|>"})", "test");
  EXPECT_EQ(parts.eos, parts.added[2].id);
}

TEST(TokenizerConfig, AddBosTokenCountsWhereThereIsNoPostProcessor) {
  const std::string config = R"({"bos_token":"<|im_start|>","add_bos_token":true})";
  Json json = small_json();
  json["post_processor"] = nullptr;
  TokenizerParts parts = parse_tokenizer_json(json.dump(), "test");
  apply_tokenizer_config(parts, config, "test");
  EXPECT_EQ(parts.prefix, std::vector<TokenId>{parts.added[1].id});
  TokenizerParts said = parse_tokenizer_json(small_json().dump(), "test");  // ByteLevel: adds nothing
  apply_tokenizer_config(said, config, "test");
  EXPECT_TRUE(said.prefix.empty());
}

TEST(TokenizerJson, PrefixIsKept) {
  TokenizerParts parts = small_parts({});
  parts.prefix = {parts.added[1].id};
  const Tokenizer t = Tokenizer::from_parts(std::move(parts));
  EXPECT_EQ(parse_tokenizer_json(to_tokenizer_json(t), "test").prefix, t.parts().prefix);
  Json json = Json::parse(to_tokenizer_json(t));
  Json beyond = json;
  beyond["post_processor"]["processors"][1]["special_tokens"]["<|im_start|>"]["ids"] = {100000};
  EXPECT_NE(error_of(beyond).find("100000"), std::string::npos);
  json["post_processor"]["processors"][1]["special_tokens"] = Json::object();
  EXPECT_NE(error_of(json).find("TemplateProcessing"), std::string::npos);
}

}  // namespace
}  // namespace tumbler::tokens
