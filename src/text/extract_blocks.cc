#include "text/extract_blocks.h"

#include <algorithm>

namespace tumbler::text {
namespace {

using enum Tag;

constexpr bool is_heading(Tag tag) {
  return tag >= h1_ && tag <= h6_;
}

// Walks the subtree once, without recursion: open_ holds the elements whose end has not been reached.
class BlockWriter {
 public:
  BlockWriter(const Page& page, const Dropped& dropped, BlockText& out)
      : page_(page), tree_(page.tree()), dropped_(dropped), out_(out) {}

  void run(int32_t root) {
    current_.offset = static_cast<uint32_t>(out_.bytes.size());
    enter(root);
    for (int32_t i = root + 1; i < tree_[root].end;) {
      while (tree_[open_.back()].end <= i) leave();
      if (dropped_[static_cast<size_t>(i)]) {
        if (is_block_tag(tree_.tag(i))) break_line();
        i = tree_[i].end;
        continue;
      }
      if (tree_.tag(i) == kText)
        add_text(i);
      else
        enter(i);
      ++i;
    }
    while (!open_.empty()) leave();
    flush();
  }

 private:
  void enter(int32_t i) {
    open_.push_back(i);
    const Tag tag = tree_.tag(i);
    if (is_block_tag(tag)) break_line();
    switch (tag) {
      case pre_:
      case xmp_:
        if (depth_.pre++ == 0) pre_fresh_ = true;
        break;
      case blockquote_:
        ++depth_.quote;
        break;
      case p_:
        ++depth_.paragraph;
        break;
      case li_:
      case dd_:
      case dt_:
        ++depth_.item;
        item_fresh_ = tag == li_ && depth_.cell == 0;
        break;
      case a_:
        depth_.link += tree_.has(i, Attribute::href_);
        break;
      case table_:
        tables_.push_back({is_data_table(i), false});
        break;
      case tr_:
        if (in_data_table()) {
          ++depth_.cell;
          tables_.back().has_cell = false;
        }
        break;
      case td_:
      case th_:
      case caption_:
        if (in_data_table() && depth_.cell > 0 && tag != caption_) {
          if (tables_.back().has_cell) add_separator();
          tables_.back().has_cell = true;
        }
        break;
      case br_:
        if (depth_.pre > 0)
          put('\n');
        else if (depth_.cell > 0)
          pending_space_ = true;
        else
          flush();
        break;
      default:
        if (is_heading(tag)) ++depth_.heading;
    }
  }

  void leave() {
    const int32_t i = open_.back();
    const Tag tag = tree_.tag(i);
    if (is_block_tag(tag)) break_line();
    switch (tag) {
      case pre_:
      case xmp_:
        --depth_.pre;
        break;
      case blockquote_:
        --depth_.quote;
        break;
      case p_:
        --depth_.paragraph;
        break;
      case li_:
      case dd_:
      case dt_:
        --depth_.item;
        item_fresh_ = false;
        break;
      case a_:
        depth_.link -= tree_.has(i, Attribute::href_);
        break;
      case table_:
        tables_.pop_back();
        break;
      case tr_:
        if (in_data_table() && --depth_.cell == 0) flush();
        break;
      default:
        if (is_heading(tag)) --depth_.heading;
    }
    open_.pop_back();
  }

  bool in_data_table() const { return !tables_.empty() && tables_.back().data; }

