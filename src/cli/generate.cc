// tumbler generate: a base model continues a text.
#include "engine/generate.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "chat/open_model.h"
#include "cli/commands.h"
#include "cli/model_files.h"
#include "cli/progress_bar.h"
#include "cli/sampling_flags.h"
#include "tokens/stop_strings.h"
#include "tokens/streaming_decoder.h"

namespace tumbler::cli {
namespace {

struct Flags {
  std::string model, prompt;
  std::vector<std::string> stop;
  SamplingFlags sampling;
  int64_t max_tokens = 128, top_logprobs = 0, num_samples = 1, guesses = 0;
  DecoderFlags decoder;
  GrammarFlags grammar;
  bool json = false, no_echo = false, no_bos = false, special = false;
};

void put(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

// Code points: close enough to columns for the scripts these tables see most.
size_t width(std::string_view utf8) {
  size_t n = 0;
  for (const char c : utf8) n += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return n;
}

std::string pad(std::string text, size_t columns) {
  const size_t n = width(text);
  if (n < columns) text.append(columns - n, ' ');
  return text;
}

// A token for people: in quotes, control characters and bytes that are no text escaped.
std::string quote(const tokens::Tokenizer& tokenizer, int32_t id) {
  if (id >= tokenizer.vocab_size() || !tokenizer.has(id)) return fmt::format("<unused {}>", id);
  std::string text;
  const std::string_view bytes = tokenizer.token_bytes(id);
  const size_t left_out = tokens::append_utf8(bytes, text);
  std::string out = "\"";
  if (left_out > 0 || text.find("\xEF\xBF\xBD") != std::string::npos) {
    for (const char c : bytes) {
      const auto byte = static_cast<unsigned char>(c);
      out += byte < 0x20 || byte >= 0x7f ? fmt::format("\\x{:02x}", byte) : std::string(1, c);
    }
  } else {
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == '\n')
        out += "\\n";
      else if (c == '\t')
        out += "\\t";
      else if (byte < 0x20 || byte == 0x7f)
        out += fmt::format("\\x{:02x}", byte);
      else
        out += c;
    }
  }
  return out + "\"";
}

std::string to_utf8(const tokens::Tokenizer& tokenizer, int32_t id) {
  std::string text;
  if (id >= tokenizer.vocab_size() || !tokenizer.has(id)) return text;
  if (tokens::append_utf8(tokenizer.token_bytes(id), text) > 0) text += "\xEF\xBF\xBD";
  return text;
}

// One line of a table: the token that was chosen, and what else the model thought likely.
std::string table_line(const tokens::Tokenizer& tokenizer, size_t index, const engine::TokenChoice& choice) {
  std::string line = fmt::format("{:4}  {} {:5.1f}%  |", index, pad(quote(tokenizer, choice.id), 16),
                                 100 * std::exp(choice.log_prob));
  for (const engine::Candidate& c : choice.top)
    line += fmt::format("  {}{:5.1f}%", pad(quote(tokenizer, c.id), 14), 100 * std::exp(c.log_prob));
  return line + "\n";
}

nlohmann::ordered_json token_json(const tokens::Tokenizer& tokenizer, int64_t sample, size_t index,
                                  const engine::TokenChoice& choice) {
  const auto entry = [&](int32_t id, float log_prob) {
    return nlohmann::ordered_json{{"id", id},
                                  {"token", to_utf8(tokenizer, id)},
                                  {"logprob", log_prob},
                                  {"prob", std::exp(static_cast<double>(log_prob))}};
  };
  nlohmann::ordered_json line = {{"event", "token"}, {"sample", sample}, {"index", index}};
  line.update(entry(choice.id, choice.log_prob));
  line["top"] = nlohmann::ordered_json::array();
  for (const engine::Candidate& c : choice.top) line["top"].push_back(entry(c.id, c.log_prob));
  return line;
}

const char* finish_name(engine::Finish finish) {
  switch (finish) {
    case engine::Finish::stop:
      return "end";
    case engine::Finish::length:
      return "max_tokens";
    case engine::Finish::context:
      return "context";
    case engine::Finish::caller:
      return "stop";
    case engine::Finish::error:
      return "error";
  }
  return "";
}

// The text of one sample as it comes.
class Stream {
 public:
  Stream(const tokens::Tokenizer& tokenizer, const Flags& flags)
      : decoder_(tokenizer, /*skip_special=*/true, /*goes_on=*/true), stops_(flags.stop) {}
  // Text that is sure now.
  std::string_view push(int32_t id, const tokens::Tokenizer& tokenizer) {
    if (id >= tokenizer.vocab_size() || !tokenizer.has(id)) return {};
    return keep(stops_.push(decoder_.push(id)));
  }
  std::string_view finish() {
    if (stopped()) return {};
    const std::string rest = std::string(stops_.push(decoder_.flush()));
    return keep(stopped() ? rest : rest + std::string(stops_.flush()));
  }
  bool stopped() const { return stops_.stopped(); }
  const std::string& text() const { return text_; }

