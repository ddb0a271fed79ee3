#include "common/admin/admin.h"

#include "common/admin/host_names.h"
#include "common/base/bytes.h"
#include "common/http/head.h"

namespace aphlict::admin {

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
  const net::Address peer = http_.AddressOf(request.connection);
  const net::Address local = http_.LocalAddressOf(request.connection);
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
  if (head.path() == "/") {
    if (head.method != "POST") return refuse(405, "publish with POST", "POST");
    return OnPost(request, instance);
  }
  if (head.path() == "/status/") {
    if (head.method != "GET" && head.method != "HEAD") return refuse(405, "the status is read with GET", "GET, HEAD");
    http::Response response;
    response.content_type = "application/json";
    response.body = status_.StatusOf(instance);
    return http_.Respond(request.connection, response);
  }
  refuse(404, "there is nothing here; publish with POST /, status is at /status/");
}

void Admin::OnPost(const server::Request& request, const std::string& instance) {
  if (publish_ == nullptr) {
    return http_.Respond(request.connection,
                         http::ErrorResponse(503, "this is a repeater; publish to a master's admin port"));
  }
  if (refuses_publishes_) {
    return http_.Respond(request.connection, http::ErrorResponse(503, "this master is about to stop"));
  }
  publish_->OnPublish(request.connection, instance, request.body);
}

}  // namespace aphlict::admin
