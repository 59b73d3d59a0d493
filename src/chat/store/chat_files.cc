// Chats as Markdown; as JSON: chat_json.cc.
#include "chat/store/chat_files.h"

#include <algorithm>
#include <array>
#include <utility>

namespace tumbler::chat {
namespace {

struct Heading {
  std::string_view role, text;
};
constexpr std::array<Heading, 4> kHeadings = {
    {{"user", "## User"}, {"assistant", "## Assistant"}, {"system", "## System"}, {"tool", "## Tool"}}};
constexpr std::string_view kThought = "<details><summary>Thought</summary>", kThoughtEnd = "</details>";

std::string_view without_end(std::string_view line) {
  while (line.ends_with(' ') || line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

// The heading that a line is, with "(model)" or not; null where it is none.
const Heading* find_heading(std::string_view line, std::string* model = nullptr) {
  line = without_end(line);
  for (const Heading& heading : kHeadings) {
    if (!line.starts_with(heading.text)) continue;
    const std::string_view rest = line.substr(heading.text.size());
    const bool named = rest.size() > 3 && rest.starts_with(" (") && rest.ends_with(')');
    if (!rest.empty() && !named) continue;
    if (named && model != nullptr) *model = rest.substr(2, rest.size() - 3);
    return &heading;
  }
  return nullptr;
}

// A line that would be taken for one of ours, behind any number of \.
bool needs_escape(std::string_view line, bool in_thought) {
  while (line.starts_with('\\')) line.remove_prefix(1);
  return find_heading(line) != nullptr || without_end(line) == (in_thought ? kThoughtEnd : kThought);
}

template <class Use>
void for_lines(std::string_view text, const Use& use) {
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    use(text.substr(at, end - at));
    at = end + 1;
  }
}

// The fence of a block of code that is not closed in `text`, or nothing. CommonMark 0.31, 4.5.
std::string open_fence(std::string_view text) {
  std::string fence;
  for_lines(text, [&](std::string_view line) {
    const size_t indent = std::min(line.find_first_not_of(' '), line.size());
    line.remove_prefix(indent);
    if (indent > 3 || line.empty() || (line[0] != '`' && line[0] != '~')) return;
    const size_t n = std::min(line.find_first_not_of(line[0]), line.size());
    const std::string_view rest = line.substr(n);
    const bool closes =
        !fence.empty() && line[0] == fence[0] && n >= fence.size() && without_end(rest).empty();
    if (closes)
      fence.clear();
    else if (fence.empty() && n >= 3 && (line[0] == '~' || rest.find('`') == std::string_view::npos))
      fence.assign(n, line[0]);
  });
  return fence;
}

void append_text(std::string_view text, std::string& out, bool in_thought = false) {
  out += '\n';
  for_lines(text, [&](std::string_view line) {
    if (needs_escape(line, in_thought)) out += '\\';
    out += line;
    out += '\n';
  });
  if (const std::string fence = open_fence(text); !fence.empty()) out += fence + "\n";
}

std::string on_one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return text;
}

// Without blank lines before and behind.
std::string trimmed(std::string_view text) {
  while (text.starts_with('\n')) text.remove_prefix(1);
  while (text.ends_with('\n')) text.remove_suffix(1);
  return std::string(text);
}

// Takes lines one by one and makes messages of them.
class MarkdownReader {
 public:
  void add(std::string_view line) {
    std::string model;
    if (const Heading* heading = find_heading(line, &model)) {
      end_message();
      heading_ = heading;
      model_ = std::move(model);
    } else if (const std::string_view mark = without_end(line);
               heading_ != nullptr && !in_thought_ && mark == kThought) {
      in_thought_ = true;
    } else if (in_thought_ && mark == kThoughtEnd) {
      in_thought_ = false;
    } else {
      if (needs_escape(line, in_thought_)) line.remove_prefix(1);
      std::string& part = in_thought_ ? thought_ : content_;
      part += line;
      part += '\n';
    }
  }
  StoredChat finish() {
    end_message();
    if (chat_.messages.empty())
      throw Unfit("chats", "import: got no message, expected headings like \"## User\" and \"## Assistant\"");
    chat_.head = static_cast<int64_t>(chat_.messages.size());
    return std::move(chat_);
  }

 private:
  void end_message() {
    std::string content = trimmed(std::exchange(content_, {}));
    const std::string thought = trimmed(std::exchange(thought_, {}));
    in_thought_ = false;
    if (heading_ == nullptr) {
      set_title(content);
    } else if (heading_->role == "system" && chat_.messages.empty() && chat_.system.empty()) {
      chat_.system = std::move(content);
    } else {
      const auto n = static_cast<int64_t>(chat_.messages.size());
      Message& message = chat_.messages.emplace_back();
      message.id = n + 1;
      message.parent = n;
      message.role = heading_->role;
      message.content = std::move(content);
      message.thought = thought;
      message.model = std::exchange(model_, {});
    }
  }
  void set_title(std::string_view text) {
    if (text.starts_with("# ")) {
      const size_t end = std::min(text.find('\n'), text.size());
      chat_.title = without_end(text.substr(2, end - 2));
      text = text.substr(end);
    }
    if (text.find_first_not_of(" \r\n") != std::string_view::npos)
      throw Unfit("chats", "import: got text before the first heading, expected \"# title\" and \"## User\"");
  }

  StoredChat chat_;
  const Heading* heading_ = nullptr;
  std::string model_, content_, thought_;
  bool in_thought_ = false;
};

}  // namespace

std::string to_markdown(const StoredChat& chat, const std::vector<Message>& branch) {
  std::string out = "# " + (chat.title.empty() ? std::string("Chat") : on_one_line(chat.title)) + "\n";
  const auto add_heading = [&](std::string_view role, const std::string& model) {
    for (const Heading& heading : kHeadings)
      if (heading.role == role) out += "\n" + std::string(heading.text);
    out += model.empty() ? "\n" : " (" + on_one_line(model) + ")\n";
  };
  if (!chat.system.empty()) {
    add_heading("system", "");
    append_text(chat.system, out);
  }
  for (const Message& message : branch) {
    add_heading(message.role, message.model);
    if (!message.thought.empty()) {
      out += "\n" + std::string(kThought) + "\n";
      append_text(message.thought, out, true);
      out += "\n" + std::string(kThoughtEnd) + "\n";
    }
    append_text(message.content, out);
  }
  return out;
}

StoredChat chat_from_markdown(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  // An editor that ends lines with CR LF did so with all of them, the title's too.
  std::string plain;
  if (const size_t end = text.find('\n'); end != std::string_view::npos && end > 0 && text[end - 1] == '\r') {
    plain = text;
    std::erase(plain, '\r');
    text = plain;
  }
  MarkdownReader reader;
  for_lines(text, [&](std::string_view line) { reader.add(line); });
  return reader.finish();
}

}  // namespace tumbler::chat
