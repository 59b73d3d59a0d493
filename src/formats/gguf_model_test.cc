#include "formats/gguf_model.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.h"
#include "formats/gguf_rope.h"
#include "formats/gguf_testing.h"
#include "formats/gguf_tokenizer.h"
#include "nn/test_models.h"
#include "tokens/tokenizer_json.h"

namespace tumbler::formats {
namespace {

namespace fs = std::filesystem;
using kernels::DType;
using kernels::WeightType;

class GgufModel : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    path_ = fs::temp_directory_path() / fmt::format("tumbler_gguf_model_{}.gguf", ::getpid());
  }
  void TearDown() override { fs::remove(path_); }
  static nn::ModelConfig config_of(const std::string& name) {
    nn::ModelConfig c = nn::tiny_config(name);
    if (name == "llama_bias") c.mlp = "silu_glu";
    c.attention_scale = 0;  // GGUF has no key for it
    c.vocab_size = 264;
    return c;
  }
  static nn::Parameters random(const nn::ModelConfig& c) {
    nn::Parameters p(c, {.gradients = false});
    nn::randomize(p, 5);
    return p;
  }
  fs::path path_;
};
INSTANTIATE_TEST_SUITE_P(Families, GgufModel, testing::ValuesIn(nn::tiny_names()),
                         [](const auto& test) { return test.param; });

TEST_P(GgufModel, SurvivesAFile) {
  nn::ModelConfig c = config_of(GetParam());
  if (GetParam() == "llama") {
    c.rope_scaling = "llama3";
    c.rope_factor = 8;
    c.rope_original_positions = 16;
  } else if (GetParam() == "qwen3") {
    c.rope_scaling = "linear";
    c.rope_factor = 4;
  }
  const nn::Parameters p = random(c);
  const tokens::Tokenizer tokenizer = small_tokenizer();
  const ModelFiles files{
      .dtype = DType::f32, .bos_token_id = 257, .eos_token_ids = {257, 258}, .pad_token_id = 258};
  const GgufSummary summary = save_gguf(path_, p, files, &tokenizer,
                                        {.type = WeightType::f32, .name = "x", .chat_template = "{{ x }}"});
  EXPECT_EQ(summary.size_bytes, static_cast<int64_t>(fs::file_size(path_)));
  EXPECT_TRUE(summary.fallbacks.empty());
  const GgufFile file(path_);
  const LoadedModel model = load_gguf(file, {.gradients = false});
  EXPECT_EQ(model.config, c);
  EXPECT_EQ(model.files.dtype, DType::f32);
  EXPECT_EQ(model.files.bos_token_id, 257);
  EXPECT_EQ(model.files.eos_token_ids, (std::vector<int64_t>{257, 258}));
  EXPECT_EQ(model.files.pad_token_id, 258);
  EXPECT_EQ(file.find_text("tokenizer.chat_template"), "{{ x }}");
  for (const nn::Tensor& t : p.tensors()) {
    const auto expected = p.master(t),
               got = std::as_const(*model.parameters).master(*model.parameters->find(t.name));
    ASSERT_EQ(std::memcmp(expected.data(), got.data(), expected.size_bytes()), 0) << t.name;
  }
}

TEST_P(GgufModel, ShapesAndTypesAreThoseOfLlamaCpp) {
  const nn::ModelConfig c = config_of(GetParam());
  const nn::Parameters p = random(c);
  save_gguf(path_, p, {}, nullptr, {.type = WeightType::f16, .name = "", .chat_template = ""});
  const GgufFile file(path_);
  const auto expect = [&](const char* name, const std::vector<int64_t>& shape, WeightType type) {
    const auto t = file.contents().find_tensor(name);
    ASSERT_TRUE(t.has_value()) << name;
    EXPECT_EQ(t->shape, shape) << name;
    EXPECT_EQ(t->type, type) << name;
  };
  expect("token_embd.weight", {264, c.n_embd}, WeightType::f16);
  expect("blk.1.attn_norm.weight", {c.n_embd}, WeightType::f32);
  expect("blk.1.ffn_down.weight", {c.n_embd, c.n_ff}, WeightType::f16);
  if (GetParam() == "gpt2") {
    expect("blk.0.attn_qkv.weight", {72, 24}, WeightType::f16);
    expect("position_embd.weight", {24, 24}, WeightType::f32);
    expect("blk.0.ffn_up.bias", {20}, WeightType::f32);
  } else {
    expect("blk.0.attn_k.weight", {16, 18}, WeightType::f16);
    expect("blk.0.attn_output.weight", {18, 32}, WeightType::f16);
    expect("blk.0.ffn_gate.weight", {20, 18}, WeightType::f16);
  }
  EXPECT_EQ(file.contents().find_tensor("output.weight").has_value(), GetParam() == "llama_untied");
}

