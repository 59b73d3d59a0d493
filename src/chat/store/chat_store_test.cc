#include "chat/store/chat_store.h"

#include <csignal>
#include <filesystem>
#include <map>

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/rng.h"
#include "chat/store/chat_files.h"
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

TEST_F(ChatStoreTest, WhatAKilledProcessWroteIsThere) {
  for (int round = 0; round < 50; ++round) {
    store_.reset();
    int report[2];
    ASSERT_EQ(::pipe(report), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      ChatStore store(directory_);
      const int64_t chat = store.create({}).id;
      int64_t parent = 0;
      for (;;) {
        Message message;
        message.parent = parent;
        message.role = "assistant";
        message.state = "writing";
        message = store.add_message(chat, message);
        message.content = fmt::format("answer {}", message.id);
        message.state = "done";
        store.save_answer(message);
        parent = message.id;
        const int64_t saved[2] = {chat, message.id};
        if (::write(report[1], saved, sizeof(saved)) != sizeof(saved)) ::_exit(1);
      }
    }
    ::close(report[1]);
    int64_t saved[2], chat = 0, last = 0;
    for (int n = 0; n <= round % 7 && ::read(report[0], saved, sizeof(saved)) == sizeof(saved); ++n) {
    }
    ::usleep(static_cast<useconds_t>(round * 97 % 2000));
    ::kill(child, SIGKILL);
    while (::read(report[0], saved, sizeof(saved)) == sizeof(saved)) chat = saved[0], last = saved[1];
    ::close(report[0]);
    ::waitpid(child, nullptr, 0);
    open();
    if (chat == 0) continue;
    EXPECT_EQ(store_->get_message(chat, last).content, fmt::format("answer {}", last));
    for (const Message& m : store_->get(chat).messages)
      EXPECT_TRUE(m.state == "done" || m.state == "stopped");
  }
}

TEST_F(ChatStoreTest, RandomChangesAreThoseOfAPlainTree) {
  Rng rng(3, 0);
  const int64_t chat = store_->create({}).id;
  std::map<int64_t, std::pair<int64_t, std::string>> tree;
  const auto any = [&] {
    auto it = tree.begin();
    std::advance(it, rng.below(tree.size()));
    return it->first;
  };
  for (int step = 0; step < 600; ++step) {
    if (tree.empty() || rng.below(5) != 0) {
      const int64_t parent = tree.empty() || rng.below(6) == 0 ? 0 : any();
      const std::string text = fmt::format("text {}", step);
      tree[add(chat, parent, "user", text)] = {parent, text};
    } else {
      const int64_t gone = any();
      store_->remove_message(chat, gone);
      tree.erase(gone);
      for (bool more = true; more;) {
        more = false;
        for (auto it = tree.begin(); it != tree.end();) {
          const bool orphan = it->second.first != 0 && !tree.contains(it->second.first);
          more |= orphan;
          it = orphan ? tree.erase(it) : std::next(it);
        }
      }
    }
  }
  const StoredChat read = store_->get(chat);
  ASSERT_EQ(read.messages.size(), tree.size());
  for (const Message& m : read.messages) EXPECT_EQ(tree.at(m.id), std::pair(m.parent, m.content));
  EXPECT_TRUE(read.head == 0 || tree.contains(read.head));
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
  const int64_t chat = store_->create({}).id, first = add(chat, 0, "user", "kept");
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit before;
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small = {200'000, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  EXPECT_THROW(add(chat, first, "user", std::string(1'000'000, 'x')), Error);
  ::setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(store_->get(chat).messages.size(), 1u);
  add(chat, first, "user", "and goes on");
  open();
  EXPECT_EQ(store_->get(chat).messages.size(), 2u);
  EXPECT_THROW(add(chat, first, "user", std::string(ChatStore::kMaxText + 1, 'x')), Error);
}

}  // namespace
}  // namespace tumbler::chat
