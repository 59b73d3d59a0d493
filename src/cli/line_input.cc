#include "cli/line_input.h"

#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string_view>

#include <histedit.h>

#include "base/error.h"

namespace tumbler::cli {
namespace {

constexpr std::string_view kBlock = "\"\"\"";
// Terminals that know these mark pasted text, so that its line breaks do not enter it.
constexpr const char* kPasteOn = "\x1b[?2004h";
constexpr const char* kPasteOff = "\x1b[?2004l";
constexpr std::string_view kPasteEnd = "\x1b[201~";
constexpr size_t kMaxPaste = size_t{16} << 20;

class TerminalInput : public LineInput {
 public:
  TerminalInput() : editor_(el_init("tumbler", stdin, stdout, stderr)), history_(history_init()) {
    if (editor_ == nullptr || history_ == nullptr) throw Error("chat", "the terminal cannot be set up");
    HistEvent event;
    history(history_, &event, H_SETSIZE, 1000);
    el_set(editor_, EL_CLIENTDATA, this);
    el_set(editor_, EL_EDITOR, "emacs");
    el_set(editor_, EL_HIST, history, history_);
    el_set(editor_, EL_PROMPT, prompt);
    el_set(editor_, EL_ADDFN, "tumbler-interrupt", "Leave the line", interrupt);
    el_set(editor_, EL_ADDFN, "tumbler-paste", "Take pasted text", paste);
    // Ctrl-C is a key while a line is edited (-d), and before and after that (-x).
    el_set(editor_, EL_SETTY, "-d", "-isig", nullptr);
    el_set(editor_, EL_SETTY, "-x", "-isig", nullptr);
    el_set(editor_, EL_BIND, "^C", "tumbler-interrupt", nullptr);
    el_set(editor_, EL_BIND, "\\e[200~", "tumbler-paste", nullptr);
    el_set(editor_, EL_BIND, "^R", "em-inc-search-prev", nullptr);
  }
  ~TerminalInput() override {
    history_end(history_);
    el_end(editor_);
  }
  TerminalInput(const TerminalInput&) = delete;
  TerminalInput& operator=(const TerminalInput&) = delete;

  Event next(std::string& text) override {
    text.clear();
    continues_ = false;
    bool block = false;
    for (;;) {
      std::string line;
      const Event event = read(line);
      if (event != Event::line) {
        text += line;
        return event;
      }
      if (!continues_ && line.starts_with(kBlock)) {
        block = true;
        line.erase(0, kBlock.size());
        if (line.empty()) {
          continues_ = true;
          continue;
        }
      }
      const bool closes = block && line.ends_with(kBlock);
      if (closes) line.erase(line.size() - kBlock.size());
      const bool goes_on = block ? !closes : line.ends_with('\\');
      if (goes_on && !block) line.back() = '\n';
      text += line;
      if (goes_on && block) text += '\n';
      if (!goes_on) break;
      continues_ = true;
    }
    if (text.ends_with('\n')) text.pop_back();
    remember(text);
    return Event::line;
  }

 private:
  Event read(std::string& line) {
    interrupted_ = false;
    put(kPasteOn);
    int size = 0;
    const char* entered = el_gets(editor_, &size);
    put(kPasteOff);
    if (entered != nullptr && size > 0) line.assign(entered, static_cast<size_t>(size));
    if (line.empty() && !interrupted_) return Event::end;
    while (line.ends_with('\n') || line.ends_with('\r')) line.pop_back();
    return interrupted_ ? Event::interrupt : Event::line;
  }
  void remember(const std::string& text) {
    HistEvent event;
    if (!text.empty()) history(history_, &event, H_ENTER, text.c_str());
  }
  static void put(const char* text) {
    std::fputs(text, stdout);
    std::fflush(stdout);
  }
  static TerminalInput& self(EditLine* editor) {
    void* data = nullptr;
    el_get(editor, EL_CLIENTDATA, &data);
    return *static_cast<TerminalInput*>(data);
  }
  static char* prompt(EditLine* editor) {
    static char first[] = "> ", more[] = ". ";
    return self(editor).continues_ ? more : first;
  }
  static unsigned char interrupt(EditLine* editor, int) {
    self(editor).interrupted_ = true;
    std::fputs("^C\n", stdout);
    return CC_NEWLINE;
  }
  static unsigned char paste(EditLine* editor, int) {
    std::string text;
    char c = 0;
    while (!text.ends_with(kPasteEnd) && text.size() < kMaxPaste && el_getc(editor, &c) == 1)
      text += c == '\r' ? '\n' : c;
    if (text.ends_with(kPasteEnd)) text.resize(text.size() - kPasteEnd.size());
    while (text.ends_with('\n')) text.pop_back();
    return el_insertstr(editor, text.c_str()) == 0 ? CC_REFRESH : CC_ERROR;
  }

  EditLine* editor_;
  History* history_;
  bool continues_ = false, interrupted_ = false;
};

class PlainInput : public LineInput {
 public:
  Event next(std::string& text) override {
    if (!std::getline(std::cin, text)) return Event::end;
    if (text.ends_with('\r')) text.pop_back();
    return Event::line;
  }
};

}  // namespace

std::unique_ptr<LineInput> make_terminal_input() {
  // The editor counts columns in the locale's encoding; where none is set, text is UTF-8 all the same.
  std::setlocale(LC_CTYPE, "");
  if (MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
  return std::make_unique<TerminalInput>();
}

std::unique_ptr<LineInput> make_plain_input() {
  return std::make_unique<PlainInput>();
}

}  // namespace tumbler::cli
