// tumbler chat: talk to a model in the terminal.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <termios.h>
#include <unistd.h>

#include "base/error.h"
#include "chat/conversation.h"
#include "chat/open_model.h"
#include "chat/session.h"
#include "chat/thoughts.h"
#include "cli/commands.h"
#include "cli/line_input.h"
#include "cli/model_files.h"
#include "cli/progress_bar.h"
#include "cli/sampling_flags.h"
#include "io/file.h"
#include "tokens/tokenizer_json.h"

namespace tumbler::cli {
namespace {

namespace fs = std::filesystem;

struct Flags {
  std::string model, system;
  std::vector<std::string> stop;
  SamplingFlags sampling{.options = {.temperature = 0.7, .top_p = 0.95}};
  int64_t max_tokens = 0, context = 8192;
  int64_t guesses = 0;
  DecoderFlags decoder;
  GrammarFlags grammar;
};

constexpr std::string_view kHelp =
    "/system TEXT   what the model is told before the conversation; without TEXT: shows it, - takes it away\n"
    "/retry         another answer to the last message\n"
    "/undo          takes the last message and its answer away\n"
    "/clear         begins a new conversation\n"
    "/stats         tokens, speed, memory\n"
    "/help          this\n"
    "/exit          leaves, as Ctrl-D does\n"
    "Ctrl-C stops an answer. A line that ends in \\ goes on, and so do lines between two \"\"\"; pasted "
    "text\n"
    "keeps its line breaks. A message that begins with / is written //.\n";

volatile std::sig_atomic_t interrupted = 0;

// Does the terminal turn Ctrl-C into a signal?
void set_terminal_signals(bool on) {
  termios state = {};
  if (tcgetattr(STDIN_FILENO, &state) != 0) return;
  state.c_lflag = on ? state.c_lflag | ISIG : state.c_lflag & ~static_cast<tcflag_t>(ISIG);
  tcsetattr(STDIN_FILENO, TCSANOW, &state);
}

// While it lives, Ctrl-C does not end the program. Off but while the model answers, as at a prompt it is a
// key for the line editor: also before the editor has set the terminal, which it does after showing the
// prompt.
class TerminalSignals {
 public:
  TerminalSignals() {
    struct sigaction action = {};
    action.sa_handler = [](int) { interrupted = 1; };
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, &before_);
    set_terminal_signals(false);
  }
  ~TerminalSignals() {
    set_terminal_signals(true);
    sigaction(SIGINT, &before_, nullptr);
  }
  TerminalSignals(const TerminalSignals&) = delete;
  TerminalSignals& operator=(const TerminalSignals&) = delete;

 private:
  struct sigaction before_ = {};
};

// While the model answers.
class Interruptible {
 public:
  Interruptible() {
    interrupted = 0;
    set_terminal_signals(true);
  }
  ~Interruptible() { set_terminal_signals(false); }
  Interruptible(const Interruptible&) = delete;
  Interruptible& operator=(const Interruptible&) = delete;
};

void put(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

// Shows an answer as it comes: thoughts dimmed and without their tags where it is a terminal. What a model
// writes may not move the cursor or change colours: control characters become U+FFFD.
class Display {
 public:
  Display(bool terminal, bool thinking) : terminal_(terminal), thoughts_(thinking) {}
  void push(std::string_view text) {
    if (text.empty()) return;
    if (!terminal_) return put(text);
    thoughts_.push(text, [this](std::string_view part, bool thought) { show(part, thought); });
  }
  void finish(bool stopped) {
    if (terminal_) {
      thoughts_.flush([this](std::string_view part, bool thought) { show(part, thought); });
      if (dim_) put("\x1b[0m");
      if (stopped) put(" [stopped]");
    }
    put("\n");
  }

 private:
  void show(std::string_view text, bool thought) {
    if (thought != dim_) {
      put(thought ? "\x1b[2m" : "\x1b[0m");
      dim_ = thought;
    }
    std::string out;
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7F)
        out += "\xEF\xBF\xBD";
      else
        out += c;
    }
    put(out);
  }
  bool terminal_, dim_ = false;
  chat::Thoughts thoughts_;
};

