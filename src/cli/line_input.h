// Lines that a person types, or that come on standard input.
#pragma once

#include <memory>
#include <string>

namespace tumbler::cli {

class LineInput {
 public:
  enum class Event {
    line,       // `text` is what was entered; several lines where they were pasted or continued
    interrupt,  // Ctrl-C; `text` is what was typed so far
    end,        // Ctrl-D at an empty line, or the end of the input
  };
  virtual ~LineInput() = default;
  virtual Event next(std::string& text) = 0;
};

// On a terminal: editing, history, pasted text with its line breaks; a line that ends in \ goes on, and so do
// lines between two """.
std::unique_ptr<LineInput> make_terminal_input();
// Each line of standard input.
std::unique_ptr<LineInput> make_plain_input();

}  // namespace tumbler::cli