  // A table holds data if its cells hold words rather than the page's layout: no table inside, no headings,
  // and not several paragraphs or much text in one cell.
  bool is_data_table(int32_t table) const {
    if (depth_.cell > 0) return true;  // inside a data table's cell all is one line
    uint32_t cell_chars = 0, paragraphs = 0, rows = 0, cells = 0;
    for (int32_t i = table + 1; i < tree_[table].end;) {
      if (dropped_[static_cast<size_t>(i)]) {
        i = tree_[i].end;
        continue;
      }
      const Tag tag = tree_.tag(i);
      if (tag == table_ || is_heading(tag) || tag == pre_ || tag == article_ || tag == section_) return false;
      if (tag == tr_) ++rows;
      if (tag == td_ || tag == th_) {
        ++cells;
        cell_chars = paragraphs = 0;
      }
      if (tag == p_) ++paragraphs;
      cell_chars += page_.text_chars(i);
      if (cell_chars > 1000 || paragraphs > 3 || (paragraphs > 1 && cell_chars > 300 && rows == 1))
        return false;
      ++i;
    }
    return cells > rows;  // one column is layout
  }

  void break_line() {
    if (depth_.pre > 0) return;
    if (depth_.cell > 0)
      pending_space_ = true;
    else
      flush();
  }

  void add_separator() {
    begin_if_empty();
    out_.bytes += current_size() > 0 ? " | " : "| ";
    pending_space_ = false;
  }

  size_t current_size() const { return out_.bytes.size() - current_.offset; }

  void begin_if_empty() {
    if (current_size() > 0 || current_begun_) return;
    current_begun_ = true;
    current_.node = open_.back();
    current_.kind = kind_here();
    if (current_.kind == BlockKind::kItem && item_fresh_) out_.bytes += "- ";
    if (current_.kind == BlockKind::kItem) item_fresh_ = false;
  }

  BlockKind kind_here() const {
    if (depth_.cell > 0) return BlockKind::kRow;
    if (depth_.pre > 0) return BlockKind::kCode;
    if (depth_.heading > 0) return BlockKind::kHeading;
    if (depth_.item > 0) return BlockKind::kItem;
    if (depth_.quote > 0) return BlockKind::kQuote;
    return depth_.paragraph > 0 ? BlockKind::kParagraph : BlockKind::kLoose;
  }

  void put(char c) { out_.bytes += c; }

  void add_text(int32_t i) {
    const std::string_view text = tree_.text(i);
    if (depth_.pre > 0 && depth_.cell == 0) return add_code(text);
    const char* const s = text.data();
    const size_t n = text.size();
    size_t at = 0;
    while (at < n) {
      const size_t from = at;
      while (at<n&& static_cast<uint8_t>(s[at])> 0x20 && s[at] != 0x7F && static_cast<uint8_t>(s[at]) != 0xC2)
        ++at;
      if (at < n && static_cast<uint8_t>(s[at]) == 0xC2 &&
          !(at + 1 < n && static_cast<uint8_t>(s[at + 1]) < 0xA1)) {
        at += 1;  // U+00A1 to U+00BF
        while (at < n && (static_cast<uint8_t>(s[at]) & 0xC0) == 0x80) ++at;
        add_run(text.substr(from, at - from));
        continue;
      }
      if (at > from) add_run(text.substr(from, at - from));
      if (at == n) break;
      if (static_cast<uint8_t>(s[at]) == 0xC2) {  // U+0080 to U+009F are controls, U+00A0 is a space
        if (static_cast<uint8_t>(s[at + 1]) == 0xA0) pending_space_ = true;
        at += 2;
      } else {
        if (is_html_space(s[at])) pending_space_ = true;
        ++at;
      }
    }
  }

  void add_run(std::string_view run) {
    begin_if_empty();
    if (pending_space_ && current_size() > 0 && out_.bytes.back() != ' ') put(' ');
    pending_space_ = false;
    out_.bytes += run;
    if (depth_.link > 0) current_.link_chars += count(run);
  }

  void add_code(std::string_view text) {
    begin_if_empty();
    if (pre_fresh_ && !text.empty()) {  // the newline right behind <pre> is not part of it
      if (text.front() == '\r') text.remove_prefix(1);
      if (!text.empty() && text.front() == '\n') text.remove_prefix(1);
      pre_fresh_ = false;
    }
    for (char c : text)
      if (static_cast<uint8_t>(c) >= 0x20 ? c != 0x7F : (c == '\n' || c == '\t')) put(c);
  }