// Directory → file of each type → directory → file: after the first rounding nothing is lost, and types whose
// scale follows from their largest value are the same bytes again.
TEST_P(GgufModel, EveryTypeGoesThroughADirectory) {
  nn::ModelConfig c = config_of(GetParam());
  c.n_embd = c.n_ff = 256;
  if (c.family == "gpt2") c.n_head = c.n_kv_head = 4;
  c.head_dim = 64;
  if (c.family == "gemma3") c.embedding_scale = nn::gemma_embedding_scale(c.n_embd);
  const nn::Parameters p = random(c);
  const ModelFiles files{.dtype = DType::f32};
  const fs::path directory = path_.string() + ".directory";
  for (const WeightType type : {WeightType::f32, WeightType::f16, WeightType::bf16, WeightType::q8_0,
                                WeightType::q4_0, WeightType::q4_1, WeightType::q5_0, WeightType::q5_1,
                                WeightType::q4_k, WeightType::q5_k, WeightType::q6_k}) {
    const GgufOptions options{.type = type, .name = "x", .chat_template = ""};
    save_gguf(path_, p, files, nullptr, options);
    const std::string bytes = io::read_file(path_);
    const LoadedModel first = load_gguf(GgufFile(path_), {.gradients = false});
    save_model(directory, *first.parameters, files);
    const LoadedModel back = load_model(directory, {.gradients = false});
    EXPECT_EQ(back.config, c);
    for (const nn::Tensor& t : p.tensors()) {
      // Gemma's norms are stored less 1, which may take their last bits.
      const float tolerance = c.family == "gemma3" && t.kind == nn::TensorKind::norm ? 3e-7f : 0;
      const auto x = std::as_const(*first.parameters).master(t),
                 y = std::as_const(*back.parameters).master(t);
      for (size_t i = 0; i < x.size(); ++i)
        ASSERT_NEAR(x[i], y[i], tolerance) << t.name << " " << kernels::weight_type_name(type);
    }
    const bool same_again = type == WeightType::f32 || type == WeightType::f16 || type == WeightType::bf16 ||
                            type == WeightType::q8_0;
    if (same_again && c.family != "gemma3") {
      save_gguf(path_, *back.parameters, files, nullptr, options);
      EXPECT_EQ(io::read_file(path_), bytes) << kernels::weight_type_name(type);
    }
  }
  fs::remove_all(directory);
}

// A damaged file of a model: an error, whatever was changed in its metadata or table.
// llama.cpp #25821: more layers than there is room for.
TEST_P(GgufModel, DamageIsAnErrorOrHarmless) {
  const nn::Parameters p = random(config_of(GetParam()));
  const tokens::Tokenizer tokenizer = small_tokenizer();
  save_gguf(path_, p, {.eos_token_ids = {257}}, &tokenizer,
            {.type = WeightType::q8_0, .name = "", .chat_template = ""});
  const std::string bytes = io::read_file(path_);
  const size_t begin = bytes.find("general.architecture"), end = bytes.find("output_norm.weight");
  const std::string architecture = p.config().family;
  for (const std::string key : {"block_count", "context_length", "embedding_length", "feed_forward_length",
                                "vocab_size", "attention.head_count"}) {
    std::string changed = bytes;
    const size_t at = changed.find(architecture + "." + key, begin);
    ASSERT_LT(at, end) << key;
    const size_t value = at + architecture.size() + 1 + key.size() + 4;
    for (const uint32_t bad : {0u, 3u, 1u << 20, 0xffffffffu}) {
      if (bad == 3 && key == "attention.head_count" && architecture == "gpt2") continue;  // as it is
      if (bad == 3 && key == "block_count" && architecture == "gemma3") continue;
      std::memcpy(changed.data() + value, &bad, 4);
      io::write_file(path_, changed);
      if (key == "context_length" && architecture != "gpt2" && bad != 0 && bad != 0xffffffffu) continue;
      EXPECT_THROW(load_gguf(GgufFile(path_), {.gradients = false}), Error) << key << " " << bad;
    }
  }
}

