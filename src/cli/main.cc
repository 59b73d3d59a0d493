// tumbler: raw web pages in, an assistant out. One verb a stage; results on stdout, progress and logs on
// stderr.
#include <cstdio>
#include <exception>
#include <new>

#include "base/error.h"
#include "base/log.h"
#include "cli/commands.h"
#include "dist/group.h"

int main(int argc, char** argv) {
  using namespace tumbler;
  try {
    log::init();
    CLI::App app("From raw web pages to an assistant you can talk to, on this machine.", "tumbler");
    app.require_subcommand(1);
    app.option_defaults()->always_capture_default();
    cli::add_bench(app);
    cli::add_version(app);
    cli::add_crawl(app);
    cli::add_report(app);
    cli::add_pipeline(app);
    cli::add_eval(app);
    cli::add_generate(app);
    cli::add_chat(app);
    cli::add_models(app);
    cli::add_serve(app);
    cli::add_convert(app);
    cli::add_pretrain(app);
    cli::add_pull(app);
    cli::add_data(app);
    cli::add_tokenizer(app);
    cli::add_tokens(app);
    CLI11_PARSE(app, argc, argv);
    return 0;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "tumbler: out of memory; use a smaller batch, model or input\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tumbler: %s\n", error.what());
  }
  std::fflush(stdout);
  // Under MPI one rank's error ends the whole job: the others would wait for it for ever.
  dist::abort_job(1);
}
