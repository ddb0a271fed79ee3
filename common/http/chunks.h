// A body in chunks, and the trailers behind it (RFC 9112 section 7.1).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "common/base/result.h"
#include "common/http/body.h"
#include "common/http/grammar.h"
#include "common/http/lines.h"

namespace aphlict::http {

// What chunked framing may add: a 1-byte chunk takes 6 bytes, and each may have a short extension.
// The slack is for larger extensions and trailers, which few use and nobody here reads.
inline constexpr std::size_t kFramingSlack = 16 * 1024;
inline constexpr std::size_t kFramingPerByte = 8;

class ChunkReader {
 public:
  // `lines` has read the head, and is used for the trailers; `grammar` appends to `body`. All are borrowed.
  ChunkReader(LineCollector& lines, Grammar& grammar, const Body& body)
      : lines_(lines), grammar_(grammar), body_(body) {}

  // For the next message.
  void Reset() {
    wire_bytes_ = 0;
    std::string().swap(trailers_);
  }

  // Bytes that the trailers take.
  std::size_t memory() const { return trailers_.capacity(); }

  // Returns how many bytes were taken: all, unless the message has become complete (Grammar::complete()).
  Result<std::size_t> Feed(std::string_view bytes) {
    std::size_t taken = 0;
    while (taken < bytes.size() && !grammar_.complete()) {
      const std::string_view rest = bytes.substr(taken);
      const Result<std::size_t> step = grammar_.last_chunk() ? FeedTrailers(rest) : FeedChunks(rest);
      if (!step) return step;
      taken += *step;
    }
    return taken;
  }

 private:
  Result<std::size_t> FeedChunks(std::string_view bytes) {
    // Handing over no more than the bound allows makes it independent of how the bytes are cut.
    const std::size_t allowed = kFramingSlack + kFramingPerByte * body_.size() - wire_bytes_;
    if (allowed == 0) return BadRequest("the chunks are mostly framing");
    const Result<std::size_t> taken = grammar_.Execute(bytes.substr(0, allowed));
    if (!taken) return taken;
    wire_bytes_ += *taken;
    if (grammar_.last_chunk()) lines_.Begin(nullptr, &trailers_);
    return taken;
  }

  // llhttp 8 lets through in trailers what it lets through in a head, so they are collected and
  // checked like one.
  Result<std::size_t> FeedTrailers(std::string_view bytes) {
    const Result<std::size_t> taken = lines_.Feed(bytes);
    if (!taken || !lines_.complete()) return taken;
    const Result<std::size_t> parsed = grammar_.Execute(lines_.text());
    if (!parsed) return parsed;
    if (!grammar_.complete() || *parsed != lines_.text().size()) {
      return BadRequest("the trailers do not end at their empty line");
    }
    return taken;
  }

  LineCollector& lines_;
  std::string trailers_;
  Grammar& grammar_;
  const Body& body_;
  std::size_t wire_bytes_ = 0;
};

}  // namespace aphlict::http