// What the model's generation_config.json recommends, where no flag says otherwise.
void apply_generation_config(const fs::path& model, const CLI::App& command,
                             engine::SamplingOptions& options) {
  const fs::path path = model / "generation_config.json";
  if (!fs::is_directory(model) || !fs::exists(path)) return;
  const auto json = nlohmann::json::parse(io::read_file(path), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) throw Error(path.string(), "got something that is not a JSON object");
  const auto set = [&](const char* key, const char* flag, auto& value) {
    const auto found = json.find(key);
    if (found != json.end() && found->is_number() && command.get_option(flag)->count() == 0)
      found->get_to(value);
  };
  set("temperature", "--temperature", options.temperature);
  set("top_k", "--top-k", options.top_k);
  set("top_p", "--top-p", options.top_p);
  set("min_p", "--min-p", options.min_p);
  set("repetition_penalty", "--repetition-penalty", options.repetition_penalty);
  engine::check_sampling(options);
}

chat::SessionOptions session_options(const Flags& flags, const chat::InferenceModel& open) {
  const auto text = [&](std::optional<tokens::TokenId> id) {
    return id ? tokens::spelling(open.tokenizer, *id) : std::string();
  };
  const auto grammar = get_grammar(flags.grammar);
  return {.sampling = flags.sampling.options,
          .seed = flags.sampling.seed,
          .max_tokens = flags.max_tokens,
          .stop_tokens = chat::end_tokens(open.tokenizer, open.files.eos_token_ids),
          .stop = flags.stop,
          .guesses = flags.guesses,
          .grammar = grammar,
          .vocabulary = grammar ? chat::get_vocabulary(open.tokenizer) : nullptr,
          .bos_token = text(open.tokenizer.bos_id()),
          .eos_token = text(open.tokenizer.eos_id())};
}

jinja::Template get_template(const chat::InferenceModel& open) {
  if (open.chat_template.empty())
    throw Error("chat",
                "{}: the model has no chat template: it continues texts and was not made to answer; use "
                "tumbler generate",
                open.path.string());
  return jinja::Template::parse(open.chat_template);
}

class Chat {
 public:
  explicit Chat(const Flags& flags)
      : open_(chat::open_for_inference(flags.model)),
        chat_template_(get_template(open_)),
        decoder_(open_.model,
                 get_decoder_options(flags.decoder, 1,
                                     std::min(flags.context, open_.model.config().max_positions))),
        session_(decoder_, open_.tokenizer, chat_template_, session_options(flags, open_)),
        terminal_(isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1) {
    conversation_.set_system(flags.system);
  }

  void run() {
    std::optional<TerminalSignals> signals;
    if (terminal_) signals.emplace();
    const std::unique_ptr<LineInput> input = terminal_ ? make_terminal_input() : make_plain_input();
    if (terminal_) note(fmt::format("{} · /help says what there is, Ctrl-D leaves", name()));
    bool leaving = false;  // Ctrl-C at an empty prompt: the second one leaves
    for (std::string text;;) {
      const LineInput::Event event = input->next(text);
      if (event == LineInput::Event::end) break;
      if (event == LineInput::Event::interrupt) {
        if (leaving && text.empty()) break;
        leaving = text.empty();
        if (leaving) note("Ctrl-C again, or Ctrl-D, leaves");
        continue;
      }
      leaving = false;
      if (text.find_first_not_of(" \t\n") == std::string::npos) continue;
      if (!take(text)) break;
    }
    if (terminal_) put("\n");
  }

 private:
  std::string name() const {
    const fs::path path = fs::weakly_canonical(open_.path);
    return path.filename().string();
  }

  // About the program, not from the model: on the terminal dimmed, otherwise beside the answers.
  void note(std::string_view text) const {
    if (terminal_)
      put(fmt::format("\x1b[2m{}\x1b[0m\n", text));
    else
      std::fprintf(stderr, "%.*s\n", static_cast<int>(text.size()), text.data());
  }

  // False: leave.
  bool take(const std::string& text) {
    if (!text.starts_with('/')) {
      say(text);
    } else if (text.starts_with("//")) {
      say(text.substr(1));
    } else {
      const size_t space = std::min(text.find_first_of(" \n"), text.size());
      const std::string command = text.substr(1, space - 1);
      if (command == "exit" || command == "quit") return false;
      run_command(command, space < text.size() ? text.substr(space + 1) : std::string());
    }
    return true;
  }

