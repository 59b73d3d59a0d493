#include "chat/server/metrics.h"

#include <algorithm>

#include <fmt/format.h>

namespace tumbler::chat {
namespace {

void head(std::string& out, const char* name, const char* type, const char* help) {
  out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

// A label's value, quoted.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out + "\"";
}

}  // namespace

void Metrics::count_request(int status) noexcept {
  ++by_class_[static_cast<size_t>(std::clamp(status / 100, 0, 5))];
}

void Metrics::Histogram::note(double seconds) noexcept {
  const auto at = std::lower_bound(kBounds.begin(), kBounds.end(), seconds) - kBounds.begin();
  ++counts[static_cast<size_t>(at)];
  microseconds += static_cast<int64_t>(seconds * 1e6);
}

void Metrics::Histogram::write(const char* name, const char* help, std::string& out) const {
  head(out, name, "histogram", help);
  int64_t sum = 0;
  for (size_t i = 0; i < kBounds.size(); ++i)
    out += fmt::format("{}_bucket{{le=\"{}\"}} {}\n", name, kBounds[i], sum += counts[i]);
  sum += counts.back();
  out += fmt::format("{0}_bucket{{le=\"+Inf\"}} {1}\n{0}_sum {2}\n{0}_count {1}\n", name, sum,
                     static_cast<double>(microseconds) / 1e6);
}

std::string Metrics::text(const ModelRegistry& models) const {
  std::string out;
  head(out, "tumbler_requests_total", "counter", "HTTP requests by class of status.");
  for (size_t c = 2; c <= 5; ++c)
    out += fmt::format("tumbler_requests_total{{status=\"{}xx\"}} {}\n", c, by_class_[c].load());
  head(out, "tumbler_requests_cancelled_total", "counter", "Requests whose client went away.");
  out += fmt::format("tumbler_requests_cancelled_total {}\n", cancelled_.load());
  first_token_.write("tumbler_first_token_seconds", "From a request to its first token.", out);
  const auto all = models.loaded();
  const auto per_model = [&](const char* name, const char* type, const char* help, auto value) {
    head(out, name, type, help);
    for (const auto& model : all)
      out += fmt::format("{}{{model={}}} {}\n", name, quoted(model->id()), value(model->status()));
  };
  using Status = HostedModel::Status;
  per_model("tumbler_prompt_tokens_total", "counter", "Tokens of prompts that were read.",
            [](const Status& s) { return s.counts.prompt_tokens; });
  per_model("tumbler_cached_tokens_total", "counter", "Tokens of prompts that the cache held already.",
            [](const Status& s) { return s.counts.reused_tokens; });
  per_model("tumbler_generated_tokens_total", "counter", "Tokens that were written.",
            [](const Status& s) { return s.counts.generated_tokens; });
  per_model("tumbler_active_requests", "gauge", "Generations that run.",
            [](const Status& s) { return s.active; });
  per_model("tumbler_waiting_requests", "gauge", "Generations that wait.",
            [](const Status& s) { return s.waiting; });
  per_model("tumbler_weight_bytes", "gauge", "Memory of the weights.",
            [](const Status& s) { return s.weight_bytes; });
  per_model("tumbler_cache_bytes", "gauge", "Memory of keys and values in use.",
            [](const Status& s) { return s.cache_bytes; });
  return out;
}

}  // namespace tumbler::chat
