// Long random histories of a store: against a plain tree, with kills, on damaged files.
#include <csignal>
#include <fstream>
#include <map>
#include <set>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/rng.h"
#include "chat/store/chat_files.h"
#include "chat/store/chat_store.h"
#include "chat/store/search_text.h"
#include "chat/store/sqlite.h"
#include "io/file.h"

namespace tumbler::chat {
namespace {

namespace fs = std::filesystem;

class SlowChatStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::temp_directory_path() /
                 fmt::format("slow_store_{}_{}",
                             ::testing::UnitTest::GetInstance()->current_test_info()->name(), ::getpid());
    fs::remove_all(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }
  fs::path directory_;
};

Message make_message(int64_t parent, const std::string& content, const std::string& state = "done") {
  Message message;
  message.parent = parent;
  message.role = "assistant";
  message.content = content;
  message.state = state;
  return message;
}

template <class Map>
int64_t any_key(const Map& map, Rng& rng) {
  auto it = map.begin();
  std::advance(it, static_cast<int64_t>(rng.below(map.size())));
  return it->first;
}

// Chats as a program without a database would keep them.
struct PlainMessage {
  int64_t parent;
  std::string content;
  bool whole;
};
struct PlainChat {
  std::string title;
  int64_t head = 0;
  std::map<int64_t, PlainMessage> messages;

  void remove(int64_t id) {
    const int64_t parent = messages.at(id).parent;
    messages.erase(id);
    for (auto it = messages.begin(); it != messages.end();)  // ids grow downwards: one pass meets them all
      it = it->second.parent != 0 && !messages.contains(it->second.parent) ? messages.erase(it)
                                                                           : std::next(it);
    if (!messages.contains(head)) head = parent;
  }
};

std::string random_text(Rng& rng) {
  static const std::vector<std::string> kParts = {"stone", "Water", "café", "北京",  "天气很好", " ", " ",
                                                  "\n",    "\"",    "OR",   "NEAR(", "*",        "%", "_",
                                                  "'",     "C++",   "x",    "的",    "ё"};
  std::string out;
  for (uint64_t n = rng.below(12); n > 0; --n) out += kParts[rng.below(kParts.size())];
  return out;
}

class History {
 public:
  History(const fs::path& directory, uint64_t seed) : directory_(directory), rng_(seed, 0) { reopen(); }

  void step() {
    const uint64_t kind = chats_.empty() ? 0 : rng_.below(20);
    if (kind == 0) {
      StoredChat fields;
      fields.title = random_text(rng_);
      const int64_t id = store_->create(fields).id;
      chats_[id].title = fields.title;
      return;
    }
    const int64_t id = any_key(chats_, rng_);
    PlainChat& chat = chats_[id];
    if (kind == 1) {
      store_->remove(id);
      chats_.erase(id);
    } else if (kind == 2) {
      import(id);
    } else if (kind == 3) {
      reopen();
    } else if (kind == 4) {
      chat.title = random_text(rng_);
      store_->change(id, {.title = chat.title});
    } else if (kind < 12 || chat.messages.empty()) {
      const int64_t parent = chat.messages.empty() || rng_.below(9) == 0 ? 0 : any_key(chat.messages, rng_);
      const bool whole = rng_.below(3) != 0;
      const std::string text = random_text(rng_);
      chat.head = store_->add_message(id, make_message(parent, text, whole ? "done" : "writing")).id;
      chat.messages[chat.head] = {parent, text, whole};
    } else {
      change_message(id, chat, any_key(chat.messages, rng_), kind);
    }
  }

  void compare() const {
    std::set<int64_t> ids;
    for (const StoredChat& chat : store_->list("", 1000, 0)) ids.insert(chat.id);
    ASSERT_EQ(ids.size(), chats_.size());
    for (const auto& [id, plain] : chats_) {
      const StoredChat chat = store_->get(id);
      EXPECT_EQ(chat.title, plain.title);
      EXPECT_EQ(chat.head, plain.head);
      ASSERT_EQ(chat.messages.size(), plain.messages.size());
      for (const Message& m : chat.messages) {
        const PlainMessage& expected = plain.messages.at(m.id);
        EXPECT_EQ(m.parent, expected.parent);
        EXPECT_EQ(m.content, expected.content);
        EXPECT_EQ(m.state != "writing", expected.whole);
      }
    }
  }

  // A query of what is in some text, or not.
  void compare_search() {
    std::string query = random_text(rng_);
    if (rng_.below(2) == 0) query = query.substr(0, query.find(' '));
    const SearchQuery words(query);
    if (words.empty()) return;
    std::set<int64_t> expected, found;
    for (const auto& [id, chat] : chats_) {
      bool has = words.find(fold_text(chat.title)).has_value();
      for (const auto& [message_id, m] : chat.messages)
        has |= m.whole && words.find(fold_text(m.content)).has_value();
      if (has) expected.insert(id);
    }
    int64_t before = INT64_MAX;
    for (const StoredChat& chat : store_->list(query, 1000, 0)) {
      found.insert(chat.id);
      EXPECT_LT(chat.updated, before) << "newest first";
      before = chat.updated;
    }
    EXPECT_EQ(found, expected) << query;
    searches_found_ += found.empty() ? 0 : 1;
  }
  int searches_found() const { return searches_found_; }