  static uint32_t count(std::string_view bytes) {
    uint32_t chars = 0;
    for (char c : bytes) chars += (static_cast<uint8_t>(c) & 0xC0) != 0x80;
    return chars;
  }

  // Ends the block: trailing white space goes, and a block without a letter or digit is none.
  void flush() {
    pending_space_ = false;
    std::string& bytes = out_.bytes;
    const bool code = current_begun_ && current_.kind == BlockKind::kCode;
    while (bytes.size() > current_.offset && is_html_space(bytes.back())) bytes.pop_back();
    if (code)
      trim_code();
    else if (current_.kind == BlockKind::kRow)
      trim_row();
    current_.size = static_cast<uint32_t>(bytes.size() - current_.offset);
    const std::string_view view(bytes.data() + current_.offset, current_.size);
    if (current_.size > 0 && has_word(view)) {
      current_.chars = count(view);
      out_.blocks.push_back(current_);
    } else {
      bytes.resize(current_.offset);
    }
    current_ = {};
    current_.offset = static_cast<uint32_t>(bytes.size());
    current_begun_ = false;
  }

  // A row with one cell that says something is a line like any other.
  void trim_row() {
    std::string& bytes = out_.bytes;
    const std::string_view row(bytes.data() + current_.offset, bytes.size() - current_.offset);
    const size_t first = row.find_first_not_of("| ");
    if (first == row.npos) return bytes.resize(current_.offset);
    const size_t last = row.find_last_not_of("| ");
    if (row.substr(first, last - first).find(" | ") != row.npos) return;
    const std::string cell(row.substr(first, last + 1 - first));
    bytes.replace(current_.offset, std::string::npos, cell);
  }

  // Blank lines before the first line of code, and spaces at line ends.
  void trim_code() {
    std::string& bytes = out_.bytes;
    size_t to = current_.offset, line = current_.offset;
    bool begun = false;
    for (size_t i = current_.offset; i <= bytes.size(); ++i) {
      if (i < bytes.size() && bytes[i] != '\n') continue;
      size_t end = i;
      while (end > line && (bytes[end - 1] == ' ' || bytes[end - 1] == '\t')) --end;
      if (end > line || begun) {
        if (begun) bytes[to++] = '\n';
        std::copy(bytes.begin() + static_cast<int64_t>(line), bytes.begin() + static_cast<int64_t>(end),
                  bytes.begin() + static_cast<int64_t>(to));
        to += end - line;
        begun = true;
      }
      line = i + 1;
    }
    bytes.resize(to);
  }

  static bool has_word(std::string_view text) {
    return std::any_of(text.begin(), text.end(), [](char c) {
      return (c >= '0' && c <= '9') || (static_cast<uint8_t>(c | 32) >= 'a' && (c | 32) <= 'z') ||
             static_cast<uint8_t>(c) >= 0xC3;
    });
  }

  struct Depth {
    int pre = 0, quote = 0, paragraph = 0, item = 0, link = 0, cell = 0, heading = 0;
  };
  struct Table {
    bool data, has_cell;
  };

  const Page& page_;
  const HtmlTree& tree_;
  const Dropped& dropped_;
  BlockText& out_;
  std::vector<int32_t> open_;
  std::vector<Table> tables_;
  Depth depth_;
  Block current_;
  bool current_begun_ = false, pending_space_ = false, item_fresh_ = false, pre_fresh_ = false;
};

}  // namespace

uint32_t BlockText::chars() const {
  uint32_t sum = 0;
  for (const Block& block : blocks) sum += block.chars;
  return sum;
}

void append_blocks(const Page& page, int32_t root, const Dropped& dropped, BlockText& out) {
  BlockWriter(page, dropped, out).run(root);
}

BlockText collect_blocks(const Page& page, int32_t root, const Dropped& dropped) {
  BlockText out;
  append_blocks(page, root, dropped, out);
  return out;
}

}  // namespace tumbler::text
