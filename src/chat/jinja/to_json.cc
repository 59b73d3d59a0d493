#include <algorithm>
#include <cmath>

#include "chat/jinja/context.h"

namespace tumbler::jinja {
namespace {

class Writer {
 public:
  Writer(Context& context, const JsonStyle& style) : context_(context), style_(style) {}

  void write(const Value& value) {
    if (const Text* text = value.text())
      write_string(*text);
    else if (const List* list = value.list(); list != nullptr && list->kind != List::kGenerator)
      write_list(*list);
    else if (const Dict* dict = value.dict())
      write_dict(*dict);
    else
      out_.append(scalar(value));
  }

  Text take() { return std::move(out_); }

 private:
  std::string scalar(const Value& value) const {
    if (value.is_none()) return "null";
    if (value.is_bool()) return is_true(value) ? "true" : "false";
    if (!value.is_number()) context_.fail("'{}' cannot be written as JSON", type_name(value));
    if (value.is_int()) return std::to_string(*value.as_int());
    const double x = *value.as_number();
    if (std::isnan(x)) return "NaN";
    return std::isinf(x) ? (x > 0 ? "Infinity" : "-Infinity") : float_text(x);
  }

  void write_string(const Text& text) {
    std::string s = "\"";
    const std::string_view bytes = text.bytes;
    for (size_t i = 0, length = 0; i < bytes.size(); i += length) {
      const uint32_t c = code_point_at(bytes, i, length);
      static constexpr std::string_view kFrom = "\"\\\n\r\t\f\b", kTo = "\"\\nrtfb";
      if (const size_t k = c < 0x80 ? kFrom.find(static_cast<char>(c)) : std::string_view::npos;
          k != std::string_view::npos)
        (s += '\\') += kTo[k];
      else if (c < 0x20 || (style_.ascii && c >= 0x7F && c < 0x10000))
        s += fmt::format("\\u{:04x}", c);
      else if (style_.ascii && c >= 0x10000)
        s += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + ((c - 0x10000) >> 10), 0xDC00 + (c & 0x3FF));
      else
        s += bytes.substr(i, length);
    }
    context_.spend(static_cast<int64_t>(s.size()));
    out_.append(Text(s + "\"", text.has_input()));
  }

  void new_line() {
    if (!style_.indent) return;
    context_.spend(static_cast<int64_t>(style_.indent->size()) * level_);
    out_.append("\n");
    for (int i = 0; i < level_; ++i) out_.append(*style_.indent);
  }

  // Brackets, separators and line ends around `count` parts.
  template <class F>
  void write_parts(const char* open, size_t count, const char* close, F part) {
    out_.append(open);
    ++level_;
    for (size_t i = 0; i < count; ++i) {
      context_.step();
      if (i > 0) out_.append(style_.item_separator);
      new_line();
      part(i);
    }
    --level_;
    if (count > 0) new_line();
    out_.append(close);
  }

  void write_list(const List& list) {
    write_parts("[", list.items.size(), "]", [&](size_t i) { write(list.items[i]); });
  }

  void write_dict(const Dict& dict) {
    std::vector<const std::pair<Value, Value>*> items;
    for (const auto& item : dict.items) items.push_back(&item);
    if (style_.sort_keys)
      std::stable_sort(items.begin(), items.end(), [&](const auto* a, const auto* b) {
        return context_.compare(a->first, b->first) < 0;
      });
    write_parts("{", items.size(), "}", [&](size_t i) {
      const Value& key = items[i]->first;
      write_string(key.text() != nullptr ? *key.text() : Text(scalar(key)));
      out_.append(style_.key_separator);
      write(items[i]->second);
    });
  }

  Context& context_;
  const JsonStyle& style_;
  Text out_;
  int level_ = 0;
};

}  // namespace

Text to_json(Context& context, const Value& value, const JsonStyle& style) {
  context.spend(weight_of(value));
  Writer writer(context, style);
  writer.write(value);
  return writer.take();
}

}  // namespace tumbler::jinja
