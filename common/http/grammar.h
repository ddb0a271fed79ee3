// llhttp, as the parsers of this folder use it: in strict mode, and never for what can be judged before it.
#pragma once

#include <llhttp.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/result.h"
#include "common/http/body.h"
#include "common/http/framing.h"
#include "common/http/head.h"
#include "common/http/lines.h"

namespace aphlict::http {

inline Error DescribeGrammarError(const llhttp_t& parser) {
  const char* reason = llhttp_get_error_reason(&parser);
  switch (llhttp_get_errno(&parser)) {
    case HPE_INVALID_METHOD:
    case HPE_PAUSED_H2_UPGRADE:
      return {"unknown method", 501};
    case HPE_INVALID_URL:
      return BadRequest("the request target is malformed");
    case HPE_INVALID_HEADER_TOKEN:
      return BadRequest("a header's name or value is malformed");
    case HPE_INVALID_CHUNK_SIZE:
      return BadRequest("a chunk's size is malformed or too large");
    case HPE_INVALID_CONTENT_LENGTH:
      if (reason != nullptr && std::string_view(reason) == "Content-Length overflow") {
        return {"Content-Length is far too large", 413};
      }
      return BadRequest("Content-Length is not a number");
    case HPE_UNEXPECTED_CONTENT_LENGTH:
      return BadRequest("more than one Content-Length, or one beside Transfer-Encoding");
    case HPE_INVALID_TRANSFER_ENCODING:
      return BadRequest("Transfer-Encoding is malformed");
    default:
      return BadRequest(std::string("malformed: ") + (reason == nullptr ? "" : reason));
  }
}

// llhttp, with its callbacks turned into members. Its calls never throw: there is C above them.
class Grammar {
 public:
  // What is read is appended to `*target` and `*body`, and marked in `*headers`.
  Grammar(llhttp_type_t type, std::size_t max_headers, std::string* target, Headers* headers, Body* body)
      : max_headers_(max_headers), target_(*target), headers_(*headers), body_(*body) {
    llhttp_init(&parser_, type, &Settings());
    parser_.data = this;
  }
  Grammar(const Grammar&) = delete;
  Grammar& operator=(const Grammar&) = delete;

  // For the next message.
  void Reset() {
    llhttp_reset(&parser_);
    header_count_ = 0;
    last_chunk_ = complete_ = false;
  }

  // Called when the headers are there and before llhttp acts on them. A failure ends the parse.
  Result<void> (*headers_complete)(void* owner, const llhttp_t& parser) = nullptr;
  void* owner = nullptr;
  std::size_t max_body = 0;

  // Whether llhttp sees the same body as we do.
  static bool Agrees(const llhttp_t& parser, const Framing& framing) {
    const bool chunked = (parser.flags & F_CHUNKED) != 0;
    const bool has_length = (parser.flags & F_CONTENT_LENGTH) != 0;
    return chunked == framing.chunked && (has_length ? parser.content_length : 0) == framing.length;
  }

  bool complete() const { return complete_; }
  bool last_chunk() const { return last_chunk_; }

  // Takes a whole head, which is the text of the headers, whole trailers, or some of a chunked body. Returns how many
  // bytes were taken: all, unless the message has become complete, or its last chunk's line has been read.
  Result<std::size_t> Execute(std::string_view bytes) {
    llhttp_resume(&parser_);
    const llhttp_errno_t error = llhttp_execute(&parser_, bytes.data(), bytes.size());
    if (error == HPE_OK) return bytes.size();
    if (error == HPE_PAUSED) {
      return static_cast<std::size_t>(llhttp_get_error_pos(&parser_) - bytes.data());
    }
    return failure_ ? *failure_ : DescribeGrammarError(parser_);
  }

 private:
  static Grammar& Of(llhttp_t* parser) { return *static_cast<Grammar*>(parser->data); }

  int Fail(Error error) {
    failure_ = std::move(error);
    return -1;
  }

  // llhttp may hand out a part of a head in pieces. A head comes in one piece of text, so they lie side by side in it.
  static void Extend(std::string_view& part, const char* at, std::size_t length) {
    const char* begin = part.empty() ? at : part.data();
    part = {begin, static_cast<std::size_t>(at + length - begin)};
  }

  static int OnUrl(llhttp_t* parser, const char* at, std::size_t length) noexcept {
    Of(parser).target_.append(at, length);
    return 0;
  }
  static int OnHeaderName(llhttp_t* parser, const char* at, std::size_t length) noexcept {
    Extend(Of(parser).name_, at, length);
    return 0;
  }
  static int OnHeaderValue(llhttp_t* parser, const char* at, std::size_t length) noexcept {
    Extend(Of(parser).value_, at, length);
    return 0;
  }
  static int OnHeader(llhttp_t* parser) noexcept { return Of(parser).AddHeader(); }
  static int OnHeadersComplete(llhttp_t* parser) noexcept {
    // Whether to change the protocol is decided by who reads the head. Left alone, llhttp would not
    // read the body of a request that has an Upgrade header or is a CONNECT.
    parser->upgrade = 0;
    Grammar& self = Of(parser);
    const Result<void> accepted = self.headers_complete(self.owner, *parser);
    return accepted ? 0 : self.Fail(accepted.error());
  }
  static int OnChunkHeader(llhttp_t* parser) noexcept {
    Grammar& self = Of(parser);
    if (parser->content_length > self.max_body - self.body_.size()) {
      return self.Fail({"the body is larger than " + std::to_string(self.max_body) + " bytes", 413});
    }
    self.last_chunk_ = parser->content_length == 0;
    return self.last_chunk_ ? HPE_PAUSED : 0;
  }
  static int OnBody(llhttp_t* parser, const char* at, std::size_t length) noexcept {
    Of(parser).body_.Append({at, length});
    return 0;
  }
  static int OnMessageComplete(llhttp_t* parser) noexcept {
    Of(parser).complete_ = true;
    return HPE_PAUSED;
  }

  int AddHeader() {
    if (++header_count_ > max_headers_) {
      return Fail({"more than " + std::to_string(max_headers_) + " headers", 431});
    }
    if (name_.empty()) return Fail(BadRequest("a header without a name"));
    // Trailers must not be merged into the headers (RFC 9110 section 6.5.1), and nobody reads them.
    if (!last_chunk_) headers_.Mark(name_, TrimWhiteSpace(value_));
    name_ = value_ = {};
    return 0;
  }

  static const llhttp_settings_t& Settings() {
    static const llhttp_settings_t settings = [] {
      llhttp_settings_t s;
      llhttp_settings_init(&s);
      s.on_url = OnUrl;
      s.on_header_field = OnHeaderName;
      s.on_header_value = OnHeaderValue;
      s.on_header_value_complete = OnHeader;
      s.on_headers_complete = OnHeadersComplete;
      s.on_chunk_header = OnChunkHeader;
      s.on_body = OnBody;
      s.on_message_complete = OnMessageComplete;
      return s;
    }();
    return settings;
  }

  llhttp_t parser_;
  const std::size_t max_headers_;
  std::size_t header_count_ = 0;
  std::string& target_;
  Headers& headers_;
  Body& body_;
  std::string_view name_;  // of a header that is being read
  std::string_view value_;
  bool last_chunk_ = false;
  bool complete_ = false;
  std::optional<Error> failure_;
};

}  // namespace aphlict::http