TEST(GgufRows, OfAHeadAreInterleaved) {
  // Rows 0..7 of a head of 8: the first half goes to even places, the second to odd ones.
  const std::vector<int64_t> expected = {0, 2, 4, 6, 1, 3, 5, 7};
  for (int64_t r = 0; r < 16; ++r)
    EXPECT_EQ(gguf_row(r, 8), r / 8 * 8 + expected[static_cast<size_t>(r % 8)]);
}

// What llama.cpp computes for gemma3 is all that a file can say.
TEST(GgufGemma, ScalesAndWindows) {
  const fs::path path = fs::temp_directory_path() / fmt::format("tumbler_gguf_gemma_{}.gguf", ::getpid());
  nn::ModelConfig c = nn::tiny_config("gemma3");
  const auto save = [&] {
    const nn::Parameters p(c, {.gradients = false});
    save_gguf(path, p, {}, nullptr, {.type = WeightType::f32, .name = "", .chat_template = ""});
    return GgufFile(path);
  };
  EXPECT_THROW(save(), Error);  // a scale of its own
  c.attention_scale = 0;
  const GgufFile file = save();
  EXPECT_EQ(file.get_integer("gemma3.attention.sliding_window"), 4);
  EXPECT_EQ(file.get_integer("gemma3.attention.sliding_window_pattern"), 2);
  EXPECT_EQ(file.find_number("gemma3.rope.freq_base_swa"), 30);
  EXPECT_EQ(read_gguf_config(file), c);
  c.n_layer = 62;
  c.attention_scale = 1 / std::sqrt(4.0);  // n_embd 18 / n_head 4, in whole numbers
  EXPECT_EQ(read_gguf_config(save()), c);
  c.sliding_window = c.global_every = 0;
  c.rope_theta_local = 1e4;
  EXPECT_EQ(read_gguf_config(save()), c);
  fs::remove(path);
}

TEST(GgufGemma, OlderOnesAreRefusedByName) {
  const fs::path path = fs::temp_directory_path() / fmt::format("tumbler_gguf_gemma_{}.gguf", ::getpid());
  GgufWriter w;
  w.set_text("general.architecture", "gemma2");
  w.write(path);
  try {
    read_gguf_config(GgufFile(path));
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("only Gemma 3 can be run"), std::string::npos) << e.what();
  }
  fs::remove(path);
}

TEST(GgufRope, DivisorsOfLlama32) {
  nn::ModelConfig c = nn::family_defaults("llama");
  c.head_dim = 64;
  c.rope_theta = 5e5;
  c.rope_scaling = "llama3";
  c.rope_factor = 32;
  const std::vector<float> d = rope_divisors(c);
  // Waves of 2*pi*theta^(2i/64): those below 8192/4 stay, those above 8192 are stretched 32 times.
  EXPECT_EQ(d.size(), 32u);
  EXPECT_EQ(d[0], 1);
  EXPECT_EQ(d[14], 1);   // wave 1956
  EXPECT_GT(d[15], 1);   // wave 2948
  EXPECT_LT(d[17], 32);  // wave 6694
  EXPECT_EQ(d[18], 32);  // wave 10088
  EXPECT_EQ(d[31], 32);
}