  void run_command(const std::string& command, const std::string& argument) {
    if (command == "system") {
      set_system(argument);
    } else if (command == "retry") {
      if (conversation_.turns() == 0) return note("nothing to answer again yet");
      conversation_.drop_answer();
      answer();
    } else if (command == "undo") {
      note(conversation_.undo() ? fmt::format("taken back; {} left", messages(conversation_.turns()))
                                : "nothing to take back");
    } else if (command == "clear") {
      conversation_.clear();
      note("a new conversation");
    } else if (command == "stats") {
      show_stats();
    } else if (command == "help") {
      note(kHelp.substr(0, kHelp.size() - 1));
    } else {
      note(fmt::format("/{}: no such command; /help lists them, and // begins a message with a /", command));
    }
  }

  static std::string messages(int64_t n) { return fmt::format("{} message{}", n, n == 1 ? "" : "s"); }

  void set_system(const std::string& text) {
    if (text.empty()) {
      note(conversation_.system().empty() ? "no system message" : conversation_.system());
      return;
    }
    conversation_.set_system(text == "-" ? std::string() : text);
    note("said; from now on the whole conversation is read with it");
  }

  void say(const std::string& text) {
    conversation_.add_user(text);
    if (!answer()) conversation_.undo();
  }

  // False where the conversation cannot be answered.
  bool answer() {
    try {
      const chat::Prompt prompt = session_.prompt(conversation_.messages());
      Display display(terminal_, prompt.thinking);
      std::optional<Interruptible> interruptible;
      if (terminal_) interruptible.emplace();
      last_ = session_.answer(prompt, [&](std::string_view text) {
        display.push(text);
        return interrupted == 0;
      });
      display.finish(interrupted != 0);
    } catch (const Error& error) {
      if (!terminal_) throw;
      note(error.what());
      return false;
    }
    if (last_->finish == engine::Finish::context) note("the context is full: /undo or /clear makes room");
    if (last_->finish == engine::Finish::length) note("cut at --max-tokens");
    conversation_.add_assistant(last_->text);
    return true;
  }

  void show_stats() const {
    std::string text =
        fmt::format("{}; {} of {} tokens of context, cache {:.1f} MB, weights {:.1f} MB ({})",
                    messages(conversation_.turns()), with_separators(session_.context_tokens()),
                    with_separators(decoder_.capacity()), static_cast<double>(decoder_.cache_bytes()) / 1e6,
                    static_cast<double>(open_.model.weight_bytes()) / 1e6, open_.model.weight_types());
    if (last_) {
      const int64_t read = last_->prompt_tokens - last_->reused_tokens;
      const auto rate = [](int64_t tokens, double seconds) {
        return format_rate(static_cast<double>(tokens) / std::max(seconds, 1e-9), "tokens");
      };
      text += fmt::format(
          "\nlast answer: read {} tokens ({} known already) in {:.2f} s, {}; wrote {} in {:.2f} s, {}",
          with_separators(read), with_separators(last_->reused_tokens), last_->read_seconds,
          rate(read, last_->read_seconds), with_separators(last_->tokens), last_->write_seconds,
          rate(last_->tokens, last_->write_seconds));
    }
    note(text);
  }

  const chat::InferenceModel open_;
  const jinja::Template chat_template_;
  engine::Decoder decoder_;
  chat::Session session_;
  chat::Conversation conversation_;
  std::optional<chat::Answer> last_;
  const bool terminal_;
};

}  // namespace

void add_chat(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "chat", "Talk to a model. On a terminal with editing and /help; else lines in, answers out.");
  command->add_option("--model", flags->model, "Hugging Face directory or .gguf file with a chat template")
      ->required();
  command->add_option("--system", flags->system, "what the model is told before the conversation");
  command
      ->add_option("--max-tokens", flags->max_tokens, "most tokens of an answer; 0: what the context holds")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30));
  command
      ->add_option("--context", flags->context, "most tokens of the conversation, as far as the model goes")
      ->check(CLI::Range(int64_t{16}, int64_t{1} << 30));
  add_guesses_flag(*command, flags->guesses);
  add_grammar_flags(*command, flags->grammar);
  add_decoder_flags(*command, flags->decoder);
  add_sampling_flags(*command, flags->sampling);
  command
      ->add_option("--stop", flags->stop, "end an answer where this text begins; may be given several times")
      ->allow_extra_args(false);
  command->footer(
      "Where a flag is not given, generation_config.json of the model's directory counts, if there is one.");
  command->callback([flags, command] {
    flags->sampling.options = get_sampling(flags->sampling);
    apply_generation_config(flags->model, *command, flags->sampling.options);
    Chat(*flags).run();
  });
}

}  // namespace tumbler::cli
