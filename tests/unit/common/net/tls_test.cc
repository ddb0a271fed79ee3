#include <doctest/doctest.h>
#include <openssl/err.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/net/file_watcher.h"
#include "common/net/listener.h"
#include "common/net/stream.h"
#include "common/net/tls_context.h"
#include "common/net/tls_session.h"
#include "tests/unit/support/certificates.h"
#include "tests/unit/support/loop.h"
#include "tests/unit/support/text.h"

namespace aphlict::net {
namespace {

using testing::Certificate;
using testing::Long;
using testing::Peer;
using testing::TemporaryFolder;
using testing::TestLoop;

constexpr std::int64_t kDay = 86'400;

// One end of a connection.
class End : public StreamHandler {
 public:
  void Take(StreamPtr taken) {
    stream = std::move(taken);
    stream->SetHandler(this);
  }
  void OnConnected() override { connected = true; }
  void OnHandshake() override {
    ++handshakes;
    if (continues) stream->ContinueHandshake();
  }
  void OnBytes(std::string_view bytes) override {
    received += bytes;
    if (on_bytes) on_bytes();
  }
  void OnReadEnd() override { read_ended = true; }
  void OnEnd(const std::string& reason) override {
    ended = reason;
    stream.reset();
  }

  StreamPtr stream;
  bool connected = false;
  bool continues = true;
  int handshakes = 0;
  bool read_ended = false;
  std::string received;
  std::string ended;
  std::function<void()> on_bytes;
};

// A server and its certificate, and clients that connect to it.
class Fixture : private ListenerHandler {
 public:
  Fixture()
      : authority_({.name = "Authority", .authority = true}),
        ca(folder.Write("ca.pem", authority_.pem())),
        files(Sign("server", "DNS:localhost,IP:127.0.0.1")) {}

  // Files of a certificate that the authority has signed.
  TlsFiles Sign(const std::string& name, const std::string& alternatives, std::int64_t ends = 90 * kDay) {
    const Certificate made({.name = name, .alternatives = alternatives, .ends = ends, .signer = &authority_});
    return {folder.Write(name + ".key", made.key_pem()), folder.Write(name + ".pem", made.pem()), "", ""};
  }

  void Serve() { Serve(files); }
  void Serve(const TlsFiles& served) {
    auto made = TlsContext::ForServer(served, &tickets);
    REQUIRE(made);
    context = std::move(*made);
    auto bound = Listener::Bind(loop, *Address::Parse("127.0.0.1", 0), false, this);
    REQUIRE(bound);
    listener_ = std::move(*bound);
    REQUIRE(listener_->Start());
  }

  void Connect() { Connect({"", "", "", ca}, "localhost"); }
  void Connect(const TlsFiles& trusted, const std::string& host) {
    auto made = TlsContext::ForClient(trusted);
    REQUIRE(made);
    client_context = std::move(*made);
    auto stream = Stream::Connect(loop, listener_->local_address(), client_context.get(), host);
    REQUIRE(stream);
    client.Take(std::move(*stream));
  }

  bool RunUntil(const std::function<bool()>& condition) { return loop.RunUntil(condition); }

  Address address() const { return listener_->local_address(); }

  TestLoop loop;
  TemporaryFolder folder;

 private:
  Certificate authority_;

 public:
  std::string ca;
  TlsFiles files;
  TicketKeys tickets;
  std::unique_ptr<TlsContext> context;
  std::unique_ptr<TlsContext> client_context;
  End client;
  End server;

 private:
  void OnConnection(int descriptor) override { server.Take(Stream::Adopt(loop, descriptor, context.get())); }
  void OnAcceptError(const std::string& reason) override { FAIL(reason); }

