#include "chat/store/chat_store.h"

#include <csignal>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/rng.h"
#include "chat/store/chat_files.h"
#include "chat/store/sqlite.h"
#include "io/file.h"

namespace tumbler::chat {
namespace {

namespace fs = std::filesystem;

class ChatStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::temp_directory_path() /
                 fmt::format("store_{}_{}", ::testing::UnitTest::GetInstance()->current_test_info()->name(),
                             ::getpid());
    fs::remove_all(directory_);
    open();
  }
  void TearDown() override {
    store_.reset();
    fs::remove_all(directory_);
  }
  void open() {
    store_.reset();
    store_ = std::make_unique<ChatStore>(directory_);
  }
  int64_t add(int64_t chat, int64_t parent, const std::string& role, const std::string& content,
              const std::string& state = "done") {
    Message message;
    message.parent = parent;
    message.role = role;
    message.content = content;
    message.state = state;
    return store_->add_message(chat, message).id;
  }
  fs::path directory_;
  std::unique_ptr<ChatStore> store_;
};

TEST_F(ChatStoreTest, AChatIsATree) {
  StoredChat fields;
  fields.title = "stones";
  fields.settings = {{"temperature", 0.5}};
  const int64_t chat = store_->create(fields).id;
  const int64_t question = add(chat, 0, "user", "why?"), first = add(chat, question, "assistant", "because"),
                other = add(chat, question, "assistant", "so"), more = add(chat, first, "user", "really?");
  open();
  StoredChat read = store_->get(chat);
  EXPECT_EQ(read.title, "stones");
  EXPECT_EQ(read.settings["temperature"], 0.5);
  EXPECT_EQ(read.head, more);
  ASSERT_EQ(read.messages.size(), 4u);
  EXPECT_EQ(read.messages[2].id, other);
  EXPECT_EQ(read.messages[2].parent, question);
  std::string text;
  for (const Message& m : store_->branch(chat, more)) text += m.content + "|";
  EXPECT_EQ(text, "why?|because|really?|");
  store_->change(chat, {.title = "smooth stones", .head = other});
  EXPECT_EQ(store_->get(chat).head, other);
  store_->remove_message(chat, first);
  EXPECT_EQ(store_->get(chat).messages.size(), 2u);
  EXPECT_EQ(store_->get(chat).head, other);
  store_->remove_message(chat, other);
  EXPECT_EQ(store_->get(chat).head, question);
  EXPECT_THROW(add(chat, more, "user", "of one that is gone"), NotFound);
  EXPECT_THROW(store_->change(chat, {.head = more}), NotFound);
  store_->remove(chat);
  EXPECT_THROW(store_->get(chat), NotFound);
  EXPECT_THROW(store_->remove(chat), NotFound);
}

TEST_F(ChatStoreTest, SearchFindsTextAsItStands) {
  const int64_t a = store_->create({}).id, b = store_->create({}).id;
  add(a, 0, "user", "The \"quick\" brown fox OR nothing* NEAR(x)");
  const int64_t answer = add(b, 0, "assistant", "", "writing");
  store_->change(b, {.title = "石头 and 100% of_it"});
  const auto ids = [&](const std::string& query) {
    std::vector<int64_t> out;
    for (const StoredChat& chat : store_->list(query, 10, 0)) out.push_back(chat.id);
    return out;
  };
  Message done = store_->get_message(b, answer);
  done.content = "我们在河边找到了很多漂亮的石头";
  EXPECT_TRUE(ids("漂亮的").empty());
  store_->save_answer(done);
  EXPECT_TRUE(ids("漂亮的").empty()) << "found once it is whole";
  done.state = "done";
  store_->save_answer(done);
  EXPECT_EQ(ids("漂亮的"), std::vector{b});
  EXPECT_EQ(ids("漂亮"), std::vector{b}) << "shorter than the index's words";
  EXPECT_EQ(ids("BROWN f"), std::vector{a});
  for (const char* query : {"\"quick\"", "fox OR nothing", "nothing*", "NEAR(x)", "OR", "*"})
    EXPECT_EQ(ids(query), std::vector{a}) << query;
  EXPECT_EQ(ids("100%"), std::vector{b});
  EXPECT_TRUE(ids("100_").empty());
  EXPECT_TRUE(ids("content:brown").empty());
  EXPECT_NE(store_->list("brown", 10, 0)[0].snippet.find("brown"), std::string::npos);
  store_->remove(a);
  EXPECT_TRUE(ids("brown").empty());
  EXPECT_EQ(store_->list("", 10, 0).size(), 1u);
  EXPECT_TRUE(store_->list("", 10, store_->get(b).updated).empty());
}