 private:
  std::string_view keep(std::string_view piece) {
    text_ += piece;
    return std::string_view(text_).substr(text_.size() - piece.size());
  }
  tokens::StreamingDecoder decoder_;
  tokens::StopStrings stops_;
  std::string text_;
};

class Session {
 public:
  explicit Session(const Flags& flags) : flags_(flags), open_(chat::open_for_inference(flags.model)) {}

  void run() {
    const std::string text =
        flags_.prompt == "-" ? std::string(std::istreambuf_iterator<char>(std::cin), {}) : flags_.prompt;
    const std::vector<std::vector<int32_t>> prompts(static_cast<size_t>(flags_.num_samples), encode(text));
    for (int64_t i = 0; i < flags_.num_samples; ++i) streams_.emplace_back(open_.tokenizer, flags_);
    counts_.resize(streams_.size());
    const auto begin = std::chrono::steady_clock::now();
    // So many at a time; others wait their turn.
    constexpr int64_t kAtOnce = 64;
    engine::Decoder decoder(
        open_.model,
        get_decoder_options(flags_.decoder, std::min(flags_.num_samples, kAtOnce), capacity(prompts[0])));
    if (live() && !flags_.no_echo) put(text);
    const auto out = engine::generate(
        decoder, prompts, options(),
        [this](int64_t i, const engine::TokenChoice& choice) { return on_token(i, choice); });
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    for (size_t i = 0; i < out.size(); ++i) finish(i, text, out[i]);
    size_t tokens = 0;
    for (const size_t n : counts_) tokens += n;
    log::info("{} prompt tokens, {} new, {} in all", prompts[0].size(), tokens,
              format_rate(static_cast<double>(tokens) / std::max(seconds, 1e-9), "tokens"));
  }

 private:
  // Text goes out as it comes: one sample, neither as a table nor as JSON.
  bool live() const { return flags_.num_samples == 1 && !flags_.json && flags_.top_logprobs == 0; }

  std::vector<int32_t> encode(const std::string& text) const {
    std::vector<int32_t> ids;
    if (!flags_.no_bos) ids.assign(open_.tokenizer.prefix().begin(), open_.tokenizer.prefix().end());
    for (const int32_t id : open_.tokenizer.encode(text, flags_.special)) ids.push_back(id);
    if (ids.empty() && !flags_.no_bos && open_.files.bos_token_id >= 0)
      ids.push_back(static_cast<int32_t>(open_.files.bos_token_id));
    if (ids.empty())
      throw Error("generate",
                  "--prompt: got no tokens, and the model names no token to begin with; give some text");
    return ids;
  }
  // No more of the context window than this run can fill.
  int64_t capacity(const std::vector<int32_t>& prompt) const {
    const auto wanted = static_cast<int64_t>(prompt.size()) + std::min<int64_t>(flags_.max_tokens, 1 << 20);
    return std::min(wanted, open_.model.config().max_positions);
  }
  engine::GenerateOptions options() const {
    engine::GenerateOptions options{.sampling = flags_.sampling.options,
                                    .seed = flags_.sampling.seed,
                                    .max_tokens = flags_.max_tokens,
                                    .stop_tokens = {},
                                    .top_log_probs = flags_.top_logprobs,
                                    .guesses = flags_.guesses};
    options.grammar = get_grammar(flags_.grammar);
    if (options.grammar) options.vocabulary = chat::get_vocabulary(open_.tokenizer);
    for (const int64_t id : open_.files.eos_token_ids)
      options.stop_tokens.push_back(static_cast<int32_t>(id));
    return options;
  }