  std::unique_ptr<Listener> listener_;
};

TEST_CASE("both ends read what the other has written, in pieces of every size") {
  Fixture fixture;
  fixture.Serve();
  fixture.Connect();
  // What is written before the connection is there waits for it.
  fixture.client.stream->Write("hello");
  CHECK(fixture.client.stream->handshaking());
  REQUIRE(fixture.RunUntil([&] { return fixture.server.received == "hello"; }));
  CHECK(fixture.client.connected);
  CHECK_FALSE(fixture.client.stream->handshaking());
  CHECK_FALSE(fixture.server.stream->handshaking());

  const std::string text = Long(3'000'000);
  std::size_t written = 0;
  for (std::size_t size = 1; written < text.size(); size = size * 3 + 1) {
    const std::string_view piece = std::string_view(text).substr(written, size);
    fixture.server.stream->Write(piece);
    written += piece.size();
  }
  for (int i = 0; i < 1000; ++i) fixture.server.stream->Write("small,");
  REQUIRE(fixture.RunUntil([&] { return fixture.client.received.size() >= text.size() + 6000; }));
  CHECK(fixture.client.received.substr(0, text.size()) == text);
  CHECK(fixture.client.received.ends_with("small,small,"));
  CHECK(fixture.server.stream->unsent() == 0);
}

TEST_CASE("a reader that stops and goes on gets everything, and what waits is counted as unsent") {
  Fixture fixture;
  fixture.Serve();
  fixture.Connect();
  REQUIRE(fixture.RunUntil([&] { return fixture.client.connected; }));
  fixture.client.stream->PauseReading();
  const std::string text = Long(20'000'000);
  fixture.server.stream->Write(text);
  fixture.loop.RunFor(milliseconds(300));
  CHECK(fixture.server.stream->unsent() > 1'000'000);
  CHECK(fixture.client.received.empty());
  fixture.client.stream->ResumeReading();
  REQUIRE(fixture.RunUntil([&] { return fixture.client.received.size() == text.size(); }));
  CHECK(fixture.client.received == text);
}

TEST_CASE("an end that has said all is read as the end, and the other side may still write") {
  Fixture fixture;
  fixture.Serve();
  fixture.Connect();
  fixture.client.stream->Write("question");
  fixture.client.stream->ShutdownWhenSent();
  REQUIRE(fixture.RunUntil([&] { return fixture.server.read_ended; }));
  CHECK(fixture.server.received == "question");
  fixture.server.stream->Write("answer");
  fixture.server.stream->ShutdownWhenSent();
  REQUIRE(fixture.RunUntil([&] { return fixture.client.read_ended; }));
  CHECK(fixture.client.received == "answer");
}

TEST_CASE("a peer that just goes is an end, and no error") {
  Fixture fixture;
  fixture.Serve();
  fixture.Connect();
  REQUIRE(fixture.RunUntil([&] { return fixture.client.connected && !fixture.server.stream->handshaking(); }));
  fixture.loop.RunFor(milliseconds(50));  // for the ticket to be read: unread input would make it a reset
  fixture.client.stream.reset();
  REQUIRE(fixture.RunUntil([&] { return fixture.server.read_ended; }));
  CHECK(fixture.server.ended.empty());
}

TEST_CASE("a handshake waits until it is let go on") {
  Fixture fixture;
  fixture.server.continues = false;
  fixture.Serve();
  fixture.Connect();
  REQUIRE(fixture.RunUntil([&] { return fixture.server.handshakes > 0; }));
  fixture.server.stream->PauseReading();
  fixture.loop.RunFor(milliseconds(100));
  CHECK(fixture.server.stream->handshaking());
  CHECK_FALSE(fixture.client.connected);
  fixture.server.continues = true;
  fixture.server.stream->ContinueHandshake();
  fixture.server.stream->ResumeReading();
  REQUIRE(fixture.RunUntil([&] { return fixture.client.connected && !fixture.server.stream->handshaking(); }));
}

TEST_CASE("who has gone before its handshake could begin gets none") {
  Fixture fixture;
  fixture.server.continues = false;
  fixture.Serve();
  fixture.Connect();
  REQUIRE(fixture.RunUntil([&] { return fixture.server.handshakes > 0; }));
  SUBCASE("it has closed its side") { fixture.client.stream->ShutdownWhenSent(); }
  SUBCASE("it has gone altogether") { fixture.client.stream.reset(); }
  fixture.loop.RunFor(milliseconds(50));
  fixture.server.stream->ContinueHandshake();
  CHECK(fixture.server.ended == "TLS: the peer left before its handshake");
  if (!fixture.client.stream) return;
  REQUIRE(fixture.RunUntil([&] { return !fixture.client.ended.empty() || fixture.client.read_ended; }));
  CHECK_FALSE(fixture.client.connected);
}

TEST_CASE("a handler may let go of its stream from every call") {
  Fixture fixture;
  fixture.server.on_bytes = [&] { fixture.server.stream.reset(); };
  fixture.Serve();
  fixture.Connect();
  fixture.client.stream->Write("x");
  REQUIRE(fixture.RunUntil([&] { return fixture.client.read_ended || !fixture.client.ended.empty(); }));
  CHECK(fixture.server.received == "x");
}

TEST_CASE("a client does not talk to whom it does not know") {
  Fixture fixture;
  SUBCASE("another name") {
    fixture.Serve();
    fixture.Connect({"", "", "", fixture.ca}, "other.example.com");
    REQUIRE(fixture.RunUntil([&] { return !fixture.client.ended.empty(); }));
    CHECK(fixture.client.ended == "TLS: the certificate of other.example.com: hostname mismatch");
  }
  SUBCASE("another address") {
    fixture.Serve();
    fixture.Connect({"", "", "", fixture.ca}, "127.0.0.2");
    REQUIRE(fixture.RunUntil([&] { return !fixture.client.ended.empty(); }));
    CHECK(fixture.client.ended == "TLS: the certificate of 127.0.0.2: IP address mismatch");
  }
  SUBCASE("an authority that is not known") {
    fixture.Serve();
    const Certificate other({.name = "Other", .authority = true});
    fixture.Connect({"", "", "", fixture.folder.Write("other.pem", other.pem())}, "localhost");
    REQUIRE(fixture.RunUntil([&] { return !fixture.client.ended.empty(); }));
    CHECK(fixture.client.ended == "TLS: the certificate of localhost: unable to get local issuer certificate");
  }
  SUBCASE("a certificate that has expired") {
    fixture.Serve(fixture.Sign("old", "DNS:localhost", -60));
    fixture.Connect();
    REQUIRE(fixture.RunUntil([&] { return !fixture.client.ended.empty(); }));
    CHECK(fixture.client.ended == "TLS: the certificate of localhost: certificate has expired");
  }
  REQUIRE(fixture.RunUntil([&] { return !fixture.server.ended.empty(); }));
  CHECK(fixture.server.ended.starts_with("TLS: "));
  CHECK_FALSE(fixture.client.connected);
  CHECK(fixture.server.received.empty());
}

TEST_CASE("an address is looked for among the certificate's addresses") {
  Fixture fixture;
  fixture.Serve();
  fixture.Connect({"", "", "", fixture.ca}, "127.0.0.1");
  REQUIRE(fixture.RunUntil([&] { return fixture.client.connected; }));
}

TEST_CASE("a server that asks for certificates takes only those of its authority") {
  Fixture fixture;
  fixture.files.ca = fixture.ca;
  fixture.Serve();
  TlsFiles shown = fixture.Sign("repeater", "");
  SUBCASE("a good one") {
    shown.ca = fixture.ca;
    fixture.Connect(shown, "localhost");
    fixture.client.stream->Write("x");
    REQUIRE(fixture.RunUntil([&] { return fixture.server.received == "x"; }));
    return;
  }
  std::string server_says;
  std::string client_says;
  SUBCASE("none") {
    shown = {"", "", "", fixture.ca};
    server_says = "TLS: peer did not return a certificate";
    client_says = "TLS: tlsv13 alert certificate required";
  }
  SUBCASE("an expired one") {
    shown = fixture.Sign("late", "", -60);
    shown.ca = fixture.ca;
    server_says = "TLS: the peer's certificate: certificate has expired";
    client_says = "TLS: sslv3 alert certificate expired";
  }
  SUBCASE("one of another authority") {
    const Certificate other({.name = "Other", .authority = true});
    const Certificate forged({.name = "forged", .signer = &other});
    shown = {fixture.folder.Write("f.key", forged.key_pem()), fixture.folder.Write("f.pem", forged.pem()), "",
             fixture.ca};
    server_says = "TLS: the peer's certificate: unable to get local issuer certificate";
    client_says = "TLS: tlsv1 alert unknown ca";
  }
  fixture.Connect(shown, "localhost");
  REQUIRE(fixture.RunUntil([&] { return !fixture.server.ended.empty() && !fixture.client.ended.empty(); }));
  CHECK(fixture.server.ended == server_says);
  CHECK(fixture.client.ended == client_says);
}

TEST_CASE("what is not TLS is refused with the reason") {
  Fixture fixture;
  fixture.Serve();
  Peer peer = Peer::Connect(fixture.address());
  SUBCASE("HTTP") {
    peer.Send("GET / HTTP/1.1\r\n\r\n");
    REQUIRE(fixture.RunUntil([&] { return !fixture.server.ended.empty(); }));
    CHECK(fixture.server.ended == "TLS: http request");
  }
  SUBCASE("anything") {
    peer.Send("0123456789 0123456789");
    REQUIRE(fixture.RunUntil([&] { return !fixture.server.ended.empty(); }));
    CHECK(fixture.server.ended == "TLS: wrong version number");
  }
  SUBCASE("half of a handshake, and then nothing more") {
    peer.Send(std::string_view("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11));
    REQUIRE(fixture.RunUntil([&] { return fixture.server.handshakes > 0; }));
    peer.CloseWrite();
    REQUIRE(fixture.RunUntil([&] { return fixture.server.read_ended; }));
  }
}

TEST_CASE("plain bytes between two records end the connection") {
  Fixture fixture;
  fixture.Serve();
  const auto context = TlsContext::ForClient({"", "", "", fixture.ca});
  REQUIRE(context);
  const int descriptor = Peer::Connect(fixture.address()).Release();
  Peer peer(dup(descriptor));
  const auto session = (*context)->Connect(descriptor, "localhost");
  TlsSession::Status status = session->Handshake();
  REQUIRE(fixture.RunUntil([&] {
    const std::string received = peer.Receive();
    session->Receive(received);
    if (status != TlsSession::Status::kDone) status = session->Handshake();
    session->KeepRest();
    return status == TlsSession::Status::kDone;
  }));
  std::size_t sent = 0;
  REQUIRE(session->Write("good", &sent) == TlsSession::Status::kDone);
  REQUIRE(fixture.RunUntil([&] { return fixture.server.received == "good"; }));
  // A record's head, and then what nobody has encrypted.
  peer.Send(std::string("\x17\x03\x03\x00\x20", 5) + std::string(32, 'x'));
  close(descriptor);
  REQUIRE(fixture.RunUntil([&] { return !fixture.server.ended.empty(); }));
  CHECK(fixture.server.ended == "TLS: decryption failed or bad record mac");
  CHECK(fixture.server.received == "good");
}

// OpenSSL keeps one queue of errors for all sessions of a thread, and what stands there makes the next call look
// failed.
TEST_CASE("what one session has failed at does not end another") {
  Fixture fixture;
  fixture.Serve();
  fixture.Connect();
  const auto leave_an_error = [] { ERR_raise(ERR_LIB_SSL, ERR_R_INTERNAL_ERROR); };
  fixture.client.on_bytes = leave_an_error;
  fixture.server.on_bytes = leave_an_error;
  leave_an_error();
  fixture.client.stream->Write("first");
  REQUIRE(fixture.RunUntil([&] { return fixture.server.received == "first"; }));
  fixture.server.stream->Write("second");
  REQUIRE(fixture.RunUntil([&] { return fixture.client.received == "second"; }));
  leave_an_error();
  fixture.client.stream->Write(" third");
  REQUIRE(fixture.RunUntil([&] { return fixture.server.received == "first third"; }));
  CHECK(fixture.client.ended.empty());
  CHECK(fixture.server.ended.empty());
}

TEST_CASE("what is wrong with the files is said in words") {
  const Fixture fixture;
  TlsFiles files = fixture.files;
  const auto problem = [&] {
    const auto made = TlsContext::ForServer(files, nullptr);
    REQUIRE_FALSE(made);
    return made.error().text;
  };
  const TemporaryFolder& folder = fixture.folder;
  SUBCASE("no certificate") {
    files.cert = "";
    CHECK(problem() == "TLS needs a certificate: `ssl.cert`");
  }
  SUBCASE("no key") {
    files.key = "";
    CHECK(problem() == "TLS needs the certificate's key: `ssl.key`");
  }
  SUBCASE("a file that is not there") {
    files.cert = folder.path("missing");
    CHECK(problem() == files.cert + ": ENOENT: no such file or directory");
  }
  SUBCASE("a folder") {
    files.key = folder.path("");
    CHECK(problem() == files.key + ": EISDIR: illegal operation on a directory");
  }
  SUBCASE("the key for the certificate") {
    std::swap(files.cert, files.key);
    CHECK(problem() == files.cert + ": there is no certificate in it (PEM: BEGIN CERTIFICATE)");
  }
  SUBCASE("a certificate for the key") {
    files.key = files.cert;
    CHECK(problem().starts_with(files.key + ": there is no private key in it (PEM)"));
  }
  SUBCASE("somebody else's key") {
    files.key = folder.Write("b.key", Certificate({.name = "b"}).key_pem());
    CHECK(problem() == files.key + ": this is not the key of the certificate in " + files.cert);
  }
  SUBCASE("a damaged chain") {
    std::string damaged = Certificate({.name = "b"}).pem();
    damaged[damaged.size() / 2] = '?';
    files.chain = folder.Write("chain.pem", Certificate({.name = "c"}).pem() + damaged);
    CHECK(problem().starts_with(files.chain + ": certificate 2 is damaged: "));
  }
  SUBCASE("an encrypted key") {
    files.key = folder.Write("e.key", Certificate({.name = "b"}).key_pem("secret"));
    CHECK(problem() == files.key + ": the key is encrypted; a key without a passphrase is needed");
  }
  SUBCASE("only one of a client's two") {
    const auto made = TlsContext::ForClient({files.key, "", "", ""});
    REQUIRE_FALSE(made);
    CHECK(made.error().text == "`ssl.cert` and `ssl.key` go together");
  }
}

TEST_CASE("what is worth knowing about a certificate is said in words") {
  Fixture fixture;
  const std::int64_t now = std::time(nullptr);
  const auto notices = [&](const TlsFiles& files) {
    const auto made = TlsContext::ForServer(files, nullptr);
    REQUIRE(made);
    return (*made)->Notices(now);
  };
  const Certificate own({.name = "own"});
  const TlsFiles self_signed{fixture.folder.Write("own.key", own.key_pem()), fixture.folder.Write("own.pem", own.pem()),
                             "", ""};
  CHECK(notices(self_signed).empty());

  // Of an authority that nobody knows: it might be an intermediate.
  REQUIRE(notices(fixture.files).size() == 1);
  CHECK(notices(fixture.files)[0].find("the certificate of CN = server was signed by CN = Authority, which is neither "
                                       "sent along nor known to this system") != std::string::npos);
  TlsFiles complete = fixture.files;
  complete.chain = fixture.ca;
  CHECK(notices(complete).empty());

  const auto about_time = [&](std::int64_t begins, std::int64_t ends) {
    const Certificate made({.name = "timed", .begins = begins, .ends = ends});
    const auto found =
        notices({fixture.folder.Write("t.key", made.key_pem()), fixture.folder.Write("t.pem", made.pem()), "", ""});
    return found.empty() ? "" : found[0].substr(found[0].find("CN"));
  };
  CHECK(about_time(-365 * kDay, 15 * kDay).empty());
  CHECK(about_time(-365 * kDay, 13 * kDay).starts_with("CN = timed expires soon: 2"));
  CHECK(about_time(-4 * kDay, 3 * kDay).empty());  // of a week: a tenth counts
  CHECK(about_time(-7 * kDay, kDay / 2).starts_with("CN = timed expires soon: 2"));
  CHECK(about_time(-10 * kDay, -60).starts_with("CN = timed has expired: 2"));
  CHECK(about_time(3600, kDay).starts_with("CN = timed is not valid before 2"));

  const auto made = TlsContext::ForServer(self_signed, nullptr);
  CHECK((*made)->expires() >= now + 90 * kDay - 60);
  CHECK((*made)->expires() <= now + 90 * kDay + 60);
}

TEST_CASE("certificates are read anew, or stay as they were where the new ones are bad") {
  Fixture fixture;
  fixture.Serve();
  const std::int64_t first = fixture.context->expires();
  fixture.Connect();
  REQUIRE(fixture.RunUntil([&] { return fixture.client.connected; }));

  fixture.folder.Write("server.key", Certificate({.name = "other"}).key_pem());
  CHECK_FALSE(fixture.context->Reload());
  CHECK(fixture.context->expires() == first);

  fixture.Sign("server", "DNS:localhost", 200 * kDay);
  REQUIRE(fixture.context->Reload());
  CHECK(fixture.context->expires() > first);
  // The connection from before goes on.
  fixture.client.stream->Write("still here");
  REQUIRE(fixture.RunUntil([&] { return fixture.server.received == "still here"; }));
}

TEST_CASE("the keys of tickets change each hour, and are the same for those who share a secret") {
  const TicketKeys one("secret");
  const TicketKeys same("secret");
  const TicketKeys other("other");
  const TicketKeys random;
  const auto name = [](const TicketKeys& keys, std::int64_t time) {
    TicketKeys::Keys derived;
    keys.Derive(time, &derived);
    return std::string(reinterpret_cast<const char*>(derived.name), sizeof(derived.name)) +
           std::string(reinterpret_cast<const char*>(derived.cipher), sizeof(derived.cipher)) +
           std::string(reinterpret_cast<const char*>(derived.mac), sizeof(derived.mac));
  };
  CHECK(name(one, 7200) == name(same, 10'799));
  CHECK(name(one, 7200) != name(one, 10'800));
  CHECK(name(one, 7200) != name(other, 7200));
  CHECK(name(random, 7200) == name(random, 7200));
  CHECK(name(random, 7200) != name(TicketKeys(), 7200));
  CHECK(name(one, 7200).substr(16, 32) != name(one, 7200).substr(48, 32));
}

TEST_CASE("a file that is written, replaced, or comes back is told once it has settled") {
  TestLoop loop;
  const TemporaryFolder folder;
  const std::string path = folder.Write("f", "1");
  int changes = 0;
  const FileWatcher watcher(loop, path, milliseconds(20), [&] { ++changes; });
  loop.RunFor(milliseconds(100));
  CHECK(changes == 0);
  folder.Write("f", "22");
  REQUIRE(loop.RunUntil([&] { return changes == 1; }));
  folder.Write("g", "333");
  std::filesystem::rename(folder.path("g"), path);
  REQUIRE(loop.RunUntil([&] { return changes == 2; }));
  std::filesystem::remove(path);
  loop.RunFor(milliseconds(100));
  CHECK(changes == 2);
  folder.Write("f", "4444");
  REQUIRE(loop.RunUntil([&] { return changes == 3; }));
}

}  // namespace
}  // namespace aphlict::net
