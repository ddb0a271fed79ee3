#include "common/http/response.h"

#include <algorithm>
#include <cstddef>

#include "common/json/writer.h"

namespace aphlict::http {

namespace {

// Whether a response of that status never has a body (RFC 9110 section 6.4.1).
bool IsBodiless(int status) { return status / 100 == 1 || status == 204 || status == 304; }

// A line's end inside a value would begin a header of somebody else's choice, so it becomes a space.
void AppendHeader(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ");
  const std::size_t begin = out.size();
  out.append(value).append("\r\n");
  std::replace_if(
      out.begin() + static_cast<std::ptrdiff_t>(begin), out.end() - 2,
      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
}

}  // namespace

std::string_view ReasonPhrase(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 101:
      return "Switching Protocols";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 203:
      return "Non-Authoritative Information";
    case 204:
      return "No Content";
    case 205:
      return "Reset Content";
    case 206:
      return "Partial Content";
    case 300:
      return "Multiple Choices";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 303:
      return "See Other";
    case 304:
      return "Not Modified";
    case 305:
      return "Use Proxy";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 402:
      return "Payment Required";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 406:
      return "Not Acceptable";
    case 407:
      return "Proxy Authentication Required";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 411:
      return "Length Required";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 416:
      return "Range Not Satisfiable";
    case 417:
      return "Expectation Failed";
    case 421:
      return "Misdirected Request";
    case 422:
      return "Unprocessable Content";
    case 426:
      return "Upgrade Required";
    case 429:  // RFC 6585 section 4
      return "Too Many Requests";
    case 431:  // RFC 6585 section 5
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    case 507:  // RFC 4918 section 11.5
      return "Insufficient Storage";
    default:
      return "Unknown";
  }
}

std::string Serialize(const Response& response, bool close, bool head_request) {
  std::string out;
  out.reserve(256 + response.body.size());
  out.append("HTTP/1.1 ").append(std::to_string(response.status)).append(" ");
  out.append(ReasonPhrase(response.status)).append("\r\n");
  if (!IsBodiless(response.status)) {
    if (!response.content_type.empty()) AppendHeader(out, "Content-Type", response.content_type);
    AppendHeader(out, "Content-Length", std::to_string(response.body.size()));
  }
  for (const Header& header : response.headers) AppendHeader(out, header.name, header.value);
  // An HTTP/1.0 client that asked to keep the connection needs to be told that it does (RFC 9112 C.2.2).
  AppendHeader(out, "Connection", close ? "close" : "keep-alive");
  out.append("\r\n");
  if (!head_request && !IsBodiless(response.status)) out.append(response.body);
  return out;
}

PreparedResponse::PreparedResponse(const Response& response)
    : keep_alive_(SharedBytes::Copy(Serialize(response, false))),
      close_(SharedBytes::Copy(Serialize(response, true))),
      body_size_(IsBodiless(response.status) ? 0 : response.body.size()) {}

SharedBytes PreparedResponse::Bytes(bool close, bool head_request) const {
  const SharedBytes& whole = close ? close_ : keep_alive_;
  return head_request ? whole.Slice(0, whole.size() - body_size_) : whole;
}

Response ErrorResponse(int status, std::string_view reason) {
  json::Writer writer;
  writer.StartObject().Field("error", reason).EndObject();
  Response response;
  response.status = status;
  response.content_type = "application/json";
  response.body = writer.text();
  return response;
}

}  // namespace aphlict::http
