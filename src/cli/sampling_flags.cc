#include "cli/sampling_flags.h"

#include <charconv>
#include <utility>

#include "base/error.h"

namespace tumbler::cli {
namespace {

// "42=-1.5"
std::pair<int32_t, float> parse_bias(const std::string& text) {
  int32_t id = 0;
  float bias = 0;
  const char* end = text.data() + text.size();
  const auto number = std::from_chars(text.data(), end, id);
  if (number.ec == std::errc() && number.ptr != end && *number.ptr == '=') {
    const auto rest = std::from_chars(number.ptr + 1, end, bias);
    if (rest.ec == std::errc() && rest.ptr == end) return {id, bias};
  }
  throw Error("sampling", "--logit-bias: got '{}', expected a token id, = and a number, such as 42=-1.5",
              text);
}

}  // namespace

void add_sampling_flags(CLI::App& command, SamplingFlags& flags) {
  command.add_option("--temperature", flags.options.temperature,
                     "divides the logits; 0 takes the likeliest token each time");
  command.add_option("--top-k", flags.options.top_k, "draw from the k likeliest tokens only; 0: all");
  command.add_option("--top-p", flags.options.top_p,
                     "draw from the fewest tokens whose probabilities sum to p");
  command.add_option("--min-p", flags.options.min_p,
                     "draw from tokens at least this times as likely as the likeliest");
  command.add_option("--repetition-penalty", flags.options.repetition_penalty,
                     "makes tokens of the prompt and the text so far less likely; 1: off");
  command.add_option("--presence-penalty", flags.options.presence_penalty,
                     "taken from the logits of tokens that were generated (-2 to 2)");
  command.add_option("--frequency-penalty", flags.options.frequency_penalty,
                     "the same for each time that a token was generated (-2 to 2)");
  command
      .add_option("--logit-bias", flags.logit_bias,
                  "ID=BIAS added to the logit of a token (-100 to 100); may be given several times")
      ->allow_extra_args(false);
  command.add_option("--seed", flags.seed, "of the draws; the same seed gives the same text");
}

engine::SamplingOptions get_sampling(const SamplingFlags& flags) {
  engine::SamplingOptions options = flags.options;
  for (const std::string& text : flags.logit_bias) options.logit_bias.push_back(parse_bias(text));
  engine::check_sampling(options);
  return options;
}

}  // namespace tumbler::cli