 private:
  void reopen() {
    store_.reset();
    store_ = std::make_unique<ChatStore>(directory_);
    for (auto& [id, chat] : chats_)
      for (auto& [message_id, message] : chat.messages) message.whole = true;
  }

  void import(int64_t id) {
    const std::string text = to_json_text(store_->get(id));
    const StoredChat copy = store_->import_chat(chat_from_json(nlohmann::ordered_json::parse(text)));
    const PlainChat& from = chats_[id];
    PlainChat& to = chats_[copy.id];
    to.title = from.title;
    std::map<int64_t, int64_t> ids = {{0, 0}};
    size_t i = 0;
    for (const auto& [old_id, message] : from.messages) {
      ids[old_id] = copy.messages[i++].id;
      to.messages[ids[old_id]] = {ids[message.parent], message.content, true};
    }
    to.head = ids[from.head];
  }

  void change_message(int64_t id, PlainChat& chat, int64_t message_id, uint64_t kind) {
    PlainMessage& plain = chat.messages.at(message_id);
    if (kind == 12) {
      store_->remove_message(id, message_id);
      chat.remove(message_id);
    } else if (kind == 13) {
      chat.head = message_id;
      store_->change(id, {.head = message_id});
    } else {
      Message answer = make_message(0, random_text(rng_), rng_.below(2) == 0 ? "failed" : "writing");
      answer.id = message_id;
      EXPECT_EQ(store_->save_answer(answer), !plain.whole);
      if (plain.whole) return;
      plain.content = answer.content;
      plain.whole = answer.state != "writing";
    }
  }

