#include "chat/server/server.h"

#include <condition_variable>
#include <thread>

#include <httplib.h>
#include <sys/socket.h>

#include "base/log.h"
#include "chat/server/access.h"
#include "chat/server/answers.h"
#include "chat/server/api_error.h"
#include "chat/server/chat_routes.h"
#include "chat/server/embeddings.h"
#include "chat/server/inspect_routes.h"
#include "chat/server/metrics.h"
#include "chat/server/model_registry.h"
#include "chat/server/model_routes.h"
#include "chat/server/openai.h"
#include "chat/server/run_routes.h"
#include "chat/server/token_routes.h"

namespace tumbler::chat {
namespace {

constexpr size_t kThreads = 192;  // connections at a time: they wait for the model, mostly
constexpr int kBacklog =
    1024;  // connections that wait to be accepted; cpp-httplib has 5, and the rest are lost
constexpr size_t kMaxPath = 1024;
constexpr char kPolicy[] =
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; form-action 'none'; "
    "object-src 'none'";

void answer_error(httplib::Response& response, const ApiError& error) {
  response.status = error.status();
  response.set_content(error.json(), "application/json");
}

}  // namespace

struct Server::Implementation {
  explicit Implementation(const ServerOptions& given)
      : options(given), models(options.folders, options.hosting), runs(options.folders) {
    if (!is_loopback(options.host) && options.api_keys.empty())
      throw Error("serve", "--host {} can be reached by others: give --api-key-file, or listen on 127.0.0.1",
                  options.host);
    if (!options.data.empty()) {
      store.emplace(options.data);
      answers.emplace(*store, models);
    }
    for (const std::string& path : options.models) models.load(path);
    set_limits();
    port = options.port == 0 ? http.bind_to_any_port(options.host) : options.port;
    if (port <= 0 || (options.port != 0 && !http.bind_to_port(options.host, options.port)))
      throw Error("serve",
                  "{}:{}: cannot be listened on{}; is another server there? --port takes another one",
                  options.host, options.port, errno_text());
    ::listen(listening, kBacklog);
    access.emplace(options.host, port, options.api_keys);
    set_checks();
    add_routes();
  }

  void set_limits() {
    http.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
    http.set_payload_max_length(static_cast<size_t>(options.max_body));
    http.set_keep_alive_max_count(1'000'000);
    http.set_keep_alive_timeout(30);
    http.set_read_timeout(30);
    http.set_write_timeout(30);
    http.set_tcp_nodelay(true);
    http.set_socket_options([this](socket_t socket) {
      const int yes = 1;
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
      listening = socket;
    });
    http.set_default_headers({{"X-Content-Type-Options", "nosniff"},
                              {"Referrer-Policy", "no-referrer"},
                              {"Cross-Origin-Resource-Policy", "same-origin"},
                              {"Content-Security-Policy", kPolicy}});
  }

  void set_checks() {
    http.set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
      // Before the routes' regular expressions see it.
      if (request.path.size() > kMaxPath) {
        answer_error(response, ApiError(414, "the path is too long"));
        return httplib::Server::HandlerResponse::Handled;
      }
      const std::string host = request.get_header_value("Host"), origin = request.get_header_value("Origin"),
                        key = request.get_header_value("Authorization"),
                        type = request.get_header_value("Content-Type"),
                        site = request.get_header_value("Sec-Fetch-Site");
      const bool has_body = request.method == "POST" || request.method == "PATCH" || request.method == "PUT";
      const auto error =
          access->check({request.method, request.path, host, origin, key, type, site, has_body});
      if (!error) return httplib::Server::HandlerResponse::Unhandled;
      answer_error(response, *error);
      return httplib::Server::HandlerResponse::Handled;
    });
    http.set_exception_handler(
        [](const httplib::Request& request, httplib::Response& response, std::exception_ptr e) {
          try {
            std::rethrow_exception(std::move(e));
          } catch (const ApiError& error) {
            answer_error(response, error);
          } catch (const std::bad_alloc&) {
            answer_error(response, ApiError(503, "no memory for this request"));
          } catch (const std::exception& error) {
            log::error("{} {}: {}", request.method, request.path, error.what());
            answer_error(response, ApiError(500, error.what()));
          }
        });
    const httplib::Server::HandlerWithResponse on_error = [](const httplib::Request& request,
                                                             httplib::Response& response) {
      if (!response.body.empty()) return httplib::Server::HandlerResponse::Unhandled;
      const int status = response.status;
      const std::string what =
          status == 404   ? fmt::format("{} {}: there is no such thing", request.method, request.path)
          : status == 413 ? "the body is larger than --max-body"
                          : "the request is not HTTP as it should be";
      answer_error(response, ApiError(status, what));
      return httplib::Server::HandlerResponse::Handled;
    };
    http.set_error_handler(on_error);
    http.set_logger([this](const httplib::Request& request, const httplib::Response& response) {
      metrics.count_request(response.status);
      log::debug("{} {} {}", request.method, request.path, response.status);
    });
  }

  void add_routes() {
    http.Get("/health", [](const auto&, auto& response) {
      response.set_content(R"({"status": "ok"})", "application/json");
    });
    http.Get("/metrics", [this](const auto&, auto& response) {
      response.set_content(metrics.text(models), "text/plain; version=0.0.4");
    });
    add_openai_routes(http, models, metrics, {.request_seconds = options.request_seconds});
    add_embedding_routes(http, models, metrics, {.request_seconds = options.request_seconds});
    add_token_routes(http, models);
    add_model_routes(http, models, options.version);
    add_inspect_routes(http, models);
    add_run_routes(http, runs);
    if (store) add_chat_routes(http, *store, *answers, models);
  }

  // Ejects what was idle for too long, now and then.
  void keep_house() {
    std::unique_lock lock(mutex);
    while (!stopped) {
      changed.wait_for(lock, std::chrono::seconds(1));
      if (stopped || options.idle_minutes <= 0) continue;
      lock.unlock();
      models.eject_idle(60 * options.idle_minutes);
      lock.lock();
    }
  }

  const ServerOptions options;
  ModelRegistry models;
  Runs runs;
  std::optional<ChatStore> store;
  std::optional<Answers> answers;
  Metrics metrics;
  std::optional<Access> access;
  httplib::Server http;
  int port = 0;
  socket_t listening = -1;
  std::mutex mutex;
  std::condition_variable changed;
  bool stopped = false;
};

Server::Server(const ServerOptions& options) : implementation_(std::make_unique<Implementation>(options)) {}
Server::~Server() = default;

int Server::port() const noexcept {
  return implementation_->port;
}

void Server::run() {
  Implementation& self = *implementation_;
  std::thread housekeeper([&self] { self.keep_house(); });
  self.http.listen_after_bind();
  {
    const std::lock_guard lock(self.mutex);
    self.stopped = true;
  }
  self.changed.notify_all();
  housekeeper.join();
}

void Server::stop() {
  Implementation& self = *implementation_;
  // What runs is ended first, so that its connections close.
  for (const auto& model : self.models.loaded()) model->stop();
  self.http.stop();
}

}  // namespace tumbler::chat
