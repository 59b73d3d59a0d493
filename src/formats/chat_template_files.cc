#include "formats/chat_template_files.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/file.h"
#include "tokens/tokenizer_json.h"

namespace tumbler::formats {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

ordered_json read_config(const fs::path& path) {
  ordered_json j = ordered_json::parse(io::read_file(path), nullptr, /*allow_exceptions=*/false);
  if (!j.is_object()) throw Error(path.string(), "got something that is not a JSON object");
  return j;
}

}  // namespace

std::string read_chat_template(const fs::path& directory) {
  if (fs::exists(directory / "chat_template.jinja")) return io::read_file(directory / "chat_template.jinja");
  const fs::path path = directory / "tokenizer_config.json";
  if (!fs::exists(path)) return "";
  const ordered_json j = read_config(path);
  const auto found = j.find("chat_template");
  if (found == j.end() || found->is_null()) return "";
  if (found->is_string()) return found->get<std::string>();
  for (const ordered_json& entry : *found)
    if (entry.is_object() && entry.value("name", ordered_json()) == "default" && entry.contains("template") &&
        entry["template"].is_string())
      return entry["template"].get<std::string>();
  throw Error(path.string(), "chat_template: got no text and no list with a template named default");
}

void save_tokenizer(const tokens::Tokenizer& tokenizer, const fs::path& directory,
                    std::string_view chat_template) {
  tokens::save_tokenizer(tokenizer, directory);
  const fs::path path = directory / "tokenizer_config.json";
  ordered_json j = read_config(path);
  j.erase("chat_template");
  if (!chat_template.empty()) j["chat_template"] = chat_template;
  io::write_file(path, j.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n");
}

}  // namespace tumbler::formats
