#include "common/admin/admin.h"

#include <algorithm>
#include <iterator>

#include "common/admin/dashboard.h"
#include "common/admin/host_names.h"
#include "common/admin/metrics.h"
#include "common/base/bytes.h"
#include "common/http/head.h"

namespace aphlict::admin {

namespace {

std::string ReadinessText(State state) {
  switch (state) {
    case State::kNotListening:
      return "not ready: the port of the clients is not open yet\n";
    case State::kSynchronising:
      return "not ready: not synchronised with the nodes above\n";
    case State::kDraining:
      return "not ready: draining\n";
    default:
      return "ready\n";
  }
}

}  // namespace

const Admin::Endpoint Admin::kEndpoints[] = {
    {"/", true, &Admin::OnPublish},
    {"/status/", false, &Admin::OnStatus},
    {"/metrics", false, &Admin::OnMetrics},
    {kHealthPath, false, &Admin::OnHealth},
    {kReadinessPath, false, &Admin::OnReadiness},
    {kDashboardPath, false, &Admin::OnDashboard},
};

std::string Admin::ListOfEndpoints() {
  std::string list;
  for (const Endpoint& each : kEndpoints) {
    list.append(list.empty() ? "" : ", ").append(each.published_to ? "POST " : "GET ").append(each.path);
  }
  return list;
}

Admin::Admin(net::Loop& loop, const Options& options, const StatusSource& status, PublishHandler* publish, Log& log)
    : options_(options),
      status_(status),
      publish_(publish),
      names_(NamesOfThisHost()),
      http_(loop, "admin", options.http, log, *this) {}

void Admin::SetAccess(std::size_t port, const Access& access) {
  if (access_.size() <= port) access_.resize(port + 1);
  access_[port] = access;
}

void Admin::SetOptions(const Options& options) {
  options_ = options;
  http_.SetLimits(options_.http);
}

void Admin::OnHead(const server::RequestStart& request) {
  const auto peer = [&] { return http_.AddressOf(request.connection); };
  const auto local = [&] { return http_.LocalAddressOf(request.connection); };
  const auto denial = Deny(access_[request.port], options_.secrets.get(), names_, {request.head, peer, local});
  if (denial) http_.Refuse(request.connection, denial->refusal, {denial->text, 403});
}

void Admin::OnRequest(const server::Request& request) {
  const auto refuse = [&](int status, std::string_view reason, const char* allow = nullptr) {
    http::Response response = http::ErrorResponse(status, reason);
    if (allow != nullptr) response.headers.push_back({"Allow", allow});
    http_.Respond(request.connection, response);
  };
  const http::RequestHead& head = request.head;
  std::string instance = http::QueryParameter(head.query(), "instance").value_or("");
  if (instance.empty()) instance = "default";
  if (!IsUtf8(instance)) return refuse(400, "the instance's name is not UTF-8");
  if (instance.size() > options_.instance_bytes) {
    return refuse(400, "the instance's name is longer than " + std::to_string(options_.instance_bytes) + " bytes");
  }
  std::string_view path = head.path();
  if (IsDashboard(path)) path = kDashboardPath;
  const auto* endpoint = std::find_if(std::begin(kEndpoints), std::end(kEndpoints),
                                      [&](const Endpoint& each) { return each.path == path; });
  if (endpoint == std::end(kEndpoints)) return refuse(404, "there is nothing here; there are " + ListOfEndpoints());
  if (endpoint->published_to && head.method != "POST") return refuse(405, "publish with POST", "POST");
  if (!endpoint->published_to && head.method != "GET" && head.method != "HEAD") {
    return refuse(405, "this is read with GET", "GET, HEAD");
  }
  (this->*endpoint->serve)(request, instance);
}

void Admin::OnStatus(const server::Request& request, const std::string& instance) {
  http::Response response;
  response.content_type = "application/json";
  response.body = status_.StatusOf(instance);
  http_.Respond(request.connection, response);
}

void Admin::OnMetrics(const server::Request& request, const std::string&) {
  const MetricsFormat format = FormatFor(request.head.headers);
  http::Response response;
  response.content_type = ContentTypeOf(format);
  response.headers.push_back({"Vary", "Accept"});
  response.body = status_.MetricsAs(format);
  http_.Respond(request.connection, response);
}

void Admin::OnHealth(const server::Request& request, const std::string&) {
  http::Response response;
  response.body = "ok\n";  // that it is answered is all there is to know: the loop turns
  http_.Respond(request.connection, response);
}

void Admin::OnReadiness(const server::Request& request, const std::string&) {
  http::Response response;
  response.status = status_.state() == State::kReady ? 200 : 503;
  response.body = ReadinessText(status_.state());
  http_.Respond(request.connection, response);
}

void Admin::OnDashboard(const server::Request& request, const std::string&) {
  http::Response response;
  if (request.head.path() != kDashboardPath) {
    response.status = 301;
    response.headers.push_back({"Location", std::string(kDashboardPath.substr(1))});
  } else {
    response.content_type = "text/html; charset=utf-8";
    response.body = kDashboardPage;
    response.headers = {{"Content-Security-Policy", std::string(kDashboardPolicy)},
                        {"X-Content-Type-Options", "nosniff"},
                        {"Referrer-Policy", "no-referrer"},
                        {"Cache-Control", "no-cache"}};
  }
  http_.Respond(request.connection, response);
}

void Admin::OnPublish(const server::Request& request, const std::string& instance) {
  if (publish_ == nullptr) {
    Count(PublishResult::kNoMaster);
    return http_.Respond(request.connection,
                         http::ErrorResponse(503, "this is a repeater; publish to a master's admin port"));
  }
  if (refuses_publishes_) {
    Count(PublishResult::kDraining);
    return http_.Respond(request.connection, http::ErrorResponse(503, "this master is about to stop"));
  }
  publish_->OnPublish(request.connection, instance, request.body);
}

}  // namespace aphlict::admin
