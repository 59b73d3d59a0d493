#include "text/document.h"

#include <fmt/format.h>
#include <simdjson.h>

namespace tumbler::text {
namespace {

// JSON string, RFC 8259. Bytes above 0x7f are copied: documents are UTF-8.
void append_string(std::string& out, std::string_view s) {
  out += '"';
  size_t begin = 0;
  for (size_t i = 0; i < s.size(); ++i) {
    const auto c = static_cast<unsigned char>(s[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out.append(s, begin, i - begin);
    begin = i + 1;
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        fmt::format_to(std::back_inserter(out), "\\u{:04x}", c);
    }
  }
  out.append(s, begin);
  out += '"';
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  out += out.empty() ? '{' : ',';
  append_string(out, name);
  out += ':';
  append_string(out, value);
}

}  // namespace

std::string to_json_line(const Document& d) {
  std::string out;
  out.reserve(d.text.size() + d.text.size() / 16 + 256);
  append_field(out, "text", d.text);
  append_field(out, "id", d.id);
  append_field(out, "dump", d.dump);
  append_field(out, "url", d.url);
  append_field(out, "date", d.date);
  append_field(out, "file_path", d.file_path);
  append_field(out, "language", d.language);
  fmt::format_to(std::back_inserter(out), ",\"language_score\":{},\"token_count\":{}}}", d.language_score,
                 d.token_count);
  return out;
}

Result<Document> from_json_line(std::string_view line) {
  thread_local simdjson::dom::parser parser;
  simdjson::dom::object object;
  if (const auto error = parser.parse(line.data(), line.size()).get(object); error != simdjson::SUCCESS)
    return Reason{"bad_json", simdjson::error_message(error)};
  Document out;
  const std::pair<const char*, std::string*> strings[] = {
      {"text", &out.text},        {"id", &out.id},     {"dump", &out.dump},
      {"url", &out.url},          {"date", &out.date}, {"file_path", &out.file_path},
      {"language", &out.language}};
  for (const auto& [name, target] : strings) {
    std::string_view value;
    const auto error = object[name].get(value);
    if (error == simdjson::SUCCESS)
      *target = value;
    else if (error != simdjson::NO_SUCH_FIELD)
      return Reason{"bad_json", fmt::format("{}: expected a string", name)};
    else if (target == &out.text)
      return Reason{"no_text", "no field \"text\""};
  }
  if (const auto error = object["language_score"].get(out.language_score);
      error != simdjson::SUCCESS && error != simdjson::NO_SUCH_FIELD)
    return Reason{"bad_json", "language_score: expected a number"};
  if (const auto error = object["token_count"].get(out.token_count);
      error != simdjson::SUCCESS && error != simdjson::NO_SUCH_FIELD)
    return Reason{"bad_json", "token_count: expected a whole number"};
  return out;
}

}  // namespace tumbler::text
