// `tumbler tokenizer train | encode | decode | inspect`.
#include <charconv>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/progress_bar.h"
#include "io/file.h"
#include "tokens/bpe_trainer.h"
#include "tokens/inspect.h"
#include "tokens/tokenizer_json.h"
#include "tokens/unicode_tables.h"

namespace tumbler::cli {
namespace {

using Json = nlohmann::ordered_json;
using tokens::TokenId;
using tokens::Tokenizer;

void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

// JSON with U+FFFD where a token is no whole character.
std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string read_stdin() {
  return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
}

// The files, or stdin where there are none.
std::vector<std::string> read_inputs(const std::vector<std::string>& patterns) {
  std::vector<std::string> texts;
  for (const std::string& pattern : patterns)
    for (const auto& path : io::glob(pattern)) texts.push_back(io::read_file(path));
  if (!patterns.empty() && texts.empty())
    throw Error("tokenizer", "{}: got no file, expected text; see that the pattern matches", patterns[0]);
  if (patterns.empty()) texts.push_back(read_stdin());
  return texts;
}

struct TrainFlags {
  std::vector<std::string> inputs;
  std::string output, pattern = "qwen2";
  double memory_gb = 4;
  tokens::TrainOptions options;
  bool json = false;
};

void train(TrainFlags& flags) {
  std::vector<std::filesystem::path> files;
  for (const std::string& pattern : flags.inputs)
    for (const auto& path : io::glob(pattern)) files.push_back(path);
  if (files.empty())
    throw Error("tokenizer.train", "--input: got no file, expected documents; see that the pattern matches");
  const auto pattern = tokens::find_pattern(flags.pattern);
  if (!pattern)
    throw Error("tokenizer.train",
                "--pattern: got '{}', expected gpt2, digits, cl100k, llama3, qwen2, qwen35, o200k or tekken",
                flags.pattern);
  flags.options.pattern = *pattern;
  flags.options.memory_bytes = static_cast<int64_t>(flags.memory_gb * (1 << 30));
  const auto progress = make_progress();
  tokens::TrainReport report;
  const Tokenizer tokenizer = tokens::train_tokenizer(files, flags.options, *progress, report);
  tokens::save_tokenizer(tokenizer, flags.output);
  if (flags.json) {
    print(dump({{"vocab_size", tokenizer.vocab_size()},
                {"merges", report.merges},
                {"documents", report.documents},
                {"text_bytes", report.text_bytes},
                {"unique_pieces", report.unique_pieces},
                {"pieces_dropped_up_to_count", report.dropped_up_to},
                {"count_seconds", report.count_seconds},
                {"merge_seconds", report.merge_seconds}}));
    return;
  }
  print(
      fmt::format("{} ids ({} merges) from {} documents, {} bytes, {} different pieces; counted in {:.1f} s, "
                  "merged in {:.1f} s\n{}\n",
                  tokenizer.vocab_size(), report.merges, with_separators(report.documents),
                  with_separators(report.text_bytes), with_separators(report.unique_pieces),
                  report.count_seconds, report.merge_seconds, flags.output));
}

struct CodeFlags {
  std::string tokenizer;
  std::vector<std::string> files;
  bool special = false, skip_special = false, json = false;
};

void encode(const CodeFlags& flags) {
  const Tokenizer tokenizer = Tokenizer::load(flags.tokenizer);
  for (const std::string& text : read_inputs(flags.files)) {
    const std::vector<TokenId> ids = tokenizer.encode(text, flags.special);
    if (flags.json) {
      Json pieces = Json::array();
      for (const TokenId id : ids) pieces.push_back(tokens::printable(tokenizer.token_bytes(id)));
      print(dump({{"ids", ids}, {"tokens", std::move(pieces)}}));
    } else {
      print(fmt::format("{}\n", fmt::join(ids, " ")));
    }
  }
}

std::vector<TokenId> parse_ids(std::string_view text) {
  std::vector<TokenId> ids;
  for (size_t i = 0; i < text.size();) {
    const size_t end = std::min(text.find_first_of(" ,\t\r\n[]", i), text.size());
    if (end == i) {
      ++i;
      continue;
    }
    TokenId id = -1;
    const auto [stop, error] = std::from_chars(text.data() + i, text.data() + end, id);
    if (error != std::errc() || stop != text.data() + end)
      throw Error("tokenizer.decode", "got '{}', expected ids between blanks or commas",
                  text.substr(i, std::min<size_t>(end - i, 40)));
    ids.push_back(id);
    i = end;
  }
  return ids;
}

void decode(const CodeFlags& flags) {
  const Tokenizer tokenizer = Tokenizer::load(flags.tokenizer);
  for (const std::string& text : read_inputs(flags.files)) {
    const std::string out = tokenizer.decode(parse_ids(text), flags.skip_special);
    print(flags.json ? dump({{"text", out}}) : out);
  }
}

struct InspectFlags {
  std::string tokenizer, text;
  std::vector<std::string> files, compare;
  bool color = false, special = false, json = false;
};

Json stats_json(const Tokenizer& tokenizer) {
  const tokens::VocabularyStats s = tokens::vocabulary_stats(tokenizer);
  Json longest = Json::array();
  for (const TokenId id : s.longest) longest.push_back(tokens::printable(tokenizer.token_bytes(id)));
  const auto name = [&](std::optional<TokenId> id) {
    return id ? Json(std::string(tokenizer.token_bytes(*id))) : Json(nullptr);
  };
  return {{"name", tokenizer.parts().name},
          {"pattern", tokens::pattern_name(tokenizer.parts().pattern)},
          {"unicode", std::string(tokens::kUnicodeVersion)},
          {"vocab_size", s.ids},
          {"plain", s.plain},
          {"added", s.added},
          {"special", s.special},
          {"unused", s.unused},
          {"merges", s.merges},
          {"bos", name(tokenizer.bos_id())},
          {"eos", name(tokenizer.eos_id())},
          {"pad", name(tokenizer.pad_id())},
          {"mean_token_bytes", s.mean_bytes},
          {"tokens_by_bytes", s.by_length},
          {"with_leading_space", s.with_leading_space},
          {"with_digit", s.with_digit},
          {"not_whole_characters", s.not_utf8},
          {"longest", std::move(longest)}};
}

Json compression_json(const tokens::Compression& c) {
  return {{"tokenizer", c.tokenizer},
          {"bytes", c.bytes},
          {"characters", c.characters},
          {"words", c.words},
          {"tokens", c.tokens},
          {"bytes_per_token", c.bytes_per_token()},
          {"tokens_per_word", c.tokens_per_word()}};
}

// Tokens on backgrounds that change from one to the next, line breaks kept; below, the ids.
std::string colored(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  constexpr int kBackgrounds[] = {153, 157, 229,
                                  223, 218, 189};  // light shades of the 256-colour palette, black on them
  std::string out, numbers;
  for (size_t i = 0; i < ids.size(); ++i) {
    const int background = kBackgrounds[i % std::size(kBackgrounds)];
    const std::string_view bytes = tokenizer.token_bytes(ids[i]);
    const size_t breaks =
        std::min(bytes.find_last_not_of('\n') + 1, bytes.size());  // keep them behind the colour
    out +=
        fmt::format("\x1b[30;48;5;{}m{}{}\x1b[0m{}", background, tokens::printable(bytes.substr(0, breaks)),
                    breaks < bytes.size() ? "\u21B5" : "", bytes.substr(breaks));
    numbers += fmt::format("\x1b[30;48;5;{}m{}\x1b[0m ", background, ids[i]);
  }
  return out + "\n" + numbers + "\n";
}

std::string plain_tokens(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  std::string out;
  for (const TokenId id : ids)
    out += fmt::format("{:>7}  {}\n", id, tokens::printable(tokenizer.token_bytes(id)));
  return out;
}

void print_stats(const Json& stats) {
  for (const auto& [key, value] : stats.items())
    print(fmt::format(
        "{:<22} {}\n", key,
        value.is_string() ? value.get<std::string>() : dump(value).substr(0, dump(value).size() - 1)));
}

void inspect(const InspectFlags& flags) {
  const Tokenizer tokenizer = Tokenizer::load(flags.tokenizer);
  const Json stats = stats_json(tokenizer);
  std::string text = flags.text;
  if (!flags.files.empty())
    for (const std::string& part : read_inputs(flags.files)) text += part;
  Json table = Json::array();
  if (!text.empty()) {
    table.push_back(compression_json(tokens::compression(tokenizer, text)));
    for (const std::string& other : flags.compare)
      table.push_back(compression_json(tokens::compression(Tokenizer::load(other), text)));
  }
  const std::vector<TokenId> ids =
      text.empty() ? std::vector<TokenId>{} : tokenizer.encode(text, flags.special);
  if (flags.json) {
    Json out = stats;
    if (!flags.text.empty()) out["ids"] = ids;
    if (!table.empty()) out["compression"] = table;
    print(dump(out));
    return;
  }
  print_stats(stats);
  if (flags.color)
    print("\n" + colored(tokenizer, ids));
  else if (!flags.text.empty())
    print("\n" + plain_tokens(tokenizer, ids));
  if (!table.empty())
    print(fmt::format("\n{:<24} {:>12} {:>12} {:>12} {:>12}\n", "tokenizer", "bytes", "tokens", "bytes/token",
                      "tokens/word"));
  for (const Json& row : table)
    print(fmt::format("{:<24} {:>12} {:>12} {:>12.3f} {:>12.3f}\n", row["tokenizer"].get<std::string>(),
                      row["bytes"].get<int64_t>(), row["tokens"].get<int64_t>(),
                      row["bytes_per_token"].get<double>(), row["tokens_per_word"].get<double>()));
}

void add_train(CLI::App& group) {
  auto* command = group.add_subcommand(
      "train", "Learn a byte-level BPE vocabulary; writes tokenizer.json and its companions.");
  auto flags = std::make_shared<TrainFlags>();
  command
      ->add_option("--input", flags->inputs,
                   "files or patterns: JSON lines (.zst, .gz) with a field 'text', or text")
      ->required();
  command->add_option("--output", flags->output, "directory")->required();
  command->add_option("--vocab-size", flags->options.vocab_size,
                      "ids in all, a multiple of 64, at most 65536");
  command->add_option("--min-frequency", flags->options.min_frequency,
                      "pairs that occur less often are not merged");
  command->add_option("--max-token-bytes", flags->options.max_token_bytes, "0: no limit");
  command->add_option("--pattern", flags->pattern,
                      "gpt2, digits, cl100k, llama3, qwen2, qwen35, o200k or tekken");
  command->add_option("--memory-gb", flags->memory_gb, "bound for the counts of pieces");
  command->add_option("--threads", flags->options.threads, "0: all");
  command->add_flag("--json", flags->json, "print figures as JSON");
  command->callback([flags] { train(*flags); });
}

void add_encode_decode(CLI::App& group) {
  auto flags = std::make_shared<CodeFlags>();
  auto* encode_command =
      group.add_subcommand("encode", "Text on stdin or in files to ids on stdout, one line a file.");
  auto* decode_command = group.add_subcommand("decode", "Ids on stdin or in files to text on stdout.");
  for (auto* command : {encode_command, decode_command}) {
    command->add_option("--tokenizer", flags->tokenizer, "directory, tokenizer.json or .tiktoken file")
        ->required();
    command->add_option("files", flags->files, "files or patterns; none: stdin");
    command->add_flag("--json", flags->json, "print JSON");
  }
  encode_command->add_flag("--special", flags->special,
                           "names of special tokens in the text are these tokens");
  decode_command->add_flag("--skip-special", flags->skip_special, "leave special tokens out");
  encode_command->callback([flags] { encode(*flags); });
  decode_command->callback([flags] { decode(*flags); });
}

void add_inspect(CLI::App& group) {
  auto* command = group.add_subcommand(
      "inspect", "The vocabulary in figures; a text by token; compression beside other tokenizers.");
  auto flags = std::make_shared<InspectFlags>();
  command->add_option("--tokenizer", flags->tokenizer, "directory, tokenizer.json or .tiktoken file")
      ->required();
  command->add_option("--text", flags->text, "text to show by token");
  command->add_option("--file", flags->files, "files or patterns to measure compression on");
  command->add_option("--compare", flags->compare, "other tokenizers to measure on the same text");
  command->add_flag("--color", flags->color, "the text with a background for each token");
  command->add_flag("--special", flags->special, "names of special tokens in the text are these tokens");
  command->add_flag("--json", flags->json, "print JSON");
  command->callback([flags] { inspect(*flags); });
}

}  // namespace

void add_tokenizer(CLI::App& app) {
  auto* group = app.add_subcommand("tokenizer", "Train, use and look into tokenizers.");
  group->require_subcommand(1);
  add_train(*group);
  add_encode_decode(*group);
  add_inspect(*group);
}

}  // namespace tumbler::cli
