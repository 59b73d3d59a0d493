// tumbler serve: OpenAI's API and the page, on loopback.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "base/error.h"
#include "chat/server/server.h"
#include "cli/commands.h"
#include "cli/sampling_flags.h"
#include "io/lines.h"

namespace tumbler::cli {
namespace {

struct Flags {
  chat::ServerOptions options;
  std::string api_key_file;
  DecoderFlags decoder;
};

std::vector<std::string> read_keys(const std::string& path) {
  std::vector<std::string> keys;
  io::LineReader lines(path);
  while (const auto line = lines.next()) {
    const size_t begin = line->find_first_not_of(" \t\r"), end = line->find_last_not_of(" \t\r");
    if (begin != std::string_view::npos) keys.emplace_back(line->substr(begin, end - begin + 1));
  }
  if (keys.empty()) throw Error("serve", "{}: got no key, expected one a line", path);
  return keys;
}

// As the XDG base directory specification has it.
std::string default_data() {
  const char* data = std::getenv("XDG_DATA_HOME");
  if (data != nullptr && *data == '/') return std::string(data) + "/tumbler";
  const char* home = std::getenv("HOME");
  return home == nullptr ? "tumbler-data" : std::string(home) + "/.local/share/tumbler";
}

// Until SIGINT or SIGTERM, which a thread of its own waits for: handlers may do next to nothing.
void run(const Flags& flags) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // before any thread is started
  chat::ServerOptions options = flags.options;
  const engine::DecoderOptions decoder = get_decoder_options(flags.decoder, 1, 0);
  options.hosting.cache = decoder.cache;
  options.hosting.prefill_threads = decoder.prefill_threads;
  options.hosting.decode_threads = decoder.decode_threads;
  if (!flags.api_key_file.empty()) options.api_keys = read_keys(flags.api_key_file);
  options.version = TUMBLER_VERSION;
  chat::Server server(options);
  fmt::print("http://{}:{}\n", options.host, server.port());
  std::fflush(stdout);
  std::thread stopper([&] {
    int signal = 0;
    sigwait(&signals, &signal);
    server.stop();
  });
  server.run();
  ::kill(::getpid(), SIGTERM);  // where it ended by itself the thread still waits
  stopper.join();
}

}  // namespace

void add_serve(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  chat::ServerOptions& o = flags->options;
  o.folders = {"models", "runs"};
  o.data = default_data();
  CLI::App* command =
      app.add_subcommand("serve", "A page to talk to models on, and OpenAI's API (docs/server.md).");
  command
      ->add_option("--model", o.models,
                   "Hugging Face directory, .gguf file or run; may be given several times")
      ->allow_extra_args(false);
  command->add_option("--models", o.folders, "folders of models to offer; default: models runs");
  command->add_option("--host", o.host, "address to listen on; one that is not loopback needs keys");
  command->add_option("--port", o.port, "0: any that is free")->check(CLI::Range(0, 65535));
  command->add_option("--api-key-file", flags->api_key_file, "one key a line; requests have to carry one");
  command->add_option("--sequences", o.hosting.sequences, "answers at a time")->check(CLI::Range(1, 1024));
  command->add_option("--context", o.hosting.context, "most tokens of a conversation")
      ->check(CLI::Range(int64_t{16}, int64_t{1} << 30));
  command->add_option("--queue", o.hosting.waiting, "requests that may wait for a place")
      ->check(CLI::Range(0, 1 << 20));
  command->add_option("--request-seconds", o.request_seconds, "the longest answer")
      ->check(CLI::Range(0.1, 1e9));
  command->add_option("--max-body", o.max_body, "bytes of a request")
      ->check(CLI::Range(int64_t{1024}, int64_t{1} << 32));
  command->add_option("--data", o.data, "where chats are kept; default: ~/.local/share/tumbler");
  command->add_option("--idle-minutes", o.idle_minutes, "models not used for so long are ejected; 0: none")
      ->check(CLI::Range(0.0, 1e9));
  add_decoder_flags(*command, flags->decoder);
  command->callback([flags] { run(*flags); });
}

}  // namespace tumbler::cli
