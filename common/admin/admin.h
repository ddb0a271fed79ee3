// The admin port: Phabricator's publishes and status (what Aphlict's admin port speaks), metrics, health, and errors in
// words.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/admin/access.h"
#include "common/admin/exposition.h"
#include "common/admin/publish_result.h"
#include "common/admin/snapshot.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/server/http_server.h"

namespace aphlict::admin {

// Whoever can tell how the node is.
class StatusSource {
 public:
  virtual ~StatusSource() = default;
  // As JSON text.
  virtual std::string StatusOf(std::string_view instance) const = 0;
  virtual std::string MetricsAs(MetricsFormat format) const = 0;
  virtual State state() const = 0;
};

// Whoever takes publishes.
class PublishHandler {
 public:
  virtual ~PublishHandler() = default;
  // `body` may be taken. Answered by Admin::Respond(), now or later.
  virtual void OnPublish(server::ConnectionId connection, const std::string& instance, std::string& body) = 0;
};

class Admin : private server::HttpHandler {
 public:
  struct Options {
    std::size_t instance_bytes = 128;
    std::shared_ptr<const Secrets> secrets;  // tokens that open everything; null: none
    server::HttpLimits http;
  };

  // `publish` is null on a node that takes none. All references outlive it.
  Admin(net::Loop& loop, const Options& options, const StatusSource& status, PublishHandler* publish, Log& log);

  // Where ports are taken, and listened on.
  server::HttpServer& http() { return http_; }
  // Who may do what on a port, from now on. REQUIRES: for each that is taken, before it listens.
  void SetAccess(std::size_t port, const Access& access);
  // For all requests to come.
  void SetOptions(const Options& options);
  void Shutdown() { http_.Shutdown(); }
  // Whether publishes are answered 503, so that Phabricator goes to the next master.
  void RefusePublishes(bool refuse) { refuses_publishes_ = refuse; }
  void Respond(server::ConnectionId connection, const http::Response& response) { http_.Respond(connection, response); }
  void Respond(server::ConnectionId connection, const http::PreparedResponse& response) {
    http_.Respond(connection, response);
  }

  // Of publishes that are answered by somebody else.
  void Count(PublishResult result) { publishes_.Add(result); }
  const PublishCounts& publishes() const { return publishes_; }

 private:
  void OnHead(const server::RequestStart& request) override;
  void OnRequest(const server::Request& request) override;
  void OnPublish(const server::Request& request, const std::string& instance);
  void OnStatus(const server::Request& request, const std::string& instance);
  void OnMetrics(const server::Request& request, const std::string& instance);
  void OnHealth(const server::Request& request, const std::string& instance);
  void OnReadiness(const server::Request& request, const std::string& instance);
  void OnDashboard(const server::Request& request, const std::string& instance);

  struct Endpoint {
    std::string_view path;
    bool published_to;  // with POST; else it is read, with GET or HEAD
    void (Admin::*serve)(const server::Request& request, const std::string& instance);
  };
  static const Endpoint kEndpoints[];
  // All of them, for people.
  static std::string ListOfEndpoints();

  Options options_;
  const StatusSource& status_;
  PublishHandler* publish_;
  bool refuses_publishes_ = false;
  PublishCounts publishes_;
  std::vector<std::string> names_;  // of this host
  std::vector<Access> access_;      // by the number of the port
  server::HttpServer http_;
};

}  // namespace aphlict::admin
