#include "formats/hub.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace tumbler::formats {
namespace {

TEST(Hub, ParsesNames) {
  const HubModel plain = parse_hub_model("hf:some-one/A.model_1");
  EXPECT_EQ(plain.repository, "some-one/A.model_1");
  EXPECT_EQ(plain.revision, "main");
  EXPECT_EQ(plain.file, "");
  const HubModel all = parse_hub_model("hf:a/b@v1.0:sub/m-q4_0.gguf");
  EXPECT_EQ(all.repository, "a/b");
  EXPECT_EQ(all.revision, "v1.0");
  EXPECT_EQ(all.file, "sub/m-q4_0.gguf");
  EXPECT_EQ(hub_file_url("http://h", all, all.file), "http://h/a/b/resolve/v1.0/sub/m-q4_0.gguf");
  EXPECT_EQ(hub_tree_url("http://h", plain),
            "http://h/api/models/some-one/A.model_1/tree/main?recursive=true");
}

TEST(Hub, RefusesNamesThatAreNoNames) {
  for (const char* bad :
       {"", "hf:", "hf:a", "hf:a/", "hf:/b", "a/b", "hf:a/b/c", "hf:../b", "hf:a/..",
        "hf:a/b:", "hf:a/b:../x", "hf:a/b:/etc/passwd", "hf:a/b@:x", "hf:a/b@..:x", "hf:a/b c", "hf:a/b?x"})
    EXPECT_THROW(parse_hub_model(bad), Error) << bad;
}

constexpr const char* kTree = R"([
  {"type": "directory", "path": "onnx", "size": 0},
  {"type": "file", "path": ".gitattributes", "size": 10},
  {"type": "file", "path": "../../evil.safetensors", "size": 10},
  {"type": "file", "path": "README.md", "size": 900},
  {"type": "file", "path": "config.json", "size": 700},
  {"type": "file", "path": "tokenizer.json", "size": 2000},
  {"type": "file", "path": "onnx/model.safetensors", "size": 3},
  {"type": "file", "path": "model.safetensors", "size": 5000, "lfs": {"oid": "ab12", "size": 5000}}])";

TEST(Hub, ChoosesWhatAModelNeeds) {
  const auto files = parse_hub_files(kTree, "a/b");
  EXPECT_EQ(files.size(), 5u);
  const auto chosen = choose_files(files, {.repository = "a/b"});
  ASSERT_EQ(chosen.size(), 3u);
  EXPECT_EQ(chosen[2].path, "model.safetensors");
  EXPECT_EQ(chosen[2].sha256, "ab12");
  EXPECT_EQ(chosen[2].size_bytes, 5000);
  EXPECT_EQ(choose_files(files, {.repository = "a/b", .file = "README.md"}).size(), 1u);
  EXPECT_THROW(choose_files(files, {.repository = "a/b", .file = "none.gguf"}), Error);
}

TEST(Hub, OneGgufIsTakenAndSeveralAreListed) {
  std::vector<HubFile> files = {{"m-q8_0.gguf", 100, ""}, {"README.md", 5, ""}};
  EXPECT_EQ(choose_files(files, {.repository = "a/b"}).at(0).path, "m-q8_0.gguf");
  files.push_back({"m-q4_0.gguf", 50, ""});
  try {
    choose_files(files, {.repository = "a/b"});
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("hf:a/b:m-q8_0.gguf"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("m-q4_0.gguf"), std::string::npos) << e.what();
  }
  EXPECT_THROW(choose_files({{"README.md", 5, ""}}, {.repository = "a/b"}), Error);
}

TEST(Hub, RefusesAnswersThatAreNoLists) {
  for (const char* bad :
       {"", "{}", "[{\"type\": \"file\"}]", "[{\"type\":\"file\",\"path\":\"a\",\"size\":-1}]",
        "[{\"type\":\"file\",\"path\":3,\"size\":1}]", "<html>"})
    EXPECT_THROW(parse_hub_files(bad, "a/b"), Error) << bad;
}

}  // namespace
}  // namespace tumbler::formats