TEST_F(ChatStoreTest, FilesBringAChatBack) {
  StoredChat fields;
  fields.title = "stones";
  fields.system = "be brief";
  const int64_t chat = store_->create(fields).id;
  const int64_t question =
      add(chat, 0, "user", "## User\n\\## User\n# not a title\n```\n## Assistant\n```\n");
  add(chat, question, "assistant", "one");
  add(chat, question, "assistant", "two\n\n## Heading of its own\n");
  const StoredChat whole = store_->get(chat);
  const StoredChat again =
      store_->import_chat(chat_from_json(nlohmann::ordered_json::parse(to_json_text(whole))));
  EXPECT_NE(again.id, chat);
  ASSERT_EQ(again.messages.size(), whole.messages.size());
  for (size_t i = 0; i < whole.messages.size(); ++i) {
    EXPECT_EQ(again.messages[i].content, whole.messages[i].content);
    EXPECT_EQ(again.messages[i].created, whole.messages[i].created);
  }
  EXPECT_EQ(again.messages[1].parent, again.messages[0].id);
  EXPECT_EQ(again.head, again.messages[2].id);
  const StoredChat linear = chat_from_markdown(to_markdown(whole, store_->branch(chat, whole.head)));
  EXPECT_EQ(linear.title, "stones");
  EXPECT_EQ(linear.system, "be brief");
  ASSERT_EQ(linear.messages.size(), 2u);
  EXPECT_EQ(linear.messages[0].content + "\n", whole.messages[0].content);
  EXPECT_EQ(linear.messages[1].content + "\n", whole.messages[2].content);
  const size_t before = store_->list("", 100, 0).size();
  for (const char* json : {"[]", R"({"messages":1})", R"({"messages":[{"id":1,"role":"god"}]})",
                           R"({"messages":[{"id":1,"parent":1,"role":"user"}]})",
                           R"({"messages":[{"id":1,"role":"user"},{"id":1,"role":"user"}]})",
                           R"({"head":5,"messages":[]})", R"({"title":7})", R"({"settings":[]})"})
    EXPECT_THROW(store_->import_chat(chat_from_json(nlohmann::ordered_json::parse(json))), Error) << json;
  EXPECT_THROW(chat_from_markdown("no headings"), Error);
  EXPECT_EQ(store_->list("", 100, 0).size(), before) << "half a chat";
}

// Without blank lines at the ends.
std::string without_blank_lines(std::string text) {
  while (text.starts_with('\n')) text.erase(0, 1);
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

TEST_F(ChatStoreTest, MarkdownBringsLinesBackThatLookLikeItsOwn) {
  const std::vector<std::string> lines = {"## User",
                                          "## Assistant (m)",
                                          "\\## User",
                                          "\\\\## Tool ",
                                          "# title",
                                          "```",
                                          "~~~~",
                                          "``` cpp",
                                          "</details>",
                                          "",
                                          "\\</details>",
                                          "text",
                                          " ",
                                          "## Users",
                                          "## System",
                                          "<details><summary>Thought</summary>"};
  Rng rng(4, 0);
  const auto text = [&] {
    std::string out;
    for (uint64_t n = rng.below(7); n > 0; --n) out += lines[rng.below(lines.size())] + "\n";
    return out;
  };
  for (int round = 0; round < 3000; ++round) {
    StoredChat chat;
    chat.title = "stones";
    chat.system = "be brief";
    for (int64_t i = 0; i < 4; ++i) {
      Message& m = chat.messages.emplace_back();
      m.role = i % 2 == 0 ? "user" : "assistant";
      m.model = i % 2 == 0 ? "" : "model (1)";
      m.content = text();
      if (i % 2 == 1) m.thought = text();
    }
    const std::string file = to_markdown(chat, chat.messages);
    const StoredChat read = chat_from_markdown(file);
    ASSERT_EQ(read.messages.size(), 4u) << file;
    EXPECT_EQ(read.title + read.system, chat.title + chat.system);
    for (size_t i = 0; i < 4; ++i) {
      const auto expect_text = [&](const std::string& got, const std::string& given) {
        const std::string expected = without_blank_lines(given);
        // Or with the end of a block of code that had none.
        const bool closed =
            got.starts_with(expected) && got.find_first_not_of("\n`~", expected.size()) == std::string::npos;
        EXPECT_TRUE(got == expected || closed) << got << "\n---\n" << expected;
      };
      EXPECT_EQ(read.messages[i].role, chat.messages[i].role);
      EXPECT_EQ(read.messages[i].model, chat.messages[i].model);
      expect_text(read.messages[i].content, chat.messages[i].content);
      expect_text(read.messages[i].thought, chat.messages[i].thought);
    }
    if (HasFailure()) return;
  }
  EXPECT_EQ(chat_from_markdown("\xEF\xBB\xBF# t\r\n\r\n## User\r\n\r\na\r\nb\r\n").messages[0].content,
            "a\nb");
  EXPECT_THROW(chat_from_markdown("# t\n\nlost\n\n## User\n\na\n"), Unfit);
}

TEST_F(ChatStoreTest, JsonOfOtherProgramsIsRead) {
  const auto read = [](const char* text) { return chat_from_json(nlohmann::ordered_json::parse(text)); };
  const StoredChat linear =
      read(R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})");
  EXPECT_EQ(linear.messages[1].parent, linear.messages[0].id);
  EXPECT_EQ(linear.head, 2);
  const StoredChat tree = read(R"({"head": "x", "created": 5, "updated": 7, "messages": [
    {"id": "x", "parent": null, "role": "user", "content": "a", "created": 6},
    {"id": "y", "parent": "x", "role": "assistant", "content": "b", "state": "writing", "stats": {"tokens": 3}}]})");
  EXPECT_EQ(tree.messages[1].parent, 1);
  const StoredChat kept = store_->import_chat(tree);
  EXPECT_EQ(kept.head, kept.messages[0].id);
  EXPECT_EQ(kept.created + kept.updated + kept.messages[0].created, 5 + 7 + 6);
  EXPECT_EQ(kept.messages[1].state, "stopped");
  EXPECT_EQ(kept.messages[1].stats["tokens"], 3);
  const std::string odd = "\x01\x1f\"\\\n\xFF\xE7\x9F\xB3\xF0\x9F";
  Message message;
  message.content = odd;
  EXPECT_EQ(to_json(message)["content"], "\x01\x1f\"\\\n\xEF\xBF\xBD\xE7\x9F\xB3\xEF\xBF\xBD");
  for (const char* bad :
       {"[]", R"({"messages": {}})", R"({"messages": [1]})", R"({"title": 1})", R"({"head": "none"})",
        R"({"settings": []})", R"({"created": -1})", R"({"created": 18446744073709551615})",
        R"({"messages": [{"id": 1, "role": "user"}, {"id": 1, "role": "user"}]})",
        R"({"messages": [{"id": 1, "parent": 1, "role": "user"}]})"})
    EXPECT_THROW(read(bad), Unfit) << bad;
}

