// How tokens shall be drawn, as requests say it: the keys of OpenAI's API and those beyond it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chat/server/hosted_model.h"
#include "chat/server/json_request.h"
#include "engine/scheduler.h"

namespace tumbler::chat {

struct SamplingRequest {
  engine::SamplingOptions sampling;
  uint64_t seed = 0;
  std::optional<int64_t> max_tokens;  // absent: what the context holds
  int64_t choices = 1;                // "n"
  int64_t guesses = 0;
  std::vector<std::string> stop;
  std::shared_ptr<const engine::Grammar> grammar;  // or null
};

// Reads them from `keys`; what is absent is OpenAI's default. `grammar`:
// what the text has to follow, before what the request says ("required" tools). Throws ApiError.
SamplingRequest read_sampling(const Json& keys, const HostedModel& model, const std::string& grammar = {});

// One choice of it. Each has luck of its own.
engine::Request make_request(const SamplingRequest& sampling, HostedModel& model, std::vector<int32_t> prompt,
                             int64_t choice);

}  // namespace tumbler::chat