  fs::path directory_;
  Rng rng_;
  std::unique_ptr<ChatStore> store_;
  std::map<int64_t, PlainChat> chats_;
  int searches_found_ = 0;
};

TEST_F(SlowChatStoreTest, RandomChangesAreThoseOfPlainTrees) {
  for (const uint64_t seed : {1, 2, 3}) {
    fs::remove_all(directory_);
    History history(directory_, seed);
    for (int i = 0; i < 500; ++i) {
      history.step();
      history.compare_search();
      if (i % 25 == 0) history.compare();
      if (HasFailure()) return;
    }
    history.compare();
    EXPECT_GT(history.searches_found(), 50);
  }
}

void expect_whole(const fs::path& file) {
  Database database(file);
  Statement check(database, "PRAGMA integrity_check");
  ASSERT_TRUE(check.step());
  EXPECT_EQ(check.text(0), "ok");
  Statement keys(database, "PRAGMA foreign_key_check");
  EXPECT_FALSE(keys.step());
}

// What a process that will be killed says it does, and has done.
struct Said {
  enum Kind : int64_t { added, begun, written, ended, will_remove, removed } kind;
  int64_t chat, id, parent, number;
};

[[noreturn]] void work_until_killed(const fs::path& directory, int to, uint64_t seed) {
  ChatStore store(directory);
  Rng rng(seed, 0);
  const int64_t chat = store.create({}).id;
  const auto say = [&](Said::Kind kind, int64_t id, int64_t parent, int64_t number) {
    const Said said{kind, chat, id, parent, number};
    if (::write(to, &said, sizeof(said)) != sizeof(said)) ::_exit(1);
  };
  std::map<int64_t, int64_t> tree;
  for (int64_t number = 0;; ++number) {
    const int64_t parent = tree.empty() ? 0 : any_key(tree, rng);
    const auto text = [&](const char* what) {
      return fmt::format("{}{} {}", what, number, std::string(300, 'z'));
    };
    Message message =
        store.add_message(chat, make_message(parent, text("added"), number % 2 == 0 ? "done" : "writing"));
    tree[message.id] = parent;
    say(number % 2 == 0 ? Said::added : Said::begun, message.id, parent, number);
    if (message.state == "writing") {
      message.content = text("written");
      store.save_answer(message);
      say(Said::written, message.id, parent, number);
      message.content = text("ended");
      message.state = "done";
      store.save_answer(message);
      say(Said::ended, message.id, parent, number);
    }
    if (number % 6 != 5) continue;
    const int64_t gone = any_key(tree, rng);
    say(Said::will_remove, gone, 0, 0);
    store.remove_message(chat, gone);
    say(Said::removed, gone, 0, 0);
    tree.erase(gone);
    for (auto it = tree.begin(); it != tree.end();)
      it = it->second != 0 && !tree.contains(it->second) ? tree.erase(it) : std::next(it);
  }
}

// What has to be there, after all that was said.
void expect_all(const ChatStore& store, const std::vector<Said>& all) {
  PlainChat plain;
  int64_t chat = 0, maybe_removed = 0;
  std::map<int64_t, Said> last;
  for (const Said& said : all) {
    chat = said.chat;
    maybe_removed = said.kind == Said::will_remove ? said.id : 0;
    if (said.kind == Said::removed) plain.remove(said.id);
    if (said.kind == Said::will_remove || said.kind == Said::removed) continue;
    plain.messages[said.id] = {said.parent, "", true};
    last[said.id] = said;
  }
  if (chat == 0) return;
  if (maybe_removed != 0) plain.remove(maybe_removed);
  for (const auto& [id, message] : plain.messages) {
    const Message read = store.get_message(chat, id);
    EXPECT_EQ(read.parent, message.parent);
    const Said& said = last.at(id);
    const bool over = said.kind == Said::added || said.kind == Said::ended;
    const std::vector<std::string> states = {"added", "added", "written", "ended"};
    // The one that was being written may be further on than what was said.
    bool fits = false;
    for (size_t state = said.kind; state < (over ? static_cast<size_t>(said.kind) + 1 : 4); ++state)
      fits |= read.content.starts_with(fmt::format("{}{} ", states[state], said.number));
    EXPECT_TRUE(fits) << said.kind << " " << read.content.substr(0, 20);
    EXPECT_TRUE(!over || read.state == "done") << read.state;
    EXPECT_NE(read.state, "writing");
  }
  if (!plain.messages.empty()) {
    const auto& [id, said] = *last.find(plain.messages.rbegin()->first);
    const std::string content = store.get_message(chat, id).content;
    const auto found = store.list(content.substr(0, content.find(' ')), 1000, 0);
    EXPECT_TRUE(std::any_of(found.begin(), found.end(), [&](const StoredChat& c) { return c.id == chat; }));
  }
}

TEST_F(SlowChatStoreTest, KilledProcessesLoseNothingThatTheySaid) {
  size_t said_in_all = 0;
  for (uint64_t round = 0; round < 60; ++round) {
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    const pid_t child = ::fork();
    if (child == 0) work_until_killed(directory_, pipe[1], round);
    ::close(pipe[1]);
    std::vector<Said> all;
    Said said;
    for (uint64_t n = 0; n <= round * 7 % 40 && ::read(pipe[0], &said, sizeof(said)) == sizeof(said); ++n)
      all.push_back(said);
    ::usleep(static_cast<useconds_t>(round * 977 % 9000));
    ::kill(child, SIGKILL);
    while (::read(pipe[0], &said, sizeof(said)) == sizeof(said)) all.push_back(said);
    ::close(pipe[0]);
    ::waitpid(child, nullptr, 0);
    said_in_all += all.size();
    const ChatStore store(directory_);
    expect_all(store, all);
    expect_whole(directory_ / "chats.db");
    if (HasFailure()) return;
  }
  EXPECT_GT(said_in_all, 600u);
}

// Bytes that change under an open store, and before it is opened: an Error or an answer, and nothing else.
TEST_F(SlowChatStoreTest, DamageIsAnError) {
  Rng rng(9, 0);
  {
    ChatStore store(directory_);
    for (int c = 0; c < 8; ++c) {
      const int64_t chat = store.create({}).id;
      int64_t head = 0;
      for (int i = 0; i < 12; ++i) {
        std::string text = random_text(rng);
        if (i == 5) text = std::string(20'000, 'x');  // pages of its own
        head = store.add_message(chat, make_message(head, text)).id;
      }
    }
  }
  const std::string whole = io::read_file(directory_ / "chats.db");
  int errors = 0;
  for (int round = 0; round < 150; ++round) {
    io::write_file(directory_ / "chats.db", whole);
    fs::remove(directory_ / "chats.db-wal");
    fs::remove(directory_ / "chats.db-shm");
    const auto damage = [&] {
      std::fstream file(directory_ / "chats.db", std::ios::in | std::ios::out | std::ios::binary);
      for (uint64_t n = 1 + rng.below(40); n > 0; --n) {
        file.seekp(static_cast<std::streamoff>(rng.below(whole.size())));
        file.put(static_cast<char>(rng()));
      }
    };
    try {
      if (round % 3 == 0) damage();
      ChatStore store(directory_);
      if (round % 3 != 0) damage();
      for (int64_t chat = 1; chat <= 8; ++chat) {
        for (const auto& use : std::vector<std::function<void()>>{
                 [&] { to_json_text(store.get(chat)); }, [&] { store.list("stone", 100, 0); },
                 [&] { store.list("的", 100, 0); }, [&] { store.branch(chat, 12 * chat); },
                 [&] { store.add_message(chat, make_message(0, "more stone")); },
                 [&] { store.remove_message(chat, 12 * chat - 3); }, [&] { store.remove(chat); }}) {
          try {
            use();
          } catch (const Error&) {
            ++errors;
          }
        }
      }
    } catch (const Error&) {
      ++errors;
    }
  }
  EXPECT_GT(errors, 100);
}

}  // namespace
}  // namespace tumbler::chat
