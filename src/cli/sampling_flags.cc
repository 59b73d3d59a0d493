#include "cli/sampling_flags.h"

#include <charconv>
#include <utility>

#include "base/error.h"
#include "engine/json_schema.h"
#include "io/file.h"

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

void add_guesses_flag(CLI::App& command, int64_t& guesses) {
  command
      .add_option("--guesses", guesses,
                  "most tokens to guess from the text so far and check in one pass; changes no token")
      ->check(CLI::Range(int64_t{0}, int64_t{64}));
}

void add_grammar_flags(CLI::App& command, GrammarFlags& flags) {
  CLI::Option* grammar = command.add_option(
      "--grammar", flags.grammar, "what the text has to follow, in GBNF: a file, or the grammar itself");
  command
      .add_option("--json-schema", flags.json_schema,
                  "JSON schema that the text has to follow: a file, or the schema itself ({} is any JSON)")
      ->excludes(grammar);
}

std::shared_ptr<const engine::Grammar> get_grammar(const GrammarFlags& flags) {
  if (flags.grammar.empty() && flags.json_schema.empty()) return nullptr;
  std::string text;
  if (!flags.grammar.empty()) {
    const bool is_text = flags.grammar.find("::=") != std::string::npos;
    text = is_text ? flags.grammar : io::read_file(flags.grammar);
  } else {
    const bool is_text = flags.json_schema.find('{') != std::string::npos;
    text = engine::json_schema_grammar(is_text ? flags.json_schema : io::read_file(flags.json_schema));
  }
  return std::make_shared<const engine::Grammar>(engine::Grammar::parse(text));
}

void add_decoder_flags(CLI::App& command, DecoderFlags& flags) {
  command.add_option("--cache", flags.cache, "what keys and values are kept in")
      ->check(CLI::IsMember({"bf16", "i8", "f32"}));
  command.add_option("--prefill-threads", flags.prefill_threads, "threads that read prompts; 0: all")
      ->check(CLI::Range(0, 4096));
  command.add_option("--decode-threads", flags.decode_threads, "threads that write token by token; 0: all")
      ->check(CLI::Range(0, 4096));
}

engine::DecoderOptions get_decoder_options(const DecoderFlags& flags, int64_t sequences, int64_t capacity) {
  using kernels::CacheType;
  const CacheType cache = flags.cache == "i8"    ? CacheType::i8
                          : flags.cache == "f32" ? CacheType::f32
                                                 : CacheType::bf16;
  return {.sequences = sequences,
          .capacity = capacity,
          .cache = cache,
          .prefill_threads = flags.prefill_threads,
          .decode_threads = flags.decode_threads};
}

}  // namespace tumbler::cli
