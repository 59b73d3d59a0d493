#include <cstdio>

#include "cli/commands.h"

namespace tumbler::cli {

void add_version(CLI::App& app) {
  app.add_subcommand("version", "Print the version.")->callback([] {
    std::puts("tumbler " TUMBLER_VERSION);
  });
}

}  // namespace tumbler::cli