  bool on_token(int64_t i, const engine::TokenChoice& choice) {
    const size_t index = counts_[i]++;
    const std::string_view piece = streams_[i].push(choice.id, open_.tokenizer);
    if (flags_.json)
      put(token_json(open_.tokenizer, i, index, choice)
              .dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) +
          "\n");
    else if (flags_.top_logprobs > 0 && flags_.num_samples == 1)
      put(table_line(open_.tokenizer, index, choice));
    else if (live())
      put(piece);
    return !streams_[i].stopped();
  }

  void finish(size_t i, const std::string& prompt, const engine::Generation& generation) {
    const std::string_view rest = streams_[i].finish();
    const std::string& text = streams_[i].text();
    if (flags_.json) {
      const nlohmann::ordered_json line = {{"event", "text"},
                                           {"sample", i},
                                           {"prompt", prompt},
                                           {"text", text},
                                           {"tokens", generation.tokens.size()},
                                           {"finish", finish_name(generation.finish)}};
      put(line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
    } else if (live()) {
      put(std::string(rest) + "\n");
    } else {
      if (flags_.num_samples > 1) put(fmt::format("--- sample {}\n", i + 1));
      if (flags_.num_samples > 1 && flags_.top_logprobs > 0)
        for (size_t t = 0; t < generation.tokens.size(); ++t)
          put(table_line(open_.tokenizer, t, generation.tokens[t]));
      put((flags_.no_echo ? "" : prompt) + text + "\n");
    }
  }

  const Flags& flags_;
  const chat::InferenceModel open_;
  std::vector<Stream> streams_;
  std::vector<size_t> counts_;
};

}  // namespace

void add_generate(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand("generate", "Let a base model continue a text.");
  command
      ->add_option("--model", flags->model,
                   "Hugging Face directory, .gguf file, or a run of tumbler pretrain")
      ->required();
  command->add_option("--prompt", flags->prompt, "the text to continue; - reads standard input")->required();
  command->add_option("--max-tokens", flags->max_tokens, "most tokens to add")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30));
  add_sampling_flags(*command, flags->sampling);
  command->add_option("--stop", flags->stop, "end where this text begins; may be given several times")
      ->allow_extra_args(false);
  command->add_option("--top-logprobs", flags->top_logprobs, "show this many likeliest tokens at each step")
      ->check(CLI::Range(int64_t{0}, int64_t{1000}));
  command->add_option("--num-samples", flags->num_samples, "continuations, each with other luck")
      ->check(CLI::Range(int64_t{1}, int64_t{4096}));
  add_guesses_flag(*command, flags->guesses);
  add_grammar_flags(*command, flags->grammar);
  add_decoder_flags(*command, flags->decoder);
  command->add_flag("--json", flags->json, "one JSON line per token and one per text");
  command->add_flag("--no-echo", flags->no_echo, "leave the prompt out of the output");
  command->add_flag("--no-bos", flags->no_bos,
                    "leave out what the model's files put before a prompt, such as a begin-of-text token");
  command->add_flag("--special", flags->special, "names of special tokens in the prompt are these tokens");
  command->callback([flags] {
    flags->sampling.options = get_sampling(flags->sampling);
    Session(*flags).run();
  });
}

}  // namespace tumbler::cli
