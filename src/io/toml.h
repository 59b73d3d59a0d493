// TOML files as JSON values, so that one reader of configurations (base/config.h) serves both.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

namespace tumbler::io {

// Throws Error with line and column where the text is not TOML. Dates become strings.
nlohmann::json parse_toml(std::string_view text, std::string_view where);
nlohmann::json read_toml(const std::filesystem::path& path);

}  // namespace tumbler::io