class GgufTokens : public testing::Test {
 protected:
  void SetUp() override {
    path_ = fs::temp_directory_path() / fmt::format("tumbler_gguf_tok_{}.gguf", ::getpid());
  }
  void TearDown() override { fs::remove(path_); }
  // A file of metadata alone.
  GgufFile with(const std::vector<std::string>& tokens, const std::vector<std::string>& merges,
                const std::vector<int32_t>& kinds, const std::function<void(GgufWriter&)>& more = {},
                const char* pre = "qwen2", const char* model = "gpt2") {
    GgufWriter w;
    w.set_text("tokenizer.ggml.model", model);
    w.set_text("tokenizer.ggml.pre", pre);
    w.set_texts("tokenizer.ggml.tokens", tokens);
    if (!kinds.empty()) w.set_i32s("tokenizer.ggml.token_type", kinds);
    w.set_texts("tokenizer.ggml.merges", merges);
    if (more) more(w);
    w.write(path_);
    return GgufFile(path_);
  }
  static std::vector<std::string> bytes_and(const std::vector<std::string>& more) {
    std::vector<std::string> tokens;
    for (const uint8_t b : tokens::byte_level_order())
      tokens.push_back(tokens::to_byte_level(std::string(1, static_cast<char>(b))));
    tokens.insert(tokens.end(), more.begin(), more.end());
    return tokens;
  }
  fs::path path_;
};

TEST_F(GgufTokens, SurviveAFile) {
  for (const tokens::Pattern pattern :
       {tokens::Pattern::kGpt2, tokens::Pattern::kDigits, tokens::Pattern::kLlama3, tokens::Pattern::kQwen2,
        tokens::Pattern::kQwen35, tokens::Pattern::kO200k}) {
    const tokens::Tokenizer t = small_tokenizer(pattern);
    GgufWriter w;
    write_gguf_tokenizer(w, t, 264, {.eos_token_ids = {257, 258}}, "");
    w.write(path_);
    const GgufFile file(path_);
    const tokens::Tokenizer back = read_gguf_tokenizer(file);
    EXPECT_EQ(back.parts().pattern, pattern);
    EXPECT_EQ(back.parts().merges, t.parts().merges);
    EXPECT_EQ(back.parts().ignore_merges, t.parts().ignore_merges);
    EXPECT_EQ(back.parts().nfc, t.parts().nfc) << tokens::pattern_name(pattern);
    EXPECT_EQ(back.bos_id(), 257);
    EXPECT_EQ(back.eos_id(), 257);
    EXPECT_TRUE(back.is_special(258));
    EXPECT_FALSE(back.is_special(260));
    EXPECT_TRUE(back.is_added(260));
    EXPECT_FALSE(back.has(259));
    const std::string text = "caf\xC3\xA9 the\x01\xFF 12 <think>";
    EXPECT_EQ(back.encode(text), t.encode(text));
    EXPECT_EQ(back.encode("a<|im_end|><think>", true), t.encode("a<|im_end|><think>", true));
    ModelFiles files;
    read_gguf_token_ids(file, 264, files);
    EXPECT_EQ(files.bos_token_id, 257);
    EXPECT_TRUE(back.prefix().empty()) << "the tokenizer names one, but it is not put before text";
    EXPECT_EQ(files.eos_token_ids, (std::vector<int64_t>{257, 258}));
  }
  GgufWriter w;
  EXPECT_THROW(write_gguf_tokenizer(w, small_tokenizer(tokens::Pattern::kCl100k), 264, {}, ""), Error);
}