TEST_F(ChatStoreTest, DamageAndASecondProcessAreSaid) {
  EXPECT_THROW(ChatStore second(directory_), Error);
  store_->create({});
  store_.reset();
  std::string bytes = io::read_file(directory_ / "chats.db");
  for (size_t i = 4096; i < bytes.size(); i += 7) bytes[i] = static_cast<char>(i * 31);
  io::write_file(directory_ / "chats.db", bytes);
  EXPECT_THROW(ChatStore damaged(directory_), Error);
  io::write_file(directory_ / "chats.db",
                 "no database at all, and longer than its header would be: " + std::string(5000, 'x'));
  EXPECT_THROW(ChatStore none(directory_), Error);
}

TEST_F(ChatStoreTest, AFullDiskLosesNothing) {
  const int64_t chat = store_->create({}).id;
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit before;
  ::getrlimit(RLIMIT_FSIZE, &before);
  // Ever later, so that it happens in all places: the log, its index, the database.
  int64_t head = 0;
  size_t saved = 0, refused = 0;
  for (rlim_t size = 4096; size < 1'000'000; size += size / 7) {
    const rlimit small = {size, before.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &small);
    try {
      for (int i = 0; i < 4; ++i) {
        head = add(chat, head, "user", fmt::format("{} {}", saved, std::string(20'000, 'x')));
        ++saved;
      }
    } catch (const Error&) {
      ++refused;
    }
    ::setrlimit(RLIMIT_FSIZE, &before);
    ASSERT_EQ(store_->branch(chat, store_->get_fields(chat).head).size(), saved);
  }
  EXPECT_GT(refused, 10u);
  EXPECT_GT(saved, 10u);
  add(chat, head, "user", "and goes on");
  open();
  const StoredChat read = store_->get(chat);
  ASSERT_EQ(read.messages.size(), saved + 1);
  for (size_t i = 0; i < saved; ++i)
    EXPECT_TRUE(read.messages[i].content.starts_with(fmt::format("{} x", i)));
  EXPECT_EQ(store_->list("goes", 10, 0).size(), 1u);
}

TEST_F(ChatStoreTest, SizesAndNamesAreChecked) {
  const int64_t chat = store_->create({}).id;
  EXPECT_THROW(add(chat, 0, "user", std::string(ChatStore::kMaxText + 1, 'x')), Unfit);
  EXPECT_THROW(add(chat, 0, "robot", "x"), Unfit);
  EXPECT_THROW(add(chat, 0, "user", "x", "half"), Unfit);
  EXPECT_THROW(store_->change(chat, {.title = std::string(1 << 20, 'x')}), Unfit);
  add(chat, 0, "user", std::string(ChatStore::kMaxText, 'x'));
  const std::string with_zero("a\0b", 3);
  const int64_t odd = add(chat, 0, "user", with_zero);
  EXPECT_EQ(store_->get_message(chat, odd).content, with_zero);
  EXPECT_EQ(add(chat, 0, "user", ""), odd + 1);
  const int64_t other = store_->create({}).id;
  EXPECT_THROW(add(other, odd, "user", "of another chat"), NotFound);
  EXPECT_THROW(store_->change(other, {.head = odd}), NotFound);
  EXPECT_THROW(store_->remove_message(other, odd), NotFound);
  EXPECT_THROW(store_->branch(other, odd), NotFound);
}

TEST_F(ChatStoreTest, PagesOfAListHaveEachChatOnce) {
  std::vector<int64_t> all;
  StoredChat same;
  same.updated = 1'000'000;  // imports of the same moment
  for (int i = 0; i < 60; ++i)
    all.insert(all.begin(), i < 30 ? store_->import_chat(same).id : store_->create({}).id);
  std::vector<int64_t> paged;
  for (int64_t before = 0;;) {
    const std::vector<StoredChat> page = store_->list("", 7, before);
    if (page.empty()) break;
    for (const StoredChat& chat : page) paged.push_back(chat.id);
    before = page.back().updated;
  }
  EXPECT_EQ(paged, all);
  add(all.back(), 0, "user", "now it is the newest");
  EXPECT_EQ(store_->list("", 1, 0)[0].id, all.back());
  EXPECT_TRUE(store_->list("", -1, 0).empty());
}

TEST_F(ChatStoreTest, AnAnswerIsSavedWhileItIsWritten) {
  const int64_t chat = store_->create({}).id, question = add(chat, 0, "user", "why?");
  Message answer = store_->get_message(chat, add(chat, question, "assistant", "", "writing"));
  answer.content = "becau";
  EXPECT_TRUE(store_->save_answer(answer));
  open();
  EXPECT_EQ(store_->get_message(chat, answer.id).content, "becau");
  EXPECT_EQ(store_->get_message(chat, answer.id).state, "stopped") << "nobody writes it any more";
  EXPECT_EQ(store_->list("becau", 10, 0).size(), 1u);
  EXPECT_FALSE(store_->save_answer(answer)) << "it has ended";
  answer.id = add(chat, question, "assistant", "", "writing");
  store_->remove(chat);
  EXPECT_FALSE(store_->save_answer(answer)) << "the chat was removed meanwhile";
  EXPECT_TRUE(store_->list("becau", 10, 0).empty());
}

TEST_F(ChatStoreTest, OtherDatabasesAndNewerOnesAreLeftAlone) {
  store_.reset();
  Database(directory_ / "chats.db").run("PRAGMA user_version = 99");
  EXPECT_THROW(open(), Error);
  fs::remove_all(directory_);
  fs::create_directories(directory_);
  Database(directory_ / "chats.db").run("CREATE TABLE songs (name TEXT)");
  EXPECT_THROW(open(), Error);
}

TEST_F(ChatStoreTest, LongBranchesAreNoRecursion) {
  StoredChat fields;
  for (int64_t i = 0; i < 30'000; ++i) {
    Message& message = fields.messages.emplace_back();
    message.id = i + 1;
    message.parent = i;
    message.role = i % 2 == 0 ? "user" : "assistant";
    message.content = "text";
  }
  fields.head = 30'000;
  const StoredChat chat = store_->import_chat(fields);
  EXPECT_EQ(store_->branch(chat.id, chat.head).size(), 30'000u);
  EXPECT_EQ(chat_from_json(nlohmann::ordered_json::parse(to_json_text(chat))).messages.size(), 30'000u);
  store_->remove_message(chat.id, chat.messages[1].id);
  EXPECT_EQ(store_->get_fields(chat.id).head, chat.messages[0].id);
  store_->remove(chat.id);
}

TEST_F(ChatStoreTest, ThreadsShareIt) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t)
    threads.emplace_back([&, t] {
      const int64_t chat = store_->create({}).id;
      int64_t head = 0;
      for (int i = 0; i < 15; ++i) {
        head = add(chat, head, "user", fmt::format("thread{} text{}", t, i));
        EXPECT_EQ(store_->branch(chat, head).size(), static_cast<size_t>(i + 1))
            << "what was written is read";
        EXPECT_EQ(store_->list(fmt::format("thread{}", t), 10, 0).size(), 1u);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(store_->list("text14", 10, 0).size(), 6u);
}

}  // namespace
}  // namespace tumbler::chat
