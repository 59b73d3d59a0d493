#include "engine/generate.h"

namespace tumbler::engine {

std::vector<Generation> generate(Decoder& decoder, std::span<const std::vector<int32_t>> prompts,
                                 const GenerateOptions& options, const OnToken& on_token) {
  Scheduler scheduler(decoder);
  std::vector<Generation> out(prompts.size());
  for (size_t i = 0; i < prompts.size(); ++i) {
    Request request{.prompt = prompts[i],
                    .sampling = options.sampling,
                    .seed = options.seed,
                    .stream = i,
                    .max_tokens = options.max_tokens,
                    .stop_tokens = options.stop_tokens,
                    .top_log_probs = options.top_log_probs,
                    .guesses = options.guesses};
    if (options.grammar)
      request.constraint = std::make_shared<Constraint>(options.grammar, options.vocabulary);
    request.on_token = [&out, &on_token, i](const TokenChoice& choice) {
      out[i].tokens.push_back(choice);
      return !on_token || on_token(static_cast<int64_t>(i), choice);
    };
    request.on_finish = [&out, i](Finish why) { out[i].finish = why; };
    scheduler.submit(std::move(request));
  }
  while (scheduler.step()) {
  }
  return out;
}

}  // namespace tumbler::engine