TEST_F(GgufTokens, WrongListsAreErrors) {
  const std::vector<std::string> tokens = bytes_and({"ab", "<x>"});
  const std::vector<int32_t> kinds(258, 1);
  const auto refused = [&](const GgufFile& file, const char* part) {
    try {
      read_gguf_tokenizer(file);
      ADD_FAILURE() << "accepted, expected " << part;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    }
  };
  EXPECT_EQ(read_gguf_tokenizer(with(tokens, {"a b"}, kinds)).encode("ab"),
            std::vector<tokens::TokenId>{256});
  EXPECT_EQ(read_gguf_tokenizer(with(tokens, {"a b"}, {})).encode("ab"), std::vector<tokens::TokenId>{256});
  refused(with(tokens, {"a b"}, kinds, {}, "no-such"), "tokenizer.ggml.pre: got 'no-such'");
  refused(with(tokens, {"a b"}, kinds, {}, "qwen2", "bert"), "tokenizer.ggml.model: got 'bert'");
  refused(with(tokens, {"a b"}, {1, 1}), "token_type: got 2 elements");
  refused(with(tokens, {"a b"}, std::vector<int32_t>(258, 7)), "token_type: got 7");
  refused(with(tokens, {"ab"}, kinds), "expected two tokens and a blank");
  refused(with(tokens, {"a no"}, kinds), "'no', which is no token");
  refused(with(tokens, {"b a"}, kinds), "gives no token");
  refused(with({}, {}, {}), "tokenizer.ggml.tokens: missing");
  refused(with({"a", "b", "ab"}, {"a b"}, {}), "has no token");
  for (const char* key :
       {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id", "tokenizer.ggml.padding_token_id"})
    for (const uint32_t id : {258u, 0x7fffffffu, 0xffffffffu}) {
      const GgufFile file = with(tokens, {"a b"}, kinds, [&](GgufWriter& w) {
        w.set_u32(key, id);
        w.set_flag("tokenizer.ggml.add_bos_token", true);
      });
      refused(file, key);
      ModelFiles files;
      EXPECT_THROW(read_gguf_token_ids(file, 258, files), Error);
    }
}

TEST_F(GgufTokens, WhatBeginsAPromptSurvives) {
  tokens::TokenizerParts parts = small_tokenizer().parts();
  parts.prefix = {258};
  GgufWriter w;
  write_gguf_tokenizer(w, tokens::Tokenizer::from_parts(parts), 264, {}, "");
  w.write(path_);
  EXPECT_EQ(read_gguf_tokenizer(GgufFile(path_)).parts().prefix, std::vector<tokens::TokenId>{258});
  parts.prefix = {258, 257};
  GgufWriter two;
  EXPECT_THROW(write_gguf_tokenizer(two, tokens::Tokenizer::from_parts(parts), 264, {}, ""), Error);
}

// "sentencepiece" and "sentencepiece_unigram" are models of SentencePiece's own, "families" tokenizer.json
// files.
const nlohmann::json& metaspace_golden(const char* part) {
  static const auto json = nlohmann::json::parse(
      io::read_file(fs::path(TUMBLER_SOURCE_DIR) / "tests/golden/metaspace_tokenizers.json"));
  return json.at(part);
}

// Metadata as converters write them for a SentencePiece model.
void write_pieces(GgufWriter& w, const std::vector<std::string>& pieces, const std::vector<int32_t>& kinds,
                  const std::vector<float>& scores, const char* model = "llama") {
  w.set_text("tokenizer.ggml.model", model);
  w.set_text("tokenizer.ggml.pre", "default");
  w.set_texts("tokenizer.ggml.tokens", pieces);
  w.set_i32s("tokenizer.ggml.token_type", kinds);
  w.set_f32s("tokenizer.ggml.scores", scores);
  w.set_u32("tokenizer.ggml.bos_token_id", 1);
}

void expect_sentence_piece_ids(const tokens::Tokenizer& t, const char* part = "sentencepiece") {
  const auto& golden = metaspace_golden(part);
  const auto& texts = golden["texts"];
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto text = texts[i].get<std::string>();
    const auto ids = golden["ids"][i].get<std::vector<tokens::TokenId>>();
    EXPECT_EQ(t.encode(text), ids) << text;
    EXPECT_EQ(t.decode(ids), golden["decoded"][i].get<std::string>()) << text;
  }
}

TEST_F(GgufTokens, SentencePieceModelsGiveItsIds) {
  const auto& golden = metaspace_golden("sentencepiece");
  GgufWriter w;
  write_pieces(w, golden["pieces"], golden["types"], golden["scores"]);
  w.write(path_);
  const tokens::Tokenizer t = read_gguf_tokenizer(GgufFile(path_));
  EXPECT_EQ(t.parts().unk, 0);
  EXPECT_EQ(t.parts().prefix, std::vector<tokens::TokenId>{1});
  expect_sentence_piece_ids(t);
  // As tokenizer.json, whose merges come from the scores; and as a GGUF file of that, whose scores come from
  // the merges.
  const std::string json = to_tokenizer_json(t);
  const auto again = tokens::Tokenizer::from_parts(tokens::parse_tokenizer_json(json, "test"));
  EXPECT_GT(again.parts().merges.size(), 100u);
  expect_sentence_piece_ids(again);
  GgufWriter second;
  write_gguf_tokenizer(second, again, again.vocab_size() + 3, {}, "");
  second.write(path_);
  const tokens::Tokenizer back = read_gguf_tokenizer(GgufFile(path_));
  expect_sentence_piece_ids(back);
  EXPECT_EQ(to_tokenizer_json(back), json);
}

// The same of a unigram model: its scores are log-probabilities, and stay what they are.
TEST_F(GgufTokens, UnigramModelsGiveSentencePiecesIds) {
  const char* part = "sentencepiece_unigram";
  const auto& golden = metaspace_golden(part);
  GgufWriter w;
  write_pieces(w, golden["pieces"], golden["types"], golden["scores"], "t5");
  w.set_i32s("tokenizer.ggml.precompiled_charsmap", std::vector<int32_t>{});
  w.write(path_);
  const tokens::Tokenizer t = read_gguf_tokenizer(GgufFile(path_));
  EXPECT_EQ(t.parts().kind, tokens::TokenizerKind::kUnigram);
  EXPECT_TRUE(t.parts().prefix.empty()) << "not before prompts, unless add_bos_token says so";
  expect_sentence_piece_ids(t, part);
  const std::string json = to_tokenizer_json(t);
  const auto again = tokens::Tokenizer::from_parts(tokens::parse_tokenizer_json(json, "test"));
  expect_sentence_piece_ids(again, part);
  GgufWriter second;
  write_gguf_tokenizer(second, again, again.vocab_size() + 3, {}, "");
  second.write(path_);
  EXPECT_EQ(GgufFile(path_).get_text("tokenizer.ggml.model"), "t5");
  const tokens::Tokenizer back = read_gguf_tokenizer(GgufFile(path_));
  expect_sentence_piece_ids(back, part);
  EXPECT_EQ(to_tokenizer_json(back), json);
}

TEST_F(GgufTokens, UnigramFilesOfOthersSurvive) {
  for (const char* name : {"unigram", "unigram_bytes"}) {
    const auto& family = metaspace_golden("families")[name];
    const auto t =
        tokens::Tokenizer::from_parts(tokens::parse_tokenizer_json(family["tokenizer.json"].dump(), name));
    GgufWriter w;
    write_gguf_tokenizer(w, t, t.vocab_size(), {}, "");
    w.write(path_);
    const tokens::Tokenizer back = read_gguf_tokenizer(GgufFile(path_));
    EXPECT_EQ(back.prefix().size(), t.prefix().size());
    // What others read otherwise is said.
    nn::ModelConfig c = nn::tiny_config("llama");
    c.vocab_size = t.vocab_size();
    const nn::Parameters p(c, {.gradients = false});
    const GgufSummary summary =
        save_gguf(path_, p, {}, &t, {.type = WeightType::f32, .name = "", .chat_template = ""});
    EXPECT_EQ(summary.fallbacks.size(), t.parts().byte_tokens.empty() ? 0u : 1u) << name;
    int same = 0;
    for (const auto& json : metaspace_golden("texts")) {
      const auto text = json.get<std::string>();
      // GGUF cannot say that a blank goes before a text unless there is one, nor that a token takes blanks
      // along.
      if (text.starts_with(' ') || text.starts_with("▁") || text.find("<tag>") != std::string::npos) continue;
      EXPECT_EQ(back.encode(text), t.encode(text)) << name << text;
      ++same;
    }
    EXPECT_GE(same, 15);
  }
  tokens::TokenizerParts parts;  // of several words, where words are split
  parts.kind = tokens::TokenizerKind::kUnigram;
  parts.tokens = {"<unk>", " a", " a b"};
  parts.scores = {0, -1, -2};
  parts.unk = 0;
  parts.metaspace.split = true;
  GgufWriter w;
  EXPECT_THROW(write_gguf_tokenizer(w, tokens::Tokenizer::from_parts(parts), 3, {}, ""), Error);
}

// What rewrites text is refused by name, not left out.
TEST_F(GgufTokens, UnigramModelsThatRewriteTextAreRefused) {
  const auto said = [&](auto&& set) {
    GgufWriter w;
    write_pieces(w, {"<unk>", "<s>", "a"}, {2, 3, 1}, {0, 0, -1}, "t5");
    set(w);
    w.write(path_);
    try {
      read_gguf_tokenizer(GgufFile(path_));
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_EQ(said([](GgufWriter&) {}), "");
  const std::string table = said([](GgufWriter& w) {
    w.set_i32s("tokenizer.ggml.precompiled_charsmap", std::vector<int32_t>{1, 2});
  });
  EXPECT_NE(table.find("precompiled_charsmap: got a table of 2 bytes"), std::string::npos) << table;
  for (const char* key :
       {"tokenizer.ggml.remove_extra_whitespaces", "tokenizer.ggml.treat_whitespace_as_suffix"}) {
    EXPECT_EQ(said([&](GgufWriter& w) { w.set_flag(key, false); }), "");
    const std::string flag = said([&](GgufWriter& w) { w.set_flag(key, true); });
    EXPECT_NE(flag.find(key), std::string::npos) << flag;
  }
}

TEST_F(GgufTokens, DamagedSentencePieceModelsAreErrors) {
  const auto refused = [&](const std::vector<std::string>& pieces, const std::vector<int32_t>& kinds,
                           const std::vector<float>& scores, const char* part) {
    GgufWriter w;
    write_pieces(w, pieces, kinds, scores);
    w.write(path_);
    try {
      read_gguf_tokenizer(GgufFile(path_));
      ADD_FAILURE() << "accepted, expected " << part;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    }
  };
  // #25969: <0x-1> as a byte wrote before an array.
  for (const char* byte : {"<0x-1>", "<0x+1>", "<0x 1>", "<0x1>", "<0x001>", "<0xGG>", "0x41", "<0x41", ""})
    refused({"<unk>", "<s>", byte}, {2, 3, 6}, {0, 0, 0}, "as a byte");
  refused({"<0x41>", "<s>", "<0x41>"}, {6, 3, 6}, {0, 0, 0}, "once each");
  refused({"<unk>", "<s>", "a"}, {2, 3, 1}, {0, 0}, "scores: got 2 elements");
  refused({"<unk>", "<s>", "a"}, {2, 3, 1}, {0, 0, std::nanf("")}, "a score of nan");
  refused({"<unk>", "<s>", std::string(3 << 20, 'x')}, {2, 3, 1}, {0, 0, 0}, "at most 1024");
  const auto& trained = metaspace_golden("families");
  for (const char* name : {"gemma", "bpe_without_bytes"}) {
    GgufWriter w;
    const auto t = tokens::Tokenizer::from_parts(
        tokens::parse_tokenizer_json(trained[name]["tokenizer.json"].dump(), name));
    EXPECT_THROW(write_gguf_tokenizer(w, t, t.vocab_size(), {}, ""), Error) << name;
  }
}

// #25969: a byte token spelled <0x-1>. CVE-2025-49847: a token longer than callers' buffers. Here both are
// texts.
TEST_F(GgufTokens, OddTokensAreTexts) {
  const std::string longest(3 << 20, 'x');
  std::vector<int32_t> kinds(258, 1);
  kinds[256] = 6;
  const tokens::Tokenizer t = read_gguf_tokenizer(with(bytes_and({"<0x-1>", longest}), {}, kinds));
  EXPECT_EQ(t.token_bytes(256), "<0x-1>");
  EXPECT_EQ(t.token_bytes(257).size(), longest.size());
}

// A file may announce any sizes: all shapes are compared before memory is taken.
TEST(GgufModelFile, AnnouncedSizesMustBeThere) {
  const fs::path path = fs::temp_directory_path() / fmt::format("tumbler_gguf_size_{}.gguf", ::getpid());
  GgufWriter w;
  w.set_text("general.architecture", "llama");
  for (const char* key : {"llama.context_length", "llama.feed_forward_length", "llama.embedding_length"})
    w.set_u32(key, 65536);
  w.set_u32("llama.block_count", 1);
  w.set_u32("llama.attention.head_count", 512);
  const std::vector<float> row(32, 1);
  w.add("token_embd.weight", {1, 32}, WeightType::f32,
        [&](const GgufWriter::Sink& sink) { sink(std::as_bytes(std::span(row))); });
  w.write(path);
  EXPECT_THROW(load_gguf(GgufFile(path), {.gradients = false}), Error);
  fs::remove(path);
}

TEST(GgufTypes, FallBackByRowLength) {
  const fs::path path = fs::temp_directory_path() / fmt::format("tumbler_gguf_types_{}.gguf", ::getpid());
  nn::ModelConfig c = nn::tiny_config("qwen3");
  c.n_embd = 256;
  c.n_ff = 96;
  c.n_head = 5;  // 5 * 8 = 40: no block fits
  c.n_kv_head = 1;
  nn::Parameters p(c, {.gradients = false});
  nn::randomize(p, 1);
  const auto type_of = [&](WeightType wanted, const char* name) {
    save_gguf(path, p, {}, nullptr, {.type = wanted, .name = "", .chat_template = ""});
    return GgufFile(path).contents().find_tensor(name)->type;
  };
  EXPECT_EQ(type_of(WeightType::q4_k, "blk.0.attn_q.weight"), WeightType::q4_k);
  EXPECT_EQ(type_of(WeightType::q4_k, "blk.0.ffn_down.weight"), WeightType::q5_0);
  EXPECT_EQ(type_of(WeightType::q4_k, "blk.0.attn_output.weight"), WeightType::f16);
  EXPECT_EQ(type_of(WeightType::q4_k, "token_embd.weight"), WeightType::q6_k);
  EXPECT_EQ(type_of(WeightType::q5_k, "blk.0.ffn_down.weight"), WeightType::q5_1);
  EXPECT_EQ(type_of(WeightType::q6_k, "blk.0.ffn_down.weight"), WeightType::q8_0);
  EXPECT_EQ(type_of(WeightType::q8_0, "blk.0.attn_output.weight"), WeightType::f16);
  EXPECT_EQ(type_of(WeightType::q4_k, "blk.0.attn_q_norm.weight"), WeightType::f32);
  const GgufSummary summary =
      save_gguf(path, p, {}, nullptr, {.type = WeightType::q4_k, .name = "", .chat_template = ""});
  ASSERT_EQ(summary.fallbacks.size(), 3u);
  EXPECT_TRUE(summary.fallbacks[0].starts_with("2 × f16: rows of 40 "));
  p.master(*p.find("layers.1.up"))[7] = std::nanf("");
  EXPECT_THROW(save_gguf(path, p, {}, nullptr, {}), Error);
  fs::remove(path);
}

// Values of a quantised file: a scale that is infinite is damage that no size shows.
TEST(GgufModelFile, InfiniteScalesAreDamage) {
  const fs::path path = fs::temp_directory_path() / fmt::format("tumbler_gguf_inf_{}.gguf", ::getpid());
  nn::ModelConfig c = nn::tiny_config("qwen3");
  c.n_embd = 32;
  nn::Parameters p(c, {.gradients = false});
  nn::randomize(p, 1);
  save_gguf(path, p, {}, nullptr, {.type = WeightType::q8_0, .name = "", .chat_template = ""});
  load_gguf(GgufFile(path), {.gradients = false});
  std::string bytes = io::read_file(path);
  size_t at = 0;
  {
    const GgufFile file(path);
    const GgufTensor t = *file.contents().find_tensor("blk.0.attn_q.weight");
    at = bytes.find(std::string_view(reinterpret_cast<const char*>(t.bytes.data()), t.bytes.size()));
  }
  ASSERT_NE(at, std::string::npos);
  bytes[at] = 0;
  bytes[at + 1] = 0x7c;
  io::write_file(path, bytes);
  EXPECT_THROW(load_gguf(GgufFile(path), {.gradients = false}), Error);
  fs::remove(path);
}

}  // namespace
}  // namespace tumbler::formats
