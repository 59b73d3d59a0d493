#include "chat/server/run_routes.h"

#include <charconv>

#include "chat/server/api_error.h"
#include "chat/server/json_request.h"

namespace tumbler::chat {
namespace {

int64_t read_from(const httplib::Request& request) {
  const std::string text = request.get_param_value("from");
  int64_t from = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), from);
  if (!text.empty() && (error != std::errc() || end != text.data() + text.size() || from < 0))
    throw wrong("from", "got \"{}\", expected a number from 0", text.substr(0, 40));
  return from;
}

}  // namespace

void add_run_routes(httplib::Server& server, Runs& runs) {
  server.Get("/api/runs", [&runs](const auto&, auto& response) {
    Json list = Json::array();
    for (const RunSummary& run : runs.list())
      list.push_back({{"id", run.id},
                      {"path", run.path.string()},
                      {"kind", run.kind},
                      {"step", run.step},
                      {"steps", run.steps},
                      {"updated", run.updated}});
    response.set_content(dump({{"runs", std::move(list)}}), "application/json");
  });
  server.Get(R"(/api/runs/([0-9a-f]{16}))", [&runs](const auto& request, auto& response) {
    auto lines = runs.read(request.matches[1], read_from(request));
    if (!lines) throw ApiError(404, "there is no such run");
    response.set_content(dump({{"metrics", std::move(lines->metrics)},
                               {"lines", lines->lines},
                               {"config", std::move(lines->config)}}),
                         "application/json");
  });
  server.Get(R"(/api/runs/([0-9a-f]{16})/funnel)", [&runs](const auto& request, auto& response) {
    const auto funnel = runs.funnel(request.matches[1]);
    if (!funnel) throw ApiError(404, "the run has no data funnel");
    response.set_content(dump(*funnel), "application/json");
  });
}

}  // namespace tumbler::chat
